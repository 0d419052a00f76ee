/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on keys and buckets of bolt.h. */
#include "bolt/bolt.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "bolt/damage.h"
#include "bolt/node.h"
#include "bolt/tree.h"
#include "bolt/txn.h"

#define TABLE_FIRST 64u

/* For "%.*s": keys are text nearly always, and messages are escaped. */
#define SHOW(v) (int)((v).n < 128 ? (v).n : 128), (const char *)(v).p

static uint64_t handle_hash(const struct bolt_bucket *parent, struct bolt_val name)
{
	const uint8_t *p = name.p;
	uint64_t h = parent->hash ^ 0xcbf29ce484222325u;

	for (size_t i = 0; i < name.n; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h ^ h >> 29;
}

static struct bolt_bucket *handle_find(struct bolt_bucket *parent, struct bolt_val name)
{
	struct bolt_txn *t = parent->txn;

	if (!t->table)
		return NULL;
	uint64_t hash = handle_hash(parent, name);
	struct bolt_bucket *b = t->table[hash & (t->table_size - 1)];

	while (b && (b->hash != hash || b->parent != parent || bolt_val_cmp(b->name, name)))
		b = b->hash_next;
	return b;
}

static void handle_link(struct bolt_txn *t, struct bolt_bucket *b)
{
	struct bolt_bucket **slot = &t->table[b->hash & (t->table_size - 1)];

	b->hash_next = *slot;
	*slot = b;
}

static void table_grow(struct bolt_txn *t)
{
	struct bolt_bucket **old = t->table;
	size_t old_size = t->table_size;

	t->table_size = old_size ? 2 * old_size : TABLE_FIRST;
	t->table = k3_xcalloc(t->table_size, sizeof(struct bolt_bucket *));
	for (size_t i = 0; i < old_size; i++) {
		struct bolt_bucket *b = old[i], *next;

		for (; b; b = next) {
			next = b->hash_next;
			handle_link(t, b);
		}
	}
	free(old);
}

static int handle_new(struct bolt_bucket *parent, struct bolt_val name, struct bolt_bucket **out,
		      struct k3_err *e)
{
	struct bolt_txn *t = parent->txn;
	void *p;

	if (parent->depth + 1 >= BOLT_DEPTH_MAX)
		return k3_fail(e, K3_LIMIT, "%s: bucket \"%.*s\" is nested more than %u deep",
			       t->db->name, SHOW(name), BOLT_DEPTH_MAX);
	if (bolt_txn_alloc(t, sizeof(struct bolt_bucket), &p, e))
		return -1;
	*out = p;
	**out = (struct bolt_bucket){ .txn = t,
				      .parent = parent,
				      .name = name,
				      .hash = handle_hash(parent, name),
				      .depth = parent->depth + 1 };
	return 0;
}

/* Makes b findable; only now, so that a broken bucket is not remembered. */
static void handle_adopt(struct bolt_bucket *b)
{
	struct bolt_txn *t = b->txn;
	struct bolt_bucket *parent = b->parent;

	if (t->table_used >= t->table_size)
		table_grow(t);
	handle_link(t, b);
	t->table_used++;
	b->next = parent->children;
	b->link = &parent->children;
	if (b->next)
		b->next->link = &b->next;
	parent->children = b;
}

/* Takes a deleted bucket and all below it out of use; iterative, the tree may be large. */
static void handle_kill(struct bolt_bucket *top)
{
	struct bolt_txn *t = top->txn;
	struct bolt_bucket *b = top;

	*top->link = top->next;
	if (top->next)
		top->next->link = top->link;
	top->next = NULL;
	for (;;) {
		while (b->children)
			b = b->children;
		struct bolt_bucket **slot = &t->table[b->hash & (t->table_size - 1)];

		while (*slot != b)
			slot = &(*slot)->hash_next;
		*slot = b->hash_next;
		t->table_used--;
		b->dead = true;
		if (b == top)
			return;
		b->parent->children = b->next;
		b = b->parent;
	}
}

/* Reads the header that is the value of a bucket element. */
static int handle_parse(struct bolt_bucket *b, struct bolt_val val, struct k3_err *e)
{
	struct bolt_txn *t = b->txn;
	const uint8_t *p = val.p;

	b->root = k3_load64le(p);
	b->sequence = k3_load64le(p + 8);
	if (!b->root)
		return bolt_page_parse_inline(p + BOLT_BUCKET_HEADER, val.n - BOLT_BUCKET_HEADER,
					      &b->inline_pg, e);
	if (b->root < 2 || b->root >= t->meta.high_water)
		return bolt_damaged(e, "root page %" PRIu64 " of %" PRIu64 " pages", b->root,
				    t->meta.high_water);
	/* A bucket that contains itself would have no end. */
	if (t->seen[b->root] & BOLT_SEEN_ROOT)
		return bolt_damaged(e, "root page %" PRIu64 " belongs to another bucket", b->root);
	t->seen[b->root] |= BOLT_SEEN_ROOT;
	return 0;
}

static int open_hit(struct bolt_bucket *parent, const struct bolt_hit *hit,
		    struct bolt_bucket **out, struct k3_err *e)
{
	struct bolt_bucket *b;

	*out = handle_find(parent, hit->key);
	if (*out)
		return 0;
	if (handle_new(parent, hit->key, &b, e))
		return -1;
	if (handle_parse(b, hit->val, e))
		return k3_wrap(e, "%s: bucket \"%.*s\"", parent->txn->db->name, SHOW(hit->key));
	handle_adopt(b);
	*out = b;
	return 0;
}

static int usable(const struct bolt_bucket *b, bool write, struct k3_err *e)
{
	if (b->dead)
		return k3_fail(e, K3_BUG, "%s: bucket was deleted in this transaction",
			       b->txn->db->name);
	if (write && !b->txn->writable)
		return k3_fail(e, K3_BUG, "%s: read-only transaction", b->txn->db->name);
	return 0;
}

static int key_usable(const struct bolt_bucket *b, struct bolt_val key, struct k3_err *e)
{
	if (key.n && key.n <= BOLT_KEY_MAX)
		return 0;
	return k3_fail(e, K3_USAGE, "%s: key of %zu bytes (1 to %u are possible)", b->txn->db->name,
		       key.n, BOLT_KEY_MAX);
}

/* *out = NULL if absent or a plain value; *plain tells which. */
static int find_bucket(struct bolt_bucket *parent, struct bolt_val name, struct bolt_bucket **out,
		       bool *plain, struct k3_err *e)
{
	struct bolt_hit hit;

	*out = NULL;
	*plain = false;
	if (usable(parent, false, e))
		return -1;
	*out = handle_find(parent, name);
	if (*out)
		return 0;
	if (bolt_tree_find(parent, name, &hit, e))
		return -1;
	*plain = hit.found && !hit.is_bucket;
	if (!hit.found || !hit.is_bucket)
		return 0;
	return open_hit(parent, &hit, out, e);
}

int bolt_bucket_get(struct bolt_bucket *parent, struct bolt_val name, struct bolt_bucket **out,
		    struct k3_err *e)
{
	struct bolt_bucket *b;
	bool plain;

	if (find_bucket(parent, name, &b, &plain, e))
		return -1;
	if (!b)
		return k3_fail(e, K3_NOTFOUND, "%s: no bucket \"%.*s\" in \"%.*s\"",
			       parent->txn->db->name, SHOW(name), SHOW(parent->name));
	*out = b;
	return 0;
}

int bolt_bucket_path(struct bolt_txn *t, const struct bolt_val *names, size_t n,
		     struct bolt_bucket **out, struct k3_err *e)
{
	struct bolt_bucket *b = t->root;
	bool plain;

	for (size_t i = 0; i < n && b; i++)
		if (find_bucket(b, names[i], &b, &plain, e))
			return -1;
	*out = b;
	return 0;
}

/* Puts an element; the value is only remembered, not copied. */
static int set_element(struct bolt_bucket *b, struct bolt_val key, struct bolt_val val,
		       bool is_bucket, struct k3_err *e)
{
	struct bolt_inode in = { .key = key, .val = val, .is_bucket = is_bucket };
	struct bolt_node *leaf;
	size_t i;
	bool found;

	if (bolt_tree_edit(b, key, &leaf, &i, &found, e))
		return -1;
	if (found)
		leaf->v[i].val = val;
	else
		bolt_node_insert(leaf, i, &in);
	return 0;
}

int bolt_bucket_make(struct bolt_bucket *parent, struct bolt_val name, struct bolt_bucket **out,
		     struct k3_err *e)
{
	/* Replaced at commit; until then it only has to look like a bucket. */
	static const uint8_t placeholder[BOLT_BUCKET_HEADER];
	struct bolt_bucket *b;
	struct bolt_val kept;
	bool plain;

	if (usable(parent, true, e) || key_usable(parent, name, e) ||
	    find_bucket(parent, name, &b, &plain, e))
		return -1;
	if (plain)
		return bolt_damaged(e, "%s: \"%.*s\" in \"%.*s\" is a plain value, no bucket",
				    parent->txn->db->name, SHOW(name), SHOW(parent->name));
	if (b) {
		*out = b;
		return 0;
	}
	if (bolt_txn_copy(parent->txn, name, &kept, e) || handle_new(parent, kept, &b, e))
		return -1;
	b->node = bolt_node_new(parent->txn, true);
	if (set_element(parent, kept, (struct bolt_val){ placeholder, sizeof(placeholder) }, true,
			e))
		return -1;
	b->changed = true;
	handle_adopt(b);
	*out = b;
	return 0;
}

static int remove_element(struct bolt_bucket *b, struct bolt_val key, struct k3_err *e)
{
	struct bolt_node *leaf;
	size_t i;
	bool found;

	if (bolt_tree_edit(b, key, &leaf, &i, &found, e))
		return -1;
	if (found)
		bolt_node_remove(leaf, i);
	return 0;
}

int bolt_bucket_delete(struct bolt_bucket *parent, struct bolt_val name, struct k3_err *e)
{
	struct bolt_hit hit;

	if (usable(parent, true, e) || bolt_tree_find(parent, name, &hit, e))
		return -1;
	if (!hit.found || !hit.is_bucket)
		return k3_fail(e, K3_NOTFOUND, "%s: no bucket \"%.*s\" in \"%.*s\"",
			       parent->txn->db->name, SHOW(name), SHOW(parent->name));
	struct bolt_bucket *b = handle_find(parent, name);

	/* Its pages need no walk: the commit stores no freelist, so unreachable is free. */
	if (remove_element(parent, name, e))
		return -1;
	if (b)
		handle_kill(b);
	return 0;
}

int bolt_get(struct bolt_bucket *b, struct bolt_val key, struct bolt_val *out, struct k3_err *e)
{
	struct bolt_hit hit;

	if (usable(b, false, e) || bolt_tree_find(b, key, &hit, e))
		return -1;
	*out = hit.found && !hit.is_bucket ? hit.val : (struct bolt_val){ 0 };
	return 0;
}

static int not_a_bucket(const struct bolt_bucket *b, const struct bolt_hit *hit, struct k3_err *e)
{
	if (!hit->found || !hit->is_bucket)
		return 0;
	return bolt_damaged(e, "%s: \"%.*s\" in \"%.*s\" is a bucket, no plain value",
			    b->txn->db->name, SHOW(hit->key), SHOW(b->name));
}

int bolt_put(struct bolt_bucket *b, struct bolt_val key, struct bolt_val val, struct k3_err *e)
{
	struct bolt_hit hit;

	if (usable(b, true, e) || key_usable(b, key, e))
		return -1;
	if (!b->parent)
		return k3_fail(e, K3_BUG, "%s: the root holds only buckets", b->txn->db->name);
	if (val.n > BOLT_VALUE_MAX)
		return k3_fail(e, K3_USAGE, "%s: value of %zu bytes (%u are possible)",
			       b->txn->db->name, val.n, BOLT_VALUE_MAX);
	if (bolt_tree_find(b, key, &hit, e) || not_a_bucket(b, &hit, e))
		return -1;
	if (hit.found && !bolt_val_cmp(hit.val, val))
		return 0; /* a transaction that changes nothing writes nothing */
	if (!hit.found && bolt_txn_copy(b->txn, key, &key, e))
		return -1;
	if (bolt_txn_copy(b->txn, val, &val, e))
		return -1;
	return set_element(b, key, val, false, e);
}

int bolt_delete(struct bolt_bucket *b, struct bolt_val key, struct k3_err *e)
{
	struct bolt_hit hit;

	if (usable(b, true, e) || bolt_tree_find(b, key, &hit, e) || not_a_bucket(b, &hit, e))
		return -1;
	return hit.found ? remove_element(b, key, e) : 0;
}

uint64_t bolt_sequence(const struct bolt_bucket *b)
{
	return b->sequence;
}

int bolt_set_sequence(struct bolt_bucket *b, uint64_t value, struct k3_err *e)
{
	if (usable(b, true, e))
		return -1;
	if (b->sequence == value)
		return 0;
	b->sequence = value;
	for (struct bolt_bucket *up = b; up && !up->changed; up = up->parent)
		up->changed = true;
	return 0;
}

int bolt_next(struct bolt_bucket *b, struct bolt_iter *it, struct bolt_item *item, bool *more,
	      struct k3_err *e)
{
	struct bolt_hit hit;

	if (usable(b, false, e) || bolt_tree_after(b, it->last, &hit, e))
		return -1;
	*more = hit.found;
	if (!hit.found)
		return 0;
	it->last = hit.key;
	*item = (struct bolt_item){ .key = hit.key, .is_bucket = hit.is_bucket };
	if (!hit.is_bucket)
		item->val = hit.val;
	return 0;
}
