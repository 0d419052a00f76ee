/* SPDX-License-Identifier: Apache-2.0 */
/* One range of a blob, from a server that follows a script. */
#include "fetch/fetch.h"

#include "tests/unit/testserver.h"
#include "tests/unit/unit.h"

#define SIZE 300000u
#define FIRST 100000u
#define END 200000u
#define LEN (END - FIRST)
#define OK200 "HTTP/1.1 200 OK\r\n"
#define ASKED "Range: bytes=100000-199999\r\n"

static struct k3_err err;

static struct job {
	uint8_t body[SIZE];
	struct oci_desc d;
	struct fetch_part part;
	struct k3_buf got;
	unsigned retries;
} job;

static void init(void)
{
	uint32_t x = 1;

	memset(&job, 0, sizeof(job));
	for (size_t i = 0; i < SIZE; i++) {
		x = x * 1664525 + 1013904223;
		job.body[i] = (uint8_t)(x >> 24);
	}
	job.d = (struct oci_desc){ .media = OCI_MEDIA_LAYER_TAR, .size = SIZE };
	oci_digest_of(K3_SHA256, job.body, SIZE, &job.d.digest);
	job.part = (struct fetch_part){ .first = FIRST, .end = END, .at = FIRST };
	job.got = K3_BUF(2 * SIZE);
}

static int sink(void *arg, const void *p, size_t n, struct k3_err *e)
{
	struct job *j = arg;

	return k3_buf_add(&j->got, p, n, e);
}

/* Fetches job.part; what came must be what was asked for. */
static int fetch(const struct ts_step *script, const struct fetch_opts *o)
{
	struct ts *t = ts_start(script);
	uint64_t from = job.part.at;
	struct ts_client c;

	err = (struct k3_err){ 0 };
	ts_connect(&c, t, "a/b:v1", o);
	int rc = fetch_blob_part(c.s, &c.r, &job.d, &job.part, sink, &job, &err);

	EQ_INT(job.got.len, job.part.at - from);
	CHECK(!job.got.len || !memcmp(job.got.p, job.body + from, job.got.len));
	if (!rc)
		EQ_INT(job.part.at, job.part.whole ? SIZE : job.part.end);
	job.retries = c.retries;
	k3_buf_release(&job.got);
	ts_disconnect(&c);
	ts_free(t);
	return rc;
}

/* A 206 for the bytes from first to last; more: further header lines. */
static const char *reply(char out[256], unsigned first, unsigned last, unsigned total,
			 const char *more)
{
	snprintf(out, 256, "HTTP/1.1 206 Partial\r\nContent-Range: bytes %u-%u/%u\r\n%s", first,
		 last, total, more);
	return out;
}

static char text[256], other[256], third[256];

TEST(asks_for_its_range)
{
	init();
	const struct ts_step script[] = {
		{ .want = ASKED,
		  .reply = reply(text, FIRST, END - 1, SIZE, ""),
		  .body = job.body + FIRST,
		  .len = LEN },
		{ 0 },
	};

	EQ_INT(fetch(script, NULL), 0);
	EQ_INT(job.retries, 0);
	CHECK(!job.part.refused);
	EQ_STR(job.part.tag, "");
}

TEST(last_range_is_closed_too)
{
	init();
	job.part = (struct fetch_part){ .first = END, .end = SIZE, .at = END };
	const struct ts_step script[] = {
		{ .want = "Range: bytes=200000-\r\n",
		  .reply = reply(text, END, SIZE - 1, SIZE, ""),
		  .body = job.body + END,
		  .len = SIZE - END },
		{ 0 },
	};

	EQ_INT(fetch(script, NULL), 0);
}

TEST(goes_on_inside_the_range)
{
	init();
	job.part.at = FIRST + 500;
	const struct ts_step script[] = {
		{ .want = "Range: bytes=100500-199999\r\n",
		  .reply = reply(text, FIRST + 500, END - 1, SIZE, ""),
		  .body = job.body + FIRST + 500,
		  .len = LEN - 500,
		  .cut = 20000,
		  .end = TS_CLOSE },
		{ .want = "Range: bytes=120500-199999\r\n", .reply = "HTTP/1.1 503 Busy\r\n" },
		{ .want = "Range: bytes=120500-199999\r\n",
		  .reply = reply(other, 120500, END - 1, SIZE, ""),
		  .body = job.body + 120500,
		  .len = END - 120500 },
		{ 0 },
	};

	EQ_INT(fetch(script, NULL), 0);
	EQ_INT(job.retries, 2);
}

