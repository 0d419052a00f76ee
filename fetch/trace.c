/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/trace.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

#define HIDDEN "***"

/* What does not fit is left out: this is for people. */
static void add(struct k3_buf *out, const char *p, size_t n)
{
	struct k3_err ignored;

	(void)(k3_buf_add(out, p, n, &ignored) != 0);
}

static void add_str(struct k3_buf *out, const char *s)
{
	add(out, s, strlen(s));
}

static bool is_one_of(const char *const *names, const char *s, size_t n)
{
	for (; *names; names++)
		if (strlen(*names) == n && !strncasecmp(*names, s, n))
			return true;
	return false;
}

void trace_url(struct k3_buf *out, const char *url)
{
	static const char *const harmless[] = { "ns",   "service", "scope",         "account", "n",
						"last", "digest",  "offline_token", NULL };
	size_t n = strcspn(url, "?#");

	add(out, url, n);
	if (url[n] != '?')
		return;
	for (url += n; *url && *url != '#'; url += n) {
		add(out, url++, 1);
		size_t key = strcspn(url, "=&#");

		n = strcspn(url, "&#");
		if (key >= n || is_one_of(harmless, url, key)) {
			/* a key without a value may be a token */
			add_str(out, key >= n && n ? HIDDEN : "");
			add(out, url, key < n ? n : 0);
			continue;
		}
		add(out, url, key + 1);
		add_str(out, HIDDEN);
	}
}

static bool has_part(const char *s, size_t n, const char *part)
{
	size_t m = strlen(part);

	for (size_t i = 0; i + m <= n; i++)
		if (!strncasecmp(s + i, part, m))
			return true;
	return false;
}

static bool is_secret(const char *name, size_t n)
{
	static const char *const parts[] = { "auth",    "cookie",    "token",
					     "secret",  "signature", "password",
					     "api-key", "apikey",    "credential" };
	static const char *const not [] = { "WWW-Authenticate", NULL };

	if (is_one_of(not, name, n))
		return false;
	for (size_t i = 0; i < K3_ARRAY_LEN(parts); i++)
		if (has_part(name, n, parts[i]))
			return true;
	return false;
}

/* "Basic ***": the scheme tells enough. */
static void add_hidden(struct k3_buf *out, const char *value)
{
	size_t n = strcspn(value, " ");

	if (value[n] && (!strncasecmp(value, "Basic ", 6) || !strncasecmp(value, "Bearer ", 7)))
		add(out, value, n + 1);
	add_str(out, HIDDEN);
}

/* One field, behind "> " or "< "; `hide` = whatever it is. */
static void add_field(struct k3_buf *out, const char *mark, const char *field, bool hide)
{
	static const char *const urls[] = { "Location", "Content-Location", "Referer", "Link",
					    NULL };
	size_t n = strcspn(field, ":");
	const char *value = field + n + (field[n] == ':');

	value += strspn(value, " \t");
	add_str(out, mark);
	add(out, field, n);
	add_str(out, ": ");
	if (hide || is_secret(field, n))
		add_hidden(out, value);
	else if (is_one_of(urls, field, n))
		trace_url(out, value);
	else
		add_str(out, value);
	add_str(out, "\n");
}

static void add_named(struct k3_buf *out, const char *name, const char *value)
{
	K3_AUTO_FREE char *field = k3_xasprintf("%s: %s", name, value);

	add_field(out, "> ", field, false);
	explicit_bzero(field, strlen(field));
}

void trace_request(struct k3_buf *out, const struct http_req *rq, const char *user_agent)
{
	char range[64];

	add_str(out, rq->form ? "> POST " : rq->head ? "> HEAD " : "> GET ");
	trace_url(out, rq->url);
	add_str(out, "\n");
	add_named(out, "User-Agent", user_agent);
	if (rq->authorization)
		add_named(out, "Authorization", rq->authorization);
	if (rq->accept)
		add_named(out, "Accept", rq->accept);
	if (rq->range_to)
		snprintf(range, sizeof(range), "bytes=%llu-%llu",
			 (unsigned long long)rq->range_from, (unsigned long long)rq->range_to);
	else
		snprintf(range, sizeof(range), "bytes=%llu-", (unsigned long long)rq->range_from);
	if (rq->range_from || rq->range_to)
		add_named(out, "Range", range);
	/* what people write into a configuration is often a key */
	for (const char *const *f = rq->fields; f && *f; f++)
		add_field(out, "> ", *f, true);
}

void trace_answer(struct k3_buf *out, const struct http_head *h, const char *origin)
{
	const char *p = (const char *)h->fields.p;
	size_t left = h->fields.len;
	char status[32];

	snprintf(status, sizeof(status), "< HTTP %u from ", h->status);
	add_str(out, status);
	add_str(out, origin);
	add_str(out, "\n");
	while (left) {
		size_t n = strlen(p) + 1;

		add_field(out, "< ", p, false);
		p += n;
		left -= n;
	}
}

void trace_failure(struct k3_buf *out, const char *origin, const struct k3_err *e)
{
	add_str(out, "< nothing from ");
	add_str(out, origin);
	add_str(out, ": ");
	add_str(out, e->msg);
	add_str(out, "\n");
}
