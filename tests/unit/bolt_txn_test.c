/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions against the model, the shape of the trees they leave, misuse. */
#include "base/bytes.h"
#include "bolt/freelist.h"
#include "bolt/meta.h"
#include "tests/unit/bolt_help.h"

static void random_run(uint64_t seed, uint32_t page_size, const struct model_shape *s, int rounds,
		       int ops)
{
	struct model_rng r = { .state = seed * 0x9e3779b97f4a7c15u + 1 };
	struct model *m = model_new();
	struct bolt_port port;
	struct bolt_db *db;
	struct k3_err err;
	int dir = help_dir();

	OK(bolt_open_with(dir, "a.db", RW, 0600, help_fast(&port), page_size, &db, &err));
	for (int i = 0; i < rounds; i++) {
		help_random(db, m, &r, s, ops);
		EQ_STR(help_diff(db, m), NULL);
		EQ_INT(help_check(db), 0);
		if (unit_failed_checks)
			break;
		if (i % 3 == 2) {
			bolt_close(db);
			OK(bolt_open_with(dir, "a.db", BOLT_WRITE, 0, &port, 0, &db, &err));
		}
	}
	bolt_close(db);
	model_free(m);
	close(dir);
}

TEST(random_small_buckets)
{
	static const struct model_shape s = { 12, 60, 3000, 5, 25 };

	for (uint64_t seed = 1; seed <= 20; seed++)
		random_run(seed, 4096, &s, 6, 200);
}

TEST(random_deep_trees)
{
	static const struct model_shape s = { 4000, 40, 6000, 2, 5 };

	for (uint64_t seed = 1; seed <= 4; seed++)
		random_run(seed, 1024, &s, 6, 1500);
}

TEST(random_mostly_deletes)
{
	static const struct model_shape s = { 60, 300, 0, 2, 70 };

	for (uint64_t seed = 1; seed <= 10; seed++)
		random_run(seed, 1024, &s, 12, 500);
}

TEST(random_other_page_sizes)
{
	static const struct model_shape s = { 500, 200, 100000, 3, 30 };

	random_run(1, 16384, &s, 6, 800);
	random_run(2, 65536, &s, 6, 1500);
}

static struct bolt_val number_key(unsigned i, char buf[64])
{
	return (struct bolt_val){ buf, (size_t)snprintf(buf, 64, "key-%08u", i) };
}

/* Enough for three levels and for nodes halved in memory; then all out in another order. */
TEST(many_keys_in_and_out)
{
	enum { N = 20000, STEP = 7919 };
	struct bolt_db *db;
	struct k3_err err;
	char buf[64];
	int dir = help_dir();

	OK(bolt_open_with(dir, "a.db", RW, 0600, NULL, 1024, &db, &err));
	struct bolt_txn *t = help_begin(db);
	struct bolt_bucket *b = help_make(bolt_root(t), "b");

	for (unsigned i = 0; i < N; i++)
		OK(bolt_put(b, number_key(i * STEP % N, buf), BOLT_STR("some value"), &err));
	OK(bolt_commit(t, &err));
	EQ_INT(help_check(db), 0);
	CHECK(help_stat(db).high_water < 1100); /* pages are filled */
	for (unsigned from = 0; from < N; from += N / 4) {
		t = help_begin(db);
		b = help_make(bolt_root(t), "b");
		for (unsigned i = from; i < from + N / 4; i++)
			OK(bolt_delete(b, number_key(i * STEP % N, buf), &err));
		OK(bolt_commit(t, &err));
		EQ_INT(help_check(db), 0);
	}
	t = help_begin(db);
	b = help_make(bolt_root(t), "b");
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true;

	OK(bolt_next(b, &it, &item, &more, &err));
	CHECK(!more);
	bolt_close(db);
	close(dir);
}

