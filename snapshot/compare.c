/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two trees side by side.  The walk goes over the tree that is known to be right; of the other
 * one only the directory at the same place is open.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fsroot.h"
#include "base/mem.h"
#include "snapshot/tree.h"

#define PIECE (128u << 10)
#define PATH_BYTES_MAX (1u << 20)
#define XATTRS_MAX (64u << 10) /* of a list and of a value: the kernel's own limits */
#define WHAT_MAX 512
#define PROC_PATH_MAX (64 + NAME_MAX)
#define SHOWN_MAX 80 /* bytes of a link target in a message */

struct snap_compare {
	/* Of pairs whose content and attributes are equal, to be told when they come again. */
	struct inomap same;
	uint8_t *want_piece, *have_piece;
};

/* One comparison. */
struct side {
	struct snap_compare *c;
	int have; /* the directory at the same place in the other tree */
	dev_t have_dev;
	struct k3_buf path; /* of the directory, without a slash at its end */
	ino_t *ups;         /* inodes of the directories above `have` */
	size_t nups, cap_ups;
	size_t differences;
	/* Inodes with several names: of the right tree to the other, and back. */
	struct inomap to_have, to_want;
	struct k3_cancel *cancel;
	snap_differ_fn *fn;
	void *arg;
};

struct snap_compare *snap_compare_new(void)
{
	struct snap_compare *c = k3_xcalloc(1, sizeof(*c));

	c->want_piece = k3_xcalloc(1, PIECE);
	c->have_piece = k3_xcalloc(1, PIECE);
	return c;
}

void snap_compare_free(struct snap_compare *c)
{
	if (!c)
		return;
	inomap_release(&c->same);
	free(c->want_piece);
	free(c->have_piece);
	free(c);
}

/* ---- saying what differs ------------------------------------------------------------- */

/* name: an entry of the directory, or "" for itself. */
static int differ(struct side *s, const char *name, struct k3_err *e, const char *fmt, ...)
	K3_PRINTF(4, 5);

static int differ(struct side *s, const char *name, struct k3_err *e, const char *fmt, ...)
{
	size_t before = s->path.len;
	char what[WHAT_MAX];
	va_list ap;

	s->differences++;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (*name && (k3_buf_addf(&s->path, e, "%s%s", before ? "/" : "", name)))
		return -1;
	int rc = s->fn(s->arg, s->path.len ? (const char *)s->path.p : "", what, e);

	s->path.len = before;
	if (s->path.p)
		s->path.p[before] = '\0';
	return rc;
}

/* The same for what the system refuses. */
static int differ_sys(struct side *s, const char *name, int errnum, const char *what,
		      struct k3_err *e)
{
	struct k3_err why;

	k3_fail_sys(&why, errnum, "%s", what);
	return differ(s, name, e, "%s", why.msg);
}

static const char *kind_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "a regular file";
	case S_IFDIR:
		return "a directory";
	case S_IFLNK:
		return "a symbolic link";
	case S_IFCHR:
		return "a character device";
	case S_IFBLK:
		return "a block device";
	case S_IFIFO:
		return "a named pipe";
	case S_IFSOCK:
		return "a socket";
	}
	return "of an unknown type";
}

static void time_text(const struct timespec *t, char *out, size_t size)
{
	struct tm tm;
	char day[32];

	if (!gmtime_r(&t->tv_sec, &tm) || !strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm))
		snprintf(day, sizeof(day), "%lld", (long long)t->tv_sec);
	snprintf(out, size, "%s.%09ldZ", day, t->tv_nsec);
}

/* ---- extended attributes -------------------------------------------------------------- */

/* One name of a directory, for the calls that know no directory. */
struct proc_path {
	char text[PROC_PATH_MAX];
};

static struct proc_path proc_path(int dir, const char *name)
{
	struct proc_path p;

	snprintf(p.text, sizeof(p.text), "/proc/self/fd/%d/%s", dir, *name ? name : ".");
	return p;
}

