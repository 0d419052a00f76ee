/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of a tree that shares what it may with the original. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fsroot.h"
#include "base/mem.h"
#include "snapshot/tree.h"
#include "snapshot/walk.h"

/* Paths of first copies of multi-link files; a million files fit. */
#define PATHS_MAX (128u << 20)
#define PATH_BYTES_MAX (1u << 20)
/* Every so many links the inode number that getdents told is compared with stat's. */
#define SAMPLE_STEP 64
/* What mkdir takes from its mode argument. */
#define MKDIR_BITS 01777

/* What the threads of one clone share. */
struct clone {
	int root;                /* of the copy; borrowed */
	struct k3_monitor *lock; /* for the groups of hard-linked files that are copied */
	struct inomap copies;    /* inode of the original -> offset in first, plus 1 */
	struct inomap refused;   /* set of inodes that took no further name, and were copied */
	struct k3_buf first;     /* NUL-terminated paths of the first copies */
};

/* What each has of its own. */
struct cloner {
	struct clone *c;
	enum snap_share share;
	bool linked;
	/*
	 * Seen on directories just made: mode bits that survive umask and whatever is handed
	 * down from above the tree, and the owner they get (0 bits: not seen yet).
	 */
	mode_t kept;
	uid_t uid;
	gid_t gid;
	bool by_ino; /* d_ino is st_ino here, as far as seen */
	unsigned since_sample;
	struct inomap known; /* set of the inodes linked */
};

/* Links `name` in `dir` to the copy that another name of the same inode has got. */
static int link_to_copy(const struct clone *c, int dir, const char *name, uint64_t at, bool *done,
			struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf real = K3_BUF(PATH_BYTES_MAX);
	const char *path = (const char *)c->first.p + at - 1;
	const char *slash = strrchr(path, '/');
	K3_AUTO_FREE char *parent = k3_xstrndup(path, slash ? (size_t)(slash - path) : 0);
	struct k3_root root = { .fd = c->root };
	struct k3_root_dir in;

	if (k3_root_open_dir(&root, c->root, parent, false, &real, &in, e))
		return -1;
	int rc = linkat(in.fd, slash ? slash + 1 : path, dir, name, 0);
	int errnum = errno;

	close(in.fd);
	*done = rc == 0;
	if (rc && !k3_link_refused(errnum))
		return k3_fail_sys(e, errnum, "cannot link %s", name);
	return 0;
}

static int remember_copy(struct clone *c, const struct walk_dir *d, uint64_t *value,
			 const char *name, struct k3_err *e)
{
	size_t at = c->first.len;

	if (*d->path && (k3_buf_add(&c->first, d->path, strlen(d->path), e) ||
			 k3_buf_add(&c->first, "/", 1, e)))
		return -1;
	if (k3_buf_add(&c->first, name, strlen(name) + 1, e))
		return -1;
	*value = at + 1;
	return 0;
}

/* The original's names that lie in its tree become names of one copy. */
static int copy_group(struct cloner *w, const struct walk_dir *d, const char *name, ino_t ino,
		      struct k3_err *e)
{
	struct clone *c = w->c;
	bool fresh, done = false;

	/* To the end of the copy: who meets the next name links to it. */
	K3_WITH_MONITOR(c->lock);
	if (w->share == SNAP_HARDLINK)
		inoset_add(&c->refused, ino);
	uint64_t *value = inomap_at(&c->copies, ino, &fresh);

	if (fresh ? remember_copy(c, d, value, name, e)
		  : link_to_copy(c, d->to, name, *value, &done, e))
		return -1;
	return done ? 0 : k3_copy_node(d->from, name, d->to, name, w->share != SNAP_COPY, e);
}

static int copy_one(struct cloner *w, const struct walk_dir *d, const char *name, struct k3_err *e)
{
	struct stat st;

	if (fstatat(d->from, name, &st, AT_SYMLINK_NOFOLLOW))
		return k3_fail_sys(e, errno, "cannot look at %s", name);
	if (st.st_nlink > 1)
		return copy_group(w, d, name, st.st_ino, e);
	return k3_copy_node(d->from, name, d->to, name, w->share != SNAP_COPY, e);
}

static bool may_copy(int errnum)
{
	return errnum == EXDEV || k3_link_refused(errnum);
}

