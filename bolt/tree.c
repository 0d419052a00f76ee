/* SPDX-License-Identifier: Apache-2.0 */
#include "bolt/tree.h"

#include <inttypes.h>

#include "bolt/damage.h"

/* A loaded node, or else a page. */
struct place {
	struct bolt_node *node;
	struct bolt_page page;
};

static size_t place_count(const struct place *at)
{
	return at->node ? at->node->n : at->page.n;
}

static bool place_leaf(const struct place *at)
{
	return at->node ? at->node->leaf : at->page.leaf;
}

static struct bolt_val place_key(const struct place *at, size_t i)
{
	return at->node ? at->node->v[i].key : bolt_page_key(&at->page, (uint32_t)i);
}

/* First index whose key is at or above `key`. */
static size_t lower_bound(const struct place *at, struct bolt_val key, bool *equal)
{
	size_t low = 0, high = place_count(at);

	*equal = false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = bolt_val_cmp(place_key(at, mid), key);

		if (!order) {
			*equal = true;
			return mid;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* The child of a branch that `key` belongs to. */
static size_t child_index(const struct place *at, struct bolt_val key)
{
	bool equal;
	size_t i = lower_bound(at, key, &equal);

	return equal || !i ? i : i - 1;
}

int bolt_tree_check_range(const struct bolt_page *pg, struct bolt_val low, struct bolt_val high,
			  struct k3_err *e)
{
	if (!pg->n)
		return bolt_damaged(e, "page %" PRIu64 " is empty", pg->id);
	if (bolt_val_cmp(bolt_page_key(pg, 0), low) < 0)
		return bolt_damaged(e, "page %" PRIu64 " has a key below its branch key", pg->id);
	if (high.n && bolt_val_cmp(bolt_page_key(pg, pg->n - 1), high) >= 0)
		return bolt_damaged(e, "page %" PRIu64 " has a key above the next branch key",
				    pg->id);
	return 0;
}

static int root_place(struct bolt_bucket *b, struct place *at, struct k3_err *e)
{
	*at = (struct place){ .node = b->node };
	if (b->node)
		return 0;
	if (b->root)
		return bolt_txn_page(b->txn, b->root, &at->page, e);
	at->page = b->inline_pg;
	return 0;
}

/* Child i of a branch, its keys below `high` unless that is empty. */
static int child_place(struct bolt_txn *t, const struct place *at, size_t i, struct bolt_val high,
		       struct place *out, struct k3_err *e)
{
	struct place child = { .node = at->node ? at->node->v[i].child : NULL };

	if (!child.node) {
		uint64_t id = at->node ? at->node->v[i].page
				       : bolt_page_child(&at->page, (uint32_t)i);

		if (bolt_txn_page(t, id, &child.page, e))
			return -1;
		if (bolt_tree_check_range(&child.page, place_key(at, i), high, e))
			return k3_wrap(e, "%s", t->db->name);
	}
	*out = child;
	return 0;
}

static int too_deep(const struct bolt_bucket *b, struct k3_err *e)
{
	return bolt_damaged(e, "%s: bucket \"%.*s\" has more than %u tree levels", b->txn->db->name,
			    (int)b->name.n, (const char *)b->name.p, BOLT_DEPTH_MAX);
}

/* The leaf for `key`.  *high is the first key that certainly lies in a later leaf. */
static int descend(struct bolt_bucket *b, struct bolt_val key, struct place *leaf,
		   struct bolt_val *high, struct k3_err *e)
{
	*high = (struct bolt_val){ 0 };
	if (root_place(b, leaf, e))
		return -1;
	for (unsigned level = 0; !place_leaf(leaf); level++) {
		if (level == BOLT_DEPTH_MAX)
			return too_deep(b, e);
		size_t i = child_index(leaf, key);

		if (i + 1 < place_count(leaf))
			*high = place_key(leaf, i + 1);
		if (child_place(b->txn, leaf, i, *high, leaf, e))
			return -1;
	}
	return 0;
}

static void fill_hit(const struct place *leaf, size_t i, struct bolt_hit *hit)
{
	hit->found = true;
	hit->key = place_key(leaf, i);
	if (leaf->node) {
		hit->val = leaf->node->v[i].val;
		hit->is_bucket = leaf->node->v[i].is_bucket;
	} else {
		hit->val = bolt_page_value(&leaf->page, (uint32_t)i);
		hit->is_bucket = bolt_page_is_bucket(&leaf->page, (uint32_t)i);
	}
}

/* The first element not below key: leaf and index; *high as descend() gives it. */
static int seek(struct bolt_bucket *b, struct bolt_val key, struct place *leaf,
		struct bolt_val *high, size_t *i, bool *equal, struct k3_err *e)
{
	if (descend(b, key, leaf, high, e))
		return -1;
	*i = lower_bound(leaf, key, equal);
	return 0;
}

int bolt_tree_find(struct bolt_bucket *b, struct bolt_val key, struct bolt_hit *hit,
		   struct k3_err *e)
{
	struct place leaf;
	struct bolt_val high;
	bool equal;
	size_t i;

	*hit = (struct bolt_hit){ 0 };
	if (seek(b, key, &leaf, &high, &i, &equal, e))
		return -1;
	if (equal)
		fill_hit(&leaf, i, hit);
	return 0;
}

int bolt_tree_after(struct bolt_bucket *b, struct bolt_val key, struct bolt_hit *hit,
		    struct k3_err *e)
{
	struct place leaf;
	struct bolt_val high;
	bool equal;
	size_t i;

	*hit = (struct bolt_hit){ 0 };
	if (seek(b, key, &leaf, &high, &i, &equal, e))
		return -1;
	if (equal)
		i++;
	/* The next leaf begins at `high`; one emptied in this transaction is stepped over. */
	while (i == place_count(&leaf)) {
		if (!high.n)
			return 0;
		key = high;
		if (seek(b, key, &leaf, &high, &i, &equal, e))
			return -1;
	}
	fill_hit(&leaf, i, hit);
	return 0;
}

int bolt_tree_load_root(struct bolt_bucket *b, struct k3_err *e)
{
	struct place at;

	if (b->node)
		return 0;
	if (root_place(b, &at, e))
		return -1;
	b->node = bolt_node_load(b->txn, &at.page);
	return 0;
}

int bolt_tree_load_child(struct bolt_txn *t, struct bolt_node *nd, size_t i, struct bolt_val high,
			 struct k3_err *e)
{
	struct place at = { .node = nd }, child;

	if (nd->v[i].child)
		return 0;
	if (child_place(t, &at, i, high, &child, e))
		return -1;
	nd->v[i].child = bolt_node_load(t, &child.page);
	return 0;
}

static void grow_root(struct bolt_bucket *b)
{
	struct bolt_node *top = bolt_node_new(b->txn, false);
	struct bolt_inode in = { .key = b->node->v[0].key, .child = b->node };

	bolt_node_insert(top, 0, &in);
	bolt_node_halve(b->txn, top, 0);
	b->node = top;
}

int bolt_tree_edit(struct bolt_bucket *b, struct bolt_val key, struct bolt_node **leaf,
		   size_t *index, bool *found, struct k3_err *e)
{
	struct bolt_val high = { 0 };

	if (bolt_tree_load_root(b, e))
		return -1;
	for (struct bolt_bucket *up = b; up && !up->changed; up = up->parent)
		up->changed = true;
	if (b->node->n >= BOLT_NODE_HALVE)
		grow_root(b);
	struct place at = { .node = b->node };

	for (unsigned level = 0; !at.node->leaf; level++) {
		if (level == BOLT_DEPTH_MAX)
			return too_deep(b, e);
		size_t i = child_index(&at, key);

		if (i + 1 < at.node->n)
			high = at.node->v[i + 1].key;
		if (bolt_tree_load_child(b->txn, at.node, i, high, e))
			return -1;
		if (at.node->v[i].child->n >= BOLT_NODE_HALVE) {
			bolt_node_halve(b->txn, at.node, i);
			i = child_index(&at, key);
			if (i + 1 < at.node->n)
				high = at.node->v[i + 1].key;
		}
		at.node = at.node->v[i].child;
	}
	*leaf = at.node;
	*index = lower_bound(&at, key, found);
	return 0;
}
