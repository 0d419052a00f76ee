/* SPDX-License-Identifier: Apache-2.0 */
#include "bolt/balance.h"

#include "bolt/damage.h"
#include "bolt/node.h"
#include "bolt/tree.h"

static bool underfull(const struct bolt_txn *t, const struct bolt_node *nd)
{
	if (!nd->leaf && nd->n < 2)
		return true;
	return nd->shrunk && bolt_node_bytes(nd, 0, nd->n) < t->meta.page_size / 4;
}

static int merge_children(struct bolt_txn *t, struct bolt_node *nd, struct k3_err *e);

/* Merges child *i of nd with the one before it, or after it; *i is the result. */
static int merge(struct bolt_txn *t, struct bolt_node *nd, size_t *i, struct k3_err *e)
{
	size_t left = *i ? *i - 1 : 0, right = left + 1;
	struct bolt_val end = right + 1 < nd->n ? nd->v[right + 1].key : (struct bolt_val){ 0 };

	if (bolt_tree_load_child(t, nd, left, nd->v[right].key, e) ||
	    bolt_tree_load_child(t, nd, right, end, e))
		return -1;
	struct bolt_node *low = nd->v[left].child, *high = nd->v[right].child;

	if (low->leaf != high->leaf)
		return bolt_damaged(e, "%s: a branch has children of two kinds", t->db->name);
	bolt_node_append(low, high);
	low->shrunk |= high->shrunk;
	bolt_node_remove(nd, right);
	*i = left;
	/* An only child had no neighbour to merge with; now it has. */
	return low->leaf ? 0 : merge_children(t, low, e);
}

static int merge_children(struct bolt_txn *t, struct bolt_node *nd, struct k3_err *e)
{
	size_t i = 0;

	while (i < nd->n) {
		const struct bolt_node *child = nd->v[i].child;

		if (child && !child->n)
			bolt_node_remove(nd, i);
		else if (!child || nd->n == 1 || !underfull(t, child))
			i++;
		else if (merge(t, nd, &i, e))
			return -1;
	}
	return 0;
}

/* Recursion is as deep as nodes are loaded, which bolt_tree_edit() limits. */
static int balance_node(struct bolt_txn *t, struct bolt_node *nd, struct k3_err *e)
{
	if (nd->leaf)
		return 0;
	for (size_t i = 0; i < nd->n; i++)
		if (nd->v[i].child && balance_node(t, nd->v[i].child, e))
			return -1;
	return merge_children(t, nd, e);
}

int bolt_balance(struct bolt_bucket *b, struct k3_err *e)
{
	if (balance_node(b->txn, b->node, e))
		return -1;
	for (unsigned level = 0; !b->node->leaf && b->node->n == 1; level++) {
		if (level == BOLT_DEPTH_MAX)
			return bolt_damaged(e, "%s: more than %u tree levels", b->txn->db->name,
					    BOLT_DEPTH_MAX);
		if (bolt_tree_load_child(b->txn, b->node, 0, (struct bolt_val){ 0 }, e))
			return -1;
		b->node = b->node->v[0].child;
	}
	if (!b->node->n)
		b->node->leaf = true;
	return 0;
}
