/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the file system refused of published trees, remembered beside the store: a JSON file for
 * each snapshot that has lost something, ROOT/.k3simg/losses/<number>.json.  containerd never
 * looks there.  A file says of which chain it is: should a number come again, it is known to be
 * of another snapshot.
 */
#ifndef K3_IMPORTER_LOSSES_H
#define K3_IMPORTER_LOSSES_H

#include "importer/imp.h"

#define IMP_LOSSES "losses" /* below the staging directory */

void imp_losses_init(struct imp_losses *l);
void imp_losses_release(struct imp_losses *l);
/* What the tree that a new one is cloned from has lost, the new one has lost, too. */
void imp_losses_inherit(struct imp_losses *l, const struct imp_losses *from);
/* The same from a snapshot of the store; a file that cannot be read tells nothing. */
void imp_losses_recall(struct imp *i, uint64_t id, const struct oci_digest *chain,
		       struct imp_losses *l);
/*
 * Writes down the losses of trees that have been placed, each aside, flushed and renamed.  Before
 * any record names them: a file without its snapshot is swept by the next commit.
 */
K3_MUST int imp_losses_keep(struct imp *i, struct imp_tree *const *trees, size_t n,
			    struct k3_err *e);
/*
 * The losses that a file tells of a snapshot.  K3_FORMAT: it is no such file, or another
 * snapshot's; K3_LIMIT of k3_json_parse.
 */
K3_MUST int imp_losses_parse(const void *text, size_t n, uint64_t id, const char *chain,
			     struct imp_losses *out, struct k3_err *e);

#endif
