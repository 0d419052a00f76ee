/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/grpc.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/unit/h2peer.h"
#include "tests/unit/unit.h"

#define METHOD "/containerd.services.test.v1.Test/Do"
#define LONG_MS 300000u /* never reached */
#define SHORT_MS 60u

static struct k3_err err;

/* What most tests need: a server, a channel to it, a request and an answer. */
struct rig {
	struct h2p *p;
	struct grpc *g;
	struct grpc_msg m;
	struct k3_buf answer;
	enum grpc_code code;
};

static void rig_up(struct rig *r, h2p_serve *serve, void *arg, struct k3_cancel *cancel)
{
	*r = (struct rig){ .m = GRPC_MSG, .answer = K3_BUF(GRPC_ANSWER_MAX), .code = GRPC_NONE };
	r->p = h2p_start(serve, arg);
	OK(grpc_new(h2p_socket(r->p), cancel, &r->g, &err));
	grpc_put_str(&r->m, 1, "question");
}

/* The number of connections that it took. */
static unsigned rig_down(struct rig *r)
{
	unsigned n;

	grpc_free(r->g);
	n = h2p_stop(r->p);
	h2p_free(r->p);
	grpc_release(&r->m);
	k3_buf_release(&r->answer);
	return n;
}

static int call(struct rig *r, unsigned timeout_ms)
{
	return grpc_call(r->g, METHOD, &r->m, &r->answer, timeout_ms, &r->code, &err);
}

/* One call that has to fail like this. */
static void expect_failure(h2p_serve *serve, void *arg, enum k3_code want, enum grpc_code code,
			   const char *text)
{
	struct rig r;

	rig_up(&r, serve, arg, NULL);
	FAILS(call(&r, LONG_MS), want);
	EQ_INT(r.code, code);
	HAS_STR(err.msg, "Test.Do: ");
	HAS_STR(err.msg, text);
	rig_down(&r);
}

/* ---- unary calls -------------------------------------------------------------------------- */

struct seen {
	atomic_bool headers, timeout, namespace, lease, question, one_frame;
};

static void serve_answers(struct h2c *c, void *arg)
{
	struct seen *seen = arg;
	K3_AUTO_BUF struct k3_buf m = K3_BUF(1000);

	if (!h2c_greet(c))
		return;
	while (h2c_request(c)) {
		h2c_message(c, &m);
		h2c_wait_end(c);
		seen->headers = h2c_has(c, ":method: POST") && h2c_has(c, ":path: " METHOD) &&
				h2c_has(c, ":scheme: http") && h2c_has(c, "te: trailers") &&
				h2c_has(c, "content-type: application/grpc");
		seen->timeout = h2c_has(c, "grpc-timeout: 300000m");
		seen->namespace = h2c_has(c, "containerd-namespace: k8s.io");
		seen->lease = h2c_has(c, "containerd-lease: two words");
		seen->question = m.len == 10 && !memcmp(m.p, "\x0a\x08question", 10);
		seen->one_frame = c->frames == 1;
		h2c_head(c);
		h2c_put(c, "answer", 6);
		h2c_trailers(c, "0", "");
	}
}

TEST(a_call)
{
	struct seen seen = { 0 };
	struct rig r;

	rig_up(&r, serve_answers, &seen, NULL);
	EQ_STR(grpc_socket(r.g), h2p_socket(r.p));
	OK(call(&r, LONG_MS));
	EQ_INT(r.code, GRPC_OK);
	EQ_STR((char *)r.answer.p, "answer");
	OK(grpc_call(r.g, METHOD, &r.m, NULL, LONG_MS, NULL, &err));
	EQ_INT(rig_down(&r), 1); /* connection for both */
	CHECK(seen.headers);
	CHECK(seen.timeout);
	CHECK(seen.question);
	CHECK(seen.one_frame);
	CHECK(!seen.namespace);
}

TEST(metadata)
{
	static const char *const bad[] = { "a\nb", "a\rb", "\x7f", "\xc3\xa9", "\t" };
	struct seen seen = { 0 };
	struct rig r;

	rig_up(&r, serve_answers, &seen, NULL);
	grpc_header(r.g, "containerd-namespace", "other");
	grpc_header(r.g, "containerd-lease", "two words");
	grpc_header(r.g, "containerd-namespace", "k8s.io");
	OK(call(&r, 0));
	for (size_t i = 0; i < K3_ARRAY_LEN(bad); i++) {
		grpc_header(r.g, "x", bad[i]);
		FAILS(call(&r, 0), K3_USAGE);
		HAS_STR(err.msg, "Test.Do: ");
	}
	grpc_header(r.g, "x", NULL);
	grpc_header(r.g, ":path", "x");
	FAILS(call(&r, 0), K3_USAGE);
	grpc_header(r.g, ":path", NULL);
	grpc_header(r.g, "empty", "");
	OK(call(&r, 0));
	CHECK(seen.namespace && seen.lease && !seen.timeout);
	grpc_header(r.g, "containerd-lease", NULL);
	grpc_header(r.g, "nothing", NULL);
	OK(call(&r, 0));
	CHECK(seen.namespace && !seen.lease);
	rig_down(&r);
}

