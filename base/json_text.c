/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct k3_jt_node {
	size_t key, key_to; /* with quotes; equal where there is none */
	size_t from, to;
	uint32_t parent, first, last, next;
	bool dropped;
	char put[K3_JT_TEXT_MAX + 1]; /* instead of the value, unless empty */
};

/* ---- reading -------------------------------------------------------------------------- */

struct reader {
	struct k3_jt *t;
	size_t at;
	struct k3_err *e;
};

static int wrong(struct reader *r, const char *what)
{
	return k3_fail(r->e, K3_FORMAT, "not valid JSON: %s at byte %zu", what, r->at);
}

static char peek(const struct reader *r)
{
	return r->at < r->t->n ? r->t->p[r->at] : '\0';
}

static void skip_blank(struct reader *r)
{
	while (r->at < r->t->n && memchr(" \t\r\n", r->t->p[r->at], 4))
		r->at++;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int skip_escape(struct reader *r)
{
	char c = peek(r);

	r->at++;
	if (c && strchr("\"\\/bfnrt", c))
		return 0;
	if (c != 'u')
		return wrong(r, "an unknown escape");
	for (int i = 0; i < 4; i++, r->at++)
		if (hex_value(peek(r)) < 0)
			return wrong(r, "an escape that is cut");
	return 0;
}

static int skip_string(struct reader *r)
{
	for (r->at++; r->at < r->t->n;) {
		unsigned char c = (unsigned char)r->t->p[r->at++];

		if (c == '"')
			return 0;
		if (c < 0x20)
			return wrong(r, "a control character in a string");
		if (c == '\\' && skip_escape(r))
			return -1;
	}
	return wrong(r, "a string without end");
}

static int skip_digits(struct reader *r)
{
	if (!is_digit(peek(r)))
		return wrong(r, "a number that is none");
	while (is_digit(peek(r)))
		r->at++;
	return 0;
}

static int skip_number(struct reader *r)
{
	if (peek(r) == '-')
		r->at++;
	if (peek(r) == '0')
		r->at++;
	else if (skip_digits(r))
		return -1;
	if (peek(r) == '.') {
		r->at++;
		if (skip_digits(r))
			return -1;
	}
	if (peek(r) == 'e' || peek(r) == 'E') {
		r->at++;
		if (peek(r) == '+' || peek(r) == '-')
			r->at++;
		return skip_digits(r);
	}
	return 0;
}

static int skip_word(struct reader *r)
{
	static const char *const words[] = { "true", "false", "null" };

	for (size_t i = 0; i < K3_ARRAY_LEN(words); i++) {
		size_t len = strlen(words[i]);

		if (r->t->n - r->at >= len && !memcmp(r->t->p + r->at, words[i], len)) {
			r->at += len;
			return 0;
		}
	}
	return wrong(r, "no value");
}

static uint32_t add_node(struct reader *r, uint32_t parent)
{
	struct k3_jt *t = r->t;
	uint32_t at = (uint32_t)t->count;

	t->nodes = k3_xgrow(t->nodes, t->count, &t->cap, sizeof(*t->nodes));
	t->nodes[t->count++] = (struct k3_jt_node){
		.parent = parent, .first = K3_JT_NONE, .last = K3_JT_NONE, .next = K3_JT_NONE
	};
	if (parent != K3_JT_NONE) {
		struct k3_jt_node *up = &t->nodes[parent];

		if (up->first == K3_JT_NONE)
			up->first = at;
		else
			t->nodes[up->last].next = at;
		up->last = at;
	}
	return at;
}

/* A member's name and colon. */
static int read_key(struct reader *r, size_t *from, size_t *to)
{
	if (peek(r) != '"')
		return wrong(r, "no name of a member");
	*from = r->at;
	if (skip_string(r))
		return -1;
	*to = r->at;
	skip_blank(r);
	if (peek(r) != ':')
		return wrong(r, "no colon");
	r->at++;
	skip_blank(r);
	return 0;
}

/* The beginning of a value, or all of it; *open is it when it can hold others. */
static int read_value(struct reader *r, uint32_t parent, uint32_t *open)
{
	size_t key = 0, key_to = 0;

	if (r->t->count == K3_JT_NODES_MAX)
		return k3_fail(r->e, K3_LIMIT, "JSON with more than the limit of %u values",
			       K3_JT_NODES_MAX);
	if (parent != K3_JT_NONE && r->t->p[r->t->nodes[parent].from] == '{' &&
	    read_key(r, &key, &key_to))
		return -1;
	uint32_t at = add_node(r, parent);
	size_t from = r->at;
	char c = peek(r);

	if (c == '{' || c == '[') {
		r->at++;
		*open = at;
	} else if (c == '"' ? skip_string(r)
			    : (c == '-' || is_digit(c) ? skip_number(r) : skip_word(r))) {
		return -1;
	}
	struct k3_jt_node *node = &r->t->nodes[at];

	node->key = key;
	node->key_to = key_to;
	node->from = from;
	node->to = r->at;
	return 0;
}

/* Behind a value: ends what ends here; *more when another value follows. */
static int close_all(struct reader *r, uint32_t *in, size_t *depth, bool *more)
{
	*more = false;
	while (*in != K3_JT_NONE) {
		struct k3_jt_node *up = &r->t->nodes[*in];

		skip_blank(r);
		if (peek(r) == ',') {
			r->at++;
			*more = true;
			return 0;
		}
		if (peek(r) != (r->t->p[up->from] == '{' ? '}' : ']'))
			return wrong(r, "neither a comma nor an end");
		up->to = ++r->at;
		*in = up->parent;
		--*depth;
	}
	return 0;
}

static int read_all(struct reader *r)
{
	uint32_t in = K3_JT_NONE;
	size_t depth = 0;

	for (bool more = true; more;) {
		uint32_t open = K3_JT_NONE;

		skip_blank(r);
		if (read_value(r, in, &open))
			return -1;
		if (open != K3_JT_NONE) {
			in = open;
			if (++depth > K3_JT_DEPTH_MAX)
				return k3_fail(r->e, K3_LIMIT,
					       "JSON nested deeper than the limit of %d levels",
					       K3_JT_DEPTH_MAX);
			skip_blank(r);
			if (peek(r) != (r->t->p[r->t->nodes[in].from] == '{' ? '}' : ']'))
				continue;
		}
		if (close_all(r, &in, &depth, &more))
			return -1;
	}
	skip_blank(r);
	return r->at == r->t->n ? 0 : wrong(r, "something behind the end");
}

int k3_jt_parse(const void *text, size_t n, struct k3_jt *out, struct k3_err *e)
{
	*out = (struct k3_jt){ .p = text, .n = n };
	struct reader r = { .t = out, .e = e };

	if (read_all(&r)) {
		k3_jt_release(out);
		return -1;
	}
	return 0;
}

void k3_jt_release(struct k3_jt *t)
{
	free(t->nodes);
	*t = (struct k3_jt){ 0 };
}

/* ---- looking ---------------------------------------------------------------------------- */

static const struct k3_jt_node *node_at(const struct k3_jt *t, uint32_t at)
{
	return at < t->count ? &t->nodes[at] : NULL;
}

static size_t put_utf8(char *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

static uint32_t hex4(const char *p)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++)
		v = v << 4 | (uint32_t)hex_value(p[i]);
	return v;
}

