/* SPDX-License-Identifier: Apache-2.0 */
/* One transaction: a view of one state of the file, and the memory of what changes it. */
#ifndef K3_BOLT_TXN_H
#define K3_BOLT_TXN_H

#include <stdint.h>

#include "base/err.h"
#include "bolt/bolt.h"
#include "bolt/db.h"
#include "bolt/page.h"

struct bolt_chunk;
struct bolt_node;

struct bolt_txn {
	struct bolt_db *db;
	bool writable;
	struct bolt_meta meta; /* the state it began with */
	uint64_t pages;        /* below the high-water mark and inside the file */
	uint8_t *seen;         /* per page, BOLT_SEEN_* */
	struct bolt_bucket *root;
	struct bolt_node *nodes;   /* every node ever loaded, for freeing */
	struct bolt_chunk *chunks; /* arena */
	/* Handles by parent and name: a bucket has only one, which holds its changes. */
	struct bolt_bucket **table;
	size_t table_size; /* power of two */
	size_t table_used;
};

enum {
	BOLT_SEEN_VALID = 1, /* elements checked */
	BOLT_SEEN_ROOT = 2,  /* root page of an opened bucket */
};

struct bolt_bucket {
	struct bolt_txn *txn;
	struct bolt_bucket *parent; /* NULL: the root bucket */
	struct bolt_val name;
	struct bolt_bucket *children; /* opened ones */
	struct bolt_bucket *next, **link;
	struct bolt_bucket *hash_next;
	uint64_t hash;
	uint64_t root; /* page; 0: inline */
	uint64_t sequence;
	struct bolt_page inline_pg; /* if root == 0 and node == NULL */
	struct bolt_node *node;     /* loaded root node or NULL */
	unsigned depth;             /* root bucket 0 */
	bool changed;               /* it or a bucket below */
	bool dead;                  /* deleted in this transaction */
};

/* The checked branch or leaf page `id`.  K3_STORE. */
K3_MUST int bolt_txn_page(struct bolt_txn *t, uint64_t id, struct bolt_page *out, struct k3_err *e);

/*
 * The same, of a copy: the page's first `have` pages are at p, and *out lives as long as they do. A
 * page of more is looked at in the map.
 */
K3_MUST int bolt_txn_page_at(struct bolt_txn *t, uint64_t id, const uint8_t *p, uint64_t have,
			     struct bolt_page *out, struct k3_err *e);

/* n bytes that live as long as t (n = 0: a valid pointer).  K3_NOMEM. */
K3_MUST int bolt_txn_alloc(struct bolt_txn *t, size_t n, void **out, struct k3_err *e);
K3_MUST int bolt_txn_copy(struct bolt_txn *t, struct bolt_val from, struct bolt_val *to,
			  struct k3_err *e);

#endif
