/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML 1.1 in, by libyaml: a read-only view on the documents of a stream (k3s's registries.yaml,
 * Kubernetes manifests).  Anchors and aliases are resolved; a merge key ("<<") is an ordinary key.
 * Tags are ignored: a scalar is text, and what it means is the caller's to say.
 */
#ifndef K3_BASE_YAML_H
#define K3_BASE_YAML_H

#include "base/err.h"

#define K3_YAML_SIZE_MAX (32u << 20) /* bytes of a stream: manifests of a whole cluster */
#define K3_YAML_DEPTH_MAX 64u        /* mappings and sequences inside each other */
#define K3_YAML_VALUES_MAX 1000000u  /* values of a stream: bounds its memory */

struct k3_yaml;     /* a document's root or any value in it; borrowed from its stream */
struct k3_yaml_doc; /* all documents of a stream; owns everything in them */

enum k3_yaml_kind {
	K3_YAML_MAPPING,
	K3_YAML_SEQUENCE,
	K3_YAML_SCALAR,
};

/*
 * Parses n bytes.  K3_FORMAT "line N, column N: …" on malformed text, which includes a key given
 * twice, an alias inside its own anchor and U+0000 in a scalar; K3_LIMIT past a limit above.
 */
K3_MUST int k3_yaml_parse(const void *text, size_t n, struct k3_yaml_doc **out, struct k3_err *e);
void k3_yaml_free(struct k3_yaml_doc *doc); /* NULL is a no-op */
void k3_yaml_freep(struct k3_yaml_doc **doc);
#define K3_AUTO_YAML __attribute__((cleanup(k3_yaml_freep)))
size_t k3_yaml_docs(const struct k3_yaml_doc *doc); /* empty documents are not counted */
const struct k3_yaml *k3_yaml_root(const struct k3_yaml_doc *doc, size_t i);

/* All accessors accept NULL and wrong kinds, so that lookups chain; NULL/false/0 = not that. */
enum k3_yaml_kind k3_yaml_kind(const struct k3_yaml *v); /* v is not NULL here */
unsigned k3_yaml_line(const struct k3_yaml *v);          /* from 1; 0 for NULL */
const struct k3_yaml *k3_yaml_get(const struct k3_yaml *mapping, const char *key);
size_t k3_yaml_len(const struct k3_yaml *v); /* elements of a sequence, keys of a mapping */
const struct k3_yaml *k3_yaml_at(const struct k3_yaml *v, size_t i); /* element, or i-th value */
const char *k3_yaml_key(const struct k3_yaml *mapping, size_t i);    /* in document order */
/* Text of a scalar; NULL for a plain null ("", "~", "null"). */
const char *k3_yaml_str(const struct k3_yaml *v);
/* A plain scalar true or false, as YAML 1.1 of the Go library in Kubernetes reads them. */
bool k3_yaml_bool(const struct k3_yaml *v, bool *out);

#endif
