/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blobs and trees to containerd records: one containerd root, edited while no daemon runs, or
 * through the API of the containerd that has it.
 *
 * Layout, schemas, labels and order of writes: docs/importer.md; containerd sources
 * core/metadata, core/snapshots/storage, plugins/content/local.
 *
 * Everything new is gathered in a staging directory inside the root, which containerd never
 * looks at, and becomes visible in imp_commit() only.  The databases are locked for the
 * length of a view or of the commit, never while anything is downloaded or unpacked.
 *
 * Threads: struct imp belongs to one thread, except that imp_blob_* and imp_tree_* calls on
 * different objects may run on different threads (marked mt).
 */
#ifndef K3_IMPORTER_IMPORTER_H
#define K3_IMPORTER_IMPORTER_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/thread.h"
#include "oci/oci.h"

#define IMP_SNAPSHOTTER "native"

/* ---- which root, which pause image ------------------------------------------------------ */

enum imp_root_kind { IMP_ROOT_CONTAINERD, IMP_ROOT_K3S };

enum imp_setting { IMP_UNSET, IMP_NO, IMP_YES };

struct imp_runtime {
	char *name;   /* as pods name it: "runc" */
	char *type;   /* "io.containerd.runc.v2", or NULL */
	char *binary; /* BinaryName of its options, or NULL */
	enum imp_setting systemd_cgroup;
};

/* What config.toml says of CRI beyond images; defaults are filled in. */
struct imp_cri {
	int version; /* of the file, its imports included; 0 without one */
	enum imp_setting unprivileged_ports, unprivileged_icmp;
	enum imp_setting
		local_pull;        /* use_local_image_pull: pulls do not use the transfer service */
	bool transfer_native;      /* the transfer service is told to unpack for native */
	char *cni_conf, **cni_bin; /* directories */
	size_t ncni_bin;
	char *default_runtime;
	struct imp_runtime *runtimes;
	size_t nruntimes;
};
/* The OCI runtime of pods that name none: a path, or a name to be looked up in $PATH.  Borrowed. */
const char *imp_cri_runtime(const struct imp_cri *c);

/* What the configuration of a root says.  Strings may be NULL; released by imp_config_release. */
struct imp_config {
	enum imp_root_kind kind;
	char *file;  /* the configuration file that was read, or NULL when there is none */
	char *pause; /* pause image exactly as configured, or the default of this kind of root */
	bool pause_default;  /* nothing was configured: `pause` is our default for the kind */
	char *pause_program; /* where imp_config_ask_program found `pause`, or NULL */
	char *snapshotter;   /* CRI snapshotter as configured, or NULL */
	char **files;        /* all that was read of config.toml, imports included, in order */
	size_t nfiles;
	char *agent; /* k3s's agent directory, or NULL for a containerd's root */
	/* k3s is told to ask a registry's mirrors, but not the registry (config.yaml). */
	bool mirrors_only;
	char *address; /* socket of the daemon: as configured, or the default of this kind */
	/* `root` of the configuration that would be read for a root of this kind, or NULL. */
	char *named_root;
	/* Schema of the store: 4 is made by containerd 2.x; 3 by 1.x or by us; 0: none, or locked.
	 */
	int64_t schema;
	struct imp_cri cri;
};

/*
 * The root to use when none is named: k3s's (/var/lib/rancher/k3s/agent/containerd) if k3s is
 * installed, else the `root` of /etc/containerd/config.toml, else /var/lib/containerd.
 * Caller frees.
 */
char *imp_default_root(void);
/* The same on a machine whose root directory is sysroot ("": this one), which the result begins
 * with. */
char *imp_default_root_at(const char *sysroot);

/*
 * Reads the configuration that belongs to `root`: `file` if given; for a k3s root
 * <agent>/etc/containerd/config.toml, then /etc/rancher/k3s/config.yaml (of an RKE2 its own); else
 * /etc/containerd/config.toml if its root is this one.  A missing default file is no error;
 * one that does not parse is K3_USAGE, naming file and line.
 */
