/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/buf.h"
#include "base/yaml.h"

static struct k3_yaml_doc *parse(const char *text)
{
	struct k3_yaml_doc *doc = NULL;
	struct k3_err err;

	OK(k3_yaml_parse(text, strlen(text), &doc, &err));
	return doc;
}

static const struct k3_yaml *root(const struct k3_yaml_doc *doc)
{
	return doc ? k3_yaml_root(doc, 0) : NULL;
}

static void is_bad(const char *text, const char *why)
{
	struct k3_yaml_doc *doc = NULL;
	struct k3_err err;

	FAILS(k3_yaml_parse(text, strlen(text), &doc, &err), K3_FORMAT);
	if (doc)
		unit_fail(__FILE__, __LINE__, "parsed: %s", text);
	else
		HAS_STR(err.msg, why);
	k3_yaml_free(doc);
}

static void is_too_much(const struct k3_buf *b, const char *why)
{
	struct k3_yaml_doc *doc = NULL;
	struct k3_err err;

	FAILS(k3_yaml_parse(b->p, b->len, &doc, &err), K3_LIMIT);
	HAS_STR(err.msg, why);
	CHECK(!doc);
}

TEST(values_and_lines)
{
	K3_AUTO_YAML struct k3_yaml_doc *doc = parse("# a comment\n"
						     "name: web\n"
						     "ports:\n"
						     "- 80\n"
						     "- {n: 443, 'tls': yes}\n"
						     "text: |\n"
						     "  two\n"
						     "  lines\n");
	const struct k3_yaml *r = root(doc), *ports = k3_yaml_get(r, "ports");
	bool yes = false;

	EQ_INT(k3_yaml_docs(doc), 1);
	EQ_INT(k3_yaml_kind(r), K3_YAML_MAPPING);
	EQ_INT(k3_yaml_len(r), 3);
	EQ_STR(k3_yaml_key(r, 0), "name");
	EQ_STR(k3_yaml_key(r, 2), "text");
	CHECK(!k3_yaml_key(r, 3));
	EQ_STR(k3_yaml_str(k3_yaml_get(r, "name")), "web");
	EQ_STR(k3_yaml_str(k3_yaml_at(r, 2)), "two\nlines\n");
	EQ_INT(k3_yaml_kind(ports), K3_YAML_SEQUENCE);
	EQ_INT(k3_yaml_len(ports), 2);
	EQ_STR(k3_yaml_str(k3_yaml_at(ports, 0)), "80");
	EQ_INT(k3_yaml_line(k3_yaml_at(ports, 0)), 4);
	EQ_INT(k3_yaml_line(k3_yaml_get(k3_yaml_at(ports, 1), "tls")), 5);
	CHECK(k3_yaml_bool(k3_yaml_get(k3_yaml_at(ports, 1), "tls"), &yes) && yes);
	CHECK(!k3_yaml_at(ports, 2));
}

TEST(lookups_chain_through_nothing)
{
	K3_AUTO_YAML struct k3_yaml_doc *doc = parse("[a, {b: c}]");
	const struct k3_yaml *none = k3_yaml_get(k3_yaml_get(root(doc), "x"), "y");
	bool b;

	CHECK(!none && !k3_yaml_at(none, 0) && !k3_yaml_str(none) && !k3_yaml_bool(none, &b));
	CHECK(!k3_yaml_key(none, 0) && !k3_yaml_key(root(doc), 0) && !k3_yaml_str(root(doc)));
	CHECK(!k3_yaml_is(none, K3_YAML_SCALAR) && !k3_yaml_line(none));
	EQ_INT(k3_yaml_len(none), 0);
	EQ_INT(k3_yaml_len(k3_yaml_at(root(doc), 0)), 0);
	CHECK(!k3_yaml_root(doc, 1));
}

TEST(documents)
{
	K3_AUTO_YAML struct k3_yaml_doc *doc = parse(
		"%YAML 1.1\n---\na: 1\n---\n# nothing\n---\n~\n---\n'~'\n...\n---\n[2]\n---\n");

	EQ_INT(k3_yaml_docs(doc), 3);
	EQ_STR(k3_yaml_str(k3_yaml_root(doc, 1)), "~");
	EQ_INT(k3_yaml_line(k3_yaml_root(doc, 2)), 12);
	k3_yaml_freep(&doc);
	doc = parse("");
	EQ_INT(k3_yaml_docs(doc), 0);
	CHECK(!k3_yaml_root(doc, 0));
	k3_yaml_freep(&doc);
	doc = parse("# only a comment");
	EQ_INT(k3_yaml_docs(doc), 0);
}

