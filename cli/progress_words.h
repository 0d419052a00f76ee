/* SPDX-License-Identifier: Apache-2.0 */
/* What the lines and bars of a command call things. */
#ifndef K3_CLI_PROGRESS_WORDS_H
#define K3_CLI_PROGRESS_WORDS_H

#include "cli/progress.h"
#include "cli/progress_state.h"

struct progress_words {
	const char *part, *parts;   /* "layer", "layers" */
	const char *reading, *read; /* from an archive or bundle */
	const char *unpacking, *unpacked;
	const char *committing;
};

const struct progress_words *progress_words(enum progress_work work);
/* "downloading", "unpacked": what a layer is about. */
const char *words_layer(const struct progress_words *w, const struct layer_progress *l);
/* "12.3/45.0MB": both in the unit of the second one.  size >= 24. */
void words_pair(uint64_t done, uint64_t total, char *out, size_t size);
/* "84.1MB/s", "0B/s".  size >= 24. */
void words_rate(const struct flow *f, char *out, size_t size);
/* "21s", "2m05s", "1h20m": coarser the longer it is.  size >= 24. */
void words_left(double ms, char *out, size_t size);

#endif
