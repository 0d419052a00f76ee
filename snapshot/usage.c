/* SPDX-License-Identifier: Apache-2.0 */
/* What a tree adds to the disk. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "snapshot/tree.h"
#include "snapshot/walk.h"

#define BLOCK 512u /* unit of st_blocks, whatever the file system's block size */

/* What the threads of one count share. */
struct usage {
	const struct inomap *known;
	struct k3_monitor *lock; /* for seen */
	struct inomap seen;      /* names of an inode still to be met before it counts as ours */
};

/* What each has of its own. */
struct counter {
	struct usage *u;
	struct snap_usage sum;
};

static void count(struct counter *w, const struct stat *st)
{
	w->sum.inodes++;
	w->sum.bytes += (uint64_t)st->st_blocks * BLOCK;
}

static bool last_name(struct usage *u, const struct stat *st)
{
	bool fresh;

	K3_WITH_MONITOR(u->lock);
	uint64_t *left = inomap_at(&u->seen, st->st_ino, &fresh);

	if (fresh)
		*left = st->st_nlink;
	return --*left == 0;
}

static int usage_file(void *arg, const struct walk_dir *d, const char *name, ino_t ino,
		      struct k3_err *e)
{
	struct counter *w = arg;
	struct stat st;

	if (inoset_has(w->u->known, ino))
		return 0;
	if (fstatat(d->from, name, &st, AT_SYMLINK_NOFOLLOW))
		return k3_fail_sys(e, errno, "cannot look at %s", name);
	/* All names are in this tree: nobody else has the inode. */
	if (st.st_nlink == 1 || last_name(w->u, &st))
		count(w, &st);
	return 0;
}

static int usage_subdir(void *arg, const struct walk_dir *d, const char *name,
			const struct stat *st, mode_t *made, struct k3_err *e)
{
	(void)d, (void)name, (void)made, (void)e;
	count(arg, st);
	return 0;
}

static const struct walk_ops count_ops = { .file = usage_file, .subdir = usage_subdir };

int usage_count(int fd, const struct inomap *known, unsigned threads, struct snap_usage *out,
		struct k3_err *e)
{
	struct usage u = { .known = known };
	struct counter w[WALK_THREADS_MAX];
	void *args[WALK_THREADS_MAX];
	struct walk_job job = { fd, -1, threads, NULL, &count_ops, args };
	struct snap_usage sum = { 0 };
	struct stat st;

	if (fstat(fd, &st))
		return k3_fail_sys(e, errno, "cannot look at the tree");
	for (unsigned i = 0; i < threads; i++) {
		w[i] = (struct counter){ .u = &u };
		args[i] = &w[i];
	}
	struct counter root = { .u = &u };

	count(&root, &st);
	sum = root.sum;
	u.lock = k3_monitor_new();
	int rc = walk_trees(&job, e);

	k3_monitor_free(u.lock);
	inomap_release(&u.seen);
	if (rc)
		return k3_wrap(e, "counting the tree");
	for (unsigned i = 0; i < threads; i++) {
		sum.inodes += w[i].sum.inodes;
		sum.bytes += w[i].sum.bytes;
	}
	*out = sum;
	return 0;
}

/* ---- several trees -------------------------------------------------------------------------- */

struct snap_total {
	struct usage u;
	struct inomap none;
	struct counter w;
};

struct snap_total *snap_total_new(void)
{
	struct snap_total *t = k3_xcalloc(1, sizeof(*t));

	t->u.known = &t->none;
	t->u.lock = k3_monitor_new();
	t->w.u = &t->u;
	return t;
}

void snap_total_free(struct snap_total *t)
{
	if (!t)
		return;
	k3_monitor_free(t->u.lock);
	inomap_release(&t->u.seen);
	free(t);
}

int snap_total_add(struct snap_total *t, int fd, struct k3_cancel *cancel, struct k3_err *e)
{
	void *args[] = { &t->w };
	struct walk_job job = { fd, -1, 1, cancel, &count_ops, args };
	struct stat st;

	if (fstat(fd, &st))
		return k3_fail_sys(e, errno, "cannot look at the tree");
	count(&t->w, &st);
	return walk_trees(&job, e) ? k3_wrap(e, "counting the tree") : 0;
}

struct snap_usage snap_total_get(const struct snap_total *t)
{
	return t->w.sum;
}
