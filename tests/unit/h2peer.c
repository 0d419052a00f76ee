/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/h2peer.h"

#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/unit/unit.h"

#define FRAME_MAX 16384u
#define HEAD 9u
#define WINDOW_START 65535

struct h2p {
	int listener;
	char path[108];
	h2p_serve *serve;
	void *arg;
	unsigned connections;
	bool stopped;
	pthread_t thread;
};

static uint32_t load32be(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* ---- sending ------------------------------------------------------------------------------ */

void h2c_raw(struct h2c *c, const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n && !c->gone) {
		ssize_t sent = send(c->fd, at, c->one_by_one ? 1 : n, MSG_NOSIGNAL);

		if (sent <= 0) {
			c->gone = true;
			return;
		}
		at += sent;
		n -= (size_t)sent;
	}
}

void h2c_frame(struct h2c *c, uint8_t type, unsigned flags, uint32_t id, const void *p, size_t n)
{
	uint8_t *f = calloc(1, HEAD + n);

	if (!f)
		abort();
	f[0] = (uint8_t)(n >> 16);
	f[1] = (uint8_t)(n >> 8);
	f[2] = (uint8_t)n;
	f[3] = type;
	f[4] = (uint8_t)flags;
	k3_store32be(f + 5, id);
	if (n)
		memcpy(f + HEAD, p, n);
	h2c_raw(c, f, HEAD + n);
	free(f);
}

void h2c_code(struct h2c *c, uint8_t type, uint32_t id, uint32_t code)
{
	uint8_t p[4];

	k3_store32be(p, code);
	h2c_frame(c, type, 0, id, p, sizeof(p));
}

void h2c_goaway(struct h2c *c, uint32_t last, uint32_t code, const char *text)
{
	uint8_t p[8 + 100];
	size_t n = strlen(text);

	k3_store32be(p, last);
	k3_store32be(p + 4, code);
	memcpy(p + 8, text, n);
	h2c_frame(c, H2P_GOAWAY, 0, 0, p, 8 + n);
}

static size_t put_text(uint8_t *p, const char *s)
{
	size_t n = strlen(s), at = 0;

	/* HPACK: length with a prefix of 7 bits, no Huffman */
	if (n < 127) {
		p[at++] = (uint8_t)n;
	} else {
		size_t rest = n - 127;

		for (p[at++] = 127; rest >= 128; rest >>= 7)
			p[at++] = (uint8_t)(rest | 128);
		p[at++] = (uint8_t)rest;
	}
	memcpy(p + at, s, n);
	return at + n;
}

void h2c_fields(struct h2c *c, unsigned flags, const char *const *fields)
{
	static const size_t room = 1u << 20;
	uint8_t *block = calloc(1, room);
	size_t n = 0, at = 0;

	if (!block)
		abort();
	for (; *fields; fields++) {
		bool name = !(at++ & 1);

		if (name)
			block[n++] = 0; /* literal, not indexed, new name */
		n += put_text(block + n, *fields);
	}
	if (n <= FRAME_MAX) {
		h2c_frame(c, H2P_HEADERS, flags | H2P_END_HEADERS, c->id, block, n);
	} else {
		h2c_frame(c, H2P_HEADERS, flags, c->id, block, FRAME_MAX);
		for (at = FRAME_MAX; at < n; at += FRAME_MAX)
			h2c_frame(c, H2P_CONTINUATION, n - at <= FRAME_MAX ? H2P_END_HEADERS : 0,
				  c->id, block + at, n - at < FRAME_MAX ? n - at : FRAME_MAX);
	}
	free(block);
}

void h2c_head(struct h2c *c)
{
	static const char *const head[] = { ":status", "200", "content-type", "application/grpc",
					    NULL };

	h2c_fields(c, 0, head);
}

void h2c_data(struct h2c *c, const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n && !c->gone) {
		size_t part = n < FRAME_MAX ? n : FRAME_MAX;

		h2c_wait_window(c, (int64_t)part);
		h2c_frame(c, H2P_DATA, 0, c->id, at, part);
		c->window -= (int64_t)part;
		c->stream_window -= (int64_t)part;
		at += part;
		n -= part;
	}
}

