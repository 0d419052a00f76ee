/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged files: what the check says, and that nobody writes to them. */
#include "base/bytes.h"
#include "bolt/freelist.h"
#include "bolt/meta.h"
#include "tests/unit/bolt_help.h"

#define PS 1024u

/* All findings, one per line. */
static void collect(void *arg, const char *text)
{
	char *all = arg;
	size_t used = strlen(all);

	snprintf(all + used, 4096 - used, "%s\n", text);
}

struct found {
	size_t n;
	char text[4096];
};

static struct found check_image(const uint8_t *p, size_t n, bool *writable)
{
	struct found f = { 0 };
	struct bolt_db *db;
	struct bolt_txn *t;
	struct k3_err err;
	int dir = help_dir();

	help_write(dir, "a.db", p, n);
	OK(bolt_open(dir, "a.db", BOLT_WRITE, 0, &db, &err));
	OK(bolt_begin(db, true, &t, &err));
	OK(bolt_check(t, collect, f.text, &f.n, &err));
	struct bolt_bucket *b;

	*writable = !bolt_bucket_make(bolt_root(t), BOLT_STR("new"), &b, &err) &&
		    !bolt_commit(t, &err);
	bolt_close(db);
	close(dir);
	return f;
}

/*
 * Pages: 3 root leaf { a: branch 4, i: inline, l: leaf 7 }, 4 branch { k1: 5, k5: 6 },
 * 5 and 6 leaves with two keys, 7 leaf, 8 freelist { 2, 9 }, 9 free.
 */
enum { LEAF_ROOT = 3, BRANCH = 4, LOW = 5, HIGH = 6, SINGLE = 7, LIST = 8, PAGES = 10 };

static void put_leaf(uint8_t *file, uint64_t id, const char *k1, const char *k2)
{
	struct bolt_page_head head = { .id = id, .flags = BOLT_PAGE_LEAF, .count = 2 };
	uint8_t *p = file + id * PS;

	bolt_page_head_write(p, &head);
	bolt_page_leaf_write(p + 16, false, 32, 2, 0);
	bolt_page_leaf_write(p + 32, false, 18, 2, 0);
	memcpy(p + 48, k1, 2);
	memcpy(p + 50, k2, 2);
}

static void put_root(uint8_t *p)
{
	struct bolt_page_head head = { .id = LEAF_ROOT, .flags = BOLT_PAGE_LEAF, .count = 3 };
	struct bolt_page_head inner = { .flags = BOLT_PAGE_LEAF, .count = 1 };

	bolt_page_head_write(p, &head);
	bolt_page_leaf_write(p + 16, true, 48, 1, 16);
	bolt_page_leaf_write(p + 32, true, 49, 1, 16 + 16 + 16 + 1 + 16);
	bolt_page_leaf_write(p + 48, true, 49 - 16 + 1 + 65, 1, 16);
	p[64] = 'a';
	k3_store64le(p + 65, BRANCH);
	p[81] = 'i';
	bolt_page_head_write(p + 98, &inner);
	bolt_page_leaf_write(p + 114, false, 16, 1, 16);
	p[130] = 'k';
	p[147] = 'l';
	k3_store64le(p + 148, SINGLE);
}

static void make_sound(uint8_t file[PAGES * PS])
{
	struct bolt_meta m = {
		.page_size = PS, .root = LEAF_ROOT, .freelist = LIST, .high_water = PAGES, .txid = 2
	};
	struct bolt_page_head head = { .id = BRANCH, .flags = BOLT_PAGE_BRANCH, .count = 2 };
	uint8_t *p = file + BRANCH * PS;

	memset(file, 0, (size_t)PAGES * PS);
	bolt_meta_encode(&m, file);
	put_root(file + LEAF_ROOT * PS);
	bolt_page_head_write(p, &head);
	bolt_page_branch_write(p + 16, 32, 2, LOW);
	bolt_page_branch_write(p + 32, 18, 2, HIGH);
	memcpy(p + 48, "k1k5", 4);
	put_leaf(file, LOW, "k1", "k2");
	put_leaf(file, HIGH, "k5", "k6");
	put_leaf(file, SINGLE, "s1", "s2");
	head = (struct bolt_page_head){ .id = LIST, .flags = BOLT_PAGE_FREELIST, .count = 2 };
	p = file + LIST * PS;
	bolt_page_head_write(p, &head);
	k3_store64le(p + 16, 2);
	k3_store64le(p + 24, 9);
}

