/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "fetch/answer.h"
#include "fetch/auth.h"
#include "fetch/hosts.h"

#define CHALLENGES_MAX 8

static char *make_url(const struct route *to, const struct request *q, bool plain)
{
	const struct registry_endpoint *conf = to->ep->conf;
	K3_AUTO_FREE char *ns = NULL;
	const char *base = conf->url;

	/* a mirror of several registries is told whose image it is */
	if (conf->mirror)
		ns = http_form_escape(to->r->host);
	if (plain && !strncmp(base, "https://", 8))
		base += strlen("https://");
	else
		plain = false;
	return k3_xasprintf("%s%s/%s/%s%s%s", plain ? "http://" : "", base, to->ref.repo, q->path,
			    ns ? "?ns=" : "", ns ? ns : "");
}

#define LOW_PART 10u /* of the limit: told when no more than a tenth is left */

/* "76;w=21600": the first number, and the seconds of its window. */
static bool read_limit(const struct http_head *h, const char *name, unsigned long *n,
		       unsigned long *window)
{
	const char *text = http_field(h, name, 0), *w;
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	*n = strtoul(text, &end, 10);
	w = strstr(end, "w=");
	*window = w ? strtoul(w + 2, NULL, 10) : 0;
	return true;
}

/* What Docker Hub says of pulls that are left, before it refuses the next one. */
static void watch_limit(struct fetch_session *s, const struct http_head *h, const char *host)
{
	unsigned long left, limit, window, other;

	if (!read_limit(h, "RateLimit-Remaining", &left, &other) ||
	    !read_limit(h, "RateLimit-Limit", &limit, &window) || left > limit / LOW_PART)
		return;
	K3_AUTO_FREE char *key = k3_xasprintf("limit %s", host);

	notice_once(s->f, key,
		    "%s lets you pull %lu more images of %lu in %lu minutes; log in for a higher "
		    "limit, or configure a mirror",
		    host, left, limit, window / 60);
}

static int run(struct fetch_session *s, const struct oci_ref *r, const struct request *q,
	       const char *url, const char *authorization, struct outcome *o, struct k3_err *e)
{
	const struct exchange x = {
		.url = url,
		.authorization = authorization,
		.accept = q->accept,
		.range_from = q->range_from,
		.range_to = q->range_to,
		.head = q->head,
		.on_head = q->on_head,
		.on_data = q->on_data,
		.to_endpoint = true,
		.arg = q->arg,
	};

	int rc = exchange_run(s, &x, o, e);

	if (o->answered)
		hosts_set_heard(s->f, r->host);
	if (o->status)
		watch_limit(s, o->head, r->host);
	return rc;
}

static void read_challenges(const struct http_head *h, struct challenge *c)
{
	const char *field;

	for (unsigned i = 0; i < CHALLENGES_MAX; i++) {
		field = http_field(h, "WWW-Authenticate", i);
		if (!field)
			return;
		challenge_add(c, field);
	}
}

/* A 401 of the registry itself is answered once. */
static int authenticate(struct fetch_session *s, const struct oci_ref *r, const struct request *q,
			const char *url, char **authorization, struct outcome *o, struct k3_err *e)
{
	K3_AUTO_FREE struct challenge *c = k3_xcalloc(1, sizeof(*c));
	char *fresh;

	read_challenges(o->head, c);
	if (auth_answer(s, r, o->origin, c, *authorization, &fresh, e))
		return -1;
	auth_forget(*authorization);
	*authorization = fresh;
	return run(s, r, q, url, fresh, o, e);
}

static int try_url(struct fetch_session *s, const struct oci_ref *r, const struct request *q,
		   const char *url, struct outcome *o, struct k3_err *e)
{
	AUTH_AUTO char *authorization = auth_known(s->f, r);

	if (run(s, r, q, url, authorization, o, e))
		return -1;
	if (o->status == 401 && !o->crossed && authenticate(s, r, q, url, &authorization, o, e))
		return -1;
	if (o->status / 100 == 2 || (q->any_status && o->status != 401))
		return 0;
	const char *secret = authorization ? strchr(authorization, ' ') : NULL;

	answer_fail(s, o, q->what, secret ? secret + 1 : NULL, e);
	if (e->code == K3_AUTH && !o->crossed)
		auth_hint(s, r, e);
	return -1;
}

int request_try(const struct route *to, const struct request *q, struct outcome *o,
		struct k3_err *e)
{
	struct fetch_session *s = to->s;
	const struct registry_endpoint *conf = to->ep->conf;
	bool plain = conf->open_scheme && hosts_plain(s->f, conf->host);
	K3_AUTO_FREE char *url = make_url(to, q, plain);

	s->ep = to->ep;
	int rc = try_url(s, &to->ref, q, url, o, e);

	if (!rc || plain || !conf->open_scheme || !o->not_tls ||
	    !http_origin_is_loopback(o->origin))
		return rc;
	struct k3_err first = *e;

	free(url);
	url = make_url(to, q, true);
	rc = try_url(s, &to->ref, q, url, o, e);
	if (o->status == 400) {
		/* it does speak TLS and had only dropped the connection */
		*e = first;
		return -1;
	}
	if (o->status)
		hosts_set_plain(s->f, conf->host);
	return rc;
}

int request_refuse_html(const struct outcome *o, const struct http_head *h, struct k3_err *e)
{
	const char *type = http_field(h, "Content-Type", 0);

	if (!type || strncasecmp(type, "text/html", 9) != 0)
		return 0;
	k3_fail(e, K3_PROTO, "%s answered with a web page", o->origin);
	return k3_hint(e, "something that is no registry answers there: a login page, a proxy, or "
			  "a wrong port?");
}
