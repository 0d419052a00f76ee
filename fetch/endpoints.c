/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/endpoints.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define CA_MAX (8u << 20)

/* ---- what is told ---- */

void notice(const struct fetch *f, const char *fmt, ...)
{
	char text[K3_ERR_MSG_MAX + 256];
	va_list args;

	if (!f->o.on_notice)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	f->o.on_notice(f->o.on_notice_arg, text);
}

/* Whether the key is new; it is not any more. */
static bool remember(struct fetch *f, const char *key)
{
	K3_WITH_MONITOR(f->monitor);

	for (size_t i = 0; i < f->nkeys; i++)
		if (!strcmp(f->keys[i], key))
			return false;
	f->keys = k3_xgrow(f->keys, f->nkeys, &f->keys_cap, sizeof(*f->keys));
	f->keys[f->nkeys++] = k3_xstrdup(key);
	return true;
}

static bool knows(struct fetch *f, const char *key)
{
	K3_WITH_MONITOR(f->monitor);

	for (size_t i = 0; i < f->nkeys; i++)
		if (!strcmp(f->keys[i], key))
			return true;
	return false;
}

void notice_once(struct fetch *f, const char *key, const char *fmt, ...)
{
	char text[K3_ERR_MSG_MAX + 256];
	va_list args;

	if (!remember(f, key))
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	notice(f, "%s", text);
}

/* ---- the lists ---- */

static struct endpoints *make_list(struct fetch *f, const struct registry_host *h)
{
	struct endpoints *l = k3_xcalloc(1, sizeof(*l));

	l->host = k3_xstrdup(h->name);
	l->items = k3_xcalloc(h->n, sizeof(*l->items));
	l->n = h->n;
	for (size_t i = 0; i < h->n; i++) {
		struct endpoint *ep = &l->items[i];

		ep->conf = &h->endpoints[i];
		ep->id = f->nendpoints++;
		ep->ca = K3_BUF(CA_MAX);
		ep->fields = k3_xcalloc(ep->conf->headers.n + 1, sizeof(*ep->fields));
		for (size_t k = 0; k < ep->conf->headers.n; k++)
			ep->fields[k] = ep->conf->headers.items[k];
	}
	l->next = f->endpoints;
	f->endpoints = l;
	return l;
}

static int find(struct fetch *f, const char *host, const struct endpoints **out, struct k3_err *e)
{
	const struct registry_host *h;
	K3_WITH_MONITOR(f->monitor);

	for (struct endpoints *l = f->endpoints; l; l = l->next)
		if (!strcmp(l->host, host)) {
			*out = l;
			return 0;
		}
	if (registry_find(f->registry, host, &h, e))
		return -1;
	*out = make_list(f, h);
	return 0;
}

static void tell_warnings(struct fetch *f)
{
	for (;;) {
		const char *text;
		{
			K3_WITH_MONITOR(f->monitor);
			text = registry_warning(f->registry, f->nwarnings);
			f->nwarnings += text != NULL;
		}
		if (!text)
			return;
		notice(f, "%s", text);
	}
}

int endpoints_of(struct fetch *f, const char *host, const struct endpoints **out, struct k3_err *e)
{
	int rc = find(f, host, out, e);

	tell_warnings(f);
	return rc;
}

void endpoints_free(struct fetch *f)
{
	for (struct endpoints *l = f->endpoints, *next; l; l = next) {
		next = l->next;
		for (size_t i = 0; i < l->n; i++) {
			k3_buf_release(&l->items[i].ca);
			free(l->items[i].fields);
		}
		free(l->items);
		free(l->host);
		free(l);
	}
	for (size_t i = 0; i < f->nkeys; i++)
		free(f->keys[i]);
	free(f->keys);
	f->endpoints = NULL;
}

/* ---- TLS ---- */

static int fail_file(const struct endpoint *ep, struct k3_err *e)
{
	const struct registry_from *from = &ep->conf->tls_from;

	e->code = K3_USAGE;
	if (from->line)
		return k3_wrap(e, "%s: line %u", from->file, from->line);
	return k3_wrap(e, "%s", from->file ? from->file : ep->conf->url);
}

static int read_ca(struct endpoint *ep, const char *path, struct k3_err *e)
{
	size_t before = ep->ca.len;

	if (k3_read_file(AT_FDCWD, path, &ep->ca, e) || k3_buf_add(&ep->ca, "\n", 1, e))
		return fail_file(ep, e);
	if (memmem(ep->ca.p + before, ep->ca.len - before, "-----BEGIN ", 11))
		return 0;
	k3_fail(e, K3_USAGE, "%s: no PEM certificate in it", path);
	return fail_file(ep, e);
}

