/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/fetch.h"

#include <stdlib.h>

#include "tests/unit/testserver.h"
#include "tests/unit/unit.h"

#define OCI "application/vnd.oci.image.manifest.v1+json"
#define OK200 "HTTP/1.1 200 OK\r\n"
#define TYPED OK200 "Content-Type: " OCI "\r\n"
#define MANIFEST                                                                                   \
	"{\"schemaVersion\":2,\"mediaType\":\"" OCI "\",\"config\":{\"mediaType\":"                \
	"\"application/vnd.oci.image.config.v1+json\",\"digest\":\"sha256:"                        \
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"size\":0},"          \
	"\"layers\":[]}"
#define GET_V1 "GET /v2/a/b/manifests/v1 HTTP/1.1\r\n"
#define HEAD_V1 "HEAD /v2/a/b/manifests/v1 HTTP/1.1\r\n"

static struct k3_err err;

static void digest_text(const char *body, enum k3_hash_alg alg, char out[OCI_DIGEST_TEXT_MAX])
{
	struct oci_digest d;

	oci_digest_of(alg, body, strlen(body), &d);
	oci_digest_format(&d, out);
}

/* Fetches a/b:v1 from a server with this script. */
static int fetch(const struct ts_step *script, struct oci_desc *got, unsigned *retries)
{
	struct ts *t = ts_start(script);
	struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	struct ts_client c;

	err = (struct k3_err){ 0 };
	ts_connect(&c, t, "a/b:v1", NULL);
	int rc = fetch_document(c.s, &c.r, NULL, &raw, got, &err);

	if (!rc)
		EQ_STR((char *)raw.p, MANIFEST);
	if (retries)
		*retries = c.retries;
	k3_buf_release(&raw);
	ts_disconnect(&c);
	ts_free(t);
	return rc;
}

/* One answer, expected to fail at once with this code and text. */
static void refused(const char *reply, const char *body, enum k3_code code, const char *text)
{
	const struct ts_step script[] = { { .reply = reply, .body = body, .end = TS_CLOSE },
					  { 0 } };
	struct oci_desc got;

	EQ_INT(fetch(script, &got, NULL), -1);
	EQ_STR(k3_code_name(err.code), k3_code_name(code));
	HAS_STR(err.msg, text);
	HAS_STR(err.msg, "127.0.0.1:");
}

TEST(manifest_by_tag)
{
	const struct ts_step script[] = {
		{ .want = GET_V1,
		  .want_too = "application/vnd.oci.image.index.v1+json",
		  .refuse = "Authorization",
		  .reply = TYPED,
		  .body = MANIFEST },
		{ 0 },
	};
	char want[OCI_DIGEST_TEXT_MAX], have[OCI_DIGEST_TEXT_MAX];
	struct oci_desc got;

	EQ_INT(fetch(script, &got, NULL), 0);
	digest_text(MANIFEST, K3_SHA256, want);
	oci_digest_format(&got.digest, have);
	EQ_STR(have, want);
	EQ_INT(got.size, strlen(MANIFEST));
	EQ_INT(got.media, OCI_MEDIA_MANIFEST);
	EQ_STR(got.media_text, OCI);
}

TEST(chunked_manifest_with_parameters_in_its_type)
{
	const struct ts_step script[] = {
		{ .reply = OK200 "Content-Type: " OCI "; charset=utf-8\r\n",
		  .body = MANIFEST,
		  .chunked = true },
		{ 0 },
	};
	struct oci_desc got;

	EQ_INT(fetch(script, &got, NULL), 0);
	EQ_STR(got.media_text, OCI);
}

TEST(vague_or_missing_type)
{
	static const char *const replies[] = { OK200, OK200 "Content-Type: application/json\r\n",
					       OK200 "Content-Type: text/plain; charset=x\r\n" };

	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		const struct ts_step script[] = { { .reply = replies[i], .body = MANIFEST },
						  { 0 } };
		struct oci_desc got = { 0 };

		EQ_INT(fetch(script, &got, NULL), 0);
		EQ_INT(got.media, OCI_MEDIA_MANIFEST);
		EQ_STR(got.media_text, OCI);
	}
}

TEST(sha512_header_digest)
{
	char text[OCI_DIGEST_TEXT_MAX], reply[512];
	struct oci_desc got;

	digest_text(MANIFEST, K3_SHA512, text);
	snprintf(reply, sizeof(reply), TYPED "Docker-Content-Digest: %s\r\n", text);
	const struct ts_step script[] = { { .reply = reply, .body = MANIFEST }, { 0 } };

	EQ_INT(fetch(script, &got, NULL), 0);
	EQ_INT(got.digest.alg, K3_SHA512);
}

