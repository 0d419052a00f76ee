/* SPDX-License-Identifier: Apache-2.0 */
/* How causes say what is wrong, and with which command it is mended. */
#ifndef K3_EXPLAIN_FINDING_H
#define K3_EXPLAIN_FINDING_H

#include "explain/facts.h"

void explain_say(struct explain_finding *out, enum explain_state state, const char *fmt, ...)
	K3_PRINTF(3, 4);
void explain_finding_release(struct explain_finding *f);
void explain_run_this(struct explain_finding *out, const char *fmt, ...) K3_PRINTF(2, 3);

/* "k3simg COMMAND --root R WORDS IMAGE" with what has to be said of root and pause image. */
void explain_fix_store(const struct explain_facts *f, struct explain_finding *out,
		       const char *command, const char *words, const char *image);
/* The same for the image by its digest, which needs no network for what is in the store. */
void explain_fix_stored(const struct explain_facts *f, struct explain_finding *out);
/* Lets CRI use native: a line of its configuration, or what `k3simg setup` writes. */
void explain_fix_snapshotter(const struct explain_facts *f, struct explain_finding *out);
/* "k3simg setup" for this machine. */
void explain_fix_setup(const struct explain_facts *f, struct explain_finding *out);
/*
 * An edit of the manifest: `old` on the line of `at` becomes `text`.  bare: quotes around it go,
 * too (for null).  Without a manifest, or where the line has no such text, an editor is named.
 */
void explain_fix_replace(const struct explain_facts *f, struct explain_finding *out, unsigned line,
			 const char *old, const char *text, bool bare);
/* A new member beside `image`: key and its value as JSON; for an image alone `kubectl run`. */
void explain_fix_member(const struct explain_facts *f, struct explain_finding *out, const char *key,
			const char *json);
/* runAsUser, wherever it is or has to be. */
void explain_fix_user(const struct explain_facts *f, struct explain_finding *out, uint32_t uid);
/* Another program than the one that does not run, if there is one. */
void explain_fix_program(const struct explain_facts *f, struct explain_finding *out);

/* The causes. */
typedef void explain_fn(const struct explain_facts *f, struct explain_finding *out);
explain_fn explain_root, explain_config, explain_snapshotter_set, explain_pause;
explain_fn explain_name, explain_pull_policy, explain_pull_always, explain_pull_latest,
	explain_pull_never;
explain_fn explain_same_image, explain_not_normal, explain_case, explain_other_digest,
	explain_registry, explain_tag, explain_spelling, explain_namespace, explain_absent;
explain_fn explain_record, explain_document, explain_damaged, explain_platform, explain_variant,
	explain_layers, explain_not_unpacked, explain_snapshot, explain_other_snapshotter,
	explain_unmanaged, explain_collected;
explain_fn explain_no_command, explain_program_missing, explain_program_file, explain_program_mode,
	explain_program_format, explain_program_machine, explain_interpreter, explain_loader,
	explain_loader_machine, explain_workdir;
explain_fn explain_user, explain_group, explain_non_root;
explain_fn explain_runtime_class, explain_node_os, explain_node_arch, explain_pull_secrets,
	explain_volume;

#endif
