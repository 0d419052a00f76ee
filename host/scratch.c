/* SPDX-License-Identifier: Apache-2.0 */
#include "host/scratch.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define TRIES 100u /* names that killed runs of the same process id have left */

int scratch_make(int at, struct scratch *out, struct k3_err *e)
{
	int rc = -1;

	out->at = at;
	for (unsigned k = 0; k < TRIES && rc; k++) {
		snprintf(out->name, sizeof(out->name), ".k3simg-probe-%ld-%u", (long)getpid(), k);
		rc = mkdirat(at, out->name, 0700);
		if (rc && errno != EEXIST)
			break;
	}
	if (rc) {
		int why = errno;

		out->name[0] = '\0';
		return k3_fail_sys(e, why, "cannot make a directory to try the file system in");
	}
	return k3_open_dir(at, out->name, &out->fd, e);
}

int scratch_remove(struct scratch *s, struct k3_err *e)
{
	k3_closep(&s->fd);
	s->fd = -1;
	if (!s->name[0])
		return 0;
	if (k3_remove_tree(s->at, s->name, e))
		return -1;
	s->name[0] = '\0';
	return 0;
}

void scratch_drop(struct scratch *s)
{
	struct k3_err ignored;

	(void)!scratch_remove(s, &ignored);
}
