/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress of a preload or fetch on stderr: bars that are redrawn on a terminal, one line per event
 * elsewhere, warnings only when quiet.
 */
#ifndef K3_CLI_PROGRESS_H
#define K3_CLI_PROGRESS_H

#include "pipeline/pipeline.h"

struct progress;

enum progress_mode {
	PROGRESS_AUTO, /* bars if stderr is a terminal that can move its cursor, else plain */
	PROGRESS_PLAIN,
	PROGRESS_NONE,
};

/* As the options say; plain where other lines come in between. */
enum progress_mode progress_choose(bool quiet, bool plain);
/* names[i] is what request i is called; borrowed.  verbose: every loss. */
struct progress *progress_new(enum progress_mode mode, bool verbose, const char *const *names,
			      size_t n);
/* pl_opts.event; arg is the struct progress. */
void progress_event(void *arg, const struct pl_event *ev);
/* Nothing is unpacked: events are those of pl_save. */
void progress_saves(struct progress *p);
/* Takes the bars away, so that results can follow. */
void progress_end(struct progress *p);
void progress_free(struct progress *p);

#endif
