/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes that compressed layers tell of themselves. */
#include "tests/unit/unit.h"
#include "unpack/unpack.h"

static enum unpack_told told(const void *head, size_t n, uint32_t tail, uint64_t bytes,
			     uint64_t *size)
{
	const uint8_t end[4] = { (uint8_t)tail, (uint8_t)(tail >> 8), (uint8_t)(tail >> 16),
				 (uint8_t)(tail >> 24) };

	return unpack_told_size(head, n, end, bytes, size);
}

TEST(gzip_tells_at_its_end)
{
	static const uint8_t gzip[] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3 };
	uint64_t size;

	EQ_INT(told(gzip, sizeof(gzip), 5000000, 1000000, &size), UNPACK_TOLD);
	EQ_INT(size, 5000000);
	/* Noise grows a little when it is compressed. */
	EQ_INT(told(gzip, sizeof(gzip), 999000, 1000000, &size), UNPACK_TOLD);
	/* The last one of several members, or a size that came round at 4 GiB. */
	EQ_INT(told(gzip, sizeof(gzip), 500, 1000000, &size), UNPACK_UNTOLD);
	EQ_INT(told(gzip, sizeof(gzip), 4000000000u, 1ull << 30, &size), UNPACK_UNTOLD);
	EQ_INT(told(gzip, sizeof(gzip), 0, 0, &size), UNPACK_UNTOLD);
}

TEST(zstd_tells_in_its_header)
{
	/* RFC 8878 3.1.1.1: sizes of 1, 2, 4 and 8 bytes, with and without window and dictionary.
	 */
	static const uint8_t one[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x20, 200 };
	static const uint8_t two[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x60, 0x00, 0x10 };
	static const uint8_t four[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x80, 0x58, 0x40, 0x42, 0x0f, 0 };
	static const uint8_t eight[] = { 0x28, 0xb5, 0x2f, 0xfd, 0xc1, 0x58, 7, 0,
					 0,    0,    0,    2,    0,    0,    0 };
	static const uint8_t none[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58, 0, 0, 0, 0, 0, 0 };
	uint64_t size;

	EQ_INT(told(one, sizeof(one), 0, 50, &size), UNPACK_TOLD);
	EQ_INT(size, 200);
	EQ_INT(told(two, sizeof(two), 0, 50, &size), UNPACK_TOLD);
	EQ_INT(size, 0x1000 + 256);
	EQ_INT(told(four, sizeof(four), 0, 50, &size), UNPACK_TOLD);
	EQ_INT(size, 1000000);
	EQ_INT(told(eight, sizeof(eight), 0, 50, &size), UNPACK_TOLD);
	EQ_INT(size, 0x200000000);
	EQ_INT(told(none, sizeof(none), 0, 50, &size), UNPACK_UNTOLD);
	/* Cut off, and the first of many frames. */
	EQ_INT(told(four, sizeof(four) - 1, 0, 50, &size), UNPACK_UNTOLD);
	EQ_INT(told(one, sizeof(one), 0, 100000, &size), UNPACK_UNTOLD);
}

TEST(what_is_not_compressed_is_as_large_as_it_is)
{
	uint64_t size;

	EQ_INT(told("etc/passwd", 10, 7, 12345, &size), UNPACK_PLAIN);
	EQ_INT(size, 12345);
	EQ_INT(told("", 0, 0, 0, &size), UNPACK_PLAIN);
	EQ_INT(size, 0);
}

UNIT_MAIN
