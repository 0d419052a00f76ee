/* SPDX-License-Identifier: Apache-2.0 */
/* From changed nodes to pages, and from pages to a durable state. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "bolt/balance.h"
#include "bolt/damage.h"
#include "bolt/freelist.h"
#include "bolt/node.h"
#include "bolt/tree.h"
#include "bolt/txn.h"

#define WRITE_BYTES (1u << 20)         /* pages next to each other are written together */
#define FILE_MIN (UINT64_C(32) << 10)  /* growth as bbolt does it: doubling at first, */
#define FILE_STEP (UINT64_C(16) << 20) /* then in these steps */
#define WHOLE_MAX 4u                   /* bbolt never splits a node of so few elements */
#define PART_MIN 2u                    /* and puts at least so many into each part */

/* Elements [from, to) of a node, to be written as page `id`. */
struct out_page {
	uint64_t id, pages;
	const struct bolt_node *node;
	size_t from, to;
};

struct commit {
	struct bolt_txn *t;
	struct bolt_db *db;
	size_t page_size;
	struct bolt_space space;
	struct out_page *out;
	size_t n, cap;
};

/* Gives elements [from, to) of nd a page and `up` the branch element for it. */
static int place(struct commit *c, const struct bolt_node *nd, size_t from, size_t to,
		 struct bolt_node *up, struct k3_err *e)
{
	uint64_t bytes = bolt_node_bytes(nd, from, to);
	struct out_page o = { .node = nd,
			      .from = from,
			      .to = to,
			      .pages = (bytes + c->page_size - 1) / c->page_size };

	if (bytes > UINT32_MAX) /* element positions have 32 bits */
		return k3_fail(e, K3_LIMIT, "%s: %zu adjacent values have %" PRIu64 " bytes",
			       c->db->name, to - from, bytes);
	if (bolt_space_take(&c->space, o.pages, &o.id, e))
		return k3_wrap(e, "%s", c->db->name);
	c->out = k3_xgrow(c->out, c->n, &c->cap, sizeof(*c->out));
	c->out[c->n++] = o;
	struct bolt_inode in = { .page = o.id };

	if (from < to)
		in.key = nd->v[from].key;
	bolt_node_insert(up, up->n, &in);
	return 0;
}

/*
 * Where the page that starts with element `from` ends; `rest` is the page size needed for
 * all from there.  Pages are filled up, but the last two share evenly.
 */
static size_t part_end(const struct commit *c, const struct bolt_node *nd, size_t from,
		       uint64_t rest)
{
	size_t left = nd->n - from, to = from;

	if (left <= WHOLE_MAX || (rest <= c->page_size && left <= BOLT_COUNT_MAX))
		return nd->n;
	uint64_t target = rest >= 2 * (uint64_t)c->page_size ? c->page_size : rest / 2;
	uint64_t size = BOLT_PAGE_HEADER;

	for (; to < nd->n - PART_MIN && to - from < BOLT_COUNT_MAX; to++) {
		size += bolt_inode_bytes(nd, to);
		if (size > target && to - from >= PART_MIN)
			break;
	}
	return to;
}

static int place_parts(struct commit *c, const struct bolt_node *nd, struct bolt_node *up,
		       struct k3_err *e)
{
	uint64_t rest = bolt_node_bytes(nd, 0, nd->n);
	size_t from = 0;

	do {
		size_t to = part_end(c, nd, from, rest);

		if (place(c, nd, from, to, up, e))
			return -1;
		rest -= bolt_node_bytes(nd, from, to) - BOLT_PAGE_HEADER;
		from = to;
	} while (from < nd->n);
	return 0;
}

/* Places nd and all loaded below it; `up` gets one element per page of nd. */
static int place_tree(struct commit *c, struct bolt_node *nd, struct bolt_node *up,
		      struct k3_err *e)
{
	if (!nd->leaf) {
		struct bolt_node *fresh = bolt_node_new(c->t, false);

		for (size_t i = 0; i < nd->n; i++) {
			if (!nd->v[i].child)
				bolt_node_insert(fresh, fresh->n, &nd->v[i]);
			else if (place_tree(c, nd->v[i].child, fresh, e))
				return -1;
		}
		nd = fresh;
	}
	return place_parts(c, nd, up, e);
}