/* Frames cut as small as they get, bytes that come one by one, padding, a 100 answer before. */
static void serve_pieces(struct h2c *c, void *arg)
{
	static const char *const early[] = { ":status", "100", "grpc-status", "13", NULL };
	static const uint8_t answer[] = "\0\0\0\0\6answer";

	(void)arg;
	if (!h2c_greet(c) || !h2c_request(c))
		return;
	c->one_by_one = true;
	h2c_fields(c, 0, early);
	h2c_head(c);
	for (size_t i = 0; i < sizeof(answer) - 1; i++)
		h2c_frame(c, H2P_DATA, 0, c->id, answer + i, 1);
	h2c_frame(c, H2P_DATA, 8, c->id, "\2\0\0", 3); /* nothing but padding */
	h2c_trailers(c, "0", "");
	h2c_wait_gone(c);
}

TEST(an_answer_in_pieces)
{
	struct rig r;

	rig_up(&r, serve_pieces, NULL, NULL);
	OK(call(&r, LONG_MS));
	EQ_STR((char *)r.answer.p, "answer");
	rig_down(&r);
}

static void serve_big(struct h2c *c, void *arg)
{
	size_t *n = arg;
	uint8_t *p = calloc(1, *n);

	if (h2c_greet(c) && h2c_request(c) && p) {
		for (size_t i = 0; i < *n; i++)
			p[i] = (uint8_t)(i * 31 >> 4);
		h2c_head(c);
		h2c_put(c, p, *n);
		h2c_trailers(c, "0", "");
		h2c_wait_gone(c);
	}
	free(p);
}

/* Larger than every window on the way. */
TEST(a_big_answer)
{
	size_t n = 3u << 20, wrong = 0;
	struct rig r;

	rig_up(&r, serve_big, &n, NULL);
	OK(call(&r, LONG_MS));
	EQ_INT(r.answer.len, n);
	for (size_t i = 0; i < r.answer.len; i++)
		wrong += r.answer.p[i] != (uint8_t)(i * 31 >> 4);
	EQ_INT(wrong, 0);
	rig_down(&r);
}

/* ---- what the peer refuses ---------------------------------------------------------------- */

static void serve_not_found(struct h2c *c, void *arg)
{
	static const char *const only[] = {
		":status",     "200", "content-type", "application/grpc",
		"grpc-status", "5",   "grpc-message", "image %22x%22: not%0afound",
		NULL
	};

	(void)arg;
	if (!h2c_greet(c))
		return;
	while (h2c_request(c)) {
		h2c_fields(c, H2P_END, only);
		h2c_code(c, H2P_RST, c->id, 0); /* grpc-go: unless our side has ended */
	}
}

TEST(trailers_only)
{
	struct grpc_stream *s = NULL;
	struct rig r;
	bool more;

	rig_up(&r, serve_not_found, NULL, NULL);
	for (int i = 0; i < 3; i++) {
		FAILS(call(&r, LONG_MS), K3_NOTFOUND);
		EQ_INT(r.code, GRPC_NOT_FOUND);
		EQ_STR(err.msg, "Test.Do: image \"x\": not\\x0afound");
	}
	/* the same with a stream whose side of ours has not ended, and which goes on */
	for (int i = 0; i < 3; i++) {
		OK(grpc_stream_open(r.g, METHOD, LONG_MS, &s, &err));
		OK(grpc_stream_send(s, &r.m, &err));
		FAILS(grpc_stream_receive(s, &r.answer, &more, &r.code, &err), K3_NOTFOUND);
		EQ_INT(r.code, GRPC_NOT_FOUND);
		OK(grpc_stream_send(s, &r.m, &err));
		OK(grpc_stream_end_send(s, &err));
		FAILS(grpc_stream_receive(s, &r.answer, &more, NULL, &err), K3_NOTFOUND);
		grpc_stream_free(s);
	}
	EQ_INT(rig_down(&r), 1);
}

static void serve_refusal(struct h2c *c, void *arg)
{
	static const char *const only[] = {
		":status", "200", "content-type", "application/grpc", "grpc-status", "6", NULL
	};
	atomic_uint *resets = arg;

	if (!h2c_greet(c))
		return;
	while (h2c_request(c)) {
		h2c_message(c, NULL);
		h2c_fields(c, H2P_END, only);
		while (!c->gone && !c->end && !c->reset)
			h2c_step(c);
		*resets += c->reset == 8 + 1;
	}
}

/* The peer has said all, but its stream is open until ours ends. */
TEST(a_refusal_without_a_reset)
{
	struct grpc_stream *s = NULL;
	atomic_uint resets = 0;
	struct rig r;
	bool more;

	rig_up(&r, serve_refusal, &resets, NULL);
	for (int i = 0; i < 3; i++) {
		OK(grpc_stream_open(r.g, METHOD, LONG_MS, &s, &err));
		OK(grpc_stream_send(s, &r.m, &err));
		FAILS(grpc_stream_receive(s, NULL, &more, &r.code, &err), K3_STORE);
		EQ_INT(r.code, GRPC_ALREADY_EXISTS);
		grpc_stream_free(s);
	}
	EQ_INT(rig_down(&r), 1);
	CHECK(resets >= 2); /* the last one may go with the connection */
}

