/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a container in gVisor, on any machine: processes of ours are its processes, a
 * directory of links says in which namespace they are, and a script is the OCI runtime.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "setup/setup.h"
#include "tests/unit/unit.h"

static struct k3_err err;

struct machine {
	struct host_container facts;
	char *dir, *runtime;
	pid_t init, child, other;
};

static void put(const char *dir, const char *name, const char *text)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	OK(k3_write_all(fd, text, strlen(text), path, &err));
	OK(k3_close(&fd, path, &err));
}

/* A process that does nothing, in that namespace by the links. */
static pid_t new_process(const struct machine *m, const char *space)
{
	pid_t pid = fork();

	if (!pid) {
		for (;;)
			pause();
	}
	CHECK(pid > 0);
	K3_AUTO_FREE char *ns = k3_xasprintf("%s/%d/ns", m->facts.proc, pid);
	K3_AUTO_FREE char *link = k3_xasprintf("%s/pid", ns);
	K3_AUTO_FREE char *stat = k3_xasprintf("%s/%d/stat", m->facts.proc, pid);
	K3_AUTO_FREE char *real = k3_xasprintf("/proc/%d/stat", pid);

	OK(k3_make_dirs(ns, 0755, &err));
	CHECK(!symlink(space, link) && !symlink(real, stat));
	return pid;
}

static void set_up(struct machine *m, const char *spec)
{
	memset(m, 0, sizeof(*m));
	m->dir = k3_xstrdup(unit_tmpdir());
	m->facts.gvisor = m->facts.cgroup = true;
	snprintf(m->facts.proc, sizeof(m->facts.proc), "%s/proc", m->dir);
	K3_AUTO_FREE char *self = k3_xasprintf("%s/self/ns", m->facts.proc);
	K3_AUTO_FREE char *link = k3_xasprintf("%s/pid", self);

	OK(k3_make_dirs(self, 0755, &err));
	CHECK(!symlink("pid:[1]", link));
	m->init = new_process(m, "pid:[2]");
	m->child = new_process(m, "pid:[2]");
	m->other = new_process(m, "pid:[3]");
	put(m->dir, "config.json", spec);
	m->runtime = k3_xasprintf("%s/runtime", m->dir);
	K3_AUTO_FREE char *script = k3_xasprintf("#!/bin/sh\n"
						 "echo \"$*\" >>%s/calls\n"
						 "case \" $* \" in\n"
						 "*' state pod '*) echo '{\"pid\": %d, \"bundle\": "
						 "\"%s\"}' ;;\n"
						 "*' state '*) exit 1 ;;\n"
						 "*) kill -9 %d; exit 3 ;;\n"
						 "esac\n",
						 m->dir, m->init, m->dir, m->init);

	put(m->dir, "runtime", script);
}

static bool lives(pid_t pid)
{
	siginfo_t info = { .si_pid = 0 };

	return !waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) && !info.si_pid;
}

/* Waits for the end of one that was killed by somebody else. */
static bool ends(pid_t pid)
{
	siginfo_t info;

	return !waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
}

static void tear_down(struct machine *m)
{
	const pid_t all[] = { m->init, m->child, m->other };

	for (size_t i = 0; i < K3_ARRAY_LEN(all); i++) {
		kill(all[i], SIGKILL);
		CHECK(waitpid(all[i], NULL, 0) == all[i]);
	}
	free(m->dir);
	free(m->runtime);
}

/* What the front does with the words behind the runtime's name; the runtime's status, or -1. */
static int front(const struct machine *m, int n, const char *const *words)
{
	char *const *argv = (char *const *)(uintptr_t)words;
	K3_AUTO_FREE char **all = setup_runtime_argv(m->runtime, &m->facts, n, argv);
	struct setup_runtime_args args;
	int status = -1;

	setup_runtime_args(n, argv, &args);
	CHECK(setup_kill_leaves(&m->facts, &args));
	OK(setup_kill(&m->facts, &args, all, environ, &status, &err));
	return status;
}

static const char own_pids[] =
	"{\"a\": 18446744073709551615, \"linux\": {\"namespaces\": [{\"type\": \"pid\"}]}}";
static const char *const kill_pod[] = { "--root", "/r", "kill", "pod", "9" };

TEST(who_is_left_is_killed)
{
	K3_AUTO_BUF struct k3_buf calls = K3_BUF(4096);
	struct machine m;

	set_up(&m, own_pids);
	K3_AUTO_FREE char *log = k3_xasprintf("%s/calls", m.dir);

	EQ_INT(front(&m, 5, kill_pod), 3);
	CHECK(!lives(m.init) && !lives(m.child) && lives(m.other));
	OK(k3_read_file(AT_FDCWD, log, &calls, &err));
	EQ_STR((char *)calls.p, "--root /r state pod\n--root /r kill pod 9\n");
	tear_down(&m);
}

TEST(who_is_left_by_a_forced_delete_is_killed)
{
	static const char *const words[] = { "delete", "--force", "pod" };
	struct machine m;

	set_up(&m, own_pids);
	EQ_INT(front(&m, 3, words), 3);
	CHECK(!lives(m.init) && !lives(m.child) && lives(m.other));
	tear_down(&m);
}

/* A namespace that the container shares is not ended with it. */
TEST(others_stay)
{
	static const char *const specs[] = {
		"{\"linux\": {\"namespaces\": [{\"type\": \"pid\", \"path\": \"/ns\"}]}}",
		"{\"linux\": {\"namespaces\": [{\"type\": \"mount\"}]}}",
		"{}",
		"{",
	};

	for (size_t i = 0; i < K3_ARRAY_LEN(specs); i++) {
		struct machine m;

		set_up(&m, specs[i]);
		EQ_INT(front(&m, 5, kill_pod), 3);
		CHECK(ends(m.init) && lives(m.child) && lives(m.other));
		tear_down(&m);
	}
}

TEST(a_container_that_the_runtime_does_not_know)
{
	static const char *const words[] = { "kill", "none", "KILL" };
	struct machine m;

	set_up(&m, own_pids);
	EQ_INT(front(&m, 3, words), 3);
	CHECK(ends(m.init) && lives(m.child));
	tear_down(&m);
}

TEST(our_own_namespace_is_not_ended)
{
	struct machine m;

	set_up(&m, own_pids);
	K3_AUTO_FREE char *link = k3_xasprintf("%s/self/ns/pid", m.facts.proc);

	CHECK(!unlink(link) && !symlink("pid:[2]", link));
	EQ_INT(front(&m, 5, kill_pod), 3);
	CHECK(lives(m.child));
	tear_down(&m);
}

TEST(a_runtime_that_is_not_there)
{
	struct host_container f = { .gvisor = true, .proc = "/proc" };
	struct setup_runtime_args args = { .command = "kill", .victim = "pod" };
	char program[] = "/no/such/runtime";
	char *words[] = { program, NULL };
	int status;

	FAILS(setup_kill(&f, &args, words, environ, &status, &err), K3_IO);
	HAS_STR(err.msg, "/no/such/runtime");
}

TEST(only_in_gvisor_and_only_where_all_are_to_end)
{
	const struct host_container here = { .gvisor = true }, outside = { .gvisor = false };
	struct setup_runtime_args args = { .command = "kill", .victim = "pod" };

	CHECK(setup_kill_leaves(&here, &args));
	CHECK(!setup_kill_leaves(&outside, &args));
	args.victim = NULL;
	CHECK(!setup_kill_leaves(&here, &args));
}

UNIT_MAIN
