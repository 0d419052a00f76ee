/* SPDX-License-Identifier: Apache-2.0 */
#include "bolt/node.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "bolt/txn.h"

struct bolt_node *bolt_node_new(struct bolt_txn *t, bool leaf)
{
	struct bolt_node *nd = k3_xcalloc(1, sizeof(*nd));

	nd->leaf = leaf;
	nd->next_all = t->nodes;
	t->nodes = nd;
	return nd;
}

struct bolt_node *bolt_node_load(struct bolt_txn *t, const struct bolt_page *pg)
{
	struct bolt_node *nd = bolt_node_new(t, pg->leaf);

	nd->cap = pg->n + 1;
	nd->v = k3_xcalloc(nd->cap, sizeof(*nd->v));
	nd->n = pg->n;
	for (uint32_t i = 0; i < pg->n; i++) {
		struct bolt_inode *in = &nd->v[i];

		in->key = bolt_page_key(pg, i);
		in->is_bucket = bolt_page_is_bucket(pg, i);
		if (pg->leaf)
			in->val = bolt_page_value(pg, i);
		else
			in->page = bolt_page_child(pg, i);
	}
	return nd;
}

void bolt_node_free_all(struct bolt_txn *t)
{
	while (t->nodes) {
		struct bolt_node *nd = t->nodes;

		t->nodes = nd->next_all;
		free(nd->v);
		free(nd);
	}
}

static void reserve(struct bolt_node *nd, size_t n)
{
	if (n <= nd->cap)
		return;
	nd->cap = n > 2 * nd->cap ? n : 2 * nd->cap;
	nd->v = k3_xrealloc(nd->v, nd->cap, sizeof(*nd->v));
}

void bolt_node_insert(struct bolt_node *nd, size_t i, const struct bolt_inode *in)
{
	reserve(nd, nd->n + 1);
	memmove(&nd->v[i + 1], &nd->v[i], (nd->n - i) * sizeof(*nd->v));
	nd->v[i] = *in;
	nd->n++;
}

void bolt_node_remove(struct bolt_node *nd, size_t i)
{
	nd->n--;
	memmove(&nd->v[i], &nd->v[i + 1], (nd->n - i) * sizeof(*nd->v));
	nd->shrunk = true;
}

void bolt_node_append(struct bolt_node *nd, struct bolt_node *from)
{
	if (!from->n)
		return;
	reserve(nd, nd->n + from->n);
	memcpy(&nd->v[nd->n], from->v, from->n * sizeof(*nd->v));
	nd->n += from->n;
	from->n = 0;
}

void bolt_node_halve(struct bolt_txn *t, struct bolt_node *nd, size_t i)
{
	struct bolt_node *low = nd->v[i].child;
	struct bolt_node *high = bolt_node_new(t, low->leaf);
	size_t keep = low->n / 2;

	reserve(high, low->n - keep);
	memcpy(high->v, &low->v[keep], (low->n - keep) * sizeof(*high->v));
	high->n = low->n - keep;
	high->shrunk = low->shrunk;
	low->n = keep;
	struct bolt_inode in = { .key = high->v[0].key, .child = high };

	bolt_node_insert(nd, i + 1, &in);
}

uint64_t bolt_inode_bytes(const struct bolt_node *nd, size_t i)
{
	const struct bolt_inode *in = &nd->v[i];

	return (uint64_t)BOLT_ELEMENT + in->key.n + (nd->leaf ? in->val.n : 0);
}

uint64_t bolt_node_bytes(const struct bolt_node *nd, size_t from, size_t to)
{
	uint64_t sum = BOLT_PAGE_HEADER;

	for (size_t i = from; i < to; i++)
		sum += bolt_inode_bytes(nd, i);
	return sum;
}

void bolt_node_write(const struct bolt_node *nd, size_t from, size_t to, uint64_t id,
		     uint32_t overflow, uint8_t *p)
{
	struct bolt_page_head head = { .id = id,
				       .flags = nd->leaf ? BOLT_PAGE_LEAF : BOLT_PAGE_BRANCH,
				       .count = (uint32_t)(to - from),
				       .overflow = overflow };
	uint8_t *el = p + BOLT_PAGE_HEADER;
	uint8_t *data = el + (to - from) * BOLT_ELEMENT;

	bolt_page_head_write(p, &head);
	for (size_t i = from; i < to; i++, el += BOLT_ELEMENT) {
		const struct bolt_inode *in = &nd->v[i];
		size_t pos = (size_t)(data - el);

		memcpy(data, in->key.p, in->key.n);
		data += in->key.n;
		if (!nd->leaf) {
			bolt_page_branch_write(el, pos, in->key.n, in->page);
			continue;
		}
		bolt_page_leaf_write(el, in->is_bucket, pos, in->key.n, in->val.n);
		if (in->val.n)
			memcpy(data, in->val.p, in->val.n);
		data += in->val.n;
	}
}
