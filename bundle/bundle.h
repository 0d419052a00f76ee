/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bundle format (docs/bundle.md): a tar that says first what is in it, then holds the
 * documents of its images, their layers as registries have them, and the same layers decompressed.
 *
 * Nothing here judges the bytes of a member: whoever uses them verifies them by the digest that an
 * image asks for.  The reader sees to it that the document is well-formed and that the tar is
 * exactly what the document announces.
 */
#ifndef K3_BUNDLE_BUNDLE_H
#define K3_BUNDLE_BUNDLE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/thread.h"
#include "oci/oci.h"

#define BUNDLE_VERSION 1u
#define BUNDLE_DOCUMENT_NAME "k3simg-bundle.json"

/* A fleet's images are some hundred; both together stay below K3_JSON_VALUES_MAX. */
#define BUNDLE_IMAGES_MAX 2000u
#define BUNDLE_MEMBERS_MAX 20000u
/* Ten times what so many entries need when written. */
#define BUNDLE_DOCUMENT_MAX (32u << 20)
/* Eight times the largest layer that is unpacked (unpack_limits_default.bytes). */
#define BUNDLE_SIZE_MAX (UINT64_C(1) << 40)

/* ---- the document --------------------------------------------------------------------------- */

struct bundle_image {
	char *name; /* oci_ref_full of ref */
	struct oci_ref ref;
	struct oci_desc target; /* what a digest in the name promises, it is */
};

/* In the order in which they follow each other. */
enum bundle_kind {
	BUNDLE_DOCUMENT, /* blobs/…: index, manifest or config */
	BUNDLE_LAYER,    /* blobs/…: as in the manifest, usually compressed */
	BUNDLE_TAR,      /* tars/…: a layer decompressed, named by its diff ID */
};

struct bundle_member {
	enum bundle_kind kind;
	struct oci_digest digest;
	uint64_t size;
};

struct bundle_doc {
	struct oci_platform platform; /* that was asked for when it was made */
	struct bundle_image *images;
	size_t nimages, images_cap;
	struct bundle_member *members;
	size_t n, members_cap;
};

/* Both copy what they are given.  A name with a digest must be one of the target. */
void bundle_add_image(struct bundle_doc *d, const struct oci_ref *ref,
		      const struct oci_desc *target);
void bundle_add_member(struct bundle_doc *d, enum bundle_kind kind, const struct oci_digest *digest,
		       uint64_t size);
/* Appends the JSON: the same bytes for the same document.  K3_LIMIT. */
K3_MUST int bundle_doc_write(const struct bundle_doc *d, struct k3_buf *out, struct k3_err *e);
/*
 * Reads it.  What bundle_doc_write would write otherwise is refused, so that there is one document
 * for what a bundle holds.  K3_FORMAT, K3_LIMIT, K3_UNSUPPORTED (another version), K3_DIGEST (a
 * name pinned to another digest than its image has).  *out is to be released in any case.
 */
K3_MUST int bundle_doc_parse(const void *json, size_t n, struct bundle_doc *out, struct k3_err *e);
void bundle_doc_release(struct bundle_doc *d);

/* ---- reading -------------------------------------------------------------------------------- */

struct bundle;

struct bundle_opts {
	const char *path; /* "-" is standard input */
	/* What the document must hash to, or NULL. */
	const struct oci_digest *digest;
	struct k3_cancel *cancel; /* polled while waiting for a pipe; may be NULL */
};

/*
 * Opens a bundle and reads its document.  Of a regular file all headers and the end are looked
 * at, too: one that is cut short is refused here.  K3_NOTFOUND, K3_FORMAT, K3_DIGEST (not the one
 * wanted), K3_UNSUPPORTED, K3_LIMIT, K3_IO, K3_CANCELLED; messages name the file.
 */
K3_MUST int bundle_open(const struct bundle_opts *o, struct bundle **out, struct k3_err *e);
void bundle_free(struct bundle *b);
const struct bundle_doc *bundle_doc(const struct bundle *b);
/* sha256 of the document, which names the digests of everything else. */
const struct oci_digest *bundle_digest(const struct bundle *b);
/* A regular file: bundle_read in any order and on any thread.  Else on one, and never back. */
bool bundle_any_order(const struct bundle *b);
/* Whether bundle_read can still give this member from its start. */
bool bundle_has(const struct bundle *b, size_t member);
/*
 * Up to n bytes of a member from byte `off` on; *got = 0 at its end.  Of a pipe what lies before
 * is read and dropped.  K3_FORMAT when the bundle ends early or is not what its document says.
 */
K3_MUST int bundle_read(struct bundle *b, size_t member, uint64_t off, void *p, size_t n,
			size_t *got, struct k3_err *e);
/* Reads a pipe to its end: nothing of it may be used for good before this.  mt only of a file. */
K3_MUST int bundle_finish(struct bundle *b, struct k3_err *e);

/* ---- writing -------------------------------------------------------------------------------- */

struct bundle_writer;

/*
 * Writes the document to fd (borrowed; `what` names it in messages).  *digest is the bundle's.
 * Then for each member of the document, which must stay as it is: its bytes by
 * bundle_writer_data, in as many pieces as one likes, and bundle_writer_end at last.
 */
K3_MUST int bundle_writer_new(int fd, const char *what, const struct bundle_doc *d,
			      struct bundle_writer **out, struct oci_digest *digest,
			      struct k3_err *e);
K3_MUST int bundle_writer_data(struct bundle_writer *w, const void *p, size_t n, struct k3_err *e);
/* K3_BUG when members are missing. */
K3_MUST int bundle_writer_end(struct bundle_writer *w, struct k3_err *e);
void bundle_writer_free(struct bundle_writer *w);

#endif
