/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing binary formats.  A k3_rd is the only way to look into bytes that
 * came from outside: every read is bounds-checked; false means short, nothing consumed.
 */
#ifndef K3_BASE_BYTES_H
#define K3_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct k3_rd {
	const uint8_t *p;
	size_t left;
};

static inline uint16_t k3_load16le(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t k3_load32le(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t k3_load64le(const uint8_t *p)
{
	return (uint64_t)k3_load32le(p) | (uint64_t)k3_load32le(p + 4) << 32;
}

static inline void k3_store16le(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void k3_store32le(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static inline void k3_store64le(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static inline void k3_store64be(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> 8 * (7 - i));
}

static inline void k3_store32be(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * (3 - i));
}

static inline bool k3_rd_take(struct k3_rd *r, size_t n, const uint8_t **p)
{
	if (r->left < n)
		return false;
	*p = r->p;
	r->p += n;
	r->left -= n;
	return true;
}

static inline bool k3_rd_u16le(struct k3_rd *r, uint16_t *v)
{
	const uint8_t *p;

	if (!k3_rd_take(r, 2, &p))
		return false;
	*v = k3_load16le(p);
	return true;
}

static inline bool k3_rd_u32le(struct k3_rd *r, uint32_t *v)
{
	const uint8_t *p;

	if (!k3_rd_take(r, 4, &p))
		return false;
	*v = k3_load32le(p);
	return true;
}

static inline bool k3_rd_u64le(struct k3_rd *r, uint64_t *v)
{
	const uint8_t *p;

	if (!k3_rd_take(r, 8, &p))
		return false;
	*v = k3_load64le(p);
	return true;
}

/* Overflow-safe slice [off, off + n) of *whole. */
static inline bool k3_rd_at(const struct k3_rd *whole, uint64_t off, uint64_t n, struct k3_rd *sub)
{
	if (off > whole->left || n > whole->left - off)
		return false;
	sub->p = whole->p + off;
	sub->left = (size_t)n;
	return true;
}

static inline bool k3_add_u64(uint64_t a, uint64_t b, uint64_t *sum)
{
	return !__builtin_add_overflow(a, b, sum);
}

static inline bool k3_mul_u64(uint64_t a, uint64_t b, uint64_t *prod)
{
	return !__builtin_mul_overflow(a, b, prod);
}

#endif
