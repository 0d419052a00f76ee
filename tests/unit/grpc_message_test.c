/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/mem.h"
#include "grpc/grpc.h"
#include "grpc/inbox.h"
#include "grpc/status.h"
#include "tests/unit/unit.h"

static struct k3_err err;

/* A message out of a string literal, with the NUL bytes in it. */
#define VAL(text) ((struct grpc_val){ (const uint8_t *)(text), sizeof(text) - 1 })

static struct grpc_val val(const struct grpc_msg *m)
{
	return (struct grpc_val){ m->buf.p, m->buf.len };
}

static void same(const struct grpc_msg *m, struct grpc_val want)
{
	OK(grpc_done(m, &err));
	EQ_INT(m->buf.len, want.n);
	if (m->buf.len == want.n && want.n)
		CHECK(!memcmp(m->buf.p, want.p, want.n));
}

static void expect_str(struct grpc_val m, unsigned field, const char *want)
{
	K3_AUTO_FREE char *got = grpc_get_str(m, field);

	EQ_STR(got, want);
}

/* ---- writing ------------------------------------------------------------------------------ */

TEST(bytes_as_protoc_writes_them)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;

	/* the examples of "Encoding" in protobuf's documentation */
	grpc_put_u64(&m, 1, 150);
	same(&m, VAL("\x08\x96\x01"));
	grpc_reset(&m);
	grpc_put_str(&m, 2, "testing");
	same(&m, VAL("\x12\x07testing"));
	grpc_reset(&m);
	size_t at = grpc_open(&m, 3);

	grpc_put_u64(&m, 1, 150);
	grpc_close(&m, at);
	same(&m, VAL("\x1a\x03\x08\x96\x01"));
	grpc_reset(&m);
	grpc_put_u64(&m, 1, (uint64_t)-2);
	same(&m, VAL("\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
	grpc_reset(&m);
	grpc_put_u64(&m, 16, 1);
	grpc_put_u64(&m, (1u << 29) - 1, 1);
	same(&m, VAL("\x80\x01\x01\xf8\xff\xff\xff\x0f\x01"));
	grpc_reset(&m);
	grpc_put_pair(&m, 7, "k", "v");
	grpc_put_pair(&m, 7, "", "");
	same(&m, VAL("\x3a\x06\x0a\x01k\x12\x01v\x3a\x00"));
}

TEST(what_is_empty_is_left_out)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;

	grpc_put_u64(&m, 1, 0);
	grpc_put_str(&m, 2, "");
	grpc_put_str(&m, 3, NULL);
	grpc_put_bytes(&m, 4, NULL, 0);
	same(&m, (struct grpc_val){ NULL, 0 });
	grpc_add_str(&m, 5, "");
	grpc_close(&m, grpc_open(&m, 6));
	same(&m, VAL("\x2a\x00\x32\x00"));
}

TEST(long_messages_inside_messages)
{
	enum { DEPTH = 40, BYTES = 100 };
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	size_t at[DEPTH];
	uint8_t data[BYTES];

	memset(data, 'x', sizeof(data));
	for (unsigned i = 0; i < DEPTH; i++) {
		at[i] = grpc_open(&m, 1);
		grpc_put_u64(&m, 2, i + 1);
	}
	for (unsigned i = DEPTH; i--;) {
		grpc_put_bytes(&m, 3, data, sizeof(data));
		grpc_close(&m, at[i]);
	}
	OK(grpc_done(&m, &err));
	struct grpc_val v = val(&m);

	for (unsigned i = 0; i < DEPTH; i++) {
		OK(grpc_check(v, &err));
		v = grpc_get(v, 1);
		EQ_INT(grpc_get_u64(v, 2), i + 1);
		EQ_INT(grpc_get(v, 3).n, BYTES);
	}
	CHECK(!grpc_has(v, 1));
}

TEST(the_first_failure_sticks)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	K3_AUTO_FREE char *big = k3_xcalloc(1, GRPC_MSG_MAX);

	grpc_put_u64(&m, 0, 1);
	grpc_put_u64(&m, 1, 1);
	FAILS(grpc_done(&m, &err), K3_BUG);
	grpc_reset(&m);
	grpc_put_u64(&m, 1u << 29, 1);
	FAILS(grpc_done(&m, &err), K3_BUG);
	grpc_reset(&m);
	grpc_close(&m, 1);
	FAILS(grpc_done(&m, &err), K3_BUG);
	grpc_reset(&m);
	grpc_put_bytes(&m, 1, big, GRPC_MSG_MAX);
	grpc_put_u64(&m, 0, 1);
	FAILS(grpc_done(&m, &err), K3_LIMIT);
	grpc_reset(&m);
	/* as much as there is room for, but not for its length */
	size_t at = grpc_open(&m, 1);

	grpc_put_bytes(&m, 1, big, GRPC_MSG_MAX - 6);
	OK(grpc_done(&m, &err));
	grpc_close(&m, at);
	FAILS(grpc_done(&m, &err), K3_LIMIT);
	grpc_release(&m);
	grpc_put_u64(&m, 1, 1);
	same(&m, VAL("\x08\x01"));
}

