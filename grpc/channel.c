/* SPDX-License-Identifier: Apache-2.0 */
/* Channels and calls: messages, metadata, status and time limits of gRPC over one connection. */
#include "grpc/grpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/mem.h"
#include "grpc/h2.h"
#include "grpc/inbox.h"
#include "grpc/status.h"

#define POLL_MS 100           /* how long a cancelled call may go on */
#define CONNECT_MS 10         /* between two tries while the peer's queue is full */
#define HEAD_MAX (64u << 10)  /* bytes of headers and trailers of one answer */
#define OUT_QUEUE (1u << 20)  /* unsent bytes with which a sender has to wait */
#define TIMEOUT_MAX 99999999u /* of grpc-timeout: eight digits */

struct fields {
	struct h2_field *v;
	size_t n, cap;
};

struct grpc {
	char *socket;
	struct k3_cancel *cancel;
	struct fields metadata;
	struct h2 *h2;              /* NULL: not connected */
	struct grpc_stream *stream; /* the call that is under way */
};

struct grpc_stream {
	struct grpc *g; /* NULL: the channel is gone */
	char *label;    /* "Images.Get" */
	struct fields fields;
	struct h2_sink sink;
	bool started; /* the connection has it */
	unsigned timeout_ms;
	uint64_t deadline; /* 0: none */
	/* ours to the peer */
	struct k3_buf out;
	size_t out_at; /* first byte that the connection has not got */
	bool end_send; /* nothing comes behind what is in out */
	bool dry;      /* the connection was told to wait for more */
	bool sending;  /* waits until the peer has taken something: what it sends has to go in */
	/* the peer's to us */
	struct status status;
	size_t head_bytes;
	struct inbox in;
	size_t unconsumed; /* bytes that the connection does not know to be out of the way */
	/* the end */
	bool over;
	bool ended;  /* by the peer, as it should be */
	bool failed; /* otherwise, and this is why */
	enum grpc_code code;
	struct k3_err err;
};

/* ---- the channel --------------------------------------------------------------------------- */

static void add_field(struct fields *f, const char *name, const char *value)
{
	f->v = k3_xgrow(f->v, f->n, &f->cap, sizeof(*f->v));
	f->v[f->n++] = (struct h2_field){ .name = k3_xstrdup(name), .value = k3_xstrdup(value) };
}

static void remove_field(struct fields *f, size_t i)
{
	free(f->v[i].name);
	free(f->v[i].value);
	f->v[i] = f->v[--f->n];
}

static void release_fields(struct fields *f)
{
	while (f->n)
		remove_field(f, f->n - 1);
	free(f->v);
}

int grpc_new(const char *socket, struct k3_cancel *cancel, struct grpc **out, struct k3_err *e)
{
	static const char scheme[] = "unix://";
	struct sockaddr_un a;

	if (!strncmp(socket, scheme, strlen(scheme)))
		socket += strlen(scheme);
	if (!*socket)
		return k3_fail(e, K3_USAGE, "the path of the socket is empty");
	if (strlen(socket) >= sizeof(a.sun_path))
		return k3_fail(e, K3_USAGE, "the path of a socket has at most %zu bytes: %s",
			       sizeof(a.sun_path) - 1, socket);
	struct grpc *g = k3_xcalloc(1, sizeof(*g));

	g->socket = k3_xstrdup(socket);
	g->cancel = cancel;
	*out = g;
	return 0;
}

static void disconnect(struct grpc *g)
{
	h2_free(g->h2);
	g->h2 = NULL;
}

/* A call that has not ended takes its connection along: so the peer sees it cancelled. */
static void leave_channel(struct grpc_stream *s)
{
	if (!s->g)
		return;
	if (s->started && !s->over)
		disconnect(s->g);
	s->over = true;
	s->g->stream = NULL;
	s->g = NULL;
}

void grpc_free(struct grpc *g)
{
	if (!g)
		return;
	if (g->stream)
		leave_channel(g->stream);
	disconnect(g);
	release_fields(&g->metadata);
	free(g->socket);
	free(g);
}

void grpc_set_cancel(struct grpc *g, struct k3_cancel *cancel)
{
	g->cancel = cancel;
}

const char *grpc_socket(const struct grpc *g)
{
	return g->socket;
}

void grpc_header(struct grpc *g, const char *name, const char *value)
{
	struct fields *f = &g->metadata;
	size_t i = 0;

	while (i < f->n && strcmp(f->v[i].name, name) != 0)
		i++;
	if (i < f->n)
		remove_field(f, i);
	if (value)
		add_field(f, name, value);
}

/* ---- what the connection calls ------------------------------------------------------------- */