TEST(bad_answers)
{
	refused("HTTP/1.1 404 Not Found\r\n",
		"{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"manifest unknown\"}]}",
		K3_NOTFOUND, "/a/b:v1 (HTTP 404: manifest unknown)");
	refused("HTTP/1.1 403 Forbidden\r\n", "{\"errors\":[{\"code\":\"DENIED\"}]}", K3_AUTH,
		"HTTP 403: DENIED");
	refused("HTTP/1.1 400 Bad Request\r\n", "{\"errors\":[{\"message\":\"a\\u001b[31mb\"}]}",
		K3_PROTO, "HTTP 400: a\\x1b[31mb");
	refused("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n", "<html>", K3_PROTO, "web page");
	refused("HTTP/1.1 204 No Content\r\n", NULL, K3_PROTO, "HTTP 204");
	refused(OK200, "what?", K3_FORMAT, "not valid JSON");
	refused(OK200, NULL, K3_FORMAT, "not valid JSON");
	refused(OK200, "[]", K3_FORMAT, "not a JSON object");
	refused(OK200, "{}", K3_UNSUPPORTED, "neither");
	refused(OK200 "Content-Type: application/vnd.oci.image.index.v1+json\r\n", MANIFEST,
		K3_PROTO, "the document says " OCI);
	refused(OK200 "Content-Type: application/vnd.docker.distribution.manifest.v1+prettyjws\r\n",
		"{\"schemaVersion\":1,\"name\":\"x\"}", K3_UNSUPPORTED, "schema 1");
	refused(TYPED "X: a\tb\r\nY: a\x01z\r\n", MANIFEST, K3_PROTO, "control characters");
	refused(TYPED "Docker-Content-Digest: sha256:"
		      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n",
		MANIFEST, K3_DIGEST, "announces sha256:e3b0c4");
	refused(TYPED "Content-Length: 5\r\n", MANIFEST, K3_PROTO, "two different Content-Lengths");
	refused("HTTP/1.1 302 Found\r\n", NULL, K3_PROTO, "without a Location");
	refused("HTTP/1.1 302 Found\r\nLocation: ftp://x/\r\n", NULL, K3_PROTO, "scheme");
	refused("HTTP/1.1 302 Found\r\nLocation: http://u:p@x/\r\n", NULL, K3_PROTO, "redirect");
}

TEST(malformed_header_digest_is_not_used)
{
	const struct ts_step script[] = {
		{ .reply = TYPED "Docker-Content-Digest: md5:abc\r\n", .body = MANIFEST }, { 0 }
	};
	struct oci_desc got;

	EQ_INT(fetch(script, &got, NULL), 0);
	EQ_INT(got.digest.alg, K3_SHA256);
}

TEST(garbage_is_not_retried)
{
	const struct ts_step script[] = {
		{ .reply = "hello\r\n\r\n", .raw = true, .end = TS_CLOSE }, { 0 }
	};
	struct oci_desc got;

	EQ_INT(fetch(script, &got, NULL), -1);
	EQ_INT(err.code, K3_PROTO);
	HAS_STR(err.msg, "does not answer in HTTP");
}

TEST(nothing_is_retried)
{
	const struct ts_step script[] = {
		{ .reply = "", .raw = true, .end = TS_CLOSE },
		{ .reply = "", .raw = true, .end = TS_RESET },
		{ .reply = "HTTP/1.1 503 Busy\r\n", .end = TS_CLOSE },
		{ .reply = "HTTP/1.1 200 OK\r\nContent-T", .raw = true, .end = TS_CLOSE },
		{ .reply = TYPED, .body = MANIFEST },
		{ 0 },
	};
	struct oci_desc got;
	unsigned retries = 0;

	EQ_INT(fetch(script, &got, &retries), 0);
	EQ_INT(retries, 4);
}

TEST(gives_up_after_all_attempts)
{
	const struct ts_step script[] = {
		{ .reply = "HTTP/1.1 500 Oh\r\n" },
		{ .reply = "HTTP/1.1 502 Oh\r\n" },
		{ .reply = "HTTP/1.1 503 Oh\r\n" },
		{ .reply = "HTTP/1.1 504 Oh\r\n" },
		{ .reply = "HTTP/1.1 500 Oh\r\n", .body = "{\"errors\":[{\"message\":\"dead\"}]}" },
		{ 0 },
	};
	struct oci_desc got;
	unsigned retries = 0;

	EQ_INT(fetch(script, &got, &retries), -1);
	EQ_INT(err.code, K3_NET);
	CHECK(err.retry);
	EQ_INT(retries, 4);
	HAS_STR(err.msg, "gave up after 5 attempts");
	HAS_STR(err.msg, "HTTP 500: dead");
}