void h2c_put(struct h2c *c, const void *p, size_t n)
{
	uint8_t prefix[5] = { 0 };

	k3_store32be(prefix + 1, (uint32_t)n);
	h2c_data(c, prefix, sizeof(prefix));
	h2c_data(c, p, n);
}

void h2c_trailers(struct h2c *c, const char *status, const char *message)
{
	const char *const fields[] = { "grpc-status", status, "grpc-message", message, NULL };

	h2c_fields(c, H2P_END, fields);
}

/* ---- receiving ---------------------------------------------------------------------------- */

static void add(struct k3_buf *b, const void *p, size_t n)
{
	struct k3_err err;

	if (k3_buf_add(b, p, n, &err))
		abort();
}

static bool get(struct h2c *c, void *p, size_t n)
{
	uint8_t *at = p;

	while (n && !c->gone) {
		ssize_t got = recv(c->fd, at, n, 0);

		if (got <= 0) {
			c->gone = true;
			break;
		}
		at += got;
		n -= (size_t)got;
	}
	return !c->gone;
}

static void head_of(struct h2c *c, uint32_t id, const uint8_t *p, size_t n)
{
	nghttp2_nv nv;
	int flags = 0;

	c->id = id;
	c->stream_window = c->first_window;
	c->frames = c->body_at = c->reset = 0;
	c->end = false;
	k3_buf_reset(&c->fields);
	k3_buf_reset(&c->body);
	while (!(flags & NGHTTP2_HD_INFLATE_FINAL)) {
		ssize_t used = nghttp2_hd_inflate_hd2(c->inflater, &nv, &flags, p, n, 1);

		if (used < 0)
			abort();
		p += used;
		n -= (size_t)used;
		if (flags & NGHTTP2_HD_INFLATE_EMIT) {
			add(&c->fields, nv.name, nv.namelen);
			add(&c->fields, ": ", 2);
			add(&c->fields, nv.value, nv.valuelen);
			add(&c->fields, "\n", 1);
		}
	}
	nghttp2_hd_inflate_end_headers(c->inflater);
}

static void take_settings(struct h2c *c, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i + 6 <= n; i += 6)
		if (!p[i] && p[i + 1] == NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE)
			c->first_window = load32be(p + i + 2);
	h2c_frame(c, H2P_SETTINGS, H2P_END, 0, NULL, 0);
}

void h2c_release(struct h2c *c)
{
	c->hold = false;
	if (!c->held)
		return;
	h2c_code(c, H2P_WINDOW, 0, (uint32_t)c->held);
	h2c_code(c, H2P_WINDOW, c->id, (uint32_t)c->held);
	c->held = 0;
}

static void take_data(struct h2c *c, const uint8_t *p, size_t n, unsigned flags)
{
	add(&c->body, p, n);
	c->frames++;
	c->end |= flags & H2P_END;
	c->held += n;
	if (!c->hold)
		h2c_release(c);
}

void h2c_step(struct h2c *c)
{
	uint8_t head[HEAD], p[FRAME_MAX];
	uint32_t n, id;

	if (!get(c, head, HEAD))
		return;
	n = load32be(head) >> 8;
	id = load32be(head + 5);
	if (n > FRAME_MAX)
		abort();
	if (n && !get(c, p, n))
		return;
	switch (head[3]) {
	case H2P_DATA:
		take_data(c, p, n, head[4]);
		break;
	case H2P_HEADERS:
		head_of(c, id, p, n);
		c->end = head[4] & H2P_END;
		break;
	case H2P_RST:
		if (id == c->id)
			c->reset = load32be(p) + 1;
		break;
	case H2P_SETTINGS:
		if (!(head[4] & H2P_END))
			take_settings(c, p, n);
		break;
	case H2P_PING:
		c->pong |= head[4] & H2P_END;
		break;
	case H2P_WINDOW:
		*(id ? &c->stream_window : &c->window) += load32be(p);
		break;
	default:
		break;
	}
}