K3_MUST int imp_config_load(const char *root, const char *file, struct imp_config *out,
			    struct k3_err *e);
/* Well-known paths are looked up below sysroot; `root` and `file` are as the caller sees them. */
K3_MUST int imp_config_load_at(const char *sysroot, const char *root, const char *file,
			       struct imp_config *out, struct k3_err *e);
/*
 * Where nothing is configured: `pause` becomes what the containerd installed below sysroot asks for
 * by itself, if it tells; distributions change it.  Reads the program, some 50 MB.
 */
void imp_config_ask_program(const char *sysroot, struct imp_config *c);
void imp_config_release(struct imp_config *c);

/* ---- the store --------------------------------------------------------------------------- */

struct imp;

/* Who edits the store. */
enum imp_mode {
	IMP_AUTO,    /* containerd if it has the databases locked, else we do */
	IMP_OFFLINE, /* we do; K3_BUSY if containerd has them */
	IMP_LIVE,    /* containerd; K3_STORE if none runs on this root */
};

struct imp_opts {
	const char *root; /* containerd's root directory */
	const char *ns;   /* containerd namespace, e.g. "k8s.io" */
	enum imp_mode mode;
	const char *address; /* socket of containerd, for a root that is to be written */
	bool write;      /* preload: make what is missing, take the run lock, sweep old staging */
	bool stage_only; /* with write: nothing will be committed, no containerd is needed */
	bool pin;        /* label images as pinned */
	/*
	 * imp_commit does not wait until blobs and trees are on disk: a loss of power soon after
	 * may leave images that are recorded and broken.  A killed process never does, either way.
	 */
	bool no_sync;
	struct k3_cancel *cancel; /* polled while waiting for the run lock; may be NULL */
	/* Called once when another k3simg works on this root and we wait for it; may be NULL. */
	void (*on_wait)(void *arg);
	void *arg;
};

/*
 * Opens a root.  With write, a missing or empty directory becomes a new root.  Nothing of the
 * store is changed before imp_commit.
 * K3_STORE: not a containerd root, read-only, unknown schema version, broken database, or no
 * containerd on it with IMP_LIVE.  K3_BUSY: containerd is running on this root, with IMP_OFFLINE
 * or without an answer from `address`.  K3_NOTFOUND: no such directory (without write).
 * K3_USAGE: bad namespace name.
 */
K3_MUST int imp_open(const struct imp_opts *o, struct imp **out, struct k3_err *e);
/* Whether containerd is running on this root; imp_commit may find that this has changed. */
bool imp_is_live(const struct imp *i);
/*
 * Releases everything.  keep_partial: downloads of blobs stay staged, so that the next run
 * goes on with them; otherwise, and always after a successful commit, staging is removed.
 * Trees never stay.
 */
void imp_close(struct imp *i, bool keep_partial);

/* ---- looking -------------------------------------------------------------------------------- */

/*
 * A consistent look at the store: under shared locks, so use it quickly and close it; where
 * containerd holds the locks, at copies of its databases.
 */
struct imp_view;

K3_MUST int imp_view_open(struct imp *i, struct imp_view **out,
			  struct k3_err *e); /* K3_BUSY, K3_STORE */
void imp_view_close(struct imp_view *v);
/* Whether containerd has changed its databases since: what was seen may be out of date. */
bool imp_view_is_stale(const struct imp_view *v);
/* Whether these are copies, since containerd has the databases. */
bool imp_view_is_copy(const struct imp_view *v);

/*
 * What the run is going to build on: containerd, if it runs, keeps it until imp_close, whatever
 * is removed meanwhile.  Takes effect after a moment in which it may have gone: look again.
 */
K3_MUST int imp_hold(struct imp *i, const struct oci_digest *blobs, size_t nblobs,
		     const struct oci_digest *chains, size_t nchains, struct k3_err *e);

/* The target of an image record of our namespace.  *found = false and success when absent. */
K3_MUST int imp_view_image(struct imp_view *v, const char *name, struct oci_desc *target,
			   bool *found, struct k3_err *e);
