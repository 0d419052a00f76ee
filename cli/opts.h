/* SPDX-License-Identifier: Apache-2.0 */
/* Options as tables: one table parses the words and prints the help. */
#ifndef K3_CLI_OPTS_H
#define K3_CLI_OPTS_H

#include <stdio.h>

#include "base/err.h"

enum opt_kind {
	OPT_FLAG,  /* bool *: set to true */
	OPT_UNSET, /* bool *: set to false */
	OPT_STR,   /* const char **: the last one wins */
	OPT_LIST,  /* struct words *: each one is kept */
	OPT_ROWS,  /* struct opt *: the rows of that table come here; it has none of this kind */
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
	const char *arg;  /* what the help calls the value */
	const char *help; /* lines after the first are indented */
	void *dest;
};

/*
 * Options and arguments may be mixed; "--" ends the options; "--name=value" and "-xvalue"
 * work.  Arguments go to *args (borrowed from argv).  *help is set by -h and --help, and
 * parsing stops there.  K3_USAGE with a hint that names the nearest option.
 */
K3_MUST int opts_parse(const struct opt *table, int argc, char **argv, struct words *args,
		       bool *help, struct k3_err *e);
void opts_print(const struct opt *table, FILE *out);
void words_add(struct words *w, const char *word);
void words_release(struct words *w);

/* How unlike two words are: the number of edits, for "did you mean". */
size_t opts_distance(const char *a, const char *b);

#endif
