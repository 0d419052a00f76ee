/* SPDX-License-Identifier: Apache-2.0 */
/* The files of setup: what they are to be, how they get there. */
#ifndef K3_SETUP_FILES_H
#define K3_SETUP_FILES_H

#include <sys/types.h>

#include "setup/setup.h"

/* Below the prefix. */
#define SETUP_CONFIG_FILE "/etc/containerd/config.toml"
#define SETUP_CNI_CONF_DIR "/etc/cni/net.d"
#define SETUP_CNI_BIN_DIR "/opt/cni/bin"
#define SETUP_RUNTIME_LINK "/usr/local/lib/k3simg/k3simg-oci-runtime"
#define SETUP_RUNTIME_FILE "/etc/k3simg/runtime"
#define SETUP_K3S_CONFIG "/etc/rancher/k3s/config.yaml.d/90-k3simg.yaml"
#define SETUP_STATE_FILE "/var/lib/k3simg/setup.json"
#define SETUP_LEASES "/run/k3simg/cni"

#define SETUP_HEADER "Written by k3simg setup; k3simg setup --undo takes it back."

struct setup_file {
	char *path;
	char *link; /* where a symbolic link points to; NULL: a file */
	bool spare; /* somebody else's serves as well */
	struct k3_buf text;
};

struct setup_plan {
	struct setup_file *files;
	size_t n, cap;
};

K3_MUST int setup_plan_make(const struct setup_opts *o, struct setup_plan *out, struct k3_err *e);
void setup_plan_release(struct setup_plan *p);
/* A new empty file of the plan, path taken over. */
struct setup_file *setup_plan_add(struct setup_plan *p, char *path);
/* The containerd configuration of a version; the k3s files. */
K3_MUST int containerd_config(const struct setup_opts *o, struct k3_buf *out, struct k3_err *e);
K3_MUST int k3s_files(const struct setup_opts *o, struct setup_plan *p, struct k3_err *e);

/* Writes aside (PATH.k3simg-new), flushes, renames, flushes the directory. */
K3_MUST int file_replace(const char *path, const void *text, size_t n, mode_t mode,
			 struct k3_err *e);
K3_MUST int file_replace_link(const char *path, const char *to, struct k3_err *e);
K3_MUST int file_sync_parent(const char *path, struct k3_err *e);

/* What is at a path. */
struct setup_seen {
	bool there, link, other; /* other: neither file nor link */
	mode_t mode;
	struct k3_buf text; /* content, or what the link points to */
};
K3_MUST int file_look(const char *path, struct setup_seen *out, struct k3_err *e);
void seen_release(struct setup_seen *s);
/* Whether two of a kind are the same. */
bool file_is(const struct setup_seen *s, const struct setup_file *f);

/* Appends a unified diff of two texts; a NULL old is a file that is not there. */
K3_MUST int diff_unified(const char *path, const struct k3_buf *old, const struct k3_buf *new_,
			 struct k3_buf *out, struct k3_err *e);

#endif