/*
 * Whether a blob is in the content store: its record in our namespace and its file, both of
 * this size.  Contents are not hashed again.
 */
K3_MUST int imp_view_blob(struct imp_view *v, const struct oci_desc *d, bool *have,
			  struct k3_err *e);
/*
 * Whether a committed snapshot of this chain ID exists in our namespace, with its directory;
 * *id is its number (the name of the directory).
 */
K3_MUST int imp_view_chain(struct imp_view *v, const struct oci_digest *chain, uint64_t *id,
			   bool *have, struct k3_err *e);

struct imp_loss;
typedef int imp_loss_fn(void *arg, const struct imp_loss *loss, struct k3_err *e);
/*
 * What the file system refused when a preload made the snapshot of this chain: calls fn (may be
 * NULL) for each loss that was written down, -1 ends; *total counts all.  None where nothing was
 * lost, and where somebody else made it.  K3_FORMAT when what was written is damaged.
 */
K3_MUST int imp_view_losses(struct imp_view *v, const struct oci_digest *chain, imp_loss_fn *fn,
			    void *arg, uint64_t *total, struct k3_err *e);
/*
 * Forgets losses of snapshots that are gone; every commit does.  For who removes snapshots and
 * holds the run lock.  Best effort.
 */
void imp_view_sweep_losses(struct imp_view *v);

struct imp_record {
	const char *name;
	struct oci_desc target;
	bool managed, pinned;
	int64_t created; /* unix seconds; 0 when the record has none */
};
/* Calls fn for each image record of the namespace, in name order; -1 from fn ends the walk. */
typedef int imp_record_fn(void *arg, const struct imp_record *r, struct k3_err *e);
K3_MUST int imp_view_images(struct imp_view *v, imp_record_fn *fn, void *arg, struct k3_err *e);

/*
 * Calls fn with each other namespace that has a record of this name; the text is borrowed.  -1
 * from fn ends the walk.
 */
typedef int imp_word_fn(void *arg, const char *word, struct k3_err *e);
K3_MUST int imp_view_elsewhere(struct imp_view *v, const char *name, imp_word_fn *fn, void *arg,
			       struct k3_err *e);
/*
 * Calls fn with each snapshotter that has a record of this chain ID in our namespace: what an
 * image is unpacked for by meta.db, whether or not the snapshotter still has it.
 */
K3_MUST int imp_view_snapshotters(struct imp_view *v, const struct oci_digest *chain,
				  imp_word_fn *fn, void *arg, struct k3_err *e);

/*
 * mt.  Appends a document (index, manifest, config) from the staged or stored blob, verified
 * against digest and size (a size of 0 is one not known yet); one left in staging by an earlier
 * run counts as staged by this one from now on.  K3_NOTFOUND when the file is not there, K3_DIGEST.
 */
K3_MUST int imp_read_document(struct imp *i, const struct oci_desc *d, struct k3_buf *out,
			      struct k3_err *e);

/* ---- records as they are -------------------------------------------------------------------- */

/* -1 ends.  Texts of the store: escape them before they are shown. */
typedef int imp_label_fn(void *arg, const char *key, const char *value, struct k3_err *e);
/* Labels of a record of our namespace, in the order of their keys; none without a record. */
K3_MUST int imp_view_image_labels(struct imp_view *v, const char *name, imp_label_fn *fn, void *arg,
				  struct k3_err *e);
K3_MUST int imp_view_blob_labels(struct imp_view *v, const struct oci_digest *d, imp_label_fn *fn,
				 void *arg, struct k3_err *e);
K3_MUST int imp_view_snapshot_labels(struct imp_view *v, const struct oci_digest *chain,
				     imp_label_fn *fn, void *arg, struct k3_err *e);