/* The machine labels files by where they lie, not by what the image says. */
static bool is_ours_to_compare(const char *xattr)
{
	return strcmp(xattr, "security.selinux") != 0;
}

/* -1 with errno; no support for them is none of them. */
static ssize_t list_xattrs(const char *path, char *out)
{
	ssize_t n = llistxattr(path, out, XATTRS_MAX);

	return n < 0 && (errno == ENOTSUP || errno == ENOSYS) ? 0 : n;
}

static bool in_list(const char *list, ssize_t n, const char *name)
{
	for (const char *at = list; at < list + n; at += strlen(at) + 1)
		if (!strcmp(at, name))
			return true;
	return false;
}

struct xattrs {
	char *want, *have; /* lists of names */
	ssize_t nwant, nhave;
	uint8_t *want_value, *have_value;
};

static void xattrs_release(struct xattrs *x)
{
	free(x->want);
	free(x->have);
	free(x->want_value);
	free(x->have_value);
}

static int compare_value(struct side *s, const struct xattrs *x, const struct proc_path *want,
			 const struct proc_path *have, const char *name, const char *xattr,
			 struct k3_err *e)
{
	ssize_t n = lgetxattr(want->text, xattr, x->want_value, XATTRS_MAX);

	if (n < 0)
		return k3_fail_sys(e, errno, "cannot read the extended attribute %s", xattr);
	ssize_t m = lgetxattr(have->text, xattr, x->have_value, XATTRS_MAX);

	if (m < 0)
		return differ_sys(s, name, errno, "an extended attribute cannot be read", e);
	if (n != m || (n && memcmp(x->want_value, x->have_value, (size_t)n)))
		return differ(s, name, e, "extended attribute %s has another value", xattr);
	return 0;
}

static int compare_xattrs(struct side *s, int want, const char *name, struct k3_err *e)
{
	const struct proc_path w = proc_path(want, name), h = proc_path(s->have, name);
	ssize_t n = llistxattr(w.text, NULL, 0), m = llistxattr(h.text, NULL, 0);
	__attribute__((cleanup(xattrs_release))) struct xattrs x = { 0 };

	if (n <= 0 && m <= 0)
		return 0;
	x.want = k3_xcalloc(1, XATTRS_MAX);
	x.have = k3_xcalloc(1, XATTRS_MAX);
	x.nwant = list_xattrs(w.text, x.want);
	if (x.nwant < 0)
		return k3_fail_sys(e, errno, "cannot list the extended attributes of %s", name);
	x.nhave = list_xattrs(h.text, x.have);
	if (x.nhave < 0)
		return differ_sys(s, name, errno, "extended attributes cannot be listed", e);
	x.want_value = k3_xcalloc(1, XATTRS_MAX);
	x.have_value = k3_xcalloc(1, XATTRS_MAX);
	for (const char *at = x.want; at < x.want + x.nwant; at += strlen(at) + 1) {
		if (!is_ours_to_compare(at))
			continue;
		if (in_list(x.have, x.nhave, at)
			    ? compare_value(s, &x, &w, &h, name, at, e)
			    : differ(s, name, e, "extended attribute %s is missing", at))
			return -1;
	}
	for (const char *at = x.have; at < x.have + x.nhave; at += strlen(at) + 1)
		if (is_ours_to_compare(at) && !in_list(x.want, x.nwant, at) &&
		    differ(s, name, e, "extended attribute %s is none of the image's", at))
			return -1;
	return 0;
}

/* ---- content --------------------------------------------------------------------------- */