static void serve_last_words(struct h2c *c, void *arg)
{
	static const char *const only[] = {
		":status", "200", "content-type", "application/grpc", "grpc-status", "5", NULL
	};

	if (!h2c_greet(c) || !h2c_request(c) || !h2c_message(c, NULL))
		return;
	h2c_fields(c, H2P_END, only);
	shutdown(c->fd, SHUT_RDWR);
	*(atomic_bool *)arg = true;
}

/* A peer that says why and hangs up while we go on sending is heard. */
TEST(last_words)
{
	struct grpc_stream *s = NULL;
	atomic_bool gone = false;
	struct rig r;
	bool more;

	rig_up(&r, serve_last_words, &gone, NULL);
	OK(grpc_stream_open(r.g, METHOD, LONG_MS, &s, &err));
	OK(grpc_stream_send(s, &r.m, &err));
	while (!gone)
		usleep(1000);
	OK(grpc_stream_send(s, &r.m, &err));
	FAILS(grpc_stream_receive(s, NULL, &more, &r.code, &err), K3_NOTFOUND);
	EQ_INT(r.code, GRPC_NOT_FOUND);
	grpc_stream_free(s);
	rig_down(&r);
}

/* An answer of a head, bytes of messages and trailers. */
struct script {
	const char *status, *type; /* of the head; NULL: what is right */
	const char *in_head;       /* grpc-status in it */
	const char *data;
	size_t n;
	const char *grpc_status; /* NULL: no trailers, the data has the end */
	const char *again;       /* a second grpc-status */
};

static void serve_script(struct h2c *c, void *arg)
{
	const struct script *t = arg;
	const char *head[] = { ":status",
			       t->status ? t->status : "200",
			       "content-type",
			       t->type ? t->type : "application/grpc",
			       t->in_head ? "grpc-status" : NULL,
			       t->in_head,
			       NULL };
	const char *tail[] = { "grpc-status", t->grpc_status, t->again ? "grpc-status" : NULL,
			       t->again, NULL };

	if (!h2c_greet(c) || !h2c_request(c))
		return;
	h2c_wait_end(c);
	h2c_fields(c, 0, head);
	h2c_frame(c, H2P_DATA, t->grpc_status ? 0 : H2P_END, c->id, t->data, t->n);
	if (t->grpc_status)
		h2c_fields(c, H2P_END, tail);
	h2c_wait_gone(c);
}

#define ONE .data = "\0\0\0\0\1x", .n = 6

TEST(answers_that_are_none)
{
	static struct {
		struct script script;
		enum k3_code want;
		const char *text;
	} table[] = {
		{ { ONE }, K3_PROTO, "without a status" },
		{ { .n = 0 }, K3_PROTO, "without a status" },
		{ { .grpc_status = "0" }, K3_PROTO, "has no message" },
		{ { .data = "\0\0\0\0\0\0\0\0\0\0", .n = 10, .grpc_status = "0" },
		  K3_PROTO,
		  "more than one message" },
		{ { .data = "\0\0\0\0\2x", .n = 6, .grpc_status = "0" },
		  K3_PROTO,
		  "within a message" },
		{ { .data = "\0\0", .n = 2, .grpc_status = "0" }, K3_PROTO, "within a message" },
		{ { .data = "\1\0\0\0\1x", .n = 6, .grpc_status = "0" }, K3_PROTO, "compressed" },
		{ { .data = "\0\xff\xff\xff\xff", .n = 5, .grpc_status = "0" },
		  K3_LIMIT,
		  "over the limit" },
		{ { ONE, .grpc_status = "zero" }, K3_PROTO, "not one number" },
		{ { ONE, .grpc_status = "0", .again = "0" }, K3_PROTO, "not one number" },
		{ { ONE, .grpc_status = "0", .in_head = "0" }, K3_PROTO, "behind its status" },
		{ { ONE, .grpc_status = "0", .type = "text/html" }, K3_PROTO, "\"text/html\"" },
		{ { .data = "<html>", .n = 6, .status = "404", .type = "text/html" },
		  K3_PROTO,
		  "HTTP status 404" },
		{ { ONE, .grpc_status = "0", .status = "503" }, K3_PROTO, "HTTP status 503" },
	};

	for (size_t i = 0; i < K3_ARRAY_LEN(table); i++)
		expect_failure(serve_script, &table[i].script, table[i].want, GRPC_NONE,
			       table[i].text);
}

