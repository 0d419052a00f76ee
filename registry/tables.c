/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/tables.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "registry/regex.h"

static void wipe(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	k3_freep(s);
}

static void mirror_release(struct table_mirror *m)
{
	free(m->name);
	list_release(&m->endpoints);
	list_release(&m->patterns);
	list_release(&m->withs);
}

static void config_release(struct table_config *c)
{
	free(c->name);
	free(c->ca);
	free(c->cert);
	free(c->key);
	free(c->user);
	wipe(&c->password);
	wipe(&c->auth);
	wipe(&c->identity_token);
	from_release(&c->auth_from);
}

void tables_release(struct tables *t)
{
	for (size_t i = 0; i < t->nmirrors; i++)
		mirror_release(&t->mirrors[i]);
	for (size_t i = 0; i < t->nconfigs; i++)
		config_release(&t->configs[i]);
	free(t->mirrors);
	free(t->configs);
	list_release(&t->headers);
	list_release(&t->config_path);
	free(t->file);
	*t = (struct tables){ 0 };
}

static int full(const char *what, struct k3_err *e)
{
	return k3_fail(e, K3_LIMIT, "more than %u %s", TABLES_MAX, what);
}

int tables_mirror(struct tables *t, const char *name, struct table_mirror **out, struct k3_err *e)
{
	for (size_t i = 0; i < t->nmirrors; i++)
		if (!strcmp(t->mirrors[i].name, name)) {
			*out = &t->mirrors[i];
			return 0;
		}
	if (t->nmirrors >= TABLES_MAX)
		return full("mirrors", e);
	t->mirrors = k3_xgrow(t->mirrors, t->nmirrors, &t->mirrors_cap, sizeof(*t->mirrors));
	*out = &t->mirrors[t->nmirrors++];
	**out = (struct table_mirror){ .name = k3_xstrdup(name) };
	return 0;
}

int tables_config(struct tables *t, const char *name, struct table_config **out, struct k3_err *e)
{
	for (size_t i = 0; i < t->nconfigs; i++)
		if (!strcmp(t->configs[i].name, name)) {
			*out = &t->configs[i];
			return 0;
		}
	if (t->nconfigs >= TABLES_MAX)
		return full("configs", e);
	t->configs = k3_xgrow(t->configs, t->nconfigs, &t->configs_cap, sizeof(*t->configs));
	*out = &t->configs[t->nconfigs++];
	**out = (struct table_config){ .name = k3_xstrdup(name) };
	return 0;
}

int mirror_add_rewrite(struct table_mirror *m, const char *pattern, const char *with,
		       struct k3_err *e)
{
	struct regex *regex;

	if (regex_new(pattern, &regex, e))
		return -1;
	regex_free(regex);
	return list_add(&m->patterns, k3_xstrdup(pattern), e) ||
			       list_add(&m->withs, k3_xstrdup(with), e)
		       ? -1
		       : 0;
}

/* ---- looking up ---- */

static const struct table_mirror *find_mirror(const struct tables *t, const char *host)
{
	bool any = !strcmp(host, "*");

	for (size_t i = 0; i < t->nmirrors; i++)
		if (any ? !strcmp(t->mirrors[i].name, host) : host_is(t->mirrors[i].name, host))
			return &t->mirrors[i];
	return NULL;
}

static const struct table_config *find_config(const struct tables *t, const char *host)
{
	bool any = !strcmp(host, "*");

	for (size_t i = 0; i < t->nconfigs; i++)
		if (t->configs[i].has_tls &&
		    (any ? !strcmp(t->configs[i].name, host) : host_is(t->configs[i].name, host)))
			return &t->configs[i];
	return NULL;
}

const struct table_config *tables_auth(const struct tables *t, const char *host)
{
	for (size_t i = 0; i < t->nconfigs; i++)
		if (t->configs[i].auth_from.file && host_is(t->configs[i].name, host))
			return &t->configs[i];
	return NULL;
}

static int set_tls(const struct tables *t, const struct table_config *c,
		   struct registry_endpoint *ep, struct k3_err *e)
{
	if (!c)
		return 0;
	K3_AUTO_FREE char *entry = k3_xasprintf("configs.\"%s\".tls", c->name);

	from_set(&ep->tls_from, t->file, c->tls_line, entry);
	ep->skip_verify = c->skip_verify;
	if (c->cert) {
		ep->cert = k3_xstrdup(c->cert);
		ep->key = c->key ? k3_xstrdup(c->key) : NULL;
	}
	return c->ca ? list_add(&ep->ca, k3_xstrdup(c->ca), e) : 0;
}

static int add_mirror(const struct tables *t, const struct table_mirror *m, size_t i,
		      const struct reader *r, struct registry_host *h)
{
	K3_AUTO_FREE char *entry = k3_xasprintf("mirrors.\"%s\"", m->name);
	const struct endpoint_url url = { .text = m->endpoints.items[i],
					  .path = ENDPOINT_DEFAULT,
					  .local_http = true };
	struct registry_endpoint *ep;

	if (endpoint_add(h, &url, &ep, r->e))
		return k3_wrap(r->e, "%s: line %u: %s", r->file, m->line, entry);
	if (endpoint_seen(h, ep)) {
		reader_warn(r, m->line, "%s: endpoint \"%.200s\" is there twice", entry, url.text);
		endpoint_drop_last(h);
		return 0;
	}
	from_set(&ep->from, t->file, m->line, entry);
	for (size_t k = 0; k < m->patterns.n; k++)
		if (endpoint_add_rewrite(ep, m->patterns.items[k], m->withs.items[k], r->e))
			return k3_wrap(r->e, "%s: line %u: %s", r->file, m->line, entry);
	return set_tls(t, find_config(t, ep->host), ep, r->e);
}

static bool has_own(const struct registry_host *h)
{
	for (size_t i = 0; i < h->n; i++)
		if (!h->endpoints[i].mirror)
			return true;
	return false;
}

int tables_find(const struct tables *t, bool any, struct registry_list *warnings,
		struct registry_host *h, bool *found, struct k3_err *e)
{
	const char *name = any ? "*" : h->name;
	const struct table_mirror *m = find_mirror(t, name);
	const struct table_config *c = find_config(t, name);
	const struct reader r = { .file = t->file, .warnings = warnings, .e = e };

	*found = m || c;
	if (!*found)
		return 0;
	bool alone = t->mirrors_only && m && !any && m->endpoints.n;

	/* a registry of which only the TLS is configured has the mirrors of all others */
	if (!m)
		m = find_mirror(t, "*");
	for (size_t i = 0; m && i < m->endpoints.n; i++)
		if (add_mirror(t, m, i, &r, h))
			return -1;
	if (alone || has_own(h))
		return 0;
	struct registry_endpoint *own = endpoint_add_own(h);

	if (c) {
		K3_AUTO_FREE char *entry = k3_xasprintf("configs.\"%s\"", c->name);

		from_set(&own->from, t->file, c->tls_line, entry);
	}
	return set_tls(t, c, own, e);
}