/* A snapshot as both databases have it. */
struct imp_snapshot_info {
	uint64_t id;    /* its number; imp_snapshot_name() is its directory */
	char *name;     /* its key in metadata.db, "k8s.io/2/sha256:..." */
	char *parent;   /* key of what it stands on, or NULL; our live ones stand on nothing */
	int kind;       /* imp_kind_name */
	bool directory; /* it is there */
	uint64_t bytes, inodes; /* as whoever made it has counted, see docs/commands.md */
	int64_t created;        /* unix seconds; 0 = not known */
};
/* *found = false and success when one of the databases has no such record. */
K3_MUST int imp_view_snapshot_info(struct imp_view *v, const struct oci_digest *chain,
				   struct imp_snapshot_info *out, bool *found, struct k3_err *e);
void imp_snapshot_info_release(struct imp_snapshot_info *s);
const char *imp_kind_name(int kind); /* "committed", "active", "view", "unknown" */
bool imp_is_container(int kind);     /* what a container, or an unpack, works in */

/* ---- disk ------------------------------------------------------------------------------------ */

/* A directory of the native snapshotter. */
struct imp_disk_tree {
	uint64_t id; /* 0: its name is no number */
	int kind;    /* imp_kind_name; 0 = no record has it */
	bool kept;   /* something refers to it, as containerd's collector sees it */
	bool ours;   /* of our namespace, under `chain` */
	struct oci_digest chain;
};
/* What exactly these trees have, and no others: hard links count once. */
struct imp_disk_share {
	size_t *trees; /* rising indices */
	size_t n;
	uint64_t bytes, inodes;
};
struct imp_disk_blob {
	struct oci_digest digest;
	uint64_t bytes; /* on disk; 0: there is no file */
	bool kept;      /* as that of a tree */
};
/* All below a root, in bytes of whole blocks as du counts them, mount points left out. */
struct imp_disk {
	struct imp_disk_tree *trees;
	size_t ntrees, trees_cap;
	struct imp_disk_share *shares;
	size_t nshares, shares_cap;
	struct imp_disk_blob *blobs; /* sorted by digest */
	size_t nblobs, blobs_cap;
	uint64_t content;   /* of the content store besides blobs: directories, downloads */
	uint64_t databases; /* both, with their directories */
	uint64_t staging;   /* of preloads that were cut off, or are at work */
	bool staging_idle;  /* nobody is at work there */
	uint64_t rest;      /* other plugins of containerd, and the root itself */
};
/* What the databases say; K3_STORE. */
K3_MUST int imp_disk_look(struct imp_view *v, struct imp_disk *out, struct k3_err *e);
/*
 * Counts; needs no view, so that the databases are not locked meanwhile.  What is removed
 * meanwhile counts as far as it was seen.
 */
K3_MUST int imp_disk_count(struct imp *i, struct imp_disk *d, struct k3_cancel *cancel,
			   struct k3_err *e);
void imp_disk_release(struct imp_disk *d);
/* Also after a failure.  NULL when there is no such blob. */
const struct imp_disk_blob *imp_disk_blob(const struct imp_disk *d, const struct oci_digest *of);

/* ---- checking -------------------------------------------------------------------------------- */

enum imp_trouble {
	IMP_DATABASE, /* the file itself, or where containerd will go on numbering */
	IMP_IMAGE,    /* an image record */
	IMP_NAME,     /* a name that is missing or leads elsewhere */
	IMP_BLOB,     /* record or file of a blob */
	IMP_LABEL,    /* a label that is wrong, or without which containerd's collector deletes */
	IMP_SNAPSHOT, /* records of a snapshot in either database, or its directory */
	IMP_TREE,     /* something in a snapshot's tree */
	IMP_LEFTOVER, /* nobody uses it; does no harm */
	IMP_NOTE,     /* no damage, but part of the image cannot be judged or is not there */
};

/* "database", "image", … for JSON. */
const char *imp_trouble_name(enum imp_trouble kind);

/* One finding.  Everything is borrowed for the length of the call, and text of the store is in
 * it: escape before it is shown. */
struct imp_finding {
	enum imp_trouble kind;
	const char *path;                /* below the root; for a record "<file>/<buckets…>" */
	const char *text;                /* what is wrong with it */
	const struct oci_digest *digest; /* the blob, or the chain ID of the snapshot; or NULL */
	/* Of a blob: its record is missing or wrong and its file has the right size. */
	bool unrecorded;
};
typedef int imp_finding_fn(void *arg, const struct imp_finding *f, struct k3_err *e);

