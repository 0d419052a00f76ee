/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/fetch.h"

#include <stdlib.h>

#include "tests/unit/testserver.h"
#include "tests/unit/unit.h"

#define SIZE 300000u
#define HAVE 1000u
#define OK200 "HTTP/1.1 200 OK\r\n"

static struct k3_err err;

/* A blob, the way it is asked for, and what came. */
struct job {
	uint8_t body[SIZE];
	struct oci_desc d;
	char path[256];
	struct k3_buf got;
	size_t fail_at; /* the sink fails when it has this much */
	struct k3_cancel *cancel_at;
	unsigned retries;
};

static void init(struct job *j)
{
	char text[OCI_DIGEST_TEXT_MAX];
	uint32_t x = 1;

	memset(j, 0, sizeof(*j));
	for (size_t i = 0; i < SIZE; i++) {
		x = x * 1664525 + 1013904223;
		j->body[i] = (uint8_t)(x >> 24);
	}
	j->d = (struct oci_desc){ .media = OCI_MEDIA_LAYER_TAR, .size = SIZE };
	oci_digest_of(K3_SHA256, j->body, SIZE, &j->d.digest);
	oci_digest_format(&j->d.digest, text);
	snprintf(j->path, sizeof(j->path), "GET /v2/a/b/blobs/%s HTTP/1.1\r\n", text);
	j->got = K3_BUF(2 * SIZE);
}

static int sink(void *arg, const void *p, size_t n, struct k3_err *e)
{
	struct job *j = arg;

	if (j->fail_at && j->got.len + n >= j->fail_at)
		return k3_fail(e, K3_NOSPC, "sink is full");
	return k3_buf_add(&j->got, p, n, e);
}

/* Fetches with `have` bytes there already. */
static int fetch(struct job *j, const struct ts_step *script, uint64_t have,
		 const struct fetch_opts *o)
{
	struct ts *t = ts_start(script);
	struct k3_hash *h = k3_hash_new(K3_SHA256);
	struct ts_client c;

	err = (struct k3_err){ 0 };
	k3_hash_add(h, j->body, have);
	OK(k3_buf_add(&j->got, j->body, have, &err));
	ts_connect(&c, t, "a/b:v1", o);
	int rc = fetch_blob(c.s, &c.r, &j->d, have, h, sink, j, &err);

	if (!rc) {
		EQ_INT(j->got.len, SIZE);
		CHECK(j->got.len == SIZE && !memcmp(j->got.p, j->body, SIZE));
	}
	j->retries = c.retries;
	k3_buf_release(&j->got);
	k3_hash_free(h);
	ts_disconnect(&c);
	ts_free(t);
	return rc;
}

static const char *range_reply(char *out, uint64_t first)
{
	sprintf(out, "HTTP/1.1 206 Partial\r\nContent-Range: bytes %llu-%u/%u\r\n",
		(unsigned long long)first, SIZE - 1, SIZE);
	return out;
}

static struct job job;
static char text[256];

TEST(whole_blob)
{
	init(&job);
	const struct ts_step script[] = {
		{ .want = job.path,
		  .refuse = "Range",
		  .reply = OK200,
		  .body = job.body,
		  .len = SIZE },
		{ 0 },
	};

	EQ_INT(fetch(&job, script, 0, NULL), 0);
	EQ_INT(job.retries, 0);
}

TEST(chunked_blob)
{
	init(&job);
	const struct ts_step script[] = {
		{ .reply = OK200, .body = job.body, .len = SIZE, .chunked = true }, { 0 }
	};

	EQ_INT(fetch(&job, script, 0, NULL), 0);
}

TEST(empty_blob_needs_no_request)
{
	init(&job);
	struct ts_client c;
	struct k3_hash *h = k3_hash_new(K3_SHA256);
	struct oci_desc d = { .size = 0 };

	ts_connect(&c, NULL, "a/b:v1", NULL);
	oci_digest_of(K3_SHA256, "", 0, &d.digest);
	OK(fetch_blob(c.s, &c.r, &d, 0, h, sink, &job, &err));
	d.digest.hash[0] ^= 1;
	FAILS(fetch_blob(c.s, &c.r, &d, 0, h, sink, &job, &err), K3_DIGEST);
	k3_hash_free(h);
	ts_disconnect(&c);
}

TEST(resume_by_range)
{
	init(&job);
	const struct ts_step script[] = {
		{ .want = job.path,
		  .want_too = "Range: bytes=1000-\r\n",
		  .reply = range_reply(text, HAVE),
		  .body = job.body + HAVE,
		  .len = SIZE - HAVE },
		{ 0 },
	};

	EQ_INT(fetch(&job, script, HAVE, NULL), 0);
}

