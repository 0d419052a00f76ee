/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/auth.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "fetch/answer.h"
#include "fetch/credentials.h"
#include "fetch/endpoints.h"
#include "fetch/exchange.h"

/* What the token specification says when expires_in is missing; also its minimum. */
#define TOKEN_SECONDS 60u
#define TOKEN_SECONDS_MAX 86400u
/* A token is renewed this long before its end rather than refused in the middle. */
#define TOKEN_MARGIN_MS 5000u
#define CLIENT_ID "k3simg"

void auth_forget(char *value)
{
	if (value)
		explicit_bzero(value, strlen(value));
	free(value);
}

void auth_forgetp(char **value)
{
	auth_forget(*value);
	*value = NULL;
}

/* ---- the cache ------------------------------------------------------------------------ */

static struct auth_token *find_token(struct fetch *f, const char *host, const char *repo)
{
	for (struct auth_token *t = f->tokens; t; t = t->next)
		if (!strcmp(t->host, host) && !strcmp(t->repo, repo))
			return t;
	return NULL;
}

char *auth_known(struct fetch *f, const struct oci_ref *r)
{
	K3_WITH_MONITOR(f->monitor);
	const struct auth_token *t = find_token(f, r->host, r->repo);

	if (!t)
		t = find_token(f, r->host, "");
	if (!t || (t->until_ms && k3_now_ms() >= t->until_ms))
		return NULL;
	return k3_xstrdup(t->value);
}

static void remember(struct fetch *f, const char *host, const char *repo, const char *value,
		     uint64_t until_ms)
{
	K3_WITH_MONITOR(f->monitor);
	struct auth_token *t = find_token(f, host, repo);

	if (!t) {
		t = k3_xcalloc(1, sizeof(*t));
		t->host = k3_xstrdup(host);
		t->repo = k3_xstrdup(repo);
		t->next = f->tokens;
		f->tokens = t;
	}
	auth_forget(t->value);
	t->value = k3_xstrdup(value);
	t->until_ms = until_ms;
}

/* ---- the token service ---------------------------------------------------------------- */

/* Only what RFC 6750 allows in a header: no blanks, no controls. */
static bool is_token_text(const char *s)
{
	if (!s || !*s)
		return false;
	for (; *s; s++)
		if (*s <= 0x20 || *s >= 0x7f)
			return false;
	return true;
}

int auth_parse_token(const void *json, size_t n, char **token, uint64_t *seconds, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;

	if (k3_json_parse(json, n, &doc, e)) {
		e->code = K3_PROTO;
		return -1;
	}
	const struct k3_json *root = k3_json_root(doc);
	const char *text = k3_json_str(k3_json_get(root, "token"));

	if (!text || !*text)
		text = k3_json_str(k3_json_get(root, "access_token"));
	if (!is_token_text(text))
		return k3_fail(e, K3_PROTO, "no usable token in the answer");
	if (!k3_json_u64(k3_json_get(root, "expires_in"), seconds) || *seconds < TOKEN_SECONDS)
		*seconds = TOKEN_SECONDS;
	if (*seconds > TOKEN_SECONDS_MAX)
		*seconds = TOKEN_SECONDS_MAX;
	*token = k3_xstrdup(text);
	return 0;
}

/* What a token service answers, and who that is in the end. */
struct token_answer {
	struct k3_buf json;
	struct outcome o;
};

static int add_token_data(void *arg, const void *p, size_t n, struct k3_err *e)
{
	struct token_answer *a = arg;

	if (n <= a->json.max - a->json.len)
		return k3_buf_add(&a->json, p, n, e);
	k3_fail(e, K3_LIMIT, "%s sent more than %zu bytes for a token", a->o.origin, a->json.max);
	return k3_hint(e, EXCHANGE_HINT_SETUP);
}

static void token_answer_wipe(struct token_answer *a)
{
	if (a->json.p)
		explicit_bzero(a->json.p, a->json.len);
	k3_buf_release(&a->json);
}

#define AUTO_TOKEN_ANSWER __attribute__((cleanup(token_answer_wipe)))

/*
 * The scopes of the challenge, or the one we need when it has none; space-separated.  A login
 * needs none: it has no repository.
 */
static char *scope_text(const struct oci_ref *r, const struct challenge *c)
{
	if (c->scope[0] || !r->repo[0])
		return k3_xstrdup(c->scope);
	return k3_xasprintf("repository:%s:pull", r->repo);
}

static int token_url(const struct oci_ref *r, const struct challenge *c,
		     const struct credential *who, char **url, struct k3_err *e)
{
	K3_AUTO_FREE char *scopes = scope_text(r, c);
	char *rest = NULL;

	*url = k3_xstrdup(c->realm);
	if (c->service[0] && http_url_add_query(url, "service", c->service, e))
		return -1;
	for (char *p = strtok_r(scopes, " ", &rest); p; p = strtok_r(NULL, " ", &rest))
		if (http_url_add_query(url, "scope", p, e))
			return -1;
	if (who->user && http_url_add_query(url, "account", who->user, e))
		return -1;
	return 0;
}

static char *token_form(const struct oci_ref *r, const struct challenge *c,
			const struct credential *who)
{
	K3_AUTO_FREE char *scopes = scope_text(r, c);
	K3_AUTO_FREE char *scope = http_form_escape(scopes);
	K3_AUTO_FREE char *service = http_form_escape(c->service);
	AUTH_AUTO char *secret = http_form_escape(who->identity);

	return k3_xasprintf("grant_type=refresh_token&client_id=" CLIENT_ID
			    "&service=%s&scope=%s&refresh_token=%s",
			    service, scope, secret);
}