TEST(shorter_ranges_go_on_at_once)
{
	init();
	const struct ts_step script[] = {
		{ .want = ASKED,
		  .reply = reply(text, FIRST, FIRST + 999, SIZE, ""),
		  .body = job.body + FIRST,
		  .len = 1000 },
		{ .want = "Range: bytes=101000-199999\r\n",
		  .reply = reply(other, FIRST + 1000, END - 1, SIZE, ""),
		  .body = job.body + FIRST + 1000,
		  .len = LEN - 1000 },
		{ 0 },
	};

	EQ_INT(fetch(script, NULL), 0);
	EQ_INT(job.retries, 0);
}

TEST(whole_is_taken_only_by_the_first)
{
	init();
	const struct ts_step script[] = {
		{ .want = ASKED, .reply = OK200, .body = job.body, .len = SIZE }, { 0 }
	};

	EQ_INT(fetch(script, NULL), -1);
	CHECK(job.part.refused);
	CHECK(!job.part.whole);
	EQ_INT(job.part.at, FIRST);
	EQ_INT(err.code, K3_PROTO);
	init();
	job.part.whole_too = true;
	EQ_INT(fetch(script, NULL), 0);
	CHECK(job.part.whole);
	/* and when it breaks, the rest of all comes */
	init();
	job.part.whole_too = true;
	const struct ts_step broken[] = {
		{ .want = ASKED,
		  .reply = OK200,
		  .body = job.body,
		  .len = SIZE,
		  .cut = 150000,
		  .end = TS_CLOSE },
		{ .want = "Range: bytes=150000-\r\n",
		  .reply = reply(text, 150000, SIZE - 1, SIZE, ""),
		  .body = job.body + 150000,
		  .len = SIZE - 150000 },
		{ 0 },
	};

	EQ_INT(fetch(broken, NULL), 0);
	EQ_INT(job.retries, 1);
}

/* Refused with at least so many requests as the script has. */
static void refused(const struct ts_step *script, const struct fetch_opts *o, bool first,
		    enum k3_code code)
{
	init();
	job.part.whole_too = first;
	EQ_INT(fetch(script, o), -1);
	CHECK(job.part.refused);
	EQ_INT(err.code, code);
}

TEST(refusals_are_told)
{
	const struct ts_step satisfiable[] = { { .reply = "HTTP/1.1 416 No\r\n" }, { 0 } };
	const struct ts_step forbidden[] = { { .reply = "HTTP/1.1 403 No\r\n" }, { 0 } };
	const struct ts_step once[] = { { .reply = "HTTP/1.1 500 Oh\r\n" }, { 0 } };
	const struct ts_step twice[] = { { .reply = "HTTP/1.1 500 Oh\r\n" },
					 { .reply = "HTTP/1.1 500 Oh\r\n" },
					 { 0 } };
	const struct fetch_opts o = { .plain_http = true, .attempts = 2 };

	refused(satisfiable, NULL, true, K3_PROTO);
	refused(satisfiable, NULL, false, K3_PROTO);
	refused(forbidden, NULL, true, K3_AUTH);
	/* The first range learns from one answer, a later one tries as often as others do. */
	refused(once, NULL, true, K3_NET);
	refused(twice, &o, false, K3_NET);
}

TEST(retry_after_is_obeyed_before_giving_up_ranges)
{
	const struct ts_step script[] = {
		{ .reply = "HTTP/1.1 429 Slow down\r\nRetry-After: 1\r\n" }, { 0 }
	};
	uint64_t start = k3_now_ms();

	refused(script, NULL, true, K3_NET);
	CHECK(k3_now_ms() - start >= 990);
	EQ_INT(job.retries, 1);
}

TEST(broken_connections_are_no_refusal)
{
	const struct ts_step script[] = { { .reply = "", .raw = true, .end = TS_CLOSE },
					  { .reply = "", .raw = true, .end = TS_CLOSE },
					  { 0 } };
	const struct fetch_opts o = { .plain_http = true, .attempts = 2 };

	init();
	EQ_INT(fetch(script, &o), -1);
	EQ_INT(err.code, K3_NET);
	CHECK(!job.part.refused);
}

TEST(wrong_ranges_are_refused)
{
	static const struct {
		unsigned first, last, total;
		enum k3_code code;
	} bad[] = {
		{ 0, SIZE - 1, SIZE, K3_PROTO },           /* another start */
		{ FIRST, END, SIZE, K3_PROTO },            /* one byte more */
		{ FIRST, END - 1, SIZE + 1, K3_DIGEST },   /* of another blob */
		{ FIRST, SIZE + 9, SIZE + 10, K3_DIGEST }, /* likewise */
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct ts_step script[] = {
			{ .reply = reply(text, bad[i].first, bad[i].last, bad[i].total, ""),
			  .body = "x" },
			{ 0 },
		};

		refused(script, NULL, i % 2, bad[i].code);
		EQ_INT(job.part.at, FIRST);
	}
}