/* ---- reading ------------------------------------------------------------------------------ */

/* Fields 1 varint, 2 fixed64, 3 bytes, 4 fixed32, 1000 varint. */
#define ALL_TYPES                                                                                  \
	"\x08\x96\x01\x11\x01\x02\x03\x04\x05\x06\x07\x88\x1a\x03"                                 \
	"a\0b\x25\xff\0\0\x80\xc0\x3e\x07"

TEST(every_wire_type)
{
	struct grpc_val m = VAL(ALL_TYPES), whole = m;
	struct grpc_field f;
	bool more;

	OK(grpc_check(m, &err));
	OK(grpc_next(&m, &f, &more, &err));
	CHECK(more && f.number == 1 && f.v == 150 && !f.val.p);
	OK(grpc_next(&m, &f, &more, &err));
	CHECK(more && f.number == 2 && f.v == 0x8807060504030201u && !f.val.p);
	OK(grpc_next(&m, &f, &more, &err));
	CHECK(more && f.number == 3 && !f.v && f.val.n == 3 && !memcmp(f.val.p, "a\0b", 3));
	OK(grpc_next(&m, &f, &more, &err));
	CHECK(more && f.number == 4 && f.v == 0x800000ffu && !f.val.p);
	OK(grpc_next(&m, &f, &more, &err));
	CHECK(more && f.number == 1000 && f.v == 7);
	OK(grpc_next(&m, &f, &more, &err));
	CHECK(!more && !m.n);
	expect_str(whole, 3, "a");
	expect_str(whole, 1, "");
	EQ_INT(grpc_get_u64(whole, 4), 0x800000ffu);
	EQ_INT(grpc_get_u64(whole, 3), 0);
}

/* Cut anywhere it fails or, between two fields, is a shorter message; the memory ends there. */
TEST(cut_at_each_byte)
{
	static const size_t ends[] = { 0, 3, 12, 17, 22, 25 };
	struct grpc_val m = VAL(ALL_TYPES);

	for (size_t n = 0; n <= m.n; n++) {
		K3_AUTO_FREE uint8_t *copy = k3_xcalloc(1, n);
		struct grpc_val cut = { copy, n };
		bool between = false;

		memcpy(copy, m.p, n);
		for (size_t i = 0; i < K3_ARRAY_LEN(ends); i++)
			between |= n == ends[i];
		if (between)
			OK(grpc_check(cut, &err));
		else
			FAILS(grpc_check(cut, &err), K3_PROTO);
		EQ_INT(grpc_get_u64(cut, 1), n >= 3 ? 150 : 0);
		EQ_INT(grpc_has(cut, 1000), n == m.n);
		EQ_INT(grpc_has(cut, 9), false);
	}
}

