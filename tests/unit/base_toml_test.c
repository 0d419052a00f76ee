/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/toml.h"

static struct k3_toml_doc *parse(const char *text)
{
	struct k3_toml_doc *doc = NULL;
	struct k3_err err;

	OK(k3_toml_parse(text, strlen(text), &doc, &err));
	return doc;
}

/* Value of key `k` in a document as text. */
static void is_str(const char *text, const char *want)
{
	K3_AUTO_TOML struct k3_toml_doc *doc = parse(text);

	if (doc)
		EQ_STR(k3_toml_str(k3_toml_get(k3_toml_root(doc), "k")), want);
}

static void is_int(const char *text, int64_t want)
{
	K3_AUTO_TOML struct k3_toml_doc *doc = parse(text);
	int64_t got = 0;

	if (!doc)
		return;
	CHECK(k3_toml_int(k3_toml_get(k3_toml_root(doc), "k"), &got));
	EQ_INT(got, want);
}

static void is_text(const char *text, enum k3_toml_kind kind, const char *want)
{
	K3_AUTO_TOML struct k3_toml_doc *doc = parse(text);
	const struct k3_toml *v = doc ? k3_toml_get(k3_toml_root(doc), "k") : NULL;

	CHECK(v && k3_toml_kind(v) == kind);
	EQ_STR(k3_toml_text(v), want);
}

static void is_bad(const char *text, const char *why)
{
	struct k3_toml_doc *doc = NULL;
	struct k3_err err;

	FAILS(k3_toml_parse(text, strlen(text), &doc, &err), K3_FORMAT);
	if (doc)
		unit_fail(__FILE__, __LINE__, "parsed: %s", text);
	else
		HAS_STR(err.msg, why);
	k3_toml_free(doc);
}

TEST(strings)
{
	is_str("k = \"a\\tb\\n\\\"\\\\\\u00e9\\U0001F600\"", "a\tb\n\"\\\xc3\xa9\xf0\x9f\x98\x80");
	is_str("k = 'C:\\n'", "C:\\n");
	is_str("k = \"\"", "");
	is_str("k = \"\"\"\nx\n  y\"\"\"", "x\n  y");
	is_str("k = \"\"\"x \\\n \n  y\"\"\"", "x y");
	is_str("k = \"\"\"\"\"a\"\"\"\"\"", "\"\"a\"\"");
	is_str("k = '''\r\nx\r\n'''\r\n", "x\n");
	is_str("k = ''''a'''''", "'a''");
	is_bad("k = \"a\nb\"", "line 1: string without an end");
	is_bad("\n\nk = 'a", "line 3: string without an end");
	is_bad("k = \"\\x\"", "unknown escape");
	is_bad("k = \"\\ud800\"", "no Unicode character");
	is_bad("k = \"\\u0000\"", "U+0000");
	is_bad("k = \"\\u12\"", "malformed \\u");
	is_bad("k = \"\"\"a\"\"\"\"\"\"", "unexpected text");
	is_bad("k = 'a\x01'", "control character");
	is_bad("k = 'a\xff'", "malformed UTF-8");
	is_bad("k = 'a\xed\xa0\x80'", "malformed UTF-8");
	is_bad("k = 1\rl = 2", "control character");
}

TEST(numbers)
{
	is_int("k = 0", 0);
	is_int("k = -17", -17);
	is_int("k = +1_000", 1000);
	is_int("k = 0xDEAD_beef", 0xdeadbeef);
	is_int("k = 0o17", 15);
	is_int("k = 0b101", 5);
	is_int("k = 9223372036854775807", INT64_MAX);
	is_int("k = -9223372036854775808", INT64_MIN);
	is_bad("k = 9223372036854775808", "out of range");
	is_bad("k = 01", "malformed value");
	is_bad("k = 1__0", "malformed value");
	is_bad("k = 1_", "malformed value");
	is_bad("k = +0x1", "unexpected text");
	is_bad("k = 0x", "malformed value");
	is_bad("k = ", "malformed value");
	is_text("k = 3.14", K3_TOML_FLOAT, "3.14");
	is_text("k = -2e-0_2", K3_TOML_FLOAT, "-2e-0_2");
	is_text("k = +inf", K3_TOML_FLOAT, "+inf");
	is_text("k = nan", K3_TOML_FLOAT, "nan");
	is_bad("k = 1.", "floating-point");
	is_bad("k = .5", "malformed value");
	is_bad("k = 1e", "floating-point");
}

TEST(times)
{
	is_text("k = 1979-05-27T07:32:00.99-07:00", K3_TOML_TIME, "1979-05-27T07:32:00.99-07:00");
	is_text("k = 1979-05-27 07:32:00z", K3_TOML_TIME, "1979-05-27 07:32:00z");
	is_text("k = 1979-05-27T07:32:00", K3_TOML_TIME, "1979-05-27T07:32:00");
	is_text("k = 2000-02-29 # leap", K3_TOML_TIME, "2000-02-29");
	is_text("k = 23:59:59.5", K3_TOML_TIME, "23:59:59.5");
	is_bad("k = 1900-02-29", "date or time");
	is_bad("k = 1979-13-01", "date or time");
	is_bad("k = 24:00:00", "date or time");
	is_bad("k = 12:00", "date or time");
}

