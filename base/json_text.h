/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON document (RFC 8259) of others as a text with its places: members and elements are taken
 * out or replaced, and every byte else stays as it is, whatever it means.  base/json.h reads
 * values; this keeps them: a number of 64 bits without sign, the order of members, fields that we
 * know nothing of.
 *
 * A place is an index; 0 is the document itself, K3_JT_NONE is nowhere and a legal argument.
 */
#ifndef K3_BASE_JSON_TEXT_H
#define K3_BASE_JSON_TEXT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define K3_JT_NONE UINT32_MAX
#define K3_JT_DEPTH_MAX 100     /* levels of nesting, as in base/json.h */
#define K3_JT_NODES_MAX 200000u /* values of a document: 16 MiB of places */

struct k3_jt_node;
struct k3_jt {
	const char *p; /* the caller's text, which has to stay */
	size_t n;
	struct k3_jt_node *nodes;
	size_t count, cap;
};

/* K3_FORMAT with the offset on malformed text, K3_LIMIT past the limits above. */
K3_MUST int k3_jt_parse(const void *text, size_t n, struct k3_jt *out, struct k3_err *e);
void k3_jt_release(struct k3_jt *t);
#define K3_AUTO_JT __attribute__((cleanup(k3_jt_release)))

/* Member of an object (of several with that name the last), or K3_JT_NONE. */
uint32_t k3_jt_get(const struct k3_jt *t, uint32_t obj, const char *key);
/* First member or element, and the one behind another; K3_JT_NONE ends. */
uint32_t k3_jt_first(const struct k3_jt *t, uint32_t at);
uint32_t k3_jt_next(const struct k3_jt *t, uint32_t at);
/* A string's value, a member's name: to be freed; NULL when it is none, or has U+0000 in it. */
char *k3_jt_str(const struct k3_jt *t, uint32_t at);
char *k3_jt_key(const struct k3_jt *t, uint32_t at);
bool k3_jt_is(const struct k3_jt *t, uint32_t at, const char *str); /* this very string */
/* An integer as the text has it; false for all else and what does not fit. */
bool k3_jt_int(const struct k3_jt *t, uint32_t at, int64_t *out);

void k3_jt_drop(struct k3_jt *t, uint32_t at); /* not the document itself */
/* Up to K3_JT_TEXT_MAX bytes, which are copied and have to be a JSON value. */
#define K3_JT_TEXT_MAX 31
void k3_jt_replace(struct k3_jt *t, uint32_t at, const char *json);
bool k3_jt_changed(const struct k3_jt *t);
/* Appends the document as it is now.  K3_LIMIT, K3_NOMEM of the buffer. */
K3_MUST int k3_jt_write(const struct k3_jt *t, struct k3_buf *out, struct k3_err *e);

#endif
