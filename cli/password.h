/* SPDX-License-Identifier: Apache-2.0 */
/* User names and passwords: asked for on the terminal, or read from standard input. */
#ifndef K3_CLI_PASSWORD_H
#define K3_CLI_PASSWORD_H

#include "base/err.h"
#include "base/thread.h"

#define PASSWORD_MAX (64u << 10) /* as many bytes as an auth file may have of one */

/*
 * Asks on the terminal, a secret without an echo; signals and the end of the input bring the
 * echo back.  K3_USAGE when standard input is no terminal or nothing was typed, K3_CANCELLED.
 * Caller wipes and frees.
 */
K3_MUST int password_ask(const char *prompt, bool secret, struct k3_cancel *c, char **out,
			 struct k3_err *e);
/*
 * Reads standard input to its end and drops one newline there.  K3_USAGE when that is empty, longer
 * than PASSWORD_MAX, or has a NUL or a line break inside.  Caller wipes and frees.
 */
K3_MUST int password_read(struct k3_cancel *c, char **out, struct k3_err *e);
bool password_can_ask(void);         /* is standard input a terminal? */
void password_forget(char **secret); /* wipes and frees */
#define PASSWORD_AUTO __attribute__((cleanup(password_forget)))

/*
 * "USER:PASSWORD" of --creds and --password-stdin: *out is NULL without --creds, and `creds` with
 * what was read, or asked for where that is possible, otherwise.  stdin_taken: something else is
 * read from standard input (NULL = nothing): then it is refused.  K3_USAGE.
 */
K3_MUST int password_complete(const char *creds, bool from_stdin, const char *stdin_taken,
			      struct k3_cancel *c, char **out, struct k3_err *e);

#endif
