/* SPDX-License-Identifier: Apache-2.0 */
/* Blob files: what the content store has, and moving staged ones there. */
#ifndef K3_IMPORTER_CONTENT_H
#define K3_IMPORTER_CONTENT_H

#include "importer/imp.h"

/* Whether the store has a file of this blob, and of the right size. */
bool imp_blob_file(struct imp *i, const struct oci_desc *d, bool *exists);
/* Sorts i->staged by digest and joins entries of the same blob, so that imp_staged_find works. */
void imp_staged_sort(struct imp *i);
struct imp_staged *imp_staged_find(struct imp *i, const struct oci_digest *d); /* or NULL */
/* Moves a staged blob into the store, over a broken file if there is one. */
K3_MUST int imp_blob_place(struct imp *i, struct imp_staged *s, const struct oci_desc *d,
			   struct k3_err *e);

#endif
