/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/challenge.h"
#include "tests/unit/unit.h"

TEST(bearer_with_quoted_texts)
{
	struct challenge c = { 0 };

	challenge_add(&c, "Bearer realm=\"https://auth.docker.io/token\","
			  "service=\"registry.docker.io\",scope=\"repository:library/nginx:pull\"");
	CHECK(c.bearer && !c.basic);
	EQ_STR(c.realm, "https://auth.docker.io/token");
	EQ_STR(c.service, "registry.docker.io");
	EQ_STR(c.scope, "repository:library/nginx:pull");
}

TEST(names_ignore_case_and_blanks)
{
	struct challenge c = { 0 };

	challenge_add(&c, "  BEARER  REALM = \"https://a/t\" ,\tService=reg  , error=\"x, y=z\"");
	CHECK(c.bearer);
	EQ_STR(c.realm, "https://a/t");
	EQ_STR(c.service, "reg");
}

TEST(unquoted_realm)
{
	struct challenge c = { 0 };

	challenge_add(&c, "Bearer realm=https://a:5000/t,service=x");
	CHECK(c.bearer);
	EQ_STR(c.realm, "https://a:5000/t");
}

TEST(escapes_in_a_quoted_text)
{
	struct challenge c = { 0 };

	challenge_add(&c, "Bearer realm=\"https://a/\\\"q\\\\,b=c\\\"\"");
	EQ_STR(c.realm, "https://a/\"q\\,b=c\"");
}

TEST(several_in_one_field)
{
	struct challenge c = { 0 };

	challenge_add(&c, "Negotiate YWJj/+==, Basic realm=\"x\", Bearer realm=\"https://a/t\"");
	CHECK(c.basic && c.bearer);
	EQ_STR(c.realm, "https://a/t");
}

TEST(several_fields_first_bearer_wins)
{
	struct challenge c = { 0 };

	challenge_add(&c, "Bearer service=\"no realm\"");
	CHECK(!c.bearer);
	EQ_STR(c.service, "");
	challenge_add(&c, "Bearer realm=\"https://one/\"");
	challenge_add(&c, "Basic realm=\"y\"");
	challenge_add(&c, "Bearer realm=\"https://two/\",service=\"s\"");
	CHECK(c.basic && c.bearer);
	EQ_STR(c.realm, "https://one/");
	EQ_STR(c.service, "");
}

TEST(too_long_or_open_texts_are_not_usable)
{
	struct challenge c = { 0 };
	char field[CHALLENGE_REALM_MAX + 64] = "Bearer realm=\"";
	size_t n = strlen(field);

	memset(field + n, 'a', CHALLENGE_REALM_MAX);
	field[n + CHALLENGE_REALM_MAX] = '"';
	challenge_add(&c, field);
	CHECK(!c.bearer);
	challenge_add(&c, "Bearer realm=\"https://a/");
	CHECK(!c.bearer);
	challenge_add(&c, "Bearer realm=\"https://a/\x01\"");
	CHECK(!c.bearer);
}

TEST(nonsense_is_skipped)
{
	static const char *const fields[] = { "",
					      " ",
					      ",,,",
					      "=",
					      "=,=\"",
					      "Bearer",
					      "Bearer =",
					      "Bearer realm",
					      "Bearer realm=",
					      "\"",
					      "Digest a=b",
					      "Bearer realm=,",
					      "realm=\"https://a/\"" };

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		struct challenge c = { 0 };

		challenge_add(&c, fields[i]);
		CHECK(!c.bearer);
		CHECK(!c.basic);
	}
}

UNIT_MAIN
