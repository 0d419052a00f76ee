/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DEFAULT_COLUMNS 80
#define DEFAULT_ROWS 24
#define WRITE_MS 1000 /* a terminal that is not read for so long has lost a frame */

/* The first of them that is set and not empty decides, as for setlocale(). */
static bool is_utf8(void)
{
	static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);
		const char *codeset = value && *value ? strchr(value, '.') : NULL;

		if (value && *value)
			return codeset && (!strncasecmp(codeset, ".utf-8", 6) ||
					   !strncasecmp(codeset, ".utf8", 5));
	}
	return false;
}

struct terminal terminal_stderr(void)
{
	const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");
	struct terminal t = { .fd = STDERR_FILENO };

	t.moves = isatty(t.fd) && term && *term && strcmp(term, "dumb") != 0;
	t.colour = t.moves && !(no_colour && *no_colour);
	t.unicode = is_utf8();
	/* All that are in use do, but one; what a multiplexer inherits says nothing of it. */
	t.reflows = !getenv("XTERM_VERSION") || getenv("TMUX");
	t.results = isatty(STDOUT_FILENO);
	return t;
}

struct terminal_size terminal_size(const struct terminal *t)
{
	struct terminal_size size = { DEFAULT_COLUMNS, DEFAULT_ROWS };
	struct winsize w = { 0 };

	if (t->fixed)
		return *t->fixed;
	if (ioctl(t->fd, TIOCGWINSZ, &w))
		return size;
	if (w.ws_col)
		size.columns = w.ws_col;
	if (w.ws_row)
		size.rows = w.ws_row;
	return size;
}

bool terminal_is_ours(const struct terminal *t)
{
	pid_t group = tcgetpgrp(t->fd);

	/* -1: it is not our controlling terminal, and no shell minds. */
	return group < 0 || group == getpgrp();
}

bool terminal_write(const struct terminal *t, const char *text, size_t n)
{
	while (n) {
		ssize_t done = write(t->fd, text, n);

		if (done < 0 && errno == EAGAIN) {
			/* Somebody has made what we share with him non-blocking. */
			struct pollfd p = { .fd = t->fd, .events = POLLOUT };

			if (poll(&p, 1, WRITE_MS) == 1)
				continue;
			return false;
		}
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		text += done;
		n -= (size_t)done;
	}
	return true;
}