TEST(range_ignored)
{
	init(&job);
	const struct ts_step script[] = {
		{ .want_too = "Range: bytes=1000-\r\n",
		  .reply = OK200,
		  .body = job.body,
		  .len = SIZE },
		{ 0 },
	};

	EQ_INT(fetch(&job, script, HAVE, NULL), 0);
}

TEST(range_refused)
{
	init(&job);
	const struct ts_step script[] = {
		{ .want_too = "Range: bytes=1000-\r\n", .reply = "HTTP/1.1 416 No\r\n" },
		{ .want = job.path,
		  .refuse = "Range",
		  .reply = OK200,
		  .body = job.body,
		  .len = SIZE },
		{ 0 },
	};

	EQ_INT(fetch(&job, script, HAVE, NULL), 0);
}

/* Signed storage URLs, proxies and others say no to ranges in their own ways. */
TEST(range_refused_by_other_statuses)
{
	static const char *const replies[] = {
		"HTTP/1.1 400 No\r\n", "HTTP/1.1 403 No\r\n", "HTTP/1.1 405 No\r\n",
		"HTTP/1.1 412 No\r\n", "HTTP/1.1 501 No\r\n",
	};

	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		init(&job);
		const struct ts_step script[] = {
			{ .want_too = "Range: bytes=1000-\r\n", .reply = replies[i] },
			{ .refuse = "Range", .reply = OK200, .body = job.body, .len = SIZE },
			{ 0 },
		};

		EQ_INT(fetch(&job, script, HAVE, NULL), 0);
		EQ_INT(job.retries, 1);
	}
}

TEST(range_failing_again_and_again)
{
	init(&job);
	const struct ts_step script[] = {
		{ .want_too = "Range: bytes=1000-\r\n", .reply = "HTTP/1.1 500 Oh\r\n" },
		{ .want_too = "Range: bytes=1000-\r\n", .reply = "HTTP/1.1 500 Oh\r\n" },
		{ .want_too = "Range: bytes=1000-\r\n", .reply = "HTTP/1.1 500 Oh\r\n" },
		{ .refuse = "Range", .reply = OK200, .body = job.body, .len = SIZE },
		{ 0 },
	};

	EQ_INT(fetch(&job, script, HAVE, NULL), 0);
	EQ_INT(job.retries, 3);
}

TEST(shorter_range_goes_on_at_once)
{
	init(&job);
	const struct ts_step script[] = {
		{ .want_too = "Range: bytes=1000-\r\n",
		  .reply = "HTTP/1.1 206 P\r\nContent-Range: bytes 1000-1999/300000\r\n",
		  .body = job.body + HAVE,
		  .len = 1000 },
		{ .want_too = "Range: bytes=2000-\r\n",
		  .reply = range_reply(text, 2000),
		  .body = job.body + 2000,
		  .len = SIZE - 2000 },
		{ 0 },
	};

	EQ_INT(fetch(&job, script, HAVE, NULL), 0);
	EQ_INT(job.retries, 0);
}

TEST(wrong_ranges)
{
	static const char *const bad[] = {
		"HTTP/1.1 206 P\r\nContent-Range: bytes 0-299999/300000\r\n",
		"HTTP/1.1 206 P\r\nContent-Range: bytes 1000-299999\r\n",
		"HTTP/1.1 206 P\r\n",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct ts_step script[] = {
			{ .want_too = "Range: bytes=1000-\r\n", .reply = bad[i], .body = "x" },
			/* what cannot do ranges is asked for the whole, once */
			{ .refuse = "Range", .reply = bad[i], .body = "x" },
			{ 0 }
		};
		const struct ts_step good[] = {
			{ .want_too = "Range: bytes=1000-\r\n", .reply = bad[i], .body = "x" },
			{ .refuse = "Range", .reply = OK200, .body = job.body, .len = SIZE },
			{ 0 }
		};

		init(&job);
		EQ_INT(fetch(&job, script, HAVE, NULL), -1);
		EQ_INT(err.code, K3_PROTO);
		HAS_STR(err.msg, "asked for bytes from 0");
		init(&job);
		EQ_INT(fetch(&job, good, HAVE, NULL), 0);
		EQ_INT(job.retries, 1);
	}
	const struct ts_step other[] = {
		{ .reply = "HTTP/1.1 206 P\r\nContent-Range: bytes 1000-1999/2000\r\n",
		  .body = "x" },
		{ 0 }
	};

	init(&job);
	EQ_INT(fetch(&job, other, HAVE, NULL), -1);
	EQ_INT(err.code, K3_DIGEST);
}

