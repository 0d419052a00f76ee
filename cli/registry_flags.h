/* SPDX-License-Identifier: Apache-2.0 */
/* The options of every command that talks to registries. */
#ifndef K3_CLI_REGISTRY_FLAGS_H
#define K3_CLI_REGISTRY_FLAGS_H

#include "cli/opts.h"
#include "pipeline/pipeline.h"
#include "registry/registry.h"

/* What the words of the command line say. */
struct registry_flags {
	const char *creds, *auth_file, *ca_file, *hosts_dir, *registries, *retries, *timeout;
	bool plain_http, password_stdin, debug_http;
	bool tls_verify; /* registry_flags_rows sets it: the default is true */
	char *complete;  /* creds with the password that was asked for; ours */
	/* Where the files say to ask; after registry_flags_configure, ours. */
	struct registry *registry;
};

#define REGISTRY_ROWS 12 /* with the one that ends them */
void registry_flags_rows(struct registry_flags *r, struct opt rows[REGISTRY_ROWS]);
/*
 * Asks for what --creds leaves out: goes before registry_flags_choose.  stdin_taken as in
 * password_complete.
 */
K3_MUST int registry_flags_complete(struct registry_flags *r, const char *stdin_taken,
				    struct k3_cancel *c, struct k3_err *e);
/*
 * Mirrors, TLS and credentials are looked up in the files that belong to this configuration of a
 * root, or to that of the default root when it is NULL.  No file of a registry is read yet.  Errors
 * as imp_config_load.
 */
K3_MUST int registry_flags_configure(struct registry_flags *r, const struct imp_config *config,
				     struct fetch_opts *out, struct k3_err *e);
/* Frees what was looked up, and wipes what was asked for. */
void registry_flags_release(struct registry_flags *r);
/* Sets what they decide; strings are borrowed.  K3_USAGE. */
K3_MUST int registry_flags_choose(const struct registry_flags *r, struct fetch_opts *out,
				  struct k3_err *e);

#endif
