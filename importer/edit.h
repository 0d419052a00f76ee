/* SPDX-License-Identifier: Apache-2.0 */
/* Changing image records that are there. */
#ifndef K3_IMPORTER_EDIT_H
#define K3_IMPORTER_EDIT_H

#include "importer/schema.h"

/* Makes the changes in a transaction on meta.db. */
K3_MUST int imp_edit_records(struct imp *i, struct bolt_txn *t, struct imp_edit *edits, size_t n,
			     struct k3_err *e);
/* Whether the record is still what was decided upon; K3_BUSY when not. */
K3_MUST int imp_edit_check(const struct imp_edit *edit, bool found, const struct oci_digest *target,
			   struct k3_err *e);

#endif
