/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/keychain.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "fetch/base64.h"
#include "fetch/helper.h"

#define WAIT_MS 50 /* until somebody who waits for another thread's answer looks for a signal */
/* An identity token goes by this name instead of a user's. */
#define TOKEN_USER "<token>"

static void wipe_buf(struct k3_buf *b)
{
	if (b->p)
		explicit_bzero(b->p, b->cap);
	k3_buf_release(b);
}

#define AUTO_SECRET __attribute__((cleanup(wipe_buf)))

/* ---- one call ------------------------------------------------------------------------- */

/* Helpers say so in words, on standard output and with status 1. */
static bool has_none(const struct k3_buf *out)
{
	static const char *const words[] = {
		"credentials not found in native keychain",
		"no credentials server URL", /* asked for "" */
		"no credentials found",      /* of some clouds */
	};

	for (size_t i = 0; out->p && i < K3_ARRAY_LEN(words); i++)
		if (memmem(out->p, out->len, words[i], strlen(words[i])))
			return true;
	return false;
}

/* *none: it ran and has nothing for that server. */
static int call(const struct keychain_item *i, const char *verb, const void *input, size_t len,
		struct k3_buf *out, bool *none, struct k3_err *e)
{
	const struct helper_call h = {
		.name = i->helper,
		.verb = verb,
		.input = input,
		.len = len,
		.limit_ms = i->limit_ms,
		.cancel = i->cancel,
	};
	int status;

	if (helper_run(&h, out, &status, e))
		return -1;
	*none = status && has_none(out);
	if (!status || *none)
		return 0;
	/* Its words stay out: they may repeat what it was given. */
	k3_fail(e, K3_AUTH, HELPER_PREFIX "%s %s failed with status %d", i->helper, verb, status);
	return k3_hint(e, "see what it says: echo %s | " HELPER_PREFIX "%s get", i->server,
		       i->helper);
}

static int set_secret(const char *from, char **to, struct k3_err *e)
{
	if (strlen(from) > BASE64_SECRET_MAX)
		return k3_fail(e, K3_AUTH, "its secret is longer than the limit of %u bytes",
			       BASE64_SECRET_MAX);
	*to = k3_xstrdup(from);
	return 0;
}

int keychain_parse(const void *json, size_t n, struct credential *out, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;

	/* what jansson says of the place may quote it */
	if (k3_json_parse(json, n, &doc, e))
		return k3_fail(e, K3_AUTH, "it answered something that is no JSON");
	const struct k3_json *root = k3_json_root(doc);
	const char *user = k3_json_str(k3_json_get(root, "Username"));
	const char *secret = k3_json_str(k3_json_get(root, "Secret"));

	if (!user || !secret || !*secret)
		return k3_fail(e, K3_AUTH, "it answered without a Username and a Secret");
	if (!strcmp(user, TOKEN_USER))
		return set_secret(secret, &out->identity, e);
	if (set_secret(secret, &out->password, e))
		return -1;
	out->user = k3_xstrdup(user);
	return 0;
}

static int get(const struct keychain_item *i, struct credential *out, struct k3_err *e)
{
	AUTO_SECRET struct k3_buf answer = K3_BUF(HELPER_ANSWER_MAX);
	bool none;

	if (call(i, "get", i->server, strlen(i->server), &answer, &none, e))
		return -1;
	if (none || !keychain_parse(answer.p, answer.len, out, e))
		return 0;
	k3_hint(e, "see what it says: echo %s | " HELPER_PREFIX "%s get", i->server, i->helper);
	return k3_wrap(e, HELPER_PREFIX "%s get", i->helper);
}

static bool is_text(const char *s)
{
	uint32_t code;

	for (size_t n; *s; s += n) {
		n = k3_utf8(s, &code);
		if (!n)
			return false;
	}
	return true;
}

int keychain_store(const struct keychain_item *i, const char *user, const char *password,
		   struct k3_err *e)
{
	AUTO_SECRET struct k3_buf input = K3_BUF(HELPER_ANSWER_MAX);
	AUTO_SECRET struct k3_buf answer = K3_BUF(HELPER_ANSWER_MAX);
	struct k3_jw w = K3_JW(&input);
	bool none;

