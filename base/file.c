/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

int k3_close(int *fd, const char *what, struct k3_err *e)
{
	int rc = close(*fd);

	*fd = -1;
	if (rc && errno != EINTR)
		return k3_fail_sys(e, errno, "cannot close %s", what);
	return 0;
}

int k3_fsync(int fd, const char *what, struct k3_err *e)
{
	if (fsync(fd))
		return k3_fail_sys(e, errno, "cannot flush %s to disk", what);
	return 0;
}

int k3_syncfs(int fd, const char *what, struct k3_err *e)
{
	if (syncfs(fd))
		return k3_fail_sys(e, errno, "cannot flush the file system of %s to disk", what);
	return 0;
}

void k3_write_behind(int fd)
{
	/* Not every file system knows it; what went wrong is reported by the sync. */
	(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

int k3_write_all(int fd, const void *p, size_t n, const char *what, struct k3_err *e)
{
	const uint8_t *at = p;

	while (n) {
		ssize_t w = write(fd, at, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return k3_fail_sys(e, errno, "cannot write %s", what);
		at += w;
		n -= (size_t)w;
	}
	return 0;
}

int k3_pwrite_all(int fd, const void *p, size_t n, uint64_t off, const char *what, struct k3_err *e)
{
	const uint8_t *at = p;

	while (n) {
		ssize_t w = pwrite(fd, at, n, (off_t)off);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return k3_fail_sys(e, errno, "cannot write %s", what);
		at += w;
		off += (uint64_t)w;
		n -= (size_t)w;
	}
	return 0;
}

int k3_read_file(int dirfd, const char *name, struct k3_buf *out, struct k3_err *e)
{
	K3_AUTO_FD int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return k3_fail(e, K3_NOTFOUND, "%s does not exist", name);
	if (fd < 0)
		return k3_fail_sys(e, errno, "cannot open %s", name);
	for (;;) {
		uint8_t chunk[16384];
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return k3_fail_sys(e, errno, "cannot read %s", name);
		if (n == 0)
			return 0;
		if (k3_buf_add(out, chunk, (size_t)n, e))
			return k3_wrap(e, "%s", name);
	}
}

int k3_open_dir(int dirfd, const char *name, int *fd, struct k3_err *e)
{
	int got = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (got < 0 && errno == ENOENT)
		return k3_fail(e, K3_NOTFOUND, "%s does not exist", name);
	if (got < 0)
		return k3_fail_sys(e, errno, "cannot open directory %s", name);
	*fd = got;
	return 0;
}

int k3_temp_file(const char *dir, int *fd, struct k3_err *e)
{
	*fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (*fd >= 0)
		return 0;
	/* Not every file system knows files without a name. */
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
		return k3_fail_sys(e, errno, "cannot make a temporary file in %s", dir);
	K3_AUTO_FREE char *path = k3_xasprintf("%s/.k3simg-XXXXXX", dir);

	*fd = mkostemp(path, O_CLOEXEC);
	if (*fd < 0)
		return k3_fail_sys(e, errno, "cannot make a temporary file in %s", dir);
	if (unlink(path)) {
		k3_fail_sys(e, errno, "cannot remove %s", path);
		k3_closep(fd);
		return -1;
	}
	return 0;
}

int k3_make_dir(int dirfd, const char *name, mode_t mode, int *fd, struct k3_err *e)
{
	K3_AUTO_FD int got = -1;
	bool made = mkdirat(dirfd, name, mode) == 0;

	if (!made && errno != EEXIST)
		return k3_fail_sys(e, errno, "cannot make directory %s", name);
	if (k3_open_dir(dirfd, name, &got, e))
		return -1;
	if (made && fchmod(got, mode))
		return k3_fail_sys(e, errno, "cannot set the mode of %s", name);
	*fd = k3_steal_fd(&got);
	return 0;
}

int k3_make_dirs(const char *path, mode_t mode, struct k3_err *e)
{
	K3_AUTO_FREE char *part = k3_xstrdup(path);

	for (char *slash = part; slash;) {
		slash = strchr(slash + strspn(slash, "/"), '/');
		if (slash)
			*slash = '\0';
		if (mkdir(part, mode) && errno != EEXIST)
			return k3_fail_sys(e, errno, "cannot make directory %s", part);
		if (slash)
			*slash = '/';
	}
	struct stat st;

	if (stat(path, &st))
		return k3_fail_sys(e, errno, "cannot look at %s", path);
	if (!S_ISDIR(st.st_mode))
		return k3_fail(e, K3_IO, "%s is not a directory", path);
	return 0;
}

int k3_rename_new(int olddir, const char *old, int newdir, const char *name, struct k3_err *e)
{
	struct stat st;

	if (renameat2(olddir, old, newdir, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return k3_fail_sys(e, errno, "cannot rename %s to %s", old, name);
	if (fstatat(newdir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return k3_fail_sys(e, EEXIST, "cannot rename %s to %s", old, name);
	if (renameat(olddir, old, newdir, name))
		return k3_fail_sys(e, errno, "cannot rename %s to %s", old, name);
	return 0;
}

/* Removal walks with one directory open; the way back up is "..", checked by inode. */
struct level {
	char *name;
	dev_t dev;
	ino_t ino;
};

struct removal {
	struct level *levels;
	size_t depth, cap;
	int fd; /* the directory being emptied */
};

static void removal_release(struct removal *r)
{
	for (size_t i = 0; i < r->depth; i++)
		free(r->levels[i].name);
	free(r->levels);
	k3_closep(&r->fd);
}

static int descend(struct removal *r, int parent, const char *name, dev_t dev, struct k3_err *e)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return k3_fail_sys(e, errno, "cannot open directory %s", name);
	if (fstat(fd, &st)) {
		k3_fail_sys(e, errno, "cannot look at %s", name);
		close(fd);
		return -1;
	}
	if (dev && st.st_dev != dev) {
		close(fd);
		return k3_fail(e, K3_BUSY, "%s is a mount point: not removed", name);
	}
	r->levels = k3_xgrow(r->levels, r->depth, &r->cap, sizeof(*r->levels));
	r->levels[r->depth++] = (struct level){ k3_xstrdup(name), st.st_dev, st.st_ino };
	k3_closep(&r->fd);
	r->fd = fd;
	return 0;
}

/* Unlinks what is no directory; *sub = name of the first sub-directory met, or NULL. */
static int empty_dir(int fd, char **sub, struct k3_err *e)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	*sub = NULL;
	if (!d) {
		k3_fail_sys(e, errno, "cannot read a directory to be removed");
		k3_closep(&copy);
		return -1;
	}
	for (struct dirent *ent; (ent = readdir(d));) {
		if (!strcmp(ent->d_name, ".") || !strcmp(ent->d_name, ".."))
			continue;
		if (unlinkat(fd, ent->d_name, 0) == 0 || errno == ENOENT)
			continue;
		if (errno != EISDIR && errno != EPERM) {
			k3_fail_sys(e, errno, "cannot remove %s", ent->d_name);
			closedir(d);
			return -1;
		}
		*sub = k3_xstrdup(ent->d_name);
		break;
	}
	closedir(d);
	return 0;
}

/* Leaves the empty innermost directory and removes it. */
static int ascend(struct removal *r, struct k3_err *e)
{
	struct level *up = &r->levels[r->depth - 2];
	K3_AUTO_FREE char *name = r->levels[r->depth - 1].name;
	K3_AUTO_FD int fd = openat(r->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	r->depth--;
	if (fd < 0 || fstat(fd, &st))
		return k3_fail_sys(e, errno, "cannot go back up from %s", name);
	if (st.st_dev != up->dev || st.st_ino != up->ino)
		return k3_fail(e, K3_BUSY, "%s was moved while being removed", name);
	if (unlinkat(fd, name, AT_REMOVEDIR))
		return k3_fail_sys(e, errno, "cannot remove %s", name);
	k3_closep(&r->fd);
	r->fd = k3_steal_fd(&fd);
	return 0;
}

int k3_remove_tree(int dirfd, const char *name, struct k3_err *e)
{
	__attribute__((cleanup(removal_release))) struct removal r = { .fd = -1 };

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return k3_fail_sys(e, errno, "cannot remove %s", name);
	if (descend(&r, dirfd, name, 0, e))
		return -1;
	for (;;) {
		K3_AUTO_FREE char *sub = NULL;

		if (empty_dir(r.fd, &sub, e))
			return k3_wrap(e, "%s", name);
		if (sub) {
			if (descend(&r, r.fd, sub, r.levels[0].dev, e))
				return k3_wrap(e, "%s", name);
			continue;
		}
		if (r.depth == 1)
			break;
		if (ascend(&r, e))
			return k3_wrap(e, "%s", name);
	}
	if (unlinkat(dirfd, name, AT_REMOVEDIR))
		return k3_fail_sys(e, errno, "cannot remove %s", name);
	return 0;
}
