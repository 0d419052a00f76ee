/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/answer.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "fetch/retry.h"

#define WORDS_MAX 200

static const char *first_str(const struct k3_json *obj, const char *const *keys)
{
	for (; *keys; keys++) {
		const char *s = k3_json_str(k3_json_get(obj, *keys));

		if (s && *s)
			return s;
	}
	return NULL;
}

static void set_words(const char *words, const char *secret, char out[WORDS_MAX])
{
	if (words && !(secret && strstr(words, secret)))
		k3_escape(out, WORDS_MAX, words);
}

/* The first line of a plain text, as Go's servers write. */
static void find_plain_words(struct k3_buf *note, const char *type, const char *secret,
			     char out[WORDS_MAX])
{
	char *text = (char *)note->p;

	if ((type && strncasecmp(type, "text/plain", 10) != 0) || *text == '<')
		return;
	text[strcspn(text, "\r\n")] = '\0';
	set_words(text, secret, out);
}

/* The registry's own words: distribution-spec errors[], or what token services write. */
static void find_words(struct k3_buf *note, const char *type, const char *secret,
		       char out[WORDS_MAX])
{
	static const char *const message_keys[] = { "message", "code", NULL };
	static const char *const token_keys[] = { "error_description", "details", "message",
						  "error", NULL };
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct k3_err ignored;

	out[0] = '\0';
	if (!note->len)
		return;
	if (k3_json_parse(note->p, note->len, &doc, &ignored)) {
		find_plain_words(note, type, secret, out);
		return;
	}
	const struct k3_json *root = k3_json_root(doc);
	const char *words = first_str(k3_json_at(k3_json_get(root, "errors"), 0), message_keys);

	if (!words)
		words = first_str(root, token_keys);
	set_words(words, secret, out);
}

static bool is_retryable(unsigned status)
{
	return status == 408 || status == 425 || status == 429 ||
	       (status >= 500 && status != 501 && status != 505);
}

static enum k3_code code_of(unsigned status)
{
	if (status == 401 || status == 403)
		return K3_AUTH;
	if (status == 404 || status == 410)
		return K3_NOTFOUND;
	return is_retryable(status) ? K3_NET : K3_PROTO;
}

int answer_fail(struct fetch_session *s, const struct outcome *o, const char *what,
		const char *secret, struct k3_err *e)
{
	unsigned status = o->status;
	enum k3_code code = code_of(status);
	char words[WORDS_MAX];

	find_words(&s->note, http_field(o->head, "Content-Type", 0), secret, words);
	const char *colon = words[0] ? ": " : "";
	char later[64] = "";

	if (is_retryable(status))
		s->retry_after_ms = retry_after_ms(http_field(o->head, "Retry-After", 0),
						   time(NULL));
	if (s->retry_after_ms)
		snprintf(later, sizeof(later), " and is to be asked again in %llu s",
			 (unsigned long long)(s->retry_after_ms / 1000));
	if (code == K3_NOTFOUND)
		return k3_fail(e, code, "%s has no %s (HTTP %u%s%s)", o->origin, what, status,
			       colon, words);
	k3_fail(e, code, "%s %s with HTTP %u%s%s%s", o->origin,
		code == K3_AUTH ? "refused access" : "answered", status, later, colon, words);
	if (status == 407) {
		e->code = K3_AUTH;
		k3_hint(e, "a proxy wants credentials: write them into its URL, "
			   "http_proxy=http://USER:PASSWORD@HOST");
	}
	if (status == 429)
		k3_hint(e,
			"the registry limits the rate of downloads: wait, or log in with --creds "
			"for a higher limit");
	else if (status >= 500)
		k3_hint(e, "the registry, or a proxy before it, is in trouble: run it again later");
	else if (code == K3_PROTO)
		k3_hint(e, EXCHANGE_HINT_SETUP);
	e->retry = is_retryable(status);
	return -1;
}
