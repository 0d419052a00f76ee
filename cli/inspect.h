/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of one image, and its two forms.  Of the command inspect. */
#ifndef K3_CLI_INSPECT_H
#define K3_CLI_INSPECT_H

#include "base/json.h"
#include "cli/catalog.h"

/* Some images with all their documents, or one with as many losses as are kept. */
#define INSPECT_JSON_MAX (64u << 20)

struct inspected_layer {
	bool stored; /* its blob is in the content store */
	bool has_snapshot;
	struct imp_snapshot_info snapshot;
};

struct inspected_loss {
	char *kind, *path, *what, *why; /* unescaped */
};

struct inspected {
	struct catalog *c;
	struct catalog_image *im; /* read */
	bool whole;               /* what is below is there */
	struct oci_resolved found;
	struct inspected_layer *layers; /* as many as the image has */
	size_t nlayers;
	struct inspected_loss *losses;
	size_t nlosses, losses_cap;
	uint64_t total_losses;
};

/* An object in an array.  K3_STORE, and K3_FORMAT of a document. */
K3_MUST int inspect_json(const struct inspected *x, struct k3_jw *w, struct k3_err *e);
/* Paragraphs on stdout. */
K3_MUST int inspect_text(const struct inspected *x, struct k3_err *e);
/* A line for each loss, or one that there is none. */
void inspect_losses(const struct inspected *x);

#endif
