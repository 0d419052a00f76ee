/* SPDX-License-Identifier: Apache-2.0 */
/* What progress is shown on. */
#ifndef K3_CLI_TERMINAL_H
#define K3_CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

struct terminal_size {
	size_t columns, rows;
};

struct terminal {
	int fd;
	const struct terminal_size *fixed; /* of what cannot be asked for it, or NULL */
	bool moves;                        /* a terminal whose cursor can be moved */
	bool colour;                       /* may be coloured */
	bool unicode;                      /* shows more than ASCII */
	bool reflows; /* lines that became too long are wrapped anew when it gets narrower */
	bool results; /* standard output is a terminal, too */
};

/* Standard error, by the environment: TERM, NO_COLOR, the locale. */
struct terminal terminal_stderr(void);
/* As it is now; 80 x 24 where nobody tells. */
struct terminal_size terminal_size(const struct terminal *t);
/* Whether a shell has put us into the background: then its terminal is not ours. */
bool terminal_is_ours(const struct terminal *t);
/*
 * Writes all of it, as far as that is possible within a second.  False when it is not: nobody
 * reads any more, or there is no space.
 */
bool terminal_write(const struct terminal *t, const char *text, size_t n);

#endif