TEST(statuses)
{
	static struct script t = { ONE, .grpc_status = "9" }, zero = { ONE, .grpc_status = "00" };
	struct rig r;

	expect_failure(serve_script, &t, K3_STORE, GRPC_FAILED_PRECONDITION, "FAILED_PRECONDITION");
	t.grpc_status = "14";
	expect_failure(serve_script, &t, K3_BUSY, GRPC_UNAVAILABLE, "UNAVAILABLE");
	t.grpc_status = "99";
	expect_failure(serve_script, &t, K3_STORE, GRPC_UNKNOWN, "UNKNOWN");
	rig_up(&r, serve_script, &zero, NULL);
	OK(call(&r, LONG_MS));
	EQ_STR((char *)r.answer.p, "x");
	rig_down(&r);
}

static void serve_long_head(struct h2c *c, void *arg)
{
	const size_t *n = arg;
	char *text = calloc(1, *n + 1);
	const char *const head[] = {
		":status", "200", "content-type", "application/grpc", "x", text, "y", text, NULL
	};

	if (h2c_greet(c) && h2c_request(c) && text) {
		memset(text, 'x', *n);
		h2c_fields(c, 0, head);
		h2c_put(c, "answer", 6);
		h2c_trailers(c, "0", "");
		h2c_wait_gone(c);
	}
	free(text);
}

TEST(a_head_over_the_limit)
{
	size_t fits = 31u << 10, too_long = 33u << 10;
	struct rig r;

	rig_up(&r, serve_long_head, &fits, NULL);
	OK(call(&r, LONG_MS));
	rig_down(&r);
	expect_failure(serve_long_head, &too_long, K3_LIMIT, GRPC_NONE, "of headers");
}

/* ---- streams ------------------------------------------------------------------------------ */

static void serve_echo(struct h2c *c, void *arg)
{
	K3_AUTO_BUF struct k3_buf m = K3_BUF(GRPC_MSG_MAX);

	(void)arg;
	if (!h2c_greet(c))
		return;
	while (h2c_request(c)) {
		h2c_head(c);
		while (h2c_message(c, &m))
			h2c_put(c, m.p, m.len);
		if (c->end)
			h2c_trailers(c, "0", "");
	}
}

TEST(an_echo)
{
	struct grpc_stream *s = NULL;
	struct rig r;
	bool more;

	rig_up(&r, serve_echo, NULL, NULL);
	for (unsigned k = 0; k < 2; k++) {
		OK(grpc_stream_open(r.g, METHOD, LONG_MS, &s, &err));
		for (unsigned i = 0; i < 5; i++) {
			grpc_reset(&r.m);
			grpc_put_u64(&r.m, 1, i);
			OK(grpc_stream_send(s, &r.m, &err));
			OK(grpc_stream_receive(s, &r.answer, &more, &r.code, &err));
			CHECK(more && r.code == GRPC_OK);
			EQ_INT(r.answer.len, r.m.buf.len);
			EQ_INT(grpc_get_u64((struct grpc_val){ r.answer.p, r.answer.len }, 1), i);
		}
		OK(grpc_stream_end_send(s, &err));
		FAILS(grpc_stream_send(s, &r.m, &err), K3_BUG);
		OK(grpc_stream_receive(s, &r.answer, &more, &r.code, &err));
		CHECK(!more && r.code == GRPC_OK);
		OK(grpc_stream_receive(s, NULL, &more, NULL, &err));
		CHECK(!more);
		grpc_stream_free(s);
	}
	EQ_INT(rig_down(&r), 1);
}

/* Takes nothing while the client does not take what it says. */
static void serve_stubborn_echo(struct h2c *c, void *arg)
{
	K3_AUTO_BUF struct k3_buf m = K3_BUF(GRPC_MSG_MAX);

	(void)arg;
	if (!h2c_greet(c) || !h2c_request(c))
		return;
	h2c_head(c);
	while (h2c_message(c, &m)) {
		c->hold = true;
		h2c_put(c, m.p, m.len);
		h2c_release(c);
	}
	h2c_trailers(c, "0", "");
	h2c_wait_gone(c);
}

/* More than fits anywhere, before one answer is taken: the echo waits for us, and we for it. */
TEST(many_messages_before_the_first_answer)
{
	enum { COUNT = 4, BYTES = 2 << 20 };
	K3_AUTO_FREE char *data = k3_xcalloc(1, BYTES);
	struct grpc_stream *s = NULL;
	struct rig r;
	bool more;

	rig_up(&r, serve_stubborn_echo, NULL, NULL);
	OK(grpc_stream_open(r.g, METHOD, LONG_MS, &s, &err));
	for (unsigned i = 0; i < COUNT; i++) {
		memset(data, 'a' + (int)i, BYTES);
		grpc_reset(&r.m);
		grpc_put_bytes(&r.m, 1, data, BYTES);
		OK(grpc_stream_send(s, &r.m, &err));
	}
	OK(grpc_stream_end_send(s, &err));
	for (unsigned i = 0; i < COUNT; i++) {
		OK(grpc_stream_receive(s, &r.answer, &more, &r.code, &err));
		struct grpc_val v = grpc_get((struct grpc_val){ r.answer.p, r.answer.len }, 1);

		CHECK(more && v.n == BYTES && v.p[0] == 'a' + i && v.p[BYTES - 1] == 'a' + i);
	}
	OK(grpc_stream_receive(s, &r.answer, &more, &r.code, &err));
	CHECK(!more);
	grpc_stream_free(s);
	rig_down(&r);
}

