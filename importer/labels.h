/* SPDX-License-Identifier: Apache-2.0 */
/* The labels that containerd would put on the blobs of an image. */
#ifndef K3_IMPORTER_LABELS_H
#define K3_IMPORTER_LABELS_H

#include "importer/importer.h"

struct imp_label {
	char *key, *value;
	bool merge; /* a sorted list with commas: value is one entry of it */
};

struct imp_labels {
	struct imp_label *v;
	size_t n, cap;
};

/*
 * Labels of the k-th blob of an image: documents in order, then the config, then the layers.
 * *labels starts empty; the caller releases it.  K3_FORMAT when an index does not parse.
 */
K3_MUST int imp_labels_of(const struct imp_image *im, size_t k, struct imp_labels *labels,
			  struct k3_err *e);
void imp_labels_release(struct imp_labels *labels);

/*
 * Adds the label by which a config keeps the snapshot of layer k, where the one above does not
 * stand on it.
 */
void imp_labels_keep(const struct imp_image *im, size_t k, struct imp_labels *labels);

/* Blobs of an image in that order. */
size_t imp_image_blobs(const struct imp_image *im);
const struct oci_desc *imp_image_blob(const struct imp_image *im, size_t k);

/*
 * The list `old` (n bytes, may be empty) with `entry` put in its place, as new memory; NULL
 * when it is there already.
 */
char *imp_list_add(const char *old, size_t n, const char *entry);

#endif