TEST(more_bytes_than_the_range_are_refused)
{
	init();
	const struct ts_step script[] = {
		{ .reply = reply(text, FIRST, END - 1, SIZE, ""),
		  .body = job.body + FIRST,
		  .len = LEN + 1000,
		  .no_length = true,
		  .end = TS_CLOSE },
		{ 0 },
	};

	EQ_INT(fetch(script, NULL), -1);
	CHECK(job.part.refused);
	EQ_INT(err.code, K3_PROTO);
	HAS_STR(err.msg, "larger than the 100000 bytes");
}

TEST(etags_must_agree)
{
	char tag[FETCH_TAG_MAX];

	init();
	const struct ts_step first[] = {
		{ .reply = reply(text, FIRST, FIRST + 9999, SIZE, "ETag: \"a\"\r\n"),
		  .body = job.body + FIRST,
		  .len = 10000 },
		{ .reply = reply(other, FIRST + 10000, FIRST + 19999, SIZE, "ETag: \"a\"\r\n"),
		  .body = job.body + FIRST + 10000,
		  .len = 10000 },
		{ .reply = reply(third, FIRST + 20000, END - 1, SIZE, "ETag: \"b\"\r\n"),
		  .body = job.body + FIRST + 20000,
		  .len = LEN - 20000 },
		{ 0 },
	};

	EQ_INT(fetch(first, NULL), -1);
	CHECK(job.part.refused);
	EQ_INT(job.part.at, FIRST + 20000);
	HAS_STR(err.msg, "was changed between two parts");
	HAS_STR(job.part.tag, " \"a\"");
	memcpy(tag, job.part.tag, sizeof(tag));
	/* The same host and ETag would do, another host's does, and so does a weak one. */
	static const char *const fine[] = { "ETag: \"b\"\r\n", "ETag: W/\"c\"\r\n", "" };

	for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
		init();
		memcpy(job.part.tag, tag, sizeof(tag));
		const struct ts_step script[] = {
			{ .reply = reply(text, FIRST, END - 1, SIZE, fine[i]),
			  .body = job.body + FIRST,
			  .len = LEN },
			{ 0 },
		};

		/* Every server of the tests has a port, and so an origin, of its own. */
		EQ_INT(fetch(script, NULL), 0);
	}
}

/* Each range is sent to the storage by the registry anew, and what is secret stays here. */
TEST(redirected_part_drops_authorization)
{
	init();
	const struct ts_step storage_script[] = {
		{ .want = "GET /store?sig=x HTTP/1.1\r\n",
		  .want_too = ASKED,
		  .refuse = "Authorization",
		  .reply = reply(text, FIRST, END - 1, SIZE, ""),
		  .body = job.body + FIRST,
		  .len = LEN,
		  .cut = 5000,
		  .end = TS_CLOSE },
		{ .want = "GET /store?sig=y HTTP/1.1\r\n",
		  .want_too = "Range: bytes=105000-199999\r\n",
		  .refuse = "Authorization",
		  .reply = reply(other, FIRST + 5000, END - 1, SIZE, ""),
		  .body = job.body + FIRST + 5000,
		  .len = LEN - 5000 },
		{ 0 },
	};
	struct ts *storage = ts_start(storage_script);
	char to_x[256], to_y[256];

	snprintf(to_x, sizeof(to_x), "HTTP/1.1 307 T\r\nLocation: http://%s/store?sig=x\r\n",
		 ts_host(storage));
	snprintf(to_y, sizeof(to_y), "HTTP/1.1 307 T\r\nLocation: http://%s/store?sig=y\r\n",
		 ts_host(storage));
	const struct ts_step script[] = {
		{ .want = ASKED,
		  .reply = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\n" },
		{ .want = ASKED, .want_too = "Authorization: Basic", .reply = to_x },
		{ .want = "Range: bytes=105000-199999\r\n",
		  .want_too = "Authorization: Basic",
		  .reply = to_y },
		{ 0 },
	};
	const struct fetch_opts o = { .plain_http = true, .creds = "bob:s3cret" };

	EQ_INT(fetch(script, &o), 0);
	EQ_INT(job.retries, 1);
	ts_free(storage);
}

TEST(sink_error_comes_back)
{
	init();
	const struct ts_step script[] = {
		{ .reply = reply(text, FIRST, END - 1, SIZE, ""),
		  .body = job.body + FIRST,
		  .len = LEN,
		  .end = TS_CLOSE },
		{ 0 },
	};

	job.got = K3_BUF(10);
	struct ts *t = ts_start(script);
	struct ts_client c;

	ts_connect(&c, t, "a/b:v1", NULL);
	FAILS(fetch_blob_part(c.s, &c.r, &job.d, &job.part, sink, &job, &err), K3_LIMIT);
	CHECK(!job.part.refused);
	k3_buf_release(&job.got);
	ts_disconnect(&c);
	ts_free(t);
}

UNIT_MAIN
