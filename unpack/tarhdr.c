/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack/tarhdr.h"

#include <string.h>

/* Where the fields are: POSIX pax, "ustar Interchange Format"; GNU tar manual, "Standard". */
enum {
	AT_NAME = 0,
	AT_MODE = 100,
	AT_UID = 108,
	AT_GID = 116,
	AT_SIZE = 124,
	AT_MTIME = 136,
	AT_CHKSUM = 148,
	AT_TYPE = 156,
	AT_LINK = 157,
	AT_MAGIC = 257,
	AT_DEVMAJOR = 329,
	AT_DEVMINOR = 337,
	AT_PREFIX = 345,
	AT_GNU_ATIME = 345,
	AT_STAR_ATIME = 476,
	AT_STAR_TRAILER = 508,
	LEN_NAME = 100,
	LEN_ID = 8,
	LEN_SIZE = 12,
	LEN_CHKSUM = 8,
	LEN_PREFIX = 155,
	LEN_STAR_PREFIX = 131,
};

bool tarhdr_is_zero(const uint8_t *block)
{
	return !block[0] && !memcmp(block, block + 1, TAR_BLOCK - 1);
}

/* Big-endian two's complement in all bits but the first, which marks it (GNU tar). */
static bool base256(const uint8_t *p, size_t n, int64_t *out)
{
	bool negative = p[0] & 0x40;
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t c = negative ? (uint8_t)~p[i] : p[i];

		if (i == 0)
			c &= 0x7f;
		if (v >> 56)
			return false;
		v = v << 8 | c;
	}
	if (v >> 63)
		return false;
	*out = negative ? (int64_t)~v : (int64_t)v;
	return true;
}

static bool is_pad(uint8_t c)
{
	return c == ' ' || c == '\0';
}

static bool octal(const uint8_t *p, size_t n, int64_t *out)
{
	uint64_t v = 0;

	while (n && is_pad(*p))
		p++, n--;
	while (n && is_pad(p[n - 1]))
		n--;
	for (; n && *p; p++, n--) {
		if (*p < '0' || *p > '7' || v >> 60)
			return false;
		v = v << 3 | (uint64_t)(*p - '0');
	}
	*out = (int64_t)v;
	return true;
}

bool tarhdr_number(const uint8_t *p, size_t n, int64_t *out)
{
	return p[0] & 0x80 ? base256(p, n, out) : octal(p, n, out);
}

/* Old archivers summed signed characters; both sums are right. */
static bool checksum_ok(const uint8_t *block)
{
	int64_t want, plain = 0, with_sign = 0;

	if (!tarhdr_number(block + AT_CHKSUM, LEN_CHKSUM, &want))
		return false;
	for (unsigned i = 0; i < TAR_BLOCK; i++) {
		bool blank = i >= AT_CHKSUM && i < AT_CHKSUM + LEN_CHKSUM;
		uint8_t c = blank ? ' ' : block[i];

		plain += c;
		with_sign += (int8_t)c;
	}
	return want == plain || want == with_sign;
}

static void text(char *dst, const uint8_t *p, size_t n)
{
	size_t len = strnlen((const char *)p, n);

	memcpy(dst, p, len);
	dst[len] = '\0';
}

static void join_prefix(struct tar_hdr *h, const uint8_t *block, size_t len_prefix)
{
	char prefix[LEN_PREFIX + 1];

	text(prefix, block + AT_PREFIX, len_prefix);
	size_t n = strlen(prefix);

	if (!n)
		return;
	memcpy(h->name, prefix, n);
	h->name[n] = '/';
	text(h->name + n + 1, block + AT_NAME, LEN_NAME);
}

/* Fields that only some of the dialects have. */
static bool dialect(struct tar_hdr *h, const uint8_t *block)
{
	bool ok = true;

	h->gnu = !memcmp(block + AT_MAGIC, "ustar  ", 8);
	bool posix = !memcmp(block + AT_MAGIC, "ustar\0", 6);

	if (!h->gnu && !posix)
		return true;
	ok &= tarhdr_number(block + AT_DEVMAJOR, LEN_ID, &h->devmajor);
	ok &= tarhdr_number(block + AT_DEVMINOR, LEN_ID, &h->devminor);
	if (h->gnu) {
		/* Some archivers put a ustar prefix here: then it is no number. */
		if (block[AT_GNU_ATIME] && tarhdr_number(block + AT_GNU_ATIME, LEN_SIZE, &h->atime))
			h->has_atime = true;
		else if (block[AT_GNU_ATIME])
			join_prefix(h, block, LEN_PREFIX);
	} else if (!memcmp(block + AT_STAR_TRAILER, "tar", 4)) {
		join_prefix(h, block, LEN_STAR_PREFIX);
		h->has_atime = tarhdr_number(block + AT_STAR_ATIME, LEN_SIZE, &h->atime);
	} else {
		join_prefix(h, block, LEN_PREFIX);
	}
	return ok;
}

int tarhdr_parse(const uint8_t *block, struct tar_hdr *h, struct k3_err *e)
{
	bool ok = true;

	if (!checksum_ok(block))
		return k3_fail(e, K3_FORMAT, "tar header with a wrong checksum");
	*h = (struct tar_hdr){ .type = (char)block[AT_TYPE] };
	text(h->name, block + AT_NAME, LEN_NAME);
	text(h->link, block + AT_LINK, LEN_NAME);
	ok &= tarhdr_number(block + AT_MODE, LEN_ID, &h->mode);
	ok &= tarhdr_number(block + AT_UID, LEN_ID, &h->uid);
	ok &= tarhdr_number(block + AT_GID, LEN_ID, &h->gid);
	ok &= tarhdr_number(block + AT_SIZE, LEN_SIZE, &h->size);
	ok &= tarhdr_number(block + AT_MTIME, LEN_SIZE, &h->mtime);
	ok &= dialect(h, block);
	if (!ok)
		return k3_fail(e, K3_FORMAT, "%s: tar header with a malformed number", h->name);
	if (h->size < 0)
		return k3_fail(e, K3_FORMAT, "%s: tar header with a negative size", h->name);
	return 0;
}
