/* SPDX-License-Identifier: Apache-2.0 */
/* What several trees take together, where they share files by hard links. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "snapshot/tree.h"
#include "snapshot/walk.h"

#define BLOCK 512u /* unit of st_blocks, whatever the file system's block size */

/*
 * An inode's value in the map: the set of trees it was met in, and its blocks.  The first
 * limits the ways in which trees can share, the second is 512 TiB.
 */
#define SETS_BITS 24
#define BLOCKS_BITS (64 - SETS_BITS)
#define BLOCKS_MAX (((uint64_t)1 << BLOCKS_BITS) - 1)
#define SETS_MAX ((size_t)1 << SETS_BITS)

/*
 * A set of trees: another one and a tree that was counted later.  So each set is there once, as
 * long as a step from one to the next is.
 */
struct set {
	size_t rest;       /* the other one; 0 is the empty set */
	size_t tree, size; /* the newest tree; how many they are */
	size_t next;       /* with the tree that is being counted, if next_of is that one */
	size_t next_of;
	struct snap_usage sum;
};

struct snap_disk {
	struct inomap inodes;
	struct set *sets;
	size_t n, cap;
	size_t trees;
	dev_t dev; /* of the first tree */
};

struct snap_disk *snap_disk_new(void)
{
	struct snap_disk *d = k3_xcalloc(1, sizeof(*d));

	d->sets = k3_xgrow(d->sets, d->n, &d->cap, sizeof(*d->sets));
	d->sets[d->n++] = (struct set){ .next_of = SIZE_MAX };
	return d;
}

void snap_disk_free(struct snap_disk *d)
{
	if (!d)
		return;
	inomap_release(&d->inodes);
	free(d->sets);
	free(d);
}

/* The set with the tree that is being counted. */
static int add_tree(struct snap_disk *d, size_t from, size_t *to, struct k3_err *e)
{
	if (d->sets[from].next_of != d->trees) {
		if (d->n == SETS_MAX)
			return k3_fail(e, K3_LIMIT, "trees share files in too many ways");
		d->sets = k3_xgrow(d->sets, d->n, &d->cap, sizeof(*d->sets));
		d->sets[d->n] = (struct set){ .rest = from,
					      .tree = d->trees,
					      .size = d->sets[from].size + 1,
					      .next_of = SIZE_MAX };
		d->sets[from].next = d->n++;
		d->sets[from].next_of = d->trees;
	}
	*to = d->sets[from].next;
	return 0;
}

static int count_here(struct snap_disk *d, const struct stat *st, struct k3_err *e)
{
	size_t set;

	if (add_tree(d, 0, &set, e))
		return -1;
	d->sets[set].sum.inodes++;
	d->sets[set].sum.bytes += (uint64_t)st->st_blocks * BLOCK;
	return 0;
}

/* Trees on other file systems have inodes of the same numbers. */
static ino_t key_of(const struct snap_disk *d, const struct stat *st)
{
	return st->st_ino ^ (ino_t)((uint64_t)(st->st_dev - d->dev) * 0x9e3779b97f4a7c15ull);
}

static int count_shared(struct snap_disk *d, const struct stat *st, struct k3_err *e)
{
	uint64_t blocks = (uint64_t)st->st_blocks;
	bool fresh;
	uint64_t *value = inomap_at(&d->inodes, key_of(d, st), &fresh);
	size_t set = *value >> BLOCKS_BITS;

	/* Another name of it in this very tree. */
	if (set && d->sets[set].tree == d->trees)
		return 0;
	if (add_tree(d, set, &set, e))
		return -1;
	*value = (uint64_t)set << BLOCKS_BITS | (blocks < BLOCKS_MAX ? blocks : BLOCKS_MAX);
	return 0;
}

static int disk_file(void *arg, const struct walk_dir *dir, const char *name, ino_t ino,
		     struct k3_err *e)
{
	struct snap_disk *d = arg;
	struct stat st;

	(void)ino;
	if (fstatat(dir->from, name, &st, AT_SYMLINK_NOFOLLOW))
		/* Somebody may remove files while they are counted. */
		return errno == ENOENT ? 0 : k3_fail_sys(e, errno, "cannot look at %s", name);
	return st.st_nlink == 1 ? count_here(d, &st, e) : count_shared(d, &st, e);
}

static int disk_subdir(void *arg, const struct walk_dir *dir, const char *name,
		       const struct stat *st, mode_t *made, struct k3_err *e)
{
	(void)dir, (void)name, (void)made;
	return count_here(arg, st, e);
}

int snap_disk_add(struct snap_disk *d, int fd, struct k3_cancel *cancel, size_t *tree,
		  struct k3_err *e)
{
	static const struct walk_ops ops = { .file = disk_file,
					     .subdir = disk_subdir,
					     .skip_mounts = true };
	void *args[] = { d };
	struct walk_job job = {
		.from = fd, .to = -1, .threads = 1, .cancel = cancel, .ops = &ops, .args = args
	};
	struct stat st;

	if (fstat(fd, &st))
		return k3_fail_sys(e, errno, "cannot look at the tree");
	if (!d->trees)
		d->dev = st.st_dev;
	int rc = count_here(d, &st, e) || walk_trees(&job, e) ? -1 : 0;

	*tree = d->trees++;
	return rc ? k3_wrap(e, "counting the tree") : 0;
}

int snap_disk_each(struct snap_disk *d, snap_disk_fn *fn, void *arg, struct k3_err *e)
{
	K3_AUTO_FREE struct snap_usage *sums = k3_xcalloc(d->n, sizeof(*sums));
	K3_AUTO_FREE size_t *trees = k3_xcalloc(d->trees, sizeof(*trees));

	for (size_t k = 0; k < d->n; k++)
		sums[k] = d->sets[k].sum;
	for (size_t k = 0; k < d->inodes.cap; k++) {
		uint64_t value = d->inodes.items[k].value;

		if (!d->inodes.items[k].ino)
			continue;
		sums[value >> BLOCKS_BITS].inodes++;
		sums[value >> BLOCKS_BITS].bytes += (value & BLOCKS_MAX) * BLOCK;
	}
	for (size_t k = 1; k < d->n; k++) {
		size_t n = d->sets[k].size;

		if (!sums[k].inodes)
			continue;
		for (size_t set = k; set; set = d->sets[set].rest)
			trees[--n] = d->sets[set].tree;
		if (fn(arg, trees, d->sets[k].size, &sums[k], e))
			return -1;
	}
	return 0;
}
