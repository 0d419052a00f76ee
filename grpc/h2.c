/* SPDX-License-Identifier: Apache-2.0 */
/* libnghttp2 does the frames, the header compression and the windows; the socket is ours. */
#include "grpc/h2.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

#define RECEIVE_MAX (64u << 10)
#define IDLE_ROUNDS 8 /* what a peer has sent that nobody asked is read so many times */
#define REASON_MAX 160
#define HINT_NO_GRPC "something that does not speak gRPC listens on that socket"

struct h2 {
	int fd;
	nghttp2_session *session;
	/* frames that the socket has not taken; valid until the session is asked for more */
	const uint8_t *out;
	size_t out_n;
	int deaf; /* errno with which the peer refused to take more */
	/* the request */
	const struct h2_sink *sink; /* NULL: there is none */
	int32_t id;
	/* how the connection ended */
	bool goaway;             /* the peer takes no new requests */
	bool broken;             /* the peer does not keep to the protocol ... */
	char reason[REASON_MAX]; /* ... and so it was; or the peer's reason for goaway */
};

static void set_reason(struct h2 *h, const void *p, size_t n, uint32_t code)
{
	if (n)
		snprintf(h->reason, sizeof(h->reason), "%.*s", (int)n, (const char *)p);
	else
		snprintf(h->reason, sizeof(h->reason), "%s", nghttp2_http2_strerror(code));
}

/* ---- what the library calls ---------------------------------------------------------------- */

static const struct h2_sink *sink_of(const struct h2 *h, int32_t id)
{
	return h->sink && h->id == id ? h->sink : NULL;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
	const struct h2_sink *s = sink_of(arg, frame->hd.stream_id);

	(void)session, (void)name_n, (void)value_n, (void)flags;
	if (s) /* both are terminated and have no NUL inside */
		s->field(s->arg, (const char *)name, (const char *)value);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h = arg;
	const struct h2_sink *s = sink_of(h, frame->hd.stream_id);
	const nghttp2_goaway *bye = &frame->goaway;

	(void)session;
	if (frame->hd.type == NGHTTP2_GOAWAY) {
		h->goaway = true;
		if (bye->error_code)
			set_reason(h, bye->opaque_data, bye->opaque_data_len, bye->error_code);
	}
	if (s && frame->hd.type == NGHTTP2_HEADERS)
		s->fields_end(s->arg);
	if (s && (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
	    frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		s->ended(s->arg);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
		   void *arg)
{
	const struct h2_sink *s = sink_of(arg, id);

	(void)flags;
	if (s)
		s->data(s->arg, p, n);
	else
		nghttp2_session_consume(session, id, n);
	return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
	struct h2 *h = arg;
	const struct h2_sink *s = sink_of(h, id);

	(void)session;
	if (!s)
		return 0;
	h->sink = NULL;
	if (!code)
		s->closed(s->arg, H2_END_WHOLE, "");
	else if (h->broken)
		s->closed(s->arg, H2_END_BROKEN, h->reason);
	else
		s->closed(s->arg, code == NGHTTP2_REFUSED_STREAM ? H2_END_REFUSED : H2_END_RESET,
			  h->goaway && h->reason[0] ? h->reason : nghttp2_http2_strerror(code));
	return 0;
}

/* What the library answers to by ending the request. */
static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
			    void *arg)
{
	const char *why = nghttp2_strerror(error);

	(void)session, (void)frame;
	((struct h2 *)arg)->broken = true;
	set_reason(arg, why, strlen(why), 0);
	return 0;
}

/* ... or the connection. */
static int on_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h = arg;
	const nghttp2_goaway *bye = &frame->goaway;

	(void)session;
	if (frame->hd.type == NGHTTP2_GOAWAY && bye->error_code && !h->broken) {
		h->broken = true;
		set_reason(h, bye->opaque_data, bye->opaque_data_len, bye->error_code);
	}
	return 0;
}

static ssize_t on_body(nghttp2_session *session, int32_t id, uint8_t *p, size_t n, uint32_t *flags,
		       nghttp2_data_source *source, void *arg)
{
	const struct h2_sink *s = sink_of(arg, id);
	bool end = false;

	(void)session, (void)source;
	if (!s)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* resets the stream */
	n = s->body(s->arg, p, n, &end);
	if (end)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return n || end ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
}

/* ---- the connection ------------------------------------------------------------------------ */

static int make_session(struct h2 *h, nghttp2_session_callbacks *c, nghttp2_option *o)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW },
	};

	nghttp2_session_callbacks_set_on_header_callback(c, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, on_close);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, on_invalid_frame);
	nghttp2_session_callbacks_set_before_frame_send_callback(c, on_send);
	nghttp2_option_set_no_auto_window_update(o, 1);
	if (nghttp2_session_client_new2(&h->session, c, h, o) ||
	    nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings,
				    K3_ARRAY_LEN(settings)) ||
	    nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, H2_WINDOW))
		return -1;
	return 0;
}

static int start_session(struct h2 *h, struct k3_err *e)
{
	nghttp2_session_callbacks *c = NULL;
	nghttp2_option *o = NULL;
	int rc = -1;

	if (!nghttp2_session_callbacks_new(&c) && !nghttp2_option_new(&o))
		rc = make_session(h, c, o);
	nghttp2_option_del(o);
	nghttp2_session_callbacks_del(c);
	return rc ? k3_fail(e, K3_NOMEM, "no memory for a connection") : 0;
}

