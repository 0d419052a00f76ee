/* SPDX-License-Identifier: Apache-2.0 */
/* Archives entry by entry: where contents are, and that nobody has to read them. */
#include "tests/unit/tarbuild.h"
#include "tests/unit/unit.h"

static struct k3_err err;

struct memory {
	const uint8_t *p;
	size_t n, at, given;
};

static int next(void *arg, const uint8_t **p, size_t *n, struct k3_err *e)
{
	struct memory *m = arg;

	(void)e;
	*p = m->p + m->at;
	*n = m->n - m->at < 600 ? m->n - m->at : 600;
	m->at += *n;
	m->given += *n;
	return 0;
}

static int skip(void *arg, uint64_t n, uint64_t *done, struct k3_err *e)
{
	struct memory *m = arg;

	(void)e;
	*done = n < m->n - m->at ? n : m->n - m->at;
	m->at += (size_t)*done;
	return 0;
}

static void make(struct tarbuild *t, char *big, size_t n)
{
	memset(big, 'b', n);
	tb_init(t);
	tb_file(t, "first", "one");
	tb_long(t, 'L', "second");
	tb_entry(t, '0', "short", "", big, n);
	tb_symlink(t, "link", "../x");
	tb_link(t, "hard", "first");
	tb_dir(t, "dir");
	tb_file(t, "last", "three");
	tb_end(t);
}

static void check_entries(struct memory *m, unpack_skip_fn *fn)
{
	static const struct {
		enum unpack_entry_type type;
		const char *name, *link;
		uint64_t size;
	} want[] = {
		{ UNPACK_FILE, "first", "", 3 },       { UNPACK_FILE, "second", "", 100000 },
		{ UNPACK_SYMLINK, "link", "../x", 0 }, { UNPACK_LINK, "hard", "first", 0 },
		{ UNPACK_DIR, "dir", "", 0 },          { UNPACK_FILE, "last", "", 5 },
	};
	__attribute__((cleanup(unpack_reader_freep))) struct unpack_reader *r =
		unpack_reader_new((struct unpack_src){ next, m }, fn, &unpack_limits_default);
	struct unpack_entry t;
	const uint8_t *p;
	bool end;
	size_t n;

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		OK(unpack_reader_next(r, &t, &end, &err));
		CHECK(!end);
		EQ_INT(t.type, want[i].type);
		EQ_STR(t.name, want[i].name);
		EQ_STR(t.link, want[i].link);
		EQ_INT(t.size, want[i].size);
		CHECK(!t.sparse);
		if (t.size == 3 || t.size == 5)
			CHECK(!memcmp(m->p + t.at, t.size == 3 ? "one" : "three", t.size));
	}
	OK(unpack_reader_data(r, &p, &n, &err));
	EQ_INT(n, 5);
	CHECK(!memcmp(p, "three", 5));
	OK(unpack_reader_data(r, &p, &n, &err));
	EQ_INT(n, 0);
	OK(unpack_reader_next(r, &t, &end, &err));
	CHECK(end);
}

TEST(positions)
{
	static char big[100000];
	struct tarbuild t;

	make(&t, big, sizeof(big));
	struct memory m = { .p = t.out.p, .n = t.out.len };

	check_entries(&m, NULL);
	CHECK(m.given > sizeof(big));
	m = (struct memory){ .p = t.out.p, .n = t.out.len };
	check_entries(&m, skip);
	CHECK(m.given < 12000);
	tb_release(&t);
}

TEST(skipping_past_the_end)
{
	static char big[100000];
	struct unpack_entry en;
	struct tarbuild t;
	bool end;

	make(&t, big, sizeof(big));
	struct memory m = { .p = t.out.p, .n = 50000 };
	__attribute__((cleanup(unpack_reader_freep))) struct unpack_reader *r =
		unpack_reader_new((struct unpack_src){ next, &m }, skip, &unpack_limits_default);

	OK(unpack_reader_next(r, &en, &end, &err));
	OK(unpack_reader_next(r, &en, &end, &err));
	FAILS(unpack_reader_next(r, &en, &end, &err), K3_FORMAT);
	HAS_STR(err.msg, "truncated");
	tb_release(&t);
}

TEST(streams)
{
	/* An empty gzip member, then one that says "hello". */
	static const uint8_t packed[] = {
		0x1f, 0x8b, 8,    0,    0,    0,    0,    0,    0,    3,    3,    0, 0, 0, 0,
		0,    0,    0,    0,    0,    0x1f, 0x8b, 8,    0,    0,    0,    0, 0, 0, 3,
		0xcb, 0x48, 0xcd, 0xc9, 0xc9, 7,    0,    0x86, 0xa6, 0x10, 0x36, 5, 0, 0, 0,
	};
	const struct unpack_opts o = { .limits = unpack_limits_default };
	const struct {
		const void *p;
		size_t n;
	} cases[] = { { packed, sizeof(packed) }, { "hello", 5 } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		__attribute__((cleanup(unpack_stream_freep))) struct unpack_stream *s = NULL;
		struct memory m = { .p = cases[i].p, .n = cases[i].n };
		const uint8_t *p;
		size_t n;

		OK(unpack_stream_open((struct unpack_src){ next, &m }, &o, &s, &err));
		OK(unpack_stream_next(s, &p, &n, &err));
		EQ_INT(n, 5);
		CHECK(!memcmp(p, "hello", 5));
		OK(unpack_stream_next(s, &p, &n, &err));
		EQ_INT(n, 0);
	}
}

UNIT_MAIN
