/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: the open root and its layout. */
#ifndef K3_IMPORTER_IMP_H
#define K3_IMPORTER_IMP_H

#include "bolt/bolt.h"
#include "importer/importer.h"
#include "snapshot/snapshot.h"

/* Below the root; containerd: "<plugin type>.<plugin id>". */
#define IMP_META_DIR "io.containerd.metadata.v1.bolt"
#define IMP_NATIVE_DIR "io.containerd.snapshotter.v1." IMP_SNAPSHOTTER
#define IMP_SNAPSHOTS_DIR IMP_NATIVE_DIR "/snapshots"
#define IMP_CONTENT_DIR "io.containerd.content.v1.content"
#define IMP_BLOBS_DIR IMP_CONTENT_DIR "/blobs"
#define IMP_STAGE_DIR ".k3simg"

/* Where imp_commit() may be stopped by a test; the step named has just been made. */
enum imp_step {
	IMP_STEP_FLUSHED,
	IMP_STEP_LOCKED,
	IMP_STEP_VERIFIED,
	IMP_STEP_BLOB_PLACED, /* after each */
	IMP_STEP_BLOBS_SYNCED,
	IMP_STEP_RESERVED,
	IMP_STEP_JOURNALED,
	IMP_STEP_TREE_PLACED, /* after each */
	IMP_STEP_TREES_SYNCED,
	IMP_STEP_NATIVE_COMMITTED,
	IMP_STEP_META_COMMITTED,
	IMP_STEPS
};
/* 0 = go on; -1 with *e filled = fail there. */
typedef int imp_step_fn(void *arg, enum imp_step s, struct k3_err *e);

/* A blob that this run has completed and verified. */
struct imp_staged {
	struct oci_digest digest;
	bool replace;       /* the store's file has the right size and the wrong bytes */
	bool placed, fresh; /* imp_commit: moved into the store; where no file was */
};

struct imp_digests {
	struct oci_digest *v;
	size_t n, cap;
};

/* What the file system refused of a tree; see importer/losses.h. */
struct imp_losses {
	struct k3_buf text; /* of each that is kept: kind, path, what, why, each with its NUL */
	uint64_t total, kept;
};

struct imp_tree {
	struct imp *owner;
	struct oci_digest chain;
	struct imp_tree *parent;
	uint64_t parent_id; /* 0 = none */
	struct oci_digest parent_chain;
	int parentfd;           /* until sealed; -1 = no parent */
	struct snap_tree *snap; /* until sealed */
	struct snap_compare *compare;
	struct snap_usage usage;
	struct imp_losses losses;
	bool sealed, dropped;
	/* Set by imp_commit. */
	bool chosen, published;
	uint64_t id;
	char *name;              /* key in metadata.db */
	char *parent_name;       /* of the parent's record, NULL = none */
	uint64_t parent_name_id; /* its number */
	/* The snapshot that this one takes the place of, which goes with the commit. */
	char *old_name; /* key in metadata.db, NULL = none */
	uint64_t old_id;
	bool old_named; /* meta.db names it: the journal can tell whether it was replaced */
};

struct imp {
	char *root, *ns;
	bool write, pin, no_sync;
	enum imp_mode mode;
	char *address;
	bool stage_only;
	bool live;                 /* containerd has the databases */
	struct imp_daemon *daemon; /* connected, if live and something may be committed */
	struct k3_cancel *cancel;
	int rootfd; /* holds the run lock with write */
	int stagefd, blobsfd, treesfd;
	bool made_root, committed;
	bool fresh;                 /* no schema in meta.db yet */
	uint64_t sound_meta;        /* last transaction of meta.db when it was checked */
	uint64_t sound_native;      /* the same of metadata.db */
	uint64_t highest_native;    /* number of a snapshot in it then */
	struct k3_monitor *putting; /* one document at a time */
	struct k3_monitor *lock;    /* for the lists below */
	struct imp_staged *staged;
	size_t nstaged, staged_cap;
	struct imp_tree **trees;
	size_t ntrees, trees_cap;
	struct imp_image **images;
	size_t nimages, images_cap;
	/* Set before a run and only read in it. */
	struct imp_digests bad_blobs, good_blobs, bad_chains;
	imp_step_fn *step;
	void *step_arg;
};

/* Moves a sealed tree into the store, as number t->id. */
K3_MUST int imp_tree_place(struct imp_tree *t, int snapshots, struct k3_err *e);
/* The same where containerd has made an empty directory for it. */
K3_MUST int imp_tree_fill(struct imp_tree *t, int snapshots, struct k3_err *e);

bool imp_distrusts_blob(const struct imp *i, const struct oci_digest *d);
bool imp_vouches_blob(const struct imp *i, const struct oci_digest *d);
void imp_digests_release(struct imp_digests *set);

/* For tests only. */
void imp_set_step(struct imp *i, imp_step_fn *fn, void *arg);

#endif