struct flood {
	size_t bytes; /* that the client let us send without taking anything */
	atomic_bool stopped;
};

static void ping(struct h2c *c)
{
	c->pong = false;
	h2c_frame(c, H2P_PING, 0, 0, "12345678", 8);
	while (!c->gone && !c->pong)
		h2c_step(c);
}

static void serve_flood(struct h2c *c, void *arg)
{
	static const uint8_t message[60000];
	const int64_t need = 65536;
	struct flood *f = arg;

	if (!h2c_greet(c) || !h2c_request(c))
		return;
	h2c_head(c);
	h2c_put(c, "go", 2);
	while (!c->gone && !f->stopped) {
		h2c_put(c, message, sizeof(message));
		f->bytes += sizeof(message);
		/* a client that has answered twice and gives no room does not want any more */
		for (int i = 0; i < 2 && (c->window < need || c->stream_window < need); i++)
			ping(c);
		f->stopped = c->window < need || c->stream_window < need;
	}
	while (!c->gone)
		h2c_put(c, message, sizeof(message));
}

/* A peer that sends and sends has to wait for somebody who takes. */
TEST(a_flood)
{
	struct flood f = { 0 };
	struct grpc_stream *s = NULL;
	struct rig r;
	bool more;

	rig_up(&r, serve_flood, &f, NULL);
	OK(grpc_stream_open(r.g, METHOD, LONG_MS, &s, &err));
	OK(grpc_stream_receive(s, &r.answer, &more, NULL, &err));
	EQ_STR((char *)r.answer.p, "go");
	for (int i = 0; i < 20000 && !f.stopped; i++) {
		OK(grpc_stream_send(s, &r.m, &err)); /* reads too, and takes nothing */
		usleep(500);
	}
	CHECK(f.stopped);
	CHECK(f.bytes < 4u << 20);
	for (int i = 0; i < 200; i++) {
		OK(grpc_stream_receive(s, &r.answer, &more, NULL, &err));
		EQ_INT(r.answer.len, 60000);
	}
	grpc_stream_free(s);
	rig_down(&r);
}

static void serve_nothing(struct h2c *c, void *arg)
{
	(void)arg;
	c->hold = true;
	if (h2c_greet(c))
		h2c_wait_gone(c);
}

TEST(a_peer_that_takes_nothing)
{
	K3_AUTO_FREE char *data = k3_xcalloc(1, 1u << 20);
	struct grpc_stream *s = NULL;
	struct rig r;
	bool more;

	rig_up(&r, serve_nothing, NULL, NULL);
	grpc_put_bytes(&r.m, 1, data, 1u << 20);
	OK(grpc_stream_open(r.g, METHOD, SHORT_MS, &s, &err));
	for (int i = 0; i < 10; i++)
		OK(grpc_stream_send(s, &r.m, &err)); /* waits, and then drops */
	FAILS(grpc_stream_receive(s, NULL, &more, &r.code, &err), K3_BUSY);
	EQ_INT(r.code, GRPC_DEADLINE_EXCEEDED);
	HAS_STR(err.msg, "no answer within 0.06 s");
	grpc_stream_free(s);
	rig_down(&r);
}

TEST(misuse)
{
	struct grpc_stream *s = NULL, *other = NULL;
	struct rig r;
	bool more;

	rig_up(&r, serve_echo, NULL, NULL);
	FAILS(grpc_stream_open(r.g, "no/slash", 0, &s, &err), K3_BUG);
	FAILS(grpc_stream_open(r.g, "/one", 0, &s, &err), K3_BUG);
	FAILS(grpc_stream_open(r.g, "/a/b/c", 0, &s, &err), K3_BUG);
	FAILS(grpc_stream_open(r.g, "/a/b\r\nc", 0, &s, &err), K3_BUG);
	OK(grpc_stream_open(r.g, "/a/b", 0, &s, &err));
	FAILS(grpc_stream_open(r.g, "/a/b", 0, &other, &err), K3_BUG);
	FAILS(call(&r, 0), K3_BUG);
	grpc_put_u64(&r.m, 0, 1);
	FAILS(grpc_stream_send(s, &r.m, &err), K3_BUG);
	HAS_STR(err.msg, "a.b: ");
	grpc_reset(&r.m);
	OK(grpc_stream_send(s, &r.m, &err));
	/* a channel may go before its stream */
	grpc_free(r.g);
	r.g = NULL;
	OK(grpc_stream_send(s, &r.m, &err));
	OK(grpc_stream_end_send(s, &err));
	FAILS(grpc_stream_receive(s, NULL, &more, &r.code, &err), K3_BUG);
	grpc_stream_free(s);
	grpc_stream_free(NULL);
	grpc_free(NULL);
	rig_down(&r);
}

/* ---- connections -------------------------------------------------------------------------- */