struct imp_sink {
	imp_finding_fn *fn; /* -1 ends the check */
	void *arg;
};

/* One platform of an image that the store has documents of. */
struct imp_variant {
	struct oci_image img;
	bool unpacked; /* its top snapshot is recorded, or it has no layers */
	bool wanted;   /* serves the platform asked for */
};

/* What a check of an image has come across. */
struct imp_checked {
	struct imp_variant *variants;
	size_t n, cap;
	struct oci_desc *layers; /* each once: layers with a file of the right size, to be hashed */
	size_t nlayers, layers_cap;
	bool noted; /* something of it is not there, and need not be */
};
void imp_checked_release(struct imp_checked *c);

/* An image: all names of the namespace that have one target. */
struct imp_names {
	struct oci_desc target;
	const char *const *v;
	size_t n;
	bool managed; /* by CRI: it, or a preload, has made the other names too */
};

/*
 * Calls fn for each image record; one that cannot be read is a finding instead.  -1 of fn ends
 * the walk.
 */
K3_MUST int imp_check_records(struct imp_view *v, imp_record_fn *fn, void *arg,
			      const struct imp_sink *s, struct k3_err *e);
/* Both databases page by page; *sound = false when what is in them must not be relied on. */
K3_MUST int imp_check_databases(struct imp_view *v, const struct imp_sink *s, bool *sound,
				struct k3_err *e);
/*
 * Everything reachable from the image's target that the store has, for whatever platforms those
 * are: records, labels, files and their sizes, documents hashed and parsed, snapshots in both
 * databases.  Layers are not read.  `want` decides what must be there: of other platforms parts
 * may be missing, which is noted.
 * Fails only when the databases cannot be read.
 */
K3_MUST int imp_check_image(struct imp_view *v, const struct imp_names *im,
			    const struct oci_platform *want, struct imp_checked *out,
			    const struct imp_sink *s, struct k3_err *e);
/*
 * What belongs to no image: directories, files, and records of all namespaces without each
 * other, numbers given out, what an interrupted preload has left.
 */
K3_MUST int imp_check_store(struct imp_view *v, const struct imp_sink *s, struct k3_err *e);
/* Opens the content store's file of a blob, never one that is staged.  Caller closes.  mt */
K3_MUST int imp_stored_open(struct imp *i, const struct oci_digest *d, int *fd, struct k3_err *e);
/* "io.containerd.content.v1.content/blobs/…" and "….native/snapshots/<id>", as new memory. */
char *imp_blob_name(const struct oci_digest *d);
char *imp_snapshot_name(uint64_t id);
/*
 * Repositories that containerd.io/distribution.source labels of a blob name, as
 * "<host without port>/<repository>": NULL-terminated, as new memory, each entry too.
 */
K3_MUST int imp_view_sources(struct imp_view *v, const struct oci_digest *d, char ***out,
			     struct k3_err *e);

/* ---- not taking the records' word ------------------------------------------------------------ */

/*
 * What a check has found to be damaged: from now on it counts as absent, whatever the records
 * say, and what this run makes instead takes its place in imp_commit.  A replaced blob file is
 * overwritten by rename; a replaced snapshot gets a new number, whoever stood on the old one
 * stands on the new one, and the old record and directory go once the new state is committed.
 * To be called before the run begins: afterwards the sets are read on any thread.
 */
void imp_distrust_blob(struct imp *i, const struct oci_digest *d);
void imp_distrust_chain(struct imp *i, const struct oci_digest *chain);
bool imp_distrusts_chain(const struct imp *i, const struct oci_digest *chain); /* mt */
/* The file of this blob has been hashed and is right: it counts as stored without a record. */
void imp_vouch_blob(struct imp *i, const struct oci_digest *d);

/* ---- blobs ----------------------------------------------------------------------------------- */

/* One blob being staged. */
struct imp_blob;

