/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "setup/setup.h"

/* Set for the runtime that we execute: a wrapper that calls us again would do so for ever. */
#define GUARD "K3SIMG_OCI_RUNTIME"
#define LOG_LINE_MAX 4096

static const char about[] =
	"\n"
	"containerd calls it as k3simg-oci-runtime, by the configuration that k3simg setup "
	"writes.\n"
	"For create and run, config.json of the bundle loses what this machine lacks (cgroups, "
	"cgroup namespaces, sysctls, security labels, ...; the original stays as "
	"config.json.k3simg).  Then the real runtime takes over, with the same arguments: "
	"$K3SIMG_RUNTIME, else the one named in /etc/k3simg/runtime, else crun or runc in $PATH.\n"
	"In gVisor SIGKILL for a container also ends what the kernel leaves of it.\n";

/* One line more in the file of --log, where containerd's shim looks for the reason. */
static void log_error(const char *file, const struct k3_err *why)
{
	K3_AUTO_BUF struct k3_buf line = K3_BUF(LOG_LINE_MAX);
	struct k3_jw w = K3_JW(&line);
	struct k3_err ignored;
	struct tm tm;
	time_t now = time(NULL);
	char stamp[32];

	if (!file || !gmtime_r(&now, &tm))
		return;
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
	k3_jw_obj(&w, NULL);
	k3_jw_str(&w, "level", "error");
	k3_jw_str(&w, "msg", why->msg);
	k3_jw_str(&w, "time", stamp);
	k3_jw_close_obj(&w);
	if (k3_jw_end(&w, &ignored))
		return;
	K3_AUTO_FD int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	if (fd >= 0 && k3_write_all(fd, line.p, line.len, file, &ignored))
		return; /* standard error has it, too */
}

static char **with_guard(char **env)
{
	static const char guard[] = GUARD "=1";
	size_t n = 0;

	while (env[n])
		n++;
	const char **out = k3_xcalloc(n + 2, sizeof(*out));

	for (size_t i = 0; i < n; i++)
		out[i] = env[i];
	out[n] = guard;
	/* execve takes strings that it does not change */
	return (char **)(uintptr_t)out;
}

/* Comes back when it fails, or with the status of a runtime after which there was more to do. */
static int become_runtime(const char *self, const struct setup_runtime_args *args, int argc,
			  char **argv, int *status, struct k3_err *e)
{
	K3_AUTO_FREE char *runtime = NULL;
	struct host_container facts;

	if (getenv(GUARD)) {
		k3_fail(e, K3_USAGE,
			"k3simg oci-runtime was called by the OCI runtime that it called");
		return k3_hint(e,
			       "$K3SIMG_RUNTIME or /etc/k3simg/runtime names a wrapper of k3simg");
	}
	host_read_container("", &facts);
	if (setup_runtime_find(self, getenv("K3SIMG_RUNTIME"), getenv("PATH"), &runtime, e))
		return -1;
	if (args->bundle) {
		host_probe_container(&facts);
		if (setup_bundle_fit(args->bundle, &facts, e))
			return -1;
	}
	K3_AUTO_FREE char **words = setup_runtime_argv(runtime, &facts, argc, argv);
	K3_AUTO_FREE char **env = with_guard(environ);

	if (setup_kill_leaves(&facts, args))
		return setup_kill(&facts, args, words, env, status, e);
	execve(runtime, words, env);
	return k3_fail_sys(e, errno, "cannot execute %s", runtime);
}

int cmd_oci_runtime(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	static const struct opt none[] = { { 0 } };
	struct setup_runtime_args args;
	struct k3_err e;
	int status;

	if (cmd && argc == 1 && (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h"))) {
		cli_help(cmd, about, none);
		return cli_finish(0);
	}
	setup_runtime_args(argc, argv, &args);
	if (!become_runtime(c->self, &args, argc, argv, &status, &e))
		return status;
	log_error(args.log, &e);
	return cli_error(&e);
}
