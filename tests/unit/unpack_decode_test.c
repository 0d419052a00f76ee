/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing a decompressor, and gzip and zstd streams of every shape. */
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "base/buf.h"
#include "tests/unit/tarbuild.h"
#include "tests/unit/unit.h"
#include "unpack/decode.h"

#define MAX (32u << 20)

static struct k3_err err;
static struct k3_buf in, out;

static void fresh(void)
{
	k3_buf_release(&in);
	k3_buf_release(&out);
	in = K3_BUF(MAX);
	out = K3_BUF(MAX);
}

static void add(const void *p, size_t n)
{
	if (k3_buf_add(&in, p, n, &err))
		abort();
}

static void add_gzip(const char *text)
{
	uint8_t p[4096];
	z_stream z = { .next_out = p, .avail_out = sizeof(p) };

	deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
	z.next_in = (z_const Bytef *)(uintptr_t)text;
	z.avail_in = (uInt)strlen(text);
	deflate(&z, Z_FINISH);
	add(p, sizeof(p) - z.avail_out);
	deflateEnd(&z);
}

static void add_zstd(const void *p, size_t n, int window_log)
{
	size_t room = ZSTD_compressBound(n), got;
	uint8_t *z = malloc(room);
	ZSTD_CCtx *c = ZSTD_createCCtx();

	ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
	ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window_log);
	ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0);
	got = ZSTD_compress2(c, z, room, p, n);
	add(z, got);
	ZSTD_freeCCtx(c);
	free(z);
}

/* Decodes `in` completely, in pieces of both sides. */
static int decode(enum oci_media media, const struct decode_backend *gzip, size_t piece,
		  size_t step)
{
	struct memsrc m;
	struct decode d;
	uint8_t *p = malloc(step);
	size_t n = 0;
	int rc = decode_open(&d, media, memsrc(&m, in.p, in.len, piece), &unpack_limits_default,
			     gzip, &err);

	out.len = 0;
	while (!rc) {
		rc = decode_read(&d, p, step, &n, &err);
		if (rc || !n)
			break;
		rc = k3_buf_add(&out, p, n, &err);
	}
	EQ_INT(m.after_end, 0);
	decode_release(&d);
	free(p);
	return rc;
}

static const struct decode_backend *const gzips[] = {
	&decode_zlib,
#ifdef K3_HAVE_ISAL
	&decode_isal,
#endif
};

#define GZIPS (sizeof(gzips) / sizeof(gzips[0]))

/* Every way of cutting gives the same text. */
static void gives(enum oci_media media, const char *text)
{
	static const size_t cuts[] = { 1, 2, 3, 7, 1000000 };

	for (size_t g = 0; g < GZIPS; g++) {
		for (size_t i = 0; i < 25; i++) {
			OK(decode(media, gzips[g], cuts[i / 5], cuts[i % 5]));
			EQ_INT(out.len, strlen(text));
			CHECK(!out.len || !memcmp(out.p, text, strlen(text)));
		}
	}
}

static void refuses(enum oci_media media, const char *part)
{
	for (size_t g = 0; g < GZIPS; g++) {
		for (size_t piece = 1; piece < 20; piece += 6) {
			FAILS(decode(media, gzips[g], piece, 5), K3_FORMAT);
			HAS_STR(err.msg, part);
		}
	}
}

TEST(media_types_choose)
{
	fresh();
	add("plain", 5);
	gives(OCI_MEDIA_LAYER_TAR, "plain");
	gives(OCI_MEDIA_LAYER_DOCKER, "plain");
	refuses(OCI_MEDIA_LAYER_GZIP, "is not");
	refuses(OCI_MEDIA_LAYER_ZSTD, "is not");
	FAILS(decode(OCI_MEDIA_CONFIG, NULL, 9, 9), K3_UNSUPPORTED);
	fresh();
	add("", 0);
	gives(OCI_MEDIA_LAYER_DOCKER, "");
	gives(OCI_MEDIA_LAYER_TAR, "");
	refuses(OCI_MEDIA_LAYER_GZIP, "is not");
	fresh();
	add_gzip("packed");
	gives(OCI_MEDIA_LAYER_GZIP, "packed");
	gives(OCI_MEDIA_LAYER_DOCKER, "packed");
	refuses(OCI_MEDIA_LAYER_ZSTD, "is not");
	/* An OCI plain tar is never decompressed. */
	OK(decode(OCI_MEDIA_LAYER_TAR, NULL, 4, 4));
	EQ_INT(out.len, in.len);
	fresh();
	add_zstd("packed", 6, 0);
	gives(OCI_MEDIA_LAYER_ZSTD, "packed");
	gives(OCI_MEDIA_LAYER_DOCKER, "packed");
}

