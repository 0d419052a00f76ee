/* SPDX-License-Identifier: Apache-2.0 */
/* k3s's and RKE2's registries.yaml. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/yaml.h"
#include "registry/tables.h"

struct place {
	const struct reader *r;
	struct tables *t;
	const char *table; /* for messages */
};

typedef int entry_fn(const struct place *p, const char *key, const struct k3_yaml *v);

static int fail_kind(const struct place *p, const struct k3_yaml *v, const char *key,
		     const char *want)
{
	return reader_fail(p->r, k3_yaml_line(v), "%s%s\"%.100s\" must be %s", p->table,
			   *p->table ? ": " : "", key, want);
}

static bool is_null(const struct k3_yaml *v)
{
	return k3_yaml_kind(v) == K3_YAML_SCALAR && !k3_yaml_str(v);
}

/* Calls fn for each entry of a mapping; nothing there is as good as an empty one. */
static int each(const struct place *p, const char *key, const struct k3_yaml *v, entry_fn *fn)
{
	if (!v || is_null(v))
		return 0;
	if (k3_yaml_kind(v) != K3_YAML_MAPPING)
		return fail_kind(p, v, key, "a mapping");
	for (size_t i = 0; i < k3_yaml_len(v); i++)
		if (fn(p, k3_yaml_key(v, i), k3_yaml_at(v, i)))
			return -1;
	return 0;
}

static void check_keys(const struct place *p, const struct k3_yaml *v, const char *const *known)
{
	for (size_t i = 0; k3_yaml_kind(v) == K3_YAML_MAPPING && i < k3_yaml_len(v); i++)
		reader_check_key(p->r, k3_yaml_line(k3_yaml_at(v, i)), p->table, k3_yaml_key(v, i),
				 known);
}

/* A scalar, or NULL when it is absent or null. */
static int text(const struct place *p, const struct k3_yaml *in, const char *key, char **out)
{
	const struct k3_yaml *v = k3_yaml_get(in, key);

	if (!v || is_null(v))
		return 0;
	if (k3_yaml_kind(v) != K3_YAML_SCALAR)
		return fail_kind(p, v, key, "a string");
	free(*out);
	*out = *k3_yaml_str(v) ? k3_xstrdup(k3_yaml_str(v)) : NULL;
	return 0;
}

/* ---- mirrors ---- */

static int add_rewrites(const struct place *p, const struct k3_yaml *v, struct table_mirror *m)
{
	const struct k3_yaml *all = k3_yaml_get(v, "rewrite");

	if (!all || is_null(all))
		return 0;
	if (k3_yaml_kind(all) != K3_YAML_MAPPING)
		return fail_kind(p, all, "rewrite", "a mapping");
	for (size_t i = 0; i < k3_yaml_len(all); i++) {
		const struct k3_yaml *with = k3_yaml_at(all, i);

		if (k3_yaml_kind(with) != K3_YAML_SCALAR)
			return fail_kind(p, with, k3_yaml_key(all, i), "a string");
		if (mirror_add_rewrite(m, k3_yaml_key(all, i),
				       k3_yaml_str(with) ? k3_yaml_str(with) : "", p->r->e))
			return k3_wrap(p->r->e, "%s: line %u", p->r->file, k3_yaml_line(with));
	}
	return 0;
}

static int add_endpoints(const struct place *p, const struct k3_yaml *v, struct table_mirror *m)
{
	const struct k3_yaml *all = k3_yaml_get(v, "endpoint");

	if (!all || is_null(all))
		return 0;
	if (k3_yaml_kind(all) != K3_YAML_SEQUENCE)
		return fail_kind(p, all, "endpoint", "a list of URLs");
	for (size_t i = 0; i < k3_yaml_len(all); i++) {
		const char *url = k3_yaml_str(k3_yaml_at(all, i));

		if (!url)
			return fail_kind(p, k3_yaml_at(all, i), "endpoint", "a list of URLs");
		if (list_add(&m->endpoints, k3_xstrdup(url), p->r->e))
			return k3_wrap(p->r->e, "%s: line %u", p->r->file, k3_yaml_line(all));
	}
	return 0;
}

static int add_mirror(const struct place *p, const char *key, const struct k3_yaml *v)
{
	static const char *const known[] = { "endpoint", "rewrite", NULL };
	K3_AUTO_FREE char *name = k3_xasprintf("mirrors.\"%s\"", key);
	const struct place in = { p->r, p->t, name };
	struct table_mirror *m;

	if (tables_mirror(p->t, key, &m, p->r->e))
		return -1;
	m->line = k3_yaml_line(v);
	if (is_null(v))
		return 0;
	if (k3_yaml_kind(v) != K3_YAML_MAPPING)
		return fail_kind(p, v, key, "a mapping");
	check_keys(&in, v, known);
	return add_endpoints(&in, v, m) || add_rewrites(&in, v, m) ? -1 : 0;
}

