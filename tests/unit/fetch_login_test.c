/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "fetch/fetch.h"
#include "tests/unit/testserver.h"
#include "tests/unit/unit.h"

static struct k3_err err;

#define OK200 "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define BASIC "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\n"
#define BOB "Basic Ym9iOnMzY3JldA=="

static const struct fetch_opts with_bob = { .plain_http = true, .creds = "bob:s3cret" };

static int check(const struct ts_step *script, bool *asked)
{
	struct ts *t = ts_start(script);
	struct ts_client c;

	ts_connect(&c, t, "a/b:v1", &with_bob);
	err = (struct k3_err){ 0 };
	int rc = fetch_login_check(c.s, ts_host(t), asked, &err);

	ts_disconnect(&c);
	ts_free(t);
	return rc;
}

TEST(basic)
{
	const struct ts_step script[] = {
		{ .want = "GET /v2/ HTTP/1.1\r\n", .refuse = "Authorization", .reply = BASIC },
		{ .want = "GET /v2/ HTTP/1.1\r\n",
		  .want_too = "Authorization: " BOB "\r\n",
		  .reply = OK200,
		  .body = "{}" },
		{ 0 }
	};
	bool asked = false;

	EQ_INT(check(script, &asked), 0);
	CHECK(asked);
}

TEST(nobody_asked)
{
	const struct ts_step script[] = { { .refuse = "Authorization", .reply = OK200 }, { 0 } };
	bool asked = true;

	EQ_INT(check(script, &asked), 0);
	CHECK(!asked);
}

static void refused(const struct ts_step *script, enum k3_code code, const char *words)
{
	bool asked;

	EQ_INT(check(script, &asked), -1);
	EQ_STR(k3_code_name(err.code), k3_code_name(code));
	HAS_STR(err.msg, words);
	CHECK(err.hint[0]);
	CHECK(!strstr(err.msg, "s3cret") && !strstr(err.msg, "Ym9i"));
}

TEST(refusals)
{
	const struct ts_step wrong[] = { { .reply = BASIC },
					 { .want = BOB, .reply = BASIC },
					 { 0 } };
	const struct ts_step forbidden[] = { { .reply = "HTTP/1.1 403 No\r\n" }, { 0 } };
	const struct ts_step other[] = { { .reply = "HTTP/1.1 404 No\r\n" }, { 0 } };
	const struct ts_step page[] = { { .reply = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n",
					  .body = "<html>" },
					{ 0 } };

	refused(wrong, K3_AUTH, "refused access");
	HAS_STR(err.hint, "user or password is wrong");
	refused(forbidden, K3_AUTH, "refused access");
	refused(other, K3_PROTO, "no registry at /v2/");
	refused(page, K3_PROTO, "web page");
}

TEST(trouble_is_tried_again)
{
	const struct ts_step script[] = { { .reply = "HTTP/1.1 503 Busy\r\n" },
					  { .reply = BASIC },
					  { .want = BOB, .reply = OK200 },
					  { 0 } };
	bool asked;

	EQ_INT(check(script, &asked), 0);
}

static void host(const char *text, const char *want)
{
	char *got = NULL;

	if (want)
		OK(fetch_login_host(text, &got, &err));
	else
		FAILS(fetch_login_host(text, &got, &err), K3_USAGE);
	EQ_STR(got, want);
	free(got);
}

TEST(hosts)
{
	host("r.io", "r.io");
	host("r.io:5000", "r.io:5000");
	host("https://r.io/", "r.io");
	host("localhost", "localhost");
	host("[::1]:5000", "[::1]:5000");
	host("docker.io", "docker.io");
	host("index.docker.io", "docker.io");
	host("https://index.docker.io/v1/", "docker.io");
	host("registry", NULL);
	host("http://r.io", NULL);
	host("r.io/a", NULL);
	host("", NULL);
	host("/", NULL);
	host("R IO", NULL);
}

/* ---- what is kept ---- */

