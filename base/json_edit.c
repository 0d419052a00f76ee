/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_edit.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"

/* ---- where things are: only in text that k3_json_parse has taken ---------------------- */

struct text {
	const char *p;
	size_t n;
};

struct span {
	size_t from, to;
};

struct member {
	struct span key, value; /* with quotes and brackets */
	size_t before;          /* end of what is in front: a value, or the bracket */
	size_t next;            /* key of the next member, 0 = none */
};

struct object {
	size_t open, close; /* of its brackets */
	bool any, found;
	struct member last, hit;
};

static size_t skip_blank(const struct text *t, size_t at)
{
	while (at < t->n && memchr(" \t\r\n", t->p[at], 4))
		at++;
	return at;
}

static size_t skip_string(const struct text *t, size_t at)
{
	for (at++; at < t->n && t->p[at] != '"'; at++)
		at += t->p[at] == '\\';
	return at + 1;
}

static size_t skip_value(const struct text *t, size_t at)
{
	size_t depth = 0;

	while (at < t->n) {
		char c = t->p[at];

		if (!depth && memchr(",}] \t\r\n", c, 7))
			return at;
		at = c == '"' ? skip_string(t, at) : at + 1;
		if (c == '{' || c == '[')
			depth++;
		else if (c == '}' || c == ']')
			depth--;
	}
	return at;
}

static bool key_is(const struct text *t, const struct span *key, const char *want)
{
	const char *p = t->p + key->from + 1;
	size_t n = key->to - key->from - 2;

	if (!memchr(p, '\\', n))
		return n == strlen(want) && !memcmp(p, want, n);
	K3_AUTO_FREE char *alone = k3_xasprintf("[\"%.*s\"]", (int)n, p);
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct k3_err ignored;

	if (k3_json_parse(alone, strlen(alone), &doc, &ignored))
		return false;
	const char *said = k3_json_str(k3_json_at(k3_json_root(doc), 0));

	return said && !strcmp(said, want);
}

/* The object whose bracket is at `open`, and its member `want`. */
static void walk(const struct text *t, size_t open, const char *want, struct object *o)
{
	size_t before = open + 1, at = skip_blank(t, before);

	*o = (struct object){ .open = open };
	while (at < t->n && t->p[at] == '"') {
		struct member m = { .before = before, .key = { at, skip_string(t, at) } };

		m.value.from = skip_blank(t, skip_blank(t, m.key.to) + 1);
		m.value.to = skip_value(t, m.value.from);
		at = skip_blank(t, m.value.to);
		before = m.value.to;
		if (at < t->n && t->p[at] == ',') {
			at = skip_blank(t, at + 1);
			m.next = at;
		}
		o->any = true;
		o->last = m;
		if (want && key_is(t, &m.key, want)) {
			o->found = true;
			o->hit = m;
		}
	}
	o->close = at;
}

/* Checks the text and finds its outer object.  *in is set when that is one. */
static int find_outer(const struct text *t, const char *outer, const char *key, struct object *root,
		      struct object *in, bool *there, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;

	if (k3_json_parse(t->p, t->n, &doc, e))
		return -1;
	if (!k3_json_is_obj(k3_json_root(doc)))
		return k3_fail(e, K3_FORMAT, "not a JSON object");
	const struct k3_json *v = k3_json_get(k3_json_root(doc), outer);

	if (v && !k3_json_is_null(v) && !k3_json_is_obj(v))
		return k3_fail(e, K3_FORMAT, "\"%s\" is not an object", outer);
	walk(t, skip_blank(t, 0), outer, root);
	*there = k3_json_is_obj(v);
	if (*there)
		walk(t, root->hit.value.from, key, in);
	return 0;
}

/* ---- the new text --------------------------------------------------------------------- */

/* What is written between two tokens: a new line with its blanks, or nothing. */
struct style {
	bool lines;
	struct span unit; /* the blanks of one level */
};

struct edit {
	const struct text *t;
	struct style style;
	struct k3_buf *out;
	struct k3_err *e;
	int rc; /* the first failure stays */
};

static void put(struct edit *d, const char *p, size_t n)
{
	if (!d->rc)
		d->rc = k3_buf_add(d->out, p, n, d->e);
}

static void put_text(struct edit *d, size_t from, size_t to)
{
	put(d, d->t->p + from, to - from);
}

static void put_string(struct edit *d, const char *s)
{
	struct k3_jw w = K3_JW(d->out);

	if (d->rc)
		return;
	k3_jw_str(&w, NULL, s);
	if (w.failed) {
		*d->e = w.err;
		d->rc = -1;
	}
}