int h2_connect(const char *path, struct h2 **out, struct k3_err *e)
{
	/* A peer that hangs accepts nobody: connecting, too, must not wait for it. */
	K3_AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (fd < 0)
		return k3_fail_sys(e, errno, "cannot make a socket");
	if (strlen(path) >= sizeof(a.sun_path))
		return k3_fail_sys(e, ENAMETOOLONG, "cannot connect to %s", path);
	memcpy(a.sun_path, path, strlen(path));
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)))
		return k3_fail_sys(e, errno, "cannot connect to %s", path);
	struct h2 *h = k3_xcalloc(1, sizeof(*h));

	h->fd = k3_steal_fd(&fd);
	if (start_session(h, e)) {
		h2_free(h);
		return -1;
	}
	*out = h;
	return 0;
}

void h2_free(struct h2 *h)
{
	if (!h)
		return;
	h->sink = NULL;
	nghttp2_session_del(h->session);
	k3_closep(&h->fd);
	free(h);
}

/* ---- the request --------------------------------------------------------------------------- */

int h2_request(struct h2 *h, const struct h2_field *fields, size_t n, const struct h2_sink *sink,
	       struct k3_err *e)
{
	K3_AUTO_FREE nghttp2_nv *nv = k3_xcalloc(n, sizeof(*nv));
	const nghttp2_data_provider body = { .read_callback = on_body };

	for (size_t i = 0; i < n; i++)
		nv[i] = (nghttp2_nv){ .name = (uint8_t *)fields[i].name,
				      .value = (uint8_t *)fields[i].value,
				      .namelen = strlen(fields[i].name),
				      .valuelen = strlen(fields[i].value) };
	h->id = nghttp2_submit_request(h->session, NULL, nv, n, &body, NULL);
	if (h->id < 0)
		return k3_fail(e, h->id == NGHTTP2_ERR_NOMEM ? K3_NOMEM : K3_BUSY,
			       "cannot make a request: %s", nghttp2_strerror(h->id));
	h->sink = sink;
	return 0;
}

void h2_resume(struct h2 *h)
{
	/* fails where the body is not waited for, which is as good */
	nghttp2_session_resume_data(h->session, h->id);
}

void h2_consume(struct h2 *h, size_t n)
{
	/* also for a request that has ended; fails only without memory, and then a round does */
	nghttp2_session_consume(h->session, h->id, n);
}

void h2_forget(struct h2 *h)
{
	if (!h->sink)
		return;
	h->sink = NULL;
	nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, h->id, NGHTTP2_CANCEL);
}

/* ---- driving it ---------------------------------------------------------------------------- */

static int fail_broken(const struct h2 *h, const char *why, struct k3_err *e)
{
	k3_fail(e, K3_PROTO, "the answer is not HTTP/2: %s", h->broken ? h->reason : why);
	return k3_hint(e, HINT_NO_GRPC);
}

static int fail_off(const struct h2 *h, int sys, struct k3_err *e)
{
	if (h->broken)
		return fail_broken(h, "", e);
	if (h->goaway && h->reason[0])
		k3_fail(e, K3_BUSY, "the peer closed the connection: %s", h->reason);
	else if (sys)
		k3_fail_sys(e, sys, "the connection broke");
	else
		k3_fail(e, K3_BUSY, "the peer closed the connection");
	e->code = K3_BUSY;
	return k3_hint(e, "did containerd stop? its log says why");
}

static int fail_library(const struct h2 *h, ssize_t error, struct k3_err *e)
{
	if (error == NGHTTP2_ERR_NOMEM)
		return k3_fail(e, K3_NOMEM, "no memory for a connection");
	return fail_broken(h, nghttp2_strerror((int)error), e);
}

/*
 * A peer that takes no more may still have said why: its words are read before anything is made of
 * that, and ours go nowhere.
 */
static int send_all(struct h2 *h, struct k3_err *e)
{
	for (;;) {
		if (!h->out_n) {
			ssize_t n = nghttp2_session_mem_send(h->session, &h->out);

			if (n < 0)
				return fail_library(h, n, e);
			if (!n)
				return 0;
			h->out_n = (size_t)n;
		}
		ssize_t n = h->deaf ? (ssize_t)h->out_n
				    : send(h->fd, h->out, h->out_n, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0) {
			h->deaf = errno;
			continue;
		}
		h->out += n;
		h->out_n -= (size_t)n;
	}
}

/* Once and not until there is no more, so that a fast peer does not hold us. */
static int receive_some(struct h2 *h, bool *some, struct k3_err *e)
{
	uint8_t p[RECEIVE_MAX];
	ssize_t n, used;

	*some = false;
	do
		n = recv(h->fd, p, sizeof(p), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		return fail_off(h, n ? errno : 0, e);
	*some = true;
	used = nghttp2_session_mem_recv(h->session, p, (size_t)n);
	return used < 0 ? fail_library(h, used, e) : 0;
}

int h2_round(struct h2 *h, struct k3_err *e)
{
	bool some;

	if (send_all(h, e) || receive_some(h, &some, e) || send_all(h, e))
		return -1;
	if (!some && h->deaf)
		return fail_off(h, h->deaf, e);
	if (!nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session))
		return fail_off(h, 0, e);
	return 0;
}

void h2_wait(const struct h2 *h, unsigned ms)
{
	struct pollfd p = { h->fd, h->out_n ? POLLIN | POLLOUT : POLLIN, 0 };

	poll(&p, 1, (int)ms);
}

bool h2_usable(struct h2 *h)
{
	struct k3_err ignored;
	bool some = true;

	for (int i = 0; some && i < IDLE_ROUNDS; i++)
		if (send_all(h, &ignored) || receive_some(h, &some, &ignored))
			return false;
	/* also false when the peer has said GOAWAY */
	return !some && !h->deaf && !h->broken && nghttp2_session_check_request_allowed(h->session);
}
