/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/auth.h"
#include "fetch/session.h"

#include <stdlib.h>

#include "tests/unit/testserver.h"
#include "tests/unit/unit.h"

#define OCI "application/vnd.oci.image.manifest.v1+json"
#define MANIFEST "{\"schemaVersion\":2,\"mediaType\":\"" OCI "\",\"config\":{},\"layers\":[]}"
#define GOOD "HTTP/1.1 200 OK\r\nContent-Type: " OCI "\r\n"
#define OK200 "HTTP/1.1 200 OK\r\n"
#define BASIC "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\n"
#define BOB "Basic Ym9iOnMzY3JldA=="

static struct k3_err err;
static char bearer[512]; /* the 401 that names the token service */

/* A registry and its token service. */
struct pair {
	struct ts *registry, *tokens;
	struct ts_client c;
};

static void start(struct pair *p, const struct ts_step *registry, const struct ts_step *tokens,
		  const struct fetch_opts *o)
{
	p->tokens = ts_start(tokens);
	p->registry = ts_start(registry);
	snprintf(bearer, sizeof(bearer),
		 "HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm=\"http://%s/token?x=1\","
		 "service=\"reg\",scope=\"repository:a/b:pull\"\r\n",
		 ts_host(p->tokens));
	ts_connect(&p->c, p->registry, "a/b:v1", o);
}

static void finish(struct pair *p)
{
	ts_disconnect(&p->c);
	ts_free(p->registry);
	ts_free(p->tokens);
}

static int fetch(struct ts_client *c)
{
	struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	struct oci_desc got;

	err = (struct k3_err){ 0 };
	int rc = fetch_document(c->s, &c->r, NULL, &raw, &got, &err);

	k3_buf_release(&raw);
	return rc;
}

static const struct fetch_opts with_bob = { .plain_http = true, .creds = "bob:s3cret" };

TEST(anonymous_token_is_kept)
{
	const struct ts_step registry[] = {
		{ .refuse = "Authorization", .reply = bearer },
		{ .want = "Authorization: Bearer t0k3n\r\n", .reply = GOOD, .body = MANIFEST },
		{ .want = "Authorization: Bearer t0k3n\r\n", .reply = GOOD, .body = MANIFEST },
		{ 0 },
	};
	const struct ts_step tokens[] = {
		{ .want = "GET /token?x=1&service=reg&scope=repository%3aa%2fb%3apull HTTP/1.1\r\n",
		  .refuse = "Authorization",
		  .reply = OK200,
		  .body = "{\"token\":\"t0k3n\",\"expires_in\":300}" },
		{ 0 },
	};
	struct pair p;

	start(&p, registry, tokens, NULL);
	EQ_INT(fetch(&p.c), 0);
	EQ_INT(fetch(&p.c), 0);
	finish(&p);
}

TEST(token_with_credentials)
{
	const struct ts_step registry[] = {
		{ .refuse = "Authorization", .reply = bearer },
		{ .want = "Authorization: Bearer abc\r\n", .reply = GOOD, .body = MANIFEST },
		{ 0 },
	};
	const struct ts_step tokens[] = {
		{ .want = "&account=bob HTTP/1.1\r\n",
		  .want_too = "Authorization: " BOB "\r\n",
		  .reply = OK200,
		  .body = "{\"access_token\":\"abc\"}" },
		{ 0 },
	};
	struct pair p;

	start(&p, registry, tokens, &with_bob);
	EQ_INT(fetch(&p.c), 0);
	finish(&p);
}

TEST(identity_token_is_posted)
{
	const struct ts_step registry[] = {
		{ .reply = bearer },
		{ .want = "Authorization: Bearer abc\r\n", .reply = GOOD, .body = MANIFEST },
		{ 0 },
	};
	const struct ts_step tokens[] = {
		{ .want = "POST /token?x=1 HTTP/1.1\r\n",
		  .want_too = "\r\n\r\ngrant_type=refresh_token&client_id=k3simg&service=reg&"
			      "scope=repository%3Aa%2Fb%3Apull&refresh_token=id%26t",
		  .refuse = "Authorization",
		  .reply = OK200,
		  .body = "{\"access_token\":\"abc\"}" },
		{ 0 },
	};
	struct pair p;

	start(&p, registry, tokens, NULL);
	FILE *f = fopen(p.c.f->o.auth_file, "w"); /* read only now, by the first 401 */

	fprintf(f, "{\"auths\":{\"%s/a\":{\"identitytoken\":\"id&t\"}}}", ts_host(p.registry));
	fclose(f);
	EQ_INT(fetch(&p.c), 0);
	finish(&p);
}