/*
 * Opens the staging file of a blob.  What an interrupted run left of it is kept and hashed.
 * One imp_blob per digest at a time.
 */
K3_MUST int imp_blob_begin(struct imp *i, const struct oci_desc *d, struct imp_blob **out,
			   struct k3_err *e);      /* mt */
uint64_t imp_blob_have(const struct imp_blob *b);  /* bytes staged so far, from the start */
struct k3_hash *imp_blob_hash(struct imp_blob *b); /* running hash over them; borrowed */
/*
 * Appends bytes (the hash is the downloader's business).  Parts that lie behind what is there
 * from the start are dropped first.  mt
 */
K3_MUST int imp_blob_write(struct imp_blob *b, const void *p, size_t n, struct k3_err *e);
/*
 * Splits the blob into chunks of `chunk` bytes, which may come in any order, each from its start
 * to its end.  What an interrupted run left counts: all of it when that had the same chunks,
 * else what is there from the start.  At most IMP_PARTS_MAX chunks (K3_BUG).  mt
 */
#define IMP_PARTS_MAX 4096u
K3_MUST int imp_blob_split(struct imp_blob *b, uint64_t chunk, struct k3_err *e);
uint64_t imp_blob_part_have(const struct imp_blob *b, size_t k); /* bytes of chunk k so far */
/* Appends bytes to chunk k.  Different chunks may be written on different threads. */
K3_MUST int imp_blob_part_write(struct imp_blob *b, size_t k, const void *p, size_t n,
				struct k3_err *e);
/*
 * Goes on with the running hash to byte `to`, up to which the caller knows that everything has
 * been written, by reading it into buf.  One thread at a time, also beside imp_blob_part_write.
 */
K3_MUST int imp_blob_follow(struct imp_blob *b, uint64_t to, void *buf, size_t size,
			    struct k3_err *e);
/* Empties the file and the hash: the bytes turned out to be wrong. */
K3_MUST int imp_blob_restart(struct imp_blob *b, struct k3_err *e);
/*
 * The caller has verified size and digest: the blob is complete and will be published by
 * imp_commit if an added image needs it.  Frees b in any case.  mt
 */
K3_MUST int imp_blob_done(struct imp_blob *b, struct k3_err *e);
void imp_blob_abandon(
	struct imp_blob *b); /* frees b; the bytes stay staged.  NULL is a no-op.  mt */
/*
 * Stages a small document in one go.  A blob that is staged already is left alone, and offline
 * one that is stored.
 */
K3_MUST int imp_blob_put(struct imp *i, const struct oci_desc *d, const void *p, size_t n,
			 struct k3_err *e); /* mt */
/* Opens a staged (also unfinished) or stored blob for reading.  Caller closes.  mt */
K3_MUST int imp_blob_open(struct imp *i, const struct oci_desc *d, int *fd, struct k3_err *e);

/* ---- trees ------------------------------------------------------------------------------------
 */

/* One new snapshot. */
struct imp_tree;

/*
 * Begins the tree of `chain`.  At most one of parent (a sealed tree of this run) and
 * parent_id (a snapshot found by imp_view_chain, whose chain is parent_chain) is given; the
 * tree starts as a hard-link clone of it and records it as its parent.  Neither: empty.
 * The tree belongs to i and lives until imp_close.  mt
 */
struct imp_tree_from {
	struct imp_tree *parent;
	uint64_t parent_id; /* 0 = none */
	struct oci_digest parent_chain;
	unsigned threads; /* to clone and to seal with, the caller's included; 0 is 1 */
};
K3_MUST int imp_tree_begin(struct imp *i, const struct oci_digest *chain,
			   const struct imp_tree_from *from, struct k3_cancel *cancel,
			   struct imp_tree **out, struct k3_err *e);
int imp_tree_rootfd(const struct imp_tree *t);     /* borrowed; until sealed */
bool imp_tree_is_shared(const struct imp_tree *t); /* see unpack_opts.shared; until sealed */
/*
 * Something of a tree that the file system refused; strings are borrowed for the length of the
 * call, and path and what are as the image has them: escape them before they are shown.
 */
