/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels and streams on libnghttp2: one connection, which later calls use again, and one HTTP/2
 * stream at a time.
 */
#include "grpc/grpc.h"

#include <errno.h>
#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "grpc/inbox.h"
#include "grpc/status.h"

#define POLL_MS 100          /* how long a cancelled call may go on */
#define HEAD_MAX (64u << 10) /* bytes of headers and trailers of one answer */
#define OUT_QUEUE (1u << 20) /* unsent bytes with which a sender has to wait */
/* What the peer may send before we have read it; answers of some MB come without a pause. */
#define WINDOW (1 << 20)
#define READ_SIZE (64u << 10)
#define TIMEOUT_DIGITS_MAX 99999999u /* of grpc-timeout: eight digits */

struct field {
	char *name, *value;
};

struct grpc {
	char *socket;
	struct k3_cancel *cancel;
	struct field *fields;
	size_t n_fields, cap_fields;
	/* the connection */
	int fd;
	nghttp2_session *h2; /* NULL: not connected */
	bool going_away;     /* the peer takes no more streams on it */
	const uint8_t *send; /* what libnghttp2 wants to be sent; lives until it is asked again */
	size_t send_len;
	struct grpc_stream *stream; /* the one that is under way */
};

struct grpc_stream {
	struct grpc *g; /* NULL: the channel is gone */
	char *label;    /* "Images.Get" */
	int32_t id;
	unsigned timeout_ms;
	uint64_t deadline; /* 0: none */
	/* ours to the peer */
	struct k3_buf out;
	size_t out_at;  /* first byte that libnghttp2 has not got */
	bool end_send;  /* nothing comes behind what is in out */
	bool deferred;  /* libnghttp2 was told that there is nothing to send now */
	bool send_done; /* it has got the end */
	/* the peer's to us */
	struct status status;
	size_t head_bytes;
	struct inbox in;
	/* the end */
	bool over;   /* nothing more comes */
	bool closed; /* libnghttp2 has forgotten it */
	bool failed; /* ended by us or the connection, and this is why */
	enum grpc_code code;
	struct k3_err err;
};

static void fail_here(struct grpc_stream *s, enum grpc_code code)
{
	s->failed = true;
	s->over = true;
	s->code = code;
}

/* ---- what libnghttp2 calls ---------------------------------------------------------------- */

static struct grpc_stream *stream_of(void *arg, int32_t id)
{
	struct grpc *g = arg;

	return g->stream && g->stream->id == id ? g->stream : NULL;
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *arg)
{
	struct grpc_stream *s = stream_of(arg, frame->hd.stream_id);

	(void)h2, (void)flags;
	if (!s || s->over)
		return 0;
	s->head_bytes += name_len + value_len;
	if (s->head_bytes > HEAD_MAX) {
		k3_fail(&s->err, K3_LIMIT, "more than %u bytes of headers", HEAD_MAX);
		fail_here(s, GRPC_NONE);
		return 0;
	}
	status_field(&s->status, (const char *)name, name_len, (const char *)value, value_len);
	return 0;
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *arg)
{
	struct grpc_stream *s = stream_of(arg, frame->hd.stream_id);
	struct grpc *g = arg;

	(void)h2;
	if (frame->hd.type == NGHTTP2_GOAWAY)
		g->going_away = true;
	if (!s)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS)
		status_head_done(&s->status);
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
	    (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA))
		s->over = true;
	return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
		   void *arg)
{
	struct grpc_stream *s = stream_of(arg, id);

	(void)h2, (void)flags;
	if (!s || s->over)
		return 0;
	if (status_check_head(&s->status, &s->err)) {
		fail_here(s, GRPC_NONE);
	} else if (s->status.seen) {
		k3_fail(&s->err, K3_PROTO, "the answer goes on behind its status");
		fail_here(s, GRPC_NONE);
	} else if (inbox_add(&s->in, p, n, &s->err)) {
		fail_here(s, GRPC_NONE);
	}
	return 0;
}

static int on_close(nghttp2_session *h2, int32_t id, uint32_t why, void *arg)
{
	struct grpc_stream *s = stream_of(arg, id);

	(void)h2;
	if (!s)
		return 0;
	s->closed = true;
	/* Behind its status a peer resets what it does not want to read any more. */
	if (!s->over && !s->status.seen) {
		k3_fail(&s->err, why == NGHTTP2_REFUSED_STREAM ? K3_BUSY : K3_PROTO,
			"the call was reset: %s", nghttp2_http2_strerror(why));
		fail_here(s, why == NGHTTP2_REFUSED_STREAM ? GRPC_UNAVAILABLE : GRPC_NONE);
	}
	s->over = true;
	return 0;
}

