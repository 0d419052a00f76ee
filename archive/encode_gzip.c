/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#include "archive/encode.h"

/* Nearly all of an archive is compressed already. */
#define LEVEL Z_BEST_SPEED
#define GZIP_WINDOW (15 + 16) /* zlib's way to ask for a gzip header; it has no time in it */

static void *gz_open(void)
{
	z_stream *z = calloc(1, sizeof(*z));

	if (z && deflateInit2(z, LEVEL, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(z);
		return NULL;
	}
	return z;
}

static int gz_run(void *state, const uint8_t **p, size_t *n, bool end, uint8_t *out, size_t cap,
		  size_t *made, bool *done, struct k3_err *e)
{
	z_stream *z = state;
	uInt take = *n < UINT_MAX ? (uInt)*n : UINT_MAX;

	z->next_in = (Bytef *)(uintptr_t)*p; /* zlib does not write there */
	z->avail_in = take;
	z->next_out = out;
	z->avail_out = (uInt)cap;
	int rc = deflate(z, end ? Z_FINISH : Z_NO_FLUSH);

	if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
		return k3_fail(e, K3_BUG, "zlib: deflate fails with %d", rc);
	if (*p)
		*p += take - z->avail_in;
	*n -= take - z->avail_in;
	*made = cap - z->avail_out;
	*done = rc == Z_STREAM_END;
	return 0;
}

static void gz_close(void *state)
{
	deflateEnd(state);
	free(state);
}

const struct encode_backend encode_gzip = { gz_open, gz_run, gz_close };