TEST(rate_limit_waits_as_told)
{
	const struct ts_step script[] = {
		{ .reply = "HTTP/1.1 429 Slow down\r\nRetry-After: 1\r\n",
		  .body = "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\"}]}" },
		{ .reply = TYPED, .body = MANIFEST },
		{ 0 },
	};
	struct ts *t = ts_start(script);
	struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	struct ts_client c;
	struct oci_desc got;

	ts_connect(&c, t, "a/b:v1", NULL);
	OK(fetch_document(c.s, &c.r, NULL, &raw, &got, &err));
	EQ_INT(c.retries, 1);
	EQ_INT(c.waited, 1000); /* the registry's word, not our back-off */
	k3_buf_release(&raw);
	ts_disconnect(&c);
	ts_free(t);
}

/* Longer than the request may take: asking again before would be rude, waiting too long. */
TEST(rate_limit_that_takes_too_long)
{
	static const char *const values[] = { "61", "99999999999999999999",
					      "Fri, 31 Dec 9999 23:59:59 GMT" };

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		char reply[128];
		struct oci_desc got;
		unsigned retries = 7;

		snprintf(reply, sizeof(reply), "HTTP/1.1 429 Slow\r\nRetry-After: %s\r\n",
			 values[i]);
		const struct ts_step script[] = { { .reply = reply }, { 0 } };

		EQ_INT(fetch(script, &got, &retries), -1);
		EQ_INT(err.code, K3_NET);
		EQ_INT(retries, 0);
		HAS_STR(err.msg, i ? "asked again in 86400 s" : "asked again in 61 s");
		CHECK(err.hint[0]);
	}
}

/* All requests of a run together wait for a dead host as long as one may. */
TEST(silent_host_is_waited_for_once)
{
	const struct ts_step script[] = { { .reply = "", .raw = true, .end = TS_STALL },
					  { .reply = "", .raw = true, .end = TS_STALL },
					  { 0 } };
	const struct fetch_opts o = { .plain_http = true, .stall_ms = 300, .attempts = 2 };
	struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	struct ts *t = ts_start(script);
	struct oci_desc got;
	struct ts_client c;

	ts_connect(&c, t, "a/b:v1", &o);
	FAILS(fetch_document(c.s, &c.r, NULL, &raw, &got, &err), K3_NET);
	HAS_STR(err.msg, "gave up after 2 attempts");
	err = (struct k3_err){ 0 };
	FAILS(fetch_resolve(c.s, &c.r, &got, &err), K3_NET);
	HAS_STR(err.msg, "sent nothing for 0.3 s");
	EQ_INT(c.retries, 1);
	k3_buf_release(&raw);
	ts_disconnect(&c);
	ts_free(t);
}

/* One that has answered before is not given up: it is asked as often as others. */
TEST(host_that_was_heard_is_asked_again)
{
	const struct ts_step script[] = { { .reply = TYPED, .body = MANIFEST },
					  { .reply = "", .raw = true, .end = TS_STALL },
					  { .reply = TYPED, .body = MANIFEST },
					  { 0 } };
	const struct fetch_opts o = { .plain_http = true, .stall_ms = 300, .attempts = 1 };
	struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	struct ts *t = ts_start(script);
	struct oci_desc got;
	struct ts_client c;

	ts_connect(&c, t, "a/b:v1", &o);
	OK(fetch_document(c.s, &c.r, NULL, &raw, &got, &err));
	FAILS(fetch_document(c.s, &c.r, NULL, &raw, &got, &err), K3_NET);
	OK(fetch_document(c.s, &c.r, NULL, &raw, &got, &err));
	k3_buf_release(&raw);
	ts_disconnect(&c);
	ts_free(t);
}

/* The time limit holds whatever number of attempts there would be. */
TEST(time_runs_out_before_attempts)
{
	const struct ts_step script[] = { { .reply = "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\n" },
					  { .reply = "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\n" },
					  { 0 } };
	const struct fetch_opts o = { .plain_http = true, .timeout_ms = 1900, .attempts = 100 };
	struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	struct ts *t = ts_start(script);
	struct oci_desc got;
	struct ts_client c;

	ts_connect(&c, t, "a/b:v1", &o);
	FAILS(fetch_document(c.s, &c.r, NULL, &raw, &got, &err), K3_NET);
	EQ_INT(c.retries, 1);
	HAS_STR(err.msg, "gave up after 2 attempts");
	k3_buf_release(&raw);
	ts_disconnect(&c);
	ts_free(t);
}

