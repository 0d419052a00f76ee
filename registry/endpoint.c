/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/endpoint.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "registry/regex.h"

#define HUB "docker.io"
#define HUB_ADDRESS "registry-1.docker.io"
#define URL_MAX 2048u  /* bytes */
#define HOST_MAX 255u  /* bytes of a name in the DNS, and its port */
#define REPO_MAX 1024u /* bytes of a rewritten repository */

/* ---- messages ---- */

#undef reader_fail
int reader_fail(const struct reader *r, unsigned line, const char *fmt, ...)
{
	char text[K3_ERR_MSG_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	k3_fail(r->e, K3_FORMAT, "%s: line %u: %s", r->file, line, text);
	return k3_hint(r->e, "\"k3simg config show\" tells which files are read");
}

void reader_warn(const struct reader *r, unsigned line, const char *fmt, ...)
{
	char text[K3_ERR_MSG_MAX];
	va_list args;
	struct k3_err ignored;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	char *full = k3_xasprintf("%s: line %u: %s", r->file, line, text);

	for (size_t i = 0; i < r->warnings->n; i++)
		if (!strcmp(r->warnings->items[i], full)) {
			free(full);
			return;
		}
	/* a full list has said enough */
	(void)(list_add(r->warnings, full, &ignored) != 0);
}

void reader_check_key(const struct reader *r, unsigned line, const char *table, const char *key,
		      const char *const *known)
{
	for (; *known; known++)
		if (!strcmp(*known, key))
			return;
	reader_warn(r, line, "unknown key \"%.100s\"%s%s is ignored", key, *table ? " in " : "",
		    table);
}

/* ---- lists ---- */

int list_add(struct registry_list *l, char *value, struct k3_err *e)
{
	if (l->n >= REGISTRY_LIST_MAX) {
		free(value);
		return k3_fail(e, K3_LIMIT, "more than %u entries", REGISTRY_LIST_MAX);
	}
	l->items = k3_xgrow(l->items, l->n, &l->cap, sizeof(*l->items));
	l->items[l->n++] = value;
	return 0;
}

void list_release(struct registry_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		/* headers may be secrets */
		explicit_bzero(l->items[i], strlen(l->items[i]));
		free(l->items[i]);
	}
	free(l->items);
	*l = (struct registry_list){ 0 };
}

char *path_below(const char *dir, const char *path)
{
	return *path == '/' ? k3_xstrdup(path) : k3_xasprintf("%s/%s", dir, path);
}

void from_set(struct registry_from *f, const char *file, unsigned line, const char *entry)
{
	from_release(f);
	f->file = k3_xstrdup(file);
	f->line = line;
	f->entry = entry ? k3_xstrdup(entry) : NULL;
}

void from_release(struct registry_from *f)
{
	free(f->file);
	free(f->entry);
	*f = (struct registry_from){ 0 };
}

/* ---- hosts ---- */

static bool is_hub(const char *name, size_t n)
{
	static const char *const names[] = { HUB, HUB_ADDRESS, "index.docker.io",
					     "registry.docker.io" };

	for (size_t i = 0; i < K3_ARRAY_LEN(names); i++)
		if (strlen(names[i]) == n && !strncasecmp(name, names[i], n))
			return true;
	return false;
}

bool host_is(const char *key, const char *host)
{
	const char *scheme = strstr(key, "://");

	if (scheme)
		key = scheme + 3;
	size_t n = strcspn(key, "/");

	if (is_hub(key, n))
		return !strcmp(host, HUB);
	return strlen(host) == n && !strncasecmp(key, host, n);
}

bool host_is_local(const char *host)
{
	size_t n = strcspn(host, ":");

	if (!strncmp(host, "[::1]", 5))
		return true;
	if (n == 9 && !strncasecmp(host, "localhost", 9))
		return true;
	return !strncmp(host, "127.", 4) && strspn(host, "0123456789.") == n;
}

/* ---- addresses ---- */

struct address {
	bool tls;
	char host[HOST_MAX + 8]; /* with its port */
	char path[URL_MAX];      /* "" or "/…" without a slash at its end */
};

static int bad_url(const char *text, const char *why, struct k3_err *e)
{
	return k3_fail(e, K3_FORMAT, "\"%.200s\" is no address of a registry: %s", text, why);
}