TEST(delete_a_range_in_the_middle)
{
	struct bolt_db *db;
	struct k3_err err;
	char buf[64];
	int dir = help_dir();

	OK(bolt_open_with(dir, "a.db", RW, 0600, NULL, 1024, &db, &err));
	struct bolt_txn *t = help_begin(db);
	struct bolt_bucket *b = help_make(bolt_root(t), "b");

	for (unsigned i = 0; i < 20000; i++)
		OK(bolt_put(b, number_key(i, buf), BOLT_STR("some value"), &err));
	OK(bolt_commit(t, &err));
	t = help_begin(db);
	b = help_make(bolt_root(t), "b");
	for (unsigned i = 3; i < 19998; i++)
		OK(bolt_delete(b, number_key(i, buf), &err));
	OK(bolt_commit(t, &err));
	EQ_INT(help_check(db), 0);
	t = help_begin(db);
	b = help_make(bolt_root(t), "b");
	unsigned n = 0;
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true;

	for (; !bolt_next(b, &it, &item, &more, &err) && more; n++)
		CHECK(!bolt_val_cmp(item.key, number_key(n < 3 ? n : n + 19995, buf)));
	EQ_INT(n, 5);
	bolt_close(db);
	close(dir);
}

/* How bucket "b" is stored in the root leaf. */
static bool stored_inline(struct bolt_db *db)
{
	struct k3_err err;
	struct bolt_txn *t;
	struct bolt_page pg;
	bool is_inline = false;

	OK(bolt_begin(db, false, &t, &err));
	OK(bolt_txn_page(t, t->meta.root, &pg, &err));
	if (pg.n)
		is_inline = !k3_load64le(bolt_page_value(&pg, 0).p);
	bolt_abort(t);
	return is_inline;
}

TEST(buckets_go_inline_and_back)
{
	struct bolt_db *db;
	struct k3_err err;
	char fill[1100];
	int dir = help_dir();

	memset(fill, 'x', sizeof(fill));
	OK(bolt_open_with(dir, "a.db", RW, 0600, NULL, 4096, &db, &err));
	/* 16 + 16 + 1 + value = 1024 is the largest inline bucket. */
	static const struct {
		size_t n;
		bool is_inline;
	} steps[] = { { 10, true }, { 991, true }, { 992, false }, { 1100, false }, { 991, true } };

	for (size_t i = 0; i < K3_ARRAY_LEN(steps); i++) {
		struct bolt_txn *t = help_begin(db);
		struct bolt_bucket *b = help_make(bolt_root(t), "b");

		OK(bolt_put(b, BOLT_STR("k"), (struct bolt_val){ fill, steps[i].n }, &err));
		OK(bolt_commit(t, &err));
		EQ_INT(stored_inline(db), steps[i].is_inline);
		EQ_INT(help_check(db), 0);
	}
	struct bolt_txn *t = help_begin(db);

	help_make(help_make(bolt_root(t), "b"), "sub");
	OK(bolt_commit(t, &err));
	EQ_INT(stored_inline(db), false);
	t = help_begin(db);
	OK(bolt_bucket_delete(help_make(bolt_root(t), "b"), BOLT_STR("sub"), &err));
	OK(bolt_set_sequence(help_make(bolt_root(t), "b"), 9, &err));
	OK(bolt_commit(t, &err));
	EQ_INT(stored_inline(db), true);
	t = help_begin(db);
	EQ_INT(bolt_sequence(help_make(bolt_root(t), "b")), 9);
	bolt_close(db);
	close(dir);
}

