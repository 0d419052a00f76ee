/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/json.h"
#include "base/thread.h"

static int parse(const char *text, struct k3_json_doc **doc, struct k3_err *e)
{
	return k3_json_parse(text, strlen(text), doc, e);
}

TEST(json_values)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct k3_err err;
	uint64_t n = 7;

	OK(parse(" {\"s\":\"\\u00e9\",\"n\":9223372036854775807,\"a\":[1,[]],\"t\":true,"
		 "\"z\":null,\"neg\":-1,\"r\":1.0}",
		 &doc, &err));
	const struct k3_json *root = k3_json_root(doc), *a = k3_json_get(root, "a");

	CHECK(k3_json_is_obj(root) && !k3_json_is_arr(root));
	EQ_STR(k3_json_str(k3_json_get(root, "s")), "\xc3\xa9");
	CHECK(k3_json_u64(k3_json_get(root, "n"), &n));
	EQ_INT(n, INT64_MAX);
	CHECK(!k3_json_u64(k3_json_get(root, "neg"), &n));
	CHECK(!k3_json_u64(k3_json_get(root, "r"), &n));
	CHECK(!k3_json_u64(k3_json_get(root, "s"), &n));
	EQ_INT(n, INT64_MAX);
	EQ_INT(k3_json_len(a), 2);
	CHECK(k3_json_is_arr(k3_json_at(a, 1)));
	CHECK(!k3_json_at(a, 2));
	CHECK(k3_json_true(k3_json_get(root, "t")));
	CHECK(!k3_json_true(k3_json_get(root, "n")));
	CHECK(k3_json_is_null(k3_json_get(root, "z")));
	CHECK(!k3_json_is_null(k3_json_get(root, "t")));
}

TEST(json_lookups_chain_through_nothing)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct k3_err err;
	uint64_t n;

	OK(parse("[1]", &doc, &err));
	const struct k3_json *none = k3_json_get(k3_json_get(k3_json_root(doc), "a"), "b");

	CHECK(!none && !k3_json_at(none, 0) && !k3_json_str(none) && !k3_json_true(none));
	CHECK(!k3_json_is_obj(none) && !k3_json_is_arr(none) && !k3_json_is_null(none));
	CHECK(!k3_json_u64(none, &n));
	EQ_INT(k3_json_len(none), 0);
	EQ_INT(k3_json_len(k3_json_at(k3_json_root(doc), 0)), 0);
}

TEST(json_refuses)
{
	static const char *const bad[] = {
		"",
		" ",
		"{",
		"[1,]",
		"{\"a\":1,}",
		"nul",
		"{'a':1}",
		"\"x",
		"[01]",
		"[1]x",
		"{\"a\":1,\"a\":2}",
		"[\"\\u0000\"]",
		"[\"\xff\"]",
		"[\"\\ud800\"]",
		"[1e999]",
		"[9223372036854775808]",
		"[NaN]",
		"7",
		"[\"\n\"]",
		"[\"\\",
	};
	struct k3_json_doc *doc;
	struct k3_err err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		FAILS(parse(bad[i], &doc, &err), K3_FORMAT);
		HAS_STR(err.msg, "not valid JSON");
	}
	FAILS(k3_json_parse("[1]\0", 4, &doc, &err), K3_FORMAT);
	FAILS(k3_json_parse("[1\0]", 4, &doc, &err), K3_FORMAT);
	HAS_STR(err.msg, "NUL at byte 2");
	FAILS(parse("[1,\n @]", &doc, &err), K3_FORMAT);
	HAS_STR(err.msg, "line 2, column 2");
}

static void nest(struct k3_buf *b, unsigned depth)
{
	struct k3_err err;

	k3_buf_reset(b);
	for (unsigned i = 0; i < depth; i++)
		OK(k3_buf_addf(b, &err, "%s", i % 2 ? "{\"a\":" : "["));
	OK(k3_buf_addf(b, &err, "1"));
	for (unsigned i = depth; i > 0; i--)
		OK(k3_buf_addf(b, &err, "%s", i % 2 ? "]" : "}"));
}

static void parse_on_thread(void *arg)
{
	struct k3_buf *b = arg;
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct k3_err err;

	OK(k3_json_parse(b->p, b->len, &doc, &err));
}

TEST(json_depth_fits_a_thread)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(1 << 20);
	struct k3_json_doc *doc;
	struct k3_thread *t = NULL;
	struct k3_err err;

	nest(&b, K3_JSON_DEPTH_MAX);
	OK(k3_thread_start(parse_on_thread, &b, &t, &err));
	k3_thread_join(t);
	nest(&b, K3_JSON_DEPTH_MAX + 1);
	FAILS(k3_json_parse(b.p, b.len, &doc, &err), K3_LIMIT);
	HAS_STR(err.msg, "100 levels");
}

