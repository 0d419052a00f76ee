/* SPDX-License-Identifier: Apache-2.0 */
/* GNU tar manual, "Basic Tar Format": every reader knows GNU's long names and large sizes. */
#include "bundle/frame.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

enum {
	AT_NAME = 0,
	AT_MODE = 100,
	AT_UID = 108,
	AT_GID = 116,
	AT_SIZE = 124,
	AT_MTIME = 136,
	AT_CHKSUM = 148,
	AT_TYPE = 156,
	AT_MAGIC = 257,
	LEN_NAME = 100,
	LEN_SIZE = 12,
	LEN_CHKSUM = 8,
};

#define OCTAL_SIZE_MAX ((UINT64_C(1) << 33) - 1) /* eleven octal digits */

static void put_size(uint8_t *block, uint64_t size)
{
	if (size <= OCTAL_SIZE_MAX) {
		snprintf((char *)block + AT_SIZE, LEN_SIZE, "%011llo", (unsigned long long)size);
		return;
	}
	block[AT_SIZE] = 0x80;
	k3_store64be(block + AT_SIZE + LEN_SIZE - 8, size);
}

static void header(uint8_t *block, const char *name, char type, uint64_t size)
{
	unsigned sum = 0;
	size_t len = strlen(name);

	memset(block, 0, FRAME_BLOCK);
	memcpy(block + AT_NAME, name, len < LEN_NAME ? len : LEN_NAME);
	memcpy(block + AT_MODE, "0000644", 8);
	memcpy(block + AT_UID, "0000000", 8);
	memcpy(block + AT_GID, "0000000", 8);
	put_size(block, size);
	memcpy(block + AT_MTIME, "00000000000", 12);
	memset(block + AT_CHKSUM, ' ', LEN_CHKSUM);
	block[AT_TYPE] = (uint8_t)type;
	memcpy(block + AT_MAGIC, "ustar  ", 8);
	for (unsigned i = 0; i < FRAME_BLOCK; i++)
		sum += block[i];
	/* Six digits, a NUL and the space that is there. */
	snprintf((char *)block + AT_CHKSUM, LEN_CHKSUM - 1, "%06o", sum);
}

size_t frame_head(const char *name, uint64_t size, uint8_t out[FRAME_HEAD_MAX])
{
	size_t len = strlen(name);

	if (len <= LEN_NAME) {
		header(out, name, '0', size);
		return FRAME_BLOCK;
	}
	header(out, "././@LongLink", 'L', len + 1);
	memset(out + FRAME_BLOCK, 0, FRAME_BLOCK);
	memcpy(out + FRAME_BLOCK, name, len);
	header(out + 2 * FRAME_BLOCK, name, '0', size);
	return FRAME_HEAD_MAX;
}

static void member_name(const struct bundle_member *m, char out[FRAME_NAME_MAX])
{
	char hex[2 * K3_HASH_MAX + 1];

	k3_hex(m->digest.hash, k3_hash_len(m->digest.alg), hex);
	snprintf(out, FRAME_NAME_MAX, "%s/%s/%s", m->kind == BUNDLE_TAR ? "tars" : "blobs",
		 oci_alg_name(m->digest.alg), hex);
}

size_t frame_gap(uint64_t before, const struct bundle_doc *d, size_t k, uint8_t out[FRAME_GAP_MAX])
{
	size_t pad = (size_t)(-before & (FRAME_BLOCK - 1));
	char name[FRAME_NAME_MAX];

	memset(out, 0, pad);
	if (k < d->n) {
		member_name(&d->members[k], name);
		return pad + frame_head(name, d->members[k].size, out + pad);
	}
	memset(out + pad, 0, 2 * FRAME_BLOCK);
	return pad + 2 * FRAME_BLOCK;
}

bool frame_document(const uint8_t head[FRAME_BLOCK], uint64_t *size)
{
	uint8_t want[FRAME_HEAD_MAX];

	*size = 0;
	for (unsigned i = 0; i + 1 < LEN_SIZE; i++) {
		uint8_t c = head[AT_SIZE + i];

		if (c < '0' || c > '7')
			return false;
		*size = *size << 3 | (uint64_t)(c - '0');
	}
	frame_head(BUNDLE_DOCUMENT_NAME, *size, want);
	return !memcmp(head, want, FRAME_BLOCK);
}
