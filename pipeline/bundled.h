/* SPDX-License-Identifier: Apache-2.0 */
/* A bundle instead of registries: where the stages of a run get their bytes then. */
#ifndef K3_PIPELINE_BUNDLED_H
#define K3_PIPELINE_BUNDLED_H

#include "pipeline/transfer.h"

/*
 * The members of a bundle of this run's images, in their order; sizes of decompressed layers are 0.
 * After plan_make.
 */
void bundled_members(const struct run *r, struct bundle_doc *out);
/* Marks the nodes whose layers a bundle of this run gets decompressed.  After plan_make. */
void bundled_mark_decoded(struct run *r);

/* Stages all documents of the bundle, each verified, so that they are found as if stored. */
K3_MUST int bundled_documents(struct run *r, struct k3_err *e);
/* K3_NOTFOUND: the bundle has no such document. */
int bundled_lacks(const struct oci_desc *want, struct k3_err *e);
/*
 * Gives each blob and node its member.  K3_FORMAT when the bundle has anything else than what its
 * images need, or an image failed.
 */
K3_MUST int bundled_plan(struct run *r, struct k3_err *e);
/* Writes what is missing of a blob, and verifies all of it. */
K3_MUST int bundled_blob(struct transfer *t, struct k3_err *e);
/* All of the bundle has been seen, and all images are whole. */
K3_MUST int bundled_end(struct run *r, struct k3_err *e);

/* A layer decompressed, as an unpack_src. */
struct bundled_tar {
	struct run *run;
	struct node *node;
	uint8_t *piece;
	size_t size; /* of piece */
	uint64_t pos;
};
/* Whether the bundle (still) gives it; else it is in the blob. */
bool bundled_has_tar(const struct run *r, const struct node *n);
int bundled_tar_next(void *arg, const uint8_t **p, size_t *n, struct k3_err *e);

#endif