/* Only the header changes: the content of an inline or a paged bucket stays. */
TEST(sequence_alone_is_stored)
{
	struct bolt_db *db;
	struct k3_err err;
	char buf[64], fill[2000];
	int dir = help_dir();

	memset(fill, 'x', sizeof(fill));
	OK(bolt_open(dir, "a.db", RW, 0600, &db, &err));
	struct bolt_txn *t = help_begin(db);

	help_put(help_make(bolt_root(t), "in"), "k", "v");
	OK(bolt_put(help_make(bolt_root(t), "out"), BOLT_STR("k"),
		    (struct bolt_val){ fill, sizeof(fill) }, &err));
	OK(bolt_commit(t, &err));
	t = help_begin(db);
	OK(bolt_set_sequence(help_make(bolt_root(t), "in"), UINT64_MAX, &err));
	OK(bolt_set_sequence(help_make(bolt_root(t), "out"), 1, &err));
	OK(bolt_commit(t, &err));
	EQ_INT(help_check(db), 0);
	t = help_begin(db);
	struct bolt_bucket *in = help_make(bolt_root(t), "in");
	struct bolt_bucket *out = help_make(bolt_root(t), "out");
	struct bolt_val v;

	CHECK(bolt_sequence(in) == UINT64_MAX);
	EQ_STR(help_get(in, "k", buf), "v");
	EQ_INT(bolt_sequence(out), 1);
	OK(bolt_get(out, BOLT_STR("k"), &v, &err));
	EQ_INT(v.n, sizeof(fill));
	bolt_close(db);
	close(dir);
}

TEST(big_values_take_overflow_pages)
{
	struct bolt_db *db;
	struct k3_err err;
	size_t n = 3 << 20;
	char *fill = k3_xcalloc(n, 1), name[16];
	int dir = help_dir();

	OK(bolt_open(dir, "a.db", RW, 0600, &db, &err));
	for (int i = 0; i < 7; i++) {
		struct bolt_txn *t = help_begin(db);

		memset(fill, 'a' + i, n);
		snprintf(name, sizeof(name), "%d", i);
		OK(bolt_put(help_make(bolt_root(t), "b"), model_str(name),
			    (struct bolt_val){ fill, n - (size_t)i }, &err));
		OK(bolt_commit(t, &err));
		EQ_INT(help_check(db), 0);
	}
	struct bolt_txn *t = help_begin(db);

	for (int i = 0; i < 7; i++) {
		struct bolt_val v;

		snprintf(name, sizeof(name), "%d", i);
		OK(bolt_get(help_make(bolt_root(t), "b"), model_str(name), &v, &err));
		memset(fill, 'a' + i, n);
		CHECK(v.n == n - (size_t)i && !memcmp(v.p, fill, v.n));
	}
	bolt_close(db);
	free(fill);
	close(dir);
}

TEST(iteration_bears_changes)
{
	struct bolt_db *db;
	struct k3_err err;
	char buf[64];
	int dir = help_dir();

	OK(bolt_open_with(dir, "a.db", RW, 0600, NULL, 1024, &db, &err));
	struct bolt_txn *t = help_begin(db);
	struct bolt_bucket *b = help_make(bolt_root(t), "b");

	for (unsigned i = 0; i < 3000; i++)
		OK(bolt_put(b, number_key(i, buf), BOLT_STR("v"), &err));
	OK(bolt_commit(t, &err));
	t = help_begin(db);
	b = help_make(bolt_root(t), "b");
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	unsigned n = 0;
	bool more;

	for (; !bolt_next(b, &it, &item, &more, &err) && more; n++) {
		CHECK(!bolt_val_cmp(item.key, number_key(n, buf)));
		OK(bolt_delete(b, item.key, &err));
	}
	EQ_INT(n, 3000);
	help_put(b, "z", "last");
	it.last = BOLT_STR("y");
	OK(bolt_next(b, &it, &item, &more, &err));
	CHECK(more && !bolt_val_cmp(item.key, BOLT_STR("z")) && !item.is_bucket);
	OK(bolt_commit(t, &err));
	EQ_INT(help_check(db), 0);
	bolt_close(db);
	close(dir);
}