static size_t pending(const struct grpc_stream *s)
{
	return s->out.len - s->out_at;
}

static ssize_t on_read(nghttp2_session *h2, int32_t id, uint8_t *buf, size_t room, uint32_t *flags,
		       nghttp2_data_source *source, void *arg)
{
	struct grpc_stream *s = stream_of(arg, id);
	size_t n;

	(void)h2, (void)source;
	if (!s)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	n = pending(s) < room ? pending(s) : room;
	if (!n && !s->end_send) {
		s->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (n)
		memcpy(buf, s->out.p + s->out_at, n);
	s->out_at += n;
	if (s->end_send && !pending(s)) {
		s->send_done = true;
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	}
	return (ssize_t)n;
}

/* ---- the connection ----------------------------------------------------------------------- */

static void disconnect(struct grpc *g)
{
	nghttp2_session_del(g->h2);
	g->h2 = NULL;
	k3_closep(&g->fd);
	g->going_away = false;
	g->send = NULL;
	g->send_len = 0;
}

static int connect_socket(struct grpc *g, struct k3_err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	memcpy(a.sun_path, g->socket, strlen(g->socket));
	g->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (g->fd < 0)
		return k3_fail_sys(e, errno, "cannot make a socket");
	/* The peer's queue of connections is the kernel's: this does not wait for the peer. */
	if (!connect(g->fd, (struct sockaddr *)&a, sizeof(a)) && !fcntl(g->fd, F_SETFL, O_NONBLOCK))
		return 0;
	int sys = errno;

	k3_closep(&g->fd);
	k3_fail_sys(e, sys, "cannot connect to %s", g->socket);
	e->code = sys == EACCES || sys == EPERM ? K3_AUTH : K3_BUSY;
	return k3_hint(e, e->code == K3_AUTH ? "run it as root"
					     : "is containerd running, and is that its socket?");
}

static int start_session(struct grpc *g)
{
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW },
	};
	nghttp2_session_callbacks *cb;
	int rc;

	if (nghttp2_session_callbacks_new(&cb))
		return -1;
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	rc = nghttp2_session_client_new(&g->h2, cb, g);
	nghttp2_session_callbacks_del(cb);
	return rc ||
	       nghttp2_submit_settings(g->h2, NGHTTP2_FLAG_NONE, settings,
				       K3_ARRAY_LEN(settings)) ||
	       nghttp2_session_set_local_window_size(g->h2, NGHTTP2_FLAG_NONE, 0, WINDOW);
}

/* The stream that is under way ends with the connection; sys: an errno, or 0. */
static void lost(struct grpc *g, int sys, const char *why)
{
	struct grpc_stream *s = g->stream;

	disconnect(g);
	if (!s)
		return;
	s->closed = true;
	if (s->over)
		return;
	if (sys)
		k3_fail_sys(&s->err, sys, "the connection to %s broke", g->socket);
	else
		k3_fail(&s->err, K3_BUSY, "the connection to %s broke: %s", g->socket, why);
	s->err.code = K3_BUSY;
	k3_hint(&s->err, "did containerd stop? its log says why");
	fail_here(s, GRPC_NO_PEER);
}

/* Sends what there is, as far as the socket takes it. */
static void send_some(struct grpc *g)
{
	while (g->h2) {
		ssize_t n;

		if (!g->send_len) {
			n = nghttp2_session_mem_send(g->h2, &g->send);
			if (n < 0) {
				lost(g, 0, nghttp2_strerror((int)n));
				return;
			}
			g->send_len = (size_t)n;
			if (!n)
				return;
		}
		n = send(g->fd, g->send, g->send_len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			/* What the peer has sent before it closed is still to be read. */
			if (errno != EPIPE && errno != ECONNRESET)
				lost(g, errno, NULL);
			g->send_len = 0;
			return;
		}
		g->send += n;
		g->send_len -= (size_t)n;
	}
}

static void not_http2(struct grpc *g, const char *why)
{
	struct grpc_stream *s = g->stream;

	disconnect(g);
	if (!s)
		return;
	s->closed = true;
	if (s->over)
		return;
	k3_fail(&s->err, K3_PROTO, "the answer is not HTTP/2: %s", why);
	k3_hint(&s->err, "something that does not speak gRPC listens on that socket");
	fail_here(s, GRPC_NONE);
}

