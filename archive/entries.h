/* SPDX-License-Identifier: Apache-2.0 */
/* What is in a tar, by name.  Private to archive/. */
#ifndef K3_ARCHIVE_ENTRIES_H
#define K3_ARCHIVE_ENTRIES_H

#include "archive/archive.h"

struct entry {
	char *name;  /* clean: no leading slash, no empty, "." or ".." components */
	char *alias; /* the entry that a link leads to, clean; NULL = it is a file */
	uint64_t at, size;
	bool sparse;
	struct oci_digest *hashed; /* of a docker archive's compressed layer; or NULL */
	size_t order;              /* of the last one of a name that comes twice, which counts */
};

struct entries {
	struct entry *v;
	size_t n, cap;
	uint64_t name_bytes;
};

/*
 * Reads the headers of the tar in fd, from its beginning.  what: for messages.
 */
K3_MUST int entries_read(int fd, const char *what, const struct unpack_limits *lim,
			 struct k3_cancel *cancel, struct entries *out, struct k3_err *e);
void entries_release(struct entries *es);
/* The file of that name, links followed; NULL when there is none. */
struct entry *entries_find(const struct entries *es, const char *name);

#endif
