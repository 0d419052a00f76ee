/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/opts.h"

#include <stdlib.h>
#include <string.h>

#include "base/distance.h"
#include "base/mem.h"

#define HELP_COLUMN 30
#define WORD_MAX 32 /* words compared for a hint are cut here */

void words_add(struct words *w, const char *word)
{
	w->items = k3_xgrow(w->items, w->n, &w->cap, sizeof(*w->items));
	w->items[w->n++] = word;
}

void words_release(struct words *w)
{
	free(w->items);
	*w = (struct words){ 0 };
}

/* Walks over a table and the ones inside of it. */
struct row {
	const struct opt *at;
	const struct opt *outer; /* where it goes on behind the inner one, or NULL */
};

static const struct opt *next_row(struct row *r)
{
	if (!r->at->name && r->at->kind == OPT_ROWS) {
		r->outer = r->at + 1;
		r->at = r->at->dest;
	}
	if (!r->at->name && r->outer) {
		r->at = r->outer;
		r->outer = NULL;
		return next_row(r);
	}
	return r->at->name ? r->at++ : NULL;
}

size_t opts_distance(const char *a, const char *b)
{
	return k3_distance(a, b);
}

static int unknown(const struct opt *table, const char *word, size_t len, struct k3_err *e)
{
	const struct opt *near = NULL;
	char name[WORD_MAX + 1];
	size_t best = 4; /* more edits than this are another word */

	struct row r = { .at = table };

	snprintf(name, sizeof(name), "%.*s", (int)len, word);
	for (const struct opt *o; (o = next_row(&r));) {
		size_t d = opts_distance(name, o->name);

		if (d < best) {
			best = d;
			near = o;
		}
	}
	k3_fail(e, K3_USAGE, "unknown option --%s", name);
	return near ? k3_hint(e, "did you mean --%s?", near->name)
		    : k3_hint(e, "--help lists the options");
}

static void store(const struct opt *o, const char *value)
{
	switch (o->kind) {
	case OPT_FLAG:
		*(bool *)o->dest = true;
		break;
	case OPT_UNSET:
		*(bool *)o->dest = false;
		break;
	case OPT_BOOL:
		*(bool *)o->dest = !value || !strcmp(value, "true") || !strcmp(value, "1");
		break;
	case OPT_STR:
		*(const char **)o->dest = value;
		break;
	case OPT_LIST:
		words_add(o->dest, value);
		break;
	case OPT_ROWS:
		break;
	}
}

static bool takes_value(const struct opt *o)
{
	return o->kind == OPT_STR || o->kind == OPT_LIST;
}

static bool is_bool(const char *s)
{
	return !strcmp(s, "true") || !strcmp(s, "false") || !strcmp(s, "1") || !strcmp(s, "0");
}

/* argv[*i] is "--name" or "--name=value". */
static int parse_long(const struct opt *table, int argc, char **argv, int *i, struct k3_err *e)
{
	const char *word = argv[*i] + 2;
	size_t len = strcspn(word, "=");
	const char *value = word[len] ? word + len + 1 : NULL;
	struct row r = { .at = table };
	const struct opt *o = next_row(&r);

	while (o && (strlen(o->name) != len || strncmp(o->name, word, len) != 0))
		o = next_row(&r);
	if (!o)
		return unknown(table, word, len, e);
	if (o->kind == OPT_BOOL) {
		if (value && !is_bool(value))
			return k3_fail(e, K3_USAGE, "--%s is true or false, not \"%s\"", o->name,
				       value);
		store(o, value);
		return 0;
	}
	if (!takes_value(o)) {
		if (value)
			return k3_fail(e, K3_USAGE, "--%s takes no value", o->name);
		store(o, NULL);
		return 0;
	}
	if (!value && *i + 1 < argc)
		value = argv[++*i];
	if (!value)
		return k3_fail(e, K3_USAGE, "--%s needs a value: %s", o->name, o->arg);
	store(o, value);
	return 0;
}

/* argv[*i] is "-abc", "-x value" or "-xvalue". */
static int parse_short(const struct opt *table, int argc, char **argv, int *i, struct k3_err *e)
{
	for (const char *c = argv[*i] + 1; *c; c++) {
		struct row r = { .at = table };
		const struct opt *o = next_row(&r);

		while (o && o->letter != *c)
			o = next_row(&r);
		if (!o) {
			k3_fail(e, K3_USAGE, "unknown option -%c", *c);
			return k3_hint(e, "--help lists the options");
		}
		if (!takes_value(o)) {
			store(o, NULL);
			continue;
		}
		if (c[1])
			store(o, c + 1);
		else if (*i + 1 < argc)
			store(o, argv[++*i]);
		else
			return k3_fail(e, K3_USAGE, "-%c needs a value: %s", *c, o->arg);
		return 0;
	}
	return 0;
}

int opts_parse(const struct opt *table, int argc, char **argv, struct words *args, bool *help,
	       struct k3_err *e)
{
	bool options = true;

	*help = false;
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i];

		if (!options || word[0] != '-' || !word[1]) {
			words_add(args, word);
		} else if (!strcmp(word, "--")) {
			options = false;
			args->before = args->n;
		} else if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
			*help = true;
			return 0;
		} else if (word[1] == '-' ? parse_long(table, argc, argv, &i, e)
					  : parse_short(table, argc, argv, &i, e)) {
			return -1;
		}
	}
	if (options)
		args->before = args->n;
	return 0;
}

void opts_print(const struct opt *table, FILE *out)
{
	struct row r = { .at = table };

	for (const struct opt *o; (o = next_row(&r));) {
		char left[64];
		const char *line = o->help;

		snprintf(left, sizeof(left), "  %c%c%s--%s%s%s", o->letter ? '-' : ' ',
			 o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name,
			 o->arg ? " " : "", o->arg ? o->arg : "");
		fprintf(out, "%-*s", HELP_COLUMN, left);
		if (strlen(left) >= HELP_COLUMN)
			fprintf(out, "\n%*s", HELP_COLUMN, "");
		for (size_t len; *line; line += len + (line[len] == '\n')) {
			len = strcspn(line, "\n");
			fprintf(out, "%s%.*s\n",
				line == o->help ? "" : "                              ", (int)len,
				line);
		}
	}
	fprintf(out, "  -h, --help                  this text\n");
}
