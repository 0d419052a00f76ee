/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/testserver.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#define CONNECTIONS 8
#define REQUEST_MAX 65536
#define FAULT_MAX 4096
#define TRICKLE_MS 50

struct ts {
	int listener, wake[2];
	int peers[CONNECTIONS];
	bool silent[CONNECTIONS], trickles[CONNECTIONS];
	char host[32];
	const struct ts_step *_Atomic script;
	atomic_uint used, strangers;
	pthread_t thread;
	char request[REQUEST_MAX + 1];
	char fault[FAULT_MAX];
};

static void hang_up(struct ts *t, int i)
{
	close(t->peers[i]);
	t->peers[i] = -1;
	t->silent[i] = t->trickles[i] = false;
}

static void reset(struct ts *t, int i)
{
	const struct linger now = { 1, 0 };

	setsockopt(t->peers[i], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	hang_up(t, i);
}

/* A peer that hangs up early is part of the game. */
static void put(int fd, const void *p, size_t n)
{
	const char *c = p;

	while (n) {
		ssize_t sent = send(fd, c, n, MSG_NOSIGNAL);

		if (sent <= 0)
			return;
		c += sent;
		n -= (size_t)sent;
	}
}

static void put_text(int fd, const char *s)
{
	put(fd, s, strlen(s));
}

static void put_body(int fd, const struct ts_step *s, size_t len)
{
	size_t n = s->cut && s->cut < len ? s->cut : len;
	const char *p = s->body;
	char line[32];

	if (!s->chunked) {
		put(fd, p, n);
		return;
	}
	for (size_t i = 0; i < n; i += 7) {
		size_t part = n - i < 7 ? n - i : 7;

		snprintf(line, sizeof(line), "%zx\r\n", part);
		put_text(fd, line);
		put(fd, p + i, part);
		put_text(fd, "\r\n");
	}
	if (n == len)
		put_text(fd, "0\r\n\r\n");
}

static void complain(struct ts *t, const char *why, const char *text)
{
	size_t n = strlen(t->fault);

	snprintf(t->fault + n, sizeof(t->fault) - n, "request %u %s \"%s\":\n%.600s\n",
		 atomic_load(&t->used) + 1, why, text, t->request);
}

static void check(struct ts *t, const struct ts_step *s)
{
	if (s->want && !strstr(t->request, s->want))
		complain(t, "lacks", s->want);
	if (s->want_too && !strstr(t->request, s->want_too))
		complain(t, "lacks", s->want_too);
	if (s->refuse && strstr(t->request, s->refuse))
		complain(t, "has", s->refuse);
}

static void send_reply(int fd, const struct ts_step *s, bool is_head)
{
	size_t len = s->len || !s->body ? s->len : strlen(s->body);
	char line[64];

	put_text(fd, s->reply);
	if (s->raw)
		return;
	if (s->chunked) {
		put_text(fd, "Transfer-Encoding: chunked\r\n");
	} else if (!s->no_length) {
		snprintf(line, sizeof(line), "Content-Length: %zu\r\n", len);
		put_text(fd, line);
	}
	put_text(fd, "\r\n");
	if (s->body && !is_head)
		put_body(fd, s, len);
}

static void answer(struct ts *t, int i)
{
	const struct ts_step *s = atomic_load(&t->script) + atomic_load(&t->used);

	if (!s->reply) {
		complain(t, "is beyond the script", "");
		hang_up(t, i);
		return;
	}
	check(t, s);
	atomic_fetch_add(&t->used, 1);
	send_reply(t->peers[i], s, !strncmp(t->request, "HEAD ", 5));
	if (s->end == TS_CLOSE)
		hang_up(t, i);
	else if (s->end == TS_RESET)
		reset(t, i);
	else if (s->end != TS_KEEP)
		t->silent[i] = true;
	t->trickles[i] = s->end == TS_TRICKLE;
}

/* Reads head and body; false when the peer is gone. */
static bool read_request(struct ts *t, int fd)
{
	size_t n = 0, need = 0;

	for (;;) {
		ssize_t got = recv(fd, t->request + n, REQUEST_MAX - n, 0);

		if (got <= 0)
			return false;
		n += (size_t)got;
		t->request[n] = '\0';
		if (t->request[0] < 'A' || t->request[0] > 'Z')
			return true;
		const char *end = strstr(t->request, "\r\n\r\n");
		const char *length = strstr(t->request, "Content-Length: ");

		if (!end)
			continue;
		need = (size_t)(end + 4 - t->request);
		if (length && length < end)
			need += strtoul(length + 16, NULL, 10);
		if (n >= need)
			return true;
	}
}

static void serve(struct ts *t, int i)
{
	if (!read_request(t, t->peers[i])) {
		hang_up(t, i);
		return;
	}
	if (t->request[0] >= 'A' && t->request[0] <= 'Z') {
		answer(t, i);
		return;
	}
	atomic_fetch_add(&t->strangers, 1);
	put_text(t->peers[i], "HTTP/1.0 400 Bad Request\r\n\r\n");
	hang_up(t, i);
}

static void greet(struct ts *t)
{
	int fd = accept(t->listener, NULL, NULL);

	/* else a head and a body sent one after the other wait for each other */
	const int on = 1;

	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	for (int i = 0; i < CONNECTIONS && fd >= 0; i++)
		if (t->peers[i] < 0) {
			t->peers[i] = fd;
			return;
		}
	close(fd);
}

/* Whether there is a connection that wants it. */
static bool trickle(struct ts *t)
{
	bool any = false;

	for (int i = 0; i < CONNECTIONS; i++)
		if (t->trickles[i] && t->peers[i] >= 0) {
			put_text(t->peers[i], "a:\n");
			any = true;
		}
	return any;
}

static void *run(void *arg)
{
	struct ts *t = arg;

	for (;;) {
		struct pollfd p[CONNECTIONS + 2] = { { t->wake[0], POLLIN, 0 },
						     { t->listener, POLLIN, 0 } };

		for (int i = 0; i < CONNECTIONS; i++)
			p[i + 2] = (struct pollfd){ t->silent[i] ? -1 : t->peers[i], POLLIN, 0 };
		if (poll(p, CONNECTIONS + 2, trickle(t) ? TRICKLE_MS : -1) < 0 || p[0].revents)
			return NULL;
		if (p[1].revents)
			greet(t);
		for (int i = 0; i < CONNECTIONS; i++)
			if (p[i + 2].revents && t->peers[i] >= 0)
				serve(t, i);
	}
}

struct ts *ts_start(const struct ts_step *script)
{
	struct ts *t = calloc(1, sizeof(*t));
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof(a);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	t->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	for (int i = 0; i < CONNECTIONS; i++)
		t->peers[i] = -1;
	atomic_store(&t->script, script);
	if (t->listener < 0 || bind(t->listener, (struct sockaddr *)&a, sizeof(a)) ||
	    listen(t->listener, CONNECTIONS) ||
	    getsockname(t->listener, (struct sockaddr *)&a, &n) || pipe(t->wake) ||
	    pthread_create(&t->thread, NULL, run, t)) {
		perror("test server");
		exit(1);
	}
	snprintf(t->host, sizeof(t->host), "127.0.0.1:%u", ntohs(a.sin_port));
	return t;
}

const char *ts_host(const struct ts *t)
{
	return t->host;
}

void ts_script(struct ts *t, const struct ts_step *script)
{
	atomic_store(&t->script, script);
}

unsigned ts_count(struct ts *t)
{
	return atomic_load(&t->used);
}

unsigned ts_strangers(struct ts *t)
{
	return atomic_load(&t->strangers);
}

bool ts_wait(struct ts *t, unsigned n)
{
	for (int i = 0; i < 5000; i++) {
		if (ts_count(t) >= n)
			return true;
		usleep(1000);
	}
	return false;
}

void ts_free(struct ts *t)
{
	const struct ts_step *left;

	close(t->wake[1]);
	pthread_join(t->thread, NULL);
	left = atomic_load(&t->script);
	left = left ? left + atomic_load(&t->used) : NULL;
	if (left && left->reply)
		unit_fail("test server", (int)atomic_load(&t->used) + 1,
			  "no request came for \"%s\"", left->want ? left->want : left->reply);
	if (t->fault[0])
		unit_fail("test server", 0, "%s", t->fault);
	for (int i = 0; i < CONNECTIONS; i++)
		if (t->peers[i] >= 0)
			close(t->peers[i]);
	close(t->wake[0]);
	close(t->listener);
	free(t);
}

/* ---- the client ------------------------------------------------------------------------ */

static void count_retry(void *arg, const char *what, unsigned attempt, uint64_t wait_ms,
			const struct k3_err *why)
{
	struct ts_client *c = arg;

	(void)what, (void)attempt, (void)why;
	c->retries++;
	c->waited = wait_ms;
}

const char *ts_auth_file(const char *text)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/auth.json", unit_tmpdir());
	FILE *f = fopen(path, "w");

	if (!f || fputs(text, f) < 0 || fclose(f)) {
		perror(path);
		exit(1);
	}
	return path;
}

void ts_connect(struct ts_client *c, const struct ts *t, const char *name,
		const struct fetch_opts *o)
{
	struct fetch_opts opts = { .plain_http = true };
	struct k3_err err;
	char text[512];

	if (o)
		opts = *o;
	if (!opts.auth_file && !opts.creds)
		opts.auth_file = ts_auth_file("{}");
	if (!opts.backoff_ms) {
		opts.backoff_ms = 2;
		opts.backoff_max_ms = 10;
	}
	if (!opts.stall_ms)
		opts.stall_ms = 2000;
	opts.on_retry = count_retry;
	opts.on_retry_arg = c;
	*c = (struct ts_client){ 0 };
	snprintf(text, sizeof(text), "%s/%s", t ? ts_host(t) : "127.0.0.1:1", name);
	if (oci_ref_parse(text, &c->r, &err) || fetch_new(&opts, &c->f, &err) ||
	    fetch_session_new(c->f, &c->s, &err)) {
		fprintf(stderr, "test client: %s\n", err.msg);
		exit(1);
	}
}

void ts_disconnect(struct ts_client *c)
{
	fetch_session_free(c->s);
	fetch_free(c->f);
	oci_ref_release(&c->r);
}
