/* SPDX-License-Identifier: Apache-2.0 */
#include "base/toml.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/toml_lex.h"

struct k3_toml {
	enum k3_toml_kind kind;
	unsigned depth, line;
	/*
	 * How a table came to be decides who may add to it: `defined` by a [header] or by a
	 * dotted key in section number `section` (0 for headers), `closed` when written inline.
	 * A table that is none of these was only passed through by a longer header.
	 */
	bool defined, closed;
	unsigned section;
	bool of_tables; /* an array made by [[header]] */
	char *text;
	int64_t num;
	struct k3_toml **items;
	char **keys;
	size_t n, cap, keycap;
};

struct k3_toml_doc {
	struct k3_toml *root;
};

struct parser {
	struct k3_toml_lex lex;
	struct k3_toml *root;
	struct k3_toml *cur; /* table of the last header */
	unsigned section;    /* number of headers so far, and one */
	const char *counted; /* up to here, lines have been counted */
	unsigned line;
};

/* The parts of a dotted key. */
struct dotted {
	char *part[K3_TOML_DEPTH_MAX];
	size_t n;
};

static int value(struct parser *p, unsigned depth, struct k3_toml **out);

/* ---- values ---------------------------------------------------------------------------- */

/* Where the parser is: it only goes forward, so that each line is counted once. */
static unsigned line_now(struct parser *p)
{
	if (!p->counted) {
		p->counted = p->lex.start;
		p->line = 1;
	}
	for (; p->counted < p->lex.at; p->counted++)
		p->line += *p->counted == '\n';
	return p->line;
}

static struct k3_toml *new_value(struct parser *p, enum k3_toml_kind kind, unsigned depth)
{
	struct k3_toml *v = k3_xcalloc(1, sizeof(*v));

	v->line = line_now(p);
	v->kind = kind;
	v->depth = depth;
	return v;
}

/* Recursion is bounded by K3_TOML_DEPTH_MAX. */
static void free_value(struct k3_toml *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->n; i++) {
		free_value(v->items[i]);
		if (v->keys)
			free(v->keys[i]);
	}
	free(v->items);
	free(v->keys);
	free(v->text);
	free(v);
}

static void free_valuep(struct k3_toml **v)
{
	free_value(*v);
}

#define AUTO_VALUE __attribute__((cleanup(free_valuep)))

static struct k3_toml *find(const struct k3_toml *table, const char *key)
{
	for (size_t i = 0; i < table->n; i++)
		if (!strcmp(table->keys[i], key))
			return table->items[i];
	return NULL;
}

/* Takes v. */
static void append(struct k3_toml *array, struct k3_toml *v)
{
	array->items = k3_xgrow(array->items, array->n, &array->cap, sizeof(struct k3_toml *));
	array->items[array->n++] = v;
}

/* Takes v, also on failure. */
static int insert(struct parser *p, struct k3_toml *table, const char *key, struct k3_toml *v)
{
	if (table->n >= K3_TOML_TABLE_KEYS_MAX) {
		free_value(v);
		return k3_toml_too_much(&p->lex, "too many keys in one table");
	}
	table->keys = k3_xgrow(table->keys, table->n, &table->keycap, sizeof(char *));
	table->keys[table->n] = k3_xstrdup(key);
	append(table, v);
	return 0;
}

static int insert_table(struct parser *p, struct k3_toml *parent, const char *key,
			struct k3_toml **out)
{
	if (parent->depth + 1 > K3_TOML_DEPTH_MAX)
		return k3_toml_too_much(&p->lex, "tables nested too deeply");
	*out = new_value(p, K3_TOML_TABLE, parent->depth + 1);
	return insert(p, parent, key, *out);
}

/* ---- keys -------------------------------------------------------------------------------- */

static void dotted_release(struct dotted *k)
{
	while (k->n)
		free(k->part[--k->n]);
}

#define AUTO_DOTTED __attribute__((cleanup(dotted_release)))

static bool is_bare(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' ||
	       c == '-';
}

static int key_part(struct parser *p, char **out)
{
	size_t n = 0;

	if (*p->lex.at == '"' || *p->lex.at == '\'')
		return k3_toml_string(&p->lex, false, out);
	while (is_bare(p->lex.at[n]))
		n++;
	if (!n)
		return k3_toml_bad(&p->lex, "key expected");
	*out = k3_xstrndup(p->lex.at, n);
	p->lex.at += n;
	return 0;
}

static int key(struct parser *p, struct dotted *k)
{
	for (;;) {
		k3_toml_skip_blanks(&p->lex);
		if (k->n == K3_TOML_DEPTH_MAX)
			return k3_toml_too_much(&p->lex, "key with too many parts");
		if (key_part(p, &k->part[k->n]))
			return -1;
		k->n++;
		k3_toml_skip_blanks(&p->lex);
		if (*p->lex.at != '.')
			return 0;
		p->lex.at++;
	}
}

/*
 * The table that the parts before the last one lead to, made where missing.  A dotted key
 * may add to tables that dotted keys of the same section made, to no others.
 */
