/* SPDX-License-Identifier: Apache-2.0 */
/* Which parts of a sparse file the archive holds.  Private to unpack/. */
#ifndef K3_UNPACK_SPARSE_H
#define K3_UNPACK_SPARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct sparse_part {
	uint64_t off, len;
};

struct sparse {
	struct sparse_part *parts;
	size_t n, cap;
	size_t max;   /* parts; set by the owner */
	bool half;    /* sparse_add_number got an offset without its length */
	bool present; /* the entry is sparse, maybe without any part */
};

void sparse_reset(struct sparse *s); /* memory kept */
void sparse_release(struct sparse *s);
/* K3_FORMAT for an unordered, overlapping or overflowing part; K3_LIMIT. */
K3_MUST int sparse_add(struct sparse *s, uint64_t off, uint64_t len, struct k3_err *e);
/* The numbers of a map one by one: offset, length, offset, ... */
K3_MUST int sparse_add_number(struct sparse *s, uint64_t v, struct k3_err *e);
/* Numbers of a map as text: "0,512,1024,512". */
K3_MUST int sparse_add_text(struct sparse *s, const char *p, size_t n, struct k3_err *e);
/* The map fits a file of `size` bytes of which `stored` are in the archive.  K3_FORMAT. */
K3_MUST int sparse_check(const struct sparse *s, uint64_t size, uint64_t stored, struct k3_err *e);

#endif
