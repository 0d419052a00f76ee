/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_text.h"

#include "base/mem.h"
#include "tests/unit/unit.h"

#define OUT_MAX 65536

static const char *written(const struct k3_jt *t, struct k3_buf *out)
{
	struct k3_err err;

	k3_buf_reset(out);
	OK(k3_jt_write(t, out, &err));
	return (const char *)out->p;
}

TEST(text_stays)
{
	static const char *const texts[] = {
		"{ }", " [ 1 , 2.50e+01 ,\n\t18446744073709551615 ] \n",   "\"\\u00e9\\/\"",
		"-0",  "{\"a\" : { \"b\":[ ] , \"c\" :null},\"a\":true }", "[[[[]]],{}]",
	};
	K3_AUTO_BUF struct k3_buf out = K3_BUF(OUT_MAX);
	struct k3_err err;

	for (size_t i = 0; i < K3_ARRAY_LEN(texts); i++) {
		K3_AUTO_JT struct k3_jt t = { 0 };

		OK(k3_jt_parse(texts[i], strlen(texts[i]), &t, &err));
		CHECK(!k3_jt_changed(&t));
		EQ_STR(written(&t, &out), texts[i]);
	}
}

TEST(malformed)
{
	static const char *const texts[] = {
		"",   "{",   "[1,]",    "{\"a\":1,}", "{a:1}",    "[1 2]", "01",      "1.",
		"+1", "tru", "\"\\x\"", "\"\\u12\"",  "\"a\nb\"", "\"a",   "{\"a\"}", "[}",
		"{]", "1 1", "[1]]",    "1e",         "-",        "nullx", "{\"a\":", "[\"a\" : 1]",
	};
	struct k3_err err;

	for (size_t i = 0; i < K3_ARRAY_LEN(texts); i++) {
		K3_AUTO_JT struct k3_jt t = { 0 };

		FAILS(k3_jt_parse(texts[i], strlen(texts[i]), &t, &err), K3_FORMAT);
		CHECK(!t.nodes);
	}
}

TEST(depth_has_a_limit)
{
	char text[2 * (K3_JT_DEPTH_MAX + 1)];
	struct k3_err err;

	for (size_t depth = K3_JT_DEPTH_MAX; depth <= K3_JT_DEPTH_MAX + 1; depth++) {
		K3_AUTO_JT struct k3_jt t = { 0 };

		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		if (depth == K3_JT_DEPTH_MAX)
			OK(k3_jt_parse(text, 2 * depth, &t, &err));
		else
			FAILS(k3_jt_parse(text, 2 * depth, &t, &err), K3_LIMIT);
	}
}

/* Drops the members or elements whose bit is set. */
static const char *without(const char *text, unsigned which, struct k3_buf *out)
{
	K3_AUTO_JT struct k3_jt t = { 0 };
	struct k3_err err;
	unsigned i = 0;

	OK(k3_jt_parse(text, strlen(text), &t, &err));
	for (uint32_t at = k3_jt_first(&t, 0); at != K3_JT_NONE; at = k3_jt_next(&t, at), i++)
		if (which & 1u << i)
			k3_jt_drop(&t, at);
	CHECK(k3_jt_changed(&t) == (which != 0));
	return written(&t, out);
}

TEST(members_are_dropped)
{
	static const char object[] = "{ \"a\":1 , \"b\": 2,\n \"c\" :3 }";
	K3_AUTO_BUF struct k3_buf out = K3_BUF(OUT_MAX);

	EQ_STR(without(object, 0, &out), object);
	EQ_STR(without(object, 1, &out), "{ \"b\": 2,\n \"c\" :3 }");
	EQ_STR(without(object, 2, &out), "{ \"a\":1,\n \"c\" :3 }");
	EQ_STR(without(object, 3, &out), "{\n \"c\" :3 }");
	EQ_STR(without(object, 4, &out), "{ \"a\":1 , \"b\": 2 }");
	EQ_STR(without(object, 5, &out), "{ \"b\": 2 }");
	EQ_STR(without(object, 6, &out), "{ \"a\":1 }");
	EQ_STR(without(object, 7, &out), "{ }");
	EQ_STR(without("[1,2,3]", 2, &out), "[1,3]");
	EQ_STR(without("[1,2,3]", 7, &out), "[]");
}

TEST(values_are_replaced_deep_inside)
{
	static const char text[] = "{\"a\":{\"x\":[1,{\"y\":-998},3]},\"z\":1.0}";
	K3_AUTO_BUF struct k3_buf out = K3_BUF(OUT_MAX);
	K3_AUTO_JT struct k3_jt t = { 0 };
	struct k3_err err;
	int64_t v;

	OK(k3_jt_parse(text, strlen(text), &t, &err));
	uint32_t x = k3_jt_get(&t, k3_jt_get(&t, 0, "a"), "x");
	uint32_t y = k3_jt_get(&t, k3_jt_next(&t, k3_jt_first(&t, x)), "y");

	CHECK(k3_jt_int(&t, y, &v));
	EQ_INT(v, -998);
	k3_jt_replace(&t, y, "0");
	EQ_STR(written(&t, &out), "{\"a\":{\"x\":[1,{\"y\":0},3]},\"z\":1.0}");
}

TEST(strings_and_numbers)
{
	static const char text[] =
		"{\"\\u0061b\\n\":\"\\u00e9\\ud83d\\ude00\\t\\\"\",\"n\":\"\\u0000\","
		"\"i\":[9223372036854775807,-9223372036854775808,"
		"9223372036854775808,1.0,\"1\"],\"a\":1,\"a\":2}";
	K3_AUTO_JT struct k3_jt t = { 0 };
	struct k3_err err;
	int64_t v;

	OK(k3_jt_parse(text, strlen(text), &t, &err));
	CHECK(k3_jt_is(&t, k3_jt_get(&t, 0, "ab\n"), "\xc3\xa9\xf0\x9f\x98\x80\t\""));
	CHECK(!k3_jt_str(&t, k3_jt_get(&t, 0, "n")));
	CHECK(!k3_jt_str(&t, k3_jt_get(&t, 0, "i")));
	EQ_INT(k3_jt_get(&t, 0, "none"), K3_JT_NONE);
	uint32_t i = k3_jt_first(&t, k3_jt_get(&t, 0, "i"));

	CHECK(k3_jt_int(&t, i, &v) && v == INT64_MAX);
	i = k3_jt_next(&t, i);
	CHECK(k3_jt_int(&t, i, &v) && v == INT64_MIN);
	for (i = k3_jt_next(&t, i); i != K3_JT_NONE; i = k3_jt_next(&t, i))
		CHECK(!k3_jt_int(&t, i, &v));
	CHECK(k3_jt_int(&t, k3_jt_get(&t, 0, "a"), &v) && v == 2);
	CHECK(!k3_jt_int(&t, K3_JT_NONE, &v));
}

UNIT_MAIN
