/* SPDX-License-Identifier: Apache-2.0 */
/* The native snapshotter's metadata.db: numbers, records, links. */
#ifndef K3_IMPORTER_NATIVE_H
#define K3_IMPORTER_NATIVE_H

#include "importer/schema.h"

/* *out = NULL and success when there is no such bucket yet. */
K3_MUST int imp_native_snapshots(struct bolt_txn *t, struct bolt_bucket **out, struct k3_err *e);
/* Number and kind of a record.  *found = false and success when absent or broken. */
K3_MUST int imp_native_find(struct bolt_bucket *snapshots, struct bolt_val key, uint64_t *id,
			    int *kind, bool *found, struct k3_err *e);
/* The highest number of a record, 0 = none; reads all of them. */
K3_MUST int imp_native_highest(struct bolt_db *db, uint64_t *out, struct k3_err *e);
/* Raises the sequence to last_id, in a transaction of its own. */
K3_MUST int imp_native_reserve(struct bolt_db *db, uint64_t last_id, struct k3_err *e);
/* Writes the records of published trees, in one transaction. */
K3_MUST int imp_native_write(struct bolt_db *db, struct imp_tree *const *trees, size_t n,
			     const uint8_t now[IMP_TIME_LEN], struct k3_err *e);
/*
 * Lets whoever stands on `old` stand on the record `now` instead; nothing happens when that one
 * is not there.
 */
K3_MUST int imp_native_relink(struct bolt_txn *t, const char *old, const char *now,
			      struct k3_err *e);
/*
 * Removes a record and its link to its parent; absent or of another number is success.
 * *kept: it stays, because others stand on it.
 */
K3_MUST int imp_native_drop(struct bolt_txn *t, uint64_t id, const char *key, bool *kept,
			    struct k3_err *e);

#endif
