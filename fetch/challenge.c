/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/challenge.h"

#include <string.h>
#include <strings.h>

#define WORD_MAX 32

/* One part of a field: a scheme, or name=value. */
struct part {
	char name[WORD_MAX];
	bool has_value;
	bool bad; /* a value that is too long or has control characters */
	char value[CHALLENGE_REALM_MAX];
};

static bool is_token(char c)
{
	return c > 0x20 && c < 0x7f && !strchr("()<>@,;:\\\"/[]?={}", c);
}

static bool is_token68(char c)
{
	return is_token(c) || c == '/';
}

static const char *skip_blanks(const char *p)
{
	return p + strspn(p, " \t");
}

static void put(struct part *out, size_t *n, char c)
{
	if (*n + 1 >= sizeof(out->value) || (unsigned char)c < 0x20 || c == 0x7f) {
		out->bad = true;
		return;
	}
	out->value[(*n)++] = c;
	out->value[*n] = '\0';
}

static const char *take_value(const char *p, struct part *out)
{
	size_t n = 0;

	out->value[0] = '\0';
	if (*p != '"') {
		while (is_token68(*p) || *p == ':') /* some registries do not quote a realm */
			put(out, &n, *p++);
		return p;
	}
	for (p++; *p && *p != '"'; p++) {
		if (*p == '\\' && p[1])
			p++;
		put(out, &n, *p);
	}
	if (!*p)
		out->bad = true;
	return *p ? p + 1 : p;
}

/* Takes the next part; NULL at the end. */
static const char *take(const char *p, struct part *out)
{
	size_t n;

	for (;; p++) {
		p += strspn(p, " \t,");
		if (!*p)
			return NULL;
		if (is_token(*p))
			break;
	}
	out->has_value = out->bad = false;
	for (n = 0; is_token(*p); p++) {
		if (n + 1 < sizeof(out->name))
			out->name[n++] = *p;
		else
			out->bad = true;
	}
	out->name[n] = '\0';
	if (is_token68(*p)) { /* token68 of a scheme such as Negotiate */
		while (is_token68(*p) || *p == '=')
			p++;
		out->bad = true;
		return p;
	}
	const char *eq = skip_blanks(p);

	if (*eq != '=')
		return p;
	eq = skip_blanks(eq + 1);
	out->has_value = true;
	return take_value(eq, out);
}

static void set_text(char *dst, size_t size, const struct part *p, bool *usable)
{
	size_t n = strlen(p->value);

	if (p->bad || n >= size)
		*usable = false;
	else
		memcpy(dst, p->value, n + 1);
}

static void end_bearer(struct challenge *c, bool *open, bool usable)
{
	if (!*open)
		return;
	*open = false;
	c->bearer = usable && c->realm[0];
	if (!c->bearer)
		c->realm[0] = c->service[0] = c->scope[0] = '\0';
}

void challenge_add(struct challenge *c, const char *field)
{
	bool in_bearer = false, usable = false;
	struct part p;

	while ((field = take(field, &p))) {
		if (!p.has_value) {
			if (p.bad)
				continue;
			end_bearer(c, &in_bearer, usable);
			c->basic |= !strcasecmp(p.name, "basic");
			in_bearer = usable = !c->bearer && !strcasecmp(p.name, "bearer");
		} else if (!in_bearer) {
			continue;
		} else if (!strcasecmp(p.name, "realm")) {
			set_text(c->realm, sizeof(c->realm), &p, &usable);
		} else if (!strcasecmp(p.name, "service")) {
			set_text(c->service, sizeof(c->service), &p, &usable);
		} else if (!strcasecmp(p.name, "scope")) {
			set_text(c->scope, sizeof(c->scope), &p, &usable);
		}
	}
	end_bearer(c, &in_bearer, usable);
}
