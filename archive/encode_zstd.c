/* SPDX-License-Identifier: Apache-2.0 */
#include <zstd.h>

#include "archive/encode.h"

/* Nearly all of an archive is compressed already. */
#define LEVEL 1
#define WORKERS 2 /* where libzstd is built with threads; they help this one */

static void *zs_open(void)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();

	if (c && (ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, LEVEL)) ||
		  ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1)))) {
		ZSTD_freeCCtx(c);
		return NULL;
	}
	/* Refused by a libzstd without threads, and then there are none. */
	if (c)
		(void)ZSTD_CCtx_setParameter(c, ZSTD_c_nbWorkers, WORKERS);
	return c;
}

static int zs_run(void *state, const uint8_t **p, size_t *n, bool end, uint8_t *out, size_t cap,
		  size_t *made, bool *done, struct k3_err *e)
{
	ZSTD_inBuffer in = { .src = *p, .size = *n };
	ZSTD_outBuffer ob = { .dst = out, .size = cap };
	size_t left = ZSTD_compressStream2(state, &ob, &in, end ? ZSTD_e_end : ZSTD_e_continue);

	if (ZSTD_isError(left))
		return k3_fail(e, K3_NOMEM, "zstd: %s", ZSTD_getErrorName(left));
	if (*p)
		*p += in.pos;
	*n -= in.pos;
	*made = ob.pos;
	*done = end && !left;
	return 0;
}

static void zs_close(void *state)
{
	ZSTD_freeCCtx(state);
}

const struct encode_backend encode_zstd = { zs_open, zs_run, zs_close };
