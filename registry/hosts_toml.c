/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/hosts_toml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/toml.h"

#define NAME_MAX_SHOWN 200

/* One table of the file: a [host."URL"], or the root, which is about the server. */
struct table {
	const struct reader *r;
	const struct k3_toml *t;
	const char *dir;
	char name[NAME_MAX_SHOWN + 16]; /* for messages; "" for the root */
	struct registry_endpoint *ep;
};

static int fail_type(const struct table *t, const struct k3_toml *v, const char *key,
		     const char *want)
{
	return reader_fail(t->r, k3_toml_line(v), "%s%s\"%s\" must be %s", t->name,
			   t->name[0] ? ": " : "", key, want);
}

static void tls_is_from(const struct table *t, const struct k3_toml *v)
{
	if (!t->ep->tls_from.file)
		from_set(&t->ep->tls_from, t->r->file, k3_toml_line(v),
			 t->name[0] ? t->name : NULL);
}

static int take_capabilities(struct table *t)
{
	static const struct {
		const char *name;
		unsigned cap;
	} known[] = { { "pull", REGISTRY_PULL },
		      { "resolve", REGISTRY_RESOLVE },
		      { "push", REGISTRY_PUSH } };
	const struct k3_toml *v = k3_toml_get(t->t, "capabilities");
	unsigned caps = 0;

	if (!v)
		return 0;
	if (k3_toml_kind(v) != K3_TOML_ARRAY)
		return fail_type(t, v, "capabilities", "an array of strings");
	for (size_t i = 0; i < k3_toml_len(v); i++) {
		const char *word = k3_toml_str(k3_toml_at(v, i));
		size_t k = 0;

		if (!word)
			return fail_type(t, v, "capabilities", "an array of strings");
		while (k < K3_ARRAY_LEN(known) && strcasecmp(known[k].name, word) != 0)
			k++;
		if (k == K3_ARRAY_LEN(known))
			return reader_fail(t->r, k3_toml_line(v), "unknown capability \"%.50s\"",
					   word);
		caps |= known[k].cap;
	}
	/* containerd takes an empty list for none at all */
	if (caps)
		t->ep->caps = caps;
	return 0;
}

static int add_ca(struct table *t, const struct k3_toml *v)
{
	if (!k3_toml_str(v))
		return fail_type(t, v, "ca", "a string or an array of strings");
	tls_is_from(t, v);
	return list_add(&t->ep->ca, path_below(t->dir, k3_toml_str(v)), t->r->e);
}

static int take_ca(struct table *t)
{
	const struct k3_toml *v = k3_toml_get(t->t, "ca");

	if (!v)
		return 0;
	if (k3_toml_kind(v) != K3_TOML_ARRAY)
		return add_ca(t, v);
	for (size_t i = 0; i < k3_toml_len(v); i++)
		if (add_ca(t, k3_toml_at(v, i)))
			return -1;
	return 0;
}

/* "FILE", or ["CERT", "KEY"].  The first one is used: libcurl has no more than one. */
static int add_client(struct table *t, const struct k3_toml *v)
{
	const char *cert = k3_toml_str(v), *key = NULL;

	if (!cert) {
		cert = k3_toml_str(k3_toml_at(v, 0));
		key = k3_toml_str(k3_toml_at(v, 1));
		if (k3_toml_kind(v) != K3_TOML_ARRAY || k3_toml_len(v) != 2 || !cert || !key)
			return fail_type(t, v, "client",
					 "a string, an array of strings or an array of pairs");
	}
	if (t->ep->cert) {
		reader_warn(t->r, k3_toml_line(v),
			    "only the first client certificate is used, not \"%.100s\"", cert);
		return 0;
	}
	tls_is_from(t, v);
	t->ep->cert = path_below(t->dir, cert);
	t->ep->key = key && *key ? path_below(t->dir, key) : NULL;
	return 0;
}

static int take_client(struct table *t)
{
	const struct k3_toml *v = k3_toml_get(t->t, "client");

	if (!v)
		return 0;
	if (k3_toml_kind(v) != K3_TOML_ARRAY)
		return add_client(t, v);
	for (size_t i = 0; i < k3_toml_len(v); i++)
		if (add_client(t, k3_toml_at(v, i)))
			return -1;
	return 0;
}

static int take_skip_verify(struct table *t)
{
	const struct k3_toml *v = k3_toml_get(t->t, "skip_verify");

	if (v && !k3_toml_bool(v, &t->ep->skip_verify))
		return fail_type(t, v, "skip_verify", "true or false");
	if (t->ep->skip_verify)
		tls_is_from(t, v);
	return 0;
}

static int bad_header(const struct table *t, const struct k3_toml *v)
{
	const enum k3_code code = t->r->e->code;

	k3_wrap(t->r->e, "%s: line %u", t->r->file, k3_toml_line(v));
	t->r->e->code = code;
	return -1;
}

static int take_headers(struct table *t)
{
	const struct k3_toml *all = k3_toml_get(t->t, "header");

	if (all && k3_toml_kind(all) != K3_TOML_TABLE)
		return fail_type(t, all, "header", "a table");
	for (size_t i = 0; i < k3_toml_len(all); i++) {
		const struct k3_toml *v = k3_toml_at(all, i);
		const char *name = k3_toml_key(all, i), *one = k3_toml_str(v);

		if (!one && k3_toml_kind(v) != K3_TOML_ARRAY)
			return fail_type(t, v, name, "a string or an array of strings");
		if (one && endpoint_add_header(t->ep, name, one, t->r->e))
			return bad_header(t, v);
		for (size_t k = 0; k < k3_toml_len(v); k++) {
			const char *text = k3_toml_str(k3_toml_at(v, k));

			if (!text)
				return fail_type(t, v, name, "a string or an array of strings");
			if (endpoint_add_header(t->ep, name, text, t->r->e))
				return bad_header(t, v);
		}
	}
	return 0;
}