TEST(sound_file_has_no_findings)
{
	static uint8_t file[PAGES * PS];
	bool writable;

	make_sound(file);
	struct found f = check_image(file, sizeof(file), &writable);

	EQ_STR(f.text, "");
	EQ_INT(f.n, 0);
	CHECK(writable);
}

/* One byte of the file is changed each time. */
TEST(each_damage_is_found)
{
	static const struct {
		unsigned page, offset;
		uint8_t value;
		const char *text;
	} cases[] = {
		{ BRANCH, 10, 1, "page 4: branch with one child" },
		{ BRANCH, 10, 0, "branch without children" },
		{ BRANCH, 24, HIGH, "page 6 has a key above the next branch key" },
		{ BRANCH, 40, LOW, "page 5: used more than once" },
		{ BRANCH, 40, BRANCH, "page 4: used more than once" },
		{ BRANCH, 40, LEAF_ROOT, "page 3: used more than once" },
		{ BRANCH, 40, LIST, "page 8: used more than once" },
		{ BRANCH, 40, 9, "page 9: calls itself page 0" },
		{ BRANCH, 40, PAGES, "not one of the 10 pages" },
		{ BRANCH, 40, 1, "not one of the 10 pages" },
		{ BRANCH, 41, 1, "not one of the 10 pages" },
		{ BRANCH, 51, '4', "branch key is not its first key" },
		{ BRANCH, 51, '6', "page 6 has a key below its branch key" },
		{ BRANCH, 12, 1, "page 5: used more than once" },
		{ BRANCH, 12, 250, "overflow pages pass the end" },
		{ LOW, 10, 0, "page 5 is empty" },
		{ LOW, 51, '7', "page 5 has a key above the next branch key" },
		{ LOW, 51, '0', "key 1 is not above" },
		{ LOW, 0, 4, "page 5: calls itself page 4" },
		{ LOW, 8, 4, "neither branch nor leaf" },
		{ LOW, 16, 1, "is a bucket of only 0 bytes" },
		{ LEAF_ROOT, 65, SINGLE, "page 7: used more than once" },
		{ LEAF_ROOT, 65, LEAF_ROOT, "page 3: used more than once" },
		{ LEAF_ROOT, 106, 1, "element 1: inline bucket" },
		{ LEAF_ROOT, 114, 1, "inline bucket: holds a sub-bucket" },
		{ LEAF_ROOT, 118, 200, "inline bucket: element 0 lies outside" },
	};
	static uint8_t file[PAGES * PS];
	bool writable;

	for (size_t i = 0; i < K3_ARRAY_LEN(cases); i++) {
		make_sound(file);
		file[cases[i].page * PS + cases[i].offset] = cases[i].value;
		struct found f = check_image(file, sizeof(file), &writable);

		CHECK(f.n > 0);
		HAS_STR(f.text, cases[i].text);
		CHECK(!writable);
	}
}

