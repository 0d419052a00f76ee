/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OCI and Docker schema 2 values: references, digests, descriptors, indexes, manifests,
 * configs, chain IDs.  Pure functions over memory: no I/O, no state, any thread.
 *
 * Follows image-spec 1.1, distribution-spec 1.1, and containerd's
 * github.com/distribution/reference and platforms packages where the specs are silent.
 */
#ifndef K3_OCI_OCI_H
#define K3_OCI_OCI_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"

/* ---- digest ------------------------------------------------------------------------- */

/* "sha512:" and 128 hex digits with the NUL */
#define OCI_DIGEST_TEXT_MAX (7 + 2 * K3_HASH_MAX + 1)

struct oci_digest {
	enum k3_hash_alg alg;
	uint8_t hash[K3_HASH_MAX]; /* k3_hash_len(alg) bytes, the rest zero: memcmp works */
};

/*
 * Parses "<algorithm>:<lower-case hex>".  K3_FORMAT when it is no digest; K3_UNSUPPORTED,
 * naming the algorithm, when it is a well-formed one other than sha256 and sha512.
 */
K3_MUST int oci_digest_parse(const char *s, struct oci_digest *out, struct k3_err *e);
void oci_digest_format(const struct oci_digest *d, char out[OCI_DIGEST_TEXT_MAX]);
bool oci_digest_eq(const struct oci_digest *a, const struct oci_digest *b);
const char *oci_alg_name(enum k3_hash_alg alg); /* "sha256", "sha512" */
/* The digest of n bytes. */
void oci_digest_of(enum k3_hash_alg alg, const void *p, size_t n, struct oci_digest *out);
/*
 * Reads a finished running hash into a digest (resets the hash).
 * alg must be the one the hash was made with.
 */
void oci_digest_final(struct k3_hash *h, enum k3_hash_alg alg, struct oci_digest *out);

/* A map from digest to pointer.  Digests are uniform already: their first bytes are the hash. */
struct oci_map_slot {
	const struct oci_digest *key; /* borrowed: lives as long as the map */
	void *value;
};

struct oci_map { /* starts zeroed */
	struct oci_map_slot *slots;
	size_t cap, used;
};

void *oci_map_get(const struct oci_map *m, const struct oci_digest *key); /* NULL = absent */
/* key must be absent; value not NULL. */
void oci_map_put(struct oci_map *m, const struct oci_digest *key, void *value);
void oci_map_release(struct oci_map *m);

/* ---- reference ---------------------------------------------------------------------- */

#define OCI_REF_MAX 1024 /* bytes of a whole reference; longer ones are refused */
#define OCI_REPO_MAX 255 /* distribution/reference NameTotalLengthMax: host and path */
#define OCI_TAG_MAX 128  /* distribution-spec */

/*
 * A reference in its normalised parts, e.g. nginx:alpine = docker.io, library/nginx, alpine.
 * A reference with tag and digest keeps both; the digest decides what is fetched.
 */
struct oci_ref {
	char *host; /* "docker.io", "127.0.0.1:5000", "[::1]:5000" */
	char *repo; /* "library/nginx" */
	char *tag;  /* NULL when only a digest was given */
	bool has_digest;
	struct oci_digest digest;
};

/*
 * Normalises exactly as containerd's reference.ParseDockerRef/ParseNormalizedNamed do,
 * except that tag@digest keeps its tag in `tag`.  No tag and no digest gives "latest".
 * K3_USAGE with a hint (upper-case letters, scheme prefix, 64 bare hex digits, …).
 */
K3_MUST int oci_ref_parse(const char *s, struct oci_ref *out, struct k3_err *e);
void oci_ref_release(struct oci_ref *r);
/*
 * The name kubelet and CRI look up: "host/repo:tag", or "host/repo@digest" when there is a
 * digest (CRI drops the tag of tag@digest).  Caller frees.
 */
char *oci_ref_name(const struct oci_ref *r);
/* "host/repo:tag", "host/repo@digest" or "host/repo:tag@digest" as the user would write it in full.
 */
char *oci_ref_full(const struct oci_ref *r);
/* "host/repo@<digest>".  Caller frees. */
char *oci_ref_with_digest(const struct oci_ref *r, const struct oci_digest *d);

/* ---- platform ----------------------------------------------------------------------- */

#define OCI_PLATFORM_PART_MAX 32

struct oci_platform {
	char os[OCI_PLATFORM_PART_MAX];
	char arch[OCI_PLATFORM_PART_MAX];
	char variant[OCI_PLATFORM_PART_MAX]; /* "" = none */
};