/* p is behind the backslash, and checked; the character goes to *c.  Returns what it took. */
static size_t read_escape(const char *p, const char *end, uint32_t *c)
{
	static const char names[] = "bfnrt", meant[] = "\b\f\n\r\t";
	const char *name = strchr(names, p[0]);

	if (p[0] != 'u') {
		*c = name ? (uint32_t)meant[name - names] : (uint32_t)p[0];
		return 1;
	}
	*c = hex4(p + 1);
	if (*c >= 0xd800 && *c < 0xdc00 && end - p >= 11 && p[5] == '\\' && p[6] == 'u') {
		uint32_t low = hex4(p + 7);

		if (low >= 0xdc00 && low < 0xe000) {
			*c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
			return 11;
		}
	}
	return 5;
}

/* The text between the quotes of [from, to). */
static char *unquote(const struct k3_jt *t, size_t from, size_t to)
{
	const char *p = t->p + from + 1, *end = t->p + to - 1;
	char *out = k3_xcalloc((size_t)(end - p) + 4, 1), *at = out;

	while (p < end) {
		uint32_t c;

		if (*p != '\\') {
			*at++ = *p++;
			continue;
		}
		p += 1 + read_escape(p + 1, end, &c);
		if (!c) {
			free(out);
			return NULL;
		}
		at += put_utf8(at, c);
	}
	*at = '\0';
	return out;
}

char *k3_jt_str(const struct k3_jt *t, uint32_t at)
{
	const struct k3_jt_node *node = node_at(t, at);

	return node && t->p[node->from] == '"' ? unquote(t, node->from, node->to) : NULL;
}

