/* SPDX-License-Identifier: Apache-2.0 */
/* What transfer.c and parts.c share: one blob on its way into the staging area. */
#ifndef K3_PIPELINE_TRANSFER_H
#define K3_PIPELINE_TRANSFER_H

#include "pipeline/run.h"

/*
 * libcurl hands out at most 16 KiB at a time; written and announced in larger pieces, a blob
 * costs a sixteenth of the system calls and wake-ups.
 */
#define TRANSFER_PIECE (256u << 10)

struct transfer {
	struct run *run;
	struct blob *blob;
	struct imp_blob *file;
	struct source_link link;
	uint8_t *piece; /* of the worker: TRANSFER_PIECE bytes */
	size_t len;     /* of what is in it */
};

/* A fetch_data_fn; arg is the transfer.  Bytes go to the end of the file. */
int transfer_take(void *arg, const void *p, size_t n, struct k3_err *e);

/*
 * parts.c: a blob fetched in chunks by several transfer workers.  The one that begins it asks for
 * the first range; once the registry answers that as one, others join, each for one chunk
 * after the other.  Bytes go to their place in the staging file, so that memory does not depend
 * on the size of the chunks; hash and builder follow behind what is there from the start.
 * Whoever leaves last finishes the blob: like a serial transfer, which finds all of it, or goes
 * on in one piece when the registry stopped answering ranges.
 */
struct parts;

/*
 * Begins with t->file open; the caller has counted the blob in run.probing and goes on with
 * parts_work(p, t, *k).
 */
struct parts *parts_begin(struct transfer *t, uint64_t chunk, size_t *k);
/* A chunk of a blob that wants help, or NULL.  Inside the monitor. */
struct parts *parts_join_locked(struct run *r, size_t *k);
struct blob *parts_blob(const struct parts *p);
struct imp_blob *parts_file(const struct parts *p);
/*
 * Fetches chunk k and further ones until none is left.  True when all others have left, too:
 * the caller finishes the blob and calls parts_end.
 */
bool parts_work(struct parts *p, struct transfer *t, size_t k);
/*
 * Hashes what is there from the start.  -1 with *e when the blob failed in a way that one more
 * try in one piece would not change.  Frees p in any case.
 */
K3_MUST int parts_end(struct parts *p, struct transfer *t, struct k3_err *e);

#endif
