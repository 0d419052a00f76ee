/* SPDX-License-Identifier: Apache-2.0 */
/* The options of every command that talks to registries. */
#ifndef K3_CLI_REGISTRY_OPTS_H
#define K3_CLI_REGISTRY_OPTS_H

#include "cli/opts.h"
#include "pipeline/pipeline.h"

/* What the words of the command line say. */
struct registry_opts {
	const char *creds, *auth_file, *ca_file, *retries, *timeout;
	bool plain_http;
};

#define REGISTRY_ROWS 7 /* with the one that ends them */
void registry_opts_rows(struct registry_opts *r, struct opt rows[REGISTRY_ROWS]);
/* Sets what they decide; strings are borrowed.  K3_USAGE. */
K3_MUST int registry_opts_choose(const struct registry_opts *r, struct fetch_opts *out,
				 struct k3_err *e);

#endif
