/* SPDX-License-Identifier: Apache-2.0 */
/* A registry behind a mirror: who is asked for what, and who gets to see what. */
#include <stdlib.h>

#include "fetch/endpoints.h"
#include "tests/unit/registry_help.h"
#include "tests/unit/testserver.h"

#define OCI "application/vnd.oci.image.manifest.v1+json"
#define MANIFEST "{\"schemaVersion\":2,\"mediaType\":\"" OCI "\",\"config\":{},\"layers\":[]}"
#define GOOD "HTTP/1.1 200 OK\r\nContent-Type: " OCI "\r\n"
#define BLOB "0123456789abcdefghij"
#define MISSING "HTTP/1.1 404 Not Found\r\n"

static struct k3_err err;
static unsigned cases;

struct setup {
	struct ts *mirror, *own;
	struct ts_client c;
	struct registry *r;
	char told[2000];
};

static void on_notice(void *arg, const char *text)
{
	struct setup *s = arg;
	size_t n = strlen(s->told);

	snprintf(s->told + n, sizeof(s->told) - n, "%s\n", text);
}

/* settings: of the mirror in hosts.toml.  auth: its own in registries.yaml, or NULL. */
static void begin(struct setup *s, const struct ts_step *mirror, const struct ts_step *own,
		  const char *settings, const char *auth)
{
	K3_AUTO_FREE char *dir = k3_xasprintf("%s/m%u", unit_tmpdir(), cases++);
	K3_AUTO_FREE char *file = k3_xasprintf("%s/r.yaml", dir);

	*s = (struct setup){ .mirror = ts_start(mirror), .own = ts_start(own) };
	K3_AUTO_FREE char *name = k3_xasprintf("/certs/%s/hosts.toml", ts_host(s->own));
	K3_AUTO_FREE char *certs = k3_xasprintf("%s/certs", dir);
	K3_AUTO_FREE char *text = k3_xasprintf("server = 'http://%s'\n[host.'http://%s']\n%s\n",
					       ts_host(s->own), ts_host(s->mirror), settings);
	K3_AUTO_FREE char *configs = auth ? k3_xasprintf("configs:\n  %s:\n    auth: %s\n",
							 ts_host(s->mirror), auth)
					  : k3_xstrdup("");

	put(dir, name, text);
	put(dir, "/r.yaml", configs);
	const struct registry_opts ro = { .hosts_dir = certs, .registries = file };

	s->r = registry_new(&ro);
	const struct fetch_opts o = {
		.registry = s->r,
		.creds = "bob:s3cret",
		.on_notice = on_notice,
		.on_notice_arg = s,
	};
	ts_connect(&s->c, s->own, "a/b:v1", &o);
}

static void end(struct setup *s)
{
	ts_disconnect(&s->c);
	registry_free(s->r);
	ts_free(s->mirror);
	ts_free(s->own);
}

static int document(struct setup *s)
{
	K3_AUTO_BUF struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	struct oci_desc got;

	err = (struct k3_err){ 0 };
	return fetch_document(s->c.s, &s->c.r, NULL, &raw, &got, &err);
}

static int keep(void *arg, const void *p, size_t n, struct k3_err *e)
{
	return k3_buf_add(arg, p, n, e);
}

static int blob(struct setup *s, struct k3_buf *out)
{
	struct oci_desc d = { .size = strlen(BLOB) };

	oci_digest_of(K3_SHA256, BLOB, strlen(BLOB), &d.digest);
	K3_AUTO_HASH struct k3_hash *hash = k3_hash_new(K3_SHA256);

	err = (struct k3_err){ 0 };
	return fetch_blob(s->c.s, &s->c.r, &d, 0, hash, keep, out, &err);
}

TEST(a_mirror_is_told_whose_image_it_is)
{
	const struct ts_step mirror[] = { { .want = "/v2/a/b/manifests/v1?ns=127.0.0.1%3A",
					    .want_too = "X-Key: k\r\n",
					    .reply = GOOD,
					    .body = MANIFEST },
					  { 0 } };
	const struct ts_step own[] = { { 0 } };
	struct setup s;

	begin(&s, mirror, own, "header = { X-Key = 'k' }", NULL);
	EQ_INT(document(&s), 0);
	EQ_STR(s.told, "");
	end(&s);
}

TEST(the_registry_is_asked_without_ns_and_headers)
{
	const struct ts_step mirror[] = { { .reply = MISSING, .body = "" }, { 0 } };
	const struct ts_step own[] = { { .want = "GET /v2/a/b/manifests/v1 HTTP/1.1",
					 .refuse = "X-Key",
					 .reply = GOOD,
					 .body = MANIFEST },
				       { 0 } };
	struct setup s;

	begin(&s, mirror, own, "header = { X-Key = 'k' }", NULL);
	EQ_INT(document(&s), 0);
	HAS_STR(s.told, "mirror http://127.0.0.1");
	HAS_STR(s.told, "HTTP 404");
	HAS_STR(s.told, "instead");
	EQ_INT(s.c.retries, 0);
	end(&s);
}

