/* SPDX-License-Identifier: Apache-2.0 */
/* The registry tables of the CRI plugin in containerd's config.toml. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/toml.h"
#include "registry/tables.h"

#define PLUGIN_V1 "cri"
#define PLUGIN_V2 "io.containerd.grpc.v1.cri"
#define PLUGIN_V3 "io.containerd.cri.v1.images"

struct place {
	const struct reader *r;
	struct tables *t;
	const char *table; /* for messages */
};

static int fail_kind(const struct place *p, const struct k3_toml *v, const char *key,
		     const char *want)
{
	return reader_fail(p->r, k3_toml_line(v), "%s: \"%.100s\" must be %s", p->table, key, want);
}

static void check_keys(const struct place *p, const struct k3_toml *v, const char *const *known)
{
	for (size_t i = 0; i < k3_toml_len(v); i++)
		reader_check_key(p->r, k3_toml_line(k3_toml_at(v, i)), p->table, k3_toml_key(v, i),
				 known);
}

static int text(const struct place *p, const struct k3_toml *in, const char *key, char **out)
{
	const struct k3_toml *v = k3_toml_get(in, key);

	if (!v)
		return 0;
	if (!k3_toml_str(v))
		return fail_kind(p, v, key, "a string");
	free(*out);
	*out = *k3_toml_str(v) ? k3_xstrdup(k3_toml_str(v)) : NULL;
	return 0;
}

/* A table with a name of its own for each entry; NULL and success when it is absent. */
static int sub_table(const struct place *p, const struct k3_toml *in, const char *key,
		     const struct k3_toml **out)
{
	*out = k3_toml_get(in, key);
	return *out && k3_toml_kind(*out) != K3_TOML_TABLE ? fail_kind(p, *out, key, "a table") : 0;
}

/* ---- mirrors ---- */

static int add_mirror(const struct place *p, const char *key, const struct k3_toml *v)
{
	static const char *const known[] = { "endpoint", "rewrite", NULL };
	const struct k3_toml *urls = k3_toml_get(v, "endpoint"), *rewrites;
	K3_AUTO_FREE char *name = k3_xasprintf("mirrors.\"%s\"", key);
	const struct place in = { p->r, p->t, name };
	struct table_mirror *m;

	if (k3_toml_kind(v) != K3_TOML_TABLE)
		return fail_kind(p, v, key, "a table");
	if (tables_mirror(p->t, key, &m, p->r->e) || sub_table(&in, v, "rewrite", &rewrites))
		return -1;
	check_keys(&in, v, known);
	m->line = k3_toml_line(v);
	if (urls && k3_toml_kind(urls) != K3_TOML_ARRAY)
		return fail_kind(&in, urls, "endpoint", "an array of URLs");
	/* a file that is imported later replaces */
	list_release(&m->endpoints);
	for (size_t i = 0; i < k3_toml_len(urls); i++) {
		const char *url = k3_toml_str(k3_toml_at(urls, i));

		if (!url)
			return fail_kind(&in, urls, "endpoint", "an array of URLs");
		if (list_add(&m->endpoints, k3_xstrdup(url), p->r->e))
			return k3_wrap(p->r->e, "%s: line %u", p->r->file, k3_toml_line(urls));
	}
	for (size_t i = 0; i < k3_toml_len(rewrites); i++) {
		const struct k3_toml *with = k3_toml_at(rewrites, i);

		if (!k3_toml_str(with))
			return fail_kind(&in, with, k3_toml_key(rewrites, i), "a string");
		if (mirror_add_rewrite(m, k3_toml_key(rewrites, i), k3_toml_str(with), p->r->e))
			return k3_wrap(p->r->e, "%s: line %u", p->r->file, k3_toml_line(with));
	}
	return 0;
}

/* ---- configs ---- */

static int add_tls(const struct place *p, const struct k3_toml *v, struct table_config *c)
{
	static const char *const known[] = { "ca_file", "cert_file", "key_file",
					     "insecure_skip_verify", NULL };
	const struct k3_toml *skip = k3_toml_get(v, "insecure_skip_verify");

	if (!v)
		return 0;
	check_keys(p, v, known);
	c->has_tls = true;
	c->tls_line = k3_toml_line(v);
	if (skip && !k3_toml_bool(skip, &c->skip_verify))
		return fail_kind(p, skip, "insecure_skip_verify", "true or false");
	return text(p, v, "ca_file", &c->ca) || text(p, v, "cert_file", &c->cert) ||
			       text(p, v, "key_file", &c->key)
		       ? -1
		       : 0;
}

static int add_auth(const struct place *p, const struct k3_toml *v, struct table_config *c)
{
	static const char *const known[] = { "username", "password", "auth", "identitytoken",
					     NULL };

	if (!v)
		return 0;
	check_keys(p, v, known);
	from_set(&c->auth_from, p->r->file, k3_toml_line(v), p->table);
	return text(p, v, "username", &c->user) || text(p, v, "password", &c->password) ||
			       text(p, v, "auth", &c->auth) ||
			       text(p, v, "identitytoken", &c->identity_token)
		       ? -1
		       : 0;
}