TEST(token_expires_in_the_middle)
{
	const struct ts_step registry[] = {
		{ .reply = bearer },
		{ .want = "Bearer one\r\n", .reply = GOOD, .body = MANIFEST },
		{ .want = "Bearer one\r\n", .reply = bearer },
		{ .want = "Bearer two\r\n", .reply = GOOD, .body = MANIFEST },
		{ 0 },
	};
	const struct ts_step tokens[] = {
		{ .reply = OK200, .body = "{\"token\":\"one\"}" },
		{ .reply = OK200, .body = "{\"token\":\"two\"}" },
		{ 0 },
	};
	struct pair p;

	start(&p, registry, tokens, NULL);
	EQ_INT(fetch(&p.c), 0);
	EQ_INT(fetch(&p.c), 0);
	finish(&p);
}

TEST(fresh_token_refused_is_the_end)
{
	const struct ts_step registry[] = {
		{ .reply = bearer },
		{ .want = "Bearer sekrit\r\n",
		  .reply = "HTTP/1.1 401 No\r\n",
		  .body = "{\"errors\":[{\"message\":\"sekrit is bad\"}]}" },
		{ 0 }
	};
	const struct ts_step tokens[] = { { .reply = OK200, .body = "{\"token\":\"sekrit\"}" },
					  { 0 } };
	struct pair p;

	start(&p, registry, tokens, NULL);
	EQ_INT(fetch(&p.c), -1);
	EQ_INT(err.code, K3_AUTH);
	CHECK(!strstr(err.msg, "sekrit"));
	HAS_STR(err.hint, "k3simg login");
	EQ_INT(p.c.retries, 0);
	finish(&p);
}

TEST(token_service_refuses)
{
	const struct ts_step registry[] = { { .reply = bearer }, { 0 } };
	const struct ts_step tokens[] = { { .reply = "HTTP/1.1 401 No\r\n",
					    .body = "{\"details\":\"wrong password\"}" },
					  { 0 } };
	struct pair p;

	start(&p, registry, tokens, &with_bob);
	EQ_INT(fetch(&p.c), -1);
	EQ_INT(err.code, K3_AUTH);
	HAS_STR(err.msg, "token service");
	HAS_STR(err.msg, "wrong password");
	HAS_STR(err.hint, "--creds");
	CHECK(!strstr(err.msg, "s3cret") && !strstr(err.hint, "s3cret"));
	finish(&p);
}

static void bad_token(const char *reply, const char *body, enum k3_code code)
{
	const struct ts_step registry[] = { { .reply = bearer }, { 0 } };
	const struct ts_step tokens[] = { { .reply = reply, .body = body, .end = TS_CLOSE },
					  { 0 } };
	struct pair p;

	start(&p, registry, tokens, NULL);
	EQ_INT(fetch(&p.c), -1);
	EQ_STR(k3_code_name(err.code), k3_code_name(code));
	finish(&p);
}

TEST(unusable_token_answers)
{
	static char big[FETCH_TOKEN_MAX + 100];

	bad_token(OK200, "<html>", K3_PROTO);
	bad_token(OK200, "{}", K3_PROTO);
	bad_token(OK200, "{\"token\":\"a\\r\\nX: y\"}", K3_PROTO);
	bad_token(OK200, "{\"token\":7}", K3_PROTO);
	bad_token("HTTP/1.1 404 No\r\n", "", K3_PROTO);
	memset(big, 'x', sizeof(big) - 1);
	bad_token(OK200, big, K3_LIMIT);
}

