/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
/* Descriptors of the child below this one are about to get their meaning. */
#define FD_LOW 10
#define SLICE_MS 50 /* between two looks at the process and the cancel flag */

bool helper_name_ok(const char *name)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789._-";
	size_t n = strspn(name, letters);

	return n && !name[n] && n <= HELPER_NAME_MAX && name[0] != '.' && name[0] != '-';
}

/* ---- the program ---------------------------------------------------------------------- */

/* execvp would search in the child, where next to nothing may be called. */
static int find_program(const char *name, char **out, struct k3_err *e)
{
	const char *path = getenv("PATH");

	if (!path || !*path)
		path = DEFAULT_PATH;
	for (size_t n; *path; path += n + (path[n] == ':')) {
		struct stat st;

		n = strcspn(path, ":");
		if (*path != '/')
			continue;
		char *file = k3_xasprintf("%.*s/" HELPER_PREFIX "%s", (int)n, path, name);

		if (!stat(file, &st) && S_ISREG(st.st_mode) &&
		    !faccessat(AT_FDCWD, file, X_OK, AT_EACCESS)) {
			*out = file;
			return 0;
		}
		free(file);
	}
	k3_fail(e, K3_AUTH, HELPER_PREFIX "%s is not in PATH", name);
	return k3_hint(e, "install it, remove the entry, or give --creds or another --authfile");
}

/* ---- its start ------------------------------------------------------------------------ */

struct start {
	char *path, *verb;
	int in, out, null, report;
};

static void start_release(struct start *s)
{
	k3_freep(&s->path);
	k3_freep(&s->verb);
	k3_closep(&s->in);
	k3_closep(&s->out);
	k3_closep(&s->null);
	k3_closep(&s->report);
}

/* Other threads may have held any lock: only async-signal-safe calls from here on. */
static _Noreturn void become_helper(const struct start *s)
{
	char *argv[] = { s->path, s->verb, NULL };
	struct sigaction usual = { .sa_handler = SIG_DFL };
	sigset_t none;

	setpgid(0, 0);
	if (dup2(s->in, STDIN_FILENO) >= 0 && dup2(s->out, STDOUT_FILENO) >= 0 &&
	    dup2(s->null, STDERR_FILENO) >= 0 && dup3(s->report, 3, O_CLOEXEC) >= 0) {
		/* libraries do not mark all of theirs close-on-exec */
		closefrom(4);
		/* ours is 0, see main(); what a helper stores is nobody else's */
		umask(077);
		sigaction(SIGPIPE, &usual, NULL);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execve(s->path, argv, environ);
	}
	int why = errno;

	if (write(3, &why, sizeof(why)) < 0)
		_exit(126);
	_exit(127);
}

/* Moves a descriptor out of the way of the child's. */
static int lift(int *fd)
{
	int high = fcntl(*fd, F_DUPFD_CLOEXEC, FD_LOW);

	if (high < 0)
		return -1;
	k3_closep(fd);
	*fd = high;
	return 0;
}

/* A file without a name takes any length at once and, unlike a pipe, raises no SIGPIPE. */
static int make_input(const struct helper_call *h, int *fd, struct k3_err *e)
{
	*fd = memfd_create("input", MFD_CLOEXEC);
	if (*fd < 0 || lift(fd))
		return k3_fail_sys(e, errno, "cannot make its input");
	if (k3_write_all(*fd, h->input, h->len, "its input", e))
		return -1;
	return lseek(*fd, 0, SEEK_SET) ? k3_fail_sys(e, errno, "cannot rewind its input") : 0;
}

static int make_pipe(int *from, int *to, struct k3_err *e)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return k3_fail_sys(e, errno, "cannot make a pipe");
	*from = ends[0];
	*to = ends[1];
	if (lift(from) || lift(to))
		return k3_fail_sys(e, errno, "cannot make a pipe");
	return 0;
}

/* Why the program could not be executed; 0 when it runs. */
static int read_report(int fd)
{
	int why = 0;
	ssize_t n;

	do
		n = read(fd, &why, sizeof(why));
	while (n < 0 && errno == EINTR);
	return n == sizeof(why) ? why : 0;
}

