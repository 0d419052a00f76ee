/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/minireg.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"

#define MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define CONFIG "application/vnd.oci.image.config.v1+json"
#define LAYER "application/vnd.oci.image.layer.v1.tar"
#define DOC_MAX (64u << 10)

struct page {
	char *path;
	const char *type;
	char digest[OCI_DIGEST_TEXT_MAX];
	uint8_t *body;
	size_t n;
	unsigned gets;
	uint64_t sent;
	uint64_t cut_at; /* where a connection was broken last */
};

struct minireg {
	int fd;
	char host[32];
	struct k3_thread *thread;
	struct k3_monitor *mon;
	struct page *pages;
	size_t n, cap;
	char broken[128], spoiled[128];
	unsigned status;
	enum minireg_ranges ranges;
	unsigned range_status, ranged;
	bool stop;
};

static struct page *find(struct minireg *m, const char *path)
{
	for (size_t i = 0; i < m->n; i++)
		if (!strcmp(m->pages[i].path, path))
			return &m->pages[i];
	return NULL;
}

static void send_all(int fd, const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n) {
		ssize_t w = send(fd, at, n, MSG_NOSIGNAL);

		if (w <= 0)
			return;
		at += w;
		n -= (size_t)w;
	}
}

static void refuse(int fd, unsigned status)
{
	char head[128];
	int n = snprintf(head, sizeof(head),
			 "HTTP/1.1 %u No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
			 status);

	send_all(fd, head, (size_t)n);
}

/* Answers bytes first to last as m->ranges says; false = send everything. */
static bool answer_range(struct minireg *m, struct page *p, int fd, uint64_t first, uint64_t last)
{
	enum minireg_ranges how = m->ranges;
	uint64_t total = p->n, n;
	const uint8_t *from;
	char head[512];

	if (last >= p->n)
		last = p->n - 1;
	if (how == MINIREG_IGNORE || (how == MINIREG_LATE_IGNORE && first))
		return false;
	if (how == MINIREG_REFUSE || (how == MINIREG_LATE_REFUSE && first)) {
		refuse(fd, m->range_status);
		return true;
	}
	if (how == MINIREG_SHORT && last > first)
		last = first + (last - first) / 2;
	if (how == MINIREG_LATE_LONG && first && last + 1 < p->n)
		last++;
	if (how == MINIREG_LATE_TOTAL && first)
		total++;
	n = last - first + 1;
	from = p->body + (how == MINIREG_LATE_WRONG && first ? first - 1 : first);
	int len = snprintf(head, sizeof(head),
			   "HTTP/1.1 206 Partial\r\nContent-Length: %llu\r\n"
			   "Content-Range: bytes %llu-%llu/%llu\r\nETag: \"%s\"\r\n"
			   "Connection: close\r\n\r\n",
			   (unsigned long long)n, (unsigned long long)first,
			   (unsigned long long)last, (unsigned long long)total,
			   how == MINIREG_LATE_ETAG && first ? "other" : "one");

	send_all(fd, head, (size_t)len);
	if (how == MINIREG_LATE_CUT && first > p->cut_at) {
		n /= 2;
		p->cut_at = first + n;
	}
	send_all(fd, from, n);
	p->sent += n;
	return true;
}

static void answer(struct minireg *m, int fd, const char *method, const char *path,
		   const char *range)
{
	unsigned long long from, to = UINT64_MAX;
	struct page *p = find(m, path);
	unsigned status = p ? 200 : 404;
	bool get = !strcmp(method, "GET");
	char head[512];

	if (m->status && strstr(path, m->broken))
		status = m->status;
	if (status != 200) {
		refuse(fd, status);
		return;
	}
	if (range && sscanf(range, "Range: bytes=%llu-%llu", &from, &to) >= 1) {
		m->ranged++;
		if (answer_range(m, p, fd, from, to))
			return;
	}
	int n = snprintf(head, sizeof(head),
			 "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
			 "Docker-Content-Digest: %s\r\nConnection: close\r\n\r\n",
			 p->type, p->n, p->digest);

	send_all(fd, head, (size_t)n);
	if (!get)
		return;
	p->gets++;
	p->sent += p->n;
	if (!m->spoiled[0] || !strstr(path, m->spoiled)) {
		send_all(fd, p->body, p->n);
		return;
	}
	uint8_t last = (uint8_t)(p->body[p->n - 1] ^ 1);

	send_all(fd, p->body, p->n - 1);
	send_all(fd, &last, 1);
}