/* The inode has a name in the parent now as before: sealing need not look at it again. */
static int remember_linked(struct cloner *w, const struct walk_dir *d, const char *name, ino_t ino,
			   struct k3_err *e)
{
	struct stat st;

	if (w->since_sample++ % SAMPLE_STEP == 0) {
		if (fstatat(d->to, name, &st, AT_SYMLINK_NOFOLLOW))
			return k3_fail_sys(e, errno, "cannot look at %s", name);
		w->by_ino = st.st_ino == ino;
	}
	if (w->by_ino)
		inoset_add(&w->known, ino);
	return 0;
}

static int clone_file(void *arg, const struct walk_dir *d, const char *name, ino_t ino,
		      struct k3_err *e)
{
	struct cloner *w = arg;

	if (w->share != SNAP_HARDLINK)
		return copy_one(w, d, name, e);
	if (linkat(d->from, name, d->to, name, 0) == 0) {
		w->linked = true;
		return w->by_ino ? remember_linked(w, d, name, ino, e) : 0;
	}
	if (!may_copy(errno))
		return k3_fail_sys(e, errno, "cannot link %s", name);
	if (errno == EXDEV)
		w->share = SNAP_REFLINK;
	return copy_one(w, d, name, e);
}

/*
 * Makes the counterpart with its final mode where that is possible.  A set-gid bit or ACL of the
 * directory it lies in cannot interfere: that one has not got them yet.
 */
static int clone_subdir(void *arg, const struct walk_dir *d, const char *name,
			const struct stat *st, mode_t *made, struct k3_err *e)
{
	struct cloner *w = arg;
	mode_t ask = st->st_mode & MKDIR_BITS;
	struct stat got;

	/* We must get in to fill it, whoever we are. */
	if ((ask & 0700) != 0700)
		ask = 0700;
	if (mkdirat(d->to, name, ask))
		return k3_fail_sys(e, errno, "cannot make directory %s", name);
	*made = ask;
	if (!(ask & ~w->kept))
		return 0;
	if (fstatat(d->to, name, &got, AT_SYMLINK_NOFOLLOW))
		return k3_fail_sys(e, errno, "cannot look at %s", name);
	*made = got.st_mode & 07777;
	if (*made == ask)
		w->kept |= ask;
	w->uid = got.st_uid;
	w->gid = got.st_gid;
	return 0;
}

/* Gives a directory of the copy, whose entries are complete, what the original has. */
static int clone_attrs(void *arg, const struct walk_dir *d, struct k3_err *e)
{
	const struct cloner *w = arg;
	const struct walk_attrs *a = d->attrs;
	bool owned = w->kept && a->made != WALK_TOP && a->uid == w->uid && a->gid == w->gid;

	if (!owned && fchown(d->to, a->uid, a->gid))
		return k3_fail_sys(e, errno, "cannot set the owner of a directory");
	/* An ACL among them has its say in the mode. */
	bool more = flistxattr(d->from, NULL, 0) != 0;

	if (more && k3_copy_xattrs(d->from, d->to, e))
		return -1;
	if ((more || a->made != a->mode) && fchmod(d->to, a->mode))
		return k3_fail_sys(e, errno, "cannot set the mode of a directory");
	if (futimens(d->to, a->times))
		return k3_fail_sys(e, errno, "cannot set the times of a directory");
	return 0;
}

/*
 * Whether getdents and stat tell the same inode numbers.  Others (overlayfs, 9p, FUSE) may
 * too, or in part.
 */
static bool tells_inodes(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs))
		return false;
	switch ((uint32_t)fs.f_type) {
	case EXT4_SUPER_MAGIC: /* ext2 and ext3 too */
	case XFS_SUPER_MAGIC:
	case BTRFS_SUPER_MAGIC:
	case F2FS_SUPER_MAGIC:
	case TMPFS_MAGIC:
		return true;
	default:
		return false;
	}
}

/* ---- groups that the link limit has split ------------------------------------------------- */

/* Not a name that a layer can bring: it would be a whiteout. */
#define MEND_NAME ".wh.k3simg-mend"

struct mend {
	struct clone *c;
	struct k3_buf names; /* NUL-terminated, of the directory that is being listed */
};

