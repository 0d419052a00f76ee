/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bbolt database files: read, copy-on-write transactions, check.
 *
 * File format version 2, as written by every bbolt from 1.3 to 1.5 (go.etcd.io/bbolt,
 * internal/common and tx_check.go).  This library knows nothing of what is stored.
 *
 * The file is not trusted: every page is bounds-checked when it is first touched, and a
 * broken one is K3_STORE, never a crash.  The stored page size is honoured.
 *
 * Threads: one bolt_db and everything made from it belongs to one thread.
 * Lifetime: values and buckets point into the map or the transaction and live until the
 * transaction ends; a value is also invalidated by the next write to the same bucket.
 */
#ifndef K3_BOLT_BOLT_H
#define K3_BOLT_BOLT_H

#include <stdint.h>
#include <string.h>

#include "base/err.h"

#define BOLT_KEY_MAX 32768u        /* bbolt MaxKeySize */
#define BOLT_VALUE_MAX 0x7ffffffeu /* bbolt MaxValueSize */
#define BOLT_DEPTH_MAX 64u         /* tree levels and bucket nesting: far above any real file */

struct bolt_db;     /* an open file with its flock */
struct bolt_txn;    /* one transaction; at most one per bolt_db at a time */
struct bolt_bucket; /* owned by its transaction */

/* A key or a value: borrowed bytes. */
struct bolt_val {
	const void *p;
	size_t n;
};

#define BOLT_STR(s) ((struct bolt_val){ (s), strlen(s) })

enum bolt_flags {
	BOLT_READ = 0,        /* LOCK_SH, transactions are read-only */
	BOLT_WRITE = 1 << 0,  /* LOCK_EX */
	BOLT_CREATE = 1 << 1, /* with BOLT_WRITE: a missing or empty file becomes a new database */
	/*
	 * To read a file that another process keeps locked: what was opened is then a copy of it
	 * in memory, as one of its commits has left it, and bolt_is_copy() says so.
	 */
	BOLT_COPY = 1 << 2,
};

/*
 * Opens the database `name` in directory `dirfd` and takes its flock (whole file, BSD
 * lock, the one containerd takes) without waiting.
 *   mode: permission bits for BOLT_CREATE (umask is not applied).
 * A new database is written and fsynced, and so is the directory.  Besides an empty file,
 * BOLT_CREATE accepts what a creation that broke off leaves behind, but no other content.
 * K3_NOTFOUND no such file, or without BOLT_CREATE one of those; K3_BUSY lock held by
 * somebody else (with BOLT_COPY: who writes all the time); K3_STORE not a bbolt file, no valid meta
 * page, unsupported version or page size, shorter than its high-water mark; K3_LIMIT more than 256
 * GiB of 4096-byte pages; K3_IO, K3_NOSPC.
 */
K3_MUST int bolt_open(int dirfd, const char *name, unsigned flags, unsigned mode,
		      struct bolt_db **out, struct k3_err *e);

/* Whether it is a copy of a file that was locked by another process. */
bool bolt_is_copy(const struct bolt_db *db);
/* Whether the file that db is a copy of has been written to since; true when in doubt. */
bool bolt_is_stale(const struct bolt_db *db);

/* Unlocks and closes.  Aborts a transaction still open.  NULL is a no-op. */
void bolt_close(struct bolt_db *db);

/* writable needs BOLT_WRITE (else K3_BUG). */
K3_MUST int bolt_begin(struct bolt_db *db, bool writable, struct bolt_txn **out, struct k3_err *e);

/*
 * Makes the changes durable: new pages to free page numbers or past the high-water mark,
 * fdatasync, the other meta page, fdatasync.  A crash before the last step leaves the old
 * state.  A transaction without changes writes nothing.  Cost grows with what changed, not
 * with the file, except that a file of up to 16 MiB is walked for free pages.
 * Frees the transaction in any case; on error the file holds the old state.  (Should even
 * taking back the meta page fail, the database refuses further transactions.)
 * K3_STORE the walk found damage, nothing was written; K3_LIMIT; K3_IO, K3_NOSPC, K3_NOMEM.
 */
K3_MUST int bolt_commit(struct bolt_txn *t, struct k3_err *e);
void bolt_abort(struct bolt_txn *t); /* drops all changes, frees t; NULL is a no-op */

struct bolt_bucket *bolt_root(struct bolt_txn *t); /* borrowed; holds only sub-buckets */

