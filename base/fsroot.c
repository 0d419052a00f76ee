/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fsroot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

/* Bounds the text that chained symlinks can pile up: 16 targets of PATH_MAX. */
#define TODO_MAX (64u << 10)
#define GETDENTS_BYTES (32u << 10)
/* Names of sub-directories waiting on all levels of one walk. */
#define WALK_NAMES_MAX (256u << 20)
#define COPY_CHUNK (256u << 10)

/* ---- names -------------------------------------------------------------------------- */

static void path_pop(struct k3_buf *b)
{
	size_t n = b->len;

	while (n && b->p[n - 1] != '/')
		n--;
	b->len = n ? n - 1 : 0;
	if (b->p)
		b->p[b->len] = 0;
}

static int path_push(struct k3_buf *b, const char *name, size_t n, struct k3_err *e)
{
	if (b->len && k3_buf_add(b, "/", 1, e))
		return -1;
	return k3_buf_add(b, name, n, e);
}

int k3_path_clean(const char *path, struct k3_buf *out, struct k3_err *e)
{
	k3_buf_reset(out);
	if (k3_buf_reserve(out, 0, e))
		return -1;
	for (const char *s = path; *s;) {
		size_t n = strcspn(s, "/");

		if (n == 2 && s[0] == '.' && s[1] == '.')
			path_pop(out);
		else if (n && !(n == 1 && s[0] == '.') && path_push(out, s, n, e))
			return -1;
		s += n;
		s += strspn(s, "/");
	}
	return 0;
}

/* One resolution on its way. */
struct walk_name {
	struct k3_root *root;
	struct k3_buf *real;
	struct k3_buf todo; /* text still to be resolved, from todo_at on */
	size_t todo_at;
	int at;      /* where the existing part of real ends; borrowed until own is set */
	int own;     /* the same when it is ours to close, or -1 */
	int pending; /* components at the end of real that do not exist yet */
	int links;
	bool make;
};

static void walk_name_release(struct walk_name *w)
{
	k3_buf_release(&w->todo);
	k3_closep(&w->own);
}

static void step_to(struct walk_name *w, int fd, bool ours)
{
	k3_closep(&w->own);
	w->at = fd;
	w->own = ours ? fd : -1;
}

