/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "fetch/libcurl.h"

#define RECEIVE_BUFFER (256L << 10)
#define CONNECTIONS_MAX 4L /* registry, token service, blob storage, one spare */
#define POLL_MS 100        /* how long a cancelled call may go on */
#define ISSUER_MAX 160
#define ISSUER_MS 5000L
#define HINT_NO_REGISTRY                                                                           \
	"something that is no registry answers there: a login page, a proxy, or a wrong port?"

struct http {
	struct http_opts o;
	CURLM *multi;
	CURL *easy;
	struct http_head head;
	enum http_fault fault;
	/*
	 * Reading a bundle of certificates takes 50 ms.  The directory, where they lie by hash, is
	 * asked first, and the bundle only if nothing there vouches for the peer.
	 */
	bool bundle;
	char origin[HTTP_ORIGIN_MAX];
	char reason[CURL_ERROR_SIZE];
	/* the running exchange */
	const struct http_req *rq;
	uint64_t head_bytes;
	uint64_t asked_ms;  /* connected and asked */
	uint64_t last_ms;   /* when the last byte of the body came */
	uint64_t window_ms; /* since when ... */
	uint64_t window;    /* ... these bytes of the body have come */
	bool sent;          /* connected and asked: the limits of an answer hold */
	bool head_done;
	int stop; /* what a sink returned */
	struct k3_err stop_err;
};

int http_global_init(struct k3_err *e)
{
	if (libcurl_load(e))
		return -1;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return k3_fail(e, K3_BUG, "libcurl does not start");
	return 0;
}

void http_global_cleanup(void)
{
	curl_global_cleanup();
}

const char *http_system_ca(void)
{
	return curl_version_info(CURLVERSION_NOW)->cainfo;
}

bool http_system_ca_dir(void)
{
	return curl_version_info(CURLVERSION_NOW)->capath != NULL;
}

int http_new(const struct http_opts *o, struct http **out, struct k3_err *e)
{
	struct http *h = k3_xcalloc(1, sizeof(*h));

	h->o = *o;
	h->bundle = o->bundle_first || (!o->ca_dir && !http_system_ca_dir());
	h->head.fields = K3_BUF((size_t)2 * HTTP_HEAD_MAX);
	h->multi = curl_multi_init();
	h->easy = curl_easy_init();
	if (!h->multi || !h->easy) {
		http_free(h);
		return k3_fail(e, K3_NOMEM, "libcurl has no memory");
	}
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_MAX);
	*out = h;
	return 0;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	curl_easy_cleanup(h->easy);
	curl_multi_cleanup(h->multi);
	k3_buf_release(&h->head.fields);
	free(h);
}

enum http_fault http_fault(const struct http *h)
{
	return h->fault;
}

/* ---- the head ------------------------------------------------------------------------- */

const char *http_field(const struct http_head *h, const char *name, unsigned nth)
{
	const char *p = (const char *)h->fields.p;
	size_t n = strlen(name), left = h->fields.len;

	while (left) {
		size_t len = strlen(p) + 1;

		if (!strncasecmp(p, name, n) && p[n] == ':' && !nth--)
			return p + n + 1 + strspn(p + n + 1, " \t");
		p += len;
		left -= len;
	}
	return NULL;
}

/* Stops the exchange: libcurl takes any short count for a failed write. */
static size_t stop(struct http *h, int why)
{
	h->stop = why;
	return 0;
}

static size_t end_of_head(struct http *h, size_t n)
{
	long status = 0;
	const char *length, *another;

	curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200)
		return n;
	h->head_done = true;
	h->head.status = (unsigned)status;
	length = http_field(&h->head, "Content-Length", 0);
	if (length && *length >= '0' && *length <= '9') {
		char *end;

		errno = 0;
		h->head.length = strtoull(length, &end, 10);
		h->head.has_length = !errno && !*end;
	}
	/* whichever we took, somebody on the way may take the other one (RFC 9112, 6.3) */
	for (unsigned i = 1; length && (another = http_field(&h->head, "Content-Length", i)); i++)
		if (strcmp(length, another) != 0) {
			k3_fail(&h->stop_err, K3_PROTO, "%s sent two different Content-Lengths",
				h->origin);
			k3_hint(&h->stop_err, HINT_NO_REGISTRY);
			return stop(h, -1);
		}
	int rc = h->rq->on_head ? h->rq->on_head(h->rq->arg, &h->head, &h->stop_err) : 0;

	h->last_ms = h->window_ms = k3_now_ms();
	h->window = 0;
	return rc ? stop(h, rc) : n;
}