/* After a failure the rest of the answer is not looked at: exchange() ends the call. */
static void fail_answer(struct grpc_stream *s)
{
	s->failed = true;
	s->code = GRPC_NONE;
}

static void on_field(void *arg, const char *name, const char *value)
{
	struct grpc_stream *s = arg;

	if (s->failed)
		return;
	s->head_bytes += strlen(name) + strlen(value);
	if (s->head_bytes <= HEAD_MAX) {
		status_field(&s->status, name, value);
		return;
	}
	k3_fail(&s->err, K3_LIMIT, "more than %u bytes of headers", HEAD_MAX);
	fail_answer(s);
}

static void on_fields_end(void *arg)
{
	struct grpc_stream *s = arg;

	status_head_done(&s->status);
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct grpc_stream *s = arg;

	s->unconsumed += n;
	if (s->failed)
		return;
	if (s->status.seen) {
		k3_fail(&s->err, K3_PROTO, "the answer goes on behind its status");
		fail_answer(s);
	} else if (status_check_head(&s->status, &s->err) || inbox_add(&s->in, p, n, &s->err)) {
		fail_answer(s);
	}
}

static size_t pending(const struct grpc_stream *s)
{
	return s->out.len - s->out_at;
}

static size_t on_body(void *arg, uint8_t *p, size_t room, bool *end)
{
	struct grpc_stream *s = arg;
	size_t n = pending(s) < room ? pending(s) : room;

	if (n)
		memcpy(p, s->out.p + s->out_at, n);
	s->out_at += n;
	*end = s->end_send && !pending(s);
	s->dry = !n && !*end;
	return n;
}

static void on_ended(void *arg)
{
	struct grpc_stream *s = arg;

	s->ended = true;
}

static void on_closed(void *arg, enum h2_end end, const char *why)
{
	struct grpc_stream *s = arg;

	s->over = true;
	if (s->ended || s->failed || end == H2_END_WHOLE)
		return;
	s->failed = true;
	switch (end) {
	case H2_END_BROKEN:
		s->code = GRPC_NONE;
		k3_fail(&s->err, K3_PROTO, "the answer is not HTTP/2: %s", why);
		break;
	case H2_END_REFUSED:
		s->code = GRPC_UNAVAILABLE;
		k3_fail(&s->err, K3_BUSY, "the peer refused the call: %s", why);
		break;
	default:
		s->code = GRPC_NO_PEER;
		k3_fail(&s->err, K3_BUSY, "the peer broke the call off: %s", why);
	}
}

/* ---- the request --------------------------------------------------------------------------- */

static int check_metadata(const struct h2_field *f, struct k3_err *e)
{
	bool bad = !*f->name || f->name[strspn(f->name, "abcdefghijklmnopqrstuvwxyz0123456789_.-")];

	for (const char *p = f->value; *p; p++)
		bad |= *p < ' ' || *p > '~';
	if (bad)
		return k3_fail(e, K3_USAGE, "\"%s: %s\" cannot be sent: only printable ASCII can",
			       f->name, f->value);
	return 0;
}

static int make_fields(struct grpc_stream *s, const char *method, struct k3_err *e)
{
	const struct fields *m = &s->g->metadata;
	bool fits = s->timeout_ms <= TIMEOUT_MAX;
	char timeout[16];

	add_field(&s->fields, ":method", "POST");
	add_field(&s->fields, ":scheme", "http");
	add_field(&s->fields, ":path", method);
	add_field(&s->fields, ":authority", "localhost");
	add_field(&s->fields, "te", "trailers");
	add_field(&s->fields, "content-type", "application/grpc");
	add_field(&s->fields, "user-agent", "k3simg");
	snprintf(timeout, sizeof(timeout), "%u%c", fits ? s->timeout_ms : s->timeout_ms / 1000,
		 fits ? 'm' : 'S');
	if (s->timeout_ms)
		add_field(&s->fields, "grpc-timeout", timeout);
	for (size_t i = 0; i < m->n; i++) {
		if (check_metadata(&m->v[i], e))
			return k3_wrap(e, "%s", s->label);
		add_field(&s->fields, m->v[i].name, m->v[i].value);
	}
	return 0;
}

/* "/containerd.services.images.v1.Images/Get": "Images.Get"; NULL if it is no such thing. */
static char *make_label(const char *method)
{
	static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "_./";
	const char *slash = *method == '/' ? strchr(method + 1, '/') : NULL;

	if (!slash || strchr(slash + 1, '/') || method[strspn(method, chars)])
		return NULL;
	const char *service = slash;

	while (service[-1] != '.' && service[-1] != '/')
		service--;
	return k3_xasprintf("%.*s.%s", (int)(slash - service), service, slash + 1);
}

