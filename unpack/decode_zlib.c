/* SPDX-License-Identifier: Apache-2.0 */
/* gzip by zlib: the build-time fallback, and what the tests compare ISA-L with. */
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#include "unpack/decode.h"

/* The largest window, and gzip framing with its header and trailer checked by zlib. */
#define GZIP_WINDOW_BITS (15 + 16)

static void *zlib_open(const struct unpack_limits *lim)
{
	z_stream *z = calloc(1, sizeof(*z));

	(void)lim;
	if (z && inflateInit2(z, GZIP_WINDOW_BITS) != Z_OK) {
		free(z);
		return NULL;
	}
	return z;
}

static int zlib_start(void *state, struct k3_err *e)
{
	if (inflateReset(state) != Z_OK)
		return k3_fail(e, K3_BUG, "zlib cannot be reset");
	return 0;
}

static uInt clip(size_t n)
{
	return n < INT_MAX ? (uInt)n : INT_MAX;
}

static int zlib_run(void *state, struct decode_in *in, uint8_t *out, size_t cap, size_t *made,
		    bool *done, struct k3_err *e)
{
	z_stream *z = state;
	uInt give = clip(in->n), room = clip(cap);

	z->next_in = (z_const Bytef *)(uintptr_t)in->p;
	z->avail_in = give;
	z->next_out = out;
	z->avail_out = room;
	int rc = inflate(z, Z_NO_FLUSH);

	in->p += give - z->avail_in;
	in->n -= give - z->avail_in;
	*made = room - z->avail_out;
	*done = rc == Z_STREAM_END;
	if (rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR)
		return 0;
	if (rc == Z_MEM_ERROR)
		return k3_fail(e, K3_NOMEM, "no memory to decompress gzip");
	return k3_fail(e, K3_FORMAT, "corrupt gzip data: %s",
		       z->msg ? z->msg : "preset dictionary");
}

static void zlib_close(void *state)
{
	inflateEnd(state);
	free(state);
}

const struct decode_backend decode_zlib = {
	.what = "gzip",
	.open = zlib_open,
	.start = zlib_start,
	.run = zlib_run,
	.close = zlib_close,
};