static int place_root(struct commit *c, struct bolt_bucket *b, struct k3_err *e)
{
	struct bolt_node *up = bolt_node_new(c->t, false);

	if (place_tree(c, b->node, up, e))
		return -1;
	while (up->n > 1) {
		struct bolt_node *top = bolt_node_new(c->t, false);

		if (place_parts(c, up, top, e))
			return -1;
		up = top;
	}
	b->root = up->v[0].page;
	b->node = NULL;
	return 0;
}

/* The same choice as bbolt's; see bolt_page_parse_inline() about sub-buckets. */
static bool fits_inline(const struct commit *c, const struct bolt_bucket *b)
{
	const struct bolt_node *nd = b->node;

	if (!b->parent || !nd->leaf || bolt_node_bytes(nd, 0, nd->n) > c->page_size / 4)
		return false;
	for (size_t i = 0; i < nd->n; i++)
		if (nd->v[i].is_bucket)
			return false;
	return true;
}

/* The value that describes b in its parent. */
static int bucket_value(struct commit *c, struct bolt_bucket *b, const struct bolt_val *old,
			struct bolt_val *out, struct k3_err *e)
{
	size_t n = BOLT_BUCKET_HEADER;
	void *p;

	if (b->node)
		n += (size_t)bolt_node_bytes(b->node, 0, b->node->n);
	else if (!b->root)
		n = old->n; /* still the image it had */
	if (bolt_txn_alloc(c->t, n, &p, e))
		return -1;
	uint8_t *to = p;

	if (b->node)
		bolt_node_write(b->node, 0, b->node->n, 0, 0, to + BOLT_BUCKET_HEADER);
	else if (!b->root)
		memcpy(to, old->p, n);
	k3_store64le(to, b->root);
	k3_store64le(to + 8, b->sequence);
	*out = (struct bolt_val){ to, n };
	return 0;
}

static int place_bucket(struct commit *c, struct bolt_bucket *b, struct k3_err *e);

static int place_sub(struct commit *c, struct bolt_bucket *b, struct k3_err *e)
{
	struct bolt_node *leaf;
	size_t i;
	bool found;

	if (place_bucket(c, b, e) || bolt_tree_edit(b->parent, b->name, &leaf, &i, &found, e))
		return -1;
	if (!found)
		return k3_fail(e, K3_BUG, "%s: changed bucket \"%.*s\" is not in its parent",
			       c->db->name, (int)b->name.n, (const char *)b->name.p);
	return bucket_value(c, b, &leaf->v[i].val, &leaf->v[i].val, e);
}

/* Recursion is as deep as buckets are nested: BOLT_DEPTH_MAX. */
static int place_bucket(struct commit *c, struct bolt_bucket *b, struct k3_err *e)
{
	for (struct bolt_bucket *sub = b->children; sub; sub = sub->next)
		if (sub->changed && place_sub(c, sub, e))
			return -1;
	if (!b->node)
		return 0;
	if (bolt_balance(b, e))
		return -1;
	if (!fits_inline(c, b))
		return place_root(c, b, e);
	b->root = 0;
	return 0;
}

