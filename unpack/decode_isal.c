/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gzip by ISA-L's igzip: four times as fast as zlib where it has assembly.  The member header is
 * read here, because ISA-L 2.30 computes wrong header checksums (FHCRC).
 */
#ifdef K3_HAVE_ISAL

#include <limits.h>
#include <stdlib.h>
#include <isa-l/igzip_lib.h>

#include "unpack/decode.h"

/* RFC 1952 2.3: the parts of a header, in their order. */
enum part { PART_FIXED, PART_EXTRA_LEN, PART_EXTRA, PART_NAME, PART_COMMENT, PART_HCRC, PART_BODY };

enum {
	FIXED_BYTES = 10,
	AT_METHOD = 2,
	AT_FLAGS = 3,
	METHOD_DEFLATE = 8,
	FLAG_HCRC = 2,
	FLAG_EXTRA = 4,
	FLAG_NAME = 8,
	FLAG_COMMENT = 16,
};

struct isal {
	struct inflate_state s;
	enum part part;
	unsigned at;    /* bytes seen of this part */
	unsigned extra; /* length of the extra field */
	uint8_t flags;
	uint32_t crc, want; /* of the header */
};

static void *isal_open(const struct unpack_limits *lim)
{
	struct isal *z = calloc(1, sizeof(*z));

	(void)lim;
	if (z)
		isal_inflate_init(&z->s);
	return z;
}

static int isal_start(void *state, struct k3_err *e)
{
	struct isal *z = state;

	(void)e;
	isal_inflate_reset(&z->s);
	z->s.crc_flag = ISAL_GZIP_NO_HDR_VER; /* it verifies CRC and length at the end */
	z->part = PART_FIXED;
	z->at = z->extra = 0;
	z->flags = 0;
	z->crc = z->want = 0;
	return 0;
}

/* The parts that this header has not got are passed over. */
static void next_part(struct isal *z)
{
	static const uint8_t needs[] = { [PART_EXTRA_LEN] = FLAG_EXTRA,
					 [PART_EXTRA] = FLAG_EXTRA,
					 [PART_NAME] = FLAG_NAME,
					 [PART_COMMENT] = FLAG_COMMENT,
					 [PART_HCRC] = FLAG_HCRC };

	z->at = 0;
	do
		z->part++;
	while (z->part != PART_BODY &&
	       (!(z->flags & needs[z->part]) || (z->part == PART_EXTRA && !z->extra)));
}

/* CRC-32 as in gzip, for the few bytes of a header: RFC 1952 8. */
static uint32_t crc_byte(uint32_t crc, uint8_t c)
{
	crc = ~crc ^ c;
	for (int i = 0; i < 8; i++)
		crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	return ~crc;
}

static int header_byte(struct isal *z, uint8_t c, struct k3_err *e)
{
	bool last = true;

	if (z->part != PART_HCRC)
		z->crc = crc_byte(z->crc, c);
	switch (z->part) {
	case PART_FIXED:
		if (z->at == AT_FLAGS)
			z->flags = c;
		if (z->at == AT_METHOD && c != METHOD_DEFLATE)
			return k3_fail(e, K3_FORMAT, "corrupt gzip data: unknown method %u", c);
		last = z->at == FIXED_BYTES - 1;
		break;
	case PART_EXTRA_LEN:
		z->extra |= (unsigned)c << 8 * z->at;
		last = z->at == 1;
		break;
	case PART_EXTRA:
		last = z->at == z->extra - 1;
		break;
	case PART_HCRC:
		z->want |= (uint32_t)c << 8 * z->at;
		last = z->at == 1;
		if (last && z->want != (z->crc & 0xffff))
			return k3_fail(e, K3_FORMAT, "corrupt gzip data: wrong header checksum");
		break;
	default: /* name, comment */
		last = c == 0;
	}
	z->at++;
	if (last)
		next_part(z);
	return 0;
}

static const char *isal_text(int rc)
{
	switch (rc) {
	case ISAL_INCORRECT_CHECKSUM:
		return "wrong checksum or length";
	case ISAL_INVALID_LOOKBACK:
		return "invalid distance";
	default:
		return "invalid block or symbol";
	}
}

static uint32_t clip(size_t n)
{
	return n < INT_MAX ? (uint32_t)n : INT_MAX;
}

static int isal_run(void *state, struct decode_in *in, uint8_t *out, size_t cap, size_t *made,
		    bool *done, struct k3_err *e)
{
	struct isal *z = state;
	struct inflate_state *s = &z->s;

	for (; z->part != PART_BODY && in->n; in->p++, in->n--)
		if (header_byte(z, *in->p, e))
			return -1;
	*made = 0;
	*done = false;
	if (z->part != PART_BODY)
		return 0;
	uint32_t give = clip(in->n), room = clip(cap);

	s->next_in = (uint8_t *)(uintptr_t)in->p;
	s->avail_in = give;
	s->next_out = out;
	s->avail_out = room;
	int rc = isal_inflate(s);

	in->p += give - s->avail_in;
	in->n -= give - s->avail_in;
	*made = room - s->avail_out;
	*done = rc == ISAL_DECOMP_OK && s->block_state == ISAL_BLOCK_FINISH;
	if (rc == ISAL_DECOMP_OK || rc == ISAL_END_INPUT || rc == ISAL_OUT_OVERFLOW)
		return 0;
	return k3_fail(e, K3_FORMAT, "corrupt gzip data: %s", isal_text(rc));
}

const struct decode_backend decode_isal = {
	.what = "gzip",
	.open = isal_open,
	.start = isal_start,
	.run = isal_run,
	.close = free,
};

#else

typedef int k3_no_isal; /* an empty translation unit is not C */

#endif