int grpc_stream_open(struct grpc *g, const char *method, unsigned timeout_ms,
		     struct grpc_stream **out, struct k3_err *e)
{
	K3_AUTO_FREE char *label = make_label(method);

	if (!label)
		return k3_fail(e, K3_BUG, "\"%s\" is not the path of a method", method);
	if (g->stream)
		return k3_fail(e, K3_BUG, "%s: another call is under way", label);
	if (k3_cancel_check(g->cancel, e))
		return -1;
	struct grpc_stream *s = k3_xcalloc(1, sizeof(*s));

	s->g = g;
	s->label = K3_STEAL(label);
	s->sink = (struct h2_sink){ .arg = s,
				    .field = on_field,
				    .fields_end = on_fields_end,
				    .data = on_data,
				    .body = on_body,
				    .ended = on_ended,
				    .closed = on_closed };
	s->out = K3_BUF(OUT_QUEUE + INBOX_PREFIX + GRPC_MSG_MAX);
	inbox_init(&s->in);
	s->timeout_ms = timeout_ms;
	s->deadline = timeout_ms ? k3_now_ms() + timeout_ms : 0;
	g->stream = s;
	if (make_fields(s, method, e)) {
		grpc_stream_free(s);
		return -1;
	}
	*out = s;
	return 0;
}

void grpc_stream_free(struct grpc_stream *s)
{
	if (!s)
		return;
	leave_channel(s);
	release_fields(&s->fields);
	status_release(&s->status);
	inbox_release(&s->in);
	k3_buf_release(&s->out);
	free(s->label);
	free(s);
}

/* ---- driving it ---------------------------------------------------------------------------- */

/* Ends the call for the reason in s->err. */
static void fail_here(struct grpc_stream *s, enum grpc_code code)
{
	disconnect(s->g);
	s->over = s->failed = true;
	s->code = code;
}

static void fail_connect(struct grpc_stream *s)
{
	bool forbidden = s->err.sys == EACCES || s->err.sys == EPERM;

	s->err.code = forbidden ? K3_AUTH : K3_BUSY;
	k3_hint(&s->err, "%s",
		forbidden ? "run it as root" : "is containerd running, and is that its socket?");
	fail_here(s, GRPC_NO_PEER);
}

static void start(struct grpc_stream *s)
{
	struct grpc *g = s->g;

	if (g->h2 && !h2_usable(g->h2))
		disconnect(g);
	if (!g->h2 && h2_connect(g->socket, &g->h2, &s->err)) {
		if (s->err.sys != EAGAIN)
			fail_connect(s);
		return;
	}
	if (h2_request(g->h2, s->fields.v, s->fields.n, &s->sink, &s->err))
		fail_here(s, GRPC_NONE);
	else
		s->started = true;
}

static void tell_consumed(struct grpc_stream *s)
{
	if (s->unconsumed)
		h2_consume(s->g->h2, s->unconsumed);
	s->unconsumed = 0;
}

static void fail_time(struct grpc_stream *s)
{
	k3_fail(&s->err, K3_BUSY, "no answer within %.3g s", s->timeout_ms / 1000.0);
	fail_here(s, GRPC_DEADLINE_EXCEEDED);
}

/* Sends and receives what is possible now. */
static void exchange(struct grpc_stream *s)
{
	struct k3_err why;

	if (s->dry && (pending(s) || s->end_send)) {
		s->dry = false;
		h2_resume(s->g->h2);
	}
	if (s->sending || !inbox_full(&s->in))
		tell_consumed(s);
	int rc = h2_round(s->g->h2, &why);

	if (rc && !s->failed && !s->ended && !s->over) {
		s->failed = true;
		s->err = why;
		s->code = why.code == K3_BUSY ? GRPC_NO_PEER : GRPC_NONE;
	}
	if (s->failed) {
		/* a peer knows the time limit too, and ends the call in its own way */
		if (s->code == GRPC_NO_PEER && s->deadline && k3_now_ms() >= s->deadline)
			fail_time(s);
		else
			fail_here(s, s->code);
		return;
	}
	if (!s->ended && !s->over)
		return;
	s->over = true;
	if (rc) {
		disconnect(s->g);
		return;
	}
	tell_consumed(s);
	h2_forget(s->g->h2);
}