/*
 * "os/arch[/variant]", also a known "arch" alone (of linux); normalised: lower case, x86_64 =
 * amd64, aarch64 = arm64, arm64/v8 = arm64, arm = arm/v7, ….  K3_USAGE with a hint.
 */
K3_MUST int oci_platform_parse(const char *s, struct oci_platform *out, struct k3_err *e);
/* The platform this program was built for and, on 32-bit arm, runs on. */
void oci_platform_host(struct oci_platform *out);
/* "os/arch[/variant]" into out, cut to size bytes with the NUL. */
void oci_platform_format(const struct oci_platform *p, char *out, size_t size);
/*
 * Rank of `have` for a machine that wants `want`, as containerd's platforms.Only orders
 * them: 0 is best, larger is worse, -1 does not match (arm64 also accepts arm, amd64 386
 * and lower amd64 variants, v7 accepts v6 and v5).  Both must be normalised, as everything in
 * this folder that fills a struct oci_platform leaves it.
 */
int oci_platform_rank(const struct oci_platform *want, const struct oci_platform *have);

/* ---- descriptors, index, manifest, config ----------------------------------------------- */

enum oci_media {
	OCI_MEDIA_UNKNOWN = 0,
	OCI_MEDIA_INDEX,           /* OCI index */
	OCI_MEDIA_DOCKER_LIST,     /* docker manifest list */
	OCI_MEDIA_MANIFEST,        /* OCI manifest */
	OCI_MEDIA_DOCKER_MANIFEST, /* docker schema 2 manifest */
	OCI_MEDIA_DOCKER_SCHEMA1,  /* recognised in order to be refused by name */
	OCI_MEDIA_CONFIG,
	OCI_MEDIA_DOCKER_CONFIG,
	OCI_MEDIA_LAYER_TAR, /* OCI …layer.v1.tar, and the nondistributable ones */
	OCI_MEDIA_LAYER_GZIP,
	OCI_MEDIA_LAYER_ZSTD,
	OCI_MEDIA_LAYER_DOCKER, /* docker …diff.tar(.gzip/.zstd): compression found by magic */
};

#define OCI_MEDIA_TEXT_MAX 256

/* Media type of a text, parameters ("; charset=…") and case ignored. */
enum oci_media oci_media_parse(const char *s);
const char *oci_media_name(enum oci_media m); /* the usual text of a kind; "" when unknown */
bool oci_media_is_index(enum oci_media m);    /* both kinds */
bool oci_media_is_manifest(enum oci_media m); /* both kinds, not schema 1 */
bool oci_media_is_layer(enum oci_media m);
/* By its text: a layer that registries need not have (foreign, nondistributable). */
bool oci_media_is_foreign(const char *text);

struct oci_desc {
	enum oci_media media;
	char media_text[OCI_MEDIA_TEXT_MAX]; /* as written, without parameters */
	struct oci_digest digest;
	uint64_t size;
};

/* Largest index, manifest or config read: containerd's own limit for a manifest is 8 MiB. */
#define OCI_DOCUMENT_MAX (4u << 20)
#define OCI_INDEX_ENTRIES_MAX 10000u
#define OCI_LAYERS_MAX 1024u   /* docker allows 127; buildkit images seen with a few hundred */
#define OCI_INDEX_DEPTH_MAX 4u /* nested indexes */
#define OCI_REASON_MAX 96

/* One entry of an index. */
struct oci_entry {
	struct oci_desc desc;
	struct oci_platform platform;
	bool has_platform;
	bool attestation; /* unknown/unknown, or annotated as one: never chosen */
	/*
	 * Why this entry cannot be used ("digest algorithm "sha384" is not supported"), or "".
	 * desc.digest of such an entry is all zero.
	 */
	char unusable[OCI_REASON_MAX];
};

struct oci_index {
	struct oci_entry *entries; /* all of them, in document order */
	size_t count;
};

/*
 * Reads an index or manifest list.  Entries of an unknown media type or digest algorithm are
 * kept (they must not fail).  K3_FORMAT (also when it is really a manifest), K3_LIMIT.
 */
K3_MUST int oci_index_parse(const void *json, size_t n, struct oci_index *out, struct k3_err *e);
void oci_index_release(struct oci_index *ix);

/*
 * Orders the entries that may serve `want`: fills order[] with indices of entries, best
 * first (entries without platform rank last but before none; nested indexes without a
 * platform are candidates).  *n = 0 and success when nothing fits.  order has room for
 * ix->count.  The order ends before an unusable entry: containerd would choose it, so a
 * worse one must not be taken instead; see oci_index_blocked().
 */
void oci_index_rank(const struct oci_index *ix, const struct oci_platform *want, size_t *order,
		    size_t *n);