enum breakage {
	BREAK_AT_ONCE,
	BREAK_AFTER_SETTINGS,
	BREAK_IN_A_FRAME,
	BREAK_AFTER_REQUEST,
	BREAK_AFTER_HEAD,
	BREAK_IN_A_MESSAGE,
	BREAK_BEFORE_TRAILERS,
	BREAKAGES
};

static void serve_breakage(struct h2c *c, void *arg)
{
	const enum breakage *b = arg;

	if (*b == BREAK_AT_ONCE || !h2c_greet(c))
		return;
	if (*b == BREAK_IN_A_FRAME)
		h2c_raw(c, "\0\0\6\4\0", 5);
	if (*b <= BREAK_IN_A_FRAME || !h2c_request(c) || *b == BREAK_AFTER_REQUEST)
		return;
	h2c_head(c);
	if (*b == BREAK_IN_A_MESSAGE)
		h2c_data(c, "\0\0\0\0\6ans", 8);
	if (*b == BREAK_BEFORE_TRAILERS)
		h2c_put(c, "answer", 6);
}

TEST(a_connection_that_breaks)
{
	for (enum breakage b = BREAK_AT_ONCE; b < BREAKAGES; b++)
		expect_failure(serve_breakage, &b, K3_BUSY, GRPC_NO_PEER, "conne");
}

static void serve_answer_and_go(struct h2c *c, void *arg)
{
	(void)arg;
	if (!h2c_greet(c) || !h2c_request(c))
		return;
	h2c_head(c);
	h2c_put(c, "answer", 6);
	h2c_trailers(c, "0", "");
}

/* What was said before the end counts, and the next call finds the next connection. */
TEST(a_peer_that_goes_after_each_answer)
{
	struct rig r;

	rig_up(&r, serve_answer_and_go, NULL, NULL);
	for (int i = 0; i < 3; i++) {
		OK(call(&r, LONG_MS));
		EQ_STR((char *)r.answer.p, "answer");
		/* else the call could still go to a connection that is about to end */
		struct grpc *again = NULL;

		OK(grpc_new(h2p_socket(r.p), NULL, &again, &err));
		grpc_free(r.g);
		r.g = again;
	}
	EQ_INT(rig_down(&r), 3);
}

static void serve_raw(struct h2c *c, void *arg)
{
	const char *text = arg;
	uint8_t p[256];

	h2c_raw(c, text, strlen(text));
	while (text[0] != 'H' && !c->gone)
		c->gone = recv(c->fd, p, sizeof(p), 0) <= 0;
}

static void serve_silence(struct h2c *c, void *arg)
{
	uint8_t p[256];

	(void)arg;
	while (recv(c->fd, p, sizeof(p), 0) > 0)
		;
}

