/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack/decode.h"

#include <string.h>

/* RFC 1952 2.3.1; RFC 8878 3.1.1 and 3.1.2 (the low half byte of a skippable frame is free). */
#define GZIP_ID1 0x1f
#define GZIP_RESERVED 0xe0

static bool is_gzip(const uint8_t *p, size_t n)
{
	return n >= 3 && p[0] == GZIP_ID1 && p[1] == 0x8b && p[2] == 8;
}

static bool is_zstd(const uint8_t *p, size_t n)
{
	if (n < 4)
		return false;
	if (p[0] == 0x28 && p[1] == 0xb5 && p[2] == 0x2f && p[3] == 0xfd)
		return true;
	return (p[0] & 0xf0) == 0x50 && p[1] == 0x2a && p[2] == 0x4d && p[3] == 0x18;
}

/* Makes d->in non-empty unless the source is at its end. */
static int fill(struct decode *d, struct k3_err *e)
{
	if (d->in.n || d->src_end)
		return 0;
	if (d->later.n) {
		d->in = d->later;
		d->later = (struct decode_in){ 0 };
		return 0;
	}
	if (d->src_over) {
		d->src_end = true;
		return 0;
	}
	if (d->src.next(d->src.arg, &d->in.p, &d->in.n, e))
		return -1;
	d->taken += d->in.n;
	d->src_over = d->src_end = d->in.n == 0;
	return 0;
}

/*
 * Collects the first bytes of a member whatever pieces they come in; they are decoded from
 * head.  Doing it again changes nothing.
 */
static int look_ahead(struct decode *d, size_t *got, struct k3_err *e)
{
	size_t n = 0;

	while (n < DECODE_MAGIC) {
		if (fill(d, e))
			return -1;
		if (d->src_end)
			break;
		size_t take = d->in.n < DECODE_MAGIC - n ? d->in.n : DECODE_MAGIC - n;

		memmove(d->head + n, d->in.p, take); /* head may be what is being read */
		n += take;
		d->in.p += take;
		d->in.n -= take;
	}
	/* With nothing left of in, later is what it was: the bytes after an earlier head. */
	if (d->in.n)
		d->later = d->in;
	d->in = (struct decode_in){ d->head, n };
	d->src_end = false;
	*got = n;
	return 0;
}

static const struct decode_backend *best_gzip(void)
{
#ifdef K3_HAVE_ISAL
	return &decode_isal;
#else
	return &decode_zlib;
#endif
}

int decode_open(struct decode *d, enum oci_media media, struct unpack_src src,
		const struct unpack_limits *lim, const struct decode_backend *gzip,
		struct k3_err *e)
{
	size_t n;

	*d = (struct decode){ .src = src };
	if (!gzip)
		gzip = best_gzip();
	if (look_ahead(d, &n, e))
		return -1;
	switch (media) {
	case OCI_MEDIA_LAYER_TAR:
		break;
	case OCI_MEDIA_LAYER_GZIP:
		if (!is_gzip(d->head, n))
			return k3_fail(e, K3_FORMAT, "the layer is said to be gzip and is not");
		d->backend = gzip;
		break;
	case OCI_MEDIA_LAYER_ZSTD:
		if (!is_zstd(d->head, n))
			return k3_fail(e, K3_FORMAT, "the layer is said to be zstd and is not");
		d->backend = &decode_zstd;
		break;
	case OCI_MEDIA_LAYER_DOCKER:
		if (is_gzip(d->head, n))
			d->backend = gzip;
		else if (is_zstd(d->head, n))
			d->backend = &decode_zstd;
		break;
	default:
		return k3_fail(e, K3_UNSUPPORTED, "not the media type of a layer");
	}
	if (!d->backend)
		return 0;
	d->state = d->backend->open(lim);
	if (!d->state)
		return k3_fail(e, K3_NOMEM, "no memory to decompress %s", d->backend->what);
	return 0;
}

static int read_plain(struct decode *d, uint8_t *out, size_t cap, size_t *n, struct k3_err *e)
{
	while (*n < cap) {
		if (fill(d, e))
			return -1;
		if (d->src_end)
			return 0;
		size_t take = d->in.n < cap - *n ? d->in.n : cap - *n;

		memcpy(out + *n, d->in.p, take);
		*n += take;
		d->in.p += take;
		d->in.n -= take;
	}
	return 0;
}

/* A member starts, and not with flags that RFC 1952 reserves (ISA-L would ignore them). */
static int check_gzip_start(const struct decode *d, size_t n, struct k3_err *e)
{
	if (n < DECODE_MAGIC && d->head[0] == GZIP_ID1)
		return k3_fail(e, K3_FORMAT, "truncated: gzip data ends too early");
	if (!is_gzip(d->head, n))
		return k3_fail(e, K3_FORMAT, "gzip: garbage after the end");
	if (d->head[3] & GZIP_RESERVED)
		return k3_fail(e, K3_FORMAT, "gzip: header with unknown flags");
	return 0;
}

/*
 * Between members: the end, another member, or zero padding after the last gzip member
 * (tapes and some builders pad to blocks).  *end is set at the end.
 */
static int next_member(struct decode *d, bool *end, struct k3_err *e)
{
	bool gzip = d->backend != &decode_zstd;
	size_t n;

	if (look_ahead(d, &n, e))
		return -1;
	*end = n == 0;
	if (*end)
		return 0;
	if (gzip && d->members && (d->padding || !d->head[0])) {
		d->padding = true;
		for (; d->in.n; d->in.p++, d->in.n--)
			if (*d->in.p)
				return k3_fail(e, K3_FORMAT, "gzip: garbage after the padding");
		return 0;
	}
	if (gzip && check_gzip_start(d, n, e))
		return -1;
	d->inside = true;
	return d->backend->start(d->state, e);
}

static int read_member(struct decode *d, uint8_t *out, size_t cap, size_t *n, struct k3_err *e)
{
	size_t made = 0, before = d->in.n;
	bool done = false;

	if (d->backend->run(d->state, &d->in, out + *n, cap - *n, &made, &done, e))
		return -1;
	*n += made;
	if (done) {
		d->inside = false;
		d->members++;
		return 0;
	}
	if (made || d->in.n != before)
		return 0;
	if (d->in.n)
		return k3_fail(e, K3_FORMAT, "%s: the decoder is stuck", d->backend->what);
	if (fill(d, e))
		return -1;
	if (d->src_end)
		return k3_fail(e, K3_FORMAT, "truncated: %s data ends too early", d->backend->what);
	return 0;
}

int decode_read(struct decode *d, uint8_t *out, size_t cap, size_t *n, struct k3_err *e)
{
	*n = 0;
	if (!d->backend)
		return read_plain(d, out, cap, n, e);
	while (*n < cap) {
		bool end = false;

		if (d->inside ? read_member(d, out, cap, n, e) : next_member(d, &end, e))
			return -1;
		if (end)
			break;
	}
	return 0;
}

void decode_release(struct decode *d)
{
	if (d->state)
		d->backend->close(d->state);
	d->state = NULL;
}
