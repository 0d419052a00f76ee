/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress_state.h"

#include <stdlib.h>

#include "base/mem.h"

#define LOOK_MS 200u
/* Speed and time left follow a change within some seconds: they are read, not measured. */
#define RATE_TAU_MS 3000.0
#define LEFT_TAU_MS 4000.0
#define LEFT_MIN_MS 2000u       /* nobody can tell earlier */
#define LEFT_MAX_MS 359999000.0 /* 99:59:59; more than that means that nothing comes */

void progress_state_init(struct progress_state *st, size_t n, uint64_t now)
{
	*st = (struct progress_state){ .n = n, .start_ms = now, .look_ms = now, .resolving = n };
	st->images = k3_xcalloc(n, sizeof(*st->images));
}

void progress_state_release(struct progress_state *st)
{
	for (size_t i = 0; i < st->n; i++) {
		free(st->images[i].layers);
		free(st->images[i].why);
	}
	free(st->images);
}

/* ---- layers --------------------------------------------------------------------------------- */

bool layer_is_done(const struct layer_progress *l)
{
	if (l->phase == PL_LAYER_DONE || l->phase == PL_LAYER_PRESENT)
		return true;
	return l->phase == PL_LAYER_DOWNLOADED && !(l->needs & PL_NEEDS_UNPACK);
}

bool layer_is_active(const struct layer_progress *l)
{
	return !layer_is_done(l) && l->phase > PL_LAYER_WAITING;
}

bool layer_moves(const struct layer_progress *l)
{
	return layer_is_active(l) && l->phase != PL_LAYER_DOWNLOADED;
}

bool layer_was_there(const struct layer_progress *l)
{
	return l->phase == PL_LAYER_PRESENT ||
	       (l->phase == PL_LAYER_DONE && !(l->needs & PL_NEEDS_UNPACK));
}

/* so many bytes are there now.  f: they are counted, or NULL. */
static void move(struct flow *f, uint64_t *now_there, uint64_t *most, uint64_t there, uint64_t now)
{
	if (f && there > *now_there) {
		f->moved += there - *now_there;
		if (!f->begin_ms)
			f->begin_ms = now;
	}
	*now_there = there;
	if (there > *most)
		*most = there;
}

static void fetched(struct progress_state *st, struct layer_progress *l, uint64_t there,
		    uint64_t now)
{
	/* What an earlier run left came in no time. */
	bool counts = l->begun && !l->shared;

	if (!(l->needs & PL_NEEDS_BYTES))
		return;
	if (!st->fetch.begin_ms)
		st->fetch.begin_ms = now;
	l->begun = true;
	move(counts ? &st->fetch : NULL, &l->fetched_now, &l->fetched, there, now);
}

static void unpacked(struct progress_state *st, struct layer_progress *l, uint64_t there,
		     uint64_t now)
{
	if (l->needs & PL_NEEDS_UNPACK)
		move(l->shared ? NULL : &st->unpack, &l->unpacked_now, &l->unpacked, there, now);
}

static void layer_event(struct progress_state *st, const struct pl_event *ev, uint64_t now)
{
	struct image_progress *im = &st->images[ev->image];
	struct layer_progress *l;

	if (ev->layer >= im->nlayers)
		return;
	l = &im->layers[ev->layer];
	l->digest = ev->digest;
	l->needs = ev->needs;
	l->local = ev->local;
	l->shared = ev->shared;
	l->total = ev->total;
	switch (ev->phase) {
	case PL_LAYER_PRESENT:
	case PL_LAYER_WAITING:
		break;
	case PL_LAYER_DOWNLOADING:
		fetched(st, l, ev->done, now);
		break;
	case PL_LAYER_DOWNLOADED:
		fetched(st, l, ev->total, now);
		break;
	case PL_LAYER_UNPACKING:
		unpacked(st, l, ev->done, now);
		break;
	case PL_LAYER_DONE:
		/* Where nothing is unpacked, it was there: it has not come. */
		l->begun = l->begun && (l->needs & PL_NEEDS_UNPACK);
		fetched(st, l, ev->total, now);
		unpacked(st, l, ev->total, now);
		break;
	}
	/* Unpacking goes on behind the download, and all may come again: never backwards. */
	if (ev->phase > l->phase)
		l->phase = ev->phase;
}

/* ---- images --------------------------------------------------------------------------------- */

bool image_is_done(const struct progress_state *st, const struct image_progress *im)
{
	/* For a bundle its layers are decompressed once all have come. */
	for (size_t i = 0; !st->committing && i < im->nlayers; i++)
		if (layer_is_active(&im->layers[i]) || im->layers[i].phase == PL_LAYER_WAITING)
			return false;
	return im->state == IMAGE_WHOLE;
}

static uint64_t at_most(uint64_t n, uint64_t limit)
{
	return n < limit ? n : limit;
}

struct image_sum image_sum(const struct image_progress *im)
{
	uint64_t fetch = 0, fetch_total = 0, unpack = 0, unpack_total = 0;
	struct image_sum s = { 0 };

	for (size_t i = 0; i < im->nlayers; i++) {
		const struct layer_progress *l = &im->layers[i];

		s.done += layer_is_done(l);
		s.active += layer_is_active(l);
		s.there += layer_was_there(l);
		if (l->needs & PL_NEEDS_BYTES) {
			fetch += at_most(l->fetched, l->total);
			fetch_total += l->total;
		}
		if (l->needs & PL_NEEDS_UNPACK) {
			unpack += at_most(l->unpacked, l->total);
			unpack_total += l->total;
		}
	}
	s.bytes = fetch_total ? fetch : unpack;
	s.total = fetch_total ? fetch_total : unpack_total;
	s.work = fetch + unpack;
	s.all_work = fetch_total + unpack_total;
	return s;
}