static bool has_control(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((unsigned char)p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7f)
			return true;
	return false;
}

static int fail_head_size(const struct http *h, struct k3_err *e)
{
	k3_fail(e, K3_LIMIT, "%s sent more than %u bytes of headers", h->origin, HTTP_HEAD_MAX);
	return k3_hint(e, HINT_NO_REGISTRY);
}

static size_t header_cb(char *p, size_t size, size_t count, void *arg)
{
	struct http *h = arg;
	size_t n = size * count, len = n;

	h->head_bytes += n; /* with 1xx answers and trailers */
	if (h->head_bytes > HTTP_HEAD_MAX) {
		fail_head_size(h, &h->stop_err);
		return stop(h, -1);
	}
	if (h->head_done)
		return n;
	while (len && (p[len - 1] == '\r' || p[len - 1] == '\n' || p[len - 1] == ' '))
		len--;
	if (!len)
		return end_of_head(h, n);
	if (has_control(p, len)) {
		k3_fail(&h->stop_err, K3_PROTO, "%s sent control characters in a header",
			h->origin);
		k3_hint(&h->stop_err, HINT_NO_REGISTRY);
		return stop(h, -1);
	}
	if (len > 5 && !memcmp(p, "HTTP/", 5)) {
		k3_buf_reset(&h->head.fields);
		return n;
	}
	if (k3_buf_add(&h->head.fields, p, len, &h->stop_err) ||
	    k3_buf_add(&h->head.fields, "", 1, &h->stop_err))
		return stop(h, -1);
	return n;
}

static size_t write_cb(char *p, size_t size, size_t count, void *arg)
{
	struct http *h = arg;
	size_t n = size * count;
	int rc = k3_cancel_check(h->o.cancel, &h->stop_err);
	uint64_t before = k3_now_ms();

	if (!rc && h->rq->on_data)
		rc = h->rq->on_data(h->rq->arg, p, n, &h->stop_err);
	/* the sink's own waiting is not the peer's */
	h->last_ms = k3_now_ms();
	h->window_ms += h->last_ms - before;
	h->window += n;
	return rc ? stop(h, rc) : n;
}

static int prereq_cb(void *arg, char *ip, char *local, int port, int local_port)
{
	struct http *h = arg;

	(void)ip, (void)local, (void)port, (void)local_port;
	h->asked_ms = k3_now_ms();
	h->sent = true;
	return CURL_PREREQFUNC_OK;
}

/* ---- failures ------------------------------------------------------------------------- */

static int fail_pace(struct http *h, uint64_t ms, struct k3_err *e)
{
	double s = (double)ms / 1000;

	h->fault = h->head_bytes ? HTTP_FAULT_OTHER : HTTP_FAULT_SILENT;
	if (!h->head_done && h->head_bytes)
		k3_fail(e, K3_NET, "%s sent no whole header in %.3g s", h->origin, s);
	else if (!h->head_done || k3_now_ms() - h->last_ms > h->o.stall_ms)
		k3_fail(e, K3_NET, "%s sent nothing for %.3g s", h->origin, s);
	else
		k3_fail(e, K3_NET, "%s sent only %llu bytes in %.3g s", h->origin,
			(unsigned long long)h->window, s);
	k3_hint(e,
		"the registry or a proxy on the way hangs: run it again; a longer --timeout waits "
		"longer");
	e->retry = true;
	return -1;
}

