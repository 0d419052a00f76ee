/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of one bucket: loaded nodes on top where it was changed, pages below.
 *
 * Every step down checks that a page's keys lie between the branch keys that lead to it.
 * With that, no page can be met twice in one bucket, so walks end on any input.
 */
#ifndef K3_BOLT_TREE_H
#define K3_BOLT_TREE_H

#include "base/err.h"
#include "bolt/bolt.h"
#include "bolt/node.h"
#include "bolt/txn.h"

/* An element found in a leaf. */
struct bolt_hit {
	bool found;
	struct bolt_val key;
	struct bolt_val val;
	bool is_bucket;
};

/* Looks up `key`.  Loads no nodes. */
K3_MUST int bolt_tree_find(struct bolt_bucket *b, struct bolt_val key, struct bolt_hit *hit,
			   struct k3_err *e);
/* The first element above `key` (n = 0: the first of all). */
K3_MUST int bolt_tree_after(struct bolt_bucket *b, struct bolt_val key, struct bolt_hit *hit,
			    struct k3_err *e);
/*
 * Loads the nodes from the root to the leaf where `key` is or belongs, and marks b and
 * its parents as changed.
 */
K3_MUST int bolt_tree_edit(struct bolt_bucket *b, struct bolt_val key, struct bolt_node **leaf,
			   size_t *index, bool *found, struct k3_err *e);
/* Loads b's root node. */
K3_MUST int bolt_tree_load_root(struct bolt_bucket *b, struct k3_err *e);
/* Loads child i of the branch nd; `high` bounds its keys from above (n = 0: no bound). */
K3_MUST int bolt_tree_load_child(struct bolt_txn *t, struct bolt_node *nd, size_t i,
				 struct bolt_val high, struct k3_err *e);
/* Are the keys of pg at or above low, and below high unless that is empty?  K3_STORE. */
K3_MUST int bolt_tree_check_range(const struct bolt_page *pg, struct bolt_val low,
				  struct bolt_val high, struct k3_err *e);

#endif