TEST(broken_transfers_continue)
{
	char second[128], third[128];

	init(&job);
	const struct ts_step script[] = {
		{ .reply = OK200, .body = job.body, .len = SIZE, .cut = 100000, .end = TS_CLOSE },
		{ .want_too = "Range: bytes=100000-\r\n",
		  .reply = range_reply(second, 100000),
		  .body = job.body + 100000,
		  .len = SIZE - 100000,
		  .cut = 70000,
		  .end = TS_CLOSE },
		{ .want_too = "Range: bytes=170000-\r\n",
		  .reply = range_reply(third, 170000),
		  .body = job.body + 170000,
		  .len = SIZE - 170000 },
		{ 0 },
	};
	/* two attempts suffice: each of them got further */
	const struct fetch_opts o = { .plain_http = true, .attempts = 2 };

	EQ_INT(fetch(&job, script, 0, &o), 0);
	EQ_INT(job.retries, 2);
}

/* A few bytes each time are no progress: the number of requests stays bounded. */
TEST(little_progress_gives_up)
{
	char replies[2][128];

	init(&job);
	const struct ts_step script[] = {
		{ .reply = OK200, .body = job.body, .len = SIZE, .cut = 100, .end = TS_CLOSE },
		{ .want_too = "Range: bytes=100-\r\n",
		  .reply = range_reply(replies[0], 100),
		  .body = job.body + 100,
		  .len = SIZE - 100,
		  .cut = 100,
		  .end = TS_CLOSE },
		{ .want_too = "Range: bytes=200-\r\n",
		  .reply = range_reply(replies[1], 200),
		  .body = job.body + 200,
		  .len = SIZE - 200,
		  .cut = 100,
		  .end = TS_CLOSE },
		{ 0 },
	};
	const struct fetch_opts o = { .plain_http = true, .attempts = 3 };

	EQ_INT(fetch(&job, script, 0, &o), -1);
	EQ_INT(err.code, K3_NET);
	EQ_INT(job.retries, 2);
	HAS_STR(err.msg, "gave up after 3 attempts");
	CHECK(err.hint[0]);
}

TEST(ranges_byte_by_byte_give_up)
{
	static struct ts_step script[FETCH_SHORT_RANGES_MAX + 2];
	static char replies[FETCH_SHORT_RANGES_MAX + 1][96];

	init(&job);
	for (unsigned i = 0; i <= FETCH_SHORT_RANGES_MAX; i++) {
		snprintf(replies[i], sizeof(replies[i]),
			 "HTTP/1.1 206 P\r\nContent-Range: bytes %u-%u/%u\r\n", HAVE + i, HAVE + i,
			 SIZE);
		script[i] = (struct ts_step){ .reply = replies[i],
					      .body = job.body + HAVE + i,
					      .len = 1 };
	}
	EQ_INT(fetch(&job, script, HAVE, NULL), -1);
	EQ_INT(err.code, K3_PROTO);
	HAS_STR(err.msg, "too many pieces");
	EQ_INT(job.retries, 0);
}

TEST(trickle_is_broken_off)
{
	init(&job);
	/* what trickles is part of the blob */
	for (size_t k = 5000; k < SIZE; k++)
		job.body[k] = (uint8_t) "a:\n"[(k - 5000) % 3];
	oci_digest_of(K3_SHA256, job.body, SIZE, &job.d.digest);
	const struct ts_step script[] = {
		{ .reply = OK200, .body = job.body, .len = SIZE, .cut = 5000, .end = TS_TRICKLE },
		{ .want_too = "Range: bytes=",
		  .reply = "HTTP/1.1 416 No\r\n" }, /* where it broke is not for us to say */
		{ .refuse = "Range", .reply = OK200, .body = job.body, .len = SIZE },
		{ 0 },
	};
	const struct fetch_opts o = { .plain_http = true, .stall_ms = 400 };

	EQ_INT(fetch(&job, script, 0, &o), 0);
	EQ_INT(job.retries, 2);
}

TEST(slow_header_is_broken_off)
{
	init(&job);
	const struct ts_step script[] = { { .reply = OK200, .raw = true, .end = TS_TRICKLE },
					  { 0 } };
	const struct fetch_opts o = { .plain_http = true, .stall_ms = 400, .attempts = 1 };

	EQ_INT(fetch(&job, script, 0, &o), -1);
	EQ_INT(err.code, K3_NET);
	CHECK(err.retry);
	HAS_STR(err.msg, "sent no whole header in 0.4 s");
}

