/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/authfile.h"

#include <stdlib.h>

#include "tests/unit/testserver.h"
#include "tests/unit/unit.h"

static struct k3_err err;

static void find(const char *json, const char *host, const char *repo, struct authfile_entry *x)
{
	OK(authfile_parse(json, strlen(json), host, repo, x, &err));
}

static void expect(const char *json, const char *host, const char *repo, const char *user,
		   const char *password)
{
	struct authfile_entry x;

	find(json, host, repo, &x);
	EQ_STR(x.own.user, user);
	EQ_STR(x.own.password, password);
	EQ_STR(x.helper, NULL);
	authfile_entry_release(&x);
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
	struct authfile_entry x;

	find(json, "r.io", "a", &x);
	EQ_STR(x.own.identity, "T");
	EQ_STR(x.own.user, "<token>");
	authfile_entry_release(&x);
}

static void expect_helper(const char *json, const char *host, const char *helper,
			  const char *server, const char *where)
{
	struct authfile_entry x;

	find(json, host, "a/b", &x);
	EQ_STR(x.helper, helper);
	EQ_STR(x.server, server);
	EQ_STR(x.where, where);
	authfile_entry_release(&x);
}

TEST(helpers)
{
	const char *both = "{\"credHelpers\":{\"r.io\":\"ecr-login\",\"s.io\":\"\",\"t.io\":7},"
			   "\"credsStore\":\"desktop\"}";
	const char *hub = "{\"credHelpers\":{\"https://index.docker.io/v1/\":\"pass\"}}";

	expect_helper(both, "r.io", "ecr-login", "r.io", "credHelpers: \"r.io\"");
	expect_helper(both, "s.io", NULL, NULL, NULL);
	expect_helper(both, "t.io", "desktop", "t.io", "credsStore");
	expect_helper(both, "docker.io", "desktop", "https://index.docker.io/v1/", "credsStore");
	expect_helper(hub, "docker.io", "pass", "https://index.docker.io/v1/",
		      "credHelpers: \"https://index.docker.io/v1/\"");
	expect_helper(hub, "r.io", NULL, NULL, NULL);
	expect_helper("{\"credsStore\":\"\"}", "r.io", NULL, NULL, NULL);
}

TEST(helper_and_own_entry)
{
	struct authfile_entry x;

	find("{\"credsStore\":\"desktop\",\"auths\":{\"r.io\":{\"auth\":" BOB "}}}", "r.io", "a",
	     &x);
	EQ_STR(x.helper, "desktop");
	EQ_STR(x.own.user, "bob");
	authfile_entry_release(&x);
}

TEST(helper_names)
{
	static const char *const bad[] = { "../evil", "/bin/sh", "a b", ".x", "-x", "a/b", "a;b" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct authfile_entry x;
		char json[64];

		snprintf(json, sizeof(json), "{\"credsStore\":\"%s\"}", bad[i]);
		FAILS(authfile_parse(json, strlen(json), "r.io", "a", &x, &err), K3_FORMAT);
		HAS_STR(err.msg, "credsStore");
		authfile_entry_release(&x);
	}
}

TEST(keys_of_a_registry)
{
	CHECK(authfile_key_is("r.io", "r.io"));
	CHECK(authfile_key_is("https://r.io/v2/", "r.io"));
	CHECK(authfile_key_is("r.io/", "r.io"));
	CHECK(!authfile_key_is("r.io/a", "r.io"));
	CHECK(!authfile_key_is("r.io:5000", "r.io"));
	CHECK(authfile_key_is("https://index.docker.io/v1/", "docker.io"));
	CHECK(authfile_key_is("docker.io", "docker.io"));
	EQ_STR(authfile_docker_key("docker.io"), "https://index.docker.io/v1/");
	EQ_STR(authfile_docker_key("r.io"), "r.io");
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
		struct authfile_entry x;

		FAILS(authfile_parse(bad[i], strlen(bad[i]), "r.io", "a", &x, &err), K3_FORMAT);
		authfile_entry_release(&x);
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
	OK(credentials_find(&o, NULL, "r.io", "a", &c, &err));
	EQ_STR(c.user, "me");
	EQ_STR(c.password, "a:b");
	EQ_STR(c.source, "--creds");
	credential_release(&c);
	o.creds = NULL;
	OK(credentials_find(&o, NULL, "r.io", "a", &c, &err));
	EQ_STR(c.user, "bob");
	EQ_STR(c.source, o.auth_file);
	credential_release(&c);
	o.auth_file = "/nonexistent/auth.json";
	FAILS(credentials_find(&o, NULL, "r.io", "a", &c, &err), K3_USAGE);
	HAS_STR(err.msg, "/nonexistent/auth.json");
	credential_release(&c);
}

UNIT_MAIN
