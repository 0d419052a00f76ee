/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/credentials.h"

#include <stdlib.h>

#include "tests/unit/testserver.h"
#include "tests/unit/unit.h"

static struct k3_err err;

static void find(const char *json, const char *host, const char *repo, struct credential *c)
{
	*c = (struct credential){ 0 };
	OK(credentials_parse(json, strlen(json), host, repo, c, &err));
}

static void expect(const char *json, const char *host, const char *repo, const char *user,
		   const char *password)
{
	struct credential c;

	find(json, host, repo, &c);
	EQ_STR(c.user, user);
	EQ_STR(c.password, password);
	credential_release(&c);
}

#define BOB "\"Ym9iOnMzY3JldA==\"" /* bob:s3cret */
#define EVE "\"ZXZlOmE6Yg\""       /* eve:a:b, padding left out */

TEST(plain_host_key)
{
	const char *json = "{\"auths\":{\"reg.example:5000\":{\"auth\":" BOB "}}}";

	expect(json, "reg.example:5000", "a/b", "bob", "s3cret");
	expect(json, "reg.example", "a/b", NULL, NULL);
	expect(json, "docker.io", "a/b", NULL, NULL);
}

TEST(url_keys)
{
	const char *json = "{\"auths\":{\"https://reg.example/v1/\":{\"auth\":" EVE "}}}";

	expect(json, "reg.example", "a/b", "eve", "a:b");
}

TEST(docker_hub_by_its_old_name)
{
	const char *json = "{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":" BOB "}}}";

	expect(json, "docker.io", "library/nginx", "bob", "s3cret");
	expect(json, "index.example", "library/nginx", NULL, NULL);
}

TEST(most_specific_repository_wins)
{
	const char *json = "{\"auths\":{\"quay.io/a\":{\"auth\":" EVE "},"
			   "\"quay.io\":{\"username\":\"u\",\"password\":\"p\"},"
			   "\"quay.io/a/b\":{\"auth\":" BOB "}}}";

	expect(json, "quay.io", "a/b", "bob", "s3cret");
	expect(json, "quay.io", "a/b/c", "bob", "s3cret");
	expect(json, "quay.io", "a/bc", "eve", "a:b");
	expect(json, "quay.io", "ab", "u", "p");
}

TEST(identity_token)
{
	const char *json =
		"{\"auths\":{\"r.io\":{\"auth\":\"PHRva2VuPjo=\",\"identitytoken\":\"T\"}}}";
	struct credential c;

	find(json, "r.io", "a", &c);
	EQ_STR(c.identity, "T");
	EQ_STR(c.user, "<token>");
	credential_release(&c);
}

TEST(helpers_are_only_noted)
{
	struct credential c;

	find("{\"auths\":{\"r.io\":{}},\"credsStore\":\"desktop\"}", "r.io", "a", &c);
	CHECK(!c.user && c.note);
	credential_release(&c);
	find("{\"credHelpers\":{\"r.io\":\"ecr-login\"}}", "r.io", "a", &c);
	CHECK(!c.user && c.note);
	credential_release(&c);
	find("{\"credHelpers\":{\"r.io\":\"ecr-login\"}}", "s.io", "a", &c);
	CHECK(!c.user && !c.note);
	credential_release(&c);
}

TEST(malformed_files)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"{\"auths\":{\"r.io\":{\"auth\":\"!!!!\"}}}",
		"{\"auths\":{\"r.io\":{\"auth\":\"Ym9i\"}}}",
		"{\"auths\":{\"r.io\":{\"auth\":\"YQA6YQ==\"}}}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct credential c = { 0 };

		FAILS(credentials_parse(bad[i], strlen(bad[i]), "r.io", "a", &c, &err), K3_FORMAT);
		credential_release(&c);
	}
	expect("{\"auths\":[]}", "r.io", "a", NULL, NULL);
	expect("{\"auths\":{\"r.io\":7}}", "r.io", "a", NULL, NULL);
	expect("{\"auths\":{\"r.io\":{\"auth\":7}}}", "r.io", "a", NULL, NULL);
}

TEST(basic_value)
{
	char user[] = "Aladdin", password[] = "open sesame";
	struct credential c = { .user = user, .password = password };
	char *value = credential_basic(&c);

	EQ_STR(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
	free(value);
}

TEST(creds_option)
{
	OK(credentials_check("bob", &err));
	OK(credentials_check("bob:", &err));
	FAILS(credentials_check("", &err), K3_USAGE);
	FAILS(credentials_check(":x", &err), K3_USAGE);
	FAILS(credentials_check("bob:x\ny", &err), K3_USAGE);
}

TEST(order_of_sources)
{
	struct fetch_opts o = { .creds = "me:a:b" };
	struct credential c;

	o.auth_file = ts_auth_file("{\"auths\":{\"r.io\":{\"auth\":" BOB "}}}");
	OK(credentials_find(&o, "r.io", "a", &c, &err));
	EQ_STR(c.user, "me");
	EQ_STR(c.password, "a:b");
	EQ_STR(c.source, "--creds");
	credential_release(&c);
	o.creds = NULL;
	OK(credentials_find(&o, "r.io", "a", &c, &err));
	EQ_STR(c.user, "bob");
	EQ_STR(c.source, o.auth_file);
	credential_release(&c);
	o.auth_file = "/nonexistent/auth.json";
	FAILS(credentials_find(&o, "r.io", "a", &c, &err), K3_USAGE);
	HAS_STR(err.msg, "/nonexistent/auth.json");
	credential_release(&c);
}

UNIT_MAIN