/* A peer must not hold us by silence, nor by a byte or a header field now and then. */
static int check_pace(struct http *h, struct k3_err *e)
{
	uint64_t now = k3_now_ms(), stall = h->o.stall_ms;

	if (!h->sent)
		return 0;
	if (!h->head_done)
		return now - h->asked_ms > h->rq->answer_ms ? fail_pace(h, h->rq->answer_ms, e) : 0;
	if (now - h->last_ms > stall)
		return fail_pace(h, stall, e);
	if (now - h->window_ms <= stall)
		return 0;
	if (h->window * 1000 < h->o.speed_min * stall)
		return fail_pace(h, now - h->window_ms, e);
	h->window_ms = now;
	h->window = 0;
	return 0;
}

static int drive(struct http *h, CURL *easy, CURLcode *rc, struct k3_err *e)
{
	unsigned tick = h->o.stall_ms / 4 + 1 < POLL_MS ? h->o.stall_ms / 4 + 1 : POLL_MS;
	int running = 1, left, ret = 0;

	if (curl_multi_add_handle(h->multi, easy) != CURLM_OK)
		return k3_fail(e, K3_NOMEM, "libcurl has no memory");
	*rc = CURLE_OK;
	for (;;) {
		if (curl_multi_perform(h->multi, &running) != CURLM_OK) {
			ret = k3_fail(e, K3_BUG, "libcurl lost its transfer");
			break;
		}
		if (!running)
			break;
		ret = k3_cancel_check(h->o.cancel, e);
		if (ret)
			break;
		ret = check_pace(h, e);
		if (ret)
			break;
		curl_multi_poll(h->multi, NULL, 0, (int)tick, NULL);
	}
	for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &left));)
		if (m->msg == CURLMSG_DONE)
			*rc = m->data.result;
	curl_multi_remove_handle(h->multi, easy);
	return ret;
}

static void set_ca(struct http *h, CURL *c, const struct http_tls *tls)
{
	const struct k3_buf *ca = tls && tls->ca ? tls->ca : h->bundle ? h->o.ca : NULL;

	if (ca) {
		struct curl_blob blob = { ca->p, ca->len, CURL_BLOB_NOCOPY };

		curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &blob);
	} else if (!h->bundle) {
		curl_easy_setopt(c, CURLOPT_CAINFO, (char *)NULL);
	}
	if (h->o.ca_dir)
		curl_easy_setopt(c, CURLOPT_CAPATH, h->o.ca_dir);
}

static void set_tls(struct http *h, CURL *c, const struct http_tls *tls)
{
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	set_ca(h, c, tls);
	if (!tls)
		return;
	if (tls->cert) {
		curl_easy_setopt(c, CURLOPT_SSLCERT, tls->cert);
		curl_easy_setopt(c, CURLOPT_SSLKEY, tls->key ? tls->key : tls->cert);
	}
	if (tls->insecure) {
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

static void set_proxy(const struct http *h, CURL *c)
{
	const char *upper = http_upper_proxy();

	if (http_origin_is_loopback(h->origin) || http_origin_is_excepted(h->origin))
		curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	else if (upper && !http_origin_is_tls(h->origin))
		curl_easy_setopt(c, CURLOPT_PROXY, upper);
}

static void set_common(struct http *h, CURL *c, const char *url)
{
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	/* A resolver that hangs is left behind instead of waited for. */
	curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, h->reason);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)h->rq->connect_ms);
	set_tls(h, c, h->rq->tls);
	set_proxy(h, c);
}

/*
 * Who issued the certificate that was just refused?  libcurl tells only about accepted
 * ones, so the handshake is repeated without the check; nothing is sent over it.
 */
static void find_issuer(struct http *h, char out[ISSUER_MAX])
{
	CURL *c = curl_easy_init();
	struct curl_certinfo *info = NULL;
	struct k3_err ignored;
	CURLcode rc;

	out[0] = '\0';
	if (!c)
		return;
	set_common(h, c, h->rq->url);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, (char *)NULL);
	curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, ISSUER_MS);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	curl_easy_setopt(c, CURLOPT_CERTINFO, 1L);
	if (!drive(h, c, &rc, &ignored) && rc == CURLE_OK &&
	    curl_easy_getinfo(c, CURLINFO_CERTINFO, &info) == CURLE_OK && info &&
	    info->num_of_certs > 0)
		for (struct curl_slist *l = info->certinfo[0]; l; l = l->next)
			if (!strncmp(l->data, "Issuer:", 7))
				k3_escape(out, ISSUER_MAX, l->data + 7);
	curl_easy_cleanup(c);
}

