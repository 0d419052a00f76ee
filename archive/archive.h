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

/*
 * An image layout in a directory that is being added to.  Blobs appear under their name once
 * they are verified; until then they grow in DIR/.k3simg and outlive an interrupted run.
 * Functions on blobs are mt, for one thread per blob; the others are not.
 */
struct layout;

/*
 * Makes the directory (its parent must be there) or opens what is a layout, and locks it.
 * K3_USAGE: a directory with something else in it; K3_UNSUPPORTED: a layout of another version;
 * K3_BUSY: another k3simg writes to it; K3_IO, K3_NOSPC.
 */
K3_MUST int layout_open(const char *path, struct layout **out, struct k3_err *e);
void layout_close(struct layout *l); /* NULL is a no-op */
void layout_closep(struct layout **l);

/* Whether the blob is there, whole: size and digest are checked. */
K3_MUST int layout_has(struct layout *l, const struct oci_desc *d, struct k3_cancel *cancel,
		       bool *has, struct k3_err *e);
/*
 * Appends a document that is there.  want->size 0 leaves the size open.  K3_NOTFOUND, K3_DIGEST,
 * K3_LIMIT above raw->max.
 */
K3_MUST int layout_read(struct layout *l, const struct oci_desc *want, struct k3_buf *raw,
			struct k3_err *e);
/* Writes a document, verified by the caller, unless it is there; *wrote says whether. */
K3_MUST int layout_put(struct layout *l, const struct oci_desc *d, const void *p, size_t n,
		       bool *wrote, struct k3_err *e);

/* A blob on its way.  What an earlier run left of it is hashed at the begin. */
struct layout_blob;
K3_MUST int layout_blob_begin(struct layout *l, const struct oci_desc *d, struct layout_blob **out,
			      struct k3_err *e);
uint64_t layout_blob_have(const struct layout_blob *b);
/* For fetch_blob, which adds to it what it then hands to layout_blob_write. */
struct k3_hash *layout_blob_hash(struct layout_blob *b);
K3_MUST int layout_blob_write(struct layout_blob *b, const void *p, size_t n, struct k3_err *e);
K3_MUST int layout_blob_restart(struct layout_blob *b, struct k3_err *e); /* from its first byte */
/* Verified: gives it its name.  Frees b in any case. */
K3_MUST int layout_blob_done(struct layout_blob *b, struct k3_err *e);
void layout_blob_abandon(struct layout_blob *b); /* keeps the bytes for the next run; frees b */

/* An image as index.json names it. */
struct layout_image {
	const char *name; /* io.containerd.image.name: the whole name */
	const char *tag;  /* org.opencontainers.image.ref.name, or NULL */
	struct oci_desc target;
	const struct oci_platform *platform; /* of a manifest; NULL for an index */
	bool own_tag; /* the tag was asked for: in this layout it names no other image */
};

/*
 * Adds the images to index.json: entries of other images stay as they are, the ones of the same
 * name are replaced.  Everything is on disk before index.json is renamed into place; *changed says
 * whether it had to be.  K3_FORMAT: the index.json that is there is none.
 */
K3_MUST int layout_commit(struct layout *l, const struct layout_image *images, size_t n,
			  bool *changed, struct k3_err *e);

enum layout_packing {
	LAYOUT_PLAIN,
	LAYOUT_GZIP,
	LAYOUT_ZSTD, /* several threads where libzstd has them */
};

/* What the name of a file asks for: .gz, .tgz, .zst, .zstd. */
enum layout_packing layout_packing_of(const char *file);
/*
 * Packs these images and these blobs of the layout (sorted by the callee, each once) into a tar:
 * oci-layout and index.json first, the same input makes the same bytes.  The file is written
 * aside and renamed when it is whole and on disk; an older one is replaced.
 */
K3_MUST int layout_pack(struct layout *l, const struct layout_image *images, size_t n,
			const struct oci_desc **blobs, size_t nblobs, const char *file,
			enum layout_packing packing, struct k3_cancel *cancel, struct k3_err *e);
/* Closes a layout that only was a place to pack from, and removes all of it. */
K3_MUST int layout_discard(struct layout *l, struct k3_err *e);

#endif