/* Opens a sub-bucket.  K3_NOTFOUND if absent or if the key is a plain value. */
K3_MUST int bolt_bucket_get(struct bolt_bucket *parent, struct bolt_val name,
			    struct bolt_bucket **out, struct k3_err *e);
/*
 * As bolt_bucket_get, making it when absent.  K3_STORE if the key is a plain value; K3_LIMIT
 * when nested BOLT_DEPTH_MAX deep; K3_USAGE on an empty or overlong name.
 */
K3_MUST int bolt_bucket_make(struct bolt_bucket *parent, struct bolt_val name,
			     struct bolt_bucket **out, struct k3_err *e);
/* Removes a sub-bucket with all below it.  K3_NOTFOUND.  Open handles to it become invalid. */
K3_MUST int bolt_bucket_delete(struct bolt_bucket *parent, struct bolt_val name, struct k3_err *e);

/*
 * Walks down `n` bucket names from the root.  *out = NULL and success when any of them is
 * absent, so that "not there yet" needs no error handling.
 */
K3_MUST int bolt_bucket_path(struct bolt_txn *t, const struct bolt_val *names, size_t n,
			     struct bolt_bucket **out, struct k3_err *e);

/* *out = { NULL, 0 } if the key is absent or a bucket; an empty value has p != NULL. */
K3_MUST int bolt_get(struct bolt_bucket *b, struct bolt_val key, struct bolt_val *out,
		     struct k3_err *e);
/*
 * Inserts or replaces; copies key and value.  K3_STORE if the key is a bucket; K3_USAGE on
 * an empty or overlong key or value; K3_BUG in the root bucket.
 */
K3_MUST int bolt_put(struct bolt_bucket *b, struct bolt_val key, struct bolt_val val,
		     struct k3_err *e);
/* Removes a plain key; absent is success.  K3_STORE if it is a bucket. */
K3_MUST int bolt_delete(struct bolt_bucket *b, struct bolt_val key, struct k3_err *e);

uint64_t bolt_sequence(const struct bolt_bucket *b);
K3_MUST int bolt_set_sequence(struct bolt_bucket *b, uint64_t value, struct k3_err *e);

/* One element of an iteration. */
struct bolt_item {
	struct bolt_val key;
	struct bolt_val val; /* { NULL, 0 } for a bucket */
	bool is_bucket;
};

/*
 * Iteration in key order.  *it starts as { 0 }, or with a key in `last` to begin above it;
 * it owns nothing.  The bucket may be changed meanwhile: each call looks for the first key
 * above the last one.  bolt_next: *more = false at the end.
 */
struct bolt_iter {
	struct bolt_val last; /* key of the previous item */
};
K3_MUST int bolt_next(struct bolt_bucket *b, struct bolt_iter *it, struct bolt_item *item,
		      bool *more, struct k3_err *e);

/*
 * The same findings as bbolt's Tx.Check, and those it misses but which make later writes
 * corrupt the file: branch keys unlike the child's first key, branches with one child,
 * empty pages, sub-buckets inside inline buckets, broken inline pages.  Looks at the state
 * the transaction began with.
 *   report: gets each finding as a line of text; may be NULL.
 *   *problems: how many make the file unsafe to use.  Lost pages (reachable from nowhere
 *   and not in the stored freelist) are reported, but not counted: bbolt makes them.
 * Fails with K3_NOMEM only.
 */
typedef void bolt_report_fn(void *arg, const char *finding);
K3_MUST int bolt_check(struct bolt_txn *t, bolt_report_fn *report, void *arg, size_t *problems,
		       struct k3_err *e);

/*
 * Whether the file may be trusted with new data: K3_STORE with the first thing that
 * bolt_check() counts.  Reads everything that is in use; no transaction may be open.
 *   *known: number of the transaction that was found sound before, of the same file, 0 for
 *   none; if it still is the last one nothing is read.  Set to the last one on success.
 */
K3_MUST int bolt_sound(struct bolt_db *db, uint64_t *known, struct k3_err *e);

/* Size figures, for benchmarks, inspection and tests. */
struct bolt_stat {
	uint32_t page_size;
	uint64_t high_water; /* pages ever used */
	uint64_t txid;
	bool freelist_stored;
};
void bolt_stat(const struct bolt_txn *t, struct bolt_stat *out);

#endif
