/* SPDX-License-Identifier: Apache-2.0 */
/* A branch or leaf in memory, loaded from a page or new, of any size until the commit. */
#ifndef K3_BOLT_NODE_H
#define K3_BOLT_NODE_H

#include <stdint.h>

#include "base/err.h"
#include "bolt/bolt.h"
#include "bolt/page.h"

struct bolt_txn;

/* From here on a node is halved in memory, so that inserting stays cheap. */
#define BOLT_NODE_HALVE 512u

/* One element; key and value are borrowed from the map or the transaction. */
struct bolt_inode {
	struct bolt_val key;
	union {
		struct bolt_val val; /* leaf */
		struct {
			uint64_t page;           /* branch: on disk, if not loaded */
			struct bolt_node *child; /* branch: loaded, or NULL */
		};
	};
	bool is_bucket;
};

struct bolt_node {
	struct bolt_node *next_all; /* all nodes of the transaction */
	struct bolt_inode *v;
	size_t n, cap;
	bool leaf;
	bool shrunk; /* lost an element: may need merging */
};

struct bolt_node *bolt_node_new(struct bolt_txn *t, bool leaf) __attribute__((returns_nonnull));
struct bolt_node *bolt_node_load(struct bolt_txn *t, const struct bolt_page *pg)
	__attribute__((returns_nonnull));
void bolt_node_free_all(struct bolt_txn *t);

void bolt_node_insert(struct bolt_node *nd, size_t i, const struct bolt_inode *in);
void bolt_node_remove(struct bolt_node *nd, size_t i);
/* Moves the elements of `from` to the end of nd; `from` is empty then. */
void bolt_node_append(struct bolt_node *nd, struct bolt_node *from);
/* Moves the upper half of child i of the branch nd to a new child i + 1. */
void bolt_node_halve(struct bolt_txn *t, struct bolt_node *nd, size_t i);

/* Bytes of a page with the elements [from, to). */
uint64_t bolt_node_bytes(const struct bolt_node *nd, size_t from, size_t to);
uint64_t bolt_inode_bytes(const struct bolt_node *nd, size_t i);
/* Lays out elements [from, to) as page `id`; p has bolt_node_bytes() bytes. */
void bolt_node_write(const struct bolt_node *nd, size_t from, size_t to, uint64_t id,
		     uint32_t overflow, uint8_t *p);

#endif
