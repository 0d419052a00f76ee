/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/route.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "fetch/hosts.h"

_Static_assert(REGISTRY_ENDPOINTS_MAX <= 64, "an endpoint of a registry is a bit");

static bool may_ask(struct route *rt, size_t i)
{
	const struct endpoint *ep = &rt->all->items[i];

	return (ep->conf->caps & rt->need) && !(rt->out >> i & 1) &&
	       endpoint_usable(rt->s->f, ep, rt->r->repo);
}

static int go_to(struct route *rt, size_t i, struct k3_err *e)
{
	const struct endpoint *ep = &rt->all->items[i];

	rt->index = i;
	rt->ep = ep;
	rt->again.host = ep->conf->host;
	k3_freep(&rt->repo);
	if (registry_rewrite(ep->conf, rt->r->repo, &rt->repo, e) ||
	    endpoint_prepare(rt->s->f, ep, e))
		return -1;
	rt->ref = *rt->r;
	rt->ref.host = ep->conf->host;
	rt->ref.repo = rt->repo;
	return 0;
}

/* *found: the first one from i on that may be asked.  -1 only when the configuration is wrong. */
static int pick(struct route *rt, size_t i, bool *found, struct k3_err *e)
{
	*found = false;
	for (; i < rt->all->n; i++) {
		const char *host = rt->all->items[i].conf->host;

		if (!may_ask(rt, i))
			continue;
		if (hosts_check(rt->s->f, host, e)) {
			rt->out |= 1ull << i;
			rt->may_later = true;
			rt->later = *e;
			continue;
		}
		*found = true;
		return go_to(rt, i, e);
	}
	return 0;
}

static int nobody(const struct route *rt, struct k3_err *e)
{
	k3_fail(e, K3_NET, "no endpoint of %s is left to be asked for %s", rt->r->host,
		rt->need == REGISTRY_RESOLVE ? "a tag" : "an image");
	return k3_hint(e, "\"k3simg config show %s/%s\" tells which there are and what for",
		       rt->r->host, rt->r->repo);
}

int route_start(struct route *rt, struct fetch_session *s, const struct oci_ref *r, unsigned need,
		const char *what, struct k3_err *e)
{
	bool found;

	*rt = (struct route){ .s = s, .r = r, .need = need };
	retry_start(&rt->again, s, what);
	if (endpoints_of(s->f, r->host, &rt->all, e) || pick(rt, 0, &found, e))
		return -1;
	if (found)
		return 0;
	if (!rt->may_later)
		return nobody(rt, e);
	*e = rt->later;
	return -1;
}

/* What no other endpoint would mend: it is about us. */
static bool about_us(const struct route *rt, const struct k3_err *e)
{
	switch (e->code) {
	case K3_USAGE:
	case K3_FORMAT: /* an auth file */
	case K3_CANCELLED:
	case K3_NOMEM:
	case K3_NOSPC:
	case K3_IO:
	case K3_BUG:
		return true;
	default:
		return k3_cancelled(rt->s->f->o.cancel);
	}
}

static void tell(struct route *rt, const struct endpoint *failed, const struct k3_err *e)
{
	K3_AUTO_FREE char *key = k3_xasprintf("passed over %u %s %s", failed->id, rt->r->repo,
					      k3_code_name(e->code));

	notice_once(rt->s->f, key, "%s %s: %s; asking %s instead",
		    failed->conf->mirror ? "mirror" : "registry", failed->conf->url, e->msg,
		    rt->ep->conf->url);
}

/* On to the next one of this round, or to the next round. */
static int next(struct route *rt, bool told, struct k3_err *e)
{
	const struct endpoint *failed = rt->ep;
	struct k3_err why;
	bool found;

	if (pick(rt, rt->index + 1, &found, &why)) {
		*e = why;
		return -1;
	}
	if (found) {
		if (!told)
			tell(rt, failed, e);
		/* it has as much time as the one before */
		retry_extend(&rt->again);
		return 0;
	}
	if (!rt->may_later)
		return -1;
	if (!e->retry)
		*e = rt->later;
	if (retry_wait(&rt->again, e))
		return -1;
	rt->may_later = false;
	if (pick(rt, 0, &found, &why)) {
		*e = why;
		return -1;
	}
	return found ? 0 : -1;
}

int route_failed(struct route *rt, struct k3_err *e)
{
	const uint64_t bit = 1ull << rt->index;
	enum http_fault fault = rt->s->fault;

	if (about_us(rt, e))
		return -1;
	if (fault == HTTP_FAULT_UNREACHABLE || fault == HTTP_FAULT_SILENT)
		rt->silent |= bit;
	if (fault != HTTP_FAULT_UNREACHABLE)
		rt->again.reached = true;
	if (e->code == K3_AUTH)
		rt->denied |= bit;
	if (!e->retry) {
		rt->out |= bit;
	} else {
		rt->may_later = true;
		rt->later = *e;
	}
	return next(rt, false, e);
}

int route_useless(struct route *rt, struct k3_err *e)
{
	bool blamed = e->code == K3_DIGEST && rt->ep->id < ENDPOINTS_TOLD_APART &&
		      endpoints_blame(rt->s->f, 1ull << rt->ep->id, e);

	rt->out |= 1ull << rt->index;
	return next(rt, blamed, e);
}

void route_done(struct route *rt)
{
	for (size_t i = 0; i < rt->all->n; i++) {
		if (i == rt->index)
			continue;
		if (rt->silent >> i & 1)
			endpoint_set_gone(rt->s->f, &rt->all->items[i]);
		if (rt->denied >> i & 1)
			endpoint_set_denied(rt->s->f, &rt->all->items[i], rt->r->repo);
	}
}

void route_release(struct route *rt)
{
	k3_freep(&rt->repo);
}