TEST(json_values_are_limited)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(1 << 20);
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct k3_json_doc *none;
	struct k3_err err;

	OK(k3_buf_add(&b, "[1", 2, &err));
	for (int i = 0; i < K3_JSON_VALUES_MAX - 2; i++)
		OK(k3_buf_add(&b, ",1", 2, &err));
	OK(k3_buf_add(&b, ",1]", 3, &err));
	FAILS(k3_json_parse(b.p, b.len, &none, &err), K3_LIMIT);
	b.p[b.len - 3] = ' ';
	b.p[b.len - 2] = ' ';
	OK(k3_json_parse(b.p, b.len, &doc, &err));
}

/* Brackets, commas and quotes inside strings are text. */
TEST(json_limits_ignore_strings)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(1 << 20);
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct k3_err err;

	OK(k3_buf_add(&b, "[\"", 2, &err));
	for (int i = 0; i < K3_JSON_VALUES_MAX; i++)
		OK(k3_buf_addf(&b, &err, "%s", i % 2 ? "[\\\"" : "{,\\\\"));
	OK(k3_buf_add(&b, "\"]", 2, &err));
	OK(k3_json_parse(b.p, b.len, &doc, &err));
	k3_json_free(doc);
	doc = NULL;
	OK(parse("[\"\\\"[[\\\\\",\"]\"]", &doc, &err));
	EQ_STR(k3_json_str(k3_json_at(k3_json_root(doc), 0)), "\"[[\\");
}

struct seen {
	char keys[64];
	int left;
};

static bool note(void *arg, const char *key, const struct k3_json *v)
{
	struct seen *s = arg;

	CHECK(v != NULL);
	strcat(s->keys, key);
	return --s->left > 0;
}

TEST(json_each)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct seen all = { .left = 9 }, two = { .left = 2 }, none = { .left = 9 };
	struct k3_err err;

	OK(parse("{\"z\":1,\"a\":2,\"m\":[3]}", &doc, &err));
	k3_json_each(k3_json_root(doc), note, &all);
	EQ_STR(all.keys, "zam");
	k3_json_each(k3_json_root(doc), note, &two);
	EQ_STR(two.keys, "za");
	k3_json_each(k3_json_get(k3_json_root(doc), "m"), note, &none);
	k3_json_each(NULL, note, &none);
	EQ_STR(none.keys, "");
}

TEST(json_writer)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(4096);
	struct k3_jw w = K3_JW(&b);
	struct k3_err err;

	k3_jw_obj(&w, NULL);
	k3_jw_str(&w, "s", "a\"\\\n\x1b\x7f\xc3\xa9");
	k3_jw_str(&w, "none", NULL);
	k3_jw_u64(&w, "n", UINT64_MAX);
	k3_jw_bool(&w, "b", true);
	k3_jw_arr(&w, "empty");
	k3_jw_close_arr(&w);
	k3_jw_arr(&w, "list");
	k3_jw_u64(&w, NULL, 1);
	k3_jw_obj(&w, NULL);
	k3_jw_close_obj(&w);
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	OK(k3_jw_end(&w, &err));
	EQ_STR((char *)b.p, "{\n  \"s\": \"a\\\"\\\\\\u000a\\u001b\\u007f\xc3\xa9\",\n"
			    "  \"none\": null,\n  \"n\": 18446744073709551615,\n  \"b\": true,\n"
			    "  \"empty\": [],\n  \"list\": [\n    1,\n    {}\n  ]\n}\n");
}

TEST(json_writer_copies_values)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(4096);
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct k3_jw w = K3_JW(&b);
	struct k3_err err;

	OK(parse("{\"z\": [1, -2, 0.5, null, true, {}], \"a\": \"x\\n\\u00e9\"}", &doc, &err));
	k3_jw_arr(&w, NULL);
	k3_jw_value(&w, NULL, k3_json_root(doc));
	k3_jw_close_arr(&w);
	OK(k3_jw_end(&w, &err));
	EQ_STR((char *)b.p,
	       "[\n  {\n    \"z\": [\n      1,\n      -2,\n      0.5,\n      null,\n"
	       "      true,\n      {}\n    ],\n    \"a\": \"x\\u000a\xc3\xa9\"\n  }\n]\n");
}

TEST(json_writer_keeps_the_first_failure)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(6);
	struct k3_jw w = K3_JW(&b);
	struct k3_err err;

	k3_jw_arr(&w, NULL);
	k3_jw_str(&w, NULL, "much too long");
	k3_jw_close_arr(&w);
	FAILS(k3_jw_end(&w, &err), K3_LIMIT);
}

TEST(writer_makes_text_of_anything)
{
	struct k3_buf b = K3_BUF(4096);
	struct k3_jw w = K3_JW(&b);
	struct k3_err err;

	k3_jw_str(&w, NULL, "\xff|\xe2\x82|\xc0\xaf|\xc2\x9b|\xe2\x80\xae|\xf0\x9f\x98\x80");
	OK(k3_jw_end(&w, &err));
	EQ_STR((char *)b.p, "\"\\ufffd|\\ufffd\\ufffd|\\ufffd\\ufffd|\\u009b|\\u202e|"
			    "\xf0\x9f\x98\x80\"\n");
	k3_buf_release(&b);
}

UNIT_MAIN