static int fail_certificate(struct http *h, struct k3_err *e)
{
	char reason[CURL_ERROR_SIZE], issuer[ISSUER_MAX];

	memcpy(reason, h->reason, sizeof(reason));
	find_issuer(h, issuer);
	k3_fail(e, K3_NET, "TLS certificate of %s refused: %s%s%s%s", h->origin, reason,
		*issuer ? " (issued by " : "", issuer, *issuer ? ")" : "");
	/* other reasons, such as another name or a date, are no question of trust */
	if (strstr(reason, "issuer") || strstr(reason, "self-signed") ||
	    strstr(reason, "self signed"))
		return k3_hint(e, "trust the issuer with --ca-file FILE");
	return k3_hint(e,
		       "the certificate is for another name or time: is it the right host, and is "
		       "this machine's clock right?");
}

/* Only OpenSSL's text tells a peer without TLS from one that dislikes ours. */
static int fail_handshake(struct http *h, struct k3_err *e)
{
	static const char *const not_tls[] = { "wrong version number", "packet length too long",
					       "http request", "unknown protocol",
					       "record layer failure" };
	static const char *const cut[] = { "SSL_ERROR_SYSCALL", "unexpected eof",
					   "Connection reset" };
	bool broken = false;

	for (size_t i = 0; i < K3_ARRAY_LEN(not_tls); i++)
		if (strstr(h->reason, not_tls[i]))
			h->fault = HTTP_FAULT_NOT_TLS;
	for (size_t i = 0; i < K3_ARRAY_LEN(cut); i++)
		broken |= strstr(h->reason, cut[i]) != NULL;
	if (h->fault == HTTP_FAULT_NOT_TLS) {
		k3_fail(e, K3_NET, "%s does not speak TLS: %s", h->origin, h->reason);
		return k3_hint(e, "use --plain-http for a registry without TLS");
	}
	if (broken)
		h->fault = HTTP_FAULT_NOT_TLS; /* some plain servers just hang up */
	k3_fail(e, K3_NET, "TLS handshake with %s failed: %s", h->origin, h->reason);
	e->retry = broken;
	if (strstr(h->reason, "protocol"))
		k3_hint(e, "TLS 1.2 or later is needed");
	return k3_hint(e, "is it a registry with TLS that listens there?");
}

static void hint_proxy(const struct http *h, struct k3_err *e)
{
	static const char *const names[] = { "https_proxy", "HTTPS_PROXY", "http_proxy",
					     "HTTP_PROXY",  "all_proxy",   "ALL_PROXY" };

	if (http_origin_is_loopback(h->origin))
		return;
	for (size_t i = 0; i < K3_ARRAY_LEN(names); i++) {
		const char *value = getenv(names[i]);

		if (value && *value)
			k3_hint(e, "the environment sets a proxy (%s)", names[i]);
	}
}

static int fail_connect(struct http *h, struct k3_err *e)
{
	long sys = 0;

	curl_easy_getinfo(h->easy, CURLINFO_OS_ERRNO, &sys);
	h->fault = sys == ETIMEDOUT ? HTTP_FAULT_SILENT : HTTP_FAULT_UNREACHABLE;
	if (sys)
		k3_fail_sys(e, (int)sys, "cannot connect to %s", h->origin);
	else
		k3_fail(e, K3_NET, "cannot connect to %s: %s", h->origin, h->reason);
	e->code = K3_NET;
	e->retry = true;
	hint_proxy(h, e);
	return k3_hint(e, "is the registry running, and are its host and port right?");
}

static int fail_proxy(const struct http *h, long status, struct k3_err *e)
{
	if (status == 407) {
		k3_fail(e, K3_AUTH, "the proxy wants credentials for %s: HTTP 407", h->origin);
		return k3_hint(e, "write them into its URL: https_proxy=http://USER:PASSWORD@HOST");
	}
	k3_fail(e, K3_NET, "the proxy does not connect to %s: HTTP %ld", h->origin, status);
	e->retry = status >= 500;
	hint_proxy(h, e);
	return -1;
}

