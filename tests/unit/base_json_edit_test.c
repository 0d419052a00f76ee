/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_edit.h"

#include "base/json.h"
#include "tests/unit/unit.h"

static struct k3_err err;

static const struct k3_json_pair bob[] = { { "auth", "Ym9i" } };

static void set(const char *text, const char *key, size_t n, const char *want)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(10000);

	OK(k3_json_set(text, strlen(text), "auths", key, bob, n, &out, &err));
	EQ_STR((const char *)out.p, want);
}

static void drop(const char *text, const char *key, const char *want)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(10000);

	OK(k3_json_drop(text, strlen(text), "auths", key, &out, &err));
	EQ_STR((const char *)out.p, want);
}

TEST(a_new_document)
{
	static const char want[] = "{\n\t\"auths\": {\n\t\t\"r.io\": {\n\t\t\t\"auth\": \"Ym9i\"\n"
				   "\t\t}\n\t}\n}\n";

	set("", "r.io", 1, want);
	set("{}\n", "r.io", 1, want);
	set("{ }\n", "r.io", 0, "{\n\t\"auths\": {\n\t\t\"r.io\": {}\n\t}\n}\n");
}

TEST(as_docker_writes)
{
	static const char old[] =
		"{\n\t\"auths\": {\n\t\t\"a.io\": {\n\t\t\t\"auth\": \"x\"\n\t\t}\n"
		"\t},\n\t\"n\": 1.50e+3\n}";

	set(old, "r.io", 1,
	    "{\n\t\"auths\": {\n\t\t\"a.io\": {\n\t\t\t\"auth\": \"x\"\n\t\t},\n\t\t\"r.io\": {\n"
	    "\t\t\t\"auth\": \"Ym9i\"\n\t\t}\n\t},\n\t\"n\": 1.50e+3\n}");
	set(old, "a.io", 1,
	    "{\n\t\"auths\": {\n\t\t\"a.io\": {\n\t\t\t\"auth\": \"Ym9i\"\n\t\t}\n"
	    "\t},\n\t\"n\": 1.50e+3\n}");
	drop(old, "a.io", "{\n\t\"auths\": {},\n\t\"n\": 1.50e+3\n}");
	drop(old, "r.io", old);
}

TEST(on_one_line)
{
	set("{\"auths\":{}}", "r.io", 1, "{\"auths\":{\"r.io\":{\"auth\":\"Ym9i\"}}}");
	set("{\"x\":[1,{\"y\":\"}\"}]}", "r.io", 1,
	    "{\"x\":[1,{\"y\":\"}\"}],\"auths\":{\"r.io\":{\"auth\":\"Ym9i\"}}}");
	set("{\"auths\":null,\"x\":\"\\\"auths\"}", "r.io", 0,
	    "{\"auths\":{\"r.io\":{}},\"x\":\"\\\"auths\"}");
	drop("{\"auths\":{\"a\":{},\"b\":{},\"c\":{}}}", "a", "{\"auths\":{\"b\":{},\"c\":{}}}");
	drop("{\"auths\":{\"a\":{},\"b\":{},\"c\":{}}}", "b", "{\"auths\":{\"a\":{},\"c\":{}}}");
	drop("{\"auths\":{\"a\":{}, \"b\":{}, \"c\":{}}}", "c", "{\"auths\":{\"a\":{}, \"b\":{}}}");
	drop("{\"auths\":{\"a\":7}}", "a", "{\"auths\":{}}");
	drop("{\"auths\":null}", "a", "{\"auths\":null}");
	drop("{\"auths\":{\"a\":{}, \"b\":{}},\"x\":1}", NULL, "{\"auths\":{},\"x\":1}");
	drop("{\"auths\":null}", NULL, "{\"auths\":null}");
}

TEST(what_is_not_ours_stays)
{
	static const char old[] = "{\n  \"big\": 123456789012345678, \"f\": -0.10E-05,\n  \"u\": "
				  "\"\\u00e9\xc3\xa9\\/\",\n"
				  "  \"auths\": {\"a\\u002eio\": {}},\n  \"t\": [true, null]\n}\n";

	set(old, "a.io", 0, old);
	set(old, "r.io", 0,
	    "{\n  \"big\": 123456789012345678, \"f\": -0.10E-05,\n  \"u\": "
	    "\"\\u00e9\xc3\xa9\\/\",\n"
	    "  \"auths\": {\"a\\u002eio\": {},\n    \"r.io\": {}},\n  \"t\": [true, null]\n}\n");
	drop(old, "a.io",
	     "{\n  \"big\": 123456789012345678, \"f\": -0.10E-05,\n  \"u\": "
	     "\"\\u00e9\xc3\xa9\\/\",\n"
	     "  \"auths\": {},\n  \"t\": [true, null]\n}\n");
}

TEST(what_is_none)
{
	static const char *const bad[] = {
		"[]", "7", "{", "{} x", "{\"auths\":[]}", "{\"auths\":\"\"}", "{\"a\":1,\"a\":2}"
	};
	K3_AUTO_BUF struct k3_buf out = K3_BUF(20);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		FAILS(k3_json_set(bad[i], strlen(bad[i]), "auths", "a", NULL, 0, &out, &err),
		      K3_FORMAT);
		FAILS(k3_json_drop(bad[i], strlen(bad[i]), "auths", "a", &out, &err), K3_FORMAT);
	}
	FAILS(k3_json_set("{}", 2, "auths", "a", bob, 1, &out, &err), K3_LIMIT);
}

UNIT_MAIN
