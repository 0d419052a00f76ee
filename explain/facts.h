/* SPDX-License-Identifier: Apache-2.0 */
/* What the causes look at: facts of the node and its store, and of one container. */
#ifndef K3_EXPLAIN_FACTS_H
#define K3_EXPLAIN_FACTS_H

#include "doctor/doctor.h"
#include "explain/explain.h"
#include "explain/program.h"
#include "importer/importer.h"
#include "kube/kube.h"
#include "oci/oci.h"

/* ---- the node ------------------------------------------------------------------------------- */

/* An image record of namespace k8s.io. */
struct explain_name {
	char *name;
	struct oci_desc target;
	bool managed, pinned;
	char *trouble; /* why the record cannot be read, or NULL; then only name is set */
};

struct explain_node {
	struct doctor_facts d;
	bool default_root; /* the commands need not name it */
	struct oci_platform platform;
	struct imp *imp; /* NULL: there is no store to look into; `root` tells why */
	struct imp_view *view;
	struct explain_name *names;
	size_t n, cap;
};

K3_MUST int explain_node_open(const struct explain_opts *o, struct explain_node *out,
			      struct k3_err *e);
void explain_node_close(struct explain_node *n);
/* CRI's snapshotter; NULL when no configuration tells. */
const char *explain_snapshotter(const struct explain_node *n);

/* ---- the image ------------------------------------------------------------------------------ */

/* The nearest name in the store when the one asked for is not there; the best comes first. */
enum explain_near {
	EXPLAIN_FAR,
	EXPLAIN_SAME_IMAGE,   /* the digest is there, under another name */
	EXPLAIN_NOT_NORMAL,   /* the same name, not written in full: "nginx:1" */
	EXPLAIN_CASE,         /* the same but for capital letters */
	EXPLAIN_OTHER_DIGEST, /* the repository is there, with another digest */
	EXPLAIN_REGISTRY,     /* the same name and tag of another registry or organisation */
	EXPLAIN_TAG,          /* other tags */
	EXPLAIN_SPELLING,
};

struct explain_image {
	bool stored, managed, pinned;
	char *record_trouble; /* its record cannot be read */
	struct oci_desc target;
	enum explain_near near;
	char *near_name;               /* the one to take */
	struct oci_digest near_digest; /* of its target */
	char *near_list;               /* all of them, for a message */
	char *spaces;                  /* other namespaces that have the name, or NULL */

	char *document_trouble; /* index, manifest or config: missing, damaged, no image */
	bool document_missing;
	char *offers; /* no image for the node in it: what there is; or NULL */
	struct oci_platform platform;
	int rank;               /* oci_platform_rank for the node */
	size_t layers, missing; /* layers, and how many of them are not in the store */
	bool read;              /* its documents are: all below is known */
	bool unpacked;          /* for native, and its directory is there */
	char *snapshot_trouble; /* recorded, but not there */
	bool for_configured;    /* recorded for CRI's snapshotter */
	char *snapshotters;     /* all for which it is recorded, or NULL */
	char *tree;             /* path of the directory, or NULL */
	struct oci_process process;
};

/* Looks the name up; x is empty.  Fails only when the databases cannot be read. */
K3_MUST int explain_image_find(const struct explain_node *n, const struct oci_ref *ref,
			       const char *name, struct explain_image *x, struct k3_err *e);
void explain_image_release(struct explain_image *x);
/* Fills near, near_name and near_list for a name that is not stored. */
void explain_find_near(const struct explain_node *n, const struct oci_ref *ref, const char *name,
		       struct explain_image *x);

/* ---- the container -------------------------------------------------------------------------- */

enum explain_policy {
	EXPLAIN_IF_NOT_PRESENT,
	EXPLAIN_ALWAYS,
	EXPLAIN_NEVER,
	EXPLAIN_NO_POLICY, /* the API server refuses it */
};

struct explain_facts {
	const struct explain_node *node;
	const struct kube_container *pod; /* as it is written; of an image alone only that */
	bool manifest;                    /* there is a pod */
	const char *file, *text;          /* of the manifest: file = NULL is standard input */
	size_t text_len;

	char *ref_trouble; /* no reference: why; or NULL */
	char *lower;       /* the same in small letters, if that is one */
	struct oci_ref ref;
	char *name; /* as the kubelet asks for it; NULL with ref_trouble */
	enum explain_policy policy;
	struct explain_image image;

	const char *word; /* argv[0]; NULL = neither the pod nor the image says */
	bool from_pod;    /* the pod does, in its command */
	bool from_args;   /* or in its arguments, and the image has no entrypoint */
	bool in_volume;   /* it may come from a volume that is mounted there */
	const char *workdir;
	bool workdir_file; /* is there, and is no directory */
	struct program program;
	char *alternative; /* a program that does run, if this one does not; or NULL */

	const char *user;    /* "uid" or "name[:group]", of the pod or the image; "" = root */
	bool user_looked_up; /* the tree could be asked */
	bool user_found, group_found; /* numbers are */
	bool uid_known;
	uint32_t uid, gid;
	bool user_numeric;
};

K3_MUST int explain_facts_gather(const struct explain_node *n, const struct kube_container *pod,
				 const struct explain_subject *s, struct explain_facts *out,
				 struct k3_err *e);
void explain_facts_release(struct explain_facts *f);

#endif
