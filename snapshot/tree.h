/* SPDX-License-Identifier: Apache-2.0 */
/* Private to snapshot/. */
#ifndef K3_SNAPSHOT_TREE_H
#define K3_SNAPSHOT_TREE_H

#include <sys/types.h>

#include "snapshot/snapshot.h"

/* Fills the empty directory `to` with a copy of `from`; *linked: some inodes are shared. */
K3_MUST int clone_tree(int from, int to, enum snap_share share, struct k3_cancel *cancel,
		       bool *linked, struct k3_err *e);
K3_MUST int usage_count(int fd, struct snap_usage *out, struct k3_err *e);

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

#endif
