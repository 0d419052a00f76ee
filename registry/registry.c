/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/registry.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "registry/hosts_toml.h"
#include "registry/tables.h"

#define CONTAINERD_CERTS_D "/etc/containerd/certs.d"
#define DOCKER_CERTS_D "/etc/docker/certs.d"
#define K3S_REGISTRIES "/etc/rancher/k3s/registries.yaml"
#define RKE2_REGISTRIES "/etc/rancher/rke2/registries.yaml"

struct known_host {
	struct known_host *next;
	struct registry_host host;
};

struct registry {
	char *hosts_dir, *registries, *agent, *sysroot;
	char **config_files;
	size_t nconfig_files;
	bool nowhere, mirrors_only, loaded;
	struct tables yaml, *cri; /* cri: one for each config file; the last one wins */
	struct known_host *hosts;
	struct registry_list warnings;
};

static char *dup_or_null(const char *s)
{
	return s ? k3_xstrdup(s) : NULL;
}

struct registry *registry_new(const struct registry_opts *o)
{
	struct registry *r = k3_xcalloc(1, sizeof(*r));

	r->nowhere = o->nowhere;
	r->mirrors_only = o->mirrors_only;
	r->hosts_dir = dup_or_null(o->hosts_dir);
	r->registries = dup_or_null(o->registries);
	r->agent = dup_or_null(o->k3s_agent);
	r->sysroot = k3_xstrdup(o->sysroot ? o->sysroot : "");
	r->config_files = k3_xcalloc(o->nconfig_files, sizeof(*r->config_files));
	for (size_t i = 0; i < o->nconfig_files; i++)
		r->config_files[r->nconfig_files++] = k3_xstrdup(o->config_files[i]);
	r->cri = k3_xcalloc(o->nconfig_files, sizeof(*r->cri));
	return r;
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	for (struct known_host *h = r->hosts, *next; h; h = next) {
		next = h->next;
		endpoints_release(&h->host);
		free(h);
	}
	tables_release(&r->yaml);
	for (size_t i = 0; i < r->nconfig_files; i++) {
		tables_release(&r->cri[i]);
		free(r->config_files[i]);
	}
	free(r->cri);
	free(r->config_files);
	list_release(&r->warnings);
	free(r->hosts_dir);
	free(r->registries);
	free(r->agent);
	free(r->sysroot);
	free(r);
}

/* ---- the files ---- */

typedef int parse_fn(const void *text, size_t n, const struct reader *r, struct tables *t);

static void wipe(struct k3_buf *b)
{
	if (b->p)
		explicit_bzero(b->p, b->len);
	k3_buf_release(b);
}

/* *found = false and success when the file is missing. */
static int load(struct registry *r, const char *file, parse_fn *parse, struct tables *t,
		bool *found, struct k3_err *e)
{
	__attribute__((cleanup(wipe))) struct k3_buf text = K3_BUF(REGISTRY_FILE_MAX);
	const struct reader rd = { .file = file, .warnings = &r->warnings, .e = e };

	*found = !k3_read_file(AT_FDCWD, file, &text, e);
	if (!*found)
		return e->code == K3_NOTFOUND ? 0 : -1;
	free(t->file);
	t->file = k3_xstrdup(file);
	return parse(text.p ? (const void *)text.p : "", text.len, &rd, t);
}

/* RKE2 is a k3s with other places; which of them it is, only the path of its root tells. */
static int load_default_yaml(struct registry *r, struct k3_err *e)
{
	bool rke2 = strstr(r->agent, "/rke2/") != NULL, found;
	const char *const names[] = { rke2 ? RKE2_REGISTRIES : K3S_REGISTRIES,
				      rke2 ? K3S_REGISTRIES : RKE2_REGISTRIES };

	for (size_t i = 0; i < K3_ARRAY_LEN(names); i++) {
		K3_AUTO_FREE char *file = k3_xasprintf("%s%s", r->sysroot, names[i]);

		if (load(r, file, registries_yaml_parse, &r->yaml, &found, e))
			return -1;
		if (found)
			return 0;
	}
	return 0;
}

static int load_yaml(struct registry *r, struct k3_err *e)
{
	bool found;

	if (!r->registries)
		return r->agent && !r->hosts_dir ? load_default_yaml(r, e) : 0;
	if (load(r, r->registries, registries_yaml_parse, &r->yaml, &found, e))
		return -1;
	return found ? 0 : k3_fail(e, K3_NOTFOUND, "%s: no such file", r->registries);
}

static int load_all(struct registry *r, struct k3_err *e)
{
	bool found;

	if (r->loaded || r->nowhere)
		return 0;
	tables_release(&r->yaml);
	if (load_yaml(r, e))
		return -1;
	r->yaml.mirrors_only = r->mirrors_only;
	for (size_t i = 0; i < r->nconfig_files; i++) {
		tables_release(&r->cri[i]);
		if (load(r, r->config_files[i], cri_toml_parse, &r->cri[i], &found, e))
			return -1;
	}
	r->loaded = true;
	return 0;
}

