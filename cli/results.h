/* SPDX-License-Identifier: Apache-2.0 */
/* What became of the images of a run, on stdout. */
#ifndef K3_CLI_RESULTS_H
#define K3_CLI_RESULTS_H

#include "base/json.h"
#include "cli/losses.h"
#include "pipeline/pipeline.h"

struct results {
	const char *const *names; /* of images, normalised, with tag and digest */
	const struct pl_result *res;
	const struct losses *losses;
	size_t n;
	const char *root, *ns, *snapshots;
	bool pinned;
};

/* A line for each image that is in place. */
void results_text(const struct results *r);
/* All of them as JSON.  Returns 0, or the exit status. */
int results_json(const struct results *r);
/*
 * 0, the code of the first failure when nothing that was asked for is in place, else
 * CLI_PARTIAL_EXIT.
 * asked: the requests before this index were named by the user, later ones are the pause image.
 */
int results_status(const struct results *r, size_t asked);
/* How many are in place. */
size_t results_whole(const struct results *r);
/* The member "error". */
void results_json_error(struct k3_jw *w, const struct k3_err *e);

#endif
