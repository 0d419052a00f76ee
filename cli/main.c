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

static const struct command commands[] = {
	{ "preload", NULL, "[OPTIONS] REF...",
	  "Pull images and put them, unpacked, into a containerd root", .run = cmd_preload },
	{ "fetch", NULL, "[OPTIONS] --to oci:DIR|oci-archive:FILE REF...",
	  "Pull images into a layout or an archive, without a root", .run = cmd_fetch },
	{ "list", "ls", "[OPTIONS] [NAME]...", "List the images of a containerd root",
	  .run = cmd_list },
	{ "inspect", NULL, "[OPTIONS] REF...", "Show what is known of images", .run = cmd_inspect },
	{ "tree", NULL, "[OPTIONS] [REF]...", "Show which layers and snapshots images share",
	  .run = cmd_tree },
	{ "du", NULL, "[OPTIONS] [REF]...", "Show what takes the disk, and what could be freed",
	  .run = cmd_du },
	{ "plan", NULL, "[OPTIONS] REF...",
	  "Show what a preload would fetch and what it would take on disk", .run = cmd_plan },
	{ "verify", NULL, "[OPTIONS] [REF]... | --start REF [-- COMMAND...]",
	  "Look for damage in images and the store around them", .run = cmd_verify },
	{ "repair", NULL, "[OPTIONS] REF...", "Make anew what is damaged of images",
	  .run = cmd_repair },
	{ "tag", NULL, "[OPTIONS] SOURCE TARGET...", "Give an image more names", .run = cmd_tag },
	{ "pin", NULL, "[OPTIONS] REF...", "Keep images from the kubelet's image GC",
	  .run = cmd_pin },
	{ "unpin", NULL, "[OPTIONS] REF...", "Leave images to the kubelet's image GC",
	  .run = cmd_unpin },
	{ "rm", "rmi", "[OPTIONS] REF...", "Remove images, or names of them", .run = cmd_rm },
	{ "prune", NULL, "[OPTIONS]", "Remove what nothing refers to", .run = cmd_prune },
	{ "unpack", NULL, "[OPTIONS] SOURCE DIR", "Write the files of one image to a directory",
	  .run = cmd_unpack },
	{ "bundle", NULL, "create|apply|inspect ...",
	  "Images as one file: make it, put its images into a containerd root", .run = cmd_bundle },
	{ "login", NULL, "[OPTIONS] REGISTRY", "Check credentials and store them, as docker does",
	  .run = cmd_login },
	{ "logout", NULL, "[OPTIONS] REGISTRY | --all", "Remove stored credentials",
	  .run = cmd_logout },
	{ "config", NULL, "show ...", "Show which files decide how a registry is asked",
	  .run = cmd_config },
	{ "setup", NULL, "[OPTIONS]", "Write what pods need to start on this machine, offline",
	  .run = cmd_setup },
	{ "cni", NULL, "", "Answer containerd as a CNI plugin", .run = cmd_cni },
	{ "oci-runtime", NULL, "ARGUMENTS", "Stand before the OCI runtime",
	  .run = cmd_oci_runtime },
	{ "doctor", NULL, "[OPTIONS] [CHECK]...",
	  "Check whether pods can start on this machine, and say what to do", .run = cmd_doctor },
	{ "explain", NULL, "[OPTIONS] IMAGE|POD.yaml...",
	  "Tell why a pod would not start offline, and how to mend that", .run = cmd_explain },
	{ "version", NULL, "[-o text|json]", "Show the version and what it was built with",
	  .run = cmd_version },
	{ "completion", NULL, "bash|zsh|fish | answer -- WORD...",
	  "Print what makes a shell complete commands, options and images", .run = cmd_completion },
	{ "help", NULL, "[OPTIONS] [COMMAND...]", "Show help for a command", .run = cmd_help },
};

const struct command *cli_commands(size_t *n)
{
	*n = K3_ARRAY_LEN(commands);
	return commands;
}

static const struct command *find_command(const char *name)
{
	return cli_find_command(commands, K3_ARRAY_LEN(commands), name);
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