/* ---- who decides ---- */

struct search {
	struct registry *r;
	struct registry_host *h;
	struct k3_err *e;
	bool found;
};

/* One place after the other until one says something: -1 ends the search, too. */
static int in_dir(struct search *s, const char *dir, bool any)
{
	if (s->found)
		return 0;
	return certs_dir_find(dir, any, &s->r->warnings, s->h, &s->found, s->e);
}

static int in_etc(struct search *s, const char *dir, bool any)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s%s", s->r->sysroot, dir);

	return in_dir(s, path, any);
}

static int in_tables(struct search *s, const struct tables *t, bool any)
{
	if (s->found || !t->file)
		return 0;
	return tables_find(t, any, &s->r->warnings, s->h, &s->found, s->e);
}

static const struct registry_list *config_path(const struct registry *r)
{
	for (size_t i = r->nconfig_files; i > 0; i--)
		if (r->cri[i - 1].config_path.n)
			return &r->cri[i - 1].config_path;
	return NULL;
}

static int search_named(struct search *s, bool any)
{
	struct registry *r = s->r;

	if (r->hosts_dir && in_dir(s, r->hosts_dir, any))
		return -1;
	return r->registries ? in_tables(s, &r->yaml, any) : 0;
}

/* k3s makes its certs.d from registries.yaml when it starts: the source comes first. */
static int search_k3s(struct search *s, bool any)
{
	K3_AUTO_FREE char *dir = k3_xasprintf("%s/etc/containerd/certs.d", s->r->agent);

	return in_tables(s, &s->r->yaml, any) || in_dir(s, dir, any) ? -1 : 0;
}

static int search_tables(struct search *s, bool any)
{
	for (size_t i = s->r->nconfig_files; i > 0; i--)
		if (in_tables(s, &s->r->cri[i - 1], any))
			return -1;
	return 0;
}

static int search_containerd(struct search *s)
{
	const struct registry_list *dirs = config_path(s->r);

	/* as containerd: a directory's _default comes before the next directory */
	for (size_t i = 0; dirs && i < dirs->n; i++)
		if (in_dir(s, dirs->items[i], false) || in_dir(s, dirs->items[i], true))
			return -1;
	if (dirs)
		return 0;
	return search_tables(s, false) || search_tables(s, true) ||
			       in_etc(s, CONTAINERD_CERTS_D, false) ||
			       in_etc(s, CONTAINERD_CERTS_D, true)
		       ? -1
		       : 0;
}

static int add_headers(struct registry *r, struct registry_host *h, struct k3_err *e)
{
	for (size_t f = 0; f < r->nconfig_files; f++)
		for (size_t k = 0; k < r->cri[f].headers.n; k++)
			for (size_t i = 0; i < h->n; i++)
				if (list_add(&h->endpoints[i].headers,
					     k3_xstrdup(r->cri[f].headers.items[k]), e))
					return -1;
	return 0;
}

static int decide(struct registry *r, struct registry_host *h, struct k3_err *e)
{
	struct search s = { .r = r, .h = h, .e = e };

	if (r->nowhere) {
		/* so be it */
	} else if (r->hosts_dir || r->registries) {
		if (search_named(&s, false) || search_named(&s, true))
			return -1;
	} else {
		if (r->agent && (search_k3s(&s, false) || search_k3s(&s, true)))
			return -1;
		if (search_containerd(&s) || in_etc(&s, DOCKER_CERTS_D, false))
			return -1;
	}
	if (!s.found)
		endpoint_add_own(h);
	return add_headers(r, h, e);
}

int registry_find(struct registry *r, const char *host, const struct registry_host **out,
		  struct k3_err *e)
{
	for (struct known_host *k = r->hosts; k; k = k->next)
		if (!strcmp(k->host.name, host)) {
			*out = &k->host;
			return 0;
		}
	if (load_all(r, e))
		return -1;
	struct known_host *k = k3_xcalloc(1, sizeof(*k));

	k->host.name = k3_xstrdup(host);
	if (decide(r, &k->host, e)) {
		endpoints_release(&k->host);
		free(k);
		return -1;
	}
	k->next = r->hosts;
	r->hosts = k;
	*out = &k->host;
	return 0;
}

const char *registry_warning(const struct registry *r, size_t i)
{
	return i < r->warnings.n ? r->warnings.items[i] : NULL;
}

bool registry_auth(const struct registry *r, const char *host, struct registry_auth *out)
{
	const struct table_config *c = tables_auth(&r->yaml, host);

	for (size_t i = r->nconfig_files; !c && i > 0; i--)
		c = tables_auth(&r->cri[i - 1], host);
	if (!c)
		return false;
	*out = (struct registry_auth){ .user = c->user,
				       .password = c->password,
				       .auth = c->auth,
				       .identity_token = c->identity_token,
				       .from = &c->auth_from };
	return true;
}
