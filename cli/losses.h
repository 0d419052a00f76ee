/* SPDX-License-Identifier: Apache-2.0 */
/* What a file system refused of the images of a run: which policy, and how it is told. */
#ifndef K3_CLI_LOSSES_H
#define K3_CLI_LOSSES_H

#include "base/json.h"
#include "cli/opts.h"
#include "cli/progress.h"
#include "pipeline/pipeline.h"

#define LOSSES_ROWS 2 /* the option, and the end of the table */

/* Fills rows with the option; *text gets its words. */
void losses_opts(const char **text, struct opt rows[LOSSES_ROWS]);
/*
 * "fail", "xattr=ignore", "device=fail,owner=fail": a policy for all classes or for some, the
 * last word wins.  NULL = warn for all.  K3_USAGE.
 */
K3_MUST int losses_policy(const char *text, enum pl_on_loss out[UNPACK_LOSS_KINDS],
			  struct k3_err *e);

struct losses;

/* For n images. */
struct losses *losses_new(size_t n);
void losses_free(struct losses *l);
/* Keeps what an event tells; events of other kinds are none of its business. */
void losses_event(struct losses *l, const struct pl_event *ev);
/* Who listens to a run, and its pl_opts.event; arg is a struct listeners. */
struct listeners {
	struct progress *progress;
	struct losses *losses;
};
void losses_listen(void *arg, const struct pl_event *ev);
/* A warning for an image that has lost something; told = each was shown before. */
void losses_warn(const struct losses *l, struct progress *p, size_t image, const char *name,
		 bool told);
/* "losses" and "lossPaths" of one image. */
void losses_json(const struct losses *l, size_t image, struct k3_jw *w);

#endif