bool h2c_greet(struct h2c *c)
{
	static const char want[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	char preface[sizeof(want) - 1];

	if (!get(c, preface, sizeof(preface)))
		return false;
	if (memcmp(preface, want, sizeof(preface)) != 0)
		abort();
	h2c_frame(c, H2P_SETTINGS, 0, 0, NULL, 0);
	return true;
}

bool h2c_request(struct h2c *c)
{
	uint32_t before = c->id;

	while (!c->gone && c->id == before)
		h2c_step(c);
	return !c->gone;
}

bool h2c_has(const struct h2c *c, const char *field)
{
	char line[300];

	snprintf(line, sizeof(line), "%s\n", field);
	const char *at = c->fields.len ? strstr((const char *)c->fields.p, line) : NULL;

	return at && (at == (const char *)c->fields.p || at[-1] == '\n');
}

bool h2c_message(struct h2c *c, struct k3_buf *out)
{
	for (;; h2c_step(c)) {
		size_t n = c->body.len - c->body_at;
		const uint8_t *p = n ? c->body.p + c->body_at : NULL;

		if (n >= 5 && n - 5 >= load32be(p + 1)) {
			if (out) {
				k3_buf_reset(out);
				add(out, p + 5, load32be(p + 1));
			}
			c->body_at += 5 + (size_t)load32be(p + 1);
			return true;
		}
		if (c->gone || c->end)
			return false;
	}
}

bool h2c_wait_end(struct h2c *c)
{
	while (!c->gone && !c->end)
		h2c_step(c);
	return !c->gone;
}

void h2c_wait_gone(struct h2c *c)
{
	while (!c->gone)
		h2c_step(c);
}

void h2c_wait_window(struct h2c *c, int64_t n)
{
	while (!c->gone && (c->window < n || c->stream_window < n))
		h2c_step(c);
}

/* ---- the server --------------------------------------------------------------------------- */

static void serve_one(struct h2p *p, int fd)
{
	struct h2c c = { .fd = fd, .nth = p->connections++ };
	nghttp2_hd_inflater *inflater;

	c.window = c.stream_window = c.first_window = WINDOW_START;
	c.fields = K3_BUF(1u << 20);
	c.body = K3_BUF(100u << 20);
	if (nghttp2_hd_inflate_new(&inflater))
		abort();
	c.inflater = inflater;
	p->serve(&c, p->arg);
	nghttp2_hd_inflate_del(inflater);
	k3_buf_release(&c.fields);
	k3_buf_release(&c.body);
	close(fd);
}

static void *run(void *arg)
{
	struct h2p *p = arg;

	for (;;) {
		int fd = accept(p->listener, NULL, NULL);

		if (fd < 0)
			return NULL;
		serve_one(p, fd);
	}
}

struct h2p *h2p_start(h2p_serve *serve, void *arg)
{
	struct h2p *p = calloc(1, sizeof(*p));
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	static unsigned serial;

	if (!p)
		abort();
	p->serve = serve;
	p->arg = arg;
	snprintf(p->path, sizeof(p->path), "%s/sock%u", unit_tmpdir(), serial++);
	memcpy(a.sun_path, p->path, sizeof(a.sun_path));
	p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (p->listener < 0 || bind(p->listener, (struct sockaddr *)&a, sizeof(a)) ||
	    listen(p->listener, 8) || pthread_create(&p->thread, NULL, run, p)) {
		perror("h2peer");
		exit(1);
	}
	return p;
}

const char *h2p_socket(const struct h2p *p)
{
	return p->path;
}

unsigned h2p_stop(struct h2p *p)
{
	if (!p->stopped) {
		p->stopped = true;
		shutdown(p->listener, SHUT_RDWR);
		pthread_join(p->thread, NULL);
		close(p->listener);
		unlink(p->path);
	}
	return p->connections;
}

void h2p_free(struct h2p *p)
{
	h2p_stop(p);
	free(p);
}