/* Reads what has come, without waiting. */
static void receive_some(struct grpc *g)
{
	uint8_t buf[READ_SIZE];

	while (g->h2) {
		ssize_t n = recv(g->fd, buf, sizeof(buf), 0), taken;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			lost(g, n ? errno : 0, "closed by the peer");
			return;
		}
		taken = nghttp2_session_mem_recv(g->h2, buf, (size_t)n);
		if (taken < 0) {
			not_http2(g, nghttp2_strerror((int)taken));
			return;
		}
		if (!nghttp2_session_want_read(g->h2) && !nghttp2_session_want_write(g->h2)) {
			lost(g, 0, "closed by the peer");
			return;
		}
	}
}

/* Connects unless the old connection still stands. */
static int need_connection(struct grpc *g, struct k3_err *e)
{
	if (g->h2) {
		/* What came since the last call: pings, or that the peer has gone. */
		receive_some(g);
		send_some(g);
	}
	if (g->h2 && !g->going_away)
		return 0;
	disconnect(g);
	if (connect_socket(g, e))
		return -1;
	if (start_session(g)) {
		disconnect(g);
		return k3_fail(e, K3_NOMEM, "libnghttp2 has no memory");
	}
	return 0;
}

/* ---- the channel -------------------------------------------------------------------------- */

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
	g->fd = -1;
	*out = g;
	return 0;
}

static void free_field(struct field *f)
{
	free(f->name);
	free(f->value);
}

/* Ends it; the peer sees a cancelled call if it was not over. */
static void leave_channel(struct grpc_stream *s)
{
	struct grpc *g = s->g;

	if (!g)
		return;
	if (g->h2 && s->id > 0 && !s->closed) {
		nghttp2_submit_rst_stream(g->h2, NGHTTP2_FLAG_NONE, s->id,
					  s->over && !s->failed ? NGHTTP2_NO_ERROR
								: NGHTTP2_CANCEL);
		send_some(g);
	}
	g->stream = NULL;
	s->g = NULL;
}

void grpc_set_cancel(struct grpc *g, struct k3_cancel *cancel)
{
	g->cancel = cancel;
}

void grpc_free(struct grpc *g)
{
	if (!g)
		return;
	if (g->stream)
		leave_channel(g->stream);
	disconnect(g);
	for (size_t i = 0; i < g->n_fields; i++)
		free_field(&g->fields[i]);
	free(g->fields);
	free(g->socket);
	free(g);
}

const char *grpc_socket(const struct grpc *g)
{
	return g->socket;
}

void grpc_header(struct grpc *g, const char *name, const char *value)
{
	size_t i = 0;

	while (i < g->n_fields && strcmp(g->fields[i].name, name) != 0)
		i++;
	if (i < g->n_fields) {
		free_field(&g->fields[i]);
		g->fields[i] = g->fields[--g->n_fields];
	}
	if (!value)
		return;
	g->fields = k3_xgrow(g->fields, g->n_fields, &g->cap_fields, sizeof(*g->fields));
	g->fields[g->n_fields++] = (struct field){ .name = k3_xstrdup(name),
						   .value = k3_xstrdup(value) };
}

/* ---- the request -------------------------------------------------------------------------- */

#define FIXED_FIELDS 7u

struct head {
	nghttp2_nv *v;
	size_t n;
};

static void add(struct head *h, const char *name, const char *value)
{
	union {
		const char *in;
		uint8_t *out;
	} n = { .in = name }, v = { .in = value };

	h->v[h->n++] = (nghttp2_nv){
		.name = n.out, .value = v.out, .namelen = strlen(name), .valuelen = strlen(value)
	};
}

static int check_metadata(const struct field *f, struct k3_err *e)
{
	bool bad = !*f->name || f->name[strspn(f->name, "abcdefghijklmnopqrstuvwxyz0123456789_.-")];

	for (const char *p = f->value; *p; p++)
		bad |= *p < ' ' || *p > '~';
	if (bad)
		return k3_fail(e, K3_USAGE, "\"%s: %s\" cannot be sent: only printable ASCII can",
			       f->name, f->value);
	return 0;
}

