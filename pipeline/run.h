/* SPDX-License-Identifier: Apache-2.0 */
/* The state of one run, shared by the stages.  Private to pipeline/. */
#ifndef K3_PIPELINE_RUN_H
#define K3_PIPELINE_RUN_H

#include "base/buf.h"
#include "base/mem.h"
#include "importer/importer.h"
#include "pipeline/pipeline.h"
#include "pipeline/source.h"

struct image;

enum job_state { JOB_WAITING, JOB_RUNNING, JOB_DONE, JOB_FAILED };

/* A layer blob, once per digest over all images. */
struct blob {
	const struct oci_desc *desc;
	struct image **users; /* images that need it, in request order: each names a repository */
	size_t nusers, cap_users;
	bool stored;   /* in the content store already: nothing to fetch */
	size_t member; /* of the bundle that it comes from */
	/* below: under the monitor */
	enum job_state state;
	uint64_t have;  /* bytes that may be read from the staging file */
	unsigned again; /* how often its bytes were dropped and asked for anew */
	bool unsure;    /* an earlier run left some of them: nobody reads before all are verified */
	struct k3_err err;
};

/* A node of the layer trie: one chain ID, once over all images. */
struct node {
	const struct oci_layer *layer;
	struct blob *blob;
	struct node *parent; /* NULL for a bottom layer */
	size_t depth;        /* place in the layers of its images */
	uint64_t store_id;   /* the snapshot that exists, or 0 */
	bool top;            /* an image ends here */
	bool wanted;         /* this node or one above it must be built */
	size_t wanted_children;
	bool decoded;      /* no tree, but its layer is decompressed for a bundle */
	struct tree *tree; /* set when a snapshot is built for this node */
	size_t tar; /* member of the bundle that is its layer decompressed, plus 1; 0 = none */
	struct node *next; /* all nodes, in order of creation: parents first */
};

/* A snapshot to build: the layers from below `node` down to its base, applied to one tree. */
struct tree {
	struct node *node;
	struct tree *base;      /* sealed first, then cloned; or NULL */
	struct node *base_node; /* node of base, or the one found in the store, or NULL */
	struct node **path;     /* layers to apply, bottom first; the last is node */
	size_t npath;
	size_t told; /* layers of the path whose losses were told */
	struct imp_tree *imp;
	struct image *owner; /* the first image that needs it: its disk is counted there */
	/* below: under the monitor */
	enum job_state state;
	struct k3_err err;
};

/* One image of the run. */
struct image {
	size_t index;
	const struct pl_request *req;
	struct pl_result *res;
	struct oci_resolved found;
	const struct oci_image *img; /* found.image once it is resolved, else NULL */
	struct node **nodes;         /* one per layer */
	struct imp_image imp;
	/* below: under the monitor */
	size_t missing; /* blobs and trees that are not there yet */
	bool finished;  /* whole or failed */
};

struct run {
	const struct pl_opts *o;
	struct k3_cancel *stop;
	struct imp *imp;
	struct fetch *fetch;
	unsigned jobs, transfers; /* most builders and connections at a time */
	bool blobs_only;          /* nothing is built or committed */
	bool look_only; /* nothing is written at all; imp is NULL where there is no root */
	bool in_order;  /* a source that is read once: all blobs, then one tree after the other */
	struct fetch_session *sessions[PL_TRANSFERS_MAX];
	struct k3_monitor *mon;
	uint64_t start_ms;

	struct image *images;
	size_t nimages;
	struct blob **blobs;
	size_t nblobs, cap_blobs;
	size_t nfetched; /* blobs the store does not have */
	struct node *nodes, **last_node;
	struct tree **trees;
	size_t ntrees, cap_trees;
	struct oci_map blob_map, node_map;
	bool cut_short; /* a bundle ended early; what came of it may be gone on with */
	/* below: under the monitor */
	size_t next_image;   /* first one nobody resolves yet */
	size_t next_blob;    /* first one nobody has looked at */
	size_t first_tree;   /* all before it are begun */
	struct parts *parts; /* blobs that are being fetched in parts, in order of their begin */
	size_t probing;      /* those of them that may ask for help soon */
};

/*
 * The steps of a run; run_release in any case.  keep: what was fetched and is not committed stays
 * staged for the next run.
 */
void run_init(struct run *r, const struct pl_opts *o, const struct pl_request *reqs, size_t n,
	      struct k3_cancel *stop, struct pl_result *out);
K3_MUST int run_open(struct run *r, struct k3_err *e);
void run_resolve(struct run *r);
void run_transfer_and_build(struct run *r);
void run_release(struct run *r, bool keep);
/* The first image that failed, or NULL. */
const struct image *run_first_failed(const struct run *r);

/* Sends an event.  Takes the monitor: not from inside it. */
void run_event(struct run *r, const struct pl_event *ev);
/* The same, for a caller that is inside the monitor. */
void run_event_locked(struct run *r, const struct pl_event *ev);
/*
 * Tells about a layer: how far it got with the first image that uses this blob, what became of it
 * with all.  Inside the monitor.
 */
void run_blob_event_locked(struct run *r, const struct blob *b, enum pl_phase phase, uint64_t done);
/* Marks an image as failed, once.  Inside the monitor. */
void run_fail_image_locked(struct run *r, struct image *im, const struct k3_err *why);
/* A blob or tree of this image is there; with the last one it is whole.  Inside the monitor. */
void run_got_locked(struct run *r, struct image *im);
/* Whether this image has that node.  It must be a user of the node's blob. */
bool run_image_has(const struct image *im, const struct node *n);
/*
 * Parts that a blob is fetched in, 1 = not in parts, as one that an archive has; *chunk is their
 * size.
 */
size_t run_parts(const struct run *r, const struct blob *b, uint64_t *chunk);
/* Whether an archive has it, or should have. */
bool run_is_local(const struct blob *b);
/* Worker slot i's way to registries. */
struct source_link run_link(struct run *r, size_t slot);
/* The session of worker slot i, made on first use by that worker. */
K3_MUST int run_session(struct run *r, size_t slot, struct fetch_session **out, struct k3_err *e);

/* resolve.c: fills docs, config and img.  Any thread, one image per call. */
K3_MUST int resolve_image(struct run *r, struct image *im, size_t slot, struct k3_err *e);
/* The k-th document of an image, up to f->ndocs: the last is the config. */
const struct oci_desc *resolved_document(const struct oci_resolved *f, size_t k,
					 const struct k3_buf **body);
/* plan.c: builds blobs, nodes and trees of all images that resolved. */
K3_MUST int plan_make(struct run *r, struct k3_err *e);
/* Marks what r->o->snapshots needs to be built, from nothing again with each call. */
void plan_mark(struct run *r);
/* Whether it gets a tree of its own, once it is marked. */
bool plan_needs_tree(const struct run *r, const struct node *n);
void plan_release(struct run *r);
/* transfer.c: one transfer worker; returns when nothing is left for it. */
void transfer_worker(struct run *r, size_t slot);
/* build.c: one build worker; returns when nothing is left for it. */
void build_worker(struct run *r);

#endif
