/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "cli/bundle.h"
#include "cli/help.h"

static const struct command subcommands[] = {
	{ "bundle create", NULL, "[OPTIONS] -o FILE REF...",
	  "Fetch images and write them, ready to be applied, into one file", .run = bundle_create },
	{ "bundle apply", NULL, "[OPTIONS] FILE|-",
	  "Put the images of a bundle into a containerd root", .run = bundle_apply },
	{ "bundle inspect", NULL, "[OPTIONS] FILE|-", "Show what a bundle says is in it",
	  .run = bundle_inspect },
};

int cmd_bundle(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	return cli_group(c, cmd, subcommands, K3_ARRAY_LEN(subcommands), argc, argv);
}
