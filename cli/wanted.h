/* SPDX-License-Identifier: Apache-2.0 */
/* The images that a command line asks for: named, listed in files, or run by manifests. */
#ifndef K3_CLI_WANTED_H
#define K3_CLI_WANTED_H

#include "cli/opts.h"
#include "cli/sources.h"
#include "pipeline/pipeline.h"

/* The images wanted, in the order they were named, each once. */
struct wanted {
	struct pl_request *reqs;
	char **names; /* normalised, with tag and digest */
	size_t n, cap, cap_names;
	struct sources sources; /* the archives that requests lead to */
};

/* Where they are named. */
struct wanted_from {
	const struct words *refs, *lists, *manifests; /* words, --file, --from-manifest */
	bool quiet;                                   /* no word on where a list was found */
	bool verbose;                                 /* every remark on a manifest */
	const struct sources_opts *archives;          /* NULL: only registries can be named */
};

/* For an option table: --file and --from-manifest. */
#define WANTED_ROWS 3 /* with the one that ends them */
void wanted_opts(struct words *lists, struct words *manifests, struct opt rows[WANTED_ROWS]);

void wanted_release(struct wanted *w);
/* Adds a reference unless it is there; *index is its place.  K3_USAGE as oci_ref_parse. */
K3_MUST int wanted_add(struct wanted *w, const char *text, size_t *index, struct k3_err *e);
/*
 * Adds all that is asked for.  An image that an archive has under the name of a reference is
 * taken from there.  Remarks go to stderr.  K3_USAGE for a file that is not there or no
 * text, for a manifest without images and for standard input twice; K3_FORMAT of a manifest; and as
 * sources_add.
 */
K3_MUST int wanted_gather(struct wanted *w, const struct wanted_from *from, struct k3_err *e);

#endif