static void resolved(struct image_progress *im, const struct pl_event *ev)
{
	/* A second look at the same image finds the same layers. */
	if (im->layers && im->nlayers == ev->total)
		return;
	free(im->layers);
	im->state = IMAGE_WORKING;
	im->bytes = ev->done;
	im->nlayers = (size_t)ev->total;
	im->layers = k3_xcalloc(im->nlayers, sizeof(*im->layers));
	for (size_t i = 0; i < im->nlayers; i++)
		im->layers[i].phase = PL_LAYER_PRESENT;
}

static void failed(struct image_progress *im, const struct k3_err *why)
{
	im->state = IMAGE_FAILED;
	free(im->why);
	im->why = k3_xstrdup(why->msg);
}

void progress_state_event(struct progress_state *st, const struct pl_event *ev, uint64_t now)
{
	st->waiting = ev->kind == PL_EV_WAITING;
	switch (ev->kind) {
	case PL_EV_RESOLVED:
		resolved(&st->images[ev->image], ev);
		break;
	case PL_EV_LAYER:
		layer_event(st, ev, now);
		break;
	case PL_EV_PLANNED:
		st->planned = true;
		break;
	case PL_EV_WHOLE:
		st->images[ev->image].state = IMAGE_WHOLE;
		st->images[ev->image].end_ms = now;
		break;
	case PL_EV_FAILED:
		failed(&st->images[ev->image], ev->err);
		st->images[ev->image].end_ms = now;
		break;
	case PL_EV_COMMIT:
		st->committing = true;
		st->written = ev->done;
		st->write_total = ev->total;
		break;
	case PL_EV_RETRY:
	case PL_EV_NOTICE:
	case PL_EV_LOSS:
	case PL_EV_WAITING:
		break;
	}
}

/* ---- the whole ------------------------------------------------------------------------------ */

static void add(struct flow *f, uint64_t total, uint64_t done, uint64_t now_there,
		bool failed_image)
{
	done = at_most(done, total);
	/* Of an image that failed no more is expected. */
	f->total += failed_image ? done : total;
	f->done += done;
	f->left += failed_image ? 0 : total - at_most(now_there, total);
}

static void sum_up(struct progress_state *st)
{
	bool local = true;

	st->fetch.total = st->fetch.done = st->fetch.left = 0;
	st->unpack.total = st->unpack.done = st->unpack.left = 0;
	st->resolving = st->working = st->whole = st->failed = 0;
	for (size_t i = 0; i < st->n; i++) {
		const struct image_progress *im = &st->images[i];
		bool bad = im->state == IMAGE_FAILED, done = image_is_done(st, im);

		st->resolving += im->state == IMAGE_RESOLVING;
		st->failed += bad;
		st->whole += done;
		st->working += !bad && !done && im->state != IMAGE_RESOLVING;
		for (size_t k = 0; k < im->nlayers; k++) {
			const struct layer_progress *l = &im->layers[k];

			if (l->shared)
				continue;
			if (l->needs & PL_NEEDS_BYTES) {
				add(&st->fetch, l->total, l->fetched, l->fetched_now, bad);
				local = local && l->local;
			}
			if (l->needs & PL_NEEDS_UNPACK)
				add(&st->unpack, l->total, l->unpacked, l->unpacked_now, bad);
		}
	}
	st->local = local;
}

/* The first look takes what it sees, later ones a share of it. */
static double follow(double old, double seen, double since_begin, double dt, double tau)
{
	double t = since_begin < tau ? since_begin : tau;

	return old + (seen - old) * dt / (t + dt);
}

static void look_at_flow(struct flow *f, uint64_t before, uint64_t now)
{
	uint64_t from = before > f->begin_ms ? before : f->begin_ms;
	double dt = (double)(now - from);

	if (!f->begin_ms || now <= from)
		return;
	f->rate = follow(f->rate, (double)(f->moved - f->seen) * 1000 / dt,
			 (double)(from - f->begin_ms), dt, RATE_TAU_MS);
	f->seen = f->moved;
}

/* Whether it tells how long it will take. */
static bool flow_left(const struct flow *f, uint64_t now, double *ms)
{
	if (!f->left || !f->begin_ms || now - f->begin_ms < LEFT_MIN_MS || f->rate < 1)
		return false;
	double left = (double)f->left * 1000 / f->rate;

	if (left > *ms)
		*ms = left;
	return true;
}

static void look_at_left(struct progress_state *st, uint64_t now)
{
	double dt = (double)(now - st->look_ms), ms = 0, expected = st->left_ms - dt;
	/* Both go on at the same time: the slower one tells. */
	bool fetch = flow_left(&st->fetch, now, &ms), unpack = flow_left(&st->unpack, now, &ms);
	bool known = (fetch || unpack) && ms <= LEFT_MAX_MS;

	if (known)
		st->left_ms = st->has_left ? follow(expected, ms, LEFT_TAU_MS, dt, LEFT_TAU_MS)
					   : ms;
	if (st->left_ms < 0)
		st->left_ms = 0;
	st->has_left = known;
}

void progress_state_look(struct progress_state *st, uint64_t now)
{
	sum_up(st);
	uint64_t work = st->fetch.done + st->unpack.done, all = st->fetch.total + st->unpack.total;
	unsigned permille = !st->planned ? 0
			    : all        ? (unsigned)((double)work / (double)all * 1000)
					 : 1000;

	if (permille > st->permille)
		st->permille = permille;
	if (now - st->look_ms < LOOK_MS)
		return;
	look_at_flow(&st->fetch, st->look_ms, now);
	look_at_flow(&st->unpack, st->look_ms, now);
	look_at_left(st, now);
	st->look_ms = now;
}