static int fail_token(struct fetch_session *s, const struct outcome *o,
		      const struct credential *who, const char *basic, struct k3_err *e)
{
	const char *secret = basic ? basic + strlen("Basic ") : who->identity;

	answer_fail(s, o, "token service", secret, e);
	if (e->code == K3_NOTFOUND) {
		e->code = K3_PROTO;
		k3_hint(e, EXCHANGE_HINT_SETUP);
	}
	return k3_wrap(e, "token service");
}

static int request_token(struct fetch_session *s, const struct oci_ref *r,
			 const struct challenge *c, const struct credential *who,
			 struct token_answer *answer, struct k3_err *e)
{
	K3_AUTO_FREE char *url = NULL;
	AUTH_AUTO char *form = NULL;
	AUTH_AUTO char *basic = NULL;

	if (who->identity) {
		url = k3_xstrdup(c->realm);
		form = token_form(r, c, who);
	} else {
		if (who->user)
			basic = credential_basic(who);
		if (token_url(r, c, who, &url, e))
			return k3_wrap(e, "token service");
	}
	const struct exchange x = {
		.url = url,
		.authorization = basic,
		.form = form,
		.on_data = add_token_data,
		.arg = answer,
	};

	if (exchange_run(s, &x, &answer->o, e))
		return k3_wrap(e, "token service");
	return answer->o.status == 200 ? 0 : fail_token(s, &answer->o, who, basic, e);
}

static int answer_bearer(struct fetch_session *s, const struct oci_ref *r, const char *origin,
			 const struct challenge *c, const struct credential *who, char **out,
			 struct k3_err *e)
{
	AUTO_TOKEN_ANSWER struct token_answer answer = { .json = K3_BUF(FETCH_TOKEN_MAX) };
	AUTH_AUTO char *token = NULL;
	char realm[HTTP_ORIGIN_MAX];
	uint64_t seconds;

	if (http_url_origin(c->realm, realm, e)) {
		k3_hint(e, EXCHANGE_HINT_SETUP);
		return k3_wrap(e, "token service of %s", origin);
	}
	if (!exchange_may_lead(s->f, origin, realm)) {
		k3_fail(e, K3_PROTO, "%s wants its token fetched over plain HTTP from %s", origin,
			realm);
		return k3_hint(e, EXCHANGE_HINT_SETUP);
	}
	if (request_token(s, r, c, who, &answer, e))
		return -1;
	const struct k3_buf *json = &answer.json;

	if (auth_parse_token(json->p ? (const void *)json->p : "", json->len, &token, &seconds,
			     e)) {
		k3_hint(e, EXCHANGE_HINT_SETUP);
		return k3_wrap(e, "token service %s", realm);
	}
	*out = k3_xasprintf("Bearer %s", token);
	remember(s->f, r->host, r->repo, *out, k3_now_ms() + seconds * 1000 - TOKEN_MARGIN_MS);
	return 0;
}

/* ---- challenges ----------------------------------------------------------------------- */

static int answer_basic(struct fetch_session *s, const struct oci_ref *r, const char *origin,
			const struct credential *who, const char *rejected, char **out,
			struct k3_err *e)
{
	AUTH_AUTO char *value = NULL;

	if (!who->user || (who->identity && !*who->password))
		return k3_fail(e, K3_AUTH, "%s wants %s", origin,
			       who->identity ? "a password, and there is only an identity token"
					     : "credentials, and there are none");
	value = credential_basic(who);
	if (rejected && !strcmp(rejected, value))
		return k3_fail(e, K3_AUTH, "%s refused the credentials", origin);
	remember(s->f, r->host, "", value, 0);
	*out = K3_STEAL(value);
	return 0;
}

/* --creds are for the registries that were asked for: a mirror of them is somebody else. */
static int find_credentials(const struct fetch_session *s, const struct oci_ref *r,
			    struct credential *who, struct k3_err *e)
{
	struct fetch_opts o = s->f->o;

	if (s->ep && s->ep->conf->mirror)
		o.creds = NULL;
	return credentials_find(&o, s->f->keychain, r->host, r->repo, who, e);
}

static int choose(struct fetch_session *s, const struct oci_ref *r, const char *origin,
		  const struct challenge *c, const char *rejected, char **out, struct k3_err *e)
{
	struct credential who __attribute__((cleanup(credential_release))) = { 0 };

	if (!c->bearer && !c->basic)
		return k3_fail(e, K3_AUTH,
			       "%s refused access and offers no way to log in that we "
			       "know",
			       origin);
	if (find_credentials(s, r, &who, e))
		return -1;
	if (c->bearer)
		return answer_bearer(s, r, origin, c, &who, out, e);
	return answer_basic(s, r, origin, &who, rejected, out, e);
}

int auth_answer(struct fetch_session *s, const struct oci_ref *r, const char *origin,
		const struct challenge *c, const char *rejected, char **out, struct k3_err *e)
{
	*out = NULL;
	if (!choose(s, r, origin, c, rejected, out, e))
		return 0;
	if (e->code == K3_AUTH)
		auth_hint(s, r, e);
	return -1;
}

void auth_hint(const struct fetch_session *s, const struct oci_ref *r, struct k3_err *e)
{
	struct credential who __attribute__((cleanup(credential_release))) = { 0 };
	struct k3_err ignored;

	if (find_credentials(s, r, &who, &ignored))
		return;
	if (who.source)
		k3_hint(e,
			"the credentials of %s are wrong or may not pull it, or it does not exist",
			who.source);
	else if (who.note)
		k3_hint(e, "%s; use --creds USER:PASSWORD", who.note);
	else
		k3_hint(e,
			"it does not exist or needs credentials: k3simg preload --creds "
			"USER:PASSWORD, or k3simg login %s",
			r->host);
}