/* Storage may say of a layer what it is; a proxy that encodes again is told by the hint. */
TEST(content_encoding)
{
	const char *encoded = OK200 "Content-Encoding: gzip\r\n";

	init(&job);
	const struct ts_step good[] = { { .want = "Accept-Encoding: identity\r\n",
					  .reply = encoded,
					  .body = job.body,
					  .len = SIZE },
					{ 0 } };
	const struct ts_step bad[] = { { .reply = encoded, .body = job.body + 1, .len = SIZE - 1 },
				       { 0 } };

	EQ_INT(fetch(&job, good, 0, NULL), 0);
	init(&job);
	EQ_INT(fetch(&job, bad, 0, NULL), -1);
	EQ_INT(err.code, K3_DIGEST);
	HAS_STR(err.hint, "Content-Encoding");
}

TEST(no_progress_gives_up)
{
	init(&job);
	const struct ts_step script[] = {
		{ .reply = OK200, .body = job.body, .len = SIZE, .cut = 1, .end = TS_CLOSE },
		{ .reply = "HTTP/1.1 500 Oh\r\n" },
		{ .reply = "HTTP/1.1 500 Oh\r\n" },
		{ 0 },
	};
	const struct fetch_opts o = { .plain_http = true, .attempts = 3 };

	EQ_INT(fetch(&job, script, 0, &o), -1);
	EQ_INT(err.code, K3_NET);
	EQ_INT(job.retries, 2);
}

TEST(stalled_transfer_continues)
{
	init(&job);
	const struct ts_step script[] = {
		{ .reply = OK200, .body = job.body, .len = SIZE, .cut = 70000, .end = TS_STALL },
		{ .want_too = "Range: bytes=70000-\r\n",
		  .reply = range_reply(text, 70000),
		  .body = job.body + 70000,
		  .len = SIZE - 70000 },
		{ 0 },
	};
	const struct fetch_opts o = { .plain_http = true, .stall_ms = 100 };

	EQ_INT(fetch(&job, script, 0, &o), 0);
	EQ_INT(job.retries, 1);
}

TEST(silent_server_times_out)
{
	init(&job);
	const struct ts_step script[] = { { .reply = "", .raw = true, .end = TS_STALL }, { 0 } };
	const struct fetch_opts o = { .plain_http = true, .stall_ms = 300, .attempts = 1 };

	EQ_INT(fetch(&job, script, 0, &o), -1);
	EQ_INT(err.code, K3_NET);
	CHECK(err.retry);
	HAS_STR(err.msg, "sent nothing for 0.3 s");
}

TEST(clean_but_short_end)
{
	init(&job);
	const struct ts_step script[] = {
		{ .reply = OK200, .body = job.body, .len = SIZE - 7, .chunked = true },
		{ .want_too = "Range: bytes=299993-\r\n", .reply = "HTTP/1.1 416 No\r\n" },
		{ .refuse = "Range", .reply = OK200, .body = job.body, .len = SIZE - 7 },
		{ 0 },
	};

	EQ_INT(fetch(&job, script, 0, NULL), -1);
	EQ_INT(err.code, K3_DIGEST);
	HAS_STR(err.msg, "the registry has 299993");
}

TEST(larger_than_described)
{
	init(&job);
	const struct ts_step streamed[] = { { .reply = OK200,
					      .body = job.body,
					      .len = SIZE,
					      .no_length = true,
					      .end = TS_CLOSE },
					    { 0 } };
	const struct ts_step declared[] = { { .reply = OK200, .body = job.body, .len = SIZE },
					    { 0 } };

	job.d.size = SIZE - 1;
	EQ_INT(fetch(&job, streamed, 0, NULL), -1);
	EQ_INT(err.code, K3_DIGEST);
	HAS_STR(err.msg, "larger than");
	CHECK(!err.retry);
	init(&job);
	job.d.size = SIZE - 1;
	EQ_INT(fetch(&job, declared, 0, NULL), -1);
	EQ_INT(err.code, K3_DIGEST);
	HAS_STR(err.msg, "size differs");
}

TEST(digest_differs)
{
	init(&job);
	const struct ts_step script[] = { { .reply = OK200, .body = job.body, .len = SIZE },
					  { 0 } };

	job.d.digest.hash[31] ^= 1;
	EQ_INT(fetch(&job, script, 0, NULL), -1);
	EQ_INT(err.code, K3_DIGEST);
	HAS_STR(err.msg, "digest differs: expected sha256:");
	EQ_INT(job.retries, 0);
}

