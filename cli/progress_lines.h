/* SPDX-License-Identifier: Apache-2.0 */
/* Progress as lines for logs: one when the work is known, one for each image, and in between. */
#ifndef K3_CLI_PROGRESS_LINES_H
#define K3_CLI_PROGRESS_LINES_H

#include "cli/progress.h"
#include "cli/progress_state.h"
#include "cli/progress_words.h"

struct lines {
	const char *const *names;
	const struct progress_words *words;
	bool verbose;     /* a line for each layer, too */
	bool committing;  /* was told */
	uint64_t told_ms; /* the last one */
};

/* The line that an event gives, after progress_state_event, or NULL; the caller's. */
char *lines_event(struct lines *l, struct progress_state *st, const struct pl_event *ev,
		  enum pl_phase before, uint64_t now);

#endif