TEST(token_service_is_retried)
{
	const struct ts_step registry[] = {
		{ .reply = bearer },
		{ .reply = bearer },
		{ .want = "Bearer abc\r\n", .reply = GOOD, .body = MANIFEST },
		{ 0 },
	};
	const struct ts_step tokens[] = {
		{ .reply = "HTTP/1.1 503 Busy\r\n" },
		{ .reply = OK200, .body = "{\"token\":\"abc\"}" },
		{ 0 },
	};
	struct pair p;

	start(&p, registry, tokens, NULL);
	EQ_INT(fetch(&p.c), 0);
	EQ_INT(p.c.retries, 1);
	finish(&p);
}

TEST(basic_credentials_are_kept)
{
	const struct ts_step script[] = {
		{ .refuse = "Authorization", .reply = BASIC },
		{ .want = "Authorization: " BOB "\r\n", .reply = GOOD, .body = MANIFEST },
		{ .want = "Authorization: " BOB "\r\n", .reply = GOOD, .body = MANIFEST },
		{ 0 },
	};
	struct ts *t = ts_start(script);
	struct ts_client c;

	ts_connect(&c, t, "a/b:v1", &with_bob);
	EQ_INT(fetch(&c), 0);
	EQ_INT(fetch(&c), 0);
	ts_disconnect(&c);
	ts_free(t);
}

TEST(wrong_basic_credentials)
{
	const struct ts_step script[] = { { .reply = BASIC },
					  { .want = BOB, .reply = BASIC },
					  { 0 } };
	struct ts *t = ts_start(script);
	struct ts_client c;

	ts_connect(&c, t, "a/b:v1", &with_bob);
	EQ_INT(fetch(&c), -1);
	EQ_INT(err.code, K3_AUTH);
	HAS_STR(err.hint, "--creds");
	ts_disconnect(&c);
	ts_free(t);
}

static void no_credentials(const char *auth_file, const char *reply, const char *hint)
{
	const struct ts_step script[] = { { .reply = reply }, { 0 } };
	const struct fetch_opts o = { .plain_http = true, .auth_file = ts_auth_file(auth_file) };
	struct ts *t = ts_start(script);
	struct ts_client c;

	ts_connect(&c, t, "a/b:v1", &o);
	EQ_INT(fetch(&c), -1);
	EQ_INT(err.code, K3_AUTH);
	HAS_STR(err.hint, hint);
	ts_disconnect(&c);
	ts_free(t);
}

TEST(hints_without_credentials)
{
	no_credentials("{}", BASIC, "k3simg login");
	no_credentials("{}", "HTTP/1.1 401 No\r\n", "k3simg login");
}

TEST(second_session_shares_the_token)
{
	const struct ts_step registry[] = {
		{ .reply = bearer },
		{ .want = "Bearer abc\r\n", .reply = GOOD, .body = MANIFEST },
		{ .want = "Bearer abc\r\n", .reply = GOOD, .body = MANIFEST },
		{ 0 },
	};
	const struct ts_step tokens[] = { { .reply = OK200, .body = "{\"token\":\"abc\"}" },
					  { 0 } };
	struct pair p;

	start(&p, registry, tokens, NULL);
	EQ_INT(fetch(&p.c), 0);
	fetch_session_free(p.c.s);
	OK(fetch_session_new(p.c.f, &p.c.s, &err));
	EQ_INT(fetch(&p.c), 0);
	finish(&p);
}

TEST(token_lifetimes)
{
	uint64_t seconds = 0;
	char *token = NULL;
	const char *json = "{\"token\":\"\",\"access_token\":\"b\",\"expires_in\":3600}";

	OK(auth_parse_token(json, strlen(json), &token, &seconds, &err));
	EQ_STR(token, "b");
	EQ_INT(seconds, 3600);
	free(token);
	json = "{\"token\":\"a\",\"expires_in\":1}";
	OK(auth_parse_token(json, strlen(json), &token, &seconds, &err));
	EQ_INT(seconds, 60);
	free(token);
	json = "{\"token\":\"a\",\"expires_in\":9999999999999}";
	OK(auth_parse_token(json, strlen(json), &token, &seconds, &err));
	EQ_INT(seconds, 86400);
	free(token);
}

UNIT_MAIN