TEST(missing_blob)
{
	init(&job);
	const struct ts_step script[] = { { .reply = "HTTP/1.1 404 No\r\n" }, { 0 } };

	EQ_INT(fetch(&job, script, 0, NULL), -1);
	EQ_INT(err.code, K3_NOTFOUND);
	HAS_STR(err.msg, "has no blob sha256:");
}

TEST(sink_error_comes_back_untouched)
{
	init(&job);
	const struct ts_step script[] = {
		{ .reply = OK200, .body = job.body, .len = SIZE, .end = TS_CLOSE }, { 0 }
	};

	job.fail_at = 150000;
	EQ_INT(fetch(&job, script, 0, NULL), -1);
	EQ_INT(err.code, K3_NOSPC);
	EQ_STR(err.msg, "sink is full");
	EQ_INT(job.retries, 0);
}

/* The blob comes from a storage server on another port. */
static void redirected(const char *status)
{
	const struct ts_step storage_script[] = {
		{ .want = "GET /store?sig=x%2Fy HTTP/1.1\r\n",
		  .refuse = "Authorization",
		  .reply = OK200,
		  .body = job.body,
		  .len = SIZE },
		{ 0 },
	};
	struct ts *storage = ts_start(storage_script);
	char reply[256];

	snprintf(reply, sizeof(reply), "HTTP/1.1 %s\r\nLocation: http://%s/store?sig=x%%2Fy\r\n",
		 status, ts_host(storage));
	const struct ts_step script[] = {
		{ .reply = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\n" },
		{ .want = "Authorization: Basic Ym9iOnMzY3JldA==\r\n", .reply = reply },
		{ 0 },
	};
	const struct fetch_opts o = { .plain_http = true, .creds = "bob:s3cret" };

	EQ_INT(fetch(&job, script, 0, &o), 0);
	ts_free(storage);
}

TEST(redirect_drops_authorization)
{
	init(&job);
	redirected("307 Temporary Redirect");
	init(&job);
	redirected("302 Found");
}

TEST(relative_redirect_keeps_authorization)
{
	init(&job);
	const struct ts_step script[] = {
		{ .reply = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\n" },
		{ .want = "Authorization: Basic",
		  .reply = "HTTP/1.1 308 P\r\nLocation: /other\r\n" },
		{ .want = "GET /other ",
		  .want_too = "Authorization: Basic",
		  .reply = OK200,
		  .body = job.body,
		  .len = SIZE },
		{ 0 },
	};
	const struct fetch_opts o = { .plain_http = true, .creds = "bob:s3cret" };

	EQ_INT(fetch(&job, script, 0, &o), 0);
}

TEST(redirect_loop_ends)
{
	struct ts_step script[FETCH_REDIRECTS_MAX + 2] = { 0 };

	init(&job);
	for (int i = 0; i <= FETCH_REDIRECTS_MAX; i++)
		script[i].reply = "HTTP/1.1 302 Found\r\nLocation: /again\r\n";
	EQ_INT(fetch(&job, script, 0, NULL), -1);
	EQ_INT(err.code, K3_PROTO);
	HAS_STR(err.msg, "more than 10 redirects");
}

struct canceller {
	struct ts *t;
	struct k3_cancel *c;
};

static void cancel_later(void *arg)
{
	struct canceller *x = arg;
	struct k3_err why;

	ts_wait(x->t, 1);
	k3_fail(&why, K3_CANCELLED, "stopped by the test");
	k3_cancel_raise(x->c, &why);
}

TEST(cancel_reacts_quickly)
{
	const struct ts_step script[] = {
		{ .reply = OK200, .body = job.body, .len = SIZE, .cut = 5000, .end = TS_STALL },
		{ 0 }
	};
	struct canceller x = { .t = ts_start(script), .c = k3_cancel_new() };
	const struct fetch_opts o = { .plain_http = true, .cancel = x.c };
	struct k3_hash *h = k3_hash_new(K3_SHA256);
	struct k3_thread *thread;
	struct ts_client c;

	init(&job);
	ts_connect(&c, x.t, "a/b:v1", &o);
	uint64_t start = k3_now_ms();

	OK(k3_thread_start(cancel_later, &x, &thread, &err));
	FAILS(fetch_blob(c.s, &c.r, &job.d, 0, h, sink, &job, &err), K3_CANCELLED);
	EQ_STR(err.msg, "stopped by the test");
	CHECK(k3_now_ms() - start < 400);
	k3_thread_join(thread);
	k3_buf_release(&job.got);
	k3_hash_free(h);
	ts_disconnect(&c);
	k3_cancel_free(x.c);
	ts_free(x.t);
}

UNIT_MAIN
