/* SPDX-License-Identifier: Apache-2.0 */
/* A look at both databases: the public view, and the one that imp_commit() takes. */
#ifndef K3_IMPORTER_VIEW_H
#define K3_IMPORTER_VIEW_H

#include "importer/schema.h"

struct imp_view {
	struct imp *i;
	struct imp_dbs own; /* closed with the view */
	struct bolt_txn *meta, *native;
	/* Buckets of our namespace, and of metadata.db; NULL where there are none yet. */
	struct bolt_bucket *images, *blobs, *chains, *backend;
};

/* A committed snapshot. */
struct imp_snapshot {
	struct bolt_val name; /* its key in metadata.db; lives as long as the view */
	uint64_t id;
};

/* Begins read transactions on databases that stay the caller's. */
K3_MUST int imp_view_begin(struct imp *i, const struct imp_dbs *d, struct imp_view *v,
			   struct k3_err *e);
void imp_view_end(struct imp_view *v);
/*
 * Our snapshot of this chain, in both databases and with its directory.  K3_STORE when the
 * name belongs to a snapshot that is not committed.
 */
K3_MUST int imp_view_snapshot(struct imp_view *v, const struct oci_digest *chain,
			      struct imp_snapshot *out, bool *found, struct k3_err *e);
/* All of *r but the name.  K3_STORE when the record is broken. */
K3_MUST int imp_read_record(struct bolt_bucket *rec, struct imp_record *r, struct k3_err *e);
/* Whether meta.db has a record of the blob, of this size. */
K3_MUST int imp_view_blob_record(struct imp_view *v, const struct oci_desc *d, bool *have,
				 struct k3_err *e);

#endif
