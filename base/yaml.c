/* SPDX-License-Identifier: Apache-2.0 */
#include "base/yaml.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/buf.h"
#include "base/mem.h"

struct k3_yaml {
	enum k3_yaml_kind kind;
	unsigned line;
	bool plain; /* a scalar without quotes and tag: the only one that may be null or a bool */
	bool open;  /* its end is still to come */
	size_t n, cap;
	struct k3_yaml **items; /* elements, or values */
	struct k3_yaml **keys;  /* of a mapping: scalars, as many as items; same capacity */
	size_t *sorted;         /* of a mapping: places of keys in the order of their text */
	char text[];            /* of a scalar */
};

struct k3_yaml_doc {
	struct k3_yaml **all; /* owns; aliases make a value appear in more than one place */
	size_t n, cap;
	size_t merged; /* pairs looked at for merge keys: work that aliases can multiply */
	const struct k3_yaml **roots;
	size_t n_roots, cap_roots;
};

struct anchor {
	char *name;
	struct k3_yaml *value;
};

struct parser {
	yaml_parser_t lib;
	struct k3_yaml_doc *doc;
	struct k3_yaml *stack[K3_YAML_DEPTH_MAX];
	struct k3_yaml *key[K3_YAML_DEPTH_MAX]; /* the key whose value comes next, or NULL */
	size_t depth;
	struct k3_yaml *root;
	struct anchor anchors[K3_YAML_ANCHORS_MAX]; /* of this document */
	size_t n_anchors;
	struct k3_err *err;
};

/* ---- errors ------------------------------------------------------------------------------ */

static int malformed(struct parser *p, yaml_mark_t at, const char *what)
{
	return k3_fail(p->err, K3_FORMAT, "line %zu, column %zu: %s", at.line + 1, at.column + 1,
		       what);
}

static int lib_failed(struct parser *p)
{
	const yaml_parser_t *l = &p->lib;
	const char *what = l->problem ? l->problem : "not valid YAML";

	if (l->error == YAML_MEMORY_ERROR)
		return k3_fail(p->err, K3_NOMEM, "out of memory while reading YAML");
	/* The reader has no mark of what it could not decode, only its place. */
	if (l->error == YAML_READER_ERROR)
		return k3_fail(p->err, K3_FORMAT, "byte %zu: %s", l->problem_offset, what);
	if (!l->context)
		return malformed(p, l->problem_mark, what);
	return k3_fail(p->err, K3_FORMAT, "line %zu, column %zu: %s %s that began in line %zu",
		       l->problem_mark.line + 1, l->problem_mark.column + 1, what, l->context,
		       l->context_mark.line + 1);
}

/* ---- values ------------------------------------------------------------------------------ */

static int new_value(struct parser *p, enum k3_yaml_kind kind, yaml_mark_t at, size_t text,
		     struct k3_yaml **out)
{
	struct k3_yaml_doc *d = p->doc;

	if (d->n >= K3_YAML_VALUES_MAX)
		return k3_fail(p->err, K3_LIMIT,
			       "line %zu: YAML with more than the limit of %u values", at.line + 1,
			       K3_YAML_VALUES_MAX);
	d->all = k3_xgrow(d->all, d->n, &d->cap, sizeof(struct k3_yaml *));
	*out = d->all[d->n++] = k3_xcalloc(1, sizeof(struct k3_yaml) + text);
	(*out)->kind = kind;
	(*out)->line = (unsigned)at.line + 1;
	return 0;
}

static void append(struct k3_yaml *to, struct k3_yaml *key, struct k3_yaml *v)
{
	size_t cap = to->cap;

	to->items = k3_xgrow(to->items, to->n, &to->cap, sizeof(struct k3_yaml *));
	if (to->kind == K3_YAML_MAPPING) {
		to->keys = k3_xgrow(to->keys, to->n, &cap, sizeof(struct k3_yaml *));
		to->keys[to->n] = key;
	}
	to->items[to->n++] = v;
}

/* Puts a value where the parser stands. */
static int place(struct parser *p, struct k3_yaml *v, yaml_mark_t at)
{
	if (!p->depth) {
		p->root = v;
		return 0;
	}
	struct k3_yaml *parent = p->stack[p->depth - 1], **key = &p->key[p->depth - 1];

	if (parent->kind == K3_YAML_MAPPING && !*key) {
		if (v->kind != K3_YAML_SCALAR)
			return malformed(p, at, "a key that is a mapping or a sequence");
		*key = v;
		return 0;
	}
	append(parent, *key, v);
	*key = NULL;
	return 0;
}

