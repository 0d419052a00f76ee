/* SPDX-License-Identifier: Apache-2.0 */
/* What a commit is going to publish: blobs, trees with numbers and names, image names. */
#ifndef K3_IMPORTER_PLAN_H
#define K3_IMPORTER_PLAN_H

#include "importer/view.h"

/* An image record to be written. */
struct imp_name {
	char *text;
	struct imp_image *image;
	size_t order; /* in which images were added */
};

struct imp_plan {
	struct imp_tree **trees; /* to be published, parents before children */
	size_t ntrees, trees_cap;
	uint64_t last_id;       /* of metadata.db, 0 = no new ones */
	uint64_t last_seq;      /* of the snapshots in meta.db, 0 = no new ones */
	struct imp_name *names; /* sorted, no name twice: the image added last wins */
	size_t nnames, names_cap;
};

/*
 * Checks the store under the locks and fills *p, which starts empty.  K3_BUSY when something
 * that we build on is not there any more.
 */
K3_MUST int imp_plan_make(struct imp_view *v, struct imp_plan *p, struct k3_err *e);
void imp_plan_release(struct imp_plan *p);

#endif
