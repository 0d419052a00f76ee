/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/help.h"

static const struct command *find_command(const char *name)
{
	size_t n;
	const struct command *all = cli_commands(&n);

	return cli_find_command(all, n, name);
}

/* ---- signals ---- */

/*
 * A signal's disposition belongs to the process, and its handler gets no argument: the one
 * variable of the program outside of main().  Set before the handler is installed.
 */
static struct k3_cancel *interrupted;

/* The first signal asks the run to stop, the second one stops it. */
static void on_signal(int sig)
{
	(void)sig;
	if (!k3_cancel_signal(interrupted))
		_exit(130);
}

/* No thread waits for signals: with --jobs 1 there is none but this one. */
static void catch_signals(struct k3_cancel *c)
{
	static const int asked[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction handle = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct k3_err why;

	k3_fail(&why, K3_CANCELLED, "interrupted");
	k3_hint(&why, "nothing was changed; the same command goes on from here");
	k3_cancel_prepare(c, &why);
	interrupted = c;
	sigemptyset(&handle.sa_mask);
	for (size_t i = 0; i < K3_ARRAY_LEN(asked); i++) {
		struct sigaction old;

		/* nohup means it; a shell also ignores SIGINT for jobs that it is to end. */
		if (asked[i] != SIGHUP || sigaction(SIGHUP, NULL, &old) ||
		    old.sa_handler != SIG_IGN)
			sigaction(asked[i], &handle, NULL);
	}
	sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
	/* Who started us may have ignored it; then nobody could wait for a credential helper. */
	sigaction(SIGCHLD, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
}

/*
 * Commands that containerd calls by file names of their own.  They leave umask and signals as
 * they are: another program may take the place of this one.
 */
static const struct {
	const char *file, *command;
} plugins[] = {
	{ "k3simg-cni", "cni" },
	{ "loopback", "cni" }, /* what raises a pod's loopback device */
	{ "k3simg-oci-runtime", "oci-runtime" },
};

static const struct command *find_plugin(const char *self)
{
	const char *slash = strrchr(self, '/'), *name = slash ? slash + 1 : self;

	for (size_t i = 0; i < K3_ARRAY_LEN(plugins); i++)
		if (!strcmp(plugins[i].file, name))
			return find_command(plugins[i].command);
	return NULL;
}

static bool is_plugin(const char *command)
{
	for (size_t i = 0; i < K3_ARRAY_LEN(plugins); i++)
		if (!strcmp(plugins[i].command, command))
			return true;
	return false;
}

/*
 * A descriptor that was closed would become that of the next file opened, a database perhaps, and
 * get our messages.  In its place comes one that fails as it did.
 */
static void hold_standard_files(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			_exit(1);
}

int main(int argc, char **argv)
{
	struct cli c = { .self = argc ? argv[0] : "" };
	const struct command *plugin = find_plugin(c.self);

	if (plugin)
		return plugin->run(&c, NULL, argc - 1, argv + 1);
	if (argc >= 2 && is_plugin(argv[1])) {
		plugin = find_command(argv[1]);
		return plugin->run(&c, plugin, argc - 2, argv + 2);
	}
	hold_standard_files();
	/* Modes of everything written are given exactly; see unpack/unpack.h. */
	umask(0);
	if (argc < 2) {
		cli_usage(stderr);
		return 2;
	}
	const char *name = argv[1];

	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = "help";
	if (!strcmp(name, "--version"))
		name = "version";
	const struct command *cmd = find_command(name);

	if (!cmd)
		return cli_unknown_command(name);
	c.cancel = k3_cancel_new();
	catch_signals(c.cancel);
	int status = cmd->run(&c, cmd, argc - 2, argv + 2);

	/* A late signal may still look at it: it goes with the process. */
	return status;
}