static void serve(struct minireg *m, int fd)
{
	char text[8192], method[8] = "", path[512] = "";
	size_t len = 0;

	while (len < sizeof(text) - 1) {
		ssize_t n = recv(fd, text + len, sizeof(text) - 1 - len, 0);

		if (n <= 0)
			break;
		len += (size_t)n;
		text[len] = '\0';
		/* a TLS hello is answered as a Go server answers it */
		if (text[0] == 0x16) {
			static const char no[] = "HTTP/1.0 400 Bad Request\r\n\r\n";

			send_all(fd, no, sizeof(no) - 1);
			break;
		}
		if (!strstr(text, "\r\n\r\n"))
			continue;
		if (sscanf(text, "%7s %511s", method, path) == 2) {
			K3_WITH_MONITOR(m->mon);
			/* what a mirror is told: the registry it stands for */
			path[strcspn(path, "?")] = '\0';
			answer(m, fd, method, path, strstr(text, "Range: "));
		}
		break;
	}
	shutdown(fd, SHUT_WR);
	while (recv(fd, text, sizeof(text), 0) > 0)
		;
	close(fd);
}

static void main_loop(void *arg)
{
	struct minireg *m = arg;

	for (;;) {
		int fd = accept(m->fd, NULL, NULL);

		if (fd < 0)
			return;
		serve(m, fd);
	}
}

struct minireg *minireg_start(void)
{
	struct minireg *m = k3_xcalloc(1, sizeof(*m));
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	struct k3_err e;

	m->mon = k3_monitor_new();
	m->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (m->fd < 0 || bind(m->fd, (struct sockaddr *)&a, len) || listen(m->fd, 64) ||
	    getsockname(m->fd, (struct sockaddr *)&a, &len) ||
	    k3_thread_start(main_loop, m, &m->thread, &e)) {
		perror("minireg");
		exit(1);
	}
	snprintf(m->host, sizeof(m->host), "127.0.0.1:%u", ntohs(a.sin_port));
	return m;
}

void minireg_stop(struct minireg *m)
{
	shutdown(m->fd, SHUT_RDWR);
	k3_thread_join(m->thread);
	close(m->fd);
	for (size_t i = 0; i < m->n; i++) {
		free(m->pages[i].path);
		free(m->pages[i].body);
	}
	free(m->pages);
	k3_monitor_free(m->mon);
	free(m);
}

const char *minireg_host(const struct minireg *m)
{
	return m->host;
}

unsigned minireg_gets(struct minireg *m, const char *part)
{
	unsigned gets = 0;

	K3_WITH_MONITOR(m->mon);
	for (size_t i = 0; i < m->n; i++)
		if (strstr(m->pages[i].path, part))
			gets += m->pages[i].gets;
	return gets;
}

uint64_t minireg_sent(struct minireg *m, const char *part)
{
	uint64_t sent = 0;

	K3_WITH_MONITOR(m->mon);
	for (size_t i = 0; i < m->n; i++)
		if (strstr(m->pages[i].path, part))
			sent += m->pages[i].sent;
	return sent;
}

unsigned minireg_ranged(struct minireg *m)
{
	K3_WITH_MONITOR(m->mon);
	return m->ranged;
}

void minireg_ranges(struct minireg *m, enum minireg_ranges how, unsigned status)
{
	K3_WITH_MONITOR(m->mon);
	m->ranges = how;
	m->range_status = status;
}

void minireg_break(struct minireg *m, const char *part, unsigned status)
{
	K3_WITH_MONITOR(m->mon);
	snprintf(m->broken, sizeof(m->broken), "%s", part);
	m->status = status;
}

void minireg_spoil(struct minireg *m, const char *part)
{
	K3_WITH_MONITOR(m->mon);
	snprintf(m->spoiled, sizeof(m->spoiled), "%s", part);
}