static int dotted_parent(struct parser *p, struct k3_toml *from, const struct dotted *k,
			 struct k3_toml **out)
{
	for (size_t i = 0; i + 1 < k->n; i++) {
		struct k3_toml *next = find(from, k->part[i]);

		if (!next && insert_table(p, from, k->part[i], &next))
			return -1;
		if (next->kind != K3_TOML_TABLE || next->closed ||
		    (next->defined && next->section != p->section))
			return k3_toml_bad(&p->lex,
					   "dotted key adds to something defined elsewhere");
		next->defined = true;
		next->section = p->section;
		from = next;
	}
	*out = from;
	return 0;
}

/* key = value, into the table `into`. */
static int assignment(struct parser *p, struct k3_toml *into)
{
	AUTO_DOTTED struct dotted k = { .n = 0 };
	struct k3_toml *table = NULL, *v = NULL;

	if (key(p, &k))
		return -1;
	if (*p->lex.at != '=')
		return k3_toml_bad(&p->lex, "'=' expected behind the key");
	p->lex.at++;
	k3_toml_skip_blanks(&p->lex);
	if (dotted_parent(p, into, &k, &table))
		return -1;
	if (find(table, k.part[k.n - 1]))
		return k3_toml_bad(&p->lex, "key defined twice");
	if (value(p, table->depth + 1, &v))
		return -1;
	return insert(p, table, k.part[k.n - 1], v);
}

/* ---- arrays and inline tables ---------------------------------------------------------------- */

static int array(struct parser *p, struct k3_toml *v)
{
	p->lex.at++;
	for (;;) {
		struct k3_toml *item = NULL;

		k3_toml_skip_lines(&p->lex);
		if (*p->lex.at == ']')
			break;
		if (value(p, v->depth + 1, &item))
			return -1;
		append(v, item);
		k3_toml_skip_lines(&p->lex);
		if (*p->lex.at == ',')
			p->lex.at++;
		else if (*p->lex.at != ']')
			return k3_toml_bad(&p->lex, "',' or ']' expected in an array");
	}
	p->lex.at++;
	return 0;
}

/* Nothing may be added to v or to what is in it once it is written. */
static void close_tables(struct k3_toml *v)
{
	v->closed = true;
	for (size_t i = 0; v->kind == K3_TOML_TABLE && i < v->n; i++)
		close_tables(v->items[i]);
}

static int inline_table(struct parser *p, struct k3_toml *v)
{
	p->lex.at++;
	k3_toml_skip_blanks(&p->lex);
	if (*p->lex.at != '}')
		for (;;) {
			if (assignment(p, v))
				return -1;
			k3_toml_skip_blanks(&p->lex);
			if (*p->lex.at != ',')
				break;
			p->lex.at++;
		}
	if (*p->lex.at != '}')
		return k3_toml_bad(&p->lex, "',' or '}' expected in an inline table");
	p->lex.at++;
	close_tables(v);
	return 0;
}

static int scalar(struct parser *p, struct k3_toml *v)
{
	struct k3_toml_scalar s = { .text = NULL };

	if (k3_toml_word(&p->lex, &s))
		return -1;
	v->kind = s.kind;
	v->text = s.text;
	v->num = s.num;
	return 0;
}

static int value(struct parser *p, unsigned depth, struct k3_toml **out)
{
	AUTO_VALUE struct k3_toml *v = NULL;

	if (depth > K3_TOML_DEPTH_MAX)
		return k3_toml_too_much(&p->lex, "values nested too deeply");
	v = new_value(p, K3_TOML_ARRAY, depth);
	if (*p->lex.at == '[') {
		if (array(p, v))
			return -1;
	} else if (*p->lex.at == '{') {
		v->kind = K3_TOML_TABLE;
		if (inline_table(p, v))
			return -1;
	} else if (*p->lex.at == '"' || *p->lex.at == '\'') {
		v->kind = K3_TOML_STRING;
		if (k3_toml_string(&p->lex, true, &v->text))
			return -1;
	} else if (scalar(p, v)) {
		return -1;
	}
	*out = K3_STEAL(v);
	return 0;
}

/* ---- headers --------------------------------------------------------------------------------- */

/* The table that the parts of a header before the last one lead to, made where missing. */
static int header_parent(struct parser *p, const struct dotted *k, struct k3_toml **out)
{
	struct k3_toml *t = p->root;

	for (size_t i = 0; i + 1 < k->n; i++) {
		struct k3_toml *next = find(t, k->part[i]);

		if (!next && insert_table(p, t, k->part[i], &next))
			return -1;
		if (next->kind == K3_TOML_ARRAY && next->of_tables)
			next = next->items[next->n - 1];
		if (next->kind != K3_TOML_TABLE || next->closed)
			return k3_toml_bad(&p->lex,
					   "header goes through something that is no open table");
		t = next;
	}
	*out = t;
	return 0;
}

static int open_table(struct parser *p, struct k3_toml *parent, const char *name)
{
	struct k3_toml *t = find(parent, name);

	if (!t && insert_table(p, parent, name, &t))
		return -1;
	if (t->kind != K3_TOML_TABLE || t->closed || t->defined)
		return k3_toml_bad(&p->lex, "table defined twice");
	t->defined = true;
	t->section = 0;
	t->line = line_now(p);
	p->cur = t;
	return 0;
}