struct imp_loss {
	const char *kind; /* a word: "xattr", "device", "owner" */
	const char *path, *what;
	const char *why; /* what the system said */
};
/*
 * Remembers a loss of a tree that is being filled; imp_commit writes it down beside the store.  A
 * tree has those of the one that it is cloned from, too.  mt
 */
void imp_tree_lost(struct imp_tree *t, const struct imp_loss *loss);
/* Afterwards t holds no descriptors: a run may have thousands of trees.  mt */
K3_MUST int imp_tree_seal(struct imp_tree *t, struct k3_err *e);
uint64_t imp_tree_bytes(const struct imp_tree *t); /* after seal: what this tree adds on disk */
/*
 * Compares the tree as it is, before it is sealed, with snapshot number id (snap_compare says in
 * what); fn gets each difference: a path from the top of the tree, unescaped, and a phrase.
 */
typedef int imp_differ_fn(void *arg, const char *path, const char *what, struct k3_err *e);
K3_MUST int imp_tree_compare(struct imp_tree *t, uint64_t id, struct k3_cancel *cancel,
			     imp_differ_fn *fn, void *arg, struct k3_err *e);
/* Removes an unneeded or failed tree at once.  mt */
void imp_tree_drop(struct imp_tree *t);

/* ---- images and commit ----------------------------------------------------------------------- */

/* One image to be registered. */
struct imp_image {
	const struct oci_ref *ref;  /* gives host, repo and the names */
	const struct oci_doc *docs; /* indexes, then the platform's manifest (oci_resolved.docs) */
	size_t ndocs;
	const struct oci_image *img;
	const char *literal_name; /* one more name, taken as it is (pause image), or NULL */
	bool from_archive;        /* no registry gave it: its blobs get no label that names one */
	/*
	 * Publish the trees of all layers and keep them for as long as the image lives, not only
	 * the top one's and what that stands on.
	 */
	bool every_chain;
	/* Out, set by imp_commit: whether anything of this image had to be written. */
	bool changed;
};

/*
 * Puts an image on the list of the commit.  Everything pointed to, and *im itself, must stay
 * until then.  Its blobs must be staged or stored, its top tree sealed or stored.
 */
void imp_add_image(struct imp *i, struct imp_image *im);

/*
 * Publishes: flush, lock both databases, check again, place blobs, reserve snapshot numbers,
 * place trees, commit metadata.db, commit meta.db with the images last, unlock.  Whatever ends
 * the process in between, containerd finds the old state or whole images.
 * Only sealed trees and blobs that added images need are published.  What is there already
 * stays as it is; if nothing is missing, nothing is written.
 * K3_BUSY: containerd was started or stopped meanwhile, or took away what we built on: run again.
 * On failure the store is as before (but for unreferenced files when the disk itself fails).
 *
 * Where containerd runs the same is done through its API, in docs/importer.md's order, under a
 * lease; what was done before a failure is collected by containerd.  In namespace k8s.io the
 * images must then be known to CRI, unpacked and pinned, else K3_STORE.
 */
K3_MUST int imp_commit(struct imp *i, struct k3_err *e);

/* ---- changing and taking away ------------------------------------------------------------------
 */

/* One change of an image record of our namespace. */
enum imp_edit_kind {
	IMP_EDIT_SET,   /* the record leads to `target`, made when missing; CRI sees it */
	IMP_EDIT_PIN,   /* it gets CRI's pin */
	IMP_EDIT_UNPIN, /* it loses it */
	IMP_EDIT_DROP,  /* it goes; only in imp_remove */
};

struct imp_edit {
	enum imp_edit_kind kind;
	const char *name;
	/*
	 * What was seen and decided upon: the record and its target.  When it is another one by
	 * now nothing is changed, K3_BUSY.
	 */
	bool had;
	struct oci_digest had_target;
	struct oci_desc target; /* of IMP_EDIT_SET; of pins set by imp_edit */
	bool pin;               /* of IMP_EDIT_SET: pinned, too; a pin that is there stays */
	const char *like;       /* of IMP_EDIT_SET: a name that this image has already, or NULL */
	bool changed;           /* out: it was not so already */
};

