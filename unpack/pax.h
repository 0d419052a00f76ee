/* SPDX-License-Identifier: Apache-2.0 */
/* PAX extended header records.  Private to unpack/. */
#ifndef K3_UNPACK_PAX_H
#define K3_UNPACK_PAX_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"
#include "unpack/sparse.h"

/* Any bytes, not terminated; n = 0: not there (an empty value deletes a record). */
struct pax_text {
	const char *p;
	size_t n;
};

struct pax_xattr {
	struct pax_text name, value;
};

/* More than any file system takes for one inode in one block; bounds the search for doubles. */
#define PAX_XATTRS_MAX 256

/* The last record of each kind; texts point into the parsed bytes. */
struct pax {
	struct pax_text path, linkpath, uid, gid, size, mtime, atime;
	struct pax_text sp_major, sp_minor, sp_name, sp_size, sp_realsize, sp_map;
	struct pax_xattr xattrs[PAX_XATTRS_MAX];
	size_t nxattrs;
	size_t xattr_bytes;
};

/*
 * Parses n bytes of records into *out (cleared first).  *sparse gets the repeated numbers of
 * a GNU 0.0 map.  K3_FORMAT, K3_LIMIT.
 */
K3_MUST int pax_parse(const char *p, size_t n, struct pax *out, struct sparse *sparse,
		      struct k3_err *e);
bool pax_i64(struct pax_text t, int64_t *out);
/* "[-]seconds[.fraction]", digits after the ninth cut off. */
bool pax_time(struct pax_text t, struct timespec *out);

#endif