/* Drops empty segments and dots, as path.Clean does. */
static int clean_path(const char *p, char out[URL_MAX])
{
	size_t len = 0;

	while (*p) {
		size_t n;

		p += strspn(p, "/");
		n = strcspn(p, "/");
		if (n == 2 && p[0] == '.' && p[1] == '.') {
			while (len && out[--len] != '/')
				;
		} else if (n && !(n == 1 && *p == '.')) {
			if (len + n + 1 >= URL_MAX)
				return -1;
			out[len++] = '/';
			memcpy(out + len, p, n);
			len += n;
		}
		p += n;
	}
	out[len] = '\0';
	return 0;
}

static int take_host(const char *text, const char *host, size_t n, struct address *out,
		     struct k3_err *e)
{
	const char *colon = memchr(host, ':', n);

	if (!n || n > HOST_MAX)
		return bad_url(text, "no host, or a very long one", e);
	if (memchr(host, '@', n))
		return bad_url(text, "it has a user in it; credentials belong elsewhere", e);
	for (size_t i = 0; i < n; i++)
		out->host[i] = (char)tolower((unsigned char)host[i]);
	out->host[n] = '\0';
	if (out->host[strspn(out->host, "abcdefghijklmnopqrstuvwxyz0123456789.-_:[]")] ||
	    (colon == host && n > 0))
		return bad_url(text, "not a name or address of a host", e);
	/* Docker Hub's names are not all addresses. */
	if (is_hub(out->host, n))
		snprintf(out->host, sizeof(out->host), HUB_ADDRESS);
	return 0;
}

static int parse_url(const struct endpoint_url *url, struct address *out, struct k3_err *e)
{
	const char *text = url->text, *rest = text, *scheme = strstr(text, "://");

	if (strlen(text) >= URL_MAX)
		return bad_url(text, "too long", e);
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f || strchr("?#\"<>\\", *c))
			return bad_url(text, "it has blanks, a query or other odd characters", e);
	out->tls = true;
	if (scheme) {
		size_t n = (size_t)(scheme - text);

		rest = scheme + 3;
		out->tls = n == 5 && !strncasecmp(text, "https", n);
		if (!out->tls && !(n == 4 && !strncasecmp(text, "http", n)))
			return bad_url(text, "neither http nor https", e);
	}
	size_t n = strcspn(rest, "/");

	if (take_host(text, rest, n, out, e))
		return -1;
	if (!scheme && url->local_http && host_is_local(out->host)) {
		const char *port = strrchr(out->host, ':');

		out->tls = !port || strchr(port, ']') || !strcmp(port, ":443");
	}
	return clean_path(rest + n, out->path) ? bad_url(text, "its path is too long", e) : 0;
}

static const char *suffix(const struct endpoint_url *url, const struct address *a)
{
	size_t n = strlen(a->path);

	if (url->path == ENDPOINT_AS_IS)
		return "";
	if (url->path == ENDPOINT_DEFAULT)
		return n ? "" : "/v2";
	return n >= 3 && !strcmp(a->path + n - 3, "/v2") ? "" : "/v2";
}

static struct registry_endpoint *grow(struct registry_host *h)
{
	h->endpoints = k3_xgrow(h->endpoints, h->n, &h->cap, sizeof(*h->endpoints));
	struct registry_endpoint *ep = &h->endpoints[h->n++];

	*ep = (struct registry_endpoint){ .caps = REGISTRY_PULL | REGISTRY_RESOLVE |
						  REGISTRY_PUSH };
	return ep;
}

int endpoint_add(struct registry_host *h, const struct endpoint_url *url,
		 struct registry_endpoint **out, struct k3_err *e)
{
	struct address a;

	if (parse_url(url, &a, e))
		return -1;
	/* one is kept for the registry itself */
	if (h->n + 1 >= REGISTRY_ENDPOINTS_MAX)
		return k3_fail(e, K3_LIMIT, "more than %u endpoints of %s", REGISTRY_ENDPOINTS_MAX,
			       h->name);
	struct registry_endpoint *ep = grow(h);

	ep->url = k3_xasprintf("%s://%s%s%s", a.tls ? "https" : "http", a.host, a.path,
			       suffix(url, &a));
	ep->host = k3_xstrdup(strcmp(a.host, HUB_ADDRESS) != 0 ? a.host : HUB);
	ep->mirror = strcmp(ep->host, h->name) != 0;
	*out = ep;
	return 0;
}

