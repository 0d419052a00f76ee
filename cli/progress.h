/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress of a run on stderr: bars on a terminal, a few lines elsewhere, a stream of JSON
 * events (docs/progress.md), or nothing but warnings.
 */
#ifndef K3_CLI_PROGRESS_H
#define K3_CLI_PROGRESS_H

#include "cli/opts.h"
#include "cli/terminal.h"
#include "pipeline/pipeline.h"

struct progress;

enum progress_mode { PROGRESS_NONE, PROGRESS_PLAIN, PROGRESS_BAR, PROGRESS_JSON };

/* What the events are about. */
enum progress_work {
	PROGRESS_PRELOAD,
	PROGRESS_FETCH,  /* pl_save: nothing is unpacked */
	PROGRESS_CREATE, /* a bundle */
	PROGRESS_APPLY,
	PROGRESS_UNPACK, /* pl_unpack */
	PROGRESS_REPAIR,
};

/* The option --progress, for an option table; *text gets its word. */
#define PROGRESS_ROWS 2 /* with the one that ends them */
void progress_rows(const char **text, struct opt rows[PROGRESS_ROWS]);
/*
 * What is shown on stderr.  text: the word of the option, or NULL; quiet: --quiet; traced:
 * other lines come in between, --debug-http: then there are no bars.  K3_USAGE.
 */
K3_MUST int progress_choose(const char *text, bool quiet, bool traced, enum progress_mode *out,
			    struct k3_err *e);

struct progress_opts {
	enum progress_mode mode;
	enum progress_work work;
	bool verbose; /* every loss, and in plain lines every layer */
	bool thread;  /* bars are drawn by a thread of their own, ten times a second */
	/* names[i] is what request i is called; borrowed. */
	const char *const *names;
	size_t n;
	struct terminal terminal;
	/* Milliseconds of a clock that never goes back, and the wall clock's at its zero. */
	uint64_t (*now_ms)(void *arg);
	void *arg;
	uint64_t wall_ms;
};

struct progress *progress_new(const struct progress_opts *o);
/* The same on stderr, with the machine's clock.  jobs as pl_opts.jobs: with 1 there is no thread.
 */
struct progress *progress_start(enum progress_mode mode, enum progress_work work, bool verbose,
				unsigned jobs, const char *const *names, size_t n);
/* Any thread, one call at a time; pl_opts.event, arg is the struct progress. */
void progress_event(void *arg, const struct pl_event *ev);
/* What is done now, where no event tells it: a line that the next one replaces in bars. */
void progress_status(void *arg, const char *text);
/* Takes the bars away until there is an event or status again: other lines may come. */
void progress_pause(struct progress *p);
/* Takes the bars away, so that results can follow.  No events any more; the rest may be called. */
void progress_end(struct progress *p);
/* As cli_error, or cli_image_error with an image; an event in JSON. */
int progress_error(struct progress *p, const char *image, const struct k3_err *e);
/* "warning: <image>: <text>", image may be NULL; not from inside an event. */
void progress_warning(struct progress *p, const char *image, const char *text);
/* A result that cannot go to stdout: a line, or the event "result". */
void progress_result(struct progress *p, const char *text);
/* The last one: status is the program's, and what is returned. */
int progress_finish(struct progress *p, int status);
void progress_free(struct progress *p);
void progress_freep(struct progress **p);
#define PROGRESS_AUTO_FREE __attribute__((cleanup(progress_freep)))

#endif
