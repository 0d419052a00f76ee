/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "bundle/bundle.h"
#include "cli/bundle.h"

static const struct command subcommands[] = {
	{ "bundle create", NULL, "[OPTIONS] -o FILE REF...",
	  "Fetch images and write them, ready to be applied, into one file", bundle_create },
	{ "bundle apply", NULL, "[OPTIONS] FILE|-",
	  "Put the images of a bundle into a containerd root", bundle_apply },
	{ "bundle inspect", NULL, "[OPTIONS] FILE|-", "Show what a bundle says is in it",
	  bundle_inspect },
};

#define PREFIX "bundle "

static void usage(FILE *out, const struct command *cmd)
{
	fprintf(out, "Usage: k3simg %s %s\n\n%s.\n\nCommands:\n", cmd->name, cmd->args,
		cmd->summary);
	for (size_t i = 0; i < K3_ARRAY_LEN(subcommands); i++)
		fprintf(out, "  %-10s %s\n", subcommands[i].name + strlen(PREFIX),
			subcommands[i].summary);
	fprintf(out, "\n'k3simg bundle COMMAND --help' tells about one of them.\n");
}

int cmd_bundle(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	struct k3_err e;

	if (argc < 1) {
		usage(stderr, cmd);
		return k3_exit_status(K3_USAGE);
	}
	if (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h")) {
		usage(stdout, cmd);
		return cli_finish(0);
	}
	for (size_t i = 0; i < K3_ARRAY_LEN(subcommands); i++)
		if (!strcmp(argv[0], subcommands[i].name + strlen(PREFIX)))
			return subcommands[i].run(c, &subcommands[i], argc - 1, argv + 1);
	k3_fail(&e, K3_USAGE, "unknown command \"bundle %s\"", argv[0]);
	k3_hint(&e, "create, apply or inspect");
	return cli_error(&e);
}