/* Reads until n bytes or the end.  -1 with errno. */
static ssize_t read_full(int fd, uint8_t *out, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = read(fd, out + done, n - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (!got)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

static int compare_bytes(struct side *s, int want, int have, const char *name, struct k3_err *e)
{
	const struct snap_compare *c = s->c;

	for (uint64_t at = 0;; at += PIECE) {
		if (k3_cancel_check(s->cancel, e))
			return -1;
		ssize_t n = read_full(want, c->want_piece, PIECE);

		if (n < 0)
			return k3_fail_sys(e, errno, "cannot read %s", name);
		ssize_t m = read_full(have, c->have_piece, PIECE);

		if (m < 0)
			return differ_sys(s, name, errno, "cannot be read", e);
		ssize_t i = 0;

		if (n != m || memcmp(c->want_piece, c->have_piece, (size_t)n)) {
			while (i < n && i < m && c->want_piece[i] == c->have_piece[i])
				i++;
			return differ(s, name, e, "content differs from byte %" PRIu64 " on",
				      at + (uint64_t)i);
		}
		if (n < (ssize_t)PIECE)
			return 0;
	}
}

static int compare_content(struct side *s, int want, const char *name, struct k3_err *e)
{
	K3_AUTO_FD int w = openat(want, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	K3_AUTO_FD int h = -1;

	if (w < 0)
		return k3_fail_sys(e, errno, "cannot open %s", name);
	h = openat(s->have, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (h < 0)
		return differ_sys(s, name, errno, "cannot be opened", e);
	return compare_bytes(s, w, h, name, e);
}

static int compare_target(struct side *s, int want, const char *name, struct k3_err *e)
{
	char w[PATH_MAX], h[PATH_MAX];
	ssize_t n = readlinkat(want, name, w, sizeof(w));

	if (n < 0)
		return k3_fail_sys(e, errno, "cannot read the symbolic link %s", name);
	ssize_t m = readlinkat(s->have, name, h, sizeof(h));

	if (m < 0)
		return differ_sys(s, name, errno, "cannot be read", e);
	if (n == m && !memcmp(w, h, (size_t)n))
		return 0;
	return differ(s, name, e, "symbolic link leads to \"%.*s\" instead of \"%.*s\"",
		      m < SHOWN_MAX ? (int)m : SHOWN_MAX, h, n < SHOWN_MAX ? (int)n : SHOWN_MAX, w);
}

/* ---- one entry ----------------------------------------------------------------------------- */

static int compare_owner_mode(struct side *s, const char *name, const struct stat *w,
			      const struct stat *h, struct k3_err *e)
{
	if ((w->st_mode & 07777) != (h->st_mode & 07777) &&
	    differ(s, name, e, "mode is %04o instead of %04o", (unsigned)h->st_mode & 07777,
		   (unsigned)w->st_mode & 07777))
		return -1;
	if ((w->st_uid != h->st_uid || w->st_gid != h->st_gid) &&
	    differ(s, name, e, "owner is %u:%u instead of %u:%u", (unsigned)h->st_uid,
		   (unsigned)h->st_gid, (unsigned)w->st_uid, (unsigned)w->st_gid))
		return -1;
	return 0;
}

static int compare_mtime(struct side *s, const char *name, const struct stat *w,
			 const struct stat *h, struct k3_err *e)
{
	char want[64], have[64];

	if (w->st_mtim.tv_sec == h->st_mtim.tv_sec && w->st_mtim.tv_nsec == h->st_mtim.tv_nsec)
		return 0;
	time_text(&w->st_mtim, want, sizeof(want));
	time_text(&h->st_mtim, have, sizeof(have));
	return differ(s, name, e, "modification time is %s instead of %s", have, want);
}

/*
 * Names of one inode in the right tree must be names of one inode in the other, and of no more
 * than these.  That inode may have further names in other trees.
 */
static int compare_links(struct side *s, const char *name, const struct stat *w,
			 const struct stat *h, bool *seen, struct k3_err *e)
{
	uint64_t *there = NULL, *back = NULL, to = h->st_ino, from = w->st_ino;
	bool fresh_there = true, fresh_back = true;

	*seen = false;
	if (w->st_nlink > 1)
		there = inomap_at(&s->to_have, w->st_ino, &fresh_there);
	if (h->st_nlink > 1)
		back = inomap_at(&s->to_want, h->st_ino, &fresh_back);
	if (!fresh_there && *there != to)
		return differ(s, name, e, "is no hard link to the file that it should be one of");
	if (!fresh_back && *back != from)
		return differ(s, name, e, "is a hard link to a file that is another one");
	*seen = !fresh_there;
	if (there)
		*there = to;
	if (back)
		*back = from;
	return 0;
}

/* Both inodes as they are now; whoever changes either gives it another ctime. */
static uint64_t pair_mark(const struct stat *w, const struct stat *h)
{
	const uint64_t parts[] = { w->st_ino, (uint64_t)w->st_ctim.tv_sec,
				   (uint64_t)w->st_ctim.tv_nsec, (uint64_t)h->st_ctim.tv_sec,
				   (uint64_t)h->st_ctim.tv_nsec };
	uint64_t mark = h->st_ino;

	for (size_t i = 0; i < K3_ARRAY_LEN(parts); i++)
		mark = (mark ^ parts[i]) * UINT64_C(0x9e3779b97f4a7c15) + (mark >> 29);
	return mark | 1;
}

/* A device or a pipe has nothing in it to compare. */
static int compare_inside(struct side *s, int want, const char *name, const struct stat *w,
			  const struct stat *h, struct k3_err *e)
{
	if (S_ISLNK(w->st_mode))
		return compare_target(s, want, name, e);
	if ((S_ISCHR(w->st_mode) || S_ISBLK(w->st_mode)) && w->st_rdev != h->st_rdev)
		return differ(s, name, e, "device is %u:%u instead of %u:%u", major(h->st_rdev),
			      minor(h->st_rdev), major(w->st_rdev), minor(w->st_rdev));
	if (!S_ISREG(w->st_mode))
		return 0;
	if (w->st_size != h->st_size)
		return differ(s, name, e, "has %lld bytes instead of %lld", (long long)h->st_size,
			      (long long)w->st_size);
	return w->st_size ? compare_content(s, want, name, e) : 0;
}

static int compare_file(struct side *s, int want, const char *name, const struct stat *w,
			const struct stat *h, struct k3_err *e)
{
	size_t before = s->differences;
	bool seen = false, fresh;
	uint64_t *mark;

	/* containerd makes two links of one link with two names, when it copies a tree. */
	if (S_ISREG(w->st_mode) && compare_links(s, name, w, h, &seen, e))
		return -1;
	if (seen)
		return 0;
	mark = inomap_at(&s->c->same, h->st_ino, &fresh);
	if (*mark == pair_mark(w, h))
		return 0;
	if (compare_owner_mode(s, name, w, h, e) || compare_mtime(s, name, w, h, e) ||
	    compare_xattrs(s, want, name, e) || compare_inside(s, want, name, w, h, e))
		return -1;
	if (s->differences == before)
		*mark = pair_mark(w, h);
	return 0;
}

static int compare_entry(void *arg, int fd, const struct k3_walk_ent *ent, bool *descend,
			 struct k3_err *e)
{
	struct side *s = arg;
	struct stat w, h;

	if (k3_cancel_check(s->cancel, e))
		return -1;
	if (fstatat(fd, ent->name, &w, AT_SYMLINK_NOFOLLOW))
		return k3_fail_sys(e, errno, "cannot look at %s", ent->name);
	*descend = false;
	if (fstatat(s->have, ent->name, &h, AT_SYMLINK_NOFOLLOW)) {
		if (errno == ENOENT)
			return differ(s, ent->name, e, "is missing");
		return differ_sys(s, ent->name, errno, "cannot be looked at", e);
	}
	if ((w.st_mode & S_IFMT) != (h.st_mode & S_IFMT))
		return differ(s, ent->name, e, "is %s instead of %s", kind_name(h.st_mode),
			      kind_name(w.st_mode));
	if (!S_ISDIR(w.st_mode))
		return compare_file(s, fd, ent->name, &w, &h, e);
	if (compare_owner_mode(s, ent->name, &w, &h, e) || compare_xattrs(s, fd, ent->name, e))
		return -1;
	if (h.st_dev != s->have_dev)
		return differ(s, ent->name, e, "is a mount point");
	*descend = true;
	return 0;
}

/* ---- directories --------------------------------------------------------------------------- */

static void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* Entries that only the other tree has. */
static int find_added(void *arg, int fd, struct k3_err *e)
{
	struct side *s = arg;
	int copy = openat(s->have, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	__attribute__((cleanup(closedirp))) DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct stat st;

	if (!d) {
		int errnum = errno;

		k3_closep(&copy);
		return differ_sys(s, "", errnum, "cannot be listed", e);
	}
	for (;;) {
		errno = 0;
		const struct dirent *ent = readdir(d);

		if (!ent)
			return errno ? differ_sys(s, "", errno, "cannot be listed", e) : 0;
		if (!strcmp(ent->d_name, ".") || !strcmp(ent->d_name, ".."))
			continue;
		if (!fstatat(fd, ent->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		if (errno != ENOENT)
			return k3_fail_sys(e, errno, "cannot look at %s", ent->d_name);
		if (differ(s, ent->d_name, e, "is none of the image's"))
			return -1;
	}
}

static int go_down(void *arg, int fd, const char *name, struct k3_err *e)
{
	struct side *s = arg;
	struct stat up;
	int below;

	(void)fd;
	if (fstat(s->have, &up))
		return k3_fail_sys(e, errno, "cannot look at the directory of %s", name);
	below = openat(s->have, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (below < 0)
		return k3_fail_sys(e, errno, "cannot open directory %s", name);
	k3_closep(&s->have);
	s->have = below;
	s->ups = k3_xgrow(s->ups, s->nups, &s->cap_ups, sizeof(*s->ups));
	s->ups[s->nups++] = up.st_ino;
	return k3_buf_addf(&s->path, e, "%s%s", s->path.len ? "/" : "", name);
}

static int go_up(void *arg, int fd, struct k3_err *e)
{
	struct side *s = arg;
	struct stat st;
	char *slash;
	int up = openat(s->have, "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	(void)fd;
	if (up < 0)
		return k3_fail_sys(e, errno, "cannot go back up in a tree");
	k3_closep(&s->have);
	s->have = up;
	if (fstat(up, &st))
		return k3_fail_sys(e, errno, "cannot look at a directory");
	if (st.st_ino != s->ups[--s->nups])
		return k3_fail(e, K3_BUSY, "a directory was moved while being read");
	slash = memrchr(s->path.p, '/', s->path.len);
	s->path.len = slash ? (size_t)(slash - (char *)s->path.p) : 0;
	s->path.p[s->path.len] = '\0';
	return 0;
}

static void side_release(struct side *s)
{
	k3_closep(&s->have);
	free(s->ups);
	k3_buf_release(&s->path);
	inomap_release(&s->to_have);
	inomap_release(&s->to_want);
}

int snap_compare(struct snap_compare *c, int want, int have, struct k3_cancel *cancel,
		 snap_differ_fn *fn, void *arg, struct k3_err *e)
{
	static const struct k3_walk_ops ops = {
		.entry = compare_entry,
		.listed = find_added,
		.enter = go_down,
		.leave = go_up,
	};
	__attribute__((cleanup(side_release))) struct side s = {
		.c = c,
		.have = openat(have, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.path = K3_BUF(PATH_BYTES_MAX),
		.cancel = cancel,
		.fn = fn,
		.arg = arg,
	};
	struct stat w, h;

	if (s.have < 0 || fstat(s.have, &h) || fstat(want, &w))
		return k3_fail_sys(e, errno, "cannot open the tree");
	s.have_dev = h.st_dev;
	if (compare_owner_mode(&s, "", &w, &h, e))
		return -1;
	return k3_walk(want, &ops, &s, e);
}