/* k3s's own addition. */
static int take_rewrites(struct table *t)
{
	const struct k3_toml *all = k3_toml_get(t->t, "rewrite");

	if (all && k3_toml_kind(all) != K3_TOML_TABLE)
		return fail_type(t, all, "rewrite", "a table");
	for (size_t i = 0; i < k3_toml_len(all); i++) {
		const struct k3_toml *v = k3_toml_at(all, i);

		if (!k3_toml_str(v))
			return fail_type(t, v, k3_toml_key(all, i), "a string");
		if (endpoint_add_rewrite(t->ep, k3_toml_key(all, i), k3_toml_str(v), t->r->e))
			return bad_header(t, v);
	}
	return 0;
}

static void check_keys(const struct table *t)
{
	static const char *const known[] = { "capabilities", "ca",     "client",
					     "skip_verify",  "header", "override_path",
					     "rewrite",      "server", "host",
					     "dial_timeout", NULL };

	for (size_t i = 0; i < k3_toml_len(t->t); i++) {
		const char *key = k3_toml_key(t->t, i);
		bool top = !strcmp(key, "server") || !strcmp(key, "host");

		if (top && t->name[0])
			reader_warn(t->r, k3_toml_line(k3_toml_at(t->t, i)),
				    "unknown key \"%s\" in %s is ignored", key, t->name);
		else
			reader_check_key(t->r, k3_toml_line(k3_toml_at(t->t, i)), t->name, key,
					 known);
	}
}

static int take_settings(struct table *t)
{
	const struct k3_toml *timeout = k3_toml_get(t->t, "dial_timeout");

	if (timeout)
		reader_warn(
			t->r, k3_toml_line(timeout),
			"dial_timeout is not used: --timeout bounds all that a request may take");
	check_keys(t);
	return take_ca(t) || take_client(t) || take_skip_verify(t) || take_headers(t) ||
			       take_rewrites(t)
		       ? -1
		       : 0;
}

/* How the path of this table's URL is meant. */
static int path_kind(const struct table *t, enum endpoint_path *out)
{
	const struct k3_toml *v = k3_toml_get(t->t, "override_path");
	bool override = false;

	if (v && !k3_toml_bool(v, &override))
		return fail_type(t, v, "override_path", "true or false");
	*out = override ? ENDPOINT_AS_IS : ENDPOINT_V2;
	return 0;
}

static int add_by_url(struct table *t, const char *url, unsigned line, struct registry_host *h)
{
	struct endpoint_url where = { .text = url };

	if (path_kind(t, &where.path))
		return -1;
	if (endpoint_add(h, &where, &t->ep, t->r->e))
		return k3_wrap(t->r->e, "%s: line %u", t->r->file, line);
	from_set(&t->ep->from, t->r->file, line, t->name[0] ? t->name : "server");
	return take_capabilities(t);
}

static int add_host(const struct reader *r, const char *dir, const char *url,
		    const struct k3_toml *v, struct registry_host *h)
{
	struct table t = { .r = r, .t = v, .dir = dir };

	snprintf(t.name, sizeof(t.name), "[host.\"%.*s\"]", NAME_MAX_SHOWN, url);
	if (k3_toml_kind(v) != K3_TOML_TABLE)
		return reader_fail(r, k3_toml_line(v), "host.\"%.100s\" must be a table", url);
	return add_by_url(&t, url, k3_toml_line(v), h) || take_settings(&t) ? -1 : 0;
}

/* What the root of the file says is about the registry itself. */
static int add_server(const struct reader *r, const char *dir, const struct k3_toml *root,
		      struct registry_host *h)
{
	struct table t = { .r = r, .t = root, .dir = dir };
	const struct k3_toml *server = k3_toml_get(root, "server");
	const char *url = k3_toml_str(server);

	if (server && !url)
		return fail_type(&t, server, "server", "a string");
	if (url && *url) {
		if (add_by_url(&t, url, k3_toml_line(server), h))
			return -1;
		/* containerd would ask it twice */
		if (endpoint_seen(h, t.ep)) {
			endpoint_drop_last(h);
			return 0;
		}
	} else {
		t.ep = endpoint_add_own(h);
		from_set(&t.ep->from, r->file, 0, NULL);
		if (take_capabilities(&t))
			return -1;
		/* containerd knows them of a server that is named only */
		t.ep->caps = REGISTRY_PULL | REGISTRY_RESOLVE | REGISTRY_PUSH;
	}
	return take_settings(&t);
}

int hosts_toml_parse(const void *text, size_t n, const struct reader *r, const char *dir,
		     struct registry_host *h)
{
	K3_AUTO_TOML struct k3_toml_doc *doc = NULL;

	if (k3_toml_parse(text, n, &doc, r->e))
		return k3_wrap(r->e, "%s", r->file);
	const struct k3_toml *root = k3_toml_root(doc), *hosts = k3_toml_get(root, "host");

	if (hosts && k3_toml_kind(hosts) != K3_TOML_TABLE)
		return reader_fail(r, k3_toml_line(hosts), "\"host\" must be a table");
	for (size_t i = 0; i < k3_toml_len(hosts); i++)
		if (add_host(r, dir, k3_toml_key(hosts, i), k3_toml_at(hosts, i), h))
			return -1;
	return add_server(r, dir, root, h);
}