static int submit(struct grpc_stream *s, const char *method, struct k3_err *e)
{
	struct grpc *g = s->g;
	K3_AUTO_FREE nghttp2_nv *v = k3_xcalloc(FIXED_FIELDS + g->n_fields, sizeof(*v));
	const nghttp2_data_provider body = { .read_callback = on_read };
	bool fits = s->timeout_ms <= TIMEOUT_DIGITS_MAX;
	struct head h = { .v = v };
	char timeout[24];

	add(&h, ":method", "POST");
	add(&h, ":scheme", "http");
	add(&h, ":path", method);
	add(&h, ":authority", "localhost");
	add(&h, "content-type", "application/grpc");
	add(&h, "te", "trailers");
	snprintf(timeout, sizeof(timeout), "%u%s", fits ? s->timeout_ms : s->timeout_ms / 1000,
		 fits ? "m" : "S");
	if (s->timeout_ms)
		add(&h, "grpc-timeout", timeout);
	for (size_t i = 0; i < g->n_fields; i++) {
		if (check_metadata(&g->fields[i], e))
			return -1;
		add(&h, g->fields[i].name, g->fields[i].value);
	}
	/* Copies the fields. */
	s->id = nghttp2_submit_request(g->h2, NULL, h.v, h.n, &body, NULL);
	return s->id > 0 ? 0 : k3_fail(e, K3_NOMEM, "libnghttp2: %s", nghttp2_strerror(s->id));
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
	if (need_connection(g, e))
		return k3_wrap(e, "%s", label);
	struct grpc_stream *s = k3_xcalloc(1, sizeof(*s));

	s->g = g;
	s->label = K3_STEAL(label);
	s->out = K3_BUF(OUT_QUEUE + INBOX_PREFIX + GRPC_MSG_MAX);
	inbox_init(&s->in);
	s->timeout_ms = timeout_ms;
	s->deadline = timeout_ms ? k3_now_ms() + timeout_ms : 0;
	g->stream = s;
	if (submit(s, method, e)) {
		k3_wrap(e, "%s", s->label);
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
	status_release(&s->status);
	inbox_release(&s->in);
	k3_buf_release(&s->out);
	free(s->label);
	free(s);
}

/* ---- driving it --------------------------------------------------------------------------- */

/* What can be done without waiting. */
static void run(struct grpc_stream *s)
{
	struct grpc *g = s->g;

	if (g->h2 && s->deferred && (pending(s) || s->end_send)) {
		s->deferred = false;
		nghttp2_session_resume_data(g->h2, s->id);
	}
	if (g->h2)
		send_some(g);
	if (g->h2)
		receive_some(g);
	/* Answers to what came: windows, pings. */
	if (g->h2)
		send_some(g);
}

/* One round; waits until there may be more to do, unless there is something to take. */
static void step(struct grpc_stream *s)
{
	struct grpc *g = s->g;
	uint64_t ms = POLL_MS, now;

	run(s);
	if (s->over || inbox_has(&s->in))
		return;
	if (k3_cancel_check(g->cancel, &s->err)) {
		fail_here(s, GRPC_NONE);
		return;
	}
	now = k3_now_ms();
	if (s->deadline && now >= s->deadline) {
		k3_fail(&s->err, K3_BUSY, "no answer within %.3g s", s->timeout_ms / 1000.0);
		fail_here(s, GRPC_DEADLINE_EXCEEDED);
		return;
	}
	if (s->deadline && s->deadline - now < ms)
		ms = s->deadline - now;
	struct pollfd p = { .fd = g->fd,
			    .events = (short)(g->send_len ? POLLIN | POLLOUT : POLLIN) };

	poll(&p, 1, (int)ms);
}

int grpc_stream_send(struct grpc_stream *s, const struct grpc_msg *m, struct k3_err *e)
{
	uint8_t prefix[INBOX_PREFIX];

	if (grpc_done(m, e))
		return k3_wrap(e, "%s", s->label);
	if (!s->g)
		return k3_fail(e, K3_BUG, "%s: its channel is gone", s->label);
	if (s->end_send)
		return k3_fail(e, K3_BUG, "%s: a message behind the last one", s->label);
	while (!s->over && pending(s) >= OUT_QUEUE && !inbox_has(&s->in))
		step(s);
	/* Why it is over comes with the next message that is waited for. */
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
	run(s);
	return 0;
}

int grpc_stream_end_send(struct grpc_stream *s, struct k3_err *e)
{
	if (!s->g)
		return k3_fail(e, K3_BUG, "%s: its channel is gone", s->label);
	s->end_send = true;
	if (!s->over)
		run(s);
	return 0;
}

/* ---- how it ended ------------------------------------------------------------------------- */

static int outcome(const struct grpc_stream *s, enum grpc_code *code, struct k3_err *e)
{
	if (s->failed) {
		*code = s->code;
		*e = s->err;
		return -1;
	}
	if (status_end(&s->status, code, e))
		return -1;
	if (inbox_cut(&s->in)) {
		*code = GRPC_NONE;
		return k3_fail(e, K3_PROTO, "the answer ends within a message");
	}
	return 0;
}

int grpc_stream_receive(struct grpc_stream *s, struct k3_buf *message, bool *more,
			enum grpc_code *code, struct k3_err *e)
{
	enum grpc_code ignored;

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
		step(s);
	}
	if (!outcome(s, code, e))
		return 0;
	return e->code == K3_CANCELLED ? -1 : k3_wrap(e, "%s", s->label);
}
