/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"

static int cmd_help(const struct cli *c, const struct command *cmd, int argc, char **argv);

static const struct command commands[] = {
	{ "preload", NULL, "[OPTIONS] REF...",
	  "Pull images and put them, unpacked, into a containerd root", cmd_preload },
	{ "fetch", NULL, "[OPTIONS] --to oci:DIR|oci-archive:FILE REF...",
	  "Pull images into a layout or an archive, without a root", cmd_fetch },
	{ "list", "ls", "[OPTIONS] [NAME]...", "List the images of a containerd root", cmd_list },
	{ "inspect", NULL, "[OPTIONS] REF...", "Show what is known of images", cmd_inspect },
	{ "tree", NULL, "[OPTIONS] [REF]...", "Show which layers and snapshots images share",
	  cmd_tree },
	{ "du", NULL, "[OPTIONS] [REF]...", "Show what takes the disk, and what could be freed",
	  cmd_du },
	{ "plan", NULL, "[OPTIONS] REF...",
	  "Show what a preload would fetch and what it would take on disk", cmd_plan },
	{ "verify", NULL, "[OPTIONS] [REF]... | --start REF [-- COMMAND...]",
	  "Look for damage in images and the store around them", cmd_verify },
	{ "repair", NULL, "[OPTIONS] REF...", "Make anew what is damaged of images", cmd_repair },
	{ "tag", NULL, "[OPTIONS] SOURCE TARGET...", "Give an image more names", cmd_tag },
	{ "pin", NULL, "[OPTIONS] REF...", "Keep images from the kubelet's image GC", cmd_pin },
	{ "unpin", NULL, "[OPTIONS] REF...", "Leave images to the kubelet's image GC", cmd_unpin },
	{ "rm", "rmi", "[OPTIONS] REF...", "Remove images, or names of them", cmd_rm },
	{ "prune", NULL, "[OPTIONS]", "Remove what nothing refers to", cmd_prune },
	{ "unpack", NULL, "[OPTIONS] SOURCE DIR", "Write the files of one image to a directory",
	  cmd_unpack },
	{ "bundle", NULL, "create|apply|inspect ...",
	  "Images as one file: make it, put its images into a containerd root", cmd_bundle },
	{ "login", NULL, "[OPTIONS] REGISTRY", "Check credentials and store them, as docker does",
	  cmd_login },
	{ "logout", NULL, "[OPTIONS] REGISTRY | --all", "Remove stored credentials", cmd_logout },
	{ "config", NULL, "show [OPTIONS] REF", "Show which files decide how a registry is asked",
	  cmd_config },
	{ "setup", NULL, "[OPTIONS]", "Write what pods need to start on this machine, offline",
	  cmd_setup },
	{ "cni", NULL, "", "Answer containerd as a CNI plugin", cmd_cni },
	{ "oci-runtime", NULL, "ARGUMENTS", "Stand before the OCI runtime", cmd_oci_runtime },
	{ "doctor", NULL, "[OPTIONS] [CHECK]...",
	  "Check whether pods can start on this machine, and say what to do", cmd_doctor },
	{ "explain", NULL, "[OPTIONS] IMAGE|POD.yaml...",
	  "Tell why a pod would not start offline, and how to mend that", cmd_explain },
	{ "version", NULL, "[-o text|json]", "Show the version and what it was built with",
	  cmd_version },
	{ "help", NULL, "[COMMAND]", "Show help for a command", cmd_help },
};

static void usage(FILE *out)
{
	fprintf(out, "k3simg preloads container images, so that Kubernetes pods start offline.\n\n"
		     "Usage: k3simg COMMAND [OPTIONS] [ARGUMENTS]\n\nCommands:\n");
	for (size_t i = 0; i < K3_ARRAY_LEN(commands); i++)
		fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].summary);
	fprintf(out,
		"\n'k3simg COMMAND --help' tells about one command.\n"
		"\nExamples:\n"
		"  k3simg preload nginx:alpine              into the root of k3s or containerd\n"
		"  k3simg preload --root /tmp/root -f list  the images named in a file\n"
		"  k3simg fetch nginx:alpine --to oci-archive:nginx.tar\n"
		"                                           into a file, for another machine\n"
		"  k3simg list                              what is there\n"
		"  k3simg rm nginx:alpine                   remove it again\n"
		"  k3simg verify --deep                     whether it is whole\n"
		"  k3simg verify --start nginx:alpine       whether it starts\n"
		"  k3simg doctor                            whether pods can start here\n"
		"  k3simg explain pod.yaml                  why this one would not\n"
		"\nExit status: 0 ok, 1 other, 2 usage, 3 not found, 4 authentication, 5 network,\n"
		"6 integrity or platform, 7 store, 8 no space, 9 some images failed and the "
		"others\n"
		"are in place, 10 damage was found or pods do not start, 130 interrupted.\n");
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < K3_ARRAY_LEN(commands); i++) {
		const struct command *c = &commands[i];

		if (!strcmp(c->name, name) || (c->alias && !strcmp(c->alias, name)))
			return c;
	}
	return NULL;
}

static int unknown_command(const char *name)
{
	struct k3_err e;

	k3_fail(&e, K3_USAGE, "unknown command \"%s\"", name);
	for (size_t i = 0; i < K3_ARRAY_LEN(commands); i++)
		if (opts_distance(name, commands[i].name) < 3)
			k3_hint(&e, "did you mean \"k3simg %s\"?", commands[i].name);
	k3_hint(&e, "\"k3simg help\" lists the commands");
	return cli_error(&e);
}

static int cmd_help(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	static char help[] = "--help";
	char *args[] = { help, NULL };

	if (argc < 1 || argv[0][0] == '-') {
		usage(stdout);
		return cli_finish(0);
	}
	const struct command *about = find_command(argv[0]);

	if (!about)
		return unknown_command(argv[0]);
	if (about == cmd) {
		usage(stdout);
		return cli_finish(0);
	}
	return about->run(c, about, 1, args);
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
		usage(stderr);
		return 2;
	}
	const char *name = argv[1];

	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = "help";
	if (!strcmp(name, "--version"))
		name = "version";
	const struct command *cmd = find_command(name);

	if (!cmd)
		return unknown_command(name);
	c.cancel = k3_cancel_new();
	catch_signals(c.cancel);
	int status = cmd->run(&c, cmd, argc - 2, argv + 2);

	/* A late signal may still look at it: it goes with the process. */
	return status;
}
