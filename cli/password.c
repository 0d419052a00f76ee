/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/password.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

#define SLICE_MS 100 /* a signal that comes just before a wait is noticed after this */

void password_forget(char **secret)
{
	if (*secret)
		explicit_bzero(*secret, strlen(*secret));
	k3_freep(secret);
}

bool password_can_ask(void)
{
	return isatty(STDIN_FILENO);
}

static void wipe_buf(struct k3_buf *b)
{
	if (b->p)
		explicit_bzero(b->p, b->cap);
	k3_buf_release(b);
}

#define AUTO_SECRET __attribute__((cleanup(wipe_buf)))

/* One read that ends when a signal comes; *n = 0 at the end of the input. */
static int read_some(struct k3_cancel *c, void *to, size_t room, size_t *n, struct k3_err *e)
{
	for (;;) {
		struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

		if (k3_cancel_check(c, e))
			return -1;
		if (poll(&p, 1, SLICE_MS) <= 0)
			continue;
		ssize_t got = read(STDIN_FILENO, to, room);

		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got < 0)
			return k3_fail_sys(e, errno, "cannot read standard input");
		*n = (size_t)got;
		return 0;
	}
}

/* Up to the end, or a line. */
static int read_text(struct k3_cancel *c, bool line, struct k3_buf *text, struct k3_err *e)
{
	/* at once, since growing leaves copies behind */
	if (k3_buf_reserve(text, text->max, e))
		return -1;
	while (!line || !text->len || text->p[text->len - 1] != '\n') {
		size_t n, room = text->max - text->len;

		if (!room)
			return k3_fail(e, K3_USAGE, "more than %u bytes are no password",
				       PASSWORD_MAX);
		if (read_some(c, text->p + text->len, room, &n, e))
			return -1;
		if (!n)
			break;
		text->len += n;
		text->p[text->len] = 0;
	}
	if (text->len && text->p[text->len - 1] == '\n')
		text->len--;
	if (text->len && text->p[text->len - 1] == '\r')
		text->len--;
	text->p[text->len] = 0;
	return 0;
}

/* ---- the terminal --------------------------------------------------------------------- */

struct echo {
	bool off;
	struct termios before;
};

static void echo_on(struct echo *t)
{
	if (!t->off)
		return;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &t->before);
	fputc('\n', stderr);
	t->off = false;
}

static void echo_off(struct echo *t)
{
	if (tcgetattr(STDIN_FILENO, &t->before))
		return;
	struct termios quiet = t->before;

	quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
	/* keys that would end or stop us with the echo off; an interrupt comes by cancel */
	quiet.c_cc[VQUIT] = _POSIX_VDISABLE;
	quiet.c_cc[VSUSP] = _POSIX_VDISABLE;
	t->off = !tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
}

int password_ask(const char *prompt, bool secret, struct k3_cancel *c, char **out, struct k3_err *e)
{
	AUTO_SECRET struct k3_buf text = K3_BUF(PASSWORD_MAX + 2);
	struct echo echo __attribute__((cleanup(echo_on))) = { 0 };

	if (!password_can_ask())
		return k3_fail(e, K3_USAGE, "there is no terminal to ask for a %s",
			       secret ? "password" : "user");
	fprintf(stderr, "%s", prompt);
	fflush(stderr);
	if (secret)
		echo_off(&echo);
	if (read_text(c, true, &text, e))
		return -1;
	if (!text.len)
		return k3_fail(e, K3_USAGE, "no %s was given", secret ? "password" : "user");
	*out = k3_xstrdup((char *)text.p);
	return 0;
}

/* ---- standard input ------------------------------------------------------------------- */

int password_read(struct k3_cancel *c, char **out, struct k3_err *e)
{
	AUTO_SECRET struct k3_buf text = K3_BUF(PASSWORD_MAX + 2);

	if (read_text(c, false, &text, e))
		return -1;
	if (!text.len)
		return k3_fail(e, K3_USAGE, "there is no password on standard input");
	if (memchr(text.p, 0, text.len) || memchr(text.p, '\n', text.len))
		return k3_fail(e, K3_USAGE, "what is on standard input is not one line");
	*out = k3_xstrdup((char *)text.p);
	return 0;
}

int password_complete(const char *creds, bool from_stdin, const char *stdin_taken,
		      struct k3_cancel *c, char **out, struct k3_err *e)
{
	PASSWORD_AUTO char *password = NULL;

	*out = NULL;
	if (from_stdin && (!creds || strchr(creds, ':'))) {
		k3_fail(e, K3_USAGE, "--password-stdin is the password for --creds USER");
		return k3_hint(e, creds ? "--creds has a password already: leave it out there"
					: "add --creds USER");
	}
	if (from_stdin && stdin_taken) {
		k3_fail(e, K3_USAGE, "--password-stdin and %s both read standard input",
			stdin_taken);
		return k3_hint(e, "put one of them into a file, or log in first: k3simg login");
	}
	if (!creds)
		return 0;
	bool ask = !from_stdin && !strchr(creds, ':') && *creds && !stdin_taken &&
		   password_can_ask();

	if (from_stdin && password_read(c, &password, e))
		return -1;
	if (ask && password_ask("Password: ", true, c, &password, e))
		return -1;
	*out = password ? k3_xasprintf("%s:%s", creds, password) : k3_xstrdup(creds);
	return 0;
}
