/* SPDX-License-Identifier: Apache-2.0 */
/* A set of 64-bit hashes or inode numbers: 8 to 16 bytes per member.  Private to unpack/. */
#ifndef K3_UNPACK_U64SET_H
#define K3_UNPACK_U64SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct u64set {
	uint64_t *slots; /* 0 is free */
	size_t n, cap;   /* cap is 0 or a power of two */
};

void u64set_add(struct u64set *s, uint64_t v);
bool u64set_has(const struct u64set *s, uint64_t v);
void u64set_release(struct u64set *s);

/* Running hash of a path: start with a seed, add the pieces, finish. */
uint64_t pathhash_add(uint64_t h, const char *s, size_t n);
uint64_t pathhash_end(uint64_t h);

#endif