char *k3_jt_key(const struct k3_jt *t, uint32_t at)
{
	const struct k3_jt_node *node = node_at(t, at);

	return node && node->key_to > node->key ? unquote(t, node->key, node->key_to) : NULL;
}

bool k3_jt_is(const struct k3_jt *t, uint32_t at, const char *str)
{
	K3_AUTO_FREE char *got = k3_jt_str(t, at);

	return got && !strcmp(got, str);
}

bool k3_jt_int(const struct k3_jt *t, uint32_t at, int64_t *out)
{
	const struct k3_jt_node *node = node_at(t, at);

	if (!node || (t->p[node->from] != '-' && !is_digit(t->p[node->from])))
		return false;
	bool minus = t->p[node->from] == '-';
	int64_t v = 0;

	for (size_t i = node->from + minus; i < node->to; i++) {
		if (!is_digit(t->p[i]) || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_sub_overflow(v, t->p[i] - '0', &v))
			return false;
	}
	if (!minus && v == INT64_MIN)
		return false;
	*out = minus ? v : -v;
	return true;
}

uint32_t k3_jt_first(const struct k3_jt *t, uint32_t at)
{
	const struct k3_jt_node *node = node_at(t, at);

	return node ? node->first : K3_JT_NONE;
}

uint32_t k3_jt_next(const struct k3_jt *t, uint32_t at)
{
	const struct k3_jt_node *node = node_at(t, at);

	return node ? node->next : K3_JT_NONE;
}

uint32_t k3_jt_get(const struct k3_jt *t, uint32_t obj, const char *key)
{
	uint32_t found = K3_JT_NONE;

	for (uint32_t at = k3_jt_first(t, obj); at != K3_JT_NONE; at = k3_jt_next(t, at)) {
		K3_AUTO_FREE char *name = k3_jt_key(t, at);

		if (name && !strcmp(name, key))
			found = at;
	}
	return found;
}

/* ---- changing --------------------------------------------------------------------------- */

void k3_jt_drop(struct k3_jt *t, uint32_t at)
{
	if (at && at < t->count)
		t->nodes[at].dropped = true;
}

void k3_jt_replace(struct k3_jt *t, uint32_t at, const char *json)
{
	if (at < t->count)
		snprintf(t->nodes[at].put, sizeof(t->nodes[at].put), "%s", json);
}

bool k3_jt_changed(const struct k3_jt *t)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->nodes[i].dropped || t->nodes[i].put[0])
			return true;
	return false;
}

static int copy(const struct k3_jt *t, size_t from, size_t to, struct k3_buf *out, struct k3_err *e)
{
	return k3_buf_add(out, t->p + from, to - from, e);
}

/* Where what stands in front of a member begins: what was before it, with or without its comma. */
static size_t front_of(const struct k3_jt *t, uint32_t parent, uint32_t before, bool comma)
{
	if (before == K3_JT_NONE)
		return t->nodes[parent].from + 1;
	size_t at = t->nodes[before].to;

	if (comma)
		return at;
	while (t->p[at] != ',')
		at++;
	return at + 1;
}

/* It calls itself, K3_JT_DEPTH_MAX deep. */
static int write_value(const struct k3_jt *t, uint32_t at, struct k3_buf *out, struct k3_err *e)
{
	const struct k3_jt_node *node = &t->nodes[at];
	uint32_t before = K3_JT_NONE;
	bool comma = false;

	if (node->put[0])
		return k3_buf_add(out, node->put, strlen(node->put), e);
	if (node->first == K3_JT_NONE)
		return copy(t, node->from, node->to, out, e);
	if (copy(t, node->from, node->from + 1, out, e))
		return -1;
	for (uint32_t in = node->first; in != K3_JT_NONE; before = in, in = t->nodes[in].next) {
		if (t->nodes[in].dropped)
			continue;
		if (copy(t, front_of(t, at, before, comma), t->nodes[in].from, out, e) ||
		    write_value(t, in, out, e))
			return -1;
		comma = true;
	}
	return copy(t, t->nodes[before].to, node->to, out, e);
}

int k3_jt_write(const struct k3_jt *t, struct k3_buf *out, struct k3_err *e)
{
	if (!t->count)
		return 0;
	size_t from = t->nodes[0].from, to = t->nodes[0].to;

	if (copy(t, 0, from, out, e) || write_value(t, 0, out, e))
		return -1;
	return copy(t, to, t->n, out, e);
}
