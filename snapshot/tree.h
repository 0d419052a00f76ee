/* SPDX-License-Identifier: Apache-2.0 */
/* Private to snapshot/. */
#ifndef K3_SNAPSHOT_TREE_H
#define K3_SNAPSHOT_TREE_H

#include <sys/types.h>

#include "snapshot/snapshot.h"

/* A map from inode number to a number. */
struct inomap_item {
	ino_t ino; /* 0: free */
	uint64_t value;
};

struct inomap {
	struct inomap_item *items;
	size_t n, cap;
};

/* The value of ino, which starts as 0 (*fresh = true); valid until the next call. */
uint64_t *inomap_at(struct inomap *m, ino_t ino, bool *fresh);
void inomap_release(struct inomap *m);

/*
 * A map may be a set of inode numbers instead; they come in runs, of which 64 take the 16
 * bytes of one item.
 */
void inoset_add(struct inomap *m, ino_t ino);
bool inoset_has(const struct inomap *m, ino_t ino);
void inoset_merge(struct inomap *m, const struct inomap *more);

struct clone_how {
	enum snap_share share;
	unsigned threads;
	struct k3_cancel *cancel;
};

struct clone_sum {
	bool linked; /* some inodes are shared with the original */
	/*
	 * A set of inodes, no directories, that have names in both trees.  Not all of them
	 * where the file system's getdents does not tell inode numbers.  The caller's.
	 */
	struct inomap known;
};

/*
 * Fills the empty directory `to` with a copy of `from`.  *out starts zeroed; it is filled on
 * failure too.
 */
K3_MUST int clone_tree(int from, int to, const struct clone_how *how, struct clone_sum *out,
		       struct k3_err *e);
/* known: inodes that need no look because another tree has them. */
K3_MUST int usage_count(int fd, const struct inomap *known, unsigned threads,
			struct snap_usage *out, struct k3_err *e);

#endif
