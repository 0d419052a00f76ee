/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "cli/answer.h"
#include "cli/cli.h"
#include "cli/help.h"

/* A file of the tree, in the program. */
#define SCRIPT(name, file)                                                                         \
	extern const char name[], name##_end[];                                                    \
	__asm__(".pushsection .rodata\n" #name ":\n\t.incbin \"" file "\"\n" #name                 \
		"_end:\n\t.byte 0\n\t.popsection\n")

SCRIPT(script_bash, "packaging/completions/k3simg.bash");
SCRIPT(script_zsh, "packaging/completions/_k3simg");
SCRIPT(script_fish, "packaging/completions/k3simg.fish");

static const struct {
	const char *shell, *from, *to;
} scripts[] = {
	{ "bash", script_bash, script_bash_end },
	{ "zsh", script_zsh, script_zsh_end },
	{ "fish", script_fish, script_fish_end },
};

static const char about[] =
	"\n"
	"Commands, options, their values, files, and the names of images in the local root are "
	"completed.  An installed k3simg brings the scripts along; these are for one that was only "
	"copied.  They ask \"k3simg completion answer -- WORD...\" what the last WORD can become: "
	"lines of a word, a tab and a remark.\n"
	"\n"
	"Examples:\n"
	"  source <(k3simg completion bash)\n"
	"  source <(k3simg completion zsh)\n"
	"  k3simg completion fish | source\n";

/* words: what is behind "k3simg"; the last one is being written. */
static int answer(const struct cli *c, const char *const *words, size_t n)
{
	size_t ncommands;
	const struct command *all = cli_commands(&ncommands), *cmd;

	if (n < 2) {
		const char *cur = n ? words[0] : "";

		answer_commands(all, ncommands, cur);
		for (size_t i = 0; cur[0] == '-' && i < 2; i++) {
			const char *option = i ? "--version" : "--help";

			if (!strncmp(option, cur, strlen(cur)))
				printf("%s\t\n", option);
		}
		return cli_finish(0);
	}
	const struct help_request rest = { HELP_ANSWER, words + 1, n - 1 };

	cmd = cli_find_command(all, ncommands, words[0]);
	return cmd ? cli_ask(c, cmd, &rest, 0, NULL) : 0;
}

static int print_script(const struct words *args)
{
	struct k3_err e;

	for (size_t i = 0; args->n == 1 && i < K3_ARRAY_LEN(scripts); i++) {
		if (strcmp(args->items[0], scripts[i].shell) != 0)
			continue;
		fwrite(scripts[i].from, 1, (size_t)(scripts[i].to - scripts[i].from), stdout);
		return cli_finish(0);
	}
	k3_fail(&e, K3_USAGE, "completion is for bash, zsh or fish");
	k3_hint(&e, "source <(k3simg completion bash)");
	return cli_error(&e);
}

int cmd_completion(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	static const struct opt none[] = { { 0 } };
	struct words args = { 0 };
	struct k3_err e;
	bool help;
	int status;

	if (opts_parse(none, argc, argv, &args, &help, &e)) {
		status = cli_error(&e);
	} else if (help) {
		cli_help(cmd, about, none);
		status = cli_finish(0);
	} else if (args.before == 1 && !strcmp(args.items[0], "answer")) {
		status = answer(c, args.items + 1, args.n - 1);
	} else {
		status = print_script(&args);
	}
	words_release(&args);
	return status;
}
