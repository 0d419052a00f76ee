/* SPDX-License-Identifier: Apache-2.0 */
#include "bolt/txn.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bolt/damage.h"
#include "bolt/node.h"

#define CHUNK_BYTES (64u << 10)
#define CHUNK_OWN (CHUNK_BYTES / 4) /* a piece from here on gets a chunk of its own */
#define ALIGNMENT 16u

struct bolt_chunk {
	struct bolt_chunk *next;
	size_t used, size;
	_Alignas(ALIGNMENT) uint8_t p[];
};

static struct bolt_chunk *chunk_new(size_t size)
{
	struct bolt_chunk *c = malloc(sizeof(*c) + size);

	if (c)
		*c = (struct bolt_chunk){ .size = size };
	return c;
}

int bolt_txn_alloc(struct bolt_txn *t, size_t n, void **out, struct k3_err *e)
{
	struct bolt_chunk *c = t->chunks;
	size_t need = (n + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);

	if (need < CHUNK_OWN && c && c->size - c->used >= need) {
		*out = c->p + c->used;
		c->used += need;
		return 0;
	}
	c = chunk_new(need < CHUNK_OWN ? CHUNK_BYTES : need);
	if (!c)
		return k3_fail(e, K3_NOMEM, "%s: no memory for %zu bytes", t->db->name, n);
	c->used = need;
	*out = c->p;
	/* A full chunk goes behind the one that still has room. */
	if (need >= CHUNK_OWN && t->chunks) {
		c->next = t->chunks->next;
		t->chunks->next = c;
	} else {
		c->next = t->chunks;
		t->chunks = c;
	}
	return 0;
}

int bolt_txn_copy(struct bolt_txn *t, struct bolt_val from, struct bolt_val *to, struct k3_err *e)
{
	void *p;

	if (bolt_txn_alloc(t, from.n, &p, e))
		return -1;
	if (from.n)
		memcpy(p, from.p, from.n);
	*to = (struct bolt_val){ p, from.n };
	return 0;
}

static int check_id(const struct bolt_txn *t, uint64_t id, struct k3_err *e)
{
	if (id < 2 || id >= t->meta.high_water)
		return bolt_damaged(e, "not one of the %" PRIu64 " pages in use",
				    t->meta.high_water);
	if (id >= t->pages)
		return bolt_damaged(e, "beyond the end of the file");
	return 0;
}

/* Page `id`, whose first `have` pages are at p; those behind them in the map alone. */
static int load_page(struct bolt_txn *t, uint64_t id, const uint8_t *p, uint64_t have,
		     struct bolt_page *out, struct k3_err *e)
{
	size_t page_size = t->meta.page_size;
	struct bolt_page_head head;

	bolt_page_head_read(p, &head);
	if (head.overflow >= t->pages - id)
		return bolt_damaged(e, "its %" PRIu32 " overflow pages pass the end",
				    head.overflow);
	if (head.id != id)
		return bolt_damaged(e, "calls itself page %" PRIu64, head.id);
	size_t len = (size_t)(head.overflow + UINT64_C(1)) * page_size;

	if (head.overflow >= have)
		p = t->db->map + id * page_size;
	if (t->seen[id] & BOLT_SEEN_VALID)
		return bolt_page_reparse(p, len, out, e);
	if (bolt_page_parse(p, len, out, e))
		return -1;
	t->seen[id] |= BOLT_SEEN_VALID;
	return 0;
}

int bolt_txn_page(struct bolt_txn *t, uint64_t id, struct bolt_page *out, struct k3_err *e)
{
	const uint8_t *map = t->db->map;

	if (check_id(t, id, e) ||
	    load_page(t, id, map + id * t->meta.page_size, UINT64_MAX, out, e))
		return k3_wrap(e, "%s: page %" PRIu64, t->db->name, id);
	return 0;
}

int bolt_txn_page_at(struct bolt_txn *t, uint64_t id, const uint8_t *p, uint64_t have,
		     struct bolt_page *out, struct k3_err *e)
{
	if (check_id(t, id, e) || load_page(t, id, p, have, out, e))
		return k3_wrap(e, "%s: page %" PRIu64, t->db->name, id);
	return 0;
}

static int begin(struct bolt_txn *t, struct k3_err *e)
{
	struct bolt_db *db = t->db;
	void *root;

	if (bolt_db_map(db, e))
		return -1;
	t->meta = db->meta;
	if (db->map_len < 2 * (uint64_t)t->meta.page_size)
		return bolt_damaged(e, "%s: was cut off to %zu bytes", db->name, db->map_len);
	t->pages = db->map_len / t->meta.page_size;
	if (t->pages > t->meta.high_water)
		t->pages = t->meta.high_water;
	t->seen = calloc(t->meta.high_water, 1);
	if (!t->seen)
		return k3_fail(e, K3_NOMEM, "%s: no memory for %" PRIu64 " pages", db->name,
			       t->meta.high_water);
	if (bolt_txn_alloc(t, sizeof(*t->root), &root, e))
		return -1;
	t->root = root;
	*t->root = (struct bolt_bucket){ .txn = t,
					 .name = BOLT_STR("(root)"),
					 .root = t->meta.root,
					 .sequence = t->meta.sequence };
	t->seen[t->meta.root] |= BOLT_SEEN_ROOT;
	return 0;
}

int bolt_begin(struct bolt_db *db, bool writable, struct bolt_txn **out, struct k3_err *e)
{
	if (db->txn)
		return k3_fail(e, K3_BUG, "%s: a transaction is open already", db->name);
	if (writable && !db->writable)
		return k3_fail(e, K3_BUG, "%s: opened without BOLT_WRITE", db->name);
	if (db->failed)
		return k3_fail(e, K3_IO, "%s: unusable after a failed commit", db->name);
	struct bolt_txn *t = k3_xcalloc(1, sizeof(*t));

	t->db = db;
	t->writable = writable;
	db->txn = t;
	if (begin(t, e)) {
		bolt_abort(t);
		return -1;
	}
	*out = t;
	return 0;
}

void bolt_abort(struct bolt_txn *t)
{
	if (!t)
		return;
	t->db->txn = NULL;
	bolt_node_free_all(t);
	while (t->chunks) {
		struct bolt_chunk *c = t->chunks;

		t->chunks = c->next;
		free(c);
	}
	free(t->table);
	free(t->seen);
	free(t);
}

struct bolt_bucket *bolt_root(struct bolt_txn *t)
{
	return t->root;
}

void bolt_stat(const struct bolt_txn *t, struct bolt_stat *out)
{
	*out = (struct bolt_stat){ .page_size = t->meta.page_size,
				   .high_water = t->meta.high_water,
				   .txid = t->meta.txid,
				   .freelist_stored = t->meta.freelist != BOLT_NO_FREELIST };
}
