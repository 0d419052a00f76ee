/* SPDX-License-Identifier: Apache-2.0 */
/* gzip by ISA-L's igzip: four times as fast as zlib where it has assembly. */
#ifdef K3_HAVE_ISAL

#include <limits.h>
#include <stdlib.h>
#include <isa-l/igzip_lib.h>

#include "unpack/decode.h"

static void *isal_open(const struct unpack_limits *lim)
{
	struct inflate_state *s = calloc(1, sizeof(*s));

	(void)lim;
	if (s)
		isal_inflate_init(s);
	return s;
}

static int isal_start(void *state, struct k3_err *e)
{
	struct inflate_state *s = state;

	(void)e;
	isal_inflate_reset(s);
	s->crc_flag = ISAL_GZIP;
	return 0;
}

static const char *isal_text(int rc)
{
	switch (rc) {
	case ISAL_INVALID_WRAPPER:
		return "invalid header";
	case ISAL_UNSUPPORTED_METHOD:
		return "unknown compression method";
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
	struct inflate_state *s = state;
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
