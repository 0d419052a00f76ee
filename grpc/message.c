/* SPDX-License-Identifier: Apache-2.0 */
/* Protobuf (proto3), field by field.  github.com/protocolbuffers, docs: "Encoding". */
#include "grpc/grpc.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"

#define FIELD_MAX ((1u << 29) - 1)
#define VARINT_MAX 10 /* bytes of 64 bits, seven in each */

enum wire {
	WIRE_VARINT = 0,
	WIRE_FIXED64 = 1,
	WIRE_LEN = 2,
	WIRE_FIXED32 = 5,
};

/* ---- writing ------------------------------------------------------------------------------ */

static size_t put_varint(uint8_t p[VARINT_MAX], uint64_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		p[n++] = (uint8_t)(v | 0x80);
	p[n++] = (uint8_t)v;
	return n;
}

static void add(struct grpc_msg *m, const void *p, size_t n)
{
	if (!m->failed && k3_buf_add(&m->buf, p, n, &m->err))
		m->failed = true;
}

static void add_varint(struct grpc_msg *m, uint64_t v)
{
	uint8_t p[VARINT_MAX];

	add(m, p, put_varint(p, v));
}

static void add_tag(struct grpc_msg *m, unsigned field, enum wire wire)
{
	if (!m->failed && (!field || field > FIELD_MAX)) {
		k3_fail(&m->err, K3_BUG, "no protobuf field has the number %u", field);
		m->failed = true;
	}
	add_varint(m, (uint64_t)field << 3 | wire);
}

static void add_bytes(struct grpc_msg *m, unsigned field, const void *p, size_t n)
{
	add_tag(m, field, WIRE_LEN);
	add_varint(m, n);
	add(m, p, n);
}

void grpc_put_u64(struct grpc_msg *m, unsigned field, uint64_t v)
{
	if (!v)
		return;
	add_tag(m, field, WIRE_VARINT);
	add_varint(m, v);
}

void grpc_put_str(struct grpc_msg *m, unsigned field, const char *s)
{
	if (s && *s)
		add_bytes(m, field, s, strlen(s));
}

void grpc_put_bytes(struct grpc_msg *m, unsigned field, const void *p, size_t n)
{
	if (n)
		add_bytes(m, field, p, n);
}

void grpc_add_str(struct grpc_msg *m, unsigned field, const char *s)
{
	add_bytes(m, field, s, strlen(s));
}

void grpc_put_pair(struct grpc_msg *m, unsigned field, const char *key, const char *value)
{
	size_t at = grpc_open(m, field);

	grpc_put_str(m, 1, key);
	grpc_put_str(m, 2, value);
	grpc_close(m, at);
}

size_t grpc_open(struct grpc_msg *m, unsigned field)
{
	add_tag(m, field, WIRE_LEN);
	return m->buf.len;
}

/* The length is known only now: what it stands for moves up. */
void grpc_close(struct grpc_msg *m, size_t at)
{
	uint8_t p[VARINT_MAX];

	if (m->failed)
		return;
	if (at > m->buf.len) {
		k3_fail(&m->err, K3_BUG, "a message inside a message was not opened");
		m->failed = true;
		return;
	}
	size_t inside = m->buf.len - at, n = put_varint(p, inside);

	add(m, p, n);
	if (m->failed)
		return;
	memmove(m->buf.p + at + n, m->buf.p + at, inside);
	memcpy(m->buf.p + at, p, n);
}

int grpc_done(const struct grpc_msg *m, struct k3_err *e)
{
	if (!m->failed)
		return 0;
	*e = m->err;
	return -1;
}

void grpc_reset(struct grpc_msg *m)
{
	k3_buf_reset(&m->buf);
	m->failed = false;
}

void grpc_release(struct grpc_msg *m)
{
	k3_buf_release(&m->buf);
	m->failed = false;
}

/* ---- reading ------------------------------------------------------------------------------ */

static struct grpc_val behind(struct grpc_val m, size_t n)
{
	return (struct grpc_val){ m.p + n, m.n - n };
}

static int get_varint(struct grpc_val *m, uint64_t *v, struct k3_err *e)
{
	*v = 0;
	for (size_t i = 0; i < m->n && i < VARINT_MAX; i++) {
		uint8_t b = m->p[i];

		if (i == VARINT_MAX - 1 && b > 1)
			break;
		*v |= (uint64_t)(b & 0x7f) << 7 * i;
		if (!(b & 0x80)) {
			*m = behind(*m, i + 1);
			return 0;
		}
	}
	return k3_fail(e, K3_PROTO, "not a protobuf message: %s",
		       m->n < VARINT_MAX ? "it ends within a number" : "a number of over 64 bits");
}