/* Its own authorities, and those that everybody is trusted with. */
static int read_all_ca(const struct fetch *f, struct endpoint *ep, struct k3_err *e)
{
	const char *system = http_system_ca();

	k3_buf_reset(&ep->ca);
	for (size_t i = 0; i < ep->conf->ca.n; i++)
		if (read_ca(ep, ep->conf->ca.items[i], e))
			return -1;
	if (!ep->conf->ca.n)
		return 0;
	if (f->ca.len)
		return k3_buf_add(&ep->ca, f->ca.p, f->ca.len, e);
	/* otherwise libcurl finds them in the directory */
	if (f->ca_dir || http_system_ca_dir() || !system || access(system, R_OK))
		return 0;
	return k3_read_file(AT_FDCWD, system, &ep->ca, e);
}

static int check_client(const struct endpoint *ep, struct k3_err *e)
{
	const char *const files[] = { ep->conf->cert, ep->conf->key };

	for (size_t i = 0; i < K3_ARRAY_LEN(files); i++)
		if (files[i] && access(files[i], R_OK)) {
			k3_fail_sys(e, errno, "client certificate %s", files[i]);
			return fail_file(ep, e);
		}
	return 0;
}

static int prepare(struct fetch *f, const struct endpoint *ep, bool *warn, struct k3_err *e)
{
	/* The list is const for its users; what changes is the monitor's. */
	struct endpoint *own = (struct endpoint *)(uintptr_t)ep;
	K3_WITH_MONITOR(f->monitor);

	if (!own->ready && (read_all_ca(f, own, e) || check_client(own, e)))
		return -1;
	own->ready = true;
	*warn = own->conf->skip_verify && !own->warned && !f->o.insecure &&
		!strncmp(own->conf->url, "https:", 6);
	own->warned |= *warn;
	return 0;
}

int endpoint_prepare(struct fetch *f, const struct endpoint *ep, struct k3_err *e)
{
	const struct registry_from *from = &ep->conf->tls_from;
	bool warn;

	if (prepare(f, ep, &warn, e))
		return -1;
	if (warn)
		notice(f,
		       "the TLS certificate of %s is not verified (%s, line %u): anybody may "
		       "answer in its name",
		       ep->conf->host, from->file ? from->file : "", from->line);
	if (f->o.insecure)
		notice_once(f, "insecure",
			    "TLS certificates are not verified (--tls-verify=false): anybody may "
			    "answer in the name of a registry");
	return 0;
}

/* Where the host of a URL begins, and how long it is without a port. */
static const char *host_of(const char *url, size_t *n)
{
	const char *host = strstr(url, "://");

	host = host ? host + 3 : url;
	*n = *host == '[' ? strcspn(host, "]") : strcspn(host, ":/");
	return host;
}

static bool same_host(const char *a, const char *b)
{
	size_t n, m;
	const char *x = host_of(a, &n), *y = host_of(b, &m);

	return n == m && !memcmp(x, y, n);
}

void endpoint_tls(const struct fetch *f, const struct endpoint *ep, const char *origin,
		  struct http_tls *out)
{
	*out = (struct http_tls){ .insecure = f->o.insecure };
	if (!ep)
		return;
	if (ep->ca.len)
		out->ca = &ep->ca;
	if (!same_host(ep->conf->url, origin))
		return;
	out->insecure |= ep->conf->skip_verify;
	out->cert = ep->conf->cert;
	out->key = ep->conf->key;
}

/* ---- what the run has learnt ---- */

static char *denied_key(const struct endpoint *ep, const char *repo)
{
	return k3_xasprintf("denied %u %s", ep->id, repo);
}

bool endpoint_usable(struct fetch *f, const struct endpoint *ep, const char *repo)
{
	K3_AUTO_FREE char *key = denied_key(ep, repo);

	if (knows(f, key))
		return false;
	K3_WITH_MONITOR(f->monitor);
	return !ep->bad && !ep->gone;
}

void endpoint_set_gone(struct fetch *f, const struct endpoint *ep)
{
	K3_WITH_MONITOR(f->monitor);
	((struct endpoint *)(uintptr_t)ep)->gone = true;
}

void endpoint_set_denied(struct fetch *f, const struct endpoint *ep, const char *repo)
{
	K3_AUTO_FREE char *key = denied_key(ep, repo);

	(void)remember(f, key);
}

/* The next mirror among these, and whether it is blamed for the first time. */
static const struct endpoint *blame_one(struct fetch *f, uint64_t *ids, bool *first)
{
	K3_WITH_MONITOR(f->monitor);

	for (struct endpoints *l = f->endpoints; l; l = l->next)
		for (size_t i = 0; i < l->n; i++) {
			struct endpoint *ep = &l->items[i];

			if (ep->id >= ENDPOINTS_TOLD_APART || !(*ids >> ep->id & 1) ||
			    !ep->conf->mirror)
				continue;
			*ids &= ~(1ull << ep->id);
			*first = !ep->bad;
			ep->bad = true;
			return ep;
		}
	return NULL;
}

bool endpoints_blame(struct fetch *f, uint64_t ids, const struct k3_err *why)
{
	const struct endpoint *ep;
	bool some = false, first;

	while ((ep = blame_one(f, &ids, &first)) != NULL) {
		some = true;
		if (first)
			notice(f,
			       "mirror %s sent wrong bytes and is not asked again in this run: %s",
			       ep->conf->url, why->msg);
	}
	return some;
}