/* Reading and writing find the cycle by themselves, without the check. */
TEST(cycles_end_in_an_error)
{
	static uint8_t file[PAGES * PS];
	struct bolt_bucket *b;
	struct bolt_db *db;
	struct bolt_txn *t;
	struct bolt_val v;
	struct k3_err err;
	int dir = help_dir();

	make_sound(file);
	file[BRANCH * PS + 10] = 1; /* one child: itself */
	file[BRANCH * PS + 24] = BRANCH;
	k3_store64le(file + LEAF_ROOT * PS + 148, LEAF_ROOT); /* "l" is the root bucket */
	help_write(dir, "a.db", file, sizeof(file));
	OK(bolt_open(dir, "a.db", BOLT_WRITE, 0, &db, &err));
	t = help_begin(db);
	OK(bolt_bucket_get(bolt_root(t), BOLT_STR("a"), &b, &err));
	FAILS(bolt_get(b, BOLT_STR("k1"), &v, &err), K3_STORE);
	HAS_STR(err.msg, "tree levels");
	FAILS(bolt_put(b, BOLT_STR("k1"), BOLT_STR(""), &err), K3_STORE);
	FAILS(bolt_bucket_get(bolt_root(t), BOLT_STR("l"), &b, &err), K3_STORE);
	HAS_STR(err.msg, "belongs to another bucket");
	bolt_close(db);
	close(dir);
}

/* A wrong list is a problem, but a small file is walked and can still be written. */
TEST(wrong_freelists_are_found)
{
	static const struct {
		unsigned offset;
		uint8_t value;
		const char *text;
		bool problem, writable;
	} cases[] = {
		{ 16, LOW, "page 5: listed as free, but reachable", true, true },
		{ 16, 9, "page 9: listed as free twice", true, true },
		{ 16, 77, "page 77: listed as free, but not in use", true, true },
		{ 16, 0, "page 0: listed as free, but not in use", true, true },
		{ 16, LIST, "page 8: listed as free, but reachable", true, true },
		{ 10, 1, "1 pages are neither reachable nor listed as free, the first: 9", false,
		  true },
		{ 10, 200, "no room for its 200 entries", true, false },
		{ 12, 2, "overflow pages pass the end", true, false },
		{ 8, 2, "no freelist", true, false },
		{ 0, 2, "no freelist", true, false },
	};
	static uint8_t file[PAGES * PS];
	bool writable;

	for (size_t i = 0; i < K3_ARRAY_LEN(cases); i++) {
		make_sound(file);
		file[LIST * PS + cases[i].offset] = cases[i].value;
		struct found f = check_image(file, sizeof(file), &writable);

		EQ_INT(f.n > 0, cases[i].problem);
		HAS_STR(f.text, cases[i].text);
		EQ_INT(writable, cases[i].writable);
	}
}

/* The long form of the count. */
TEST(long_freelist_is_read)
{
	static uint8_t file[PAGES * PS];
	struct bolt_page_head head = { .id = LIST, .flags = BOLT_PAGE_FREELIST, .count = 0xffff };
	uint8_t *p = file + LIST * PS;
	bool writable;

	make_sound(file);
	bolt_page_head_write(p, &head);
	k3_store64le(p + 16, 2);
	k3_store64le(p + 24, 9);
	k3_store64le(p + 32, 2);
	struct found f = check_image(file, sizeof(file), &writable);

	EQ_STR(f.text, "");
	k3_store64le(p + 16, PS / 8 - 2);
	f = check_image(file, sizeof(file), &writable);
	HAS_STR(f.text, "no room for its 126 entries");
}

/* Walking, reading and writing a file with random damage ends, whatever comes out. */
TEST(random_damage_is_survived)
{
	static uint8_t file[PAGES * PS];
	struct model_rng r = { .state = 4711 };
	struct bolt_port port;
	struct bolt_db *db;
	struct bolt_txn *t;
	struct k3_err err;
	int dir = help_dir();

	for (int i = 0; i < 3000; i++) {
		make_sound(file);
		for (uint32_t k = model_rand(&r, 4) + 1; k; k--)
			file[(3 + model_rand(&r, 7)) * PS + model_rand(&r, 160)] =
				(uint8_t)model_rand(&r, model_rand(&r, 2) ? 12 : 256);
		help_write(dir, "a.db", file, sizeof(file));
		OK(bolt_open_with(dir, "a.db", BOLT_WRITE, 0, help_fast(&port), 0, &db, &err));
		OK(bolt_begin(db, true, &t, &err));
		struct model *m = model_load(bolt_root(t), &err);

		static const struct model_shape s = { 5, 300, 0, 2, 40 };

		for (int k = 0; m && k < 10; k++)
			if (model_op(&r, &s, m, bolt_root(t), &err))
				break;
		/* What was written at all started from a sound state. */
		if (!bolt_commit(t, &err) && help_stat(db).txid > 2)
			EQ_INT(help_check(db), 0);
		model_free(m);
		bolt_close(db);
	}
	close(dir);
}

