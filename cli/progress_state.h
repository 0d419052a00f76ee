/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a run has got, from the events of the pipeline.  No output, no clock of its own: times
 * are those of the caller, in milliseconds.  What is told as done never becomes less, whatever
 * comes again; speed and time left go by what really moved.
 */
#ifndef K3_CLI_PROGRESS_STATE_H
#define K3_CLI_PROGRESS_STATE_H

#include "pipeline/pipeline.h"

struct layer_progress {
	struct oci_digest digest;
	enum pl_phase phase; /* the furthest */
	unsigned needs;      /* PL_NEEDS_* */
	bool local, shared, begun;
	uint64_t total;
	uint64_t fetched, unpacked;         /* the most that was told */
	uint64_t fetched_now, unpacked_now; /* less when they come again */
	uint64_t told_ms;                   /* when an event stream told of it */
};

enum image_state { IMAGE_RESOLVING, IMAGE_WORKING, IMAGE_WHOLE, IMAGE_FAILED };

struct image_progress {
	enum image_state state;
	struct layer_progress *layers;
	size_t nlayers;
	uint64_t bytes; /* of all layers, from the manifest */
	uint64_t end_ms;
	char *why; /* it failed */
};

/* Bytes that are fetched, or bytes that are unpacked: each layer of the run once. */
struct flow {
	uint64_t total, done, left;
	uint64_t moved, seen; /* since the begin, and of these when it was last looked at */
	uint64_t begin_ms;    /* of the first movement */
	double rate;          /* bytes a second, smoothed */
};

struct progress_state {
	struct image_progress *images;
	size_t n;
	bool planned, waiting, committing;
	uint64_t written, write_total; /* PL_EV_COMMIT's */
	uint64_t start_ms;
	/* below: as of the last progress_state_look */
	uint64_t look_ms;
	struct flow fetch, unpack;
	size_t resolving, working, whole, failed;
	bool local;        /* nothing comes from a registry */
	unsigned permille; /* of all work */
	bool has_left;     /* the time left is known */
	double left_ms;
};

void progress_state_init(struct progress_state *st, size_t n, uint64_t now);
void progress_state_release(struct progress_state *st);
void progress_state_event(struct progress_state *st, const struct pl_event *ev, uint64_t now);
/* Sums up; speed and time left follow when 200 ms have passed. */
void progress_state_look(struct progress_state *st, uint64_t now);

bool layer_is_done(const struct layer_progress *l);
/* It is on its way: some of it has come, or is being unpacked. */
bool layer_is_active(const struct layer_progress *l);
/* Bytes of it come, or are unpacked: it does not only wait for that. */
bool layer_moves(const struct layer_progress *l);
/* All of it was there before. */
bool layer_was_there(const struct layer_progress *l);
/* Whole, and nothing of it is still worked on. */
bool image_is_done(const struct progress_state *st, const struct image_progress *im);

struct image_sum {
	size_t done, active, there; /* layers */
	uint64_t bytes, total;      /* that came, and have to come; unpacked, if none has to */
	uint64_t work, all_work;    /* bytes to be fetched and bytes to be unpacked */
};
struct image_sum image_sum(const struct image_progress *im);

#endif
