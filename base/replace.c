/* SPDX-License-Identifier: Apache-2.0 */
#include "base/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define DIR_MODE 0700

void k3_place_release(struct k3_place *p)
{
	k3_closep(&p->dir);
	k3_freep(&p->name);
	k3_freep(&p->path);
}

/* The file is not there: its directory may not be either. */
static char *path_of_new(const char *path, struct k3_err *e)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	K3_AUTO_FREE char *dir = slash ? k3_xstrndup(path, (size_t)(slash - path) + 1)
				       : k3_xstrdup(".");
	struct stat st;

	if (!*name || !strcmp(name, ".") || !strcmp(name, "..")) {
		k3_fail(e, K3_USAGE, "\"%s\" does not name a file", path);
		return NULL;
	}
	if (!lstat(path, &st)) {
		k3_fail(e, K3_USAGE, "%s is a symlink to a file that is not there", path);
		return NULL;
	}
	if (k3_make_dirs(dir, DIR_MODE, e))
		return NULL;
	K3_AUTO_FREE char *real = realpath(dir, NULL);

	if (!real) {
		k3_fail_sys(e, errno, "cannot find %s", dir);
		return NULL;
	}
	return k3_xasprintf("%s/%s", strcmp(real, "/") != 0 ? real : "", name);
}

int k3_place_open(const char *path, struct k3_place *out, struct k3_err *e)
{
	struct stat st;

	*out = (struct k3_place){ .dir = -1, .path = realpath(path, NULL) };
	if (!out->path && errno != ENOENT)
		return k3_fail_sys(e, errno, "cannot find %s", path);
	if (!out->path)
		out->path = path_of_new(path, e);
	else if (stat(out->path, &st) || !S_ISREG(st.st_mode))
		return k3_fail(e, K3_USAGE, "%s is not a file", path);
	if (!out->path)
		return -1;
	char *slash = strrchr(out->path, '/');
	K3_AUTO_FREE char *dir = k3_xstrndup(out->path, (size_t)(slash - out->path) + 1);

	out->name = k3_xstrdup(slash + 1);
	return k3_open_dir(AT_FDCWD, dir, &out->dir, e);
}

static int write_aside(const struct k3_place *p, const char *aside, const void *bytes, size_t n,
		       mode_t mode, struct k3_err *e)
{
	K3_AUTO_FD int fd = openat(p->dir, aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	struct stat old, st;

	if (fd < 0)
		return k3_fail_sys(e, errno, "cannot write beside %s", p->path);
	if (fchmod(fd, mode))
		return k3_fail_sys(e, errno, "cannot set the mode of %s", p->path);
	if (!fstatat(p->dir, p->name, &old, AT_SYMLINK_NOFOLLOW) && !fstat(fd, &st) &&
	    (old.st_uid != st.st_uid || old.st_gid != st.st_gid) &&
	    fchown(fd, old.st_uid, old.st_gid))
		return k3_fail_sys(e, errno, "cannot keep the owner of %s", p->path);
	if (k3_write_all(fd, bytes, n, p->path, e) || k3_fsync(fd, p->path, e))
		return -1;
	return k3_close(&fd, p->path, e);
}

int k3_place_write(const struct k3_place *p, const void *bytes, size_t n, mode_t mode,
		   struct k3_err *e)
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return k3_fail_sys(e, errno, "cannot get a random number");
	K3_AUTO_FREE char *aside = k3_xasprintf(".k3simg.%016" PRIx64, random);

	if (write_aside(p, aside, bytes, n, mode, e)) {
		unlinkat(p->dir, aside, 0);
		return -1;
	}
	if (renameat(p->dir, aside, p->dir, p->name)) {
		int why = errno;

		unlinkat(p->dir, aside, 0);
		return k3_fail_sys(e, why, "cannot replace %s", p->path);
	}
	return k3_fsync(p->dir, p->path, e);
}
