/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes to file-system changes: decompresses one layer, verifies its diff ID and applies
 * its tar entries below a root directory.
 *
 * Rules: containerd's (pkg/archive/tar.go, core/diff/apply); deviations are listed in
 * docs/unpack.md.  The layer is hostile: no path leaves the root, whatever symlinks it or
 * earlier layers contain, and nothing outside the root is opened, changed or created.
 *
 * Stateless; calls on different roots may run on different threads.  While a call runs nobody
 * else may change its tree.  At most 40 descriptors and, besides the zstd window, about
 * 2 MiB plus 16 bytes per entry are used.
 */
#ifndef K3_UNPACK_UNPACK_H
#define K3_UNPACK_UNPACK_H

#include <stdint.h>

#include "base/err.h"
#include "base/thread.h"
#include "oci/oci.h"

/*
 * Where the compressed bytes come from.  next: *n = 0 is the end of the blob; *p stays valid
 * until the next call.  May block.  Called by one thread at a time, never after it said end
 * or failed, and not after unpack_layer returned; but that thread is not always the caller's
 * (a second one decodes ahead unless opts.one_thread).
 */
struct unpack_src {
	int (*next)(void *arg, const uint8_t **p, size_t *n, struct k3_err *e);
	void *arg;
};

/* Each has a reason at UNPACK_LIMITS_DEFAULT (unpack/limits.c). */
struct unpack_limits {
	uint64_t bytes;           /* of the decompressed stream; of all files; of copies made */
	uint64_t entries;         /* tar entries and the parent directories they imply */
	uint64_t steps;           /* names looked at for opaque markers, copy-ups and symlinks */
	uint32_t ratio;           /* bytes from one compressed byte, once there are ... */
	uint32_t ratio_from;      /* ... more than this many */
	uint32_t pax_bytes;       /* one PAX header block, GNU long name or link */
	uint32_t xattr_bytes;     /* all xattrs of one entry */
	uint32_t path_bytes;      /* one entry name or link target */
	uint32_t zstd_window_log; /* largest zstd window, as a power of two: bounds memory */
};

extern const struct unpack_limits unpack_limits_default;

/* What a file system refused; the entry itself was written without it. */
enum unpack_loss_kind {
	UNPACK_LOSS_XATTR,  /* ENOTSUP, or EPERM for user.* on special files; all trusted.* */
	UNPACK_LOSS_DEVICE, /* mknod refused (user namespace, gVisor) */
	/* chown refused, only with lenient_owner; or a set-group-id bit, without CAP_FSETID */
	UNPACK_LOSS_OWNER,
};
#define UNPACK_LOSS_KINDS 3
/* The word for a kind: "xattr", "device", "owner". */
const char *unpack_loss_name(enum unpack_loss_kind kind) __attribute__((returns_nonnull));

struct unpack_opts {
	struct unpack_limits limits;
	/*
	 * The tree shares inodes with another tree (hard-link clone): never change an inode
	 * that was there before this call, replace it instead (copy-up).
	 */
	bool shared;
	bool lenient_owner;       /* EPERM of chown and mknod is a loss, not an error */
	bool no_openat2;          /* force the component-by-component resolver (tests, gVisor) */
	bool one_thread;          /* decode and hash on the calling thread, not beside it */
	bool no_isal;             /* gzip by zlib even where ISA-L is built in (tests) */
	struct k3_cancel *cancel; /* may be NULL */
	/* Both are called on the thread that called unpack_layer. */
	/* Called for each loss; may be NULL (losses are still counted).  Strings are borrowed. */
	void (*on_loss)(void *arg, enum unpack_loss_kind kind, const char *path, const char *what,
			int errnum);
	/* Called every megabyte or so of decompressed bytes with the total so far; may be NULL. */
	void (*on_progress)(void *arg, uint64_t bytes);
	void *arg;
};

struct unpack_stats {
	uint64_t bytes;   /* decompressed */
	uint64_t entries; /* applied, whiteouts included */
	uint64_t losses;
};

/*
 * Applies one layer to the tree at rootfd (a directory opened for reading).
 * media: decides how the stream is decoded (docs/unpack.md: OCI …tar is never
 * decompressed, docker's is found by magic).  *diff_id is what the whole decompressed stream must
 * hash to; NULL skips the comparison.  got (may be NULL) receives the digest found (sha256 unless
 * diff_id says otherwise).
 * The source is read to its end even when the archive ends earlier.
 * After a failure the tree is in an undefined state but still confined: remove it.
 * K3_FORMAT, K3_UNSAFE, K3_LIMIT, K3_UNSUPPORTED, K3_DIGEST, K3_NOSPC, K3_IO, K3_CANCELLED,
 * and whatever the source returns.
 */