/* ---- mappings ---------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b, void *arg)
{
	struct k3_yaml *const *keys = arg;
	size_t x = *(const size_t *)a, y = *(const size_t *)b;
	int order = strcmp(keys[x]->text, keys[y]->text);

	return order ? order : x < y ? -1 : x > y;
}

static void sort_keys(struct k3_yaml *m)
{
	m->sorted = k3_xrealloc(m->sorted, m->n, sizeof(*m->sorted));
	for (size_t i = 0; i < m->n; i++)
		m->sorted[i] = i;
	qsort_r(m->sorted, m->n, sizeof(*m->sorted), by_text, m->keys);
}

static bool same_text(const struct k3_yaml *m, size_t i, size_t j)
{
	return !strcmp(m->keys[m->sorted[i]]->text, m->keys[m->sorted[j]]->text);
}

static int check_keys(struct parser *p, const struct k3_yaml *m)
{
	for (size_t i = 1; i < m->n; i++) {
		const struct k3_yaml *k = m->keys[m->sorted[i]];

		if (same_text(m, i - 1, i))
			return k3_fail(p->err, K3_FORMAT,
				       "line %u: key \"%s\" is given twice, first in line %u",
				       k->line, k->text, m->keys[m->sorted[i - 1]]->line);
	}
	return 0;
}

static int merge_one(struct parser *p, struct k3_yaml *m, const struct k3_yaml *from, unsigned line)
{
	if (from->kind != K3_YAML_MAPPING)
		return k3_fail(p->err, K3_FORMAT,
			       "line %u: \"<<\" takes a mapping or a sequence of mappings", line);
	p->doc->merged += from->n;
	if (p->doc->merged > K3_YAML_VALUES_MAX)
		return k3_fail(p->err, K3_LIMIT,
			       "line %u: YAML that merges more than the limit of %u values", line,
			       K3_YAML_VALUES_MAX);
	for (size_t i = 0; i < from->n; i++)
		append(m, from->keys[i], from->items[i]);
	return 0;
}

/* Keeps the first of each key: what stands in the mapping itself, then the first one merged. */
static void drop_repeated(struct k3_yaml *m)
{
	size_t n = 0;

	sort_keys(m);
	K3_AUTO_FREE bool *repeated = k3_xcalloc(m->n, sizeof(*repeated));

	for (size_t i = 1; i < m->n; i++)
		repeated[m->sorted[i]] = same_text(m, i - 1, i);
	for (size_t i = 0; i < m->n; i++) {
		if (repeated[i])
			continue;
		m->keys[n] = m->keys[i];
		m->items[n++] = m->items[i];
	}
	m->n = n;
	sort_keys(m);
}

/* The key "<<" becomes the keys of the mappings it names. */
static int merge(struct parser *p, struct k3_yaml *m)
{
	size_t at = 0;

	while (at < m->n && !(m->keys[at]->plain && !strcmp(m->keys[at]->text, "<<")))
		at++;
	if (at == m->n)
		return 0;
	struct k3_yaml *from = m->items[at];
	unsigned line = m->keys[at]->line;

	m->n--;
	memmove(m->keys + at, m->keys + at + 1, (m->n - at) * sizeof(struct k3_yaml *));
	memmove(m->items + at, m->items + at + 1, (m->n - at) * sizeof(struct k3_yaml *));
	if (from->kind != K3_YAML_SEQUENCE) {
		if (merge_one(p, m, from, line))
			return -1;
	} else {
		for (size_t i = 0; i < from->n; i++)
			if (merge_one(p, m, from->items[i], line))
				return -1;
	}
	drop_repeated(m);
	return 0;
}

/* ---- events ------------------------------------------------------------------------------ */

static int set_anchor(struct parser *p, const yaml_char_t *name, struct k3_yaml *v, yaml_mark_t at)
{
	size_t i = 0;

	if (!name)
		return 0;
	while (i < p->n_anchors && strcmp(p->anchors[i].name, (const char *)name) != 0)
		i++;
	if (i == K3_YAML_ANCHORS_MAX)
		return k3_fail(p->err, K3_LIMIT,
			       "line %zu: YAML with more than the limit of %u anchors", at.line + 1,
			       K3_YAML_ANCHORS_MAX);
	if (i == p->n_anchors)
		p->anchors[p->n_anchors++].name = k3_xstrdup((const char *)name);
	p->anchors[i].value = v;
	return 0;
}

static void forget_anchors(struct parser *p)
{
	for (; p->n_anchors; p->n_anchors--)
		free(p->anchors[p->n_anchors - 1].name);
}

static int on_alias(struct parser *p, const yaml_event_t *ev)
{
	const char *name = (const char *)ev->data.alias.anchor;

	for (size_t i = 0; i < p->n_anchors; i++) {
		if (strcmp(p->anchors[i].name, name) != 0)
			continue;
		if (p->anchors[i].value->open)
			return malformed(p, ev->start_mark, "an alias inside of its own anchor");
		return place(p, p->anchors[i].value, ev->start_mark);
	}
	return k3_fail(p->err, K3_FORMAT, "line %zu, column %zu: no anchor \"%s\" before its alias",
		       ev->start_mark.line + 1, ev->start_mark.column + 1, name);
}

