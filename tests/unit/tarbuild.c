/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/tarbuild.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 512u
#define ARCHIVE_MAX (64u << 20)

static void must(int rc)
{
	if (rc)
		abort();
}

void tb_init(struct tarbuild *t)
{
	*t = (struct tarbuild){
		.out = K3_BUF(ARCHIVE_MAX),
		.pax = K3_BUF(ARCHIVE_MAX),
		.uid = geteuid(),
		.gid = getegid(),
		.mtime = TARBUILD_MTIME,
		.size = -1,
	};
}

void tb_release(struct tarbuild *t)
{
	k3_buf_release(&t->out);
	k3_buf_release(&t->pax);
}

void tb_raw(struct tarbuild *t, const void *p, size_t n)
{
	struct k3_err e;

	must(k3_buf_add(&t->out, p, n, &e));
}

static void pad(struct tarbuild *t)
{
	static const uint8_t zero[BLOCK];

	tb_raw(t, zero, -t->out.len % BLOCK);
}

void tb_pax(struct tarbuild *t, const char *key, const void *value, size_t n)
{
	size_t len = strlen(key) + n + 3, digits = 1;
	struct k3_err e;

	for (size_t ten = 10; len + digits >= ten; ten *= 10)
		digits++;
	must(k3_buf_addf(&t->pax, &e, "%zu %s=", len + digits, key));
	must(k3_buf_add(&t->pax, value, n, &e));
	must(k3_buf_add(&t->pax, "\n", 1, &e));
}

void tb_pax_str(struct tarbuild *t, const char *key, const char *value)
{
	tb_pax(t, key, value, strlen(value));
}

/* Octal when it fits, else base-256. */
static void number(char *field, size_t n, int64_t v)
{
	if (v >= 0 && v < INT64_C(1) << 3 * (n - 1)) {
		char text[32];

		snprintf(text, sizeof(text), "%0*llo", (int)(n - 1), (unsigned long long)v);
		memcpy(field, text, n);
		return;
	}
	for (size_t i = n; i-- > 0; v >>= 8)
		field[i] = (char)v;
	field[0] = (char)((field[0] & 0x7f) | 0x80);
}

void tb_checksum(struct tarbuild *t, size_t at)
{
	uint8_t *p = t->out.p + at;
	unsigned sum = 0;
	char text[16];

	memset(p + 148, ' ', 8);
	for (unsigned i = 0; i < BLOCK; i++)
		sum += p[i];
	snprintf(text, sizeof(text), "%06o", sum);
	memcpy(p + 148, text, 7);
}

static void copy_text(char *field, size_t n, const char *s)
{
	memcpy(field, s, strnlen(s, n));
}

static void header(struct tarbuild *t, char type, const char *name, const char *link, int64_t size)
{
	char h[BLOCK] = { 0 };
	size_t at = t->out.len;
	mode_t mode = t->mode ? t->mode : type == '5' ? 0755 : 0644;

	copy_text(h, 100, name);
	number(h + 100, 8, mode);
	number(h + 108, 8, t->uid);
	number(h + 116, 8, t->gid);
	number(h + 124, 12, size);
	number(h + 136, 12, t->mtime);
	h[156] = type;
	copy_text(h + 157, 100, link);
	memcpy(h + 257, t->magic ? t->magic : "ustar\00000", 8);
	number(h + 329, 8, t->major);
	number(h + 337, 8, t->minor);
	tb_raw(t, h, sizeof(h));
	tb_checksum(t, at);
}

static void extension(struct tarbuild *t, char type, const char *name, const void *p, size_t n)
{
	header(t, type, name, "", (int64_t)n);
	tb_raw(t, p, n);
	pad(t);
}

void tb_flush_pax(struct tarbuild *t, char type)
{
	extension(t, type, "PaxHeaders/x", t->pax.p, t->pax.len);
	k3_buf_reset(&t->pax);
}

void tb_entry(struct tarbuild *t, char type, const char *name, const char *link, const void *data,
	      size_t n)
{
	if (t->pax.len)
		tb_flush_pax(t, 'x');
	header(t, type, name, link, t->size >= 0 ? t->size : (int64_t)n);
	if (n)
		tb_raw(t, data, n);
	pad(t);
}

void tb_file(struct tarbuild *t, const char *name, const char *text)
{
	tb_entry(t, '0', name, "", text, strlen(text));
}

void tb_dir(struct tarbuild *t, const char *name)
{
	tb_entry(t, '5', name, "", NULL, 0);
}

void tb_symlink(struct tarbuild *t, const char *name, const char *target)
{
	tb_entry(t, '2', name, target, NULL, 0);
}

void tb_link(struct tarbuild *t, const char *name, const char *target)
{
	tb_entry(t, '1', name, target, NULL, 0);
}

void tb_long(struct tarbuild *t, char type, const char *text)
{
	extension(t, type, "././@LongLink", text, strlen(text) + 1);
}

void tb_end(struct tarbuild *t)
{
	static const uint8_t zero[2 * BLOCK];

	tb_raw(t, zero, sizeof(zero));
}

static int mem_next(void *arg, const uint8_t **p, size_t *n, struct k3_err *e)
{
	struct memsrc *m = arg;

	(void)e;
	m->after_end += m->ended;
	*n = m->n < m->piece ? m->n : m->piece;
	*p = m->p;
	m->p += *n;
	m->n -= *n;
	m->ended = *n == 0;
	return 0;
}

struct unpack_src memsrc(struct memsrc *m, const void *p, size_t n, size_t piece)
{
	*m = (struct memsrc){ .p = p, .n = n, .piece = piece };
	return (struct unpack_src){ mem_next, m };
}
