/* SPDX-License-Identifier: Apache-2.0 */
#include <zstd.h>
#include <zstd_errors.h>

#include "unpack/decode.h"

static void *zs_open(const struct unpack_limits *lim)
{
	ZSTD_DCtx *d = ZSTD_createDCtx();

	if (d && ZSTD_isError(ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax,
						     (int)lim->zstd_window_log))) {
		ZSTD_freeDCtx(d);
		return NULL;
	}
	return d;
}

static int zs_start(void *state, struct k3_err *e)
{
	if (ZSTD_isError(ZSTD_DCtx_reset(state, ZSTD_reset_session_only)))
		return k3_fail(e, K3_BUG, "zstd cannot be reset");
	return 0;
}

static int zs_run(void *state, struct decode_in *in, uint8_t *out, size_t cap, size_t *made,
		  bool *done, struct k3_err *e)
{
	ZSTD_inBuffer ib = { .src = in->p, .size = in->n };
	ZSTD_outBuffer ob = { .dst = out, .size = cap };
	size_t rc = ZSTD_decompressStream(state, &ob, &ib);

	if (ZSTD_isError(rc)) {
		enum k3_code code = K3_FORMAT;

		if (ZSTD_getErrorCode(rc) == ZSTD_error_frameParameter_windowTooLarge)
			code = K3_LIMIT;
		else if (ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation)
			code = K3_NOMEM;
		return k3_fail(e, code, "corrupt zstd data: %s", ZSTD_getErrorName(rc));
	}
	in->p += ib.pos;
	in->n -= ib.pos;
	*made = ob.pos;
	*done = rc == 0;
	return 0;
}

static void zs_close(void *state)
{
	ZSTD_freeDCtx(state);
}

const struct decode_backend decode_zstd = {
	.what = "zstd",
	.open = zs_open,
	.start = zs_start,
	.run = zs_run,
	.close = zs_close,
};