static int on_scalar(struct parser *p, const yaml_event_t *ev)
{
	const char *text = (const char *)ev->data.scalar.value;
	size_t n = ev->data.scalar.length;
	struct k3_yaml *v;

	if (memchr(text, '\0', n))
		return malformed(p, ev->start_mark, "U+0000 in a scalar");
	if (new_value(p, K3_YAML_SCALAR, ev->start_mark, n + 1, &v))
		return -1;
	memcpy(v->text, text, n);
	v->plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
		   ev->data.scalar.plain_implicit;
	return set_anchor(p, ev->data.scalar.anchor, v, ev->start_mark) ||
			       place(p, v, ev->start_mark)
		       ? -1
		       : 0;
}

static int on_start(struct parser *p, enum k3_yaml_kind kind, const yaml_char_t *anchor,
		    yaml_mark_t at)
{
	struct k3_yaml *v;

	if (p->depth == K3_YAML_DEPTH_MAX)
		return k3_fail(p->err, K3_LIMIT,
			       "line %zu: YAML nested deeper than the limit of %u levels",
			       at.line + 1, K3_YAML_DEPTH_MAX);
	if (new_value(p, kind, at, 0, &v))
		return -1;
	v->open = true;
	if (set_anchor(p, anchor, v, at) || place(p, v, at))
		return -1;
	p->key[p->depth] = NULL;
	p->stack[p->depth++] = v;
	return 0;
}

static int on_end(struct parser *p)
{
	struct k3_yaml *v = p->stack[--p->depth];

	v->open = false;
	if (v->kind == K3_YAML_SEQUENCE)
		return 0;
	sort_keys(v);
	return check_keys(p, v) || merge(p, v) ? -1 : 0;
}

static void on_document_end(struct parser *p)
{
	struct k3_yaml_doc *d = p->doc;

	forget_anchors(p);
	if (p->root->kind == K3_YAML_SCALAR && !k3_yaml_str(p->root))
		return;
	d->roots = k3_xgrow(d->roots, d->n_roots, &d->cap_roots, sizeof(struct k3_yaml *));
	d->roots[d->n_roots++] = p->root;
}

static int on_event(struct parser *p, const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_ALIAS_EVENT:
		return on_alias(p, ev);
	case YAML_SCALAR_EVENT:
		return on_scalar(p, ev);
	case YAML_SEQUENCE_START_EVENT:
		return on_start(p, K3_YAML_SEQUENCE, ev->data.sequence_start.anchor,
				ev->start_mark);
	case YAML_MAPPING_START_EVENT:
		return on_start(p, K3_YAML_MAPPING, ev->data.mapping_start.anchor, ev->start_mark);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return on_end(p);
	case YAML_DOCUMENT_END_EVENT:
		on_document_end(p);
		return 0;
	default:
		return 0;
	}
}

static int parse_events(struct parser *p)
{
	bool end = false;

	while (!end) {
		yaml_event_t ev;

		if (!yaml_parser_parse(&p->lib, &ev))
			return lib_failed(p);
		int rc = on_event(p, &ev);

		end = ev.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&ev);
		if (rc)
			return -1;
	}
	return 0;
}

/* ---- JSON -------------------------------------------------------------------------------- */

static bool hex4(const char *p, uint32_t *out)
{
	char digits[5] = { p[0], p[1], p[2], p[3], '\0' };

	if (strspn(digits, "0123456789abcdefABCDEF") != 4)
		return false;
	*out = (uint32_t)strtoul(digits, NULL, 16);
	return true;
}

static bool is_pair(const char *p, size_t n, uint32_t *code)
{
	uint32_t high, low;

	if (n < 12 || memcmp(p, "\\u", 2) != 0 || memcmp(p + 6, "\\u", 2) != 0 ||
	    !hex4(p + 2, &high) || !hex4(p + 8, &low))
		return false;
	*code = 0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff);
	return high >= 0xd800 && high < 0xdc00 && low >= 0xdc00 && low < 0xe000;
}

/*
 * JSON is YAML but for one thing: characters past U+FFFF may be escaped as two surrogates there.
 * out stays empty when the text has none of them, or is no JSON.
 */
