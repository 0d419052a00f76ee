/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/answer.h"

/* "create" of "bundle create". */
static const char *last_word(const char *name)
{
	const char *blank = strrchr(name, ' ');

	return blank ? blank + 1 : name;
}

const struct command *cli_find_command(const struct command *all, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(last_word(all[i].name), name) ||
		    (all[i].alias && !strcmp(all[i].alias, name)))
			return &all[i];
	return NULL;
}

int cli_ask(const struct cli *c, const struct command *cmd, const struct help_request *request,
	    int argc, char **argv)
{
	static char help[] = "--help";
	K3_AUTO_FREE char **args = k3_xcalloc((size_t)argc + 2, sizeof(*args));
	struct command asked = *cmd;

	for (int i = 0; i < argc; i++)
		args[i] = argv[i];
	args[argc] = help;
	asked.help = request;
	return asked.run(c, &asked, argc + 1, args);
}

/* ---- for people ----------------------------------------------------------------------------- */

/* Paragraphs are wrapped, indented lines are as they are. */
static void print_text(const char *text, FILE *out)
{
	while (*text) {
		size_t len = strcspn(text, "\n"), next;

		if (!len || *text == ' ') {
			fprintf(out, "%.*s\n", (int)len, text);
			text += len + (text[len] == '\n');
			continue;
		}
		while (text[len] == '\n' && text[len + 1] && !strchr(" \n", text[len + 1])) {
			next = strcspn(text + len + 1, "\n");
			len += 1 + next;
		}
		opts_wrap(text, len, 0, out);
		text += len + (text[len] == '\n');
	}
}

/* ---- as a table ----------------------------------------------------------------------------- */

/* A line of the table for each line of the text. */
static void put_lines(const char *key, const char *text)
{
	for (size_t len; *text; text += len + (text[len] == '\n')) {
		len = strcspn(text, "\n");
		printf("%s\t%.*s\n", key, (int)len, text);
	}
}

static void put_head(const struct command *cmd)
{
	printf("name\t%s\n", cmd->name);
	if (cmd->alias)
		printf("alias\t%s\n", cmd->alias);
	printf("args\t%s\nsummary\t%s\n", cmd->args, cmd->summary);
}

static void put_table(const struct command *cmd, const char *text, const struct opt *opts)
{
	struct opts_walk w = { .at = opts };

	put_head(cmd);
	put_lines("text", text);
	for (const struct opt *o; (o = opts_next(&w));) {
		char letter[2] = { o->letter };

		printf("option\t%s\t%s\t%s\n", o->name, letter, o->arg ? o->arg : "");
		put_lines("help", o->help);
	}
}

static void put_commands(const struct command *all, size_t n)
{
	for (size_t i = 0; i < n; i++)
		printf("command\t%s\t%s\n", all[i].name, all[i].summary);
}

void cli_help(const struct command *cmd, const char *text, const struct opt *opts)
{
	if (cmd->help && cmd->help->form == HELP_TABLE) {
		put_table(cmd, text, opts);
		return;
	}
	if (cmd->help) {
		answer_words(cmd, text, opts);
		return;
	}
	printf("Usage: k3simg %s %s\n\n%s.\n", cmd->name, cmd->args, cmd->summary);
	print_text(text, stdout);
	printf("\nOptions:\n");
	opts_print(opts, stdout);
}

/* ---- groups --------------------------------------------------------------------------------- */

static void group_usage(FILE *out, const struct command *cmd, const struct command *all, size_t n)
{
	fprintf(out, "Usage: k3simg %s %s\n\n%s.\n\nCommands:\n", cmd->name, cmd->args,
		cmd->summary);
	for (size_t i = 0; i < n; i++)
		fprintf(out, "  %-12s %s\n", last_word(all[i].name), all[i].summary);
	fprintf(out, "\n'k3simg %s COMMAND --help' tells about one of them.\n", cmd->name);
}

/* Help was asked for, and of none of its commands. */
static int group_help(const struct cli *c, const struct command *cmd, const struct command *all,
		      size_t n)
{
	const struct help_request *h = cmd->help;

	if (!h) {
		group_usage(stdout, cmd, all, n);
	} else if (h->form == HELP_TABLE) {
		put_head(cmd);
		put_commands(all, n);
	} else if (h->n < 2) {
		answer_commands(all, n, h->n ? h->words[0] : "");
	} else {
		const struct help_request rest = { h->form, h->words + 1, h->n - 1 };
		const struct command *found = cli_find_command(all, n, h->words[0]);

		if (found)
			return cli_ask(c, found, &rest, 0, NULL);
	}
	return cli_finish(0);
}