TEST(tables)
{
	static const char text[] = "a.b = true\na.c = 2\n[t.\"x.y\"]\nk = 'v'\n[t]\nz = [1, 'two', "
				   "[3]]\n[[l]]\nn = 1\n[l.sub]\nq = 1\n[[l]]\nn = 2\n"
				   "[i]\nt = { a = 1, b.c = 'x' }\n";
	static const char *const path[] = { "t", "x.y", "k" };
	K3_AUTO_TOML struct k3_toml_doc *doc = parse(text);
	const struct k3_toml *root = k3_toml_root(doc), *l = k3_toml_get(root, "l");
	int64_t n;
	bool b;

	CHECK(k3_toml_bool(k3_toml_get(k3_toml_get(root, "a"), "b"), &b) && b);
	EQ_STR(k3_toml_str(k3_toml_path(root, path, 3)), "v");
	EQ_INT(k3_toml_len(k3_toml_get(k3_toml_get(root, "t"), "z")), 3);
	EQ_STR(k3_toml_str(k3_toml_at(k3_toml_get(k3_toml_get(root, "t"), "z"), 1)), "two");
	EQ_INT(k3_toml_len(l), 2);
	CHECK(k3_toml_int(k3_toml_get(k3_toml_at(l, 1), "n"), &n));
	EQ_INT(n, 2);
	EQ_STR(k3_toml_key(root, 1), "t");
	CHECK(!k3_toml_get(root, "nothing") && !k3_toml_get(NULL, "x") && !k3_toml_at(l, 2));
	CHECK(!k3_toml_str(l) && !k3_toml_text(l) && !k3_toml_key(l, 0));
}

TEST(defined_twice)
{
	is_bad("a = 1\na = 2", "line 2: key defined twice");
	is_bad("a = 1\n\"a\" = 2", "key defined twice");
	is_bad("[a]\n[a]", "table defined twice");
	is_bad("[a]\nb = 1\n[a.b]", "table defined twice");
	is_bad("a.b = 1\n[a]", "table defined twice");
	is_bad("[a.b]\n[a]\nb.c = 1", "defined elsewhere");
	is_bad("a = {}\n[a.b]", "no open table");
	is_bad("a = {b = {}, b.c = 1}", "defined elsewhere");
	is_bad("a = []\n[[a]]", "no array of tables");
	is_bad("[a]\n[[a]]", "no array of tables");
	is_bad("[[a]]\n[a]", "table defined twice");
	is_bad("a = [{b = 1}]\n[a.c]", "no open table");
}

TEST(malformed)
{
	is_bad("a", "'=' expected");
	is_bad("= 1", "key expected");
	is_bad("a = 1 b = 2", "unexpected text");
	is_bad("[a", "']' expected");
	is_bad("[[a]", "']' expected");
	is_bad("[a] x", "unexpected text");
	is_bad("a = [1 2]", "',' or ']'");
	is_bad("a = [1", "',' or ']'");
	is_bad("a = {b = 1", "',' or '}'");
	is_bad("a = {b = 1,}", "key expected");
	is_bad("a = {b = 1,\n}", "key expected");
	is_bad("\"\"\"a\"\"\" = 1", "multi-line");
	is_bad("a = True", "malformed value");
}

TEST(limits)
{
	K3_AUTO_FREE char *big = k3_xcalloc(K3_TOML_SIZE_MAX + 2, 1);
	struct k3_toml_doc *doc = NULL;
	struct k3_err err;
	size_t n = 0;

	memset(big, '\n', K3_TOML_SIZE_MAX + 1);
	FAILS(k3_toml_parse(big, K3_TOML_SIZE_MAX + 1, &doc, &err), K3_LIMIT);
	OK(k3_toml_parse(big, K3_TOML_SIZE_MAX, &doc, &err));
	k3_toml_free(doc);
	memset(big, '[', 100);
	memcpy(big, "a = ", 4);
	FAILS(k3_toml_parse(big, 100, &doc, &err), K3_LIMIT);
	memset(big, '.', 100);
	for (int k = 0; k < 99; k += 2)
		big[k] = 'a';
	FAILS(k3_toml_parse(big, 100, &doc, &err), K3_LIMIT);
	for (unsigned k = 0; k <= K3_TOML_TABLE_KEYS_MAX; k++)
		n += (size_t)snprintf(big + n, 32, "k%u=1\n", k);
	FAILS(k3_toml_parse(big, n, &doc, &err), K3_LIMIT);
	HAS_STR(err.msg, "line 1025");
}

TEST(byte_order_mark_and_empty)
{
	struct k3_toml_doc *doc = NULL;
	struct k3_err err;

	is_int("\xef\xbb\xbfk = 1", 1);
	OK(k3_toml_parse("", 0, &doc, &err));
	EQ_INT(k3_toml_len(k3_toml_root(doc)), 0);
	k3_toml_free(doc);
}

TEST(lines)
{
	static const char text[] =
		"a = 1\n\n[t]\nb = [\n  2,\n  3 ]\n[host.'x']\nc = '''\n\n'''\nd = 4\n"
		"[host]\ne = 5\n";
	struct k3_toml_doc *doc = NULL;
	struct k3_err err;

	OK(k3_toml_parse(text, sizeof(text) - 1, &doc, &err));
	const struct k3_toml *root = k3_toml_root(doc), *t = k3_toml_get(root, "t");
	const struct k3_toml *host = k3_toml_get(root, "host"), *x = k3_toml_get(host, "x");

	EQ_INT(k3_toml_line(root), 1);
	EQ_INT(k3_toml_line(k3_toml_get(root, "a")), 1);
	EQ_INT(k3_toml_line(t), 3);
	EQ_INT(k3_toml_line(k3_toml_get(t, "b")), 4);
	EQ_INT(k3_toml_line(k3_toml_at(k3_toml_get(t, "b"), 1)), 6);
	EQ_INT(k3_toml_line(x), 7);
	EQ_INT(k3_toml_line(k3_toml_get(x, "d")), 11);
	EQ_INT(k3_toml_line(host), 12);
	EQ_INT(k3_toml_line(NULL), 0);
	k3_toml_free(doc);
}

UNIT_MAIN