struct registry_endpoint *endpoint_add_own(struct registry_host *h)
{
	struct registry_endpoint *ep = grow(h);

	ep->url = k3_xasprintf("https://%s/v2", strcmp(h->name, HUB) != 0 ? h->name : HUB_ADDRESS);
	ep->host = k3_xstrdup(h->name);
	ep->open_scheme = true;
	return ep;
}

bool endpoint_seen(const struct registry_host *h, const struct registry_endpoint *ep)
{
	for (size_t i = 0; i < h->n; i++)
		if (&h->endpoints[i] != ep && !strcmp(h->endpoints[i].url, ep->url))
			return true;
	return false;
}

/* ---- what an endpoint has ---- */

int endpoint_add_rewrite(struct registry_endpoint *ep, const char *pattern, const char *with,
			 struct k3_err *e)
{
	struct regex *regex;

	if (ep->nrewrites >= REGISTRY_LIST_MAX)
		return k3_fail(e, K3_LIMIT, "more than %u rewrites", REGISTRY_LIST_MAX);
	if (regex_new(pattern, &regex, e))
		return -1;
	ep->rewrites = k3_xgrow(ep->rewrites, ep->nrewrites, &ep->rewrites_cap,
				sizeof(*ep->rewrites));
	ep->rewrites[ep->nrewrites++] = (struct registry_rewrite){
		.pattern = k3_xstrdup(pattern),
		.with = k3_xstrdup(with),
		.regex = regex,
	};
	return 0;
}

int endpoint_add_header(struct registry_endpoint *ep, const char *name, const char *value,
			struct k3_err *e)
{
	static const char token[] = "!#$%&'*+-.^_`|~0123456789"
				    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	if (!*name || name[strspn(name, token)])
		return k3_fail(e, K3_FORMAT, "\"%.100s\" is no name of a header", name);
	for (const char *c = value; *c; c++)
		if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f)
			return k3_fail(e, K3_FORMAT, "header %s: control characters in its value",
				       name);
	return list_add(&ep->headers, k3_xasprintf("%s: %s", name, value), e);
}

static bool is_repo(const char *s)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789._-/";
	size_t n = strlen(s);

	return n && n <= REPO_MAX && !s[strspn(s, allowed)] && s[0] != '/' && s[n - 1] != '/' &&
	       !strstr(s, "//") && !strstr(s, "..");
}

int registry_rewrite(const struct registry_endpoint *ep, const char *repo, char **out,
		     struct k3_err *e)
{
	for (size_t i = 0; i < ep->nrewrites; i++) {
		const struct registry_rewrite *w = &ep->rewrites[i];
		K3_AUTO_FREE char *other = regex_replace_all(w->regex, repo, w->with, REPO_MAX);

		if (other && !strcmp(other, repo))
			continue;
		/* k3s joins paths, which takes slashes too many away */
		if (other) {
			char clean[URL_MAX];

			if (!clean_path(other, clean) && is_repo(clean + (*clean == '/'))) {
				*out = k3_xstrdup(clean + (*clean == '/'));
				return 0;
			}
		}
		return k3_fail(e, K3_FORMAT,
			       "%s: rewrite \"%s\" makes no repository name of \"%s\"",
			       ep->from.file ? ep->from.file : ep->url, w->pattern, repo);
	}
	*out = k3_xstrdup(repo);
	return 0;
}

static void endpoint_release(struct registry_endpoint *ep)
{
	free(ep->url);
	free(ep->host);
	list_release(&ep->ca);
	list_release(&ep->headers);
	free(ep->cert);
	free(ep->key);
	for (size_t i = 0; i < ep->nrewrites; i++) {
		free(ep->rewrites[i].pattern);
		free(ep->rewrites[i].with);
		regex_free(ep->rewrites[i].regex);
	}
	free(ep->rewrites);
	from_release(&ep->from);
	from_release(&ep->tls_from);
}

void endpoint_drop_last(struct registry_host *h)
{
	endpoint_release(&h->endpoints[--h->n]);
}

void endpoints_release(struct registry_host *h)
{
	while (h->n)
		endpoint_drop_last(h);
	free(h->endpoints);
	free(h->name);
	*h = (struct registry_host){ 0 };
}