static bool is_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h");
}

int cli_group(const struct cli *c, const struct command *cmd, const struct command *all, size_t n,
	      int argc, char **argv)
{
	struct k3_err e;

	if (argc < 1) {
		group_usage(stderr, cmd, all, n);
		return k3_exit_status(K3_USAGE);
	}
	if (is_help(argv[0]))
		return group_help(c, cmd, all, n);
	const struct command *found = cli_find_command(all, n, argv[0]);

	if (found) {
		struct command one = *found;

		one.help = cmd->help;
		return one.run(c, &one, argc - 1, argv + 1);
	}
	k3_fail(&e, K3_USAGE, "unknown command \"%s %s\"", cmd->name, argv[0]);
	k3_hint(&e, "\"k3simg %s --help\" lists the commands", cmd->name);
	return cli_error(&e);
}

/* ---- all of it ------------------------------------------------------------------------------ */

static const char about[] =
	"\n"
	"Examples:\n"
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
	"\n"
	"Exit status:\n"
	"  0    ok\n"
	"  1    other failure\n"
	"  2    usage: options, references, list files\n"
	"  3    image or tag not found\n"
	"  4    authentication\n"
	"  5    network: no connection, time-out, TLS, 429, 5xx\n"
	"  6    integrity or platform: digest, size, malformed layer, no such platform\n"
	"  7    store: no containerd root, containerd is running, unknown schema\n"
	"  8    no space\n"
	"  9    some images failed and the others are in place\n"
	"  10   damage was found or left, or pods do not start\n"
	"  130  interrupted\n";

void cli_usage(FILE *out)
{
	size_t n;
	const struct command *all = cli_commands(&n);

	fprintf(out, "k3simg preloads container images, so that Kubernetes pods start offline.\n\n"
		     "Usage: k3simg COMMAND [OPTIONS] [ARGUMENTS]\n\nCommands:\n");
	for (size_t i = 0; i < n; i++)
		fprintf(out, "  %-12s %s\n", all[i].name, all[i].summary);
	fprintf(out, "\n'k3simg help COMMAND' tells about one command.\n");
	print_text(about, out);
}

static void put_program(void)
{
	static const struct command program = { .name = "",
						.args = "COMMAND [OPTIONS] [ARGUMENTS]",
						.summary = "preload container images, so that "
							   "Kubernetes pods start offline" };
	size_t n;
	const struct command *all = cli_commands(&n);

	put_head(&program);
	put_commands(all, n);
	put_lines("text", about);
}

int cli_unknown_command(const char *name)
{
	size_t n;
	const struct command *all = cli_commands(&n);
	struct k3_err e;

	k3_fail(&e, K3_USAGE, "unknown command \"%s\"", name);
	for (size_t i = 0; i < n; i++)
		if (opts_distance(name, all[i].name) < 3)
			k3_hint(&e, "did you mean \"k3simg %s\"?", all[i].name);
	k3_hint(&e, "\"k3simg help\" lists the commands");
	return cli_error(&e);
}

int cmd_help(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	static const char text[] =
		"\n"
		"Without COMMAND: what there is.  The output \"table\" is what man pages are made "
		"of, a line for each option and each line of the text; its form may change.\n"
		"\n"
		"Examples:\n"
		"  k3simg help preload\n"
		"  k3simg help bundle create\n";
	const struct help_request table = { .form = HELP_TABLE };
	const struct help_request *request = NULL;
	const char *output = "text";
	struct words args = { 0 };
	struct k3_err e;
	bool help;
	int status = 0;
	const struct opt opts[] = {
		{ "output", 'o', OPT_CHOICE, "text|table", "text (default), or for programs",
		  &output },
		{ 0 },
	};

	if (opts_parse(opts, argc, argv, &args, &help, &e)) {
		words_release(&args);
		return cli_error(&e);
	}
	if (!strcmp(output, "table"))
		request = &table;
	size_t n;
	const struct command *all = cli_commands(&n), *about_one = NULL;

	if (args.n)
		about_one = cli_find_command(all, n, args.items[0]);
	if (help) {
		cli_help(cmd, text, opts);
	} else if (!args.n && request) {
		put_program();
	} else if (!args.n) {
		cli_usage(stdout);
	} else if (!about_one) {
		status = cli_unknown_command(args.items[0]);
	} else {
		/* A command takes words that it may change; it does not change these. */
		char **rest = (char **)(uintptr_t)(args.items + 1);

		status = cli_ask(c, about_one, request, (int)args.n - 1, rest);
	}
	words_release(&args);
	return cli_finish(status);
}
