/* SPDX-License-Identifier: Apache-2.0 */
/* Options as tables: one table parses the words and prints the help. */
#ifndef K3_CLI_OPTS_H
#define K3_CLI_OPTS_H

#include <stdio.h>

#include "base/err.h"

enum opt_kind {
	OPT_FLAG,   /* bool *: set to true */
	OPT_UNSET,  /* bool *: set to false */
	OPT_BOOL,   /* bool *: "--name" or "--name=true", "--name=false" */
	OPT_STR,    /* const char **: the last one wins */
	OPT_CHOICE, /* const char **: one of the words that arg names, as "text|json" */
	OPT_LIST,   /* struct words *: each one is kept */
	OPT_ROWS,   /* struct opt *: the rows of that table come here; it has none of this kind */
};

struct words {
	const char **items;
	size_t n, cap;
	size_t before; /* opts_parse: so many were in front of "--"; n without one */
};

struct opt {
	const char *name; /* without the dashes; ends the table when NULL */
	char letter;      /* 0 = none */
	enum opt_kind kind;
	/*
	 * What the help calls the value.  Completions go by it, too: words in lower case are
	 * values, FILE, LIST, PATH, SOCKET and DIR are files, REF is an image, and a section of
	 * the command's text called "Checks:" has the values of CHECK.
	 */
	const char *arg;
	const char *help; /* wrapped when printed; "\nvalue: " begins a new line */
	void *dest;
};

/* Goes over the rows of a table and of those inside of it: start with { .at = table }. */
struct opts_walk {
	const struct opt *at;
	const struct opt *outer; /* where it goes on behind the inner one, or NULL */
};
const struct opt *opts_next(struct opts_walk *w);
/* NULL when there is none of that name; len is the name's. */
const struct opt *opts_find(const struct opt *table, const char *name, size_t len);
const struct opt *opts_find_letter(const struct opt *table, char letter);
/* Whether a value follows it: those of OPT_BOOL come behind "=" alone. */
bool opts_takes_value(const struct opt *o);

/*
 * Options and arguments may be mixed; "--" ends the options; "--name=value" and "-xvalue"
 * work.  Arguments go to *args (borrowed from argv).  *help is set by -h and --help, and
 * parsing stops there.  K3_USAGE with a hint that names the nearest option, or with
 * the values that an OPT_CHOICE has.
 */
K3_MUST int opts_parse(const struct opt *table, int argc, char **argv, struct words *args,
		       bool *help, struct k3_err *e);
/* On 80 columns. */
void opts_print(const struct opt *table, FILE *out);
/*
 * One paragraph, wrapped at column 79; every line but the first begins with `indent` blanks, and
 * the first one is taken to be there already.  A newline in it is a blank like any other.
 */
void opts_wrap(const char *text, size_t len, int indent, FILE *out);
void words_add(struct words *w, const char *word);
void words_release(struct words *w);

/* How unlike two words are: the number of edits, for "did you mean". */
size_t opts_distance(const char *a, const char *b);

#endif
