/* SPDX-License-Identifier: Apache-2.0 */
/* verify --start: whether an image starts, in the containerd that runs. */
#ifndef K3_CLI_START_H
#define K3_CLI_START_H

#include "cli/cli.h"

struct start_settings {
	const char *root;    /* what the user said, or NULL */
	const char *address; /* of containerd's socket; NULL = looked up */
	const char *config;  /* configuration that tells the pause image; NULL = looked up */
	const char *run_for, *timeout; /* as written; NULL = default */
	const char *output;            /* "text", "json" */
	bool pod_network, quiet;
};

/* args: one reference, and behind args->before the command.  Returns the exit status. */
int start_image(const struct start_settings *s, const struct words *args, const struct cli *c);

#endif