static int step_up(struct walk_name *w, struct k3_err *e)
{
	if (!w->real->len)
		return 0;
	if (w->pending) {
		w->pending--;
	} else {
		int fd = openat(w->at, "..", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (fd < 0)
			return k3_fail_sys(e, errno, "cannot open the parent of %s",
					   (char *)w->real->p);
		step_to(w, fd, true);
	}
	path_pop(w->real);
	return 0;
}

/* `name` in the current directory is a symlink: its target goes in front of what is left. */
static int step_link(struct walk_name *w, const char *name, const char *target, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf next = K3_BUF(TODO_MAX);

	if (++w->links > K3_ROOT_LINKS_MAX)
		return k3_fail(e, K3_UNSAFE, "more than %d symlinks at %s", K3_ROOT_LINKS_MAX,
			       name);
	if (k3_buf_addf(&next, e, "%s/%s", target, (char *)w->todo.p + w->todo_at))
		return k3_wrap(e, "symlink %s", name);
	k3_buf_release(&w->todo);
	w->todo = next;
	next = K3_BUF(0);
	w->todo_at = 0;
	if (target[0] == '/') {
		step_to(w, w->root->fd, false);
		k3_buf_reset(w->real);
	}
	return 0;
}

static int step_down(struct walk_name *w, const char *name, struct k3_err *e)
{
	if (w->pending) {
		w->pending++;
		return path_push(w->real, name, strlen(name), e);
	}
	int fd = openat(w->at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0) {
		step_to(w, fd, true);
		return path_push(w->real, name, strlen(name), e);
	}
	if (errno == ENOENT && w->make) {
		w->pending = 1;
		return path_push(w->real, name, strlen(name), e);
	}
	if (errno == ENOENT)
		return k3_fail(e, K3_NOTFOUND, "%s does not exist", name);
	if (errno != ENOTDIR && errno != ELOOP)
		return k3_fail_sys(e, errno, "cannot open directory %s", name);
	char target[PATH_MAX];
	ssize_t n = readlinkat(w->at, name, target, sizeof(target) - 1);

	if (n < 0 && errno == EINVAL)
		return k3_fail(e, K3_FORMAT, "%s is not a directory", name);
	if (n < 0)
		return k3_fail_sys(e, errno, "cannot read symlink %s", name);
	target[n] = '\0';
	return step_link(w, name, target, e);
}

static int fail_long_name(const char *name, struct k3_err *e)
{
	return k3_fail(e, K3_LIMIT, "%.64s...: a name too long for a file system", name);
}

/* Makes the components that are still missing. */
static int make_pending(struct walk_name *w, struct k3_err *e)
{
	const char *s = (const char *)w->real->p + w->real->len;

	for (int left = w->pending; left; s--)
		if (s == (const char *)w->real->p || s[-1] == '/')
			if (!--left)
				break;
	for (; w->pending; w->pending--) {
		char name[NAME_MAX + 1];
		/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): real is reserved */
		size_t n = strcspn(s, "/");

		if (n > NAME_MAX)
			return fail_long_name(s, e);
		memcpy(name, s, n);
		name[n] = '\0';
		s += n + (s[n] == '/');
		/* The mode again: the umask and a set-gid parent have their say in mkdir. */
		if (mkdirat(w->at, name, 0755) || fchmodat(w->at, name, 0755, 0))
			return k3_fail_sys(e, errno, "cannot make directory %s", name);
		int fd = openat(w->at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (fd < 0)
			return k3_fail_sys(e, errno, "cannot open directory %s", name);
		step_to(w, fd, true);
		w->root->made++;
	}
	return 0;
}

static int walk_components(struct walk_name *w, struct k3_err *e)
{
	for (;;) {
		char name[NAME_MAX + 1];
		const char *s = (const char *)w->todo.p + w->todo_at;
		size_t skip = strspn(s, "/"), n = strcspn(s + skip, "/");

		s += skip;
		w->todo_at += skip + n;
		w->root->steps++;
		if (!n)
			return 0;
		if (n > NAME_MAX)
			return fail_long_name(s, e);
		memcpy(name, s, n);
		name[n] = '\0';
		if (!strcmp(name, "."))
			continue;
		if (strcmp(name, "..") ? step_down(w, name, e) : step_up(w, e))
			return -1;
	}
}

/*
 * The common case in one call: no symlink on the way, so the real path is the one asked for.
 * Everything else is left to the walk, which also knows what to say about it.
 */
static int open_plain(struct k3_root *root, int at, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	if (root->no_openat2 || !*path)
		return -1;
	long fd = syscall(SYS_openat2, at, path, &how, sizeof(how));

	/* EPERM: older seccomp filters answer so to calls they do not know. */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		root->no_openat2 = true;
	return (int)fd;
}

int k3_root_open_dir(struct k3_root *root, int at, const char *path, bool make, struct k3_buf *real,
		     struct k3_root_dir *out, struct k3_err *e)
{
	__attribute__((cleanup(walk_name_release))) struct walk_name w = {
		.root = root,
		.real = real,
		.at = at,
		.own = -1,
		.make = make,
		.todo = K3_BUF(TODO_MAX),
	};
	K3_AUTO_FD int fd = open_plain(root, at, path);

	if (k3_buf_reserve(real, 0, e))
		return -1;
	if (fd >= 0) {
		if (path_push(real, path, strlen(path), e))
			return k3_wrap(e, "path %.64s", path);
		*out = (struct k3_root_dir){ .fd = k3_steal_fd(&fd) };
		return 0;
	}
	if (k3_buf_add(&w.todo, path, strlen(path), e) || walk_components(&w, e) ||
	    make_pending(&w, e))
		return k3_wrap(e, "path %.64s", path);
	if (w.own < 0) {
		w.own = openat(w.at, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (w.own < 0)
			return k3_fail_sys(e, errno, "cannot open the root directory");
	}
	*out = (struct k3_root_dir){ .fd = k3_steal_fd(&w.own), .via_link = w.links > 0 };
	return 0;
}

/* ---- walking ------------------------------------------------------------------------- */

struct walk_level {
	int fd; /* -1: closed to save descriptors, reopened by ".." */
	dev_t dev;
	ino_t ino;
	size_t names; /* where this level's sub-directory names start */
	size_t next;  /* the next one to visit */
};

struct walk {
	const struct k3_walk_ops *ops;
	void *arg;
	struct walk_level *levels;
	size_t depth, cap;
	struct k3_buf names; /* NUL-terminated, all levels one after the other */
	dev_t dev;
	char *dents;
};

static void walk_release(struct walk *w)
{
	for (size_t i = 0; i < w->depth; i++)
		k3_closep(&w->levels[i].fd);
	free(w->levels);
	free(w->dents);
	k3_buf_release(&w->names);
}

static int show_entry(struct walk *w, int fd, const struct dirent64 *d, struct k3_err *e)
{
	struct k3_walk_ent ent = { .name = d->d_name, .ino = (ino_t)d->d_ino };
	struct stat st;

	if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
		return 0;
	ent.is_dir = d->d_type == DT_DIR;
	if (d->d_type == DT_UNKNOWN) {
		if (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW))
			return k3_fail_sys(e, errno, "cannot look at %s", d->d_name);
		ent.is_dir = S_ISDIR(st.st_mode);
	}
	bool descend = ent.is_dir;

	if (w->ops->entry && w->ops->entry(w->arg, fd, &ent, &descend, e))
		return -1;
	if (!ent.is_dir || !descend)
		return 0;
	return k3_buf_add(&w->names, ent.name, strlen(ent.name) + 1, e);
}

/* Lists the newest level's directory. */
static int list_level(struct walk *w, struct k3_err *e)
{
	struct walk_level *l = &w->levels[w->depth - 1];

	for (;;) {
		ssize_t n = getdents64(l->fd, w->dents, GETDENTS_BYTES);

		if (n < 0)
			return k3_fail_sys(e, errno, "cannot read a directory");
		if (!n)
			break;
		for (ssize_t at = 0; at < n;) {
			/* The kernel aligns the records; the buffer comes from malloc. */
			const struct dirent64 *d = (const void *)(w->dents + at);

			if (show_entry(w, l->fd, d, e))
				return -1;
			at += d->d_reclen;
		}
	}
	if (w->ops->listed && w->ops->listed(w->arg, l->fd, e))
		return -1;
	return 0;
}

static int push_level(struct walk *w, int at, const char *name, struct k3_err *e)
{
	struct stat st;
	K3_AUTO_FD int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return k3_fail_sys(e, errno, "cannot open directory %s", name);
	if (fstat(fd, &st))
		return k3_fail_sys(e, errno, "cannot look at %s", name);
	if (w->depth && st.st_dev != w->dev)
		return k3_fail(e, K3_BUSY, "%s is a mount point", name);
	w->dev = st.st_dev;
	w->levels = k3_xgrow(w->levels, w->depth, &w->cap, sizeof(*w->levels));
	w->levels[w->depth++] = (struct walk_level){ k3_steal_fd(&fd), st.st_dev, st.st_ino,
						     w->names.len, w->names.len };
	return 0;
}

static int walk_down(struct walk *w, const char *name, struct k3_err *e)
{
	if (push_level(w, w->levels[w->depth - 1].fd, name, e))
		return -1;
	int fd = w->levels[w->depth - 1].fd;

	if (w->ops->enter && w->ops->enter(w->arg, fd, name, e))
		return -1;
	if (w->depth - 1 > K3_WALK_FDS)
		k3_closep(&w->levels[w->depth - 2].fd);
	return list_level(w, e);
}

static int walk_up(struct walk *w, struct k3_err *e)
{
	struct walk_level *l = &w->levels[w->depth - 1], *up = l - 1;

	if (up->fd < 0) {
		struct stat st;

		up->fd = openat(l->fd, "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (up->fd < 0 || fstat(up->fd, &st))
			return k3_fail_sys(e, errno, "cannot go back up in a tree");
		if (st.st_dev != up->dev || st.st_ino != up->ino)
			return k3_fail(e, K3_BUSY, "a directory was moved while being read");
	}
	if (w->ops->leave && w->ops->leave(w->arg, l->fd, e))
		return -1;
	w->names.len = l->names;
	k3_closep(&l->fd);
	w->depth--;
	return 0;
}

int k3_walk(int fd, const struct k3_walk_ops *ops, void *arg, struct k3_err *e)
{
	__attribute__((cleanup(walk_release))) struct walk w = {
		.ops = ops,
		.arg = arg,
		.names = K3_BUF(WALK_NAMES_MAX),
	};

	w.dents = k3_xcalloc(1, GETDENTS_BYTES);
	if (push_level(&w, fd, ".", e) || list_level(&w, e))
		return -1;
	for (;;) {
		struct walk_level *l = &w.levels[w.depth - 1];

		if (l->next < w.names.len) {
			char name[NAME_MAX + 1];

			/* A copy: the names move when the next level is listed. */
			snprintf(name, sizeof(name), "%s", (char *)w.names.p + l->next);
			l->next += strlen(name) + 1;
			if (walk_down(&w, name, e))
				return k3_wrap(e, "%s", name);
			continue;
		}
		if (w.depth == 1)
			return 0;
		if (walk_up(&w, e))
			return -1;
	}
}

/* ---- copying ------------------------------------------------------------------------- */

/* An object for the xattr calls: an open file, or a path that must not be followed. */
struct xattr_obj {
	int fd;
	const char *path; /* used when fd is -1 */
};

static ssize_t list_xattrs(const struct xattr_obj *o, char *p, size_t n)
{
	return o->fd >= 0 ? flistxattr(o->fd, p, n) : llistxattr(o->path, p, n);
}

static ssize_t get_xattr(const struct xattr_obj *o, const char *name, char *p, size_t n)
{
	return o->fd >= 0 ? fgetxattr(o->fd, name, p, n) : lgetxattr(o->path, name, p, n);
}

static int copy_xattr_objs(const struct xattr_obj *from, const struct xattr_obj *to,
			   struct k3_err *e)
{
	ssize_t n = list_xattrs(from, NULL, 0);

	if (n == 0 || (n < 0 && (errno == ENOTSUP || errno == ENOENT)))
		return 0;
	if (n < 0)
		return k3_fail_sys(e, errno, "cannot list extended attributes");
	K3_AUTO_FREE char *names = k3_xcalloc(1, XATTR_LIST_MAX);
	K3_AUTO_FREE char *value = k3_xcalloc(1, XATTR_SIZE_MAX);

	n = list_xattrs(from, names, XATTR_LIST_MAX);
	if (n < 0)
		return k3_fail_sys(e, errno, "cannot list extended attributes");
	for (const char *s = names; s < names + n; s += strlen(s) + 1) {
		ssize_t len = get_xattr(from, s, value, XATTR_SIZE_MAX);

		if (len < 0)
			return k3_fail_sys(e, errno, "cannot read extended attribute %s", s);
		int rc = to->fd >= 0 ? fsetxattr(to->fd, s, value, (size_t)len, 0)
				     : lsetxattr(to->path, s, value, (size_t)len, 0);

		if (rc && errno != ENOTSUP)
			return k3_fail_sys(e, errno, "cannot set extended attribute %s", s);
	}
	return 0;
}

int k3_copy_xattrs(int from, int to, struct k3_err *e)
{
	return copy_xattr_objs(&(struct xattr_obj){ .fd = from }, &(struct xattr_obj){ .fd = to },
			       e);
}

static bool not_here(int errnum)
{
	return errnum == ENOSYS || errnum == EOPNOTSUPP || errnum == EINVAL || errnum == EXDEV ||
	       errnum == ENOTTY || errnum == EBADF || errnum == EPERM;
}

/* Copies [at, end) by hand; the file may turn out to end earlier. */
static int copy_plain(int from, int to, uint64_t at, uint64_t end, struct k3_err *e)
{
	K3_AUTO_FREE uint8_t *chunk = k3_xcalloc(1, COPY_CHUNK);

	while (at < end) {
		size_t want = end - at < COPY_CHUNK ? (size_t)(end - at) : COPY_CHUNK;
		ssize_t n = pread(from, chunk, want, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return k3_fail_sys(e, errno, "cannot read");
		if (!n)
			return 0;
		if (k3_pwrite_all(to, chunk, (size_t)n, at, "the copy", e))
			return -1;
		at += (uint64_t)n;
	}
	return 0;
}

static int copy_part(int from, int to, uint64_t at, uint64_t end, struct k3_err *e)
{
	off_t in = (off_t)at, out = (off_t)at;

	while ((uint64_t)in < end) {
		ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(end - (uint64_t)in), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && !not_here(errno))
			return k3_fail_sys(e, errno, "cannot copy");
		if (n <= 0)
			return copy_plain(from, to, (uint64_t)in, end, e);
	}
	return 0;
}

/*
 * Holes are left out: a sparse file of a few blocks may claim to have gigabytes, and the kernel
 * writes zeros for those that it is told to copy.
 */
static int copy_data(int from, int to, uint64_t size, bool reflink, struct k3_err *e)
{
	if (!size || (reflink && ioctl(to, FICLONE, from) == 0))
		return 0;
	for (uint64_t at = 0; at < size;) {
		off_t data = lseek(from, (off_t)at, SEEK_DATA);

		if (data < 0 && errno == ENXIO)
			break;
		off_t end = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);

		/* Where the file system does not know, all is data. */
		if (end < 0) {
			data = (off_t)at;
			end = (off_t)size;
		}
		if (copy_part(from, to, (uint64_t)data, (uint64_t)end, e))
			return -1;
		at = (uint64_t)end;
	}
	if (ftruncate(to, (off_t)size))
		return k3_fail_sys(e, errno, "cannot set the size");
	return 0;
}

static int copy_file(int sdir, const char *sname, int ddir, const char *dname,
		     const struct stat *st, bool reflink, struct k3_err *e)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	K3_AUTO_FD int from = openat(sdir, sname, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (from < 0)
		return k3_fail_sys(e, errno, "cannot open");
	K3_AUTO_FD int to = openat(ddir, dname,
				   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (to < 0)
		return k3_fail_sys(e, errno, "cannot create");
	if (copy_data(from, to, (uint64_t)st->st_size, reflink, e))
		return -1;
	if (fchown(to, st->st_uid, st->st_gid))
		return k3_fail_sys(e, errno, "cannot set the owner");
	if (k3_copy_xattrs(from, to, e))
		return -1;
	if (fchmod(to, st->st_mode & 07777) || futimens(to, times))
		return k3_fail_sys(e, errno, "cannot set mode and times");
	return k3_close(&to, "the copy", e);
}

static int make_special(int sdir, const char *sname, int ddir, const char *dname,
			const struct stat *st, struct k3_err *e)
{
	char target[PATH_MAX];

	if (!S_ISLNK(st->st_mode)) {
		if (mknodat(ddir, dname, st->st_mode, st->st_rdev))
			return k3_fail_sys(e, errno, "cannot make a device, fifo or socket");
		return 0;
	}
	ssize_t n = readlinkat(sdir, sname, target, sizeof(target) - 1);

	if (n < 0)
		return k3_fail_sys(e, errno, "cannot read the symlink");
	target[n] = '\0';
	if (symlinkat(target, ddir, dname))
		return k3_fail_sys(e, errno, "cannot make the symlink");
	return 0;
}

static int copy_special(int sdir, const char *sname, int ddir, const char *dname,
			const struct stat *st, struct k3_err *e)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	char from[NAME_MAX + 64], to[NAME_MAX + 64];

	if (make_special(sdir, sname, ddir, dname, st, e))
		return -1;
	if (fchownat(ddir, dname, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW))
		return k3_fail_sys(e, errno, "cannot set the owner");
	/* There is no xattr call relative to a directory; /proc gives one. */
	snprintf(from, sizeof(from), "/proc/self/fd/%d/%s", sdir, sname);
	snprintf(to, sizeof(to), "/proc/self/fd/%d/%s", ddir, dname);
	if (copy_xattr_objs(&(struct xattr_obj){ -1, from }, &(struct xattr_obj){ -1, to }, e))
		return -1;
	if (!S_ISLNK(st->st_mode) && fchmodat(ddir, dname, st->st_mode & 07777, 0))
		return k3_fail_sys(e, errno, "cannot set the mode");
	if (utimensat(ddir, dname, times, AT_SYMLINK_NOFOLLOW))
		return k3_fail_sys(e, errno, "cannot set the times");
	return 0;
}

bool k3_link_refused(int errnum)
{
	return errnum == EMLINK || errnum == EPERM || errnum == EOPNOTSUPP;
}

int k3_copy_node(int sdir, const char *sname, int ddir, const char *dname, bool reflink,
		 struct k3_err *e)
{
	struct stat st;
	int rc;

	if (fstatat(sdir, sname, &st, AT_SYMLINK_NOFOLLOW))
		return k3_fail_sys(e, errno, "cannot look at %s", sname);
	if (S_ISREG(st.st_mode))
		rc = copy_file(sdir, sname, ddir, dname, &st, reflink, e);
	else
		rc = copy_special(sdir, sname, ddir, dname, &st, e);
	return rc ? k3_wrap(e, "copy of %s", sname) : 0;
}
