/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of a tree that shares what it may with the original. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsroot.h"
#include "base/mem.h"
#include "snapshot/tree.h"

/* Paths of first copies of multi-link files; a million files fit. */
#define PATHS_MAX (128u << 20)
#define PATH_BYTES_MAX (1u << 20)
#define CANCEL_STEP 1024

struct clone {
	int root;  /* of the copy; borrowed */
	int *dirs; /* open directories of the copy from the root down; -1: closed meanwhile */
	size_t depth, cap;
	enum snap_share share;
	bool linked;
	uid_t uid; /* what new directories get */
	gid_t gid;
	bool gid_known;
	struct k3_cancel *cancel;
	unsigned since_check;
	struct k3_buf path;   /* of the directory in work, for first */
	struct inomap copies; /* inode of the original -> offset in first, plus 1 */
	struct k3_buf first;  /* NUL-terminated paths of the first copies */
};

static void clone_release(struct clone *c)
{
	for (size_t i = 1; i < c->depth; i++)
		k3_closep(&c->dirs[i]);
	free(c->dirs);
	k3_buf_release(&c->path);
	k3_buf_release(&c->first);
	inomap_release(&c->copies);
}

static int here(const struct clone *c)
{
	return c->dirs[c->depth - 1];
}

/* Links `name` to the copy that an earlier name of the same inode has got. */
static int link_copy(struct clone *c, uint64_t at, const char *name, bool *done, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf real = K3_BUF(PATH_BYTES_MAX);
	const char *path = (const char *)c->first.p + at - 1;
	const char *slash = strrchr(path, '/');
	K3_AUTO_FREE char *dir = k3_xstrndup(path, slash ? (size_t)(slash - path) : 0);
	struct k3_root root = { .fd = c->root };
	struct k3_root_dir in;

	if (k3_root_open_dir(&root, c->root, dir, false, &real, &in, e))
		return -1;
	int rc = linkat(in.fd, slash ? slash + 1 : path, here(c), name, 0);
	int errnum = errno;

	close(in.fd);
	*done = rc == 0;
	if (rc && errnum != EMLINK)
		return k3_fail_sys(e, errnum, "cannot link %s", name);
	return 0;
}

static int remember_copy(struct clone *c, uint64_t *value, const char *name, struct k3_err *e)
{
	size_t at = c->first.len;

	if (c->path.len &&
	    (k3_buf_add(&c->first, c->path.p, c->path.len, e) || k3_buf_add(&c->first, "/", 1, e)))
		return -1;
	if (k3_buf_add(&c->first, name, strlen(name) + 1, e))
		return -1;
	*value = at + 1;
	return 0;
}

/* The original's names that lie in its tree become names of one copy. */
static int copy_one(struct clone *c, int fd, const char *name, struct k3_err *e)
{
	struct stat st;
	bool fresh, done = false;

	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW))
		return k3_fail_sys(e, errno, "cannot look at %s", name);
	if (st.st_nlink > 1) {
		uint64_t *value = inomap_at(&c->copies, st.st_ino, &fresh);

		if (fresh ? remember_copy(c, value, name, e) : link_copy(c, *value, name, &done, e))
			return -1;
	}
	return done ? 0 : k3_copy_node(fd, name, here(c), name, c->share != SNAP_COPY, e);
}

static bool may_copy(int errnum)
{
	return errnum == EMLINK || errnum == EXDEV || errnum == EPERM || errnum == EOPNOTSUPP;
}

static int clone_entry(void *arg, int fd, const struct k3_walk_ent *ent, bool *descend,
		       struct k3_err *e)
{
	struct clone *c = arg;

	(void)descend;
	if (++c->since_check == CANCEL_STEP) {
		c->since_check = 0;
		if (k3_cancel_check(c->cancel, e))
			return -1;
	}
	if (ent->is_dir)
		return 0;
	if (c->share != SNAP_HARDLINK)
		return copy_one(c, fd, ent->name, e);
	if (linkat(fd, ent->name, here(c), ent->name, 0) == 0) {
		c->linked = true;
		return 0;
	}
	if (!may_copy(errno))
		return k3_fail_sys(e, errno, "cannot link %s", ent->name);
	if (errno == EXDEV)
		c->share = SNAP_REFLINK;
	return copy_one(c, fd, ent->name, e);
}

static int clone_enter(void *arg, int fd, const char *name, struct k3_err *e)
{
	struct clone *c = arg;

	(void)fd;
	/* Its final attributes come last: a set-gid bit or ACL would be handed down. */
	if (mkdirat(here(c), name, 0700))
		return k3_fail_sys(e, errno, "cannot make directory %s", name);
	int made = openat(here(c), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (made < 0)
		return k3_fail_sys(e, errno, "cannot open directory %s", name);
	if (c->depth > K3_WALK_FDS)
		k3_closep(&c->dirs[c->depth - 1]);
	c->dirs = k3_xgrow(c->dirs, c->depth, &c->cap, sizeof(*c->dirs));
	c->dirs[c->depth++] = made;
	if (c->path.len && k3_buf_add(&c->path, "/", 1, e))
		return -1;
	return k3_buf_add(&c->path, name, strlen(name), e);
}

/* Gives the directory `to` of the copy what the original has. */
static int copy_dir_attrs(struct clone *c, int from, int to, struct k3_err *e)
{
	struct stat st;

	if (fstat(from, &st))
		return k3_fail_sys(e, errno, "cannot look at a directory");
	const struct timespec times[2] = { st.st_atim, st.st_mtim };

	if ((!c->gid_known || st.st_uid != c->uid || st.st_gid != c->gid) &&
	    fchown(to, st.st_uid, st.st_gid))
		return k3_fail_sys(e, errno, "cannot set the owner of a directory");
	if (k3_copy_xattrs(from, to, e))
		return -1;
	if (fchmod(to, st.st_mode & 07777) || futimens(to, times))
		return k3_fail_sys(e, errno, "cannot set mode and times of a directory");
	return 0;
}

static int clone_leave(void *arg, int fd, struct k3_err *e)
{
	struct clone *c = arg;
	K3_AUTO_FD int done = here(c);

	c->depth--;
	if (here(c) < 0) {
		int up = openat(done, "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (up < 0)
			return k3_fail_sys(e, errno, "cannot go back up in a tree");
		c->dirs[c->depth - 1] = up;
	}
	while (c->path.len && c->path.p[c->path.len - 1] != '/')
		c->path.len--;
	c->path.len -= c->path.len > 0;
	return copy_dir_attrs(c, fd, done, e);
}

int clone_tree(int from, int to, enum snap_share share, struct k3_cancel *cancel, bool *linked,
	       struct k3_err *e)
{
	static const struct k3_walk_ops ops = {
		.entry = clone_entry,
		.enter = clone_enter,
		.leave = clone_leave,
	};
	__attribute__((cleanup(clone_release))) struct clone c = {
		.root = to,
		.share = share,
		.cancel = cancel,
		.path = K3_BUF(PATH_BYTES_MAX),
		.first = K3_BUF(PATHS_MAX),
	};
	struct stat st;

	if (fstat(to, &st))
		return k3_fail_sys(e, errno, "cannot look at the new tree");
	c.uid = st.st_uid;
	c.gid = st.st_gid;
	c.gid_known = !(st.st_mode & S_ISGID);
	c.dirs = k3_xgrow(NULL, 0, &c.cap, sizeof(*c.dirs));
	c.dirs[c.depth++] = to;
	if (k3_walk(from, &ops, &c, e) || copy_dir_attrs(&c, from, to, e))
		return k3_wrap(e, "clone of the parent tree");
	*linked = c.linked;
	return 0;
}
