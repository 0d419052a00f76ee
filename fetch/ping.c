/* SPDX-License-Identifier: Apache-2.0 */
/* /v2/, where a registry says whether it knows us (distribution-spec, "Determining Support"). */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "fetch/answer.h"
#include "fetch/auth.h"
#include "fetch/endpoints.h"
#include "fetch/hosts.h"
#include "fetch/request.h"
#include "fetch/retry.h"

#define CHALLENGES_MAX 8

struct ping {
	struct fetch_session *s;
	const struct endpoint *ep;
	struct oci_ref r; /* without a repository */
	struct outcome o;
	bool asked; /* for credentials */
};

static int on_head(void *arg, const struct http_head *h, struct k3_err *e)
{
	const struct ping *p = arg;

	return request_refuse_html(&p->o, h, e) ? -1 : HTTP_ENOUGH;
}

static int ask(struct ping *p, const char *url, const char *authorization, struct k3_err *e)
{
	const struct exchange x = { .url = url,
				    .authorization = authorization,
				    .on_head = on_head,
				    .to_endpoint = true,
				    .arg = p };
	int rc = exchange_run(p->s, &x, &p->o, e);

	if (p->o.answered)
		hosts_set_heard(p->s->f, p->r.host);
	return rc;
}

static int authenticate(struct ping *p, const char *url, char **authorization, struct k3_err *e)
{
	K3_AUTO_FREE struct challenge *c = k3_xcalloc(1, sizeof(*c));
	const char *field;

	for (unsigned i = 0; i < CHALLENGES_MAX; i++) {
		field = http_field(p->o.head, "WWW-Authenticate", i);
		if (field)
			challenge_add(c, field);
	}
	p->asked = true;
	if (auth_answer(p->s, &p->r, p->o.origin, c, NULL, authorization, e))
		return -1;
	return ask(p, url, *authorization, e);
}

static int try_scheme(struct ping *p, bool plain, struct k3_err *e)
{
	const char *base = p->ep->conf->url;

	if (plain && !strncmp(base, "https://", 8))
		base += strlen("https://");
	else
		plain = false;
	K3_AUTO_FREE char *url = k3_xasprintf("%s%s/", plain ? "http://" : "", base);
	AUTH_AUTO char *authorization = NULL;

	if (ask(p, url, NULL, e))
		return -1;
	if (p->o.status == 401 && !p->o.crossed && authenticate(p, url, &authorization, e))
		return -1;
	if (p->o.status / 100 == 2)
		return 0;
	const char *secret = authorization ? strchr(authorization, ' ') : NULL;

	answer_fail(p->s, &p->o, "registry at /v2/", secret ? secret + 1 : NULL, e);
	if (e->code == K3_NOTFOUND) {
		e->code = K3_PROTO;
		k3_hint(e, "is that the host of a registry, with its port?");
	}
	return -1;
}

/* As request_try: a loopback registry may speak without TLS. */
static int try_once(struct ping *p, struct k3_err *e)
{
	bool open = p->ep->conf->open_scheme;
	bool plain = open && hosts_plain(p->s->f, p->r.host);
	int rc = try_scheme(p, plain, e);

	if (!rc || plain || !open || !p->o.not_tls || !http_origin_is_loopback(p->o.origin))
		return rc;
	struct k3_err first = *e;

	rc = try_scheme(p, true, e);
	if (p->o.status == 400)
		*e = first;
	else if (p->o.status)
		hosts_set_plain(p->s->f, p->r.host);
	return rc;
}

/* The registry itself, as the files say to talk to it; mirrors have credentials of their own. */
static int find_endpoint(struct ping *p, const char *host, struct k3_err *e)
{
	const struct endpoints *all;

	if (endpoints_of(p->s->f, host, &all, e))
		return -1;
	for (size_t i = 0; i < all->n; i++)
		if (!all->items[i].conf->mirror)
			p->ep = &all->items[i];
	if (!p->ep) {
		k3_fail(e, K3_USAGE, "%s itself is never asked", host);
		return k3_hint(e,
			       "\"k3simg config show %s/x\" tells which mirrors are: log in there",
			       host);
	}
	p->s->ep = p->ep;
	p->r.host = p->ep->conf->host;
	return endpoint_prepare(p->s->f, p->ep, e);
}

int fetch_login_check(struct fetch_session *s, const char *host, bool *asked, struct k3_err *e)
{
	char none[] = "";
	struct ping p = { .s = s, .r = { .repo = none } };
	struct retry again;

	retry_start(&again, s, host);
	if (find_endpoint(&p, host, e) || hosts_check(s->f, p.r.host, e))
		return -1;
	again.host = p.r.host;
	while (try_once(&p, e)) {
		if (!retry_wait(&again, e))
			continue;
		if (e->code != K3_AUTH)
			return -1;
		e->hint[0] = '\0'; /* that of a pull speaks of images */
		return k3_hint(e, "user or password is wrong, or %s wants a token for a password",
			       host);
	}
	*asked = p.asked;
	return 0;
}