static void expect(const char *path, const char *text)
{
	K3_AUTO_BUF struct k3_buf got = K3_BUF(1000);

	OK(k3_read_file(AT_FDCWD, path, &got, &err));
	EQ_STR((const char *)got.p, text);
}

static void store(const char *before, const char *name, const char *after)
{
	const struct fetch_opts o = { .auth_file = ts_auth_file(before) };
	struct fetch_login l;

	OK(fetch_login_store(&o, name, "bob", "s3cret", &l, &err));
	EQ_STR(l.file, o.auth_file);
	EQ_STR(l.helper, NULL);
	expect(o.auth_file, after);
	fetch_login_release(&l);
	OK(fetch_login_find(&o, name, &l, &err));
	EQ_STR(l.user, "bob");
	fetch_login_release(&l);
}

#define NEW "{\"auth\":\"Ym9iOnMzY3JldA==\"}"

TEST(stored)
{
	store("{\"auths\":{}}", "r.io", "{\"auths\":{\"r.io\":" NEW "}}");
	store("{\"auths\":{\"r.io\":{\"auth\":\"!\",\"identitytoken\":\"x\"},\"s\":7}}", "r.io",
	      "{\"auths\":{\"r.io\":" NEW ",\"s\":7}}");
	store("{\"auths\":{\"https://r.io/v2/\":{\"auth\":\"eDp5\"},\"r.io/a\":{}}}", "r.io",
	      "{\"auths\":{\"r.io/a\":{},\"r.io\":" NEW "}}");
	store("{\"auths\":{\"docker.io\":{\"auth\":\"eDp5\"}}}", "docker.io",
	      "{\"auths\":{\"https://index.docker.io/v1/\":" NEW "}}");
}

static void erase(const char *before, const char *name, size_t count, const char *after)
{
	const struct fetch_opts o = { .auth_file = ts_auth_file(before) };
	struct fetch_login l;
	size_t n = 99;

	OK(fetch_login_erase(&o, name, &l, &n, &err));
	EQ_INT(n, count);
	expect(o.auth_file, after);
	fetch_login_release(&l);
}

TEST(erased)
{
	erase("{\"auths\":{\"r.io\":{},\"s.io\":{}}}", "r.io", 1, "{\"auths\":{\"s.io\":{}}}");
	erase("{\"auths\":{\"r.io/a\":{}}}", "r.io", 0, "{\"auths\":{\"r.io/a\":{}}}");
	erase("{ }", "r.io", 0, "{ }");
	erase("{\"auths\":{\"r.io\":{}, \"s.io\":7},\"x\":1}", NULL, 2, "{\"auths\":{},\"x\":1}");
}

TEST(files_that_are_none)
{
	static const char *const bad[] = { "{", "[]", "{\"auths\":7}", "{\"credsStore\":\"a/b\"}" };

	for (size_t i = 0; i < K3_ARRAY_LEN(bad); i++) {
		const struct fetch_opts o = { .auth_file = ts_auth_file(bad[i]) };
		struct fetch_login l;

		FAILS(fetch_login_store(&o, "r.io", "bob", "s3cret", &l, &err), K3_FORMAT);
		HAS_STR(err.msg, o.auth_file);
		expect(o.auth_file, bad[i]);
		fetch_login_release(&l);
	}
}

TEST(a_file_that_is_missing)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s/new/config.json", unit_tmpdir());
	const struct fetch_opts o = { .auth_file = path };
	struct fetch_login l;
	size_t n = 99;

	OK(fetch_login_erase(&o, "r.io", &l, &n, &err));
	EQ_INT(n, 0);
	fetch_login_release(&l);
	CHECK(access(path, F_OK) < 0);
	OK(fetch_login_store(&o, "r.io", "bob", "s3cret", &l, &err));
	expect(path,
	       "{\n\t\"auths\": {\n\t\t\"r.io\": {\n\t\t\t\"auth\": \"Ym9iOnMzY3JldA==\"\n\t\t}\n"
	       "\t}\n}\n");
	fetch_login_release(&l);
}

UNIT_MAIN
