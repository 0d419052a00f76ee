/* SPDX-License-Identifier: Apache-2.0 */
/* Page layout byte for byte, and pages that must be refused. */
#include "base/bytes.h"
#include "bolt/page.h"
#include "tests/unit/bolt_help.h"

/* One bucket zz with k -> v, as bbolt writes it. */
/* clang-format off */
static const uint8_t worked_example[84] = {
	/* header */
	0x04, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0x01, 0, 0, 0, 0, 0,
	/* element */
	0x01, 0, 0, 0, 0x10, 0, 0, 0, 0x02, 0, 0, 0, 0x32, 0, 0, 0,
	/* key, root page, sequence */
	'z', 'z', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	/* inline page: header, element, key, value */
	0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0x01, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0x10, 0, 0, 0, 0x01, 0, 0, 0, 0x01, 0, 0, 0,
	'k', 'v',
};
/* clang-format on */

TEST(inline_bucket_is_laid_out_as_by_bbolt)
{
	struct k3_err err;
	struct bolt_db *db;
	int dir = help_dir();

	OK(bolt_open_with(dir, "a.db", RW, 0600, NULL, 4096, &db, &err));
	struct bolt_txn *t = help_begin(db);

	help_put(help_make(bolt_root(t), "zz"), "k", "v");
	OK(bolt_commit(t, &err));
	bolt_close(db);
	struct bytes b = help_read(dir, "a.db");

	EQ_INT(k3_load64le(b.p + 32), 4);
	EQ_INT(k3_load64le(b.p + 56), 5);
	EQ_INT(k3_load64le(b.p + 64), 2);
	EQ_INT(k3_load64le(b.p + 48), -1);
	EQ_INT(b.n, 32768);
	CHECK(!memcmp(b.p + 0x4000, worked_example, sizeof(worked_example)));
	for (size_t i = 0x4000 + sizeof(worked_example); i < b.n; i++)
		if (b.p[i])
			unit_fail(__FILE__, __LINE__, "byte %zu is not zero", i);
	free(b.p);
	close(dir);
}

TEST(empty_bucket_has_32_bytes)
{
	struct k3_err err;
	struct bolt_db *db;
	int dir = help_dir();

	OK(bolt_open_with(dir, "a.db", RW, 0600, NULL, 4096, &db, &err));
	struct bolt_txn *t = help_begin(db);

	OK(bolt_set_sequence(help_make(bolt_root(t), "e"), 7, &err));
	OK(bolt_commit(t, &err));
	bolt_close(db);
	struct bytes b = help_read(dir, "a.db");
	struct bolt_page pg;

	OK(bolt_page_parse(b.p + 0x4000, 4096, &pg, &err));
	EQ_INT(pg.n, 1);
	CHECK(bolt_page_is_bucket(&pg, 0));
	EQ_INT(bolt_page_value(&pg, 0).n, 32);
	EQ_INT(k3_load64le((const uint8_t *)bolt_page_value(&pg, 0).p + 8), 7);
	free(b.p);
	close(dir);
}

TEST(worked_example_is_read)
{
	struct bolt_page pg, sub;
	struct k3_err err;

	OK(bolt_page_parse(worked_example, sizeof(worked_example), &pg, &err));
	struct bolt_val v = bolt_page_value(&pg, 0);

	OK(bolt_page_parse_inline((const uint8_t *)v.p + 16, v.n - 16, &sub, &err));
	EQ_INT(sub.n, 1);
	CHECK(!bolt_val_cmp(bolt_page_key(&sub, 0), model_str("k")));
	CHECK(!bolt_val_cmp(bolt_page_value(&sub, 0), model_str("v")));
	FAILS(bolt_page_parse(worked_example, 83, &pg, &err), K3_STORE);
}

/* Two plain elements a -> 1, b -> 2 in a page of 64 bytes. */
static void two_elements(uint8_t p[64])
{
	struct bolt_page_head head = { .id = 5, .flags = BOLT_PAGE_LEAF, .count = 2 };

	memset(p, 0, 64);
	bolt_page_head_write(p, &head);
	bolt_page_leaf_write(p + 16, false, 32, 1, 1);
	bolt_page_leaf_write(p + 32, false, 18, 1, 1);
	memcpy(p + 48, "a1b2", 4);
}

TEST(broken_leaves_are_refused)
{
	static const struct {
		size_t offset;
		uint32_t value;
		const char *text;
	} cases[] = {
		{ 8, 0x00020003, "flags" },    { 8, 0x00020010, "flags" },
		{ 8, 0x00040002, "no room" },  { 8, 0xffff0002, "no room" },
		{ 20, 48, "outside" },         { 20, 0xffffffff, "outside" },
		{ 24, 0, "key of 0" },         { 24, 0xffffffff, "outside" },
		{ 28, 0xffffffff, "outside" }, { 28, 14, "overlap" },
		{ 36, 16, "not above" },       { 16, 2, "unknown flags" },
		{ 16, 1, "bucket of only 1" },
	};
	struct bolt_page pg;
	struct k3_err err;
	uint8_t p[64];

	two_elements(p);
	OK(bolt_page_parse(p, sizeof(p), &pg, &err));
	for (size_t i = 0; i < K3_ARRAY_LEN(cases); i++) {
		two_elements(p);
		k3_store32le(p + cases[i].offset, cases[i].value);
		FAILS(bolt_page_parse(p, sizeof(p), &pg, &err), K3_STORE);
		HAS_STR(err.msg, cases[i].text);
	}
	FAILS(bolt_page_parse(p, 15, &pg, &err), K3_STORE);
}

TEST(broken_branches_are_refused)
{
	struct bolt_page_head head = { .id = 5, .flags = BOLT_PAGE_BRANCH, .count = 1 };
	struct bolt_page pg;
	struct k3_err err;
	uint8_t p[40] = { 0 };

	bolt_page_head_write(p, &head);
	bolt_page_branch_write(p + 16, 16, 1, 9);
	p[32] = 'a';
	OK(bolt_page_parse(p, sizeof(p), &pg, &err));
	EQ_INT(bolt_page_child(&pg, 0), 9);
	k3_store32le(p + 16, 24);
	FAILS(bolt_page_parse(p, sizeof(p), &pg, &err), K3_STORE);
	head.count = 0;
	bolt_page_head_write(p, &head);
	FAILS(bolt_page_parse(p, sizeof(p), &pg, &err), K3_STORE);
	FAILS(bolt_page_parse_inline(p, sizeof(p), &pg, &err), K3_STORE);
}

TEST(values_compare_like_bbolt_keys)
{
	CHECK(bolt_val_cmp(model_str("a"), model_str("b")) < 0);
	CHECK(bolt_val_cmp(model_str("a"), model_str("aa")) < 0);
	CHECK(bolt_val_cmp(model_str("\x80"), model_str("\x7f")) > 0);
	CHECK(bolt_val_cmp(model_str(""), (struct bolt_val){ NULL, 0 }) == 0);
	CHECK(bolt_val_cmp(model_str("b"), model_str("aa")) > 0);
}

UNIT_MAIN
