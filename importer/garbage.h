/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of what is to be taken away. */
#ifndef K3_IMPORTER_GARBAGE_H
#define K3_IMPORTER_GARBAGE_H

#include "importer/view.h"

/* "meta.db/v1/<ns>/…" of a record, without the last bucket, for these kinds: "images", … */
const char *imp_item_bucket(enum imp_item_kind kind);
/*
 * The buckets of the record below its namespace, for bolt_bucket_path: their number, at most
 * IMP_ITEM_DEPTH with v1 and the namespace in front.
 */
#define IMP_ITEM_DEPTH 4
size_t imp_item_path(const struct imp_item *it, struct bolt_val out[IMP_ITEM_DEPTH]);

#endif
