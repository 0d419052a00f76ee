/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX.1-2017, pax: ustar interchange format and extended headers. */
#include "archive/tarout.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BLOCK 512u
#define NAME_MAX_USTAR 100u
#define SIZE_MAX_USTAR UINT64_C(077777777777)

/* Places of the fields in a header block. */
enum {
	AT_MODE = 100,
	AT_UID = 108,
	AT_GID = 116,
	AT_SIZE = 124,
	AT_MTIME = 136,
	AT_SUM = 148,
	AT_TYPE = 156,
	AT_MAGIC = 257,
};

static int header(struct encode *to, const char *name, char type, unsigned mode, uint64_t size,
		  struct k3_err *e)
{
	char block[BLOCK] = { 0 };
	unsigned sum = 0;

	memcpy(block, name, strnlen(name, NAME_MAX_USTAR));
	snprintf(block + AT_MODE, 8, "%07o", mode);
	snprintf(block + AT_UID, 8, "%07o", 0);
	snprintf(block + AT_GID, 8, "%07o", 0);
	snprintf(block + AT_SIZE, 12, "%011" PRIo64, size & SIZE_MAX_USTAR);
	snprintf(block + AT_MTIME, 12, "%011o", 0);
	block[AT_TYPE] = type;
	memcpy(block + AT_MAGIC, "ustar\00000", 8);
	memset(block + AT_SUM, ' ', 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)block[i];
	snprintf(block + AT_SUM, 7, "%06o", sum);
	return encode_write(to, block, BLOCK, e);
}

/* One record of an extended header; its length counts itself. */
static void record(char *out, size_t room, const char *key, const char *value)
{
	size_t body = strlen(key) + strlen(value) + 3, used = strlen(out), n = body + 1;

	while (n != body + (size_t)snprintf(NULL, 0, "%zu", n))
		n = body + (size_t)snprintf(NULL, 0, "%zu", n);
	snprintf(out + used, room - used, "%zu %s=%s\n", n, key, value);
}

static int extended(struct encode *to, const char *name, uint64_t size, struct k3_err *e)
{
	char text[TAROUT_NAME_MAX + 128] = "", number[24];

	if (strlen(name) > NAME_MAX_USTAR)
		record(text, sizeof(text), "path", name);
	snprintf(number, sizeof(number), "%" PRIu64, size);
	if (size > SIZE_MAX_USTAR)
		record(text, sizeof(text), "size", number);
	if (!*text)
		return 0;
	if (header(to, "pax", 'x', 0644, strlen(text), e) ||
	    encode_write(to, text, strlen(text), e))
		return -1;
	return tarout_pad(to, strlen(text), e);
}

int tarout_dir(struct encode *to, const char *name, struct k3_err *e)
{
	char with_slash[NAME_MAX_USTAR];

	snprintf(with_slash, sizeof(with_slash), "%s/", name);
	return header(to, with_slash, '5', 0755, 0, e);
}

int tarout_file(struct encode *to, const char *name, uint64_t size, struct k3_err *e)
{
	return extended(to, name, size, e) || header(to, name, '0', 0644, size, e) ? -1 : 0;
}

int tarout_pad(struct encode *to, uint64_t size, struct k3_err *e)
{
	static const char zeros[BLOCK];

	return size % BLOCK ? encode_write(to, zeros, BLOCK - (size_t)(size % BLOCK), e) : 0;
}

int tarout_end(struct encode *to, struct k3_err *e)
{
	static const char zeros[2 * BLOCK];

	return encode_write(to, zeros, sizeof(zeros), e);
}