static void reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* *from: where it prints to. */
static int start(const struct helper_call *h, pid_t *pid, int *from, struct k3_err *e)
{
	__attribute__((cleanup(start_release))) struct start s = { NULL, NULL, -1, -1, -1, -1 };
	K3_AUTO_FD int report = -1;

	if (find_program(h->name, &s.path, e))
		return -1;
	s.verb = k3_xstrdup(h->verb);
	s.null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (s.null < 0 || lift(&s.null))
		return k3_fail_sys(e, errno, "cannot open /dev/null");
	if (make_input(h, &s.in, e) || make_pipe(from, &s.out, e) ||
	    make_pipe(&report, &s.report, e))
		return -1;
	if (fcntl(*from, F_SETFL, O_NONBLOCK))
		return k3_fail_sys(e, errno, "cannot set up a pipe");
	*pid = fork();
	if (*pid < 0)
		return k3_fail_sys(e, errno, "cannot start %s", s.path);
	if (!*pid)
		become_helper(&s);
	k3_closep(&s.report);
	int why = read_report(report);

	if (!why)
		return 0;
	reap(*pid);
	k3_fail_sys(e, why, "cannot start %s", s.path);
	e->code = K3_AUTH;
	return -1;
}

/* ---- its life ------------------------------------------------------------------------- */

/* Takes what is there.  *more becomes false at the end of it. */
static int take(int fd, struct k3_buf *out, bool *more, struct k3_err *e)
{
	while (*more) {
		uint8_t chunk[4096];
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return 0;
		int rc = k3_buf_add(out, chunk, (size_t)n, e);

		explicit_bzero(chunk, sizeof(chunk));
		if (rc)
			return k3_fail(e, K3_AUTH, "it printed more than the limit of %zu bytes",
				       out->max);
		*more = n > 0;
	}
	return 0;
}

/*
 * Until it has ended, which the end of its output does not tell: a daemon that it started may have
 * kept that.  It is left to be reaped, so that its number stays its own.
 */
static int attend(const struct helper_call *h, pid_t pid, int from, struct k3_buf *out,
		  struct k3_err *e)
{
	unsigned limit = h->limit_ms ? h->limit_ms : HELPER_TIME_MS;
	uint64_t end = k3_now_ms() + limit;
	bool more = true;
	int nap = 1;

	for (;;) {
		siginfo_t info = { .si_pid = 0 };

		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT))
			return k3_fail_sys(e, errno, "cannot wait for it");
		if (take(from, out, &more, e))
			return -1;
		if (info.si_pid == pid)
			return 0;
		if (k3_cancel_check(h->cancel, e))
			return -1;
		if (k3_now_ms() >= end)
			return k3_fail(e, K3_AUTH, "it did not end within %u.%u s", limit / 1000,
				       limit % 1000 / 100);
		struct pollfd p = { .fd = more ? from : -1, .events = POLLIN };

		poll(&p, 1, more ? SLICE_MS : nap);
		if (!more && nap < SLICE_MS)
			nap *= 2;
	}
}

static int run(const struct helper_call *h, struct k3_buf *out, int *status, struct k3_err *e)
{
	K3_AUTO_FD int from = -1;
	pid_t pid;
	int how;

	/* at once, since growing leaves copies behind */
	k3_buf_reset(out);
	if (k3_buf_reserve(out, out->max, e) || start(h, &pid, &from, e))
		return -1;
	if (attend(h, pid, from, out, e)) {
		kill(-pid, SIGKILL);
		reap(pid);
		return -1;
	}
	while (waitpid(pid, &how, 0) < 0)
		if (errno != EINTR)
			return k3_fail_sys(e, errno, "cannot wait for it");
	if (!WIFEXITED(how))
		return k3_fail(e, K3_AUTH, "it was ended by signal %d", WTERMSIG(how));
	*status = WEXITSTATUS(how);
	return 0;
}

int helper_run(const struct helper_call *h, struct k3_buf *out, int *status, struct k3_err *e)
{
	if (!helper_name_ok(h->name))
		return k3_fail(e, K3_AUTH, "\"%.64s\" is no name of a credential helper", h->name);
	if (!run(h, out, status, e))
		return 0;
	if (k3_cancelled(h->cancel))
		return -1;
	k3_hint(e, "try it by hand: echo SERVER | " HELPER_PREFIX "%s %s", h->name, h->verb);
	return strstr(e->msg, HELPER_PREFIX) ? -1
					     : k3_wrap(e, HELPER_PREFIX "%s %s", h->name, h->verb);
}