TEST(absent_and_wrong_kinds)
{
	struct bolt_val names[3] = { BOLT_STR("b"), BOLT_STR("sub"), BOLT_STR("none") };
	struct bolt_bucket *b, *other;
	struct bolt_db *db;
	struct k3_err err;
	struct bolt_val v;
	int dir = help_dir();

	OK(bolt_open(dir, "a.db", RW, 0600, &db, &err));
	struct bolt_txn *t = help_begin(db);

	b = help_make(bolt_root(t), "b");
	CHECK(help_make(b, "sub") == help_make(b, "sub"));
	help_put(b, "plain", "");
	OK(bolt_bucket_path(t, names, 2, &other, &err));
	CHECK(other == help_make(b, "sub"));
	OK(bolt_bucket_path(t, names, 3, &other, &err));
	CHECK(!other);
	OK(bolt_bucket_path(t, names + 1, 2, &other, &err));
	CHECK(!other);
	OK(bolt_get(b, BOLT_STR("plain"), &v, &err));
	CHECK(v.p && !v.n);
	OK(bolt_get(b, BOLT_STR("sub"), &v, &err));
	CHECK(!v.p);
	OK(bolt_get(b, BOLT_STR("none"), &v, &err));
	CHECK(!v.p);
	FAILS(bolt_bucket_get(b, BOLT_STR("none"), &other, &err), K3_NOTFOUND);
	FAILS(bolt_bucket_get(b, BOLT_STR("plain"), &other, &err), K3_NOTFOUND);
	FAILS(bolt_bucket_make(b, BOLT_STR("plain"), &other, &err), K3_STORE);
	FAILS(bolt_bucket_delete(b, BOLT_STR("plain"), &err), K3_NOTFOUND);
	FAILS(bolt_bucket_delete(b, BOLT_STR("none"), &err), K3_NOTFOUND);
	FAILS(bolt_put(b, BOLT_STR("sub"), BOLT_STR("x"), &err), K3_STORE);
	FAILS(bolt_delete(b, BOLT_STR("sub"), &err), K3_STORE);
	OK(bolt_delete(b, BOLT_STR("none"), &err));
	FAILS(bolt_put(b, BOLT_STR(""), BOLT_STR("x"), &err), K3_USAGE);
	FAILS(bolt_put(b, (struct bolt_val){ b, BOLT_KEY_MAX + 1 }, BOLT_STR(""), &err), K3_USAGE);
	FAILS(bolt_put(b, BOLT_STR("k"), (struct bolt_val){ b, BOLT_VALUE_MAX + 1ul }, &err),
	      K3_USAGE);
	FAILS(bolt_put(bolt_root(t), BOLT_STR("k"), BOLT_STR("v"), &err), K3_BUG);
	bolt_close(db);
	close(dir);
}

TEST(misuse_is_an_error)
{
	struct bolt_bucket *b, *sub;
	struct bolt_txn *t, *second;
	struct bolt_db *db;
	struct k3_err err;
	int dir = help_dir();

	OK(bolt_open(dir, "a.db", RW, 0600, &db, &err));
	t = help_begin(db);
	FAILS(bolt_begin(db, false, &second, &err), K3_BUG);
	b = help_make(bolt_root(t), "b");
	sub = help_make(b, "sub");
	OK(bolt_bucket_delete(bolt_root(t), BOLT_STR("b"), &err));
	FAILS(bolt_put(b, BOLT_STR("k"), BOLT_STR("v"), &err), K3_BUG);
	FAILS(bolt_put(sub, BOLT_STR("k"), BOLT_STR("v"), &err), K3_BUG);
	b = help_make(bolt_root(t), "b"); /* the same name again, now empty */
	FAILS(bolt_bucket_get(b, BOLT_STR("sub"), &sub, &err), K3_NOTFOUND);
	OK(bolt_commit(t, &err));
	EQ_INT(help_check(db), 0);
	OK(bolt_begin(db, false, &t, &err));
	FAILS(bolt_bucket_make(bolt_root(t), BOLT_STR("x"), &b, &err), K3_BUG);
	OK(bolt_bucket_get(bolt_root(t), BOLT_STR("b"), &b, &err));
	FAILS(bolt_put(b, BOLT_STR("k"), BOLT_STR("v"), &err), K3_BUG);
	FAILS(bolt_set_sequence(b, 4, &err), K3_BUG);
	FAILS(bolt_commit(t, &err), K3_BUG);
	bolt_close(db);
	OK(bolt_open(dir, "a.db", BOLT_READ, 0, &db, &err));
	FAILS(bolt_begin(db, true, &t, &err), K3_BUG);
	bolt_close(db);
	bolt_close(NULL);
	bolt_abort(NULL);
	close(dir);
}

