/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack/u64set.h"

#include <stdlib.h>

#include "base/mem.h"

#define FIRST_CAP 64

/* Inode numbers come in runs and hashes do not care. */
static uint64_t spread(uint64_t v)
{
	v ^= v >> 33;
	v *= 0xff51afd7ed558ccdull;
	v ^= v >> 33;
	return v;
}

static size_t find(const struct u64set *s, uint64_t v)
{
	size_t i = spread(v) & (s->cap - 1);

	while (s->slots[i] && s->slots[i] != v)
		i = (i + 1) & (s->cap - 1);
	return i;
}

static void grow(struct u64set *s)
{
	struct u64set wide = { .cap = s->cap ? 2 * s->cap : FIRST_CAP, .n = s->n };

	wide.slots = k3_xcalloc(wide.cap, sizeof(*wide.slots));
	for (size_t i = 0; i < s->cap; i++)
		if (s->slots[i])
			wide.slots[find(&wide, s->slots[i])] = s->slots[i];
	free(s->slots);
	*s = wide;
}

void u64set_add(struct u64set *s, uint64_t v)
{
	v += !v; /* 0 means free; no inode has that number and for hashes it is chance */
	if (s->n >= s->cap / 4 * 3)
		grow(s);
	size_t i = find(s, v);

	s->n += !s->slots[i];
	s->slots[i] = v;
}

bool u64set_has(const struct u64set *s, uint64_t v)
{
	v += !v;
	return s->n && s->slots[find(s, v)];
}

void u64set_release(struct u64set *s)
{
	free(s->slots);
	*s = (struct u64set){ 0 };
}

/* FNV-1a, seeded and finished so that an image cannot choose the slots. */
uint64_t pathhash_add(uint64_t h, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)s[i]) * 0x100000001b3ull;
	return h;
}

uint64_t pathhash_end(uint64_t h)
{
	return spread(h);
}