/* With TLS 1.3 the peer tells only later that it wanted a certificate, or another one. */
static bool wants_certificate(const struct http *h)
{
	static const char *const alerts[] = { "alert certificate required", "alert bad certificate",
					      "alert unknown ca", "alert certificate unknown" };

	for (size_t i = 0; i < K3_ARRAY_LEN(alerts); i++)
		if (strstr(h->reason, alerts[i]))
			return true;
	return false;
}

static int fail_client(struct http *h, struct k3_err *e)
{
	if (h->rq->tls && h->rq->tls->cert)
		return k3_fail(e, K3_AUTH, "%s refuses the client certificate %s: %s", h->origin,
			       h->rq->tls->cert, h->reason);
	k3_fail(e, K3_AUTH, "%s wants a client certificate: %s", h->origin, h->reason);
	return k3_hint(e,
		       "name one in hosts.toml (client) or registries.yaml (cert_file, key_file)");
}

static int fail_curl(struct http *h, CURLcode rc, struct k3_err *e)
{
	const char *why = h->reason[0] ? h->reason : curl_easy_strerror(rc);
	long proxy_status = 0;

	h->fault = HTTP_FAULT_OTHER;
	curl_easy_getinfo(h->easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
	if (!h->sent && proxy_status >= 300)
		return fail_proxy(h, proxy_status, e);
	if (wants_certificate(h))
		return fail_client(h, e);
	switch (rc) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		h->fault = HTTP_FAULT_UNREACHABLE;
		k3_fail(e, K3_NET, "cannot find the host of %s: %s", h->origin, why);
		e->retry = true;
		hint_proxy(h, e);
		return k3_hint(e, "is the name right, and does this machine resolve names "
				  "(/etc/resolv.conf)?");
	case CURLE_OPERATION_TIMEDOUT: /* only connecting has such a limit */
		h->fault = HTTP_FAULT_SILENT;
		k3_fail(e, K3_NET, "cannot connect to %s: %s", h->origin, why);
		e->retry = true;
		hint_proxy(h, e);
		return k3_hint(e,
			       "does a firewall drop the packets? a longer --timeout waits longer");
	case CURLE_COULDNT_CONNECT:
		return fail_connect(h, e);
	case CURLE_PEER_FAILED_VERIFICATION:
		return fail_certificate(h, e);
	case CURLE_SSL_CONNECT_ERROR:
		return fail_handshake(h, e);
	case CURLE_SSL_CERTPROBLEM:
		return k3_fail(e, K3_USAGE, "cannot use the client certificate %s: %s",
			       h->rq->tls && h->rq->tls->cert ? h->rq->tls->cert : "", why);
	case CURLE_SSL_CACERT_BADFILE:
		return k3_fail(e, K3_USAGE, "cannot use the CA certificates: %s", why);
	case CURLE_UNSUPPORTED_PROTOCOL: /* no status line: "HTTP/0.9" */
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
		k3_fail(e, K3_PROTO, "%s does not answer in HTTP: %s", h->origin, why);
		return k3_hint(e, HINT_NO_REGISTRY);
	case CURLE_URL_MALFORMAT:
		return k3_fail(e, K3_PROTO, "bad URL for %s: %s", h->origin, why);
	case CURLE_OUT_OF_MEMORY:
		/* also what it makes of a header line that is longer than it takes */
		if (h->sent && !h->head_done)
			return fail_head_size(h, e);
		return k3_fail(e, K3_NOMEM, "libcurl has no memory");
	default:
		k3_fail(e, K3_NET, "connection to %s broke: %s", h->origin, why);
		e->retry = true;
		return -1;
	}
}

/* ---- one exchange --------------------------------------------------------------------- */