/* What can be done now, and with `wait` until there may be more. */
static void step(struct grpc_stream *s, bool wait)
{
	uint64_t ms = POLL_MS, now;

	if (!s->started && !s->over)
		start(s);
	if (s->started && !s->over)
		exchange(s);
	if (s->over || !wait || (inbox_has(&s->in) && !s->sending))
		return;
	if (k3_cancel_check(s->g->cancel, &s->err)) {
		fail_here(s, GRPC_NONE);
		return;
	}
	now = k3_now_ms();
	if (s->deadline && now >= s->deadline) {
		fail_time(s);
		return;
	}
	if (s->deadline && s->deadline - now < ms)
		ms = s->deadline - now;
	if (s->started)
		h2_wait(s->g->h2, (unsigned)ms);
	else if (k3_cancel_sleep(s->g->cancel, ms < CONNECT_MS ? ms : CONNECT_MS, &s->err))
		fail_here(s, GRPC_NONE);
}

static int queue(struct grpc_stream *s, const struct grpc_msg *m, struct k3_err *e)
{
	uint8_t prefix[INBOX_PREFIX];

	if (grpc_done(m, e))
		return k3_wrap(e, "%s", s->label);
	if (s->end_send)
		return k3_fail(e, K3_BUG, "%s: a message behind the last one", s->label);
	s->sending = true;
	while (!s->over && pending(s) >= OUT_QUEUE)
		step(s, true);
	s->sending = false;
	/* Nobody is there for it; why comes with the next message that is waited for. */
	if (s->over)
		return 0;
	if (s->out_at)
		memmove(s->out.p, s->out.p + s->out_at, pending(s));
	s->out.len -= s->out_at;
	s->out_at = 0;
	inbox_prefix(prefix, m->buf.len);
	if (k3_buf_reserve(&s->out, INBOX_PREFIX + m->buf.len, e) ||
	    k3_buf_add(&s->out, prefix, INBOX_PREFIX, e) ||
	    k3_buf_add(&s->out, m->buf.p, m->buf.len, e))
		return k3_wrap(e, "%s", s->label);
	return 0;
}

int grpc_stream_send(struct grpc_stream *s, const struct grpc_msg *m, struct k3_err *e)
{
	if (queue(s, m, e))
		return -1;
	step(s, false);
	return 0;
}

int grpc_stream_end_send(struct grpc_stream *s, struct k3_err *e)
{
	(void)e;
	s->end_send = true;
	step(s, false);
	return 0;
}

/* ---- how it ended -------------------------------------------------------------------------- */

static int outcome(const struct grpc_stream *s, enum grpc_code *code, struct k3_err *e)
{
	if (s->failed) {
		*code = s->code;
		*e = s->err;
		return -1;
	}
	if (status_end(&s->status, code, e))
		return -1;
	if (!inbox_cut(&s->in))
		return 0;
	*code = GRPC_NONE;
	return k3_fail(e, K3_PROTO, "the answer ends within a message");
}

int grpc_stream_receive(struct grpc_stream *s, struct k3_buf *message, bool *more,
			enum grpc_code *code, struct k3_err *e)
{
	enum grpc_code ignored = GRPC_NONE;

	code = code ? code : &ignored;
	*code = GRPC_NONE;
	if (!s->g)
		return k3_fail(e, K3_BUG, "%s: its channel is gone", s->label);
	if (message)
		k3_buf_reset(message);
	for (;;) {
		if (inbox_take(&s->in, message, more, e))
			return k3_wrap(e, "%s", s->label);
		if (*more) {
			*code = GRPC_OK;
			return 0;
		}
		if (s->over)
			break;
		step(s, true);
	}
	if (!outcome(s, code, e))
		return 0;
	/* nothing is wrong with a call that the user has interrupted */
	return e->code == K3_CANCELLED ? -1 : k3_wrap(e, "%s", s->label);
}

/* ---- one message each way ------------------------------------------------------------------ */

static void freep_stream(struct grpc_stream **s)
{
	grpc_stream_free(*s);
}

int grpc_call(struct grpc *g, const char *method, const struct grpc_msg *request,
	      struct k3_buf *answer, unsigned timeout_ms, enum grpc_code *code, struct k3_err *e)
{
	__attribute__((cleanup(freep_stream))) struct grpc_stream *s = NULL;
	enum grpc_code ignored = GRPC_NONE;
	bool one, more = false;

	code = code ? code : &ignored;
	*code = GRPC_NONE;
	/* only queued, so that its end goes out together with it */
	if (grpc_stream_open(g, method, timeout_ms, &s, e) || queue(s, request, e) ||
	    grpc_stream_end_send(s, e) || grpc_stream_receive(s, answer, &one, code, e) ||
	    (one && grpc_stream_receive(s, NULL, &more, code, e)))
		return -1;
	if (one && !more)
		return 0;
	*code = GRPC_NONE;
	return k3_fail(e, K3_PROTO, "%s: the answer has %s message", s->label,
		       more ? "more than one" : "no");
}