static void put_line(struct edit *d, unsigned depth)
{
	if (!d->style.lines)
		return;
	put(d, "\n", 1);
	for (unsigned i = 0; i < depth; i++) {
		if (d->style.unit.to > d->style.unit.from)
			put_text(d, d->style.unit.from, d->style.unit.to);
		else
			put(d, "\t", 1);
	}
}

static void put_key(struct edit *d, const char *key)
{
	put_string(d, key);
	put(d, ": ", d->style.lines ? 2 : 1);
}

static void put_pairs(struct edit *d, const struct k3_json_pair *pairs, size_t n)
{
	put(d, "{", 1);
	for (size_t i = 0; i < n; i++) {
		put(d, ",", i ? 1 : 0);
		put_line(d, 3);
		put_key(d, pairs[i].key);
		put_string(d, pairs[i].value);
	}
	if (n)
		put_line(d, 2);
	put(d, "}", 1);
}

/* As the first member of the document is set: docker writes a tab for each level. */
static struct style style_of(const struct text *t, const struct object *root)
{
	struct style s = { .lines = true };
	size_t first = skip_blank(t, root->open + 1), at = first;

	if (!root->any)
		return s;
	while (at > root->open + 1 && t->p[at - 1] != '\n')
		at--;
	s.lines = at > root->open + 1;
	s.unit = (struct span){ s.lines ? at : first, first };
	return s;
}

/* Up to where a new member of the object begins; *rest is what follows it in the old text. */
static void begin_member(struct edit *d, const struct object *o, unsigned depth, size_t *rest)
{
	*rest = o->any ? o->last.value.to : o->close;
	put_text(d, 0, o->any ? *rest : o->open + 1);
	put(d, ",", o->any ? 1 : 0);
	put_line(d, depth);
}

static void end_member(struct edit *d, const struct object *o, unsigned depth, size_t rest)
{
	if (!o->any)
		put_line(d, depth - 1);
	put_text(d, rest, d->t->n);
}

static void put_outer(struct edit *d, const char *key, const struct k3_json_pair *pairs, size_t n)
{
	put(d, "{", 1);
	put_line(d, 2);
	put_key(d, key);
	put_pairs(d, pairs, n);
	put_line(d, 1);
	put(d, "}", 1);
}

int k3_json_set(const void *text, size_t len, const char *outer, const char *key,
		const struct k3_json_pair *pairs, size_t n, struct k3_buf *out, struct k3_err *e)
{
	static const char empty[] = "{}\n";
	const struct text t = { len ? text : empty, len ? len : sizeof(empty) - 1 };
	struct object root, in;
	bool there;
	size_t rest;

	k3_buf_reset(out);
	if (find_outer(&t, outer, key, &root, &in, &there, e))
		return -1;
	struct edit d = { .t = &t, .style = style_of(&t, &root), .out = out, .e = e };

	if (there && in.found) {
		put_text(&d, 0, in.hit.value.from);
		put_pairs(&d, pairs, n);
		put_text(&d, in.hit.value.to, t.n);
	} else if (there) {
		begin_member(&d, &in, 2, &rest);
		put_key(&d, key);
		put_pairs(&d, pairs, n);
		end_member(&d, &in, 2, rest);
	} else if (root.found) {
		put_text(&d, 0, root.hit.value.from);
		put_outer(&d, key, pairs, n);
		put_text(&d, root.hit.value.to, t.n);
	} else {
		begin_member(&d, &root, 1, &rest);
		put_key(&d, outer);
		put_outer(&d, key, pairs, n);
		end_member(&d, &root, 1, rest);
	}
	return d.rc;
}

int k3_json_drop(const void *text, size_t len, const char *outer, const char *key,
		 struct k3_buf *out, struct k3_err *e)
{
	const struct text t = { text, len };
	struct object root, in;
	bool there;

	k3_buf_reset(out);
	if (!len)
		return 0;
	if (find_outer(&t, outer, key, &root, &in, &there, e))
		return -1;
	struct edit d = { .t = &t, .out = out, .e = e };

	if (there && !key) {
		put_text(&d, 0, in.open + 1);
		put_text(&d, in.close, t.n);
		return d.rc;
	}
	if (!there || !in.found)
		return k3_buf_add(out, text, len, e);
	bool first = in.hit.before == in.open + 1;

	/* the comma goes with it; of the only one nothing is left but the brackets */
	put_text(&d, 0, first && in.hit.next ? in.hit.key.from : in.hit.before);
	put_text(&d, !first ? in.hit.value.to : in.hit.next ? in.hit.next : in.close, t.n);
	return d.rc;
}
