/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tar parser alone.  First byte: piece size; its top bit repairs the checksums of blocks
 * that look like headers.  Cutting the input differently must not change what is parsed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unpack/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BLOCK 512u
#define DATA_MAX (4u << 20)

struct input {
	const uint8_t *p;
	size_t n, piece;
	uint8_t *copy;
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

static void repair(uint8_t *p, size_t n)
{
	for (; n >= BLOCK; p += BLOCK, n -= BLOCK) {
		unsigned sum = 0;
		char text[8];

		if (memcmp(p + 257, "ustar", 5))
			continue;
		memset(p + 148, ' ', 8);
		for (unsigned i = 0; i < BLOCK; i++)
			sum += p[i];
		snprintf(text, sizeof(text), "%06o", sum);
		memcpy(p + 148, text, 7);
	}
}

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
	const uint8_t *s = p;

	for (size_t i = 0; i < n; i++)
		h = (h ^ s[i]) * 0x100000001b3ull;
	return h;
}

static uint64_t mix_entry(uint64_t h, const struct tar_entry *t)
{
	if (t->mode > 07777 || t->mtime.tv_sec < 0 || t->mtime.tv_nsec > 999999999)
		abort();
	h = mix(mix(h, t->name, strlen(t->name)), t->link, strlen(t->link));
	h = mix(mix(h, &t->type, sizeof(t->type)), &t->size, sizeof(t->size));
	h = mix(mix(h, &t->mtime, sizeof(t->mtime)), &t->atime, sizeof(t->atime));
	for (size_t i = 0; i < t->nxattrs; i++) {
		h = mix(h, t->xattrs[i].name.p, strlen(t->xattrs[i].name.p));
		h = mix(h, t->xattrs[i].value.p, t->xattrs[i].value.n);
	}
	return h;
}

static uint64_t read_data(struct tar *t, uint64_t h, uint64_t size, struct k3_err *e, bool *failed)
{
	uint64_t off, end = 0, total = 0;
	const uint8_t *p;
	size_t n;

	for (;;) {
		if (tar_data(t, &off, &p, &n, e)) {
			*failed = true;
			return h;
		}
		if (!n || total > DATA_MAX)
			return h;
		if (off < end || off + n > size)
			abort();
		end = off + n;
		total += n;
		h = mix(h, p, n);
	}
}

static uint64_t parse(struct input in)
{
	struct tar *t = tar_new((struct unpack_src){ next_piece, &in }, &unpack_limits_default);
	struct k3_err e = { 0 };
	uint64_t h = 0xcbf29ce484222325ull;
	bool failed = false;

	for (unsigned i = 0; !failed; i++) {
		struct tar_entry ent;
		bool end;

		failed = tar_next(t, &ent, &end, &e) != 0;
		if (failed || end)
			break;
		h = mix_entry(h, &ent);
		if (i % 3) /* else the parser has to skip it */
			h = read_data(t, h, ent.size, &e, &failed);
	}
	if (failed)
		h = mix(h, &e.code, sizeof(e.code));
	tar_freep(&t);
	free(in.copy);
	return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	uint8_t *copy = malloc(size);

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (data[0] & 0x80)
		repair(copy + 1, size - 1);
	struct input in = { copy + 1, size - 1, 1 + (size_t)(data[0] & 0x7f) * 13, NULL };
	uint64_t one = parse(in);

	in.piece = size;
	if (one != parse(in))
		abort();
	free(copy);
	return 0;
}