static int join_surrogates(const char *p, size_t n, struct k3_buf *out, struct k3_err *e)
{
	size_t done = 0, i = 0;
	uint32_t code;

	while (i < n && strchr("\xef\xbb\xbf \t\r\n", p[i]) && p[i])
		i++;
	if (i == n || (p[i] != '{' && p[i] != '['))
		return 0;
	while (i < n) {
		const char *at = memchr(p + i, '\\', n - i);

		if (!at)
			break;
		i = (size_t)(at - p);
		if (!is_pair(at, n - i, &code)) {
			i += 2;
			continue;
		}
		if (k3_buf_add(out, p + done, i - done, e) || k3_buf_addf(out, e, "\\U%08x", code))
			return -1;
		done = i += 12;
	}
	return done ? k3_buf_add(out, p + done, n - done, e) : 0;
}

/* ---- interface --------------------------------------------------------------------------- */

int k3_yaml_parse(const void *text, size_t n, struct k3_yaml_doc **out, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf joined = K3_BUF(K3_YAML_SIZE_MAX);
	K3_AUTO_YAML struct k3_yaml_doc *doc = NULL;

	if (n > K3_YAML_SIZE_MAX)
		return k3_fail(e, K3_LIMIT, "YAML longer than the limit of %u MiB",
			       K3_YAML_SIZE_MAX >> 20);
	if (join_surrogates(text, n, &joined, e))
		return -1;
	doc = k3_xcalloc(1, sizeof(*doc));
	K3_AUTO_FREE struct parser *p = k3_xcalloc(1, sizeof(*p));

	p->doc = doc;
	p->err = e;
	if (!yaml_parser_initialize(&p->lib))
		return k3_fail(e, K3_NOMEM, "out of memory while reading YAML");
	yaml_parser_set_input_string(&p->lib, joined.len ? joined.p : text,
				     joined.len ? joined.len : n);
	int rc = parse_events(p);

	yaml_parser_delete(&p->lib);
	forget_anchors(p);
	if (rc)
		return -1;
	*out = K3_STEAL(doc);
	return 0;
}

void k3_yaml_free(struct k3_yaml_doc *doc)
{
	if (!doc)
		return;
	for (size_t i = 0; i < doc->n; i++) {
		free(doc->all[i]->items);
		free(doc->all[i]->keys);
		free(doc->all[i]->sorted);
		free(doc->all[i]);
	}
	free(doc->all);
	free(doc->roots);
	free(doc);
}

void k3_yaml_freep(struct k3_yaml_doc **doc)
{
	k3_yaml_free(*doc);
	*doc = NULL;
}

size_t k3_yaml_docs(const struct k3_yaml_doc *doc)
{
	return doc->n_roots;
}

const struct k3_yaml *k3_yaml_root(const struct k3_yaml_doc *doc, size_t i)
{
	return i < doc->n_roots ? doc->roots[i] : NULL;
}

enum k3_yaml_kind k3_yaml_kind(const struct k3_yaml *v)
{
	return v->kind;
}

bool k3_yaml_is(const struct k3_yaml *v, enum k3_yaml_kind kind)
{
	return v && v->kind == kind;
}

unsigned k3_yaml_line(const struct k3_yaml *v)
{
	return v ? v->line : 0;
}

const struct k3_yaml *k3_yaml_get(const struct k3_yaml *m, const char *key)
{
	size_t low = 0, high = k3_yaml_is(m, K3_YAML_MAPPING) ? m->n : 0;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(key, m->keys[m->sorted[mid]]->text);

		if (!order)
			return m->items[m->sorted[mid]];
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

size_t k3_yaml_len(const struct k3_yaml *v)
{
	return v ? v->n : 0;
}

const struct k3_yaml *k3_yaml_at(const struct k3_yaml *v, size_t i)
{
	return i < k3_yaml_len(v) ? v->items[i] : NULL;
}

const char *k3_yaml_key(const struct k3_yaml *m, size_t i)
{
	return k3_yaml_is(m, K3_YAML_MAPPING) && i < m->n ? m->keys[i]->text : NULL;
}

static bool is_one_of(const char *text, const char *const *words)
{
	while (*words && strcmp(text, *words) != 0)
		words++;
	return *words;
}

const char *k3_yaml_str(const struct k3_yaml *v)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };

	if (!k3_yaml_is(v, K3_YAML_SCALAR) || (v->plain && is_one_of(v->text, nulls)))
		return NULL;
	return v->text;
}

bool k3_yaml_bool(const struct k3_yaml *v, bool *out)
{
	static const char *const yes[] = { "true", "True", "TRUE", "yes", "Yes", "YES",
					   "on",   "On",   "ON",   "y",   "Y",   NULL };
	static const char *const no[] = { "false", "False", "FALSE", "no", "No", "NO",
					  "off",   "Off",   "OFF",   "n",  "N",  NULL };

	if (!k3_yaml_is(v, K3_YAML_SCALAR) || !v->plain)
		return false;
	if (!is_one_of(v->text, yes) && !is_one_of(v->text, no))
		return false;
	*out = is_one_of(v->text, yes);
	return true;
}
