/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database that another process holds, copied in one consistent state.
 *
 * bbolt never writes to a page that the current meta page can reach: a commit writes new pages,
 * flushes, and then the other meta page.  So what was copied belongs together if the same meta
 * page is still the current one afterwards.
 */
#include "bolt/copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "bolt/meta.h"

#define PIECE (256u << 10)
/*
 * A busy containerd commits every few milliseconds, and copying 20 MB takes as long.  With the
 * pauses, some five seconds.
 */
#define TRIES 100
#define PAUSE_US 1000
#define PAUSE_MAX_US 64000

static int current(int fd, struct bolt_meta *out, struct k3_err *e)
{
	struct stat st;

	if (fstat(fd, &st))
		return k3_fail_sys(e, errno, "cannot get the size");
	return bolt_meta_load(fd, (uint64_t)st.st_size, out, e);
}

/* From the current place of `to`. */
static int copy_bytes(int from, int to, uint64_t n, const char *name, void *piece, struct k3_err *e)
{
	for (uint64_t at = 0; at < n;) {
		uint64_t left = n - at;
		ssize_t got = pread(from, piece, left < PIECE ? (size_t)left : PIECE, (off_t)at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return k3_fail_sys(e, errno, "cannot read");
		if (!got)
			return k3_fail(e, K3_BUSY, "cut while it was read");
		if (k3_pwrite_all(to, piece, (size_t)got, at, name, e))
			return -1;
		at += (uint64_t)got;
	}
	return 0;
}

/* *same = false: there was a commit meanwhile. */
static int copy_once(int from, int to, const char *name, void *piece, bool *same, struct k3_err *e)
{
	struct bolt_meta before, after;

	*same = false;
	if (current(from, &before, e))
		return -1;
	if (ftruncate(to, 0))
		return k3_fail_sys(e, errno, "cannot empty the copy");
	if (copy_bytes(from, to, before.high_water * before.page_size, name, piece, e) ||
	    current(from, &after, e))
		return -1;
	*same = before.txid == after.txid && before.slot == after.slot;
	return 0;
}

int bolt_copy(int from, const char *name, int *out, struct k3_err *e)
{
	K3_AUTO_FREE void *piece = k3_xcalloc(1, PIECE);
	K3_AUTO_FD int to = memfd_create("k3simg-bolt", MFD_CLOEXEC);
	unsigned pause = PAUSE_US;
	struct k3_err why = { 0 };
	bool same;

	if (to < 0)
		return k3_fail_sys(e, errno, "no memory file for a copy");
	for (int k = 0; k < TRIES; k++) {
		int rc = copy_once(from, to, name, piece, &same, &why);

		if (!rc && same) {
			*out = k3_steal_fd(&to);
			return 0;
		}
		/* Between two writes a file that is being made, or grows, may look broken. */
		if (rc && why.code != K3_STORE && why.code != K3_BUSY)
			break;
		if (rc && k > TRIES / 4 && why.code == K3_STORE)
			break;
		usleep(pause);
		pause = pause * 2 < PAUSE_MAX_US ? pause * 2 : PAUSE_MAX_US;
	}
	if (why.code) {
		*e = why;
		return -1;
	}
	return k3_fail(e, K3_BUSY, "it is written to all the time");
}