TEST(numbers_at_their_limits)
{
	/* longer than needed is allowed, up to ten bytes */
	OK(grpc_check(VAL("\x88\x80\x00\x81\x80\x80\x80\x80\x80\x80\x80\x80\x00"), &err));
	EQ_INT(grpc_get_u64(VAL("\x88\x80\x00\x81\x80\x80\x80\x80\x80\x80\x80\x80\x00"), 1), 1);
	CHECK(grpc_get_u64(VAL("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), 1) == UINT64_MAX);
	FAILS(grpc_check(VAL("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), &err), K3_PROTO);
	FAILS(grpc_check(VAL("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"), &err), K3_PROTO);
	FAILS(grpc_check(VAL("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"), &err), K3_PROTO);
	/* lengths of more than there is, up to those that wrap */
	FAILS(grpc_check(VAL("\x0a\x02x"), &err), K3_PROTO);
	FAILS(grpc_check(VAL("\x0a\xff\xff\xff\xff\x0fx"), &err), K3_PROTO);
	FAILS(grpc_check(VAL("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x"), &err), K3_PROTO);
}

TEST(what_is_no_field)
{
	FAILS(grpc_check(VAL("\x00\x01"), &err), K3_PROTO);                 /* number 0 */
	FAILS(grpc_check(VAL("\x80\x80\x80\x80\x10\x01"), &err), K3_PROTO); /* 2^29 */
	FAILS(grpc_check(VAL("\x0b\x0c"), &err), K3_PROTO);                 /* a group */
	FAILS(grpc_check(VAL("\x0c"), &err), K3_PROTO);
	FAILS(grpc_check(VAL("\x0e\x00"), &err), K3_PROTO);
	FAILS(grpc_check(VAL("\x0f\x00"), &err), K3_PROTO);
	OK(grpc_check((struct grpc_val){ NULL, 0 }, &err));
}

TEST(the_last_field_counts)
{
	struct grpc_val m = VAL("\x08\x01\x0a\x01"
				"a\x08\x02\x0a\x00\x08\x03\x0a\x01"
				"b");

	EQ_INT(grpc_get_u64(m, 1), 3);
	expect_str(m, 1, "b");
	CHECK(grpc_eq(grpc_get(m, 1), "b"));
	/* a field of another type is not the one that is asked for */
	EQ_INT(grpc_get_u64(VAL("\x08\x05\x0a\x01x"), 1), 5);
}

TEST(absent_is_not_empty)
{
	struct grpc_val m = VAL("\x0a\x00\x10\x00");

	CHECK(grpc_has(m, 1) && grpc_get(m, 1).p && !grpc_get(m, 1).n);
	CHECK(grpc_has(m, 2) && !grpc_get_u64(m, 2));
	CHECK(!grpc_has(m, 3) && !grpc_get(m, 3).p && !grpc_get_u64(m, 3));
	CHECK(grpc_eq(grpc_get(m, 3), "") && !grpc_eq(grpc_get(m, 3), "x"));
	expect_str(m, 3, "");
}

TEST(repeated_fields)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	static const char *const want[] = { "a", "", "ccc" };
	struct grpc_val it, got;

	for (size_t i = 0; i < 3; i++) {
		grpc_add_str(&m, 1, want[i]);
		grpc_put_u64(&m, 2, i);
		grpc_put_u64(&m, 1, 7); /* another type */
	}
	it = val(&m);
	for (size_t i = 0; i < 3; i++)
		CHECK(grpc_each(&it, 1, &got) && grpc_eq(got, want[i]));
	CHECK(!grpc_each(&it, 1, &got));
	CHECK(!grpc_each(&it, 1, &got));
}

TEST(entries_of_maps)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	bool found;

	grpc_put_pair(&m, 7, "a", "1");
	grpc_put_pair(&m, 7, "b", "");
	grpc_put_pair(&m, 7, "", "of the empty key");
	grpc_put_pair(&m, 7, "a", "2");
	grpc_put_str(&m, 7, "\xff"); /* no message */
	CHECK(grpc_eq(grpc_get_pair(val(&m), 7, "a", &found), "2") && found);
	CHECK(grpc_eq(grpc_get_pair(val(&m), 7, "b", &found), "") && found);
	CHECK(!grpc_get_pair(val(&m), 7, "c", &found).p && !found);
	CHECK(!grpc_get_pair(val(&m), 8, "a", &found).p && !found);
	CHECK(!grpc_get_pair(val(&m), 7, "a\n", &found).p && !found);
	/* an entry may have its value first, and no key */
	CHECK(grpc_eq(grpc_get_pair(VAL("\x0a\x06\x12\x01v\x0a\x01k"), 1, "k", &found), "v") &&
	      found);
	CHECK(grpc_eq(grpc_get_pair(VAL("\x0a\x03\x12\x01v"), 1, "", &found), "v") && found);
}

/* ---- messages of an answer ------------------------------------------------------------------ */

TEST(inbox_puts_messages_together)
{
	static const char bytes[] =
		"\0\0\0\0\3abc\0\0\0\0\0\0\0\0\1\0"
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		"\0\0\0";
	static const size_t want[] = { 3, 0, 256 };
	const size_t all = sizeof(bytes) - 1;

	for (size_t piece = 1; piece <= all; piece++) {
		K3_AUTO_BUF struct k3_buf out = K3_BUF(300);
		struct inbox in;
		size_t n = 0;
		bool some;

		inbox_init(&in);
		for (size_t at = 0; at < all; at += piece) {
			OK(inbox_add(&in, bytes + at, all - at < piece ? all - at : piece, &err));
			for (;;) {
				OK(inbox_take(&in, n == 1 ? NULL : &out, &some, &err));
				if (!some)
					break;
				if (n != 1 && n < 3)
					EQ_INT(out.len, want[n]);
				n++;
			}
		}
		EQ_INT(n, 3);
		CHECK(!inbox_has(&in) && inbox_cut(&in));
		inbox_release(&in);
	}
}

TEST(inbox_refuses)
{
	K3_AUTO_BUF struct k3_buf small = K3_BUF(2);
	struct inbox in;
	bool some;

	inbox_init(&in);
	FAILS(inbox_add(&in, "\1\0\0\0\0", 5, &err), K3_PROTO);
	HAS_STR(err.msg, "compressed");
	inbox_release(&in);
	inbox_init(&in);
	OK(inbox_add(&in, "\0\4\0\0\0", 5, &err)); /* 64 MiB */
	CHECK(!inbox_has(&in) && inbox_cut(&in));
	inbox_release(&in);
	inbox_init(&in);
	FAILS(inbox_add(&in, "\0\4\0\0\1", 5, &err), K3_LIMIT);
	inbox_release(&in);
	inbox_init(&in);
	FAILS(inbox_add(&in, "\0\xff\xff\xff\xff", 5, &err), K3_LIMIT);
	inbox_release(&in);
	inbox_init(&in);
	OK(inbox_add(&in, "\0\0\0\0\3abc", 8, &err));
	CHECK(inbox_has(&in) && !inbox_cut(&in));
	FAILS(inbox_take(&in, &small, &some, &err), K3_LIMIT);
	inbox_release(&in);
}

/* ---- how a call ended ----------------------------------------------------------------------- */

static void expect_decoded(const char *text, const char *want)
{
	K3_AUTO_FREE char *s = k3_xstrdup(text);

	status_decode(s);
	EQ_STR(s, want);
}

TEST(messages_are_percent_decoded)
{
	expect_decoded("plain", "plain");
	expect_decoded("a%20b%C3%a9", "a b\xc3\xa9");
	expect_decoded("100%", "100%");
	expect_decoded("%4", "%4");
	expect_decoded("%zz%41", "%zzA");
	expect_decoded("%00x", "%00x");
	expect_decoded("%%41", "%A");
	expect_decoded("", "");
}

static int end(const char *type, const char *status, const char *message, enum grpc_code *code)
{
	struct status st = { 0 };
	int rc;

	status_field(&st, ":status", "200");
	status_field(&st, "content-type", type);
	status_head_done(&st);
	if (status)
		status_field(&st, "grpc-status", status);
	if (message)
		status_field(&st, "grpc-message", message);
	rc = status_end(&st, code, &err);
	status_release(&st);
	return rc;
}

TEST(codes_of_grpc_and_ours)
{
	static const struct {
		const char *status;
		enum k3_code code;
	} table[] = {
		{ "1", K3_STORE },    { "2", K3_STORE },  { "3", K3_STORE },  { "4", K3_BUSY },
		{ "5", K3_NOTFOUND }, { "6", K3_STORE },  { "7", K3_AUTH },   { "8", K3_LIMIT },
		{ "9", K3_STORE },    { "10", K3_STORE }, { "11", K3_STORE }, { "12", K3_STORE },
		{ "13", K3_STORE },   { "14", K3_BUSY },  { "15", K3_STORE }, { "16", K3_AUTH },
	};
	enum grpc_code code;

	for (size_t i = 0; i < K3_ARRAY_LEN(table); i++) {
		FAILS(end("application/grpc", table[i].status, "", &code), table[i].code);
		EQ_INT(code, i + 1);
		CHECK(err.msg[0] >= 'A' && err.msg[0] <= 'Z'); /* its name */
	}
	OK(end("application/grpc", "0", NULL, &code));
	EQ_INT(code, GRPC_OK);
	FAILS(end("application/grpc", "17", "new", &code), K3_STORE);
	EQ_INT(code, GRPC_UNKNOWN);
	FAILS(end("application/grpc", "18446744073709551616", "big", &code), K3_STORE);
	EQ_INT(code, GRPC_UNKNOWN);
}

TEST(ends_that_say_nothing)
{
	static const char *const bad[] = { "", "x", "-1", "1x", " 1" };
	enum grpc_code code;

	for (size_t i = 0; i < K3_ARRAY_LEN(bad); i++) {
		FAILS(end("application/grpc", bad[i], NULL, &code), K3_PROTO);
		EQ_INT(code, GRPC_NONE);
	}
	FAILS(end("application/grpc", NULL, NULL, &code), K3_PROTO);
	HAS_STR(err.msg, "without a status");
	FAILS(end("text/html", "0", NULL, &code), K3_PROTO);
	FAILS(end("application/grpcx", "0", NULL, &code), K3_PROTO);
	FAILS(end("", "0", NULL, &code), K3_PROTO);
	OK(end("application/grpc+proto", "0", NULL, &code));
	OK(end("Application/grpc; x=y", "0", NULL, &code));
}

TEST(long_messages_keep_their_cause)
{
	enum { LONG = 5000 };
	K3_AUTO_FREE char *s = k3_xcalloc(1, LONG + 1);
	enum grpc_code code;

	memset(s, 'x', LONG);
	memcpy(s, "failed to start", 15);
	memcpy(s + LONG - 12, "no such file", 12);
	FAILS(end("application/grpc", "2", s, &code), K3_STORE);
	HAS_STR(err.msg, "failed to start");
	HAS_STR(err.msg, " ... ");
	HAS_STR(err.msg, "no such file");
}

UNIT_MAIN
