/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/opts.h"

#include <stdlib.h>
#include <string.h>

#include "base/distance.h"
#include "base/mem.h"

#define HELP_COLUMN 30
#define HELP_WIDTH 79
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

const struct opt *opts_next(struct opts_walk *w)
{
	if (!w->at->name && w->at->kind == OPT_ROWS) {
		w->outer = w->at + 1;
		w->at = w->at->dest;
	}
	if (!w->at->name && w->outer) {
		w->at = w->outer;
		w->outer = NULL;
		return opts_next(w);
	}
	return w->at->name ? w->at++ : NULL;
}

const struct opt *opts_find(const struct opt *table, const char *name, size_t len)
{
	struct opts_walk w = { .at = table };
	const struct opt *o;

	while ((o = opts_next(&w)) != NULL)
		if (strlen(o->name) == len && !strncmp(o->name, name, len))
			return o;
	return NULL;
}

const struct opt *opts_find_letter(const struct opt *table, char letter)
{
	struct opts_walk w = { .at = table };
	const struct opt *o;

	while ((o = opts_next(&w)) != NULL)
		if (o->letter == letter)
			return o;
	return NULL;
}

bool opts_takes_value(const struct opt *o)
{
	return o->kind == OPT_STR || o->kind == OPT_CHOICE || o->kind == OPT_LIST;
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
	struct opts_walk w = { .at = table };

	snprintf(name, sizeof(name), "%.*s", (int)len, word);
	for (const struct opt *o; (o = opts_next(&w));) {
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
	case OPT_CHOICE:
		*(const char **)o->dest = value;
		break;
	case OPT_LIST:
		words_add(o->dest, value);
		break;
	case OPT_ROWS:
		break;
	}
}

/* "text, json or name" of "text|json|name". */
static void list_choices(const char *arg, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	while (*arg && used < size) {
		size_t len = strcspn(arg, "|");
		bool last = !arg[len];

		int n = snprintf(out + used, size - used, "%s%.*s",
				 !used  ? ""
				 : last ? " or "
					: ", ",
				 (int)len, arg);

		used += n > 0 ? (size_t)n : 0;
		arg += len + !last;
	}
}

static bool is_choice(const char *arg, const char *value)
{
	size_t n = strlen(value);

	for (; *arg; arg += strspn(arg, "|")) {
		size_t len = strcspn(arg, "|");

		if (len == n && !strncmp(arg, value, n))
			return true;
		arg += len;
	}
	return false;
}

static int take(const struct opt *o, const char *value, struct k3_err *e)
{
	char choices[256];

	if (o->kind == OPT_CHOICE && !is_choice(o->arg, value)) {
		list_choices(o->arg, choices, sizeof(choices));
		return k3_fail(e, K3_USAGE, "--%s is %s, not \"%s\"", o->name, choices, value);
	}
	store(o, value);
	return 0;
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
	const struct opt *o = opts_find(table, word, len);

	if (!o)
		return unknown(table, word, len, e);
	if (o->kind == OPT_BOOL) {
		if (value && !is_bool(value))
			return k3_fail(e, K3_USAGE, "--%s is true or false, not \"%s\"", o->name,
				       value);
		store(o, value);
		return 0;
	}
	if (!opts_takes_value(o)) {
		if (value)
			return k3_fail(e, K3_USAGE, "--%s takes no value", o->name);
		store(o, NULL);
		return 0;
	}
	if (!value && *i + 1 < argc)
		value = argv[++*i];
	if (!value)
		return k3_fail(e, K3_USAGE, "--%s needs a value: %s", o->name, o->arg);
	return take(o, value, e);
}

/* argv[*i] is "-abc", "-x value" or "-xvalue". */
static int parse_short(const struct opt *table, int argc, char **argv, int *i, struct k3_err *e)
{
	for (const char *c = argv[*i] + 1; *c; c++) {
		const struct opt *o = opts_find_letter(table, *c);

		if (!o) {
			k3_fail(e, K3_USAGE, "unknown option -%c", *c);
			return k3_hint(e, "--help lists the options");
		}
		if (!opts_takes_value(o)) {
			store(o, NULL);
			continue;
		}
		if (c[1])
			return take(o, c + 1, e);
		if (*i + 1 < argc)
			return take(o, argv[++*i], e);
		return k3_fail(e, K3_USAGE, "-%c needs a value: %s", *c, o->arg);
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

void opts_wrap(const char *text, size_t len, int indent, FILE *out)
{
	int column = indent;

	for (size_t n; len; text += n, len -= n) {
		size_t blank = 0;

		while (blank < len && strchr(" \n", text[blank]))
			blank++;
		text += blank;
		len -= blank;
		for (n = 0; n < len && !strchr(" \n", text[n]);)
			n++;
		if (!n)
			break;
		if (column > indent && column + (int)(blank + n) > HELP_WIDTH) {
			fprintf(out, "\n%*s", indent, "");
			column = indent;
			blank = 0;
		}
		/* Two blanks behind a full stop stay. */
		blank = column > indent ? blank : 0;
		fprintf(out, "%*s%.*s", (int)blank, "", (int)n, text);
		column += (int)(blank + n);
	}
	fputc('\n', out);
}

/* "live: through its API": what is said of one value has a line of its own. */
static bool tells_value(const char *line)
{
	size_t n = 0;

	while ((line[n] >= 'a' && line[n] <= 'z') || (line[n] >= '0' && line[n] <= '9'))
		n++;
	return n && (!strncmp(line + n, ": ", 2) || !strncmp(line + n, " (default): ", 12));
}

/* How far a line of the help goes: other newlines in it only mean a blank. */
static size_t paragraph(const char *text)
{
	size_t len = strcspn(text, "\n");

	while (text[len] && !tells_value(text + len + 1))
		len += 1 + strcspn(text + len + 1, "\n");
	return len;
}

void opts_print(const struct opt *table, FILE *out)
{
	struct opts_walk w = { .at = table };

	for (const struct opt *o; (o = opts_next(&w));) {
		char left[64];
		const char *line = o->help;

		snprintf(left, sizeof(left), "  %c%c%s--%s%s%s", o->letter ? '-' : ' ',
			 o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name,
			 o->arg ? " " : "", o->arg ? o->arg : "");
		fprintf(out, "%-*s", HELP_COLUMN, left);
		if (strlen(left) >= HELP_COLUMN)
			fprintf(out, "\n%*s", HELP_COLUMN, "");
		for (size_t len; *line; line += len + (line[len] == '\n')) {
			len = paragraph(line);
			fprintf(out, "%*s", line == o->help ? 0 : HELP_COLUMN, "");
			opts_wrap(line, len, HELP_COLUMN, out);
		}
	}
	fprintf(out, "  -h, --help                  this text\n");
}