TEST(refused_connection_is_tried_twice)
{
	struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	struct oci_desc got;
	struct ts_client c;

	ts_connect(&c, NULL, "a/b:v1", NULL);
	FAILS(fetch_document(c.s, &c.r, NULL, &raw, &got, &err), K3_NET);
	HAS_STR(err.msg, "Connection refused");
	CHECK(err.retry);
	EQ_INT(c.retries, 1);
	k3_buf_release(&raw);
	ts_disconnect(&c);
}

static void too_large(bool no_length, uint64_t want_size, enum k3_code code)
{
	static char body[20000];
	const struct ts_step script[] = { { .reply = TYPED,
					    .body = body,
					    .len = sizeof(body),
					    .no_length = no_length,
					    .end = TS_CLOSE },
					  { 0 } };
	struct ts *t = ts_start(script);
	struct k3_buf raw = K3_BUF(10000);
	struct oci_desc got, want = { .media = OCI_MEDIA_MANIFEST, .size = want_size };
	struct ts_client c;

	ts_connect(&c, t, "a/b:v1", NULL);
	FAILS(fetch_document(c.s, &c.r, want_size ? &want : NULL, &raw, &got, &err), code);
	CHECK(raw.len <= 10000);
	k3_buf_release(&raw);
	ts_disconnect(&c);
	ts_free(t);
}

TEST(too_large_by_length_and_by_streaming)
{
	too_large(false, 0, K3_LIMIT);
	too_large(true, 0, K3_LIMIT);
	too_large(false, 500, K3_DIGEST);
	too_large(true, 500, K3_DIGEST);
}

/* want decides path, size and digest. */
static void by_descriptor(const char *body, uint64_t size, enum oci_media media, enum k3_code code)
{
	char text[OCI_DIGEST_TEXT_MAX], path[256];
	struct oci_desc want = { .media = media, .size = size }, got;
	struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	struct ts_client c;

	digest_text(MANIFEST, K3_SHA512, text);
	snprintf(path, sizeof(path), "GET /v2/a/b/manifests/%s ", text);
	oci_digest_of(K3_SHA512, MANIFEST, strlen(MANIFEST), &want.digest);
	const struct ts_step script[] = { { .want = path, .reply = TYPED, .body = body }, { 0 } };
	struct ts *t = ts_start(script);

	ts_connect(&c, t, "a/b:v1", NULL);
	if (code == K3_OK) {
		OK(fetch_document(c.s, &c.r, &want, &raw, &got, &err));
		CHECK(oci_digest_eq(&got.digest, &want.digest));
	} else {
		FAILS(fetch_document(c.s, &c.r, &want, &raw, &got, &err), code);
	}
	k3_buf_release(&raw);
	ts_disconnect(&c);
	ts_free(t);
}

TEST(document_by_descriptor)
{
	by_descriptor(MANIFEST, strlen(MANIFEST), OCI_MEDIA_MANIFEST, K3_OK);
	by_descriptor(MANIFEST, strlen(MANIFEST) + 1, OCI_MEDIA_MANIFEST, K3_DIGEST);
	by_descriptor(MANIFEST, strlen(MANIFEST), OCI_MEDIA_INDEX, K3_PROTO);
	by_descriptor("{\"layers\":[],\"config\":{}}", 25, OCI_MEDIA_MANIFEST, K3_DIGEST);
}

/* Resolves a/b:v1. */
static int resolve(const struct ts_step *script, struct oci_desc *got)
{
	struct ts *t = ts_start(script);
	struct ts_client c;

	err = (struct k3_err){ 0 };
	ts_connect(&c, t, "a/b:v1", NULL);
	int rc = fetch_resolve(c.s, &c.r, got, &err);

	ts_disconnect(&c);
	ts_free(t);
	return rc;
}

TEST(resolve_by_head)
{
	char text[OCI_DIGEST_TEXT_MAX], have[OCI_DIGEST_TEXT_MAX], reply[512];
	struct oci_desc got;

	digest_text(MANIFEST, K3_SHA256, text);
	snprintf(reply, sizeof(reply), TYPED "Docker-Content-Digest: %s\r\n", text);
	const struct ts_step script[] = { { .want = HEAD_V1, .reply = reply, .body = MANIFEST },
					  { 0 } };

	EQ_INT(resolve(script, &got), 0);
	oci_digest_format(&got.digest, have);
	EQ_STR(have, text);
	EQ_INT(got.size, strlen(MANIFEST));
	EQ_INT(got.media, OCI_MEDIA_MANIFEST);
}