	if (!is_text(user) || !is_text(password)) {
		k3_fail(e, K3_USAGE, HELPER_PREFIX "%s can store nothing but UTF-8", i->helper);
		return k3_hint(e, "give a file without a credential helper: --authfile FILE");
	}
	if (k3_buf_reserve(&input, input.max, e))
		return -1;
	k3_jw_obj(&w, NULL);
	k3_jw_str(&w, "ServerURL", i->server);
	k3_jw_str(&w, "Username", user);
	k3_jw_str(&w, "Secret", password);
	k3_jw_close_obj(&w);
	if (k3_jw_end(&w, e) || call(i, "store", input.p, input.len, &answer, &none, e))
		return -1;
	if (none)
		return k3_fail(e, K3_AUTH, HELPER_PREFIX "%s store failed", i->helper);
	return 0;
}

int keychain_erase(const struct keychain_item *i, bool *had, struct k3_err *e)
{
	AUTO_SECRET struct k3_buf answer = K3_BUF(HELPER_ANSWER_MAX);
	struct credential before __attribute__((cleanup(credential_release))) = { 0 };
	bool none;

	/* some erase what is not there without a word */
	if (get(i, &before, e))
		return -1;
	*had = before.user || before.identity;
	return *had ? call(i, "erase", i->server, strlen(i->server), &answer, &none, e) : 0;
}

/* ---- what is known -------------------------------------------------------------------- */

struct answer {
	struct answer *next;
	char *helper, *server;
	bool running;
	uint64_t until_ms; /* monotonic */
	struct credential got;
	bool failed;
	struct k3_err why;
};

struct keychain {
	struct k3_monitor *monitor; /* guards all below */
	struct answer *answers;     /* kept until the end */
};

struct keychain *keychain_new(void)
{
	struct keychain *k = k3_xcalloc(1, sizeof(*k));

	k->monitor = k3_monitor_new();
	return k;
}

void keychain_free(struct keychain *k)
{
	if (!k)
		return;
	for (struct answer *a = k->answers, *next; a; a = next) {
		next = a->next;
		credential_release(&a->got);
		free(a->helper);
		free(a->server);
		free(a);
	}
	k3_monitor_free(k->monitor);
	free(k);
}

static struct answer *find_or_add(struct keychain *k, const struct keychain_item *i)
{
	struct answer *a = k->answers;

	while (a && (strcmp(a->helper, i->helper) != 0 || strcmp(a->server, i->server) != 0))
		a = a->next;
	if (a)
		return a;
	a = k3_xcalloc(1, sizeof(*a));
	a->helper = k3_xstrdup(i->helper);
	a->server = k3_xstrdup(i->server);
	a->next = k->answers;
	k->answers = a;
	return a;
}

static int copy(const struct answer *a, struct credential *out, struct k3_err *e)
{
	if (a->failed) {
		*e = a->why;
		return -1;
	}
	out->user = a->got.user ? k3_xstrdup(a->got.user) : NULL;
	out->password = a->got.password ? k3_xstrdup(a->got.password) : NULL;
	out->identity = a->got.identity ? k3_xstrdup(a->got.identity) : NULL;
	return 0;
}

/* 1 = it is known; 0 = the caller is to find out. */
static int look_up(struct keychain *k, const struct keychain_item *i, struct answer **out,
		   struct k3_err *e)
{
	K3_WITH_MONITOR(k->monitor);
	struct answer *a = find_or_add(k, i);

	*out = a;
	while (a->running) {
		if (k3_cancel_check(i->cancel, e))
			return -1;
		k3_monitor_wait_ms(k->monitor, WAIT_MS);
	}
	if (a->until_ms > k3_now_ms())
		return 1;
	a->running = true;
	return 0;
}

static void put(struct keychain *k, struct answer *a, int rc, struct credential *got,
		const struct k3_err *why)
{
	K3_WITH_MONITOR(k->monitor);
	credential_release(&a->got);
	a->got = *got;
	*got = (struct credential){ 0 };
	a->failed = rc != 0;
	if (rc)
		a->why = *why;
	a->until_ms = k3_now_ms() + KEYCHAIN_KEEP_MS;
	a->running = false;
	k3_monitor_wake_all(k->monitor);
}

int keychain_get(struct keychain *k, const struct keychain_item *i, struct credential *out,
		 struct k3_err *e)
{
	struct credential got __attribute__((cleanup(credential_release))) = { 0 };
	struct answer *a;

	if (!k)
		return get(i, out, e);
	int known = look_up(k, i, &a, e);

	if (known < 0)
		return -1;
	if (!known) {
		int rc = get(i, &got, e);

		put(k, a, rc, &got, e);
	}
	K3_WITH_MONITOR(k->monitor);
	return copy(a, out, e);
}
