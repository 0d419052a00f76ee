/* SPDX-License-Identifier: Apache-2.0 */
/* Taking back what a failed or cut-off commit has published. */
#ifndef K3_IMPORTER_UNDO_H
#define K3_IMPORTER_UNDO_H

#include "importer/schema.h"

/* How long a lock on the databases that another k3simg may hold is waited for. */
#define IMP_PATIENCE_MS 5000

/*
 * The journal names the snapshots (number and key) that a commit is going to publish, and those
 * that these will replace.  It is written when their numbers are reserved, so whatever bears
 * them is ours or on its way out, and removed when the commit has ended either way.
 */
K3_MUST int imp_journal_write(struct imp *i, struct imp_tree *const *trees, size_t n,
			      struct k3_err *e);
/* Files that only a run that was cut off leaves in the staging directory: their names. */
#define IMP_STAGED_FILES 4u
const char *imp_staged_file(size_t k);
K3_MUST int imp_journal_remove(struct imp *i, struct k3_err *e);
/*
 * Removes the snapshots of a leftover journal that meta.db does not know: their records, and
 * their directories by way of the staging directory.  Takes the database locks.
 */
K3_MUST int imp_recover(struct imp *i, struct k3_err *e);

/*
 * Takes away the snapshots that the published ones have replaced, once meta.db names the new
 * ones: who stood on them stands on these.  When this fails the journal must stay.
 */
K3_MUST int imp_retire(struct imp *i, const struct imp_dbs *d, struct imp_tree *const *trees,
		       size_t n, struct k3_err *e);

/* A snapshot that is to be removed. */
struct imp_doomed {
	uint64_t id;
	const char *key; /* in metadata.db */
	bool kept;       /* out: others stand on it */
};
/* The same journal of snapshots that meta.db is about to forget, children behind their parents. */
K3_MUST int imp_journal_doomed(struct imp *i, const struct imp_doomed *v, size_t n,
			       struct k3_err *e);
/*
 * Removes their records from metadata.db and moves their directories to the staging directory.
 * meta.db does not name them any more.
 */
K3_MUST int imp_take_away(struct imp *i, const struct imp_dbs *d, struct imp_doomed *v, size_t n,
			  struct k3_err *e);

/* Moves placed blobs without a record and published trees back to staging.  Best effort,
 * under the locks of d; native records are removed first. */
void imp_undo(struct imp *i, const struct imp_dbs *d, struct imp_tree *const *trees, size_t n);

#endif
