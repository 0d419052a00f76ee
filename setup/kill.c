/* SPDX-License-Identifier: Apache-2.0 */
/* What is left of a container that was killed, where the kernel leaves anything. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/json_text.h"
#include "base/mem.h"
#include "base/thread.h"
#include "setup/setup.h"

#define STATE_MAX (1u << 20) /* bytes of a runtime's "state": annotations are in it */
#define NS_MAX 64            /* bytes of "pid:[4026531836]" */
/* A killed process is gone in a moment; one that is not is left, and so are the others. */
#define END_MS 5000u
#define NAP_MS 5

/* ---- who they are --------------------------------------------------------------------------- */

static int run(const char *program, char *const *words, char *const *env,
	       const posix_spawn_file_actions_t *actions, pid_t *pid, struct k3_err *e)
{
	int why = posix_spawn(pid, program, actions, NULL, words, env);

	return why ? k3_fail_sys(e, why, "cannot execute %s", program) : 0;
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 127;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* What a program prints; what it complains about is said again by the call that comes after it. */
static int read_output(char *const *words, char *const *env, struct k3_buf *out, struct k3_err *e)
{
	posix_spawn_file_actions_t actions;
	K3_AUTO_FD int from = -1;
	int ends[2], rc;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return k3_fail_sys(e, errno, "cannot make a pipe");
	from = ends[0];
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	rc = run(words[0], words, env, &actions, &pid, e);
	posix_spawn_file_actions_destroy(&actions);
	k3_closep(&ends[1]);
	if (rc)
		return -1;
	while (!rc) {
		char chunk[4096];
		ssize_t n = read(from, chunk, sizeof(chunk));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		rc = k3_buf_add(out, chunk, (size_t)n, e);
	}
	k3_closep(&from);
	if (wait_for(pid) && !rc)
		rc = k3_fail(e, K3_NOTFOUND, "%s does not tell", words[0]);
	return rc;
}

/* The command that asks the runtime of words for the state of a container. */
static char **state_words(const struct host_container *f, const struct setup_runtime_args *args,
			  const char *runtime)
{
	const char *ask[4];
	size_t n = 0;

	if (args->root) {
		ask[n++] = "--root";
		ask[n++] = args->root;
	}
	ask[n++] = "state";
	ask[n++] = args->victim;
	/* execve takes strings that it does not change */
	return setup_runtime_argv(runtime, f, (int)n, (char *const *)(uintptr_t)ask);
}

/*
 * Whether a container was made with a PID namespace of its own: that of another one, given by its
 * path, is not ours to end, and neither is the machine's.
 */
static bool has_own_pids(const char *bundle)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s/config.json", bundle);
	K3_AUTO_BUF struct k3_buf text = K3_BUF(SETUP_SPEC_MAX);
	K3_AUTO_JT struct k3_jt t = { 0 };
	struct k3_err ignored;

	if (k3_read_file(AT_FDCWD, path, &text, &ignored) ||
	    k3_jt_parse(text.p ? (const void *)text.p : "", text.len, &t, &ignored))
		return false;
	uint32_t list = k3_jt_get(&t, k3_jt_get(&t, 0, "linux"), "namespaces");

	for (uint32_t at = k3_jt_first(&t, list); at != K3_JT_NONE; at = k3_jt_next(&t, at)) {
		uint32_t where = k3_jt_get(&t, at, "path");

		if (k3_jt_is(&t, k3_jt_get(&t, at, "type"), "pid"))
			return where == K3_JT_NONE || k3_jt_is(&t, where, "");
	}
	return false;
}

struct victim {
	pid_t init;         /* the first process of the container */
	char space[NS_MAX]; /* its PID namespace */
};

static bool read_space(const struct host_container *f, const char *process, char out[NS_MAX])
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s/%s/ns/pid", f->proc, process);
	ssize_t n = readlink(path, out, NS_MAX - 1);

	out[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static bool find_victim(const struct host_container *f, const struct setup_runtime_args *args,
			const char *runtime, char *const *env, struct victim *out)
{
	K3_AUTO_FREE char **ask = state_words(f, args, runtime);
	K3_AUTO_BUF struct k3_buf text = K3_BUF(STATE_MAX);
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	char name[24], ours[NS_MAX];
	struct k3_err ignored;
	uint64_t pid;

	if (read_output(ask, env, &text, &ignored) ||
	    k3_json_parse(text.p ? (const void *)text.p : "", text.len, &doc, &ignored))
		return false;
	const struct k3_json *state = k3_json_root(doc);
	const char *bundle = k3_json_str(k3_json_get(state, "bundle"));

	/* a container that has ended has none, or 0 */
	if (!bundle || !k3_json_u64(k3_json_get(state, "pid"), &pid) || !pid || pid > INT32_MAX)
		return false;
	out->init = (pid_t)pid;
	snprintf(name, sizeof(name), "%d", out->init);
	return has_own_pids(bundle) && read_space(f, name, out->space) &&
	       read_space(f, "self", ours) && strcmp(out->space, ours) != 0;
}

/* ---- their end ------------------------------------------------------------------------------ */

/* The letter behind the name, which ends with the last bracket: proc(5). */
static bool has_ended(const struct host_container *f, pid_t pid)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s/%d/stat", f->proc, pid);
	K3_AUTO_BUF struct k3_buf text = K3_BUF(4096);
	struct k3_err ignored;

	if (kill(pid, 0) && errno == ESRCH)
		return true;
	if (k3_read_file(AT_FDCWD, path, &text, &ignored) || !text.len)
		return false;
	const char *name = strrchr((const char *)text.p, ')');

	return name && name[1] == ' ' && (name[2] == 'Z' || name[2] == 'X');
}

/* Kills all that live in the namespace; returns how many there were. */
static size_t kill_all(const struct host_container *f, const char *space)
{
	DIR *dir = opendir(f->proc);
	size_t n = 0;

	if (!dir)
		return 0;
	for (const struct dirent *d = readdir(dir); d; d = readdir(dir)) {
		char theirs[NS_MAX], *end;
		long pid = strtol(d->d_name, &end, 10);

		if (!isdigit((unsigned char)d->d_name[0]) || *end || pid <= 1 || pid > INT32_MAX)
			continue;
		if (!read_space(f, d->d_name, theirs) || strcmp(theirs, space) != 0 ||
		    has_ended(f, (pid_t)pid))
			continue;
		if (!kill((pid_t)pid, SIGKILL))
			n++;
	}
	closedir(dir);
	return n;
}

static void nap(void)
{
	const struct timespec ms = { .tv_nsec = NAP_MS * 1000000L };

	nanosleep(&ms, NULL);
}

/*
 * While the first process lives it may start others, and whoever lives may: looked for again until
 * nobody is there.
 */
static void end_all(const struct host_container *f, const struct victim *v)
{
	uint64_t limit = k3_now_ms() + END_MS;

	while (!has_ended(f, v->init) && k3_now_ms() < limit)
		nap();
	if (!has_ended(f, v->init))
		return;
	while (kill_all(f, v->space) && k3_now_ms() < limit)
		nap();
}

bool setup_kill_leaves(const struct host_container *f, const struct setup_runtime_args *args)
{
	return f->gvisor && args->victim;
}

int setup_kill(const struct host_container *f, const struct setup_runtime_args *args,
	       char *const *words, char *const *env, int *status, struct k3_err *e)
{
	struct victim v;
	bool known = find_victim(f, args, words[0], env, &v);
	pid_t pid;

	if (run(words[0], words, env, NULL, &pid, e))
		return -1;
	*status = wait_for(pid);
	if (known)
		end_all(f, &v);
	return 0;
}
