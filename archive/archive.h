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
	ARCHIVE_OCI_DIR, /* oci:DIR */
	ARCHIVE_OCI_TAR, /* oci-archive:FILE */
	/* docker-archive:FILE; one that is an OCI layout too is read as that, as containerd does */
	ARCHIVE_DOCKER_TAR,
};

struct archive_opts {
	enum archive_kind kind;
	const char *path; /* "-" is standard input, of the tar kinds */
	/*
	 * Where the decompressed tar is kept, in a file without a name, when it is compressed or
	 * cannot be read at any place; tars that are plain files are read where they are.  A
	 * directory.
	 */
	const char *spool_dir;
	struct unpack_limits limits;
	struct k3_cancel *cancel; /* may be NULL; also stops the reading later on */
};

/* Entries of one archive: 100,000 are more than 1,000 images with 100 layers of their own. */
#define ARCHIVE_ENTRIES_MAX 200000u
/* Bytes of all their names: a blob's has 77. */
#define ARCHIVE_NAMES_MAX (32u << 20)
/* Images, each counted once for each of its names. */
#define ARCHIVE_IMAGES_MAX OCI_INDEX_ENTRIES_MAX
#define ARCHIVE_LINKS_MAX 8u /* links from one entry to the next */

struct archive_image {
	const char *name; /* whole name as the archive gives it, or NULL */
	const char *tag;  /* a name that is only a tag ("latest"), or NULL */
	struct oci_desc target;
	struct oci_platform platform; /* as the archive's index says */
	bool has_platform;
};

/*
 * Opens a source and reads what it says of its images, not yet their documents.
 * K3_NOTFOUND: no such file, or no image in it; K3_FORMAT: no archive of this kind, or cut short;
 * K3_LIMIT, K3_UNSAFE, K3_UNSUPPORTED, K3_DIGEST (a name that pins another digest), K3_IO,
 * K3_NOSPC, K3_CANCELLED.  Messages name the file and the entry.
 */
K3_MUST int archive_open(const struct archive_opts *o, struct archive **out, struct k3_err *e);
void archive_free(struct archive *a);
void archive_freep(struct archive **a);
/* Its images, in the order of its index or manifest.json; one with two names is there twice. */
size_t archive_images(const struct archive *a, const struct archive_image **out);
/* How messages call it: the path, or "standard input". */
const char *archive_name(const struct archive *a);

/*
 * Appends an index, manifest or config.  K3_NOTFOUND when the archive lacks it, K3_DIGEST when
 * its bytes are others than `want` says, K3_LIMIT above OCI_DOCUMENT_MAX.
 */
K3_MUST int archive_document(struct archive *a, const struct oci_desc *want, struct k3_buf *raw,
			     struct k3_err *e);
/* Receives the bytes of a blob in order, each exactly once.  -1 with *e ends the reading. */
typedef int archive_data_fn(void *arg, const void *p, size_t n, struct k3_err *e);
/*
 * Streams one blob in pieces of up to ARCHIVE_PIECE; `have` and `hash` are as those of fetch_blob:
 * so many bytes are known and hashed already, and the hash is read out on success and K3_DIGEST.
 */
#define ARCHIVE_PIECE (256u << 10)
K3_MUST int archive_blob(struct archive *a, const struct oci_desc *d, uint64_t have,
			 struct k3_hash *hash, archive_data_fn *fn, void *arg, struct k3_err *e);

/* The same for those who want to pull: an unpack_src. */
struct archive_reader;
K3_MUST int archive_reader_open(struct archive *a, const struct oci_desc *d,
				struct archive_reader **out, struct k3_err *e);
/* arg is the archive_reader.  The end is told once size and digest are verified (K3_DIGEST). */
K3_MUST int archive_reader_next(void *arg, const uint8_t **p, size_t *n, struct k3_err *e);
void archive_reader_freep(struct archive_reader **r);

/* ---- writing -------------------------------------------------------------------------------- */

#endif