TEST(nesting_is_limited)
{
	struct bolt_db *db;
	struct k3_err err;
	int dir = help_dir();

	OK(bolt_open(dir, "a.db", RW, 0600, &db, &err));
	struct bolt_txn *t = help_begin(db);
	struct bolt_bucket *b = bolt_root(t), *deeper;

	for (unsigned i = 1; i < BOLT_DEPTH_MAX; i++)
		b = help_make(b, "d");
	FAILS(bolt_bucket_make(b, BOLT_STR("d"), &deeper, &err), K3_LIMIT);
	OK(bolt_commit(t, &err));
	EQ_INT(help_check(db), 0);
	bolt_close(db);
	close(dir);
}

TEST(no_change_writes_nothing)
{
	struct bolt_db *db;
	struct k3_err err;
	int dir = help_dir();

	OK(bolt_open(dir, "a.db", RW, 0600, &db, &err));
	struct bolt_txn *t = help_begin(db);

	help_put(help_make(bolt_root(t), "b"), "k", "v");
	OK(bolt_commit(t, &err));
	uint64_t before = help_stat(db).txid;

	t = help_begin(db);
	struct bolt_bucket *b = help_make(bolt_root(t), "b");

	help_put(b, "k", "v");
	OK(bolt_delete(b, BOLT_STR("none"), &err));
	OK(bolt_set_sequence(b, 0, &err));
	OK(bolt_commit(t, &err));
	EQ_INT(help_stat(db).txid, before);
	t = help_begin(db);
	help_put(help_make(bolt_root(t), "b"), "k", "w");
	bolt_abort(t);
	EQ_INT(help_stat(db).txid, before);
	bolt_close(db);
	close(dir);
}

/* Rewriting the same content must not make the file grow for ever. */
TEST(free_pages_are_reused)
{
	struct bolt_db *db;
	struct k3_err err;
	char value[300];
	uint64_t high_water = 0;
	int dir = help_dir();

	OK(bolt_open(dir, "a.db", RW, 0600, &db, &err));
	for (int round = 0; round < 12; round++) {
		struct bolt_txn *t = help_begin(db);

		if (round)
			OK(bolt_bucket_delete(bolt_root(t), BOLT_STR("b"), &err));
		struct bolt_bucket *b = help_make(bolt_root(t), "b");

		for (unsigned i = 0; i < 200; i++) {
			char buf[64];
			struct bolt_bucket *sub;

			OK(bolt_bucket_make(b, number_key(i, buf), &sub, &err));
			memset(value, 'a' + round, sizeof(value));
			value[sizeof(value) - 1] = '\0';
			for (unsigned k = 0; k < 8; k++)
				OK(bolt_put(sub, number_key(k, buf), model_str(value), &err));
		}
		OK(bolt_commit(t, &err));
		EQ_INT(help_check(db), 0);
		if (round == 1)
			high_water = help_stat(db).high_water;
	}
	CHECK(help_stat(db).high_water <= high_water + 2);
	bolt_close(db);
	close(dir);
}

/* Stores the list of free pages in a free page, as containerd 1.6 does. */
static void store_freelist(int dir, const char *name)
{
	struct k3_err err;
	struct bolt_db *db;
	struct bolt_txn *t;
	struct bolt_space s;

	OK(bolt_open(dir, name, BOLT_WRITE, 0, &db, &err));
	OK(bolt_begin(db, false, &t, &err));
	struct bolt_meta m = t->meta;
	struct bytes b = help_read(dir, name);
	struct bolt_page_head head = { .flags = BOLT_PAGE_FREELIST };
	size_t n = 0;

	OK(bolt_space_init(&s, t, &err));
	OK(bolt_space_take(&s, 1, &m.freelist, &err));
	m.high_water = s.high_water;
	uint8_t *p = b.p + m.freelist * m.page_size;

	for (uint64_t id = 2; id < m.high_water && n < 500; id++)
		if (bolt_pageset_has(&s.free, id))
			k3_store64le(p + 16 + 8 * n++, id);
	head.id = m.freelist;
	head.count = (uint32_t)n;
	bolt_page_head_write(p, &head);
	bolt_meta_encode(&m, b.p + m.slot * m.page_size);
	bolt_space_release(&s);
	bolt_close(db);
	help_write(dir, name, b.p, b.n);
	free(b.p);
}

