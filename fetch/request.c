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

static char *make_url(const struct oci_ref *r, const struct request *q, bool plain)
{
	/* Docker Hub's name is not its address. */
	const char *host = strcmp(r->host, "docker.io") != 0 ? r->host : "registry-1.docker.io";

	return k3_xasprintf("%s://%s/v2/%s/%s", plain ? "http" : "https", host, r->repo, q->path);
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
		.arg = q->arg,
	};

	int rc = exchange_run(s, &x, o, e);

	if (o->answered)
		hosts_set_heard(s->f, r->host);
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
		auth_hint(s->f, r, e);
	return -1;
}

int request_try(struct fetch_session *s, const struct oci_ref *r, const struct request *q,
		struct outcome *o, struct k3_err *e)
{
	bool plain = hosts_plain(s->f, r->host);
	K3_AUTO_FREE char *url = make_url(r, q, plain);
	int rc = try_url(s, r, q, url, o, e);

	if (!rc || plain || !o->not_tls || !http_origin_is_loopback(o->origin))
		return rc;
	struct k3_err first = *e;

	free(url);
	url = make_url(r, q, true);
	rc = try_url(s, r, q, url, o, e);
	if (o->status == 400) {
		/* it does speak TLS and had only dropped the connection */
		*e = first;
		return -1;
	}
	if (o->status)
		hosts_set_plain(s->f, r->host);
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