TEST(something_that_is_not_http2)
{
	char http1[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
	char stays[] = "\x01\x01\x01 what is this? 0123456789";

	expect_failure(serve_raw, http1, K3_PROTO, GRPC_NONE, "not HTTP/2");
	CHECK(err.hint[0]);
	expect_failure(serve_raw, stays, K3_PROTO, GRPC_NONE, "not HTTP/2");
}

/* One frame that is against the rules, where an answer should be. */
struct wrong {
	uint8_t type;
	unsigned flags;
	uint32_t id; /* 0: of the connection, 1: of the request, or another one */
	const char *p;
	size_t n;
};

static void serve_wrong(struct h2c *c, void *arg)
{
	const struct wrong *w = arg;

	if (!h2c_greet(c) || !h2c_request(c))
		return;
	h2c_frame(c, w->type, w->flags, w->id, w->p, w->n);
	h2c_wait_gone(c);
}

TEST(frames_against_the_rules)
{
	static struct wrong table[] = {
		{ H2P_DATA, 0, 1, "x", 1 },                         /* before a head */
		{ H2P_DATA, 0, 0, "x", 1 },                         /* of no stream */
		{ H2P_DATA, 8, 1, "\x05x", 2 },                     /* more padding than frame */
		{ H2P_HEADERS, H2P_END_HEADERS, 1, "\xff\xff", 2 }, /* no HPACK */
		{ H2P_HEADERS, H2P_END_HEADERS, 1, "\xc0", 1 },     /* of an empty table */
		{ H2P_SETTINGS, 0, 0, "12345", 5 },
		{ H2P_WINDOW, 0, 0, "\0\0\0\0", 4 },
		{ H2P_CONTINUATION, 0, 1, "", 0 },
		{ 5, H2P_END_HEADERS, 1, "\0\0\0\2\x82", 5 }, /* a push, which we forbid */
		{ H2P_PING, 0, 0, "1234", 4 },
	};

	for (size_t i = 0; i < K3_ARRAY_LEN(table); i++)
		expect_failure(serve_wrong, &table[i], K3_PROTO, GRPC_NONE, "not HTTP/2");
}

static void serve_reset(struct h2c *c, void *arg)
{
	const uint32_t *code = arg;

	if (!h2c_greet(c) || !h2c_request(c))
		return;
	h2c_code(c, H2P_RST, c->id, *code);
	h2c_wait_gone(c);
}

static void serve_late_reset(struct h2c *c, void *arg)
{
	if (!h2c_greet(c) || !h2c_request(c))
		return;
	h2c_head(c);
	h2c_put(c, "answer", 6);
	h2c_trailers(c, "0", "");
	h2c_code(c, H2P_RST, c->id, *(const uint32_t *)arg);
	h2c_wait_gone(c);
}

TEST(resets)
{
	uint32_t none = 0, internal = 2, refused = 7, cancel = 8;
	struct rig r;

	expect_failure(serve_reset, &internal, K3_BUSY, GRPC_NO_PEER, "INTERNAL_ERROR");
	expect_failure(serve_reset, &cancel, K3_BUSY, GRPC_NO_PEER, "CANCEL");
	expect_failure(serve_reset, &refused, K3_BUSY, GRPC_UNAVAILABLE, "REFUSED_STREAM");
	expect_failure(serve_reset, &none, K3_PROTO, GRPC_NONE, "");
	/* behind the status it changes nothing */
	rig_up(&r, serve_late_reset, &cancel, NULL);
	OK(call(&r, LONG_MS));
	EQ_STR((char *)r.answer.p, "answer");
	rig_down(&r);
}

struct goaway {
	uint32_t last, code;
	bool answer;
};

static void serve_goaway(struct h2c *c, void *arg)
{
	const struct goaway *a = arg;

	if (!h2c_greet(c) || !h2c_request(c))
		return;
	h2c_goaway(c, a->last, a->code, a->code ? "too_many_pings" : "");
	if (a->answer) {
		h2c_head(c);
		h2c_put(c, "answer", 6);
		h2c_trailers(c, "0", "");
		h2c_wait_gone(c);
	}
}

TEST(goaway)
{
	struct goaway graceful = { 0x7fffffff, 0, true }, refused = { 0, 0, false },
		      angry = { 0, 11, false }, broken = { 1, 11, false };
	struct rig r;

	rig_up(&r, serve_goaway, &graceful, NULL);
	for (int i = 0; i < 3; i++)
		OK(call(&r, LONG_MS));
	EQ_INT(rig_down(&r), 3); /* each on a connection of its own */
	expect_failure(serve_goaway, &refused, K3_BUSY, GRPC_UNAVAILABLE, "refused");
	expect_failure(serve_goaway, &angry, K3_BUSY, GRPC_UNAVAILABLE, "too_many_pings");
	expect_failure(serve_goaway, &broken, K3_BUSY, GRPC_NO_PEER, "too_many_pings");
}

static void serve_pings(struct h2c *c, void *arg)
{
	bool *pong = arg;

	if (!h2c_greet(c) || !h2c_request(c))
		return;
	h2c_frame(c, H2P_PING, 0, 0, "12345678", 8);
	while (!c->gone && !c->pong)
		h2c_step(c);
	*pong = c->pong;
	h2c_frame(c, 0xbb, 0xff, 0, "unknown", 7); /* frames of other kinds are to be ignored */
	h2c_head(c);
	h2c_put(c, "answer", 6);
	h2c_trailers(c, "0", "");
	h2c_wait_gone(c);
}

TEST(pings_are_answered)
{
	bool pong = false;
	struct rig r;

	rig_up(&r, serve_pings, &pong, NULL);
	OK(call(&r, LONG_MS));
	rig_down(&r);
	CHECK(pong);
}

/* ---- nobody there ------------------------------------------------------------------------- */

static void expect_no_peer(const char *path, enum k3_code want)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	enum grpc_code code = GRPC_OK;
	struct grpc *g = NULL;

	OK(grpc_new(path, NULL, &g, &err));
	FAILS(grpc_call(g, METHOD, &m, NULL, LONG_MS, &code, &err), want);
	EQ_INT(code, GRPC_NO_PEER);
	HAS_STR(err.msg, "Test.Do: cannot connect to /");
	CHECK(err.hint[0]);
	grpc_free(g);
}

static int listener_at(const char *path, int backlog)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(a.sun_path, path, strlen(path));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || (backlog >= 0 && listen(fd, backlog)))
		perror(path);
	return fd;
}

TEST(no_socket)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s/nobody", unit_tmpdir());
	K3_AUTO_FREE char *url = k3_xasprintf("unix://%s", path);

	expect_no_peer(path, K3_BUSY);
	expect_no_peer(url, K3_BUSY);
	expect_no_peer("/dev/null", K3_BUSY);
	K3_AUTO_FD int fd = listener_at(path, -1);

	CHECK(fd >= 0);
	expect_no_peer(path, K3_BUSY); /* refused */
	unlink(path);
}

TEST(paths_of_sockets)
{
	struct grpc *g = NULL;
	char path[109];

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[108] = '\0';
	FAILS(grpc_new(path, NULL, &g, &err), K3_USAGE);
	FAILS(grpc_new("", NULL, &g, &err), K3_USAGE);
	FAILS(grpc_new("unix://", NULL, &g, &err), K3_USAGE);
	path[107] = '\0';
	expect_no_peer(path, K3_BUSY);
}