TEST(headers_do_not_follow_a_redirect)
{
	static char moved[200];
	const struct ts_step mirror[] = { { .want = "X-Key: k\r\n", .reply = moved, .body = "" },
					  { 0 } };
	const struct ts_step own[] = {
		{ .want = "GET /elsewhere", .refuse = "X-Key", .reply = GOOD, .body = MANIFEST },
		{ 0 }
	};
	struct setup s;

	begin(&s, mirror, own, "header = { X-Key = 'k' }", NULL);
	snprintf(moved, sizeof(moved), "HTTP/1.1 307 There\r\nLocation: http://%s/elsewhere\r\n",
		 ts_host(s.own));
	EQ_INT(document(&s), 0);
	end(&s);
}

TEST(credentials_of_the_configuration_are_the_mirrors)
{
	const struct ts_step mirror[] = {
		{ .refuse = "Authorization",
		  .reply = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\n",
		  .body = "" },
		/* eve:m1rror */
		{ .want = "Authorization: Basic ZXZlOm0xcnJvcg==",
		  .reply = GOOD,
		  .body = MANIFEST },
		{ 0 }
	};
	const struct ts_step own[] = { { 0 } };
	struct setup s;

	begin(&s, mirror, own, "", "{username: eve, password: m1rror}");
	EQ_INT(document(&s), 0);
	end(&s);
}

TEST(a_blob_goes_on_at_the_registry)
{
	const struct ts_step mirror[] = {
		{ .reply = "HTTP/1.1 200 OK\r\n", .body = BLOB, .cut = 8, .end = TS_CLOSE }, { 0 }
	};
	const struct ts_step own[] = { { .want = "Range: bytes=8-\r\n",
					 .reply = "HTTP/1.1 206 Part\r\n"
						  "Content-Range: bytes 8-19/20\r\n",
					 .body = "89abcdefghij" },
				       { 0 } };
	K3_AUTO_BUF struct k3_buf out = K3_BUF(100);
	struct setup s;

	begin(&s, mirror, own, "", NULL);
	EQ_INT(blob(&s, &out), 0);
	EQ_STR((const char *)out.p, BLOB);
	EQ_INT(s.c.retries, 0);
	end(&s);
}

TEST(wrong_bytes_are_the_mirrors)
{
	const struct ts_step mirror[] = {
		{ .reply = "HTTP/1.1 200 OK\r\n", .body = "0123456789abcdefghiX" }, { 0 }
	};
	const struct ts_step own[] = {
		{ .refuse = "Range", .reply = "HTTP/1.1 200 OK\r\n", .body = BLOB }, { 0 }
	};
	K3_AUTO_BUF struct k3_buf out = K3_BUF(100);
	struct setup s;

	begin(&s, mirror, own, "", NULL);
	EQ_INT(blob(&s, &out), -1);
	EQ_INT(err.code, K3_DIGEST);
	CHECK(fetch_blame(s.c.s, fetch_sources(s.c.s), &err));
	HAS_STR(s.told, "sent wrong bytes and is not asked again in this run");
	k3_buf_reset(&out);
	EQ_INT(blob(&s, &out), 0);
	/* the registry itself is not to blame */
	CHECK(!fetch_blame(s.c.s, fetch_sources(s.c.s), &err));
	end(&s);
}

TEST(a_mirror_that_is_busy_is_asked_again_when_nobody_else_has_it)
{
	const struct ts_step mirror[] = { { .reply = "HTTP/1.1 503 Busy\r\n", .body = "" },
					  { .reply = GOOD, .body = MANIFEST },
					  { 0 } };
	const struct ts_step own[] = { { .reply = MISSING, .body = "" }, { 0 } };
	struct setup s;

	begin(&s, mirror, own, "", NULL);
	EQ_INT(document(&s), 0);
	EQ_INT(s.c.retries, 1);
	end(&s);
}

TEST(no_tag_from_a_mirror_without_resolve)
{
	const struct ts_step mirror[] = { { 0 } };
	const struct ts_step own[] = { { .reply = GOOD, .body = MANIFEST }, { 0 } };
	struct setup s;

	begin(&s, mirror, own, "capabilities = ['pull']", NULL);
	EQ_INT(document(&s), 0);
	end(&s);
}

TEST(a_low_limit_is_told_once)
{
	const struct ts_step mirror[] = { { .reply = GOOD "RateLimit-Limit: 100;w=21600\r\n"
							  "RateLimit-Remaining: 9;w=21600\r\n",
					    .body = MANIFEST },
					  { .reply = GOOD "RateLimit-Limit: 100;w=21600\r\n"
							  "RateLimit-Remaining: 8;w=21600\r\n",
					    .body = MANIFEST },
					  { 0 } };
	const struct ts_step own[] = { { 0 } };
	struct setup s;

	begin(&s, mirror, own, "", NULL);
	EQ_INT(document(&s), 0);
	EQ_INT(document(&s), 0);
	HAS_STR(s.told, "lets you pull 9 more images of 100 in 360 minutes");
	CHECK(!strstr(s.told, "pull 8"));
	end(&s);
}

UNIT_MAIN