static int add_field(struct curl_slist **list, const char *name, const char *value)
{
	K3_AUTO_FREE char *line = k3_xasprintf("%s: %s", name, value);
	struct curl_slist *longer = curl_slist_append(*list, line);

	explicit_bzero(line, strlen(line));
	if (!longer)
		return -1;
	*list = longer;
	return 0;
}

static void free_fields(struct curl_slist *list)
{
	for (struct curl_slist *l = list; l; l = l->next)
		explicit_bzero(l->data, strlen(l->data));
	curl_slist_free_all(list);
}

static void set_request(struct http *h, const struct http_req *rq, struct curl_slist *fields)
{
	CURL *c = h->easy;

	curl_easy_reset(c); /* keeps connections and the DNS cache */
	set_common(h, c, rq->url);
	/*
	 * One transfer at a time has nothing to multiplex: HTTP/1.1 saves a copy and a second
	 * flow control, and keeps a large parser away from hostile bytes.
	 */
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_USERAGENT, h->o.user_agent);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, fields);
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, header_cb);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, h);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, write_cb);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, h);
	curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, prereq_cb);
	curl_easy_setopt(c, CURLOPT_PREREQDATA, h);
	if (rq->head)
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	if (rq->form)
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, rq->form);
}

static int build_fields(const struct http_req *rq, struct curl_slist **list, struct k3_err *e)
{
	K3_AUTO_FREE char *range = NULL;

	if (rq->range_to)
		range = k3_xasprintf("bytes=%llu-%llu", (unsigned long long)rq->range_from,
				     (unsigned long long)rq->range_to);
	else if (rq->range_from)
		range = k3_xasprintf("bytes=%llu-", (unsigned long long)rq->range_from);

	if ((rq->authorization && add_field(list, "Authorization", rq->authorization)) ||
	    (rq->accept && add_field(list, "Accept", rq->accept)) ||
	    /* sizes and digests are of the bytes as they are stored */
	    add_field(list, "Accept-Encoding", "identity") ||
	    /* not CURLOPT_RANGE, which makes libcurl judge the answer */
	    (range && add_field(list, "Range", range)))
		return k3_fail(e, K3_NOMEM, "libcurl has no memory");
	for (const char *const *f = rq->fields; f && *f; f++) {
		struct curl_slist *longer = curl_slist_append(*list, *f);

		if (!longer)
			return k3_fail(e, K3_NOMEM, "libcurl has no memory");
		*list = longer;
	}
	return 0;
}

static int perform(struct http *h, struct curl_slist *fields, CURLcode *rc, struct k3_err *e)
{
	set_request(h, h->rq, fields);
	if (drive(h, h->easy, rc, e))
		return -1;
	if (*rc != CURLE_PEER_FAILED_VERIFICATION || h->bundle || (h->rq->tls && h->rq->tls->ca))
		return 0;
	/* Nothing was sent yet. */
	h->bundle = true;
	h->reason[0] = '\0';
	set_request(h, h->rq, fields);
	return drive(h, h->easy, rc, e);
}

int http_run(struct http *h, const struct http_req *rq, const struct http_head **head,
	     struct k3_err *e)
{
	struct curl_slist *fields = NULL;
	CURLcode rc = CURLE_OK;
	int ret;

	h->fault = HTTP_FAULT_NONE;
	if (k3_cancel_check(h->o.cancel, e) || http_url_origin(rq->url, h->origin, e))
		return -1;
	k3_buf_reset(&h->head.fields);
	h->head.status = 0;
	h->head.has_length = false;
	h->rq = rq;
	h->head_bytes = 0;
	h->sent = h->head_done = false;
	h->stop = 0;
	h->reason[0] = '\0';
	ret = build_fields(rq, &fields, e);
	if (!ret)
		ret = perform(h, fields, &rc, e);
	if (!ret && h->stop < 0) {
		*e = h->stop_err;
		ret = -1;
	} else if (!ret && !h->stop && rc != CURLE_OK) {
		ret = fail_curl(h, rc, e);
	} else if (!ret && !h->head_done) {
		ret = k3_fail(e, K3_NET, "connection to %s broke within the header", h->origin);
		e->retry = true;
		h->fault = HTTP_FAULT_OTHER;
	}
	curl_easy_reset(h->easy); /* forgets the pointers into *rq */
	free_fields(fields);
	h->rq = NULL;
	*head = &h->head;
	return ret;
}

