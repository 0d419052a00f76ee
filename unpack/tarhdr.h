/* SPDX-License-Identifier: Apache-2.0 */
/* One 512-byte header block of a tar archive: v7, ustar, GNU, star.  Private to unpack/. */
#ifndef K3_UNPACK_TARHDR_H
#define K3_UNPACK_TARHDR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define TAR_BLOCK 512u

/* Offsets the sparse reader needs too (GNU tar, "old GNU" format). */
#define TAR_GNU_SPARSE_AT 386
#define TAR_GNU_EXTENDED_AT 482
#define TAR_GNU_REALSIZE_AT 483

struct tar_hdr {
	char type;
	bool gnu;                 /* the old GNU magic */
	char name[155 + 1 + 101]; /* ustar prefix, slash, name */
	char link[101];
	int64_t mode, uid, gid, size, mtime, atime, devmajor, devminor;
	bool has_atime;
};

bool tarhdr_is_zero(const uint8_t *block);
/* K3_FORMAT: wrong checksum, malformed number, negative size. */
K3_MUST int tarhdr_parse(const uint8_t *block, struct tar_hdr *h, struct k3_err *e);
/* An octal or base-256 field of n bytes; false when malformed or outside int64. */
bool tarhdr_number(const uint8_t *p, size_t n, int64_t *out);

#endif
