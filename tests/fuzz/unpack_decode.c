/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompression: first byte chooses the media type and the piece size, second how large the
 * output pieces are.  Both gzip decoders must agree on what is valid and on every byte.
 */
#include <stdlib.h>
#include <string.h>

#include "unpack/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUT_MAX (1u << 20)

struct input {
	const uint8_t *p;
	size_t n, piece;
	uint8_t *copy; /* pieces are given in memory of their own size, so overreads show */
};

static int next_piece(void *arg, const uint8_t **p, size_t *n, struct k3_err *e)
{
	struct input *in = arg;

	(void)e;
	free(in->copy);
	*n = in->n < in->piece ? in->n : in->piece;
	in->copy = malloc(*n ? *n : 1);
	if (!in->copy)
		abort();
	memcpy(in->copy, in->p, *n);
	*p = in->copy;
	in->p += *n;
	in->n -= *n;
	return 0;
}

struct result {
	bool ok;
	size_t n;
	uint8_t *bytes; /* the first OUT_MAX of them, or fewer when a piece crosses that */
};

static void decode_all(struct result *r, enum oci_media media, struct input in, size_t step,
		       const struct decode_backend *gzip)
{
	struct unpack_limits lim = unpack_limits_default;
	struct decode d;
	struct k3_err e = { 0 };
	size_t n;

	lim.zstd_window_log = 20;
	if (decode_open(&d, media, (struct unpack_src){ next_piece, &in }, &lim, gzip, &e) == 0) {
		do {
			uint8_t *out = malloc(step);

			if (!out || decode_read(&d, out, step, &n, &e)) {
				free(out);
				goto done;
			}
			if (r->n + n <= OUT_MAX)
				memcpy(r->bytes + r->n, out, n);
			r->n += n;
			free(out);
		} while (n);
		r->ok = true;
	}
done:
	if (!r->ok && !e.msg[0])
		abort();
	decode_release(&d);
	free(in.copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum oci_media kinds[] = { OCI_MEDIA_LAYER_GZIP, OCI_MEDIA_LAYER_ZSTD,
						OCI_MEDIA_LAYER_DOCKER, OCI_MEDIA_LAYER_TAR };
	static uint8_t one_out[OUT_MAX], two_out[OUT_MAX];

	if (size < 2)
		return 0;
	struct input in = { data + 2, size - 2, 1 + (size_t)(data[0] >> 2) * 7, NULL };
	struct result one = { .bytes = one_out }, two = { .bytes = two_out };
	enum oci_media media = kinds[data[0] & 3];

	decode_all(&one, media, in, 1 + (size_t)data[1] * 97, NULL);
	in.piece = size;
	decode_all(&two, media, in, 4096, &decode_zlib);
	if (one.ok != two.ok || (one.ok && one.n != two.n))
		abort();
	if (one.ok && one.n <= OUT_MAX && memcmp(one_out, two_out, one.n))
		abort();
	return 0;
}