K3_MUST int unpack_layer(int rootfd, enum oci_media media, struct unpack_src src,
			 const struct unpack_opts *o, const struct oci_digest *diff_id,
			 struct oci_digest *got, struct unpack_stats *stats, struct k3_err *e);

/* ---- tar archives that are no layers: read entry by entry, nothing is unpacked ------------- */

/*
 * Any stream, decompressed when its first bytes say gzip or zstd; else as it is.  A second thread
 * decodes ahead, unless o->one_thread.  Of *o, which is borrowed, limits, one_thread, no_isal and
 * cancel count.  Errors are those of unpack_layer for the same bytes.
 */
struct unpack_stream;
K3_MUST int unpack_stream_open(struct unpack_src src, const struct unpack_opts *o,
			       struct unpack_stream **out, struct k3_err *e);
/* The next of an unpack_src whose arg is the struct unpack_stream. */
K3_MUST int unpack_stream_next(void *arg, const uint8_t **p, size_t *n, struct k3_err *e);
void unpack_stream_freep(struct unpack_stream **s); /* waits for the thread */

enum unpack_entry_type {
	UNPACK_FILE,
	UNPACK_LINK, /* hard link */
	UNPACK_SYMLINK,
	UNPACK_DIR,
	UNPACK_OTHER, /* device or fifo */
};

struct unpack_entry {
	enum unpack_entry_type type;
	const char *name; /* as written: it may be absolute or hold "..".  Until the next entry */
	const char *link; /* target of links, else "" */
	uint64_t size;    /* of the content of files */
	uint64_t at;      /* where the content begins, in bytes of the (decompressed) stream */
	bool sparse;      /* the stored content is another one: neither at nor data tell it */
};

/*
 * Skips up to n bytes that the source of `arg` would give next; *done is less only when it ends
 * before.
 */
typedef int unpack_skip_fn(void *arg, uint64_t n, uint64_t *done, struct k3_err *e);

/* Reads an uncompressed tar stream, in the dialect that layers are read in. */
struct unpack_reader;
/* skip: NULL = content that nobody asks for is read through.  lim is borrowed.  Never NULL. */
struct unpack_reader *unpack_reader_new(struct unpack_src src, unpack_skip_fn *skip,
					const struct unpack_limits *lim)
	__attribute__((returns_nonnull));
void unpack_reader_freep(struct unpack_reader **r);
/* *end: the archive is over.  K3_FORMAT, K3_LIMIT, K3_UNSUPPORTED, and what the source returns. */
K3_MUST int unpack_reader_next(struct unpack_reader *r, struct unpack_entry *out, bool *end,
			       struct k3_err *e);
/* The next piece of the entry's content, until the next call; *n = 0 at its end. */
K3_MUST int unpack_reader_data(struct unpack_reader *r, const uint8_t **p, size_t *n,
			       struct k3_err *e);

/* Receives a decompressed layer in order.  -1 with *e ends the reading. */
typedef int unpack_data_fn(void *arg, const void *p, size_t n, struct k3_err *e);
/*
 * Decompresses one layer and verifies it like unpack_layer, but gives its bytes to fn (on the
 * calling thread) instead of applying them; they count only once this has succeeded.
 * *bytes: how many.  fn may be NULL.
 */
K3_MUST int unpack_decode(enum oci_media media, struct unpack_src src, const struct unpack_opts *o,
			  const struct oci_digest *diff_id, unpack_data_fn *fn, void *arg,
			  uint64_t *bytes, struct k3_err *e);

/* ---- how large a layer will be -------------------------------------------------------------- */

enum unpack_told {
	UNPACK_UNTOLD, /* compressed, and it does not tell */
	UNPACK_TOLD,   /* compressed, and it tells; hearsay until it is decompressed */
	UNPACK_PLAIN,  /* not compressed */
};
/*
 * What the ends of a blob of `bytes` bytes tell of the size of what is in it: the first n (32 do)
 * and the last 4.  A gzip above 512 MiB, and what has several members or frames, does not.
 */
enum unpack_told unpack_told_size(const uint8_t *head, size_t n, const uint8_t tail[4],
				  uint64_t bytes, uint64_t *size);

#endif
