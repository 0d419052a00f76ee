/* SPDX-License-Identifier: Apache-2.0 */
/* What compressed bytes tell of the size of what is in them. */
#include "base/bytes.h"
#include "unpack/unpack.h"

/*
 * ISIZE (RFC 1952) is the size modulo 4 GiB.  Layers of up to this size would have to be
 * compressed to an eighth for it to come round again.
 */
#define GZIP_MAX (512u << 20)

static bool is_gzip(const uint8_t *p, size_t n)
{
	return n >= 2 && p[0] == 0x1f && p[1] == 0x8b;
}

static bool is_zstd(const uint8_t *p, size_t n)
{
	return n >= 5 && k3_load32le(p) == 0xfd2fb528;
}

/* Frame_Content_Size of RFC 8878; 0 = the frame does not tell. */
static uint64_t zstd_size(const uint8_t *p, size_t n)
{
	static const uint8_t dict_bytes[] = { 0, 1, 2, 4 }, size_bytes[] = { 0, 2, 4, 8 };
	uint8_t how = p[4];
	bool single = how & 0x20;
	size_t at = 5u + (single ? 0u : 1u) + dict_bytes[how & 3];
	size_t len = how >> 6 ? size_bytes[how >> 6] : (size_t)single;
	uint64_t size = 0;

	if (!len || at + len > n)
		return 0;
	for (size_t k = 0; k < len; k++)
		size |= (uint64_t)p[at + k] << (8 * k);
	return len == 2 ? size + 256 : size;
}

enum unpack_told unpack_told_size(const uint8_t *head, size_t n, const uint8_t tail[4],
				  uint64_t bytes, uint64_t *size)
{
	*size = 0;
	if (is_gzip(head, n))
		*size = bytes < GZIP_MAX ? k3_load32le(tail) : 0;
	else if (is_zstd(head, n))
		*size = zstd_size(head, n);
	else
		*size = bytes;
	if (!is_gzip(head, n) && !is_zstd(head, n))
		return UNPACK_PLAIN;
	/* Of several members or frames one tells only of itself. */
	return *size >= bytes - bytes / 64 && *size > 0 ? UNPACK_TOLD : UNPACK_UNTOLD;
}