/* ---- time --------------------------------------------------------------------------------- */

TEST(silence)
{
	static h2p_serve *const silent[] = { serve_silence, serve_nothing };
	struct rig r;

	for (size_t i = 0; i < K3_ARRAY_LEN(silent); i++) {
		rig_up(&r, silent[i], NULL, NULL);
		for (int k = 0; k < 2; k++) {
			FAILS(call(&r, SHORT_MS), K3_BUSY);
			EQ_INT(r.code, GRPC_DEADLINE_EXCEEDED);
		}
		EQ_INT(rig_down(&r), 2); /* a peer that hangs gets a new connection */
	}
}

/* Even where nobody accepts, and the queue of connections is full. */
TEST(a_peer_that_accepts_nobody)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s/full", unit_tmpdir());
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	enum grpc_code code = GRPC_OK;
	struct grpc *g[4] = { NULL };
	K3_AUTO_FD int fd = listener_at(path, 0);

	CHECK(fd >= 0);
	for (size_t i = 0; i < K3_ARRAY_LEN(g); i++) {
		OK(grpc_new(path, NULL, &g[i], &err));
		FAILS(grpc_call(g[i], METHOD, &m, NULL, SHORT_MS, &code, &err), K3_BUSY);
		EQ_INT(code, GRPC_DEADLINE_EXCEEDED);
	}
	for (size_t i = 0; i < K3_ARRAY_LEN(g); i++)
		grpc_free(g[i]);
	unlink(path);
}

static void serve_late_cancel(struct h2c *c, void *arg)
{
	(void)arg;
	if (!h2c_greet(c) || !h2c_request(c))
		return;
	usleep(2 * SHORT_MS * 1000);
	h2c_code(c, H2P_RST, c->id, 8);
	h2c_wait_gone(c);
}

/* A peer that knows the time limit ends the call by a reset: that is the limit, too. */
TEST(the_peer_is_first_to_see_the_time_limit)
{
	struct grpc_stream *s = NULL;
	struct rig r;
	bool more;

	rig_up(&r, serve_late_cancel, NULL, NULL);
	OK(grpc_stream_open(r.g, METHOD, SHORT_MS, &s, &err));
	OK(grpc_stream_send(s, &r.m, &err));
	usleep(4 * SHORT_MS * 1000);
	FAILS(grpc_stream_receive(s, NULL, &more, &r.code, &err), K3_BUSY);
	EQ_INT(r.code, GRPC_DEADLINE_EXCEEDED);
	grpc_stream_free(s);
	rig_down(&r);
}

static void serve_raise(struct h2c *c, void *arg)
{
	struct k3_err why = { 0 };

	if (!h2c_greet(c) || !h2c_request(c))
		return;
	k3_fail(&why, K3_CANCELLED, "interrupted");
	k3_cancel_raise(arg, &why);
	h2c_wait_gone(c);
}

TEST(cancellation)
{
	struct k3_cancel *cancel = k3_cancel_new();
	struct rig r;

	rig_up(&r, serve_raise, cancel, cancel);
	FAILS(call(&r, 0), K3_CANCELLED);
	EQ_INT(r.code, GRPC_NONE);
	EQ_STR(err.msg, "interrupted");
	FAILS(call(&r, 0), K3_CANCELLED);
	EQ_INT(rig_down(&r), 1); /* the second call was not made */
	k3_cancel_free(cancel);
}

TEST(another_cancellation)
{
	struct k3_cancel *cancel = k3_cancel_new();
	struct seen seen = { 0 };
	struct k3_err why = { 0 };
	struct rig r;

	k3_fail(&why, K3_CANCELLED, "interrupted");
	k3_cancel_raise(cancel, &why);
	rig_up(&r, serve_answers, &seen, cancel);
	FAILS(call(&r, 0), K3_CANCELLED);
	grpc_set_cancel(r.g, NULL);
	OK(call(&r, 0));
	rig_down(&r);
	k3_cancel_free(cancel);
}

/* ---- freed at any time -------------------------------------------------------------------- */

static unsigned open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

TEST(streams_freed_at_any_time)
{
	unsigned before = open_files();
	struct rig r;

	for (int stage = 0; stage < 6; stage++) {
		struct grpc_stream *s = NULL;
		bool more;

		rig_up(&r, serve_echo, NULL, NULL);
		OK(grpc_stream_open(r.g, METHOD, LONG_MS, &s, &err));
		if (stage > 0)
			OK(grpc_stream_send(s, &r.m, &err));
		if (stage > 1)
			OK(grpc_stream_receive(s, &r.answer, &more, NULL, &err));
		if (stage > 2)
			OK(grpc_stream_send(s, &r.m, &err));
		if (stage > 3)
			OK(grpc_stream_end_send(s, &err));
		if (stage > 4)
			OK(grpc_stream_receive(s, &r.answer, &more, NULL, &err));
		grpc_stream_free(s);
		/* and the channel is good for another one */
		OK(call(&r, LONG_MS));
		rig_down(&r);
	}
	EQ_INT(open_files(), before);
}

UNIT_MAIN
