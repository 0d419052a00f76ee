/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan and the threads that drive a preload: resolve, plan, transfer and build side by
 * side, commit once.
 *
 *   resolve   (parallel over images)  reference -> documents, platform's manifest, config
 *   plan      (caller's thread)       blobs to fetch, snapshots to build: a trie of layers
 *   transfer  (pl_transfers threads)  blob -> staging file, hashed on the way
 *   build     (`jobs` threads)        staging file, as far as it is written -> tree
 *   commit    (caller's thread)       everything that is whole, at once
 *
 * With one job all of them run on the caller's thread, one after the other.
 */
#ifndef K3_PIPELINE_PIPELINE_H
#define K3_PIPELINE_PIPELINE_H

#include <stdint.h>

#include "archive/archive.h"
#include "base/err.h"
#include "base/thread.h"
#include "bundle/bundle.h"
#include "fetch/fetch.h"
#include "importer/importer.h"
#include "oci/oci.h"
#include "unpack/unpack.h"

/*
 * Transfers wait for the network, not for a CPU: there are always some when anything runs side
 * by side.  containerd downloads 3 layers at a time; a fourth hides the latency of small ones.
 * Each has one connection, so that the second number is also what one registry sees of us.
 */
#define PL_TRANSFERS_MIN 4u
#define PL_TRANSFERS_MAX 8u

/* More builders than this wait for each other in the file system. */
#define PL_JOBS_MAX 64u

/* Parts shorter than this cost more in round trips than a second connection brings. */
#define PL_CHUNK_MIN (1u << 20)
#define PL_CHUNK_DEFAULT 0u

/*
 * Memory of a run, in KiB: an upper bound for layers of gzip with up to 50,000 entries, and
 * documents of the usual size.  Measured and explained in docs/pipeline.md.
 *
 *   PL_MEM_FIXED + jobs * PL_MEM_BUILDER + pl_transfers(jobs) * PL_MEM_TRANSFER
 *     + PL_MEM_LAYER for each layer of the run
 */
#define PL_MEM_FIXED 14336u
#define PL_MEM_BUILDER 4096u
#define PL_MEM_TRANSFER 1536u
#define PL_MEM_LAYER 1u

/*
 * Builders when nothing is said: the CPUs this process may use.  At least 2, so that a download,
 * a decoder and the file system overlap on a single CPU, too; at most 16, because the
 * journal of one file system keeps no more of them busy and each costs PL_MEM_BUILDER.
 */
unsigned pl_default_jobs(void);
/* Connections at a time for so many jobs. */
unsigned pl_transfers(unsigned jobs);

enum pl_snapshots {
	PL_FLAT,  /* one tree per image and per branch point */
	PL_CHAIN, /* one tree per chain ID, unchanged files hard-linked */
};

/* One image wanted. */
struct pl_request {
	struct oci_ref ref;
	const char *literal_name; /* one more name to register, or NULL; borrowed */
	/*
	 * The archive that the image is in, under whatever name it has there; NULL = the run's
	 * bundle, or the registry of ref.  target is what archive or bundle says of the image. Both
	 * are borrowed.
	 */
	struct archive *from;
	const struct oci_desc *target;
};

struct pl_result {
	int rc; /* 0, or -1 with err */
	struct k3_err err;
	bool changed;             /* something had to be written; false = up to date */
	bool live;                /* through the containerd that has this root */
	struct oci_digest target; /* what the tag resolved to */
	struct oci_digest config; /* the image ID */
	struct oci_platform platform;
	size_t layers;
	uint64_t compressed; /* bytes of all layers, from the manifest */
	uint64_t fetched;    /* bytes of layers that a registry or an archive gave for this image */
	uint64_t tree_bytes; /* disk that the trees built for this image add */
	uint64_t losses;     /* refused by the file system in trees of this run; none ignored */
	uint64_t ms;         /* from the start of the run until the image was whole */
};

/* What becomes of an image when the file system refuses something of it. */
enum pl_on_loss {
	PL_LOSS_WARN,   /* the image goes without it, and it is told */
	PL_LOSS_IGNORE, /* the same, neither told nor counted */
	PL_LOSS_FAIL,   /* the image fails: K3_IO */
};

struct pl_loss {
	enum unpack_loss_kind kind;
	const char *path, *what; /* as unpack_opts.on_loss has them */
	int errnum;
};

enum pl_event_kind {
	/* image, with the digest of its manifest or index: total = layers, done = their bytes */
	PL_EV_RESOLVED,
	PL_EV_LAYER,   /* image, layer: phase, done of total bytes */
	PL_EV_PLANNED, /* each layer was told of, with what it needs: the work is known */
	PL_EV_WHOLE,   /* image: built, waits for the commit */
	PL_EV_FAILED,  /* image: err */
	PL_EV_RETRY,   /* text: what is tried again and why; image unknown */
	PL_EV_NOTICE,  /* text: what the user should know of a registry; image unknown */
	/* image: loss, done times (1); text: the same in words.  Told with all images it is in */
	PL_EV_LOSS,
	PL_EV_WAITING, /* another k3simg works on this root */
	/*
	 * Everything is whole: new trees and blobs go to disk, or a bundle is written.  Of a bundle
	 * it comes again and again, with done of total bytes; total = 0: it is not known.
	 */
	PL_EV_COMMIT,
};

enum pl_phase {
	PL_LAYER_PRESENT, /* neither download nor unpacking is needed */
	PL_LAYER_WAITING,
	PL_LAYER_DOWNLOADING,
	PL_LAYER_DOWNLOADED,
	PL_LAYER_UNPACKING, /* done of total: compressed bytes consumed */
	PL_LAYER_DONE,
};

/* What has to be done for a layer; nothing of it: PL_LAYER_PRESENT. */
enum {
	PL_NEEDS_BYTES = 1 << 0,  /* its blob is not in the store: until PL_LAYER_DOWNLOADED */
	PL_NEEDS_UNPACK = 1 << 1, /* until PL_LAYER_DONE */
};

/* Strings are borrowed for the length of the call. */
struct pl_event {
	enum pl_event_kind kind;
	size_t image; /* index of the request */
	size_t layer;
	enum pl_phase phase;
	/*
	 * What is there of a blob may be less than was told before: a source whose bytes were wrong
	 * is left for another one, and then its layer is unpacked again, too.
	 */
	uint64_t done, total;
	unsigned needs;           /* of a layer: PL_NEEDS_*, the same in each of its events */
	bool local;               /* of a layer: its bytes come from an archive or a bundle */
	bool shared;              /* the same layer is told about with an earlier image, too */
	struct oci_digest digest; /* of the layer's blob */
	const char *text;
	/* Without a path: done of its kind, which are too many to be told one by one. */
	const struct pl_loss *loss;
	const struct k3_err *err;
};

/* What a check has found out: imp_distrust_blob and its neighbours. */
struct pl_doubts {
	struct oci_digest *blobs, *whole_blobs, *chains;
	size_t nblobs, nwhole_blobs, nchains;
};

struct pl_opts {
	const char *root;
	const char *ns;
	enum imp_mode mode;
	const char *address; /* imp_opts.address */
	enum pl_snapshots snapshots;
	bool pin;
	bool no_sync;  /* as imp_opts.no_sync */
	unsigned jobs; /* 1 to PL_JOBS_MAX; 0 = pl_default_jobs() */
	/*
	 * Blobs larger than this are fetched in parts of this size over several connections, where
	 * the registry answers ranges.  0 = never; at least PL_CHUNK_MIN.  No effect with one job.
	 */
	uint64_t chunk_size;
	struct oci_platform platform;
	struct fetch_opts fetch; /* cancel, on_retry and on_notice are set by the pipeline */
	/*
	 * Everything comes from this bundle and nothing from registries: the requests are its
	 * images, all of them and in its order, each with its target, and the platform is its own.
	 * If one of them fails, none is committed.  Borrowed; NULL = registries.
	 */
	struct bundle *bundle;
	struct unpack_limits limits;
	enum pl_on_loss on_loss[UNPACK_LOSS_KINDS];
	/* What is made anew although the store has it; every chain of these, too.  NULL = none. */
	const struct pl_doubts *doubts;
	/*
	 * Called from any thread of the run, one call at a time; must be quick and must not call
	 * back.  May be NULL.
	 */
	void (*event)(void *arg, const struct pl_event *ev);
	void *arg;
};

/*
 * Preloads n images.  out[i] is filled for each of them, whatever is returned.
 * Returns 0 when the run itself worked, also if images failed (out[i].rc): those that are
 * whole are in place then.  -1 when nothing was committed: the store cannot be used
 * (K3_STORE, K3_BUSY), the commit failed, or K3_CANCELLED (downloads stay staged, so that the
 * next run goes on).
 */
K3_MUST int pl_run(const struct pl_opts *o, const struct pl_request *reqs, size_t n,
		   struct k3_cancel *stop, struct pl_result *out, struct k3_err *e);

/* ---- what a run would do --------------------------------------------------------------------- */

/* A figure that is not known: its bounds, and what is most likely. */
struct pl_range {
	uint64_t low, likely, high;
};

/* Trees of one kind. */
struct pl_cost {
	size_t trees;
	struct pl_range bytes, inodes;
};

/* How far the layers that trees would be made of are known. */
struct pl_known {
	size_t plain;   /* not compressed: their size is that of the manifest */
	size_t told;    /* here already, and their compressed form tells its size */
	size_t guessed; /* only their compressed size is known */
};

struct pl_forecast {
	/* Layers and documents that the store lacks, each once; exactly. */
	size_t fetch_blobs;
	uint64_t fetch_bytes, archive_bytes; /* the second: of these from archives */
	size_t stored_blobs;
	uint64_t stored_bytes;
	uint64_t blob_bytes; /* what those to be fetched take on disk, in whole blocks */
	struct pl_cost flat, chain;
	struct pl_cost native; /* containerd's own unpacking: a whole copy for each layer */
	struct pl_known layers;
	bool no_root; /* there is no such root: everything counts as missing */
};

/*
 * Resolves n images and reckons what a preload of them would fetch and take: from their
 * documents, the databases of the store and, where a layer is in the store or an archive, from its
 * compressed form.  No layer is downloaded, nothing is written.
 * Fills out[i] (rc, err, target, config, platform, layers, compressed, fetched: bytes of layers
 * that the store lacks, told with the first image that has them).  Of o count root, ns, platform,
 * jobs, fetch and event.
 * Returns 0 also when images failed; they are not in the forecast.  -1: K3_STORE, K3_BUSY,
 * K3_CANCELLED, and what reading an archive or a stored blob fails with.
 */
K3_MUST int pl_forecast(const struct pl_opts *o, const struct pl_request *reqs, size_t n,
			struct k3_cancel *stop, struct pl_result *out, struct pl_forecast *f,
			struct k3_err *e);

/* ---- one image as plain files ---------------------------------------------------------------- */

struct pl_unpack_opts {
	struct oci_platform platform;
	struct fetch_opts fetch; /* cancel, on_retry and on_notice are set by the pipeline */
	struct unpack_limits limits;
	/*
	 * As pl_opts.event, of one image: PL_EV_RESOLVED, _PLANNED, _LAYER, _WHOLE, _RETRY,
	 * _NOTICE.
	 */
	void (*event)(void *arg, const struct pl_event *ev);
	/* Called for each attribute that the file system refused: path and what.  May be NULL. */
	void (*loss)(void *arg, const char *text);
	void *arg;
};

struct pl_unpacked {
	struct oci_digest target, config;
	struct oci_platform platform;
	size_t layers;
	uint64_t compressed; /* bytes of all blobs */
	uint64_t bytes;      /* of all layers, decompressed */
	uint64_t entries;    /* of all layers, whiteouts included */
	uint64_t losses;
};

/*
 * Unpacks an image into a directory that is not there or empty, layer upon layer, as containerd
 * would: every blob and diff ID is verified, no containerd root is needed.  The directory's own
 * owner and mode stay (0755 when it is made here).  After a failure it is as it was.
 * K3_USAGE: something is in it; else as archive_document, fetch_blob and unpack_layer.
 */
K3_MUST int pl_unpack(const struct pl_unpack_opts *o, const struct pl_request *q, const char *dir,
		      struct k3_cancel *stop, struct pl_unpacked *out, struct k3_err *e);

/* ---- bundles -------------------------------------------------------------------------------- */

/*
 * Fetches n images into the directory o->root, which is made for that and holds staged blobs and
 * nothing else, and writes a bundle of them to fd (borrowed; `what` names it in messages).
 * out[i] is filled for each image; *digest is the bundle's.  Of o only the platform, jobs,
 * chunk_size, fetch, limits and event count.
 * -1 also when only some of the images failed (out[i].rc): a bundle has all or is not made.
 * What was fetched stays in the directory after K3_NET and K3_CANCELLED, for the next run.
 */
K3_MUST int pl_bundle_create(const struct pl_opts *o, const struct pl_request *reqs, size_t n,
			     int fd, const char *what, struct k3_cancel *stop,
			     struct pl_result *out, struct oci_digest *digest, struct k3_err *e);

/* ---- looking for damage, and mending it ------------------------------------------------------ */

struct pl_verify_opts {
	const char *root;
	const char *ns;
	struct oci_platform platform; /* what must be there of an index; others may */
	/*
	 * Hash every layer, and compare every snapshot with what its layers make: an image at a
	 * time is unpacked in staging.  Takes the run lock.
	 */
	bool deep;
	unsigned jobs; /* blobs hashed side by side; 0 = pl_default_jobs() */
	struct unpack_limits limits;
	/* What is being done now, and that another k3simg is waited for.  May be NULL. */
	void (*progress)(void *arg, const char *text);
	void *arg;
};

struct pl_finding {
	char *image; /* NULL: of the store itself */
	enum imp_trouble kind;
	char *path, *text; /* unescaped */
	bool has_digest;
	struct oci_digest digest; /* imp_finding.digest */
	bool unrecorded;
};

/* An image that was looked at. */
struct pl_seen {
	char *name;   /* what findings call it: a tag if there is one */
	char **names; /* all, name included */
	size_t nnames;
	char **sources; /* imp_view_sources of its target */
	struct oci_digest target;
	/* Of the variants that are to be kept whole; the rest of an index is not. */
	struct oci_platform *platforms;
	size_t nplatforms;
	bool unpacked;   /* some platform of it */
	bool complete;   /* no blob of it is absent or damaged */
	size_t findings; /* without notes */
};

struct pl_report {
	struct pl_finding *findings;
	size_t n, cap;
	size_t damage; /* findings that are neither notes nor leftovers */
	struct pl_seen *images;
	size_t nimages, images_cap;
	/* with `deep` */
	uint64_t blobs, bytes; /* hashed */
	size_t trees;          /* compared */
	size_t skipped_trees;  /* not compared: see the notes */
};

/*
 * Checks the images that refs name (as preload names them, by digest, or by their ID or the
 * start of it), or all of the namespace and the store around them when nrefs is 0.  *out is to be
 * released in any case.
 * Returns 0 when everything was looked at, whatever was found.  K3_NOTFOUND: no such image;
 * K3_BUSY: containerd is running; K3_STORE: not a root, or a database that cannot be opened.
 */
K3_MUST int pl_verify(const struct pl_verify_opts *o, const char *const *refs, size_t nrefs,
		      struct k3_cancel *stop, struct pl_report *out, struct k3_err *e);
void pl_report_release(struct pl_report *r);

struct pl_repaired {
	struct pl_report before, after; /* after: empty when there was nothing to mend */
	bool failed;                    /* something could not be made anew: err says why */
	struct k3_err err;
};

/*
 * Checks one image deeply and makes anew what is damaged: blobs from the store's own bytes or the
 * registries that the image's names and labels tell, trees from blobs.  Then checks again.
 * o: as for pl_run; platform only counts where the store does not tell; pin is not used.
 * Returns 0 when it has done what could be done: out->after.damage (or before.damage when that
 * is 0 too) is what is left.  -1 as pl_verify, or when the store could not be written; it is
 * then as it was.  *out is to be released in any case.
 */
K3_MUST int pl_repair(const struct pl_opts *o, const char *ref, struct k3_cancel *stop,
		      void (*progress)(void *arg, const char *text), void *arg,
		      struct pl_repaired *out, struct k3_err *e);
void pl_repaired_release(struct pl_repaired *r);

/* ---- into a layout or an archive, without a store ---------------------------------------------
 */

struct pl_save_opts {
	const char *path; /* directory of a layout, or file of an archive; its parent is there */
	bool archive;     /* a tar, compressed as its name says; FILE.partial until it is whole */
	const char *tag;  /* what the layout calls the only image, or NULL: the reference's tag */
	bool all_platforms;
	struct oci_platform platform; /* of indexes, without all_platforms */
	unsigned connections;         /* 1 to PL_TRANSFERS_MAX; 0 = as many as preload has */
	struct fetch_opts fetch;      /* cancel, on_retry and on_notice are set by the pipeline */
	/*
	 * As pl_opts.event: PL_EV_RESOLVED, _PLANNED, _LAYER (PL_LAYER_DONE: it was there),
	 * _WHOLE, _FAILED, _RETRY, _NOTICE, _LOSS (without loss), _COMMIT.
	 */
	void (*event)(void *arg, const struct pl_event *ev);
	void *arg;
};

/*
 * Fetches n images, byte for byte, with everything that they need: an index stays as it is,
 * also when only the blobs of one platform are there.  Foreign layers that the registry lacks are
 * left out (PL_EV_LOSS).  What is there, whole, is not fetched again; what an interrupted run
 * left is gone on with.
 * out[i] is filled for each image: rc, err, changed, target, layers (blobs besides documents),
 * compressed, fetched, ms; platform and config without all_platforms.
 * Returns 0 when the run itself worked: images that are whole are in the layout, or are the
 * archive.  -1 when it was not changed: K3_USAGE, K3_BUSY, K3_CANCELLED, K3_IO, K3_NOSPC, ....
 */
K3_MUST int pl_save(const struct pl_save_opts *o, const struct pl_request *reqs, size_t n,
		    struct k3_cancel *stop, struct pl_result *out, struct k3_err *e);

#endif