static int mend_entry(void *arg, int fd, const struct k3_walk_ent *ent, bool *descend,
		      struct k3_err *e)
{
	struct mend *m = arg;
	struct stat st;

	(void)descend;
	if (ent->is_dir)
		return 0;
	if (fstatat(fd, ent->name, &st, AT_SYMLINK_NOFOLLOW))
		return k3_fail_sys(e, errno, "cannot look at %s", ent->name);
	if (!inoset_has(&m->c->refused, st.st_ino))
		return 0;
	return k3_buf_add(&m->names, ent->name, strlen(ent->name) + 1, e);
}

static int mend_name(const struct mend *m, int fd, const char *name, struct k3_err *e)
{
	struct stat st;
	bool fresh, done;

	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW))
		return k3_fail_sys(e, errno, "cannot look at %s", name);
	if (link_to_copy(m->c, fd, MEND_NAME, *inomap_at(&m->c->copies, st.st_ino, &fresh), &done,
			 e))
		return -1;
	if (done && renameat(fd, MEND_NAME, fd, name)) {
		k3_fail_sys(e, errno, "cannot link %s anew", name);
		unlinkat(fd, MEND_NAME, 0);
		return -1;
	}
	return 0;
}

/* The directory has got its times already, and gets them again. */
static int mend_listed(void *arg, int fd, struct k3_err *e)
{
	struct mend *m = arg;
	struct stat st;

	if (!m->names.len)
		return 0;
	if (fstat(fd, &st))
		return k3_fail_sys(e, errno, "cannot look at a directory");
	for (size_t i = 0; i < m->names.len; i += strlen((char *)m->names.p + i) + 1)
		if (mend_name(m, fd, (char *)m->names.p + i, e))
			return -1;
	k3_buf_reset(&m->names);

	const struct timespec times[2] = { st.st_atim, st.st_mtim };

	if (futimens(fd, times))
		return k3_fail_sys(e, errno, "cannot set the times of a directory");
	return 0;
}

/*
 * Some names of an inode may have been linked before it took no more, and the others share a
 * copy: all become names of the copy, as they were names of one file.
 */
static int mend_groups(struct clone *c, struct k3_err *e)
{
	static const struct k3_walk_ops ops = { .entry = mend_entry, .listed = mend_listed };
	struct mend m = { c, K3_BUF(PATHS_MAX) };
	int rc = c->refused.n ? k3_walk(c->root, &ops, &m, e) : 0;

	k3_buf_release(&m.names);
	return rc;
}

/* ---- the whole ---------------------------------------------------------------------------- */

/* Adds up what the threads have seen, and releases it. */
static void clone_end(struct clone *c, struct cloner *w, unsigned threads, struct clone_sum *out)
{
	bool exact = true;

	for (unsigned i = 0; i < threads; i++) {
		out->linked |= w[i].linked;
		exact &= w[i].by_ino;
		inoset_merge(&out->known, &w[i].known);
		inomap_release(&w[i].known);
	}
	/* Numbers that differ somewhere are trusted nowhere. */
	if (!exact)
		inomap_release(&out->known);
	k3_monitor_free(c->lock);
	k3_buf_release(&c->first);
	inomap_release(&c->copies);
	inomap_release(&c->refused);
}

int clone_tree(int from, int to, const struct clone_how *how, struct clone_sum *out,
	       struct k3_err *e)
{
	static const struct walk_ops ops = {
		.file = clone_file,
		.subdir = clone_subdir,
		.listed = clone_attrs,
	};
	struct cloner w[WALK_THREADS_MAX];
	void *args[WALK_THREADS_MAX];
	struct clone c = { .root = to, .lock = k3_monitor_new(), .first = K3_BUF(PATHS_MAX) };
	struct walk_job job = { from, to, how->threads, how->cancel, &ops, args };
	bool by_ino = tells_inodes(to);

	for (unsigned i = 0; i < how->threads; i++) {
		w[i] = (struct cloner){ .c = &c, .share = how->share, .by_ino = by_ino };
		args[i] = &w[i];
	}
	int rc = walk_trees(&job, e) || mend_groups(&c, e);

	clone_end(&c, w, how->threads, out);
	return rc ? k3_wrap(e, "clone of the parent tree") : 0;
}
