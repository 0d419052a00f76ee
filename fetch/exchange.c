/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/exchange.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "fetch/endpoints.h"
#include "fetch/trace.h"

struct hop {
	struct fetch_session *s;
	const struct exchange *x;
	bool final; /* a 2xx: head and data are the caller's */
};

static int on_head(void *arg, const struct http_head *h, struct k3_err *e)
{
	struct hop *hop = arg;

	hop->final = h->status / 100 == 2;
	return hop->final && hop->x->on_head ? hop->x->on_head(hop->x->arg, h, e) : 0;
}

static int on_data(void *arg, const void *p, size_t n, struct k3_err *e)
{
	struct hop *hop = arg;
	struct k3_buf *note = &hop->s->note;

	if (hop->final)
		return hop->x->on_data ? hop->x->on_data(hop->x->arg, p, n, e) : 0;
	size_t room = note->max - note->len;

	if (k3_buf_add(note, p, n < room ? n : room, e))
		return -1;
	return n < room ? 0 : HTTP_ENOUGH;
}

static bool is_redirect(unsigned status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool exchange_encoded(const struct http_head *h)
{
	const char *encoding = http_field(h, "Content-Encoding", 0);

	return encoding && *encoding && strcasecmp(encoding, "identity") != 0;
}

bool exchange_may_lead(const struct fetch *f, const char *from, const char *to)
{
	return http_origin_is_tls(to) || !http_origin_is_tls(from) || f->o.plain_http ||
	       (http_origin_is_loopback(from) && http_origin_is_loopback(to));
}

/* Replaces *url by where the answer leads to. */
static int next_url(const struct fetch_session *s, const struct exchange *x,
		    const struct outcome *o, char **url, struct k3_err *e)
{
	const char *location = http_field(o->head, "Location", 0);
	char to[HTTP_ORIGIN_MAX], *next;

	if (x->form)
		return k3_fail(e, K3_PROTO, "a redirect of a secret is not followed");
	if (!location || !*location)
		return k3_fail(e, K3_PROTO, "redirect without a Location");
	if (http_url_join(*url, location, &next, e))
		return k3_wrap(e, "redirect");
	free(*url);
	*url = next;
	if (http_url_origin(next, to, e))
		return k3_wrap(e, "redirect");
	if (!exchange_may_lead(s->f, o->origin, to))
		return k3_fail(e, K3_PROTO, "redirect from TLS to plain HTTP at %s refused", to);
	return 0;
}

/* The limit, or what the request has left when that is less. */
static unsigned at_most(unsigned limit_ms, uint64_t left_ms)
{
	return left_ms < limit_ms ? (unsigned)left_ms : limit_ms;
}

static void show(const struct fetch *f, struct k3_buf *text)
{
	if (text->len)
		f->o.on_trace(f->o.on_trace_arg, (const char *)text->p);
	k3_buf_reset(text);
}

static int run_traced(struct fetch_session *s, const struct http_req *rq, struct outcome *o,
		      struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(TRACE_MAX);

	if (!s->f->o.on_trace)
		return http_run(s->http, rq, &o->head, e);
	trace_request(&text, rq, s->f->o.user_agent);
	show(s->f, &text);
	int rc = http_run(s->http, rq, &o->head, e);

	if (o->head && o->head->status)
		trace_answer(&text, o->head, o->origin);
	if (rc)
		trace_failure(&text, o->origin, e);
	show(s->f, &text);
	return rc;
}

/* The configured headers, without an Authorization when there is a better one. */
static const char **own_fields(const struct fetch_session *s, const struct exchange *x,
			       const struct outcome *o)
{
	size_t n = 0, kept = 0;

	if (!x->to_endpoint || o->crossed || !s->ep)
		return NULL;
	while (s->ep->fields[n])
		n++;
	const char **fields = k3_xcalloc(n + 1, sizeof(*fields));

	for (size_t i = 0; i < n; i++)
		if (!x->authorization || strncasecmp(s->ep->fields[i], "Authorization:", 14) != 0)
			fields[kept++] = s->ep->fields[i];
	return fields;
}

static int run_hop(struct fetch_session *s, const struct exchange *x, const char *url,
		   struct outcome *o, struct k3_err *e)
{
	struct hop hop = { .s = s, .x = x };
	uint64_t left = UINT64_MAX, now = k3_now_ms();

	if (s->give_up_ms)
		left = s->give_up_ms > now ? s->give_up_ms - now : 0;
	if (!left) {
		k3_fail(e, K3_NET, "no time is left to ask %s", o->origin);
		e->retry = true;
		return -1;
	}
	K3_AUTO_FREE const char **fields = own_fields(s, x, o);
	struct http_tls tls;

	endpoint_tls(s->f, s->ep, o->origin, &tls);
	const struct http_req rq = {
		.url = url,
		.tls = &tls,
		.fields = fields,
		.authorization = o->crossed ? NULL : x->authorization,
		.accept = x->accept,
		.form = x->form,
		.range_from = x->range_from,
		.range_to = x->range_to,
		.head = x->head,
		.connect_ms = at_most(s->f->o.connect_ms, left),
		.answer_ms = at_most(s->f->o.stall_ms, left),
		.on_head = on_head,
		.on_data = on_data,
		.arg = &hop,
	};

	k3_buf_reset(&s->note);
	int rc = run_traced(s, &rq, o, e);

	s->fault = http_fault(s->http);
	return rc;
}

int exchange_run(struct fetch_session *s, const struct exchange *x, struct outcome *o,
		 struct k3_err *e)
{
	K3_AUTO_FREE char *url = k3_xstrdup(x->url);
	char first[HTTP_ORIGIN_MAX];

	*o = (struct outcome){ 0 };
	s->retry_after_ms = 0;
	s->fault = HTTP_FAULT_NONE;
	if (http_url_origin(url, first, e))
		return -1;
	memcpy(o->origin, first, sizeof(first));
	for (int hops = 0; hops <= FETCH_REDIRECTS_MAX; hops++) {
		if (run_hop(s, x, url, o, e)) {
			o->status = 0;
			o->not_tls = !hops && http_fault(s->http) == HTTP_FAULT_NOT_TLS;
			return -1;
		}
		o->status = o->head->status;
		o->answered = true;
		if (!is_redirect(o->status))
			return 0;
		if (next_url(s, x, o, &url, e)) {
			k3_hint(e, EXCHANGE_HINT_SETUP);
			return k3_wrap(e, "%s", o->origin);
		}
		if (http_url_origin(url, o->origin, e))
			return -1;
		/* for good: a way back may have been written by the other host */
		o->crossed |= strcmp(o->origin, first) != 0;
	}
	k3_fail(e, K3_PROTO, "%s: more than %d redirects", first, FETCH_REDIRECTS_MAX);
	return k3_hint(e, EXCHANGE_HINT_SETUP);
}