static int by_page(const void *a, const void *b)
{
	const struct out_page *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static int write_at(struct commit *c, const uint8_t *p, size_t n, uint64_t page, struct k3_err *e)
{
	const struct bolt_port *port = c->db->port;
	int err = n ? port->write(port->arg, c->db->fd, p, n, page * c->page_size) : 0;

	if (err)
		return k3_fail_sys(e, err, "%s: cannot write page %" PRIu64, c->db->name, page);
	return 0;
}

static int sync_data(struct commit *c, struct k3_err *e)
{
	int err = c->db->port->sync_data(c->db->port->arg, c->db->fd);

	if (err)
		return k3_fail_sys(e, err, "%s: cannot sync", c->db->name);
	return 0;
}

/* Writes the placed pages in file order, adjacent ones in one go. */
static int write_pages(struct commit *c, struct k3_err *e)
{
	uint64_t cap = WRITE_BYTES, first = 0;
	size_t used = 0;

	qsort(c->out, c->n, sizeof(*c->out), by_page);
	for (size_t i = 0; i < c->n; i++)
		if (c->out[i].pages * c->page_size > cap)
			cap = c->out[i].pages * c->page_size;
	K3_AUTO_FREE uint8_t *buf = malloc((size_t)cap);

	if (!buf)
		return k3_fail(e, K3_NOMEM, "%s: no memory for %" PRIu64 " bytes", c->db->name,
			       cap);
	for (size_t i = 0; i < c->n; i++) {
		const struct out_page *o = &c->out[i];
		size_t n = (size_t)o->pages * c->page_size;

		if (used && (first + used / c->page_size != o->id || used + n > cap)) {
			if (write_at(c, buf, used, first, e))
				return -1;
			used = 0;
		}
		if (!used)
			first = o->id;
		memset(buf + used, 0, n);
		bolt_node_write(o->node, o->from, o->to, o->id, (uint32_t)(o->pages - 1),
				buf + used);
		used += n;
	}
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the attribute frees it */
	return write_at(c, buf, used, first, e);
}

static uint64_t grown_size(uint64_t need)
{
	uint64_t size = FILE_MIN;

	while (size < need && size < FILE_STEP)
		size *= 2;
	if (size < need)
		size = (need + FILE_STEP - 1) / FILE_STEP * FILE_STEP;
	return size;
}

static int grow_file(struct commit *c, struct k3_err *e)
{
	const struct bolt_port *port = c->db->port;
	uint64_t need = c->space.high_water * c->page_size;

	if (need <= c->db->size)
		return 0;
	uint64_t size = grown_size(need);
	int err = port->truncate(port->arg, c->db->fd, size);

	if (!err)
		err = port->sync_all(port->arg, c->db->fd);
	if (err)
		return k3_fail_sys(e, err, "%s: cannot grow to %" PRIu64 " bytes", c->db->name,
				   size);
	return 0;
}

static int write_meta(struct commit *c, const struct bolt_meta *m, struct k3_err *e)
{
	K3_AUTO_FREE uint8_t *old = k3_xcalloc(1, c->page_size);
	K3_AUTO_FREE uint8_t *page = k3_xcalloc(1, c->page_size);
	struct k3_err ignored;

	memcpy(old, c->db->map + m->slot * c->page_size, c->page_size);
	bolt_meta_encode(m, page);
	if (!write_at(c, page, c->page_size, m->slot, e) && !sync_data(c, e))
		return 0;
	/* The new state may be visible; take it back, as we are going to report failure. */
	if (write_at(c, old, c->page_size, m->slot, &ignored) || sync_data(c, &ignored))
		c->db->failed = true;
	return -1;
}

/* The page that does not hold the current meta is the one to overwrite. */
static int next_meta(const struct commit *c, struct bolt_meta *m, struct k3_err *e)
{
	*m = c->t->meta;
	if (m->txid >= UINT64_MAX - 2)
		return bolt_damaged(e, "%s: no transaction numbers left", c->db->name);
	m->txid++;
	if (m->txid % 2 == c->t->meta.slot)
		m->txid++;
	m->slot = (unsigned)(m->txid % 2);
	m->root = c->t->root->root;
	m->sequence = c->t->root->sequence;
	m->freelist = BOLT_NO_FREELIST;
	m->high_water = c->space.high_water;
	return 0;
}

static int commit_all(struct commit *c, struct k3_err *e)
{
	struct bolt_meta m;

	if (bolt_space_init(&c->space, c->t, e) || place_bucket(c, c->t->root, e) ||
	    next_meta(c, &m, e) || grow_file(c, e) || write_pages(c, e) || sync_data(c, e) ||
	    write_meta(c, &m, e))
		return -1;
	c->db->meta = m;
	return 0;
}

int bolt_commit(struct bolt_txn *t, struct k3_err *e)
{
	struct commit c = { .t = t, .db = t->db, .page_size = t->meta.page_size };
	int r = 0;

	if (!t->writable)
		r = k3_fail(e, K3_BUG, "%s: commit of a read-only transaction", t->db->name);
	else if (t->root->changed)
		r = commit_all(&c, e);
	bolt_space_release(&c.space);
	free(c.out);
	bolt_abort(t);
	return r;
}