static void add(struct minireg *m, const char *path, const char *type, const void *body, size_t n,
		struct oci_digest *digest)
{
	K3_WITH_MONITOR(m->mon);
	oci_digest_of(K3_SHA256, body, n, digest);
	if (find(m, path))
		return;
	m->pages = k3_xgrow(m->pages, m->n, &m->cap, sizeof(*m->pages));
	struct page *p = &m->pages[m->n++];

	*p = (struct page){ .path = k3_xstrdup(path), .type = type, .n = n };
	oci_digest_format(digest, p->digest);
	p->body = k3_xcalloc(1, n);
	memcpy(p->body, body, n);
}

static void add_blob(struct minireg *m, const char *repo, const char *type, const void *body,
		     size_t n, struct oci_digest *digest)
{
	char text[OCI_DIGEST_TEXT_MAX], path[512];

	oci_digest_of(K3_SHA256, body, n, digest);
	oci_digest_format(digest, text);
	snprintf(path, sizeof(path), "/v2/%s/blobs/%s", repo, text);
	add(m, path, type, body, n, digest);
}

void minireg_layer(struct minireg *m, const struct tarbuild *tar, struct oci_digest *digest,
		   uint64_t *size)
{
	/* Served by every repository: see minireg_image. */
	add_blob(m, "*", "application/octet-stream", tar->out.p, tar->out.len, digest);
	*size = tar->out.len;
}

static void share_layer(struct minireg *m, const char *repo, const struct oci_digest *d)
{
	char text[OCI_DIGEST_TEXT_MAX], path[512];
	struct oci_digest ignored;

	oci_digest_format(d, text);
	snprintf(path, sizeof(path), "/v2/*/blobs/%s", text);
	struct page *p = find(m, path);

	add_blob(m, repo, p->type, p->body, p->n, &ignored);
}

void minireg_image(struct minireg *m, const char *repo, const char *tag, const char *platform,
		   const struct oci_digest *layers, const uint64_t *sizes, size_t n)
{
	K3_AUTO_BUF struct k3_buf config = K3_BUF(DOC_MAX), manifest = K3_BUF(DOC_MAX);
	char text[OCI_DIGEST_TEXT_MAX], path[512];
	const char *slash = strchr(platform, '/');
	struct oci_digest digest;
	struct k3_err e;
	int bad = 0;

	bad |= k3_buf_addf(
		&config, &e,
		"{\"os\":\"%.*s\",\"architecture\":\"%s\",\"rootfs\":{\"type\":\"layers\","
		"\"diff_ids\":[",
		(int)(slash - platform), platform, slash + 1);
	for (size_t i = 0; i < n; i++) {
		oci_digest_format(&layers[i], text);
		bad |= k3_buf_addf(&config, &e, "%s\"%s\"", i ? "," : "", text);
	}
	bad |= k3_buf_addf(&config, &e, "]}}");
	add_blob(m, repo, "application/octet-stream", config.p, config.len, &digest);
	oci_digest_format(&digest, text);
	bad |= k3_buf_addf(&manifest, &e,
			   "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST "\",\"config\":{"
			   "\"mediaType\":\"" CONFIG
			   "\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[",
			   text, config.len);
	for (size_t i = 0; i < n; i++) {
		share_layer(m, repo, &layers[i]);
		oci_digest_format(&layers[i], text);
		bad |= k3_buf_addf(&manifest, &e,
				   "%s{\"mediaType\":\"" LAYER
				   "\",\"digest\":\"%s\",\"size\":%llu}",
				   i ? "," : "", text, (unsigned long long)sizes[i]);
	}
	bad |= k3_buf_addf(&manifest, &e, "]}");
	if (bad) {
		fprintf(stderr, "minireg: %s\n", e.msg);
		exit(1);
	}
	snprintf(path, sizeof(path), "/v2/%s/manifests/%s", repo, tag);
	add(m, path, MANIFEST, manifest.p, manifest.len, &digest);
	oci_digest_format(&digest, text);
	snprintf(path, sizeof(path), "/v2/%s/manifests/%s", repo, text);
	add(m, path, MANIFEST, manifest.p, manifest.len, &digest);
}