TEST(resolve_by_get_where_head_is_poor)
{
	static const char *const poor[] = { TYPED, "HTTP/1.1 405 No\r\n", "HTTP/1.1 501 No\r\n" };

	for (size_t i = 0; i < sizeof(poor) / sizeof(poor[0]); i++) {
		const struct ts_step script[] = {
			{ .want = HEAD_V1, .reply = poor[i], .body = MANIFEST },
			{ .want = GET_V1, .reply = TYPED, .body = MANIFEST },
			{ 0 },
		};
		struct oci_desc got;

		EQ_INT(resolve(script, &got), 0);
		EQ_INT(got.size, strlen(MANIFEST));
	}
}

TEST(resolve_failures)
{
	const struct ts_step missing[] = { { .want = HEAD_V1, .reply = "HTTP/1.1 404 No\r\n" },
					   { 0 } };
	const struct ts_step busy[] = { { .want = HEAD_V1, .reply = "HTTP/1.1 503 No\r\n" },
					{ .want = HEAD_V1, .reply = "HTTP/1.1 404 No\r\n" },
					{ 0 } };
	struct oci_desc got;

	EQ_INT(resolve(missing, &got), -1);
	EQ_INT(err.code, K3_NOTFOUND);
	EQ_INT(resolve(busy, &got), -1);
	EQ_INT(err.code, K3_NOTFOUND);
}

TEST(resolve_of_a_digest_needs_no_network)
{
	struct oci_desc got;
	struct ts_client c;

	ts_connect(&c, NULL,
		   "a/b@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		   NULL);
	OK(fetch_resolve(c.s, &c.r, &got, &err));
	CHECK(oci_digest_eq(&got.digest, &c.r.digest));
	ts_disconnect(&c);
}

TEST(loopback_without_tls_falls_back_once)
{
	const struct ts_step script[] = {
		{ .want = GET_V1, .reply = "HTTP/1.1 404 No\r\n" },
		{ .want = GET_V1, .reply = TYPED, .body = MANIFEST },
		{ 0 },
	};
	const struct fetch_opts o = { 0 };
	struct ts *t = ts_start(script);
	struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	struct ts_client c;
	struct oci_desc got;

	ts_connect(&c, t, "a/b:v1", &o);
	FAILS(fetch_document(c.s, &c.r, NULL, &raw, &got, &err), K3_NOTFOUND);
	OK(fetch_document(c.s, &c.r, NULL, &raw, &got, &err));
	EQ_INT(ts_strangers(t), 1);
	EQ_INT(c.retries, 0);
	k3_buf_release(&raw);
	ts_disconnect(&c);
	ts_free(t);
}

static void fetch_404(void *arg)
{
	struct ts_client *c = arg;
	struct fetch_session *s;
	struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	struct oci_desc got;
	struct k3_err e = { 0 };

	if (!fetch_session_new(c->f, &s, &e)) {
		if (fetch_document(s, &c->r, NULL, &raw, &got, &e))
			c->retries += e.code == K3_NOTFOUND;
		fetch_session_free(s);
	}
	k3_buf_release(&raw);
}

TEST(sessions_of_several_threads)
{
	const struct ts_step script[] = { { .reply = "HTTP/1.1 404 No\r\n" },
					  { .reply = "HTTP/1.1 404 No\r\n" },
					  { .reply = "HTTP/1.1 404 No\r\n" },
					  { 0 } };
	const struct fetch_opts o = { 0 };
	struct ts *t = ts_start(script);
	struct ts_client shared, each[3];
	struct k3_thread *threads[3];

	ts_connect(&shared, t, "a/b:v1", &o);
	for (int i = 0; i < 3; i++) {
		each[i] = (struct ts_client){ .f = shared.f, .r = shared.r };
		OK(k3_thread_start(fetch_404, &each[i], &threads[i], &err));
	}
	for (int i = 0; i < 3; i++) {
		k3_thread_join(threads[i]);
		EQ_INT(each[i].retries, 1);
	}
	CHECK(ts_strangers(t) >= 1);
	ts_disconnect(&shared);
	ts_free(t);
}

TEST(endless_headers_end)
{
	static char reply[100000] = TYPED;
	size_t n = strlen(reply);

	while (n + 100 < sizeof(reply))
		n += (size_t)sprintf(reply + n, "X-%060zu: y\r\n", n);
	refused(reply, MANIFEST, K3_LIMIT, "headers");
}

UNIT_MAIN
