/* SPDX-License-Identifier: Apache-2.0 */
/* Help, for people and for what is made of it: man pages and completions. */
#ifndef K3_CLI_HELP_H
#define K3_CLI_HELP_H

#include "cli/cli.h"

enum help_form {
	/*
	 * Lines of fields, with a tab between them: "name", "alias", "args", "summary", "text" (one
	 * for each line of it), "option" (name, letter, value), "help" (a line, of the option
	 * before), "command" (name, summary: of a group).
	 */
	HELP_TABLE,
	HELP_ANSWER, /* what the last word can become, see answer.h */
};

struct help_request {
	enum help_form form;
	/* HELP_ANSWER: the words behind the command's name; the last one is being written. */
	const char *const *words;
	size_t n;
};

/* The table in main.c; its rows live as long as the program. */
const struct command *cli_commands(size_t *n);
/* By name or alias, in a group by its last word; NULL when there is none. */
const struct command *cli_find_command(const struct command *all, size_t n, const char *name);
/* One line and a hint on stderr; returns the exit status. */
int cli_unknown_command(const char *name);
/* The help of the program as a whole. */
void cli_usage(FILE *out);
/* One command is asked for its help; extra words of argv choose one of a group. */
int cli_ask(const struct cli *c, const struct command *cmd, const struct help_request *request,
	    int argc, char **argv);
/*
 * A command that consists of others: their names are "GROUP NAME".  Chooses one by argv[0] and runs
 * it, or tells which there are.
 */
int cli_group(const struct cli *c, const struct command *cmd, const struct command *all, size_t n,
	      int argc, char **argv);

#endif