TEST(sound_files_and_others)
{
	uint8_t file[PAGES * PS];
	uint64_t known = 0;
	struct bolt_db *db;
	struct k3_err err;
	int dir = help_dir();

	make_sound(file);
	help_write(dir, "a.db", file, sizeof(file));
	OK(bolt_open(dir, "a.db", BOLT_READ, 0, &db, &err));
	OK(bolt_sound(db, &known, &err));
	CHECK(known);
	bolt_close(db);
	/* A stored freelist that names a page in use: bbolt would write over it. */
	k3_store64le(file + LIST * PS + 16, LOW);
	help_write(dir, "a.db", file, sizeof(file));
	OK(bolt_open(dir, "a.db", BOLT_READ, 0, &db, &err));
	/* The same transaction is not looked at twice. */
	OK(bolt_sound(db, &known, &err));
	known--;
	FAILS(bolt_sound(db, &known, &err), K3_STORE);
	HAS_STR(err.msg, "a.db: damaged, not changed: page 5: listed as free, but reachable");
	HAS_STR(err.hint, "backup");
	known = 0;
	FAILS(bolt_sound(db, &known, &err), K3_STORE);
	EQ_INT(known, 0);
	bolt_close(db);
	/* With the last number there is nobody could commit any more. */
	struct bolt_meta last = { .page_size = PS,
				  .root = LEAF_ROOT,
				  .freelist = LIST,
				  .high_water = PAGES,
				  .txid = UINT64_MAX };

	make_sound(file);
	bolt_meta_encode(&last, file);
	help_write(dir, "a.db", file, sizeof(file));
	OK(bolt_open(dir, "a.db", BOLT_READ, 0, &db, &err));
	FAILS(bolt_sound(db, &known, &err), K3_STORE);
	HAS_STR(err.msg, "transactions");
	bolt_close(db);
	close(dir);
}

TEST(space_hands_out_each_page_once)
{
	struct bolt_space s = { .high_water = 200, .max = 3000, .single = 2, .run = 2 };
	struct bolt_pageset given = { 0 };
	struct model_rng r = { .state = 8 };
	struct k3_err err;

	OK(bolt_pageset_init(&s.free, 200, &err));
	OK(bolt_pageset_init(&given, 2000, &err));
	for (uint64_t i = 2; i < 200; i++)
		if (i % 7 && (i < 70 || i > 140))
			bolt_pageset_add(&s.free, i);
	struct bolt_pageset all = s.free;
	uint64_t words[4];

	memcpy(words, s.free.words, sizeof(words));
	all.words = words;
	for (int i = 0; i < 150; i++) {
		uint64_t n = model_rand(&r, 3) ? 1 : 2 + model_rand(&r, 7), id;

		OK(bolt_space_take(&s, n, &id, &err));
		for (uint64_t k = id; k < id + n; k++) {
			CHECK(!bolt_pageset_has(&given, k));
			CHECK(k >= 200 || bolt_pageset_has(&all, k));
			bolt_pageset_add(&given, k);
		}
	}
	s.high_water = s.max - 1;
	uint64_t id;

	FAILS(bolt_space_take(&s, 20, &id, &err), K3_LIMIT);
	bolt_space_release(&s);
	bolt_pageset_release(&given);
}

UNIT_MAIN