TEST(nulls_and_booleans_are_plain)
{
	K3_AUTO_YAML struct k3_yaml_doc *doc =
		parse("[~, null, NULL, '', \"null\", !!str null, nULL, Off, 'on', !!str on, 1, y]");
	static const char *const text[] = { NULL,   NULL,  NULL, "",   "null", "null",
					    "nULL", "Off", "on", "on", "1",    "y" };
	bool b = true;

	EQ_INT(k3_yaml_len(root(doc)), sizeof(text) / sizeof(text[0]));
	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		EQ_STR(k3_yaml_str(k3_yaml_at(root(doc), i)), text[i]);
		EQ_INT(k3_yaml_bool(k3_yaml_at(root(doc), i), &b), i == 7 || i == 11);
		EQ_INT(b, i != 7 && i != 8 && i != 9 && i != 10);
	}
}

TEST(aliases_are_the_value_itself)
{
	K3_AUTO_YAML struct k3_yaml_doc *doc =
		parse("a: &x [1]\nb: *x\nc: &x two\nd: *x\n*x : e\n");
	const struct k3_yaml *r = root(doc);

	CHECK(k3_yaml_get(r, "a") && k3_yaml_get(r, "a") == k3_yaml_get(r, "b"));
	EQ_STR(k3_yaml_str(k3_yaml_get(r, "d")), "two");
	EQ_STR(k3_yaml_str(k3_yaml_get(r, "two")), "e");
	is_bad("a: *x\n", "line 1, column 4: no anchor \"x\"");
	is_bad("--- &x a\n--- *x\n", "no anchor");
	is_bad("a: &x [1, *x]\n", "inside of its own anchor");
	is_bad("&x {*x : 1}", "inside of its own anchor");
}

TEST(merge_keys)
{
	K3_AUTO_YAML struct k3_yaml_doc *doc = parse("base: &b {image: one, pull: never}\n"
						     "more: &m {image: two, tty: on}\n"
						     "a: {<<: *b, image: own}\n"
						     "b: {<<: [*m, *b], x: 1}\n"
						     "c: {'<<': *b}\n");
	const struct k3_yaml *a = k3_yaml_get(root(doc), "a"), *b = k3_yaml_get(root(doc), "b");

	EQ_INT(k3_yaml_len(a), 2);
	EQ_STR(k3_yaml_str(k3_yaml_get(a, "image")), "own");
	EQ_STR(k3_yaml_str(k3_yaml_get(a, "pull")), "never");
	CHECK(!k3_yaml_get(a, "<<"));
	EQ_INT(k3_yaml_len(b), 4);
	EQ_STR(k3_yaml_key(b, 0), "x");
	EQ_STR(k3_yaml_str(k3_yaml_get(b, "image")), "two");
	EQ_STR(k3_yaml_str(k3_yaml_get(b, "pull")), "never");
	CHECK(k3_yaml_get(k3_yaml_get(root(doc), "c"), "<<"));
	is_bad("a: 1\nb:\n  <<: x\n", "line 3: \"<<\" takes");
	is_bad("<<: [{a: 1}, [2]]", "\"<<\" takes");
}

TEST(json_is_yaml)
{
	K3_AUTO_YAML struct k3_yaml_doc *doc = parse(
		"\n{\"a\":[true,null,\"x\\/y\\u00e9\\ud83d\\ude00!\\\\ud83d\"],\n\t\"b\":{}\t}\n");
	const struct k3_yaml *a = k3_yaml_get(root(doc), "a");
	bool yes = false;

	CHECK(k3_yaml_bool(k3_yaml_at(a, 0), &yes) && yes);
	CHECK(!k3_yaml_str(k3_yaml_at(a, 1)));
	EQ_STR(k3_yaml_str(k3_yaml_at(a, 2)), "x/y\xc3\xa9\xf0\x9f\x98\x80!\\ud83d");
	EQ_INT(k3_yaml_line(k3_yaml_get(root(doc), "b")), 3);
	is_bad("[\"\\ud83d\"]", "line 1");
	is_bad("[\"\\ud83d\\u0041\"]", "line 1");
	is_bad("[\"\\ud83d\\ud", "line 1");
}

TEST(byte_order_marks)
{
	K3_AUTO_YAML struct k3_yaml_doc *doc = parse("\xef\xbb\xbf{\"a\": \"\\ud83d\\ude00\"}");
	struct k3_yaml_doc *wide = NULL;
	struct k3_err err;

	EQ_STR(k3_yaml_str(k3_yaml_get(root(doc), "a")), "\xf0\x9f\x98\x80");
	OK(k3_yaml_parse("\xff\xfe"
			 "a\0:\0 \0b\0",
			 10, &wide, &err));
	EQ_STR(k3_yaml_str(k3_yaml_get(root(wide), "a")), "b");
	k3_yaml_free(wide);
}

