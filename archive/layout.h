/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of a layout that is being written.  Private to archive/. */
#ifndef K3_ARCHIVE_LAYOUT_H
#define K3_ARCHIVE_LAYOUT_H

#include "archive/archive.h"

/* "blobs/sha512/" and its hex digits, or ".k3simg/sha512-" and them, with the NUL */
#define LAYOUT_NAME_MAX (16 + 2 * K3_HASH_MAX)
/* Beside the blobs: what is not whole yet. */
#define LAYOUT_ASIDE ".k3simg"

struct layout {
	char *path;
	int dir;   /* locked */
	bool made; /* by us, or it was empty */
};

/* "blobs/sha256/<hex>" */
void layout_blob_name(const struct oci_digest *d, char out[LAYOUT_NAME_MAX]);
/* Opens a blob that is there and has this size (0: any); K3_NOTFOUND when it is not. */
K3_MUST int layout_open_blob(struct layout *l, const struct oci_desc *d, int *fd, struct k3_err *e);
/* Writes a small file aside, flushes it and renames it into place. */
K3_MUST int layout_write_file(struct layout *l, const char *name, const void *p, size_t n,
			      struct k3_err *e);
/* The text of oci-layout. */
extern const char layout_marker[];

/*
 * index.json with these images, in *out: old (empty: none) with all that is not replaced.
 * K3_FORMAT: old is no index.
 */
K3_MUST int layout_index(const struct k3_buf *old, const struct layout_image *images, size_t n,
			 struct k3_buf *out, struct k3_err *e);

#endif