/* Above the size that is walked the list is used, and without one the file grows. */
TEST(large_files_use_the_stored_list)
{
	struct bolt_db *db;
	struct k3_err err;
	size_t n = 20 << 20;
	char *fill = k3_xcalloc(n, 1);
	int dir = help_dir();

	OK(bolt_open(dir, "a.db", RW, 0600, &db, &err));
	struct bolt_txn *t = help_begin(db);
	struct bolt_bucket *b = help_make(bolt_root(t), "big");

	OK(bolt_put(b, BOLT_STR("k"), (struct bolt_val){ fill, n }, &err));
	for (int i = 0; i < 40; i++) {
		char name[16];

		snprintf(name, sizeof(name), "b%d", i);
		OK(bolt_put(help_make(bolt_root(t), name), BOLT_STR("k"),
			    (struct bolt_val){ fill, 3000 }, &err));
	}
	OK(bolt_commit(t, &err));
	for (int i = 1; i < 40; i++) {
		char name[16];
		uint64_t before = help_stat(db).high_water;

		t = help_begin(db);
		snprintf(name, sizeof(name), "b%d", i);
		OK(bolt_bucket_delete(bolt_root(t), model_str(name), &err));
		OK(bolt_commit(t, &err));
		CHECK(help_stat(db).high_water > before);
	}
	bolt_close(db);
	free(fill);
	/* A list of two of the pages that the last commits left behind. */
	struct bytes all = help_read(dir, "a.db");
	struct bolt_meta m;
	int fd = openat(dir, "a.db", O_RDWR);

	OK(bolt_meta_load(fd, all.n, &m, &err));
	uint8_t *p = all.p + 2 * m.page_size; /* the freelist of the new file: long unused */
	struct bolt_page_head head = { .id = 2, .flags = BOLT_PAGE_FREELIST, .count = 2 };

	bolt_page_head_write(p, &head);
	k3_store64le(p + 16, m.high_water - 3);
	k3_store64le(p + 24, m.high_water - 2);
	m.freelist = 2;
	bolt_meta_encode(&m, all.p + m.slot * m.page_size);
	EQ_INT(pwrite(fd, all.p, all.n, 0), all.n);
	close(fd);
	free(all.p);
	OK(bolt_open(dir, "a.db", BOLT_WRITE, 0, &db, &err));
	CHECK(help_stat(db).freelist_stored);
	t = help_begin(db);
	OK(bolt_set_sequence(help_make(bolt_root(t), "big"), 1, &err));
	OK(bolt_commit(t, &err));
	EQ_INT(help_stat(db).high_water, m.high_water);
	CHECK(!help_stat(db).freelist_stored);
	EQ_INT(help_check(db), 0);
	bolt_close(db);
	close(dir);
}

TEST(stored_freelist_is_dropped)
{
	static const struct model_shape s = { 100, 100, 3000, 2, 40 };
	struct model_rng r = { .state = 99 };
	struct model *m = model_new();
	struct bolt_db *db;
	struct k3_err err;
	int dir = help_dir();

	OK(bolt_open_with(dir, "a.db", RW, 0600, NULL, 4096, &db, &err));
	CHECK(help_stat(db).freelist_stored);
	for (int i = 0; i < 10; i++) {
		help_random(db, m, &r, &s, 300);
		CHECK(!help_stat(db).freelist_stored);
		bolt_close(db);
		store_freelist(dir, "a.db");
		OK(bolt_open(dir, "a.db", BOLT_WRITE, 0, &db, &err));
		CHECK(help_stat(db).freelist_stored);
		EQ_STR(help_diff(db, m), NULL);
		EQ_INT(help_check(db), 0);
	}
	bolt_close(db);
	model_free(m);
	close(dir);
}

UNIT_MAIN