/*
 * Makes the changes, offline in one transaction.  Live one after the other, and in namespace
 * k8s.io CRI has then taken notice of them, if it does so within seconds.
 * K3_BUSY: see struct imp_edit, or containerd was started or stopped meanwhile.
 */
K3_MUST int imp_edit(struct imp *i, struct imp_edit *edits, size_t n, struct k3_err *e);

/* A container that uses an image. */
struct imp_user {
	char *ns, *id;
};
/*
 * Looks in all namespaces for a container that was made from the image with this target, or, where
 * the name that it was made from is gone, whose snapshot stands on `chain` (NULL: none).
 */
K3_MUST int imp_view_user(struct imp_view *v, const struct oci_digest *target,
			  const struct oci_digest *chain, struct imp_user *out, bool *used,
			  struct k3_err *e);
void imp_user_release(struct imp_user *u);

enum imp_item_kind {
	IMP_ITEM_IMAGE,
	IMP_ITEM_BLOB,
	IMP_ITEM_SNAPSHOT,
	IMP_ITEM_INGEST, /* a write of a blob that was never ended */
	IMP_ITEM_LEASE,
	IMP_ITEM_OTHER,   /* a file in the way of containerd's collector */
	IMP_ITEM_STAGING, /* left by a k3simg that was cut off */
};
const char *imp_item_name(enum imp_item_kind kind); /* "image", "blob", … for JSON */

/* Something that is taken away: a record, or a file or directory with all that is in it. */
struct imp_item {
	enum imp_item_kind kind;
	bool record;
	char *path; /* below the root; of a record "<file>/<buckets…>"; escape before it is shown */
	char *ns;   /* of a record of meta.db, else NULL */
	char *key;      /* of a record; of a blob its digest; else NULL */
	uint64_t id;    /* of a snapshot of metadata.db and of its directory, else 0 */
	uint64_t bytes; /* on disk, that become free with all others of the list; imp_measure */
	bool gone;      /* imp_confirm */
	bool now;       /* found by the last imp_plan_removal */
};

struct imp_removal {
	struct imp_item *v;
	size_t n, cap;
	uint64_t bytes; /* of what is gone, imp_confirm */
};
void imp_removal_release(struct imp_removal *r);

/*
 * What goes when these records go (IMP_EDIT_DROP) or lead elsewhere (IMP_EDIT_SET, to what has
 * other names): they, and what is in use by nothing else in any namespace.  What nothing refers to
 * already stays.
 * With edits = NULL: all that nothing refers to, in all namespaces, by containerd's own rules;
 * files that no record has; what a k3simg has left that was cut off, unless one is at work.
 * Adds to *r what it does not have.  Nothing is changed.  What is found is a record that
 * containerd may be about to use only if it would be collected, too: docs/importer.md.
 */
K3_MUST int imp_plan_removal(struct imp_view *v, const struct imp_edit *edits, size_t n,
			     struct imp_removal *r, struct k3_err *e);
/* Fills in the bytes of items that were not measured; what cannot be read has none. */
void imp_measure(struct imp *i, struct imp_removal *r, struct k3_cancel *cancel);
/*
 * Makes the changes and takes away what imp_plan_removal finds then, adding it to *r.
 * keep_content: only the records of images.  Whatever ends the process in between, containerd
 * finds whole images and, at worst, things that nothing refers to; the rest is done by the next
 * run. Live containerd does it, and what its collector leaves lying is removed afterwards;
 * keep_content is K3_USAGE then, since it would be in vain. A file that cannot be removed does not
 * keep the others from it; the first failure is returned.
 */
K3_MUST int imp_remove(struct imp *i, struct imp_edit *edits, size_t n, bool keep_content,
		       struct imp_removal *r, struct k3_err *e);
/* Which items are gone, and what that has freed. */
K3_MUST int imp_confirm(struct imp *i, struct imp_removal *r, struct k3_err *e);

#endif
