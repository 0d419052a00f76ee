/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/credentials.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "fetch/authfile.h"
#include "fetch/base64.h"
#include "fetch/helper.h"
#include "fetch/keychain.h"
#include "registry/registry.h"

/* ---- one credential ------------------------------------------------------------------- */

void credential_wipe(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	k3_freep(s);
}

void credential_release(struct credential *c)
{
	credential_wipe(&c->user);
	credential_wipe(&c->password);
	credential_wipe(&c->identity);
	k3_freep(&c->source);
	k3_freep(&c->note);
}

char *credential_basic(const struct credential *c)
{
	char *pair = k3_xasprintf("%s:%s", c->user, c->password);
	char *b64 = base64_encode(pair, strlen(pair));
	char *out = k3_xasprintf("Basic %s", b64);

	credential_wipe(&pair);
	credential_wipe(&b64);
	return out;
}

static bool has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

int credentials_check(const char *creds, struct k3_err *e)
{
	if (*creds && *creds != ':' && !has_control(creds))
		return 0;
	k3_fail(e, K3_USAGE, "credentials need a user name and no control characters");
	return k3_hint(e, "write them as USER:PASSWORD");
}

void credential_split(const char *pair, struct credential *out)
{
	size_t n = strcspn(pair, ":");

	out->user = k3_xstrndup(pair, n);
	out->password = k3_xstrdup(pair[n] ? pair + n + 1 : "");
}

/* ---- the files ------------------------------------------------------------------------ */

struct lookup {
	const struct fetch_opts *o;
	struct keychain *known;
	const char *host, *repo;
};

unsigned credentials_limit_ms(const struct fetch_opts *o)
{
	/* 0 = the default; fetch_new has filled both in */
	return o->stall_ms ? o->stall_ms : o->timeout_ms / FETCH_STALLS;
}

/* What it has goes to *out, with its source; a failure of it, too, when it may be left at that. */
static int ask_helper(const struct lookup *l, const struct authfile_entry *x, const char *path,
		      bool named, struct credential *out, struct k3_err *e)
{
	const struct keychain_item item = {
		.helper = x->helper,
		.server = x->server,
		.limit_ms = credentials_limit_ms(l->o),
		.cancel = l->o->cancel,
	};

	if (!keychain_get(l->known, &item, out, e)) {
		if (out->user || out->identity)
			out->source = k3_xasprintf("%s (" HELPER_PREFIX "%s)", path, x->helper);
		return 0;
	}
	if (k3_cancelled(l->o->cancel))
		return -1;
	k3_wrap(e, "%s: %s", path, x->where);
	if (named || !x->general)
		return -1;
	out->note = k3_xstrdup(e->msg);
	return 0;
}

static int read_file(const char *path, const struct lookup *l, struct authfile_entry *x,
		     struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(AUTHFILE_MAX);
	int rc = k3_read_file(AT_FDCWD, path, &text, e);

	if (!rc) {
		rc = authfile_parse(text.p ? text.p : (const uint8_t *)"", text.len, l->host,
				    l->repo, x, e);
		if (rc)
			k3_wrap(e, "auth file %s", path);
	}
	if (text.p)
		explicit_bzero(text.p, text.len);
	return rc;
}

static int look_into(const char *path, bool named, const struct lookup *l, struct credential *out,
		     struct k3_err *e)
{
	struct authfile_entry x __attribute__((cleanup(authfile_entry_release))) = { 0 };

	if (read_file(path, l, &x, e)) {
		if (named) {
			if (e->code == K3_NOTFOUND)
				e->code = K3_USAGE;
			return -1;
		}
		if (e->code != K3_NOTFOUND)
			out->note = k3_xasprintf("%s is unusable", path);
		return 0;
	}
	if (x.helper && ask_helper(l, &x, path, named, out, e))
		return -1;
	if (out->source || !(x.own.user || x.own.identity))
		return 0;
	credential_release(out);
	*out = x.own;
	x.own = (struct credential){ 0 };
	out->source = k3_xstrdup(path);
	return 0;
}

/* What registries.yaml and containerd's config.toml have. */
static void from_configuration(const struct lookup *l, struct credential *out)
{
	struct registry_auth a;

	if (!l->o->registry || !registry_auth(l->o->registry, l->host, &a))
		return;
	char *pair = a.auth ? base64_decode(a.auth) : NULL;

	if (a.user) {
		out->user = k3_xstrdup(a.user);
		out->password = k3_xstrdup(a.password ? a.password : "");
	} else if (pair) {
		credential_split(pair, out);
	}
	credential_wipe(&pair);
	if (a.identity_token && !out->user)
		out->identity = k3_xstrdup(a.identity_token);
	if (out->user || out->identity)
		out->source = k3_xasprintf("%s (line %u)", a.from->file, a.from->line);
	else
		out->note = k3_xasprintf("%s, line %u: no usable credentials", a.from->file,
					 a.from->line);
}

int credentials_find(const struct fetch_opts *o, struct keychain *known, const char *host,
		     const char *repo, struct credential *out, struct k3_err *e)
{
	const struct lookup l = { .o = o, .known = known, .host = host, .repo = repo };
	const char *named = o->auth_file ? o->auth_file : getenv("REGISTRY_AUTH_FILE");

	*out = (struct credential){ 0 };
	if (o->creds) {
		credential_split(o->creds, out);
		out->source = k3_xstrdup("--creds");
		return 0;
	}
	if (named && *named && look_into(named, true, &l, out, e))
		return -1;
	if (!out->source)
		from_configuration(&l, out);
	if (out->source || (named && *named))
		return 0;
	credential_release(out);
	K3_AUTO_FREE char *containers = authfile_containers_path();
	K3_AUTO_FREE char *docker = authfile_docker_path();
	struct credential first = { 0 };

	if (look_into(containers, false, &l, out, e))
		return -1;
	if (out->source || !docker)
		return 0;
	first = *out; /* at most a note */
	*out = (struct credential){ 0 };
	int rc = look_into(docker, false, &l, out, e);

	if (!rc && !out->source && !out->note)
		out->note = K3_STEAL(first.note);
	credential_release(&first);
	return rc;
}
