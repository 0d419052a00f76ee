/* SPDX-License-Identifier: Apache-2.0 */
/* The commands: what is run, helped with, documented and completed. */
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
	  "Images as one file: make it, put what is in it into a root", .run = cmd_bundle },
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
