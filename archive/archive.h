/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images as files: OCI image layouts, as a directory or in a tar, and docker archives (docker
 * save, podman save, `ctr images export`, k3s's air-gap files).
 *
 * Follows the OCI image-layout spec 1.1 and, for names and for docker's manifest.json, containerd's
 * core/images/archive.  Every byte is hostile: blobs are verified by their digest while they are
 * read, names never become paths outside the archive.
 */
#ifndef K3_ARCHIVE_ARCHIVE_H
#define K3_ARCHIVE_ARCHIVE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/thread.h"
#include "oci/oci.h"
#include "unpack/unpack.h"

/* ---- reading -------------------------------------------------------------------------------- */

struct archive; /* mt once it is open */

enum archive_kind {
	ARCHIVE_OCI_DIR,    /* oci:DIR */
	ARCHIVE_OCI_TAR,    /* oci-archive:FILE */
	ARCHIVE_DOCKER_TAR, /* docker-archive:FILE */
};

struct archive_opts {
	enum archive_kind kind;
	const char *path; /* "-" is standard input, of the tar kinds */
	/*
	 * Where the decompressed tar is kept, in a file without a name, when it is compressed or
	 * cannot be read at any place; tars that are plain files are read where they are.
	 */
	const char *spool_dir;
	struct unpack_limits limits;
	struct k3_cancel *cancel; /* may be NULL */
};

struct archive_image {
	const char *name; /* whole name as the archive gives it, or NULL */
	const char *tag;  /* a name that is only a tag ("latest"), or NULL */
	struct oci_desc target;
};

/*
 * Opens a source and reads what it says of its images, not yet their documents.
 * K3_NOTFOUND: no such file, or no image in it; K3_FORMAT: no archive of this kind, or cut short;
 * K3_LIMIT, K3_UNSAFE, K3_IO, K3_NOSPC, K3_CANCELLED.  Messages name the file and the entry.
 */
K3_MUST int archive_open(const struct archive_opts *o, struct archive **out, struct k3_err *e);
void archive_free(struct archive *a);
/* Its images, in the order of its index or manifest.json; borrowed. */
size_t archive_images(const struct archive *a, const struct archive_image **out);

/*
 * Appends an index, manifest or config.  K3_NOTFOUND when the archive lacks it, K3_DIGEST.
 */
K3_MUST int archive_document(struct archive *a, const struct oci_desc *want, struct k3_buf *raw,
			     struct k3_err *e);
/* Receives the bytes of a blob in order, each exactly once.  -1 with *e ends the reading. */
typedef int archive_data_fn(void *arg, const void *p, size_t n, struct k3_err *e);
/* Streams one blob; `have` and `hash` are as those of fetch_blob. */
K3_MUST int archive_blob(struct archive *a, const struct oci_desc *d, uint64_t have,
			 struct k3_hash *hash, archive_data_fn *fn, void *arg, struct k3_err *e);

/* ---- writing -------------------------------------------------------------------------------- */

#endif
