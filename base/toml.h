/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TOML 1.0 in: a strict, read-only view on a parsed document (containerd's config.toml and
 * hosts.toml).  What containerd itself would refuse is refused here too.
 *
 * Two things are left out on purpose: floats and dates are checked but kept as text, since
 * nothing here computes with them; and a string with U+0000 is refused, so that every string
 * is a C string.
 */
#ifndef K3_BASE_TOML_H
#define K3_BASE_TOML_H

#include <stdint.h>

#include "base/err.h"

#define K3_TOML_SIZE_MAX (1u << 20)  /* bytes of a document: real ones have a few KiB */
#define K3_TOML_DEPTH_MAX 32u        /* tables and arrays inside each other */
#define K3_TOML_TABLE_KEYS_MAX 1024u /* keys of one table; lookups are linear */

struct k3_toml;     /* the root table or any value in it; borrowed from its document */
struct k3_toml_doc; /* owns everything in it */

enum k3_toml_kind {
	K3_TOML_TABLE,
	K3_TOML_ARRAY, /* also an array of tables */
	K3_TOML_STRING,
	K3_TOML_INT,
	K3_TOML_FLOAT, /* as text */
	K3_TOML_BOOL,
	K3_TOML_TIME, /* the four kinds of dates and times, as text */
};

/*
 * Parses n bytes of UTF-8.  K3_FORMAT "line N: …" on malformed text, which includes keys and
 * tables defined twice; K3_LIMIT past one of the limits above.
 */
K3_MUST int k3_toml_parse(const void *text, size_t n, struct k3_toml_doc **out, struct k3_err *e);
void k3_toml_free(struct k3_toml_doc *doc); /* NULL is a no-op */
void k3_toml_freep(struct k3_toml_doc **doc);
#define K3_AUTO_TOML __attribute__((cleanup(k3_toml_freep)))
const struct k3_toml *k3_toml_root(const struct k3_toml_doc *doc);

/* All accessors accept NULL and wrong kinds, so that lookups chain; NULL/false/0 = not that. */
enum k3_toml_kind k3_toml_kind(const struct k3_toml *v); /* v is not NULL here */
const struct k3_toml *k3_toml_get(const struct k3_toml *table, const char *key);
/* Where it begins, a table where its header is; from 1, 0 for NULL. */
unsigned k3_toml_line(const struct k3_toml *v);
/* Walks down n keys, none of them split at dots. */
const struct k3_toml *k3_toml_path(const struct k3_toml *table, const char *const *keys, size_t n);
size_t k3_toml_len(const struct k3_toml *v); /* elements of an array, keys of a table */
const struct k3_toml *k3_toml_at(const struct k3_toml *v, size_t i); /* of an array or a table */
const char *k3_toml_key(const struct k3_toml *table, size_t i); /* i-th key, in document order */
const char *k3_toml_str(const struct k3_toml *v);               /* strings only */
const char *k3_toml_text(const struct k3_toml *v);              /* floats and times */
bool k3_toml_int(const struct k3_toml *v, int64_t *out);
bool k3_toml_bool(const struct k3_toml *v, bool *out);

#endif
