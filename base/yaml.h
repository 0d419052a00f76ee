/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML 1.1 in, by libyaml: a read-only view on the documents of a stream (k3s's registries.yaml,
 * Kubernetes manifests).  What Go's YAML libraries make of such files counts: aliases are resolved
 * and merge keys ("<<") applied.  Tags are ignored but for this: a plain scalar that has one is
 * text.  JSON is read, too.
 *
 * An alias is one more way to its value, never a copy: no stream grows when it is read.  Whoever
 * walks a document may still come by a value more than once, and has to bound that.
 */
#ifndef K3_BASE_YAML_H
#define K3_BASE_YAML_H

#include "base/err.h"

#define K3_YAML_SIZE_MAX (32u << 20) /* bytes of a stream: manifests of a whole cluster */
#define K3_YAML_DEPTH_MAX 64u        /* mappings and sequences inside each other */
#define K3_YAML_VALUES_MAX 1000000u  /* values and keys of a stream: at most 250 MB of memory */
#define K3_YAML_ANCHORS_MAX 256u     /* of a document: aliases are looked up one after the other */

struct k3_yaml;     /* a document's root or any value in it; borrowed from its stream */
struct k3_yaml_doc; /* all documents of a stream; owns everything in them */

enum k3_yaml_kind {
	K3_YAML_MAPPING,
	K3_YAML_SEQUENCE,
	K3_YAML_SCALAR,
};

/*
 * Parses n bytes.  K3_FORMAT "line N, column N: …" or "line N: …" on malformed text ("byte N: …"
 * when that is no Unicode), which includes a key given twice, a key that is no scalar, an alias
 * inside its own anchor and U+0000 in a scalar; K3_LIMIT past a limit above, K3_NOMEM.
 */
K3_MUST int k3_yaml_parse(const void *text, size_t n, struct k3_yaml_doc **out, struct k3_err *e);
void k3_yaml_free(struct k3_yaml_doc *doc); /* NULL is a no-op */
void k3_yaml_freep(struct k3_yaml_doc **doc);
#define K3_AUTO_YAML __attribute__((cleanup(k3_yaml_freep)))
size_t k3_yaml_docs(const struct k3_yaml_doc *doc); /* empty ones and null are not counted */
const struct k3_yaml *k3_yaml_root(const struct k3_yaml_doc *doc, size_t i);

/* All accessors accept NULL and wrong kinds, so that lookups chain; NULL/false/0 = not that. */
enum k3_yaml_kind k3_yaml_kind(const struct k3_yaml *v); /* v is not NULL here */
bool k3_yaml_is(const struct k3_yaml *v, enum k3_yaml_kind kind);
unsigned k3_yaml_line(const struct k3_yaml *v); /* from 1; 0 for NULL */
const struct k3_yaml *k3_yaml_get(const struct k3_yaml *mapping, const char *key);
size_t k3_yaml_len(const struct k3_yaml *v); /* elements of a sequence, keys of a mapping */
const struct k3_yaml *k3_yaml_at(const struct k3_yaml *v, size_t i); /* element, or i-th value */
/* In document order, merged ones last. */
const char *k3_yaml_key(const struct k3_yaml *mapping, size_t i);
/* Text of a scalar; NULL for a plain null ("", "~", "null"). */
const char *k3_yaml_str(const struct k3_yaml *v);
/* A plain scalar true or false in one of the words of YAML 1.1: true, yes, on, y … */
bool k3_yaml_bool(const struct k3_yaml *v, bool *out);

#endif
