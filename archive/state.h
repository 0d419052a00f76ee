/* SPDX-License-Identifier: Apache-2.0 */
/* An open archive.  Private to archive/. */
#ifndef K3_ARCHIVE_STATE_H
#define K3_ARCHIVE_STATE_H

#include "archive/entries.h"

#define ARCHIVE_HINT_DAMAGED "the archive is not whole: copy or make it again"

/* A document that is not in the archive but follows from it: the manifest of a docker archive. */
struct made {
	struct oci_digest digest;
	struct k3_buf body;
};

/* A blob of a docker archive, whose name does not tell its digest. */
struct known {
	struct oci_digest digest;
	const struct entry *entry;
};

struct archive {
	enum archive_kind kind;
	char *what; /* for messages */
	struct k3_cancel *cancel;
	int fd; /* of the tar, or of the directory */
	struct entries entries;
	struct archive_image *images;
	size_t nimages, cap_images;
	struct made *made;
	size_t nmade, cap_made;
	struct known *known; /* sorted once all are there */
	size_t nknown, cap_known;
	uint64_t config_bytes; /* read while manifests were made */
	bool docker;           /* read by its manifest.json */
};

/* Takes copies of the names.  K3_LIMIT. */
K3_MUST int archive_add_image(struct archive *a, const char *name, const char *tag,
			      const struct archive_image *im, struct k3_err *e);

/* index.c */
K3_MUST int index_read(struct archive *a, struct k3_err *e);
/* docker.c */
K3_MUST int docker_read(struct archive *a, struct k3_err *e);

/* Where the bytes of a file of the archive are. */
struct span {
	int fd;
	bool own; /* fd is the span's */
	uint64_t at, size;
	char name[128]; /* of the entry, cut */
};

void span_release(struct span *s);
#define AUTO_SPAN __attribute__((cleanup(span_release)))
void span_of(const struct archive *a, const struct entry *en, struct span *out);
/* A file by its name in the archive; *found = false and success when it is not there. */
K3_MUST int span_find(const struct archive *a, const char *name, bool *found, struct span *out,
		      struct k3_err *e);
/* Exactly n bytes at off, which is within the span. */
K3_MUST int span_read(const struct archive *a, const struct span *s, uint64_t off, void *p,
		      size_t n, struct k3_err *e);
/* All of a file that is a document: OCI_DOCUMENT_MAX at most. */
K3_MUST int span_text(const struct archive *a, const struct span *s, struct k3_buf *out,
		      struct k3_err *e);

#endif
