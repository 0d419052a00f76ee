/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a container would not start from what is stored, without a network: a table of causes, each
 * a small function over facts that are gathered once per container (and once for the node).  A
 * finding says what is seen and the one command that mends it.  Nothing is changed, no network is
 * used; docs/explain.md has the table.
 */
#ifndef K3_EXPLAIN_EXPLAIN_H
#define K3_EXPLAIN_EXPLAIN_H

#include "base/err.h"
#include "base/thread.h"
#include "kube/kube.h"

/* ---- causes --------------------------------------------------------------------------------- */

enum explain_state {
	EXPLAIN_OK,
	EXPLAIN_NOTE,
	EXPLAIN_WARNS, /* it starts, but not for ever, or not as it should */
	EXPLAIN_STOPS, /* it does not start */
};
const char *explain_state_name(enum explain_state s); /* "ok", "note", "warns", "stops" */

struct explain_finding {
	enum explain_state state;
	char *text; /* what is seen, not escaped: texts of images and manifests are in it */
	char *fix;  /* a command for a shell; NULL for notes */
};

struct explain_facts;

struct explain_check {
	const char *id, *title;
	enum explain_state severity; /* at worst */
	bool node;                   /* of the node: looked at once, and it concerns every pod */
	void (*fn)(const struct explain_facts *f, struct explain_finding *out);
	const char *why; /* what the kubelet, containerd or the kernel does then */
};

const struct explain_check *explain_checks(size_t *n); /* in the order to be shown */
const struct explain_check *explain_find(const char *id);

/* ---- explaining ----------------------------------------------------------------------------- */

struct explain_opts {
	const char *root, *config, *sysroot; /* NULL = the machine's own */
	struct k3_cancel *cancel;            /* may be NULL */
};

/* What is to be explained: an image by its reference, or the pods of a manifest. */
struct explain_subject {
	const char *image; /* or NULL */
	const char *file;  /* where the manifest is from; NULL = standard input */
	const char *text;  /* terminated */
	size_t n;
};

struct explain_cause {
	const struct explain_check *check;
	struct explain_finding found; /* of a state above EXPLAIN_OK */
};

struct explain_container {
	char *image;      /* as it is written */
	char *asked;      /* by this name the kubelet asks for it; NULL = it has none */
	const char *file; /* of its subject; borrowed */
	char *kind, *object, *name, *role; /* all "" for an image by its reference */
	unsigned line;                     /* of the image in the manifest, or 0 */
	struct explain_cause *causes;
	size_t n, stops, warns;
};

struct explain_report {
	char *root, *config;          /* config: the file that was read, or NULL */
	char platform[64];            /* of the node */
	struct explain_cause *causes; /* of the node */
	size_t n, stops, warns;
	struct explain_container *containers; /* in the order they were named */
	size_t ncontainers;
};

/*
 * Explains all subjects.  What cannot be read of the store is a cause, not a failure.  Works
 * offline, and on copies of the databases where containerd runs.  K3_USAGE for a configuration
 * that is not there, and for a manifest without containers; K3_FORMAT and K3_LIMIT of a manifest,
 * with its name.
 */
K3_MUST int explain_run(const struct explain_opts *o, const struct explain_subject *subjects,
			size_t n, struct explain_report *out, struct k3_err *e);
void explain_report_release(struct explain_report *r);

#endif
