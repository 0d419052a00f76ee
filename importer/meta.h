/* SPDX-License-Identifier: Apache-2.0 */
/* Writing records into meta.db. */
#ifndef K3_IMPORTER_META_H
#define K3_IMPORTER_META_H

#include "importer/labels.h"
#include "importer/schema.h"

/* One transaction on meta.db.  Everything is compared first and written only when different. */
struct imp_meta {
	struct bolt_txn *t;
	const uint8_t *now; /* IMP_TIME_LEN bytes */
	struct bolt_bucket *images, *blobs, *chains;
};

/* Begins, making the schema and the buckets of the namespace when missing. */
K3_MUST int imp_meta_begin(struct bolt_db *db, const char *ns, const uint8_t now[IMP_TIME_LEN],
			   struct imp_meta *m, struct k3_err *e);
/* The record of a blob with its labels; *changed is set, never cleared. */
K3_MUST int imp_meta_blob(struct imp_meta *m, const struct oci_desc *d,
			  const struct imp_labels *labels, bool *changed, struct k3_err *e);
/* The record of a published tree, linked to its parent's. */
K3_MUST int imp_meta_snapshot(struct imp_meta *m, const struct imp_tree *t, struct k3_err *e);
/* Whether the snapshot `chain` is there and has `parent` as its parent. */
K3_MUST int imp_meta_stands_on(struct imp_meta *m, const struct oci_digest *chain,
			       const struct oci_digest *parent, bool *yes, struct k3_err *e);
/* An image record: target, labels managed and (if pin) pinned. */
K3_MUST int imp_meta_image(struct imp_meta *m, const char *name, const struct oci_desc *target,
			   bool pin, bool *changed, struct k3_err *e);

#endif
