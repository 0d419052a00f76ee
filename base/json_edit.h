/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edits a JSON document that belongs to others as a text: every byte but those of the member
 * asked for stays, whatever it means.
 */
#ifndef K3_BASE_JSON_EDIT_H
#define K3_BASE_JSON_EDIT_H

#include "base/buf.h"

struct k3_json_pair {
	const char *key, *value;
};

/*
 * Member `key` of the object `outer` of the document becomes an object of n strings, where it
 * is, or behind the others and indented as they are; an `outer` that is missing or null is made.
 * len = 0 begins a document.  The new text goes to *out (emptied first).
 * K3_FORMAT: text is no JSON object, or outer none; K3_LIMIT of k3_json_parse and of the buffer.
 */
K3_MUST int k3_json_set(const void *text, size_t len, const char *outer, const char *key,
			const struct k3_json_pair *pairs, size_t n, struct k3_buf *out,
			struct k3_err *e);
/* The same text without that member, if it is there; key = NULL: without any of outer. */
K3_MUST int k3_json_drop(const void *text, size_t len, const char *outer, const char *key,
			 struct k3_buf *out, struct k3_err *e);

#endif
