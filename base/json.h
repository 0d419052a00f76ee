/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON in: a read-only view on a parsed document (jansson; strict, duplicate keys and NUL
 * in strings refused).  JSON out: a streaming writer into a k3_buf.
 */
#ifndef K3_BASE_JSON_H
#define K3_BASE_JSON_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct k3_json;     /* a document or any value in it; borrowed from its document */
struct k3_json_doc; /* owns everything in it */

#define K3_JSON_DEPTH_MAX 100 /* levels of nesting */
/* values in one document, objects and arrays counted twice: 30 MiB when parsed, at worst */
#define K3_JSON_VALUES_MAX 100000

/* K3_FORMAT with line and column on malformed text, K3_LIMIT past the limits above. */
K3_MUST int k3_json_parse(const void *text, size_t n, struct k3_json_doc **out, struct k3_err *e);
void k3_json_free(struct k3_json_doc *doc);
void k3_json_freep(struct k3_json_doc **doc);
#define K3_AUTO_JSON __attribute__((cleanup(k3_json_freep)))
const struct k3_json *k3_json_root(const struct k3_json_doc *doc);

/* All accessors accept NULL and wrong types, so that lookups chain; NULL/false/0 = not that. */
const struct k3_json *k3_json_get(const struct k3_json *obj, const char *key);
const struct k3_json *k3_json_at(const struct k3_json *arr, size_t i);
size_t k3_json_len(const struct k3_json *arr); /* elements of an array, else 0 */
bool k3_json_is_obj(const struct k3_json *v);
bool k3_json_is_arr(const struct k3_json *v);
bool k3_json_is_null(const struct k3_json *v);            /* the value null; false when absent */
const char *k3_json_str(const struct k3_json *v);         /* UTF-8, no NUL inside */
bool k3_json_u64(const struct k3_json *v, uint64_t *out); /* false for negative and non-integers */
bool k3_json_true(const struct k3_json *v);

/* Calls fn for each member in document order until it returns false. */
typedef bool k3_json_member_fn(void *arg, const char *key, const struct k3_json *v);
void k3_json_each(const struct k3_json *obj, k3_json_member_fn *fn, void *arg);

/*
 * Writer.  Commas and indentation are its business; key = NULL inside arrays and at the
 * top.  The first failure is kept and returned by k3_jw_end().
 */
struct k3_jw {
	struct k3_buf *out;
	struct k3_err err;
	unsigned depth;
	bool failed, need_comma;
	bool one_line; /* no line breaks but the last one: set before anything is written */
};

#define K3_JW(buffer) ((struct k3_jw){ .out = (buffer) })
void k3_jw_obj(struct k3_jw *w, const char *key);
void k3_jw_arr(struct k3_jw *w, const char *key);
void k3_jw_close_obj(struct k3_jw *w);
void k3_jw_close_arr(struct k3_jw *w);
void k3_jw_str(struct k3_jw *w, const char *key, const char *value); /* NULL value = null */
void k3_jw_u64(struct k3_jw *w, const char *key, uint64_t value);
void k3_jw_bool(struct k3_jw *w, const char *key, bool value);
/* A copy of a parsed value, members in their order. */
void k3_jw_value(struct k3_jw *w, const char *key, const struct k3_json *value);
/* Ends the document with a newline.  K3_LIMIT, K3_NOMEM of the buffer. */
K3_MUST int k3_jw_end(struct k3_jw *w, struct k3_err *e);

#endif