static int fail_cut(struct k3_err *e)
{
	return k3_fail(e, K3_PROTO, "not a protobuf message: it ends within a field");
}

int grpc_next(struct grpc_val *m, struct grpc_field *f, bool *more, struct k3_err *e)
{
	struct grpc_val rest = *m;
	uint64_t tag, n;

	*more = rest.n > 0;
	if (!rest.n)
		return 0;
	if (get_varint(&rest, &tag, e))
		return -1;
	if (!(tag >> 3) || tag >> 3 > FIELD_MAX)
		return k3_fail(e, K3_PROTO, "not a protobuf message: field number %llu",
			       (unsigned long long)(tag >> 3));
	*f = (struct grpc_field){ .number = (unsigned)(tag >> 3) };
	switch (tag & 7) {
	case WIRE_VARINT:
		if (get_varint(&rest, &f->v, e))
			return -1;
		break;
	case WIRE_FIXED64:
		if (rest.n < 8)
			return fail_cut(e);
		f->v = k3_load64le(rest.p);
		rest = behind(rest, 8);
		break;
	case WIRE_LEN:
		if (get_varint(&rest, &n, e))
			return -1;
		if (n > rest.n)
			return fail_cut(e);
		f->val = (struct grpc_val){ rest.p, (size_t)n };
		rest = behind(rest, (size_t)n);
		break;
	case WIRE_FIXED32:
		if (rest.n < 4)
			return fail_cut(e);
		f->v = k3_load32le(rest.p);
		rest = behind(rest, 4);
		break;
	default:
		return k3_fail(e, K3_PROTO, "not a protobuf message: field %u is of type %u",
			       f->number, (unsigned)(tag & 7));
	}
	*m = rest;
	return 0;
}

int grpc_check(struct grpc_val m, struct k3_err *e)
{
	struct grpc_field f;
	bool more = true;

	while (more)
		if (grpc_next(&m, &f, &more, e))
			return -1;
	return 0;
}

/* The next field of that number; with bytes or without. */
static bool find(struct grpc_val *it, unsigned field, bool bytes, struct grpc_field *f)
{
	struct k3_err ignored;
	bool more;

	while (!grpc_next(it, f, &more, &ignored) && more)
		if (f->number == field && !!f->val.p == bytes)
			return true;
	it->n = 0; /* also where it does not parse */
	return false;
}

/*
 * A field of another wire type than asked for is one that we do not know: protobuf skips it.
 */
struct grpc_val grpc_get(struct grpc_val m, unsigned field)
{
	struct grpc_val last = { NULL, 0 };
	struct grpc_field f;

	while (find(&m, field, true, &f))
		last = f.val;
	return last;
}

uint64_t grpc_get_u64(struct grpc_val m, unsigned field)
{
	struct grpc_field f;
	uint64_t last = 0;

	while (find(&m, field, false, &f))
		last = f.v;
	return last;
}

bool grpc_has(struct grpc_val m, unsigned field)
{
	struct grpc_field f;
	struct grpc_val again = m;

	return find(&m, field, true, &f) || find(&again, field, false, &f);
}

char *grpc_get_str(struct grpc_val m, unsigned field)
{
	struct grpc_val v = grpc_get(m, field);

	return k3_xstrndup(v.n ? (const char *)v.p : "", v.n);
}

struct grpc_val grpc_get_pair(struct grpc_val m, unsigned field, const char *key, bool *found)
{
	struct grpc_val last = { NULL, 0 }, entry;

	*found = false;
	while (grpc_each(&m, field, &entry))
		if (grpc_eq(grpc_get(entry, 1), key)) {
			*found = true;
			last = grpc_get(entry, 2);
		}
	return last;
}

bool grpc_each(struct grpc_val *it, unsigned field, struct grpc_val *out)
{
	struct grpc_field f;

	if (!find(it, field, true, &f))
		return false;
	*out = f.val;
	return true;
}

bool grpc_eq(struct grpc_val v, const char *s)
{
	size_t n = strlen(s);

	return v.n == n && (!n || !memcmp(v.p, s, n));
}