TEST(gzip_members_and_padding)
{
	fresh();
	add_gzip("one ");
	add_gzip("");
	add_gzip("two");
	gives(OCI_MEDIA_LAYER_GZIP, "one two");
	add("\0\0\0\0\0\0\0", 7);
	gives(OCI_MEDIA_LAYER_GZIP, "one two");
	add("\1", 1);
	refuses(OCI_MEDIA_LAYER_GZIP, "garbage");
	fresh();
	add_gzip("one");
	add("garbage", 7);
	refuses(OCI_MEDIA_LAYER_GZIP, "garbage");
	fresh();
	add_gzip("one");
	add("\x1f\x8b", 2);
	refuses(OCI_MEDIA_LAYER_GZIP, "truncated");
}

TEST(gzip_header_fields)
{
	/* FHCRC, FEXTRA, FNAME and FCOMMENT; the CRC-16 is of all that comes before it. */
	uint8_t head[] = "\x1f\x8b\x08\x1e\0\0\0\0\0\x03\x04\0extrname\0comment\0";
	size_t n = sizeof(head) - 1;
	uint32_t crc = (uint32_t)crc32(0, head, (uInt)n);
	uint8_t two[2] = { (uint8_t)crc, (uint8_t)(crc >> 8) };
	struct k3_buf body;

	fresh();
	add_gzip("text");
	body = in;
	in = K3_BUF(MAX);
	add(head, n);
	add(two, 2);
	add(body.p + 10, body.len - 10);
	gives(OCI_MEDIA_LAYER_GZIP, "text");
	in.p[n] ^= 1;
	refuses(OCI_MEDIA_LAYER_GZIP, "corrupt");
	in.p[n] ^= 1;
	in.p[3] |= 0x20;
	refuses(OCI_MEDIA_LAYER_GZIP, "unknown flags");
	k3_buf_release(&body);
}

TEST(gzip_damage)
{
	fresh();
	add_gzip("first");
	add_gzip("some text that is long enough to be cut");
	size_t whole = in.len;

	for (size_t n = 1; n < whole; n++) {
		bool between = n == 25; /* after the first member */

		in.len = n;
		for (size_t g = 0; g < GZIPS; g++) {
			int rc = decode(OCI_MEDIA_LAYER_DOCKER, gzips[g], 3, 4);

			if (n >= 3 && (rc == 0) != between)
				unit_fail(__FILE__, __LINE__, "cut at %zu: %d", n, rc);
			if (rc)
				HAS_STR(err.msg, "truncated");
		}
	}
	in.len = whole;
	for (size_t back = 1; back <= 8; back++) {
		in.p[whole - back] ^= 0x10;
		refuses(OCI_MEDIA_LAYER_GZIP, "corrupt");
		in.p[whole - back] ^= 0x10;
	}
}

TEST(zstd_frames)
{
	fresh();
	add("\x50\x2a\x4d\x18\x03\0\0\0abc", 11);
	add_zstd("one ", 4, 0);
	add("\x5f\x2a\x4d\x18\0\0\0\0", 8);
	add_zstd("two", 3, 0);
	gives(OCI_MEDIA_LAYER_ZSTD, "one two");
	gives(OCI_MEDIA_LAYER_DOCKER, "one two");
	size_t whole = in.len;

	in.len = whole - 1;
	refuses(OCI_MEDIA_LAYER_ZSTD, "truncated");
	in.len = whole;
	in.p[whole - 1] ^= 1; /* checksum */
	refuses(OCI_MEDIA_LAYER_ZSTD, "corrupt");
	in.p[whole - 1] ^= 1;
	add("garbage", 7);
	refuses(OCI_MEDIA_LAYER_ZSTD, "corrupt");
}

TEST(zstd_window_limit)
{
	/* A frame header alone: no single segment, window descriptor 2^28, then an empty block. */
	fresh();
	add("\x28\xb5\x2f\xfd\0\x90\x01\0\0", 9);
	FAILS(decode(OCI_MEDIA_LAYER_ZSTD, NULL, 100, 100), K3_LIMIT);
	fresh();
	add("\x28\xb5\x2f\xfd\0\x88\x01\0\0", 9); /* 2^27 */
	OK(decode(OCI_MEDIA_LAYER_ZSTD, NULL, 100, 100));
}

TEST(large_streams_agree)
{
	size_t n = 3u << 20;
	uint8_t *p = malloc(n), *z = malloc(n);
	uint32_t x = 1;
	uLongf got = (uLongf)n;
	z_stream s = { .next_in = p, .avail_in = (uInt)n, .next_out = z, .avail_out = (uInt)n };

	for (size_t i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = (uint8_t)(x >> 28);
	}
	deflateInit2(&s, 1, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY);
	deflate(&s, Z_FINISH);
	got = s.total_out;
	deflateEnd(&s);
	fresh();
	add(z, got);
	for (size_t g = 0; g < GZIPS; g++) {
		OK(decode(OCI_MEDIA_LAYER_GZIP, gzips[g], 65536, 256 << 10));
		CHECK(out.len == n && !memcmp(out.p, p, n));
	}
	free(p);
	free(z);
	fresh();
}

UNIT_MAIN
