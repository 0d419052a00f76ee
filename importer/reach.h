/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of meta.db is in use: the records of all namespaces as a graph, and the marking that
 * containerd's collector makes in it.  containerd core/metadata/gc.go; docs/importer.md has the
 * rules, and where this keeps more than the collector would.
 */
#ifndef K3_IMPORTER_REACH_H
#define K3_IMPORTER_REACH_H

#include "importer/schema.h"

enum reach_type {
	REACH_IMAGE,
	REACH_BLOB,
	REACH_SNAPSHOT, /* `sub` is its snapshotter */
	REACH_INGEST,
	REACH_LEASE,
	REACH_CONTAINER,
	REACH_OTHER, /* sandboxes, and kinds of objects that this program does not know */
};

/* Which record.  Borrowed bytes, compared as they are. */
struct reach_id {
	enum reach_type type;
	struct bolt_val ns, sub, key;
};

/* How far something is in use: flat is without what its labels refer to. */
enum reach_mark { REACH_NONE, REACH_FLAT, REACH_FULL };

struct reach_node {
	struct reach_id id;
	/* A snapshot's key in metadata.db, an ingest's backend reference; else empty. */
	struct bolt_val name;
	bool root;    /* in use by itself */
	bool dropped; /* taken as if it were not there */
	enum reach_mark mark;
};

struct reach {
	struct reach_node *nodes;
	size_t n, cap;
	struct reach_ref *refs;
	size_t nrefs, refs_cap;
	size_t *order; /* of nodes, by id; NULL until they are all there */
	/* Leases of k3simg with this prefix belong to nobody: of this namespace, or of all. */
	bool ours_are_stale;
	const char *ours_in; /* NULL = all */
	int64_t now;         /* unix seconds, for what expires */
};

void reach_release(struct reach *r);

/* Adds a record; its number, for the calls below.  Not after reach_mark. */
size_t reach_add(struct reach *r, const struct reach_id *id, bool root);
/* How one refers to another. */
enum reach_kind {
	REACH_REF,    /* as a label does */
	REACH_HOLD,   /* of a flat lease: the other one and no more */
	REACH_PARENT, /* of a snapshot */
	REACH_BACK,   /* the other way round: the other one keeps this one */
};
/* Not after reach_mark.  What is not there is no matter. */
void reach_refer(struct reach *r, size_t from, const struct reach_id *to, enum reach_kind kind);
/* What a label of a record means, by containerd's names for labels. */
void reach_label(struct reach *r, size_t from, struct bolt_val key, struct bolt_val value);
/* Unix seconds of an RFC 3339 text; false when it is none. */
bool reach_time(struct bolt_val text, int64_t *out);

/* Adds all records.  r starts zeroed but for its settings, and lives as long as the transaction. */
K3_MUST int reach_scan(struct reach *r, struct bolt_txn *meta, struct k3_err *e);
/* Marks what is in use, from nothing again with each call. */
void reach_mark(struct reach *r);
struct reach_node *reach_find(struct reach *r, const struct reach_id *id); /* or NULL */

#endif
