/* SPDX-License-Identifier: Apache-2.0 */
/* The two databases: opening, schema version, fields of records. */
#ifndef K3_IMPORTER_SCHEMA_H
#define K3_IMPORTER_SCHEMA_H

#include "importer/codec.h"
#include "importer/imp.h"

/* containerd core/metadata/migrations.go: 3 is 1.6 and 1.7, 4 is 2.x, which also takes 3. */
#define IMP_SCHEMA_MIN 3
#define IMP_SCHEMA_MAX 4
#define IMP_SCHEMA_NEW 3

/* Label keys; containerd core/images, pkg/labels, internal/cri/labels. */
#define IMP_LABEL_GC_CONTENT "containerd.io/gc.ref.content."
#define IMP_LABEL_GC_SNAPSHOT "containerd.io/gc.ref.snapshot." IMP_SNAPSHOTTER
#define IMP_LABEL_SOURCE "containerd.io/distribution.source."
#define IMP_LABEL_UNCOMPRESSED "containerd.io/uncompressed"
#define IMP_LABEL_SNAPSHOT_REF "containerd.io/snapshot.ref"
#define IMP_LABEL_MANAGED "io.cri-containerd.image"
#define IMP_LABEL_PINNED "io.cri-containerd.pinned"
#define IMP_LABEL_MAX 4096u /* key and value of one label; containerd pkg/labels */

/* Kinds of snapshots in metadata.db. */
enum { IMP_KIND_VIEW = 1, IMP_KIND_ACTIVE = 2, IMP_KIND_COMMITTED = 3 };

/* Both files with their locks; NULL where there is no file. */
struct imp_dbs {
	struct bolt_db *meta, *native;
};

enum imp_dbs_mode {
	IMP_DBS_READ,
	IMP_DBS_WRITE,        /* exclusive locks, meta.db is made when missing */
	IMP_DBS_WRITE_NATIVE, /* metadata.db too */
	IMP_DBS_EDIT,         /* exclusive locks on what there is, nothing is made */
};

/*
 * Locks meta.db, then metadata.db.  A lock held by somebody else is tried again for
 * patience_ms, then K3_BUSY, naming containerd: other k3simgs hold them for moments only.
 * To read, copies of both do, unless the mode is offline.
 */
K3_MUST int imp_dbs_open(struct imp *i, enum imp_dbs_mode mode, unsigned patience_ms,
			 struct imp_dbs *out, struct k3_err *e);
void imp_dbs_close(struct imp_dbs *d);
/*
 * A database that broke off while it was made is as good as none, but not when the other one has
 * records: then it was cut off.  K3_STORE.
 */
K3_MUST int imp_dbs_match(struct imp *i, const struct imp_dbs *d, struct k3_err *e);
/*
 * Whether both files may be written to: nothing in them is damaged, and nothing is there that
 * this program does not know where it would write.  K3_STORE.  Reads all of both, but a state
 * that it has seen before only once.  imp_dbs_open() does this unless it is to read.
 */
K3_MUST int imp_dbs_sound(struct imp *i, const struct imp_dbs *d, struct k3_err *e);

/* *version = 0 when there is no schema yet.  K3_STORE on one that we do not know. */
K3_MUST int imp_schema_read(struct bolt_txn *meta, int64_t *version, struct k3_err *e);
/* The root's schema version, 0 when there is none yet or meta.db is out of reach. */
int64_t imp_schema_peek(const char *root);

/* *out = NULL and success when absent or a plain value. */
K3_MUST int imp_sub(struct bolt_bucket *b, struct bolt_val name, struct bolt_bucket **out,
		    struct k3_err *e);
/* Puts val unless the field has it already; then *changed = true, else it is left alone. */
K3_MUST int imp_set(struct bolt_bucket *b, const char *key, struct bolt_val val, bool *changed,
		    struct k3_err *e);
K3_MUST int imp_set_varint(struct bolt_bucket *b, const char *key, uint64_t v, bool *changed,
			   struct k3_err *e);
/* Sets an entry of the sub-bucket `map`, made when needed. */
K3_MUST int imp_set_in(struct bolt_bucket *b, const char *map, const char *key, struct bolt_val val,
		       bool *changed, struct k3_err *e);
/* If changed: updatedat = now, and createdat too when it is missing. */
K3_MUST int imp_stamp(struct bolt_bucket *b, const uint8_t now[IMP_TIME_LEN], bool changed,
		      struct k3_err *e);
bool imp_val_eq(struct bolt_val a, struct bolt_val b);

#endif