static int add_config(const struct place *p, const char *key, const struct k3_toml *v)
{
	static const char *const known[] = { "auth", "tls", NULL };
	K3_AUTO_FREE char *name = k3_xasprintf("configs.\"%s\"", key);
	K3_AUTO_FREE char *auth_name = k3_xasprintf("%s.auth", name);
	K3_AUTO_FREE char *tls_name = k3_xasprintf("%s.tls", name);
	const struct place in = { p->r, p->t, name }, in_auth = { p->r, p->t, auth_name };
	const struct place in_tls = { p->r, p->t, tls_name };
	const struct k3_toml *auth, *tls;
	struct table_config *c;

	if (k3_toml_kind(v) != K3_TOML_TABLE)
		return fail_kind(p, v, key, "a table");
	if (tables_config(p->t, key, &c, p->r->e) || sub_table(&in, v, "auth", &auth) ||
	    sub_table(&in, v, "tls", &tls))
		return -1;
	check_keys(&in, v, known);
	return add_tls(&in_tls, tls, c) || add_auth(&in_auth, auth, c) ? -1 : 0;
}

/* The old form: credentials by URL. */
static int add_old_auth(const struct place *p, const char *key, const struct k3_toml *v)
{
	K3_AUTO_FREE char *name = k3_xasprintf("auths.\"%s\"", key);
	const struct place in = { p->r, p->t, name };
	struct table_config *c;

	if (k3_toml_kind(v) != K3_TOML_TABLE)
		return fail_kind(p, v, key, "a table");
	return tables_config(p->t, key, &c, p->r->e) || add_auth(&in, v, c) ? -1 : 0;
}

/* ---- all of it ---- */

static int add_header(const struct place *p, const char *key, const struct k3_toml *v)
{
	struct registry_endpoint checked = { 0 };
	int rc = 0;

	if (k3_toml_kind(v) != K3_TOML_ARRAY)
		return fail_kind(p, v, key, "an array of strings");
	for (size_t i = 0; !rc && i < k3_toml_len(v); i++) {
		const char *value = k3_toml_str(k3_toml_at(v, i));

		rc = value ? endpoint_add_header(&checked, key, value, p->r->e)
			   : fail_kind(p, v, key, "an array of strings");
		if (!rc)
			rc = list_add(&p->t->headers, k3_xasprintf("%s: %s", key, value), p->r->e);
	}
	list_release(&checked.headers);
	return rc;
}

static int each(const struct place *p, const struct k3_toml *in, const char *key,
		int (*fn)(const struct place *p, const char *key, const struct k3_toml *v))
{
	const struct k3_toml *all;

	if (sub_table(p, in, key, &all))
		return -1;
	for (size_t i = 0; i < k3_toml_len(all); i++)
		if (fn(p, k3_toml_key(all, i), k3_toml_at(all, i)))
			return -1;
	return 0;
}

/* Directories, separated as in $PATH. */
static int take_config_path(const struct place *p, const struct k3_toml *registry)
{
	const struct k3_toml *v = k3_toml_get(registry, "config_path");
	const char *s = k3_toml_str(v);

	if (!v)
		return 0;
	if (!s)
		return fail_kind(p, v, "config_path", "a string");
	list_release(&p->t->config_path);
	p->t->config_path_line = k3_toml_line(v);
	for (size_t n; *s; s += n + (s[n] == ':')) {
		n = strcspn(s, ":");
		if (n && list_add(&p->t->config_path, k3_xstrndup(s, n), p->r->e))
			return -1;
	}
	return 0;
}

int cri_toml_parse(const void *bytes, size_t n, const struct reader *r, struct tables *t)
{
	static const char *const known[] = { "config_path", "mirrors", "configs",
					     "auths",       "headers", NULL };
	K3_AUTO_TOML struct k3_toml_doc *doc = NULL;
	const struct place p = { r, t, "registry" };
	int64_t version = 1;

	if (k3_toml_parse(bytes, n, &doc, r->e))
		return k3_wrap(r->e, "%s", r->file);
	const struct k3_toml *root = k3_toml_root(doc), *registry;

	(void)k3_toml_int(k3_toml_get(root, "version"), &version);
	const char *const path[] = { "plugins", version >= 3   ? PLUGIN_V3
						: version == 2 ? PLUGIN_V2
							       : PLUGIN_V1 };

	if (sub_table(&p, k3_toml_path(root, path, K3_ARRAY_LEN(path)), "registry", &registry))
		return -1;
	check_keys(&p, registry, known);
	if (take_config_path(&p, registry) || each(&p, registry, "mirrors", add_mirror) ||
	    each(&p, registry, "configs", add_config) ||
	    each(&p, registry, "auths", add_old_auth) || each(&p, registry, "headers", add_header))
		return -1;
	if (t->config_path.n && t->nmirrors)
		reader_warn(r, t->config_path_line,
			    "config_path is set: containerd does not start with mirrors beside it, "
			    "and they are not used");
	return 0;
}
