/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a word that is being written can become, for the scripts in packaging/completions: a line
 * for each candidate, with a tab and some words about it behind it.  A line ":files PREFIX" or
 * ":dirs PREFIX" says that the shell is to add what files there are, behind that prefix of the
 * word.
 */
#ifndef K3_CLI_ANSWER_H
#define K3_CLI_ANSWER_H

#include "cli/cli.h"

/* cmd->help has the words. */
void answer_words(const struct command *cmd, const char *text, const struct opt *opts);
/* The names of commands that begin so. */
void answer_commands(const struct command *all, size_t n, const char *cur);

#endif