static int open_element(struct parser *p, struct k3_toml *parent, const char *name)
{
	struct k3_toml *a = find(parent, name);

	if (parent->depth + 2 > K3_TOML_DEPTH_MAX)
		return k3_toml_too_much(&p->lex, "tables nested too deeply");
	if (!a) {
		a = new_value(p, K3_TOML_ARRAY, parent->depth + 1);
		a->of_tables = true;
		if (insert(p, parent, name, a))
			return -1;
	}
	if (!a->of_tables)
		return k3_toml_bad(&p->lex, "[[…]] names something that is no array of tables");
	p->cur = new_value(p, K3_TOML_TABLE, parent->depth + 2);
	p->cur->defined = true;
	append(a, p->cur);
	return 0;
}

static int header(struct parser *p)
{
	AUTO_DOTTED struct dotted k = { .n = 0 };
	bool element = p->lex.at[1] == '[';
	struct k3_toml *parent = NULL;

	p->lex.at += element ? 2 : 1;
	if (key(p, &k))
		return -1;
	if (*p->lex.at != ']' || (element && p->lex.at[1] != ']'))
		return k3_toml_bad(&p->lex, "']' expected behind the name of the table");
	p->section++;
	if (header_parent(p, &k, &parent))
		return -1;
	if (element ? open_element(p, parent, k.part[k.n - 1])
		    : open_table(p, parent, k.part[k.n - 1]))
		return -1;
	p->lex.at += element ? 2 : 1;
	return 0;
}

static int document(struct parser *p)
{
	for (;;) {
		k3_toml_skip_lines(&p->lex);
		if (!*p->lex.at)
			return 0;
		if (*p->lex.at == '[' ? header(p) : assignment(p, p->cur))
			return -1;
		if (k3_toml_end_of_line(&p->lex))
			return -1;
	}
}

int k3_toml_parse(const void *text, size_t n, struct k3_toml_doc **out, struct k3_err *e)
{
	struct parser p = { .section = 1, .lex = { .e = e } };
	AUTO_VALUE struct k3_toml *root = NULL;
	K3_AUTO_FREE char *copy = NULL;

	if (n > K3_TOML_SIZE_MAX)
		return k3_fail(e, K3_LIMIT, "%zu bytes of TOML: more than %u", n, K3_TOML_SIZE_MAX);
	copy = k3_xcalloc(n + 1, 1);
	root = new_value(&p, K3_TOML_TABLE, 0);
	p.counted = NULL;
	p.root = p.cur = root;
	if (k3_toml_clean(&p.lex, text, n, copy) || document(&p))
		return -1;
	*out = k3_xcalloc(1, sizeof(**out));
	(*out)->root = K3_STEAL(root);
	return 0;
}

void k3_toml_free(struct k3_toml_doc *doc)
{
	if (doc)
		free_value(doc->root);
	free(doc);
}

void k3_toml_freep(struct k3_toml_doc **doc)
{
	k3_toml_free(*doc);
	*doc = NULL;
}

/* ---- looking ------------------------------------------------------------------------ */

const struct k3_toml *k3_toml_root(const struct k3_toml_doc *doc)
{
	return doc->root;
}

enum k3_toml_kind k3_toml_kind(const struct k3_toml *v)
{
	return v->kind;
}

const struct k3_toml *k3_toml_get(const struct k3_toml *table, const char *name)
{
	return table && table->kind == K3_TOML_TABLE ? find(table, name) : NULL;
}

const struct k3_toml *k3_toml_path(const struct k3_toml *table, const char *const *keys, size_t n)
{
	for (size_t i = 0; i < n; i++)
		table = k3_toml_get(table, keys[i]);
	return table;
}

size_t k3_toml_len(const struct k3_toml *v)
{
	return v ? v->n : 0;
}

const struct k3_toml *k3_toml_at(const struct k3_toml *v, size_t i)
{
	return v && i < v->n ? v->items[i] : NULL;
}

const char *k3_toml_key(const struct k3_toml *table, size_t i)
{
	return table && table->keys && i < table->n ? table->keys[i] : NULL;
}

unsigned k3_toml_line(const struct k3_toml *v)
{
	return v ? v->line : 0;
}

const char *k3_toml_str(const struct k3_toml *v)
{
	return v && v->kind == K3_TOML_STRING ? v->text : NULL;
}

const char *k3_toml_text(const struct k3_toml *v)
{
	return v && (v->kind == K3_TOML_FLOAT || v->kind == K3_TOML_TIME) ? v->text : NULL;
}

bool k3_toml_int(const struct k3_toml *v, int64_t *out)
{
	if (!v || v->kind != K3_TOML_INT)
		return false;
	*out = v->num;
	return true;
}

bool k3_toml_bool(const struct k3_toml *v, bool *out)
{
	if (!v || v->kind != K3_TOML_BOOL)
		return false;
	*out = v->num;
	return true;
}