/* ---- URLs and dates ------------------------------------------------------------------- */

static void freep_url(CURLU **u)
{
	curl_url_cleanup(*u);
}

static void freep_curl(char **s)
{
	curl_free(*s);
}

#define AUTO_URL __attribute__((cleanup(freep_url)))
#define AUTO_CURL __attribute__((cleanup(freep_curl)))

static int fail_url(struct k3_err *e, const char *why)
{
	return k3_fail(e, K3_PROTO, "not a usable http or https URL: %s", why);
}

/* Leaves in *u a URL that passes our rules. */
static int parse_url(CURLU *u, const char *url, struct k3_err *e)
{
	AUTO_CURL char *scheme = NULL;
	const unsigned flags = CURLU_URLENCODE | CURLU_ALLOW_SPACE | CURLU_DISALLOW_USER;

	if (!u)
		return k3_fail(e, K3_NOMEM, "libcurl has no memory");
	if (strlen(url) > HTTP_URL_MAX)
		return k3_fail(e, K3_PROTO, "URL of more than %u bytes", HTTP_URL_MAX);
	CURLUcode rc = curl_url_set(u, CURLUPART_URL, url, flags);

	if (rc == CURLUE_OK)
		rc = curl_url_get(u, CURLUPART_SCHEME, &scheme, 0);
	if (rc != CURLUE_OK)
		return fail_url(e, curl_url_strerror(rc));
	if (strcasecmp(scheme, "http") != 0 && strcasecmp(scheme, "https") != 0)
		return fail_url(e, "another scheme");
	return 0;
}

static int url_text(CURLU *u, char **out, struct k3_err *e)
{
	AUTO_CURL char *text = NULL;

	curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
	CURLUcode rc = curl_url_get(u, CURLUPART_URL, &text, 0);

	if (rc != CURLUE_OK)
		return fail_url(e, curl_url_strerror(rc));
	*out = k3_xstrdup(text);
	return 0;
}

int http_url_origin(const char *url, char out[HTTP_ORIGIN_MAX], struct k3_err *e)
{
	AUTO_URL CURLU *u = curl_url();
	AUTO_CURL char *scheme = NULL, *host = NULL, *port = NULL;

	if (parse_url(u, url, e))
		return -1;
	if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK || !*host)
		return fail_url(e, "no host");
	if (curl_url_get(u, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT) != CURLUE_OK)
		port = NULL;
	int n = snprintf(out, HTTP_ORIGIN_MAX, "%s://%s%s%s", scheme, host, port ? ":" : "",
			 port ? port : "");

	if (n < 0 || n >= HTTP_ORIGIN_MAX)
		return fail_url(e, "host name too long");
	for (char *p = out; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	return 0;
}

int http_url_join(const char *base, const char *location, char **out, struct k3_err *e)
{
	AUTO_URL CURLU *u = curl_url();

	if (parse_url(u, base, e) || parse_url(u, location, e))
		return -1;
	return url_text(u, out, e);
}

int http_url_add_query(char **url, const char *key, const char *value, struct k3_err *e)
{
	AUTO_URL CURLU *u = curl_url();
	K3_AUTO_FREE char *pair = k3_xasprintf("%s=%s", key, value);
	char *longer;

	if (parse_url(u, *url, e))
		return -1;
	CURLUcode rc = curl_url_set(u, CURLUPART_QUERY, pair, CURLU_APPENDQUERY | CURLU_URLENCODE);

	if (rc != CURLUE_OK)
		return fail_url(e, curl_url_strerror(rc));
	if (url_text(u, &longer, e))
		return -1;
	free(*url);
	*url = longer;
	return 0;
}

char *http_form_escape(const char *value)
{
	AUTO_CURL char *escaped = curl_easy_escape(NULL, value, 0);

	return k3_xstrdup(escaped ? escaped : "");
}

bool http_date(const char *s, time_t *out)
{
	*out = curl_getdate(s, NULL);
	return *out != -1;
}