/*
 * The unusable entry that ended the order of oci_index_rank(), for a K3_UNSUPPORTED message
 * when nothing before it could be used; NULL when there is none.  Borrowed from ix.
 */
const struct oci_entry *oci_index_blocked(const struct oci_index *ix,
					  const struct oci_platform *want);
/* "linux/amd64, linux/arm64/v8": what the index offers, for messages; truncated with "…". */
void oci_index_offers(const struct oci_index *ix, char *out, size_t size);

struct oci_layer {
	struct oci_desc blob;
	struct oci_digest diff_id;
	struct oci_digest chain_id; /* image-spec config.md, Layer ChainID */
};

struct oci_image {
	struct oci_desc config;
	struct oci_platform platform; /* from the config */
	struct oci_layer *layers;     /* bottom first */
	size_t nlayers;
};

/*
 * First pass over a manifest: where its config is.  K3_FORMAT (also when it is really an
 * index), K3_UNSUPPORTED when it is no image (artifact) or the config media type is not an image's.
 */
K3_MUST int oci_manifest_config(const void *json, size_t n, struct oci_desc *config,
				struct k3_err *e);
/*
 * Manifest and config together.  K3_FORMAT when rootfs.type is not "layers", the numbers of
 * layers and diff IDs differ, or fields have wrong types; K3_UNSUPPORTED for a layer media
 * type that is not a layer's (encrypted, foreign without blob), named; K3_LIMIT.
 */
K3_MUST int oci_image_parse(const void *manifest, size_t nm, const void *config, size_t nc,
			    struct oci_image *out, struct k3_err *e);
void oci_image_release(struct oci_image *img);
/*
 * What a config says of the process that runs: image-spec config.md.  Texts of the image, not
 * checked beyond their type.
 */
struct oci_words {
	char **v;
	size_t n;
};
struct oci_process {
	struct oci_words entrypoint, command;
	char *path;           /* the last PATH of Env, or NULL */
	char *user, *workdir; /* "" = not said */
};
/* K3_FORMAT when a field has a wrong type, K3_LIMIT. */
K3_MUST int oci_process_parse(const void *config, size_t n, struct oci_process *out,
			      struct k3_err *e);
void oci_process_release(struct oci_process *p);
/*
 * All that a manifest refers to, config first, whatever it is: for those who only copy.  Also an
 * artifact's.  *out (n of them) is the caller's to free.  K3_FORMAT, K3_LIMIT, K3_UNSUPPORTED.
 */
K3_MUST int oci_manifest_blobs(const void *json, size_t len, struct oci_desc **out, size_t *n,
			       struct k3_err *e);
/* Sum of the layers' compressed sizes, saturating. */
uint64_t oci_image_layer_bytes(const struct oci_image *img);

/* What a document says it is, by its mediaType field or else its members. */
enum oci_media oci_document_kind(const void *json, size_t n);

/* ---- from a reference's target to the image --------------------------------------------- */

/* An index or manifest with its bytes. */
struct oci_doc {
	struct oci_desc desc;
	struct k3_buf body;
};

/* indexes on the way down, and the manifest */
#define OCI_DOCS_MAX (OCI_INDEX_DEPTH_MAX + 1)
/* Documents read for one image: indexes without platforms are searched, but not for ever. */
#define OCI_LOOKUPS_MAX 64u

/* All that a container runtime reads of an image, outermost document first. */
struct oci_resolved {
	struct oci_doc docs[OCI_DOCS_MAX]; /* the last one is the platform's manifest */
	size_t ndocs;
	struct k3_buf config;
	struct oci_image image;
};

/*
 * Gives the bytes of a document into *raw (empty, with a ceiling) and what it is into *got.
 * config: it is an image config, which registries keep among the blobs.
 */
typedef int oci_get_fn(void *arg, const struct oci_desc *want, bool config, struct k3_buf *raw,
		       struct oci_desc *got, struct k3_err *e);

/*
 * Walks from the target document (moved out of *body) over indexes to the manifest and config
 * for `want`, as containerd does: entries best first; one that says its platform is final, one
 * that does not may turn out to be for another platform and is then left.
 * K3_PLATFORM naming what there is, K3_UNSUPPORTED, K3_FORMAT, K3_LIMIT, and what get returns.
 * *out is to be released also after a failure.
 */
K3_MUST int oci_resolve(const struct oci_desc *target, struct k3_buf *body,
			const struct oci_platform *want, oci_get_fn *get, void *arg,
			struct oci_resolved *out, struct k3_err *e);
void oci_resolved_release(struct oci_resolved *res);

#endif