TEST(refuses)
{
	is_bad("a: 1\nb: [2\nc: 3\n", "line 3, column 2");
	is_bad("a: 1\n  b: 2\n", "line 2, column 4: mapping values are not allowed");
	is_bad("a:\n\t- b\n", "line 2");
	is_bad("a: 1\nb: 2\na: 3\n", "line 3: key \"a\" is given twice, first in line 1");
	is_bad("{? [a] : b}", "a key that is a mapping or a sequence");
	is_bad("? {a: b}\n: c", "a key that is a mapping or a sequence");
	is_bad("a: \"x\\0y\"", "U+0000");
	is_bad("a: \xff", "byte 3");
	is_bad("a: 1\nb: \x01", "byte 8");
	is_bad("'a", "line 1, column 3: found unexpected end of stream while scanning a quoted "
		     "scalar that began in line 1");
	is_bad("%YAML 3.0\n---\na", "line 1");
	is_bad("a: !x!y z", "line 1");
	is_bad("a\n---\nb: @\n", "line 3, column 4");
	is_bad("{}x", "line 1, column 3");
}

TEST(depth_is_limited)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(64 << 20);
	K3_AUTO_YAML struct k3_yaml_doc *doc = NULL;
	struct k3_err err;

	for (unsigned i = 0; i < K3_YAML_DEPTH_MAX; i++)
		OK(k3_buf_addf(&b, &err, "%s", i % 2 ? "{a: " : "["));
	for (unsigned i = K3_YAML_DEPTH_MAX; i > 0; i--)
		OK(k3_buf_addf(&b, &err, "%s", i % 2 ? "]" : "}"));
	OK(k3_yaml_parse(b.p, b.len, &doc, &err));
	k3_buf_reset(&b);
	for (unsigned i = 0; i < 1000000; i++)
		OK(k3_buf_add(&b, "[", 1, &err));
	is_too_much(&b, "64 levels");
	k3_buf_reset(&b);
	for (unsigned i = 0; i < 10000; i++)
		OK(k3_buf_add(&b, "- ", 2, &err));
	is_too_much(&b, "64 levels");
}

TEST(values_are_limited)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(64 << 20);
	K3_AUTO_YAML struct k3_yaml_doc *doc = NULL;
	struct k3_err err;

	OK(k3_buf_add(&b, "[", 1, &err));
	for (unsigned i = 1; i < K3_YAML_VALUES_MAX; i++)
		OK(k3_buf_add(&b, "a,", 2, &err));
	OK(k3_buf_add(&b, "]", 1, &err));
	OK(k3_yaml_parse(b.p, b.len, &doc, &err));
	EQ_INT(k3_yaml_len(root(doc)), K3_YAML_VALUES_MAX - 1);
	b.p[b.len - 1] = 'a';
	OK(k3_buf_add(&b, "]", 1, &err));
	is_too_much(&b, "1000000 values");
	k3_buf_reset(&b);
	OK(k3_buf_reserve(&b, K3_YAML_SIZE_MAX + 1, &err));
	memset(b.p, ' ', K3_YAML_SIZE_MAX + 1);
	b.len = K3_YAML_SIZE_MAX + 1;
	is_too_much(&b, "32 MiB");
}

TEST(anchors_are_limited)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(1 << 20);
	K3_AUTO_YAML struct k3_yaml_doc *doc = NULL;
	struct k3_err err;

	for (unsigned i = 0; i < K3_YAML_ANCHORS_MAX; i++)
		OK(k3_buf_addf(&b, &err, "- &a%u x\n- &a%u y\n", i, i));
	OK(k3_yaml_parse(b.p, b.len, &doc, &err));
	OK(k3_buf_addf(&b, &err, "- &z x\n"));
	is_too_much(&b, "256 anchors");
}

/* Each line holds nine of the one before: the tenth would be three thousand million copies. */
TEST(laughs_cost_nothing)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(1 << 20);
	K3_AUTO_YAML struct k3_yaml_doc *doc = NULL;
	struct k3_err err;

	OK(k3_buf_addf(&b, &err, "a0: &a0 lol\n"));
	for (int i = 1; i <= 10; i++) {
		OK(k3_buf_addf(&b, &err, "a%d: &a%d [", i, i));
		for (int j = 0; j < 9; j++)
			OK(k3_buf_addf(&b, &err, "*a%d,", i - 1));
		OK(k3_buf_addf(&b, &err, "]\n"));
	}
	OK(k3_yaml_parse(b.p, b.len, &doc, &err));
	EQ_INT(k3_yaml_len(k3_yaml_get(root(doc), "a10")), 9);
}

TEST(merges_are_limited)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(1 << 20);
	struct k3_err err;

	OK(k3_buf_addf(&b, &err, "a: &a {"));
	for (int i = 0; i < 2000; i++)
		OK(k3_buf_addf(&b, &err, "k%d: v,", i));
	OK(k3_buf_addf(&b, &err, "}\nb:\n"));
	for (int i = 0; i < 600; i++)
		OK(k3_buf_addf(&b, &err, "- {<<: *a}\n"));
	is_too_much(&b, "merges more than the limit");
}

UNIT_MAIN