/* ---- configs ---- */

static int add_tls(const struct place *p, const struct k3_yaml *v, struct table_config *c)
{
	static const char *const known[] = { "ca_file", "cert_file", "key_file",
					     "insecure_skip_verify", NULL };
	const struct k3_yaml *skip = k3_yaml_get(v, "insecure_skip_verify");

	if (!v || is_null(v))
		return 0;
	if (k3_yaml_kind(v) != K3_YAML_MAPPING)
		return fail_kind(p, v, "tls", "a mapping");
	check_keys(p, v, known);
	c->has_tls = true;
	c->tls_line = k3_yaml_line(v);
	if (skip && !is_null(skip) && !k3_yaml_bool(skip, &c->skip_verify))
		return fail_kind(p, skip, "insecure_skip_verify", "true or false");
	return text(p, v, "ca_file", &c->ca) || text(p, v, "cert_file", &c->cert) ||
			       text(p, v, "key_file", &c->key)
		       ? -1
		       : 0;
}

static int add_auth(const struct place *p, const struct k3_yaml *v, struct table_config *c)
{
	static const char *const known[] = { "username",       "password",      "auth",
					     "identity_token", "identitytoken", NULL };

	if (!v || is_null(v))
		return 0;
	if (k3_yaml_kind(v) != K3_YAML_MAPPING)
		return fail_kind(p, v, "auth", "a mapping");
	check_keys(p, v, known);
	from_set(&c->auth_from, p->r->file, k3_yaml_line(v), p->table);
	return text(p, v, "username", &c->user) || text(p, v, "password", &c->password) ||
			       text(p, v, "auth", &c->auth) ||
			       text(p, v, "identitytoken", &c->identity_token) ||
			       text(p, v, "identity_token", &c->identity_token)
		       ? -1
		       : 0;
}

static int add_config(const struct place *p, const char *key, const struct k3_yaml *v)
{
	static const char *const known[] = { "auth", "tls", NULL };
	K3_AUTO_FREE char *name = k3_xasprintf("configs.\"%s\"", key);
	K3_AUTO_FREE char *auth = k3_xasprintf("%s.auth", name);
	K3_AUTO_FREE char *tls = k3_xasprintf("%s.tls", name);
	const struct place in = { p->r, p->t, name }, in_auth = { p->r, p->t, auth };
	const struct place in_tls = { p->r, p->t, tls };
	struct table_config *c;

	if (tables_config(p->t, key, &c, p->r->e))
		return -1;
	if (is_null(v))
		return 0;
	if (k3_yaml_kind(v) != K3_YAML_MAPPING)
		return fail_kind(p, v, key, "a mapping");
	check_keys(&in, v, known);
	return add_tls(&in_tls, k3_yaml_get(v, "tls"), c) ||
			       add_auth(&in_auth, k3_yaml_get(v, "auth"), c)
		       ? -1
		       : 0;
}

/* The old form: credentials by URL. */
static int add_old_auth(const struct place *p, const char *key, const struct k3_yaml *v)
{
	K3_AUTO_FREE char *name = k3_xasprintf("auths.\"%s\"", key);
	const struct place in = { p->r, p->t, name };
	struct table_config *c;

	return tables_config(p->t, key, &c, p->r->e) || add_auth(&in, v, c) ? -1 : 0;
}

int registries_yaml_parse(const void *bytes, size_t n, const struct reader *r, struct tables *t)
{
	static const char *const known[] = { "mirrors", "configs", "auths", NULL };
	K3_AUTO_YAML struct k3_yaml_doc *doc = NULL;
	const struct place p = { r, t, "" };

	if (k3_yaml_parse(bytes, n, &doc, r->e))
		return k3_wrap(r->e, "%s", r->file);
	if (!k3_yaml_docs(doc))
		return 0;
	const struct k3_yaml *root = k3_yaml_root(doc, 0);

	if (k3_yaml_docs(doc) > 1)
		reader_warn(r, k3_yaml_line(k3_yaml_root(doc, 1)),
			    "only the first document is read");
	if (is_null(root))
		return 0;
	if (k3_yaml_kind(root) != K3_YAML_MAPPING)
		return reader_fail(r, k3_yaml_line(root), "not a mapping of registries");
	check_keys(&p, root, known);
	return each(&p, "mirrors", k3_yaml_get(root, "mirrors"), add_mirror) ||
			       each(&p, "configs", k3_yaml_get(root, "configs"), add_config) ||
			       each(&p, "auths", k3_yaml_get(root, "auths"), add_old_auth)
		       ? -1
		       : 0;
}
