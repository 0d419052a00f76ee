/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "pipeline/run.h"

void run_event_locked(struct run *r, const struct pl_event *ev)
{
	if (r->o->event)
		r->o->event(r->o->arg, ev);
}

void run_event(struct run *r, const struct pl_event *ev)
{
	K3_WITH_MONITOR(r->mon);
	run_event_locked(r, ev);
}

static void layer_event(struct run *r, const struct image *im, const struct blob *b,
			enum pl_phase phase, uint64_t done)
{
	for (size_t i = 0; i < im->img->nlayers; i++) {
		if (im->nodes[i]->blob != b)
			continue;
		run_event_locked(r, &(struct pl_event){ .kind = PL_EV_LAYER,
							.image = im->index,
							.layer = i,
							.phase = phase,
							.done = done,
							.total = b->desc->size,
							.shared = im != b->users[0],
							.digest = b->desc->digest });
		return;
	}
}

/* How far it got is told with the first image that needs it, what became of it with all. */
void run_blob_event_locked(struct run *r, const struct blob *b, enum pl_phase phase, uint64_t done)
{
	bool all = phase != PL_LAYER_DOWNLOADING && phase != PL_LAYER_UNPACKING;

	for (size_t i = 0; i < (all ? b->nusers : 1); i++)
		layer_event(r, b->users[i], b, phase, done);
}

static void finish_image_locked(struct run *r, struct image *im)
{
	im->finished = true;
	im->res->ms = k3_now_ms() - r->start_ms;
}

void run_fail_image_locked(struct run *r, struct image *im, const struct k3_err *why)
{
	if (im->finished)
		return;
	im->res->rc = -1;
	im->res->err = *why;
	finish_image_locked(r, im);
	run_event_locked(
		r, &(struct pl_event){ .kind = PL_EV_FAILED, .image = im->index, .err = why });
}

void run_check_whole_locked(struct run *r, struct image *im)
{
	if (im->finished || (im->img->nlayers && !im->nodes))
		return;
	for (size_t i = 0; i < im->img->nlayers; i++) {
		const struct node *n = im->nodes[i];

		if (n->blob->state != JOB_DONE || (n->tree && n->tree->state != JOB_DONE))
			return;
	}
	finish_image_locked(r, im);
	run_event_locked(r, &(struct pl_event){ .kind = PL_EV_WHOLE, .image = im->index });
}

int run_session(struct run *r, size_t slot, struct fetch_session **out, struct k3_err *e)
{
	if (!r->sessions[slot] && fetch_session_new(r->fetch, &r->sessions[slot], e))
		return -1;
	*out = r->sessions[slot];
	return 0;
}

/* ---- workers ---- */

struct worker {
	struct run *run;
	size_t slot;
	void (*work)(struct run *r, size_t slot);
	struct k3_thread *thread;
};

static void worker_main(void *arg)
{
	struct worker *w = arg;

	w->work(w->run, w->slot);
}

static void resolve_worker(struct run *r, size_t slot)
{
	for (;;) {
		k3_monitor_enter(r->mon);
		size_t i = r->next_image < r->nimages ? r->next_image++ : r->nimages;

		k3_monitor_leave(r->mon);
		if (i == r->nimages || k3_cancelled(r->stop))
			return;
		struct k3_err err;
		int rc = resolve_image(r, &r->images[i], slot, &err);

		K3_WITH_MONITOR(r->mon);
		if (rc)
			run_fail_image_locked(r, &r->images[i], &err);
		else
			run_event_locked(r,
					 &(struct pl_event){ .kind = PL_EV_RESOLVED,
							     .image = i,
							     .total = r->images[i].img->nlayers });
	}
}

static void build_slot(struct run *r, size_t slot)
{
	(void)slot;
	build_worker(r);
}

static size_t at_most(size_t n, size_t limit)
{
	return n < limit ? n : limit;
}

static size_t add_workers(struct run *r, struct worker *w, size_t n, size_t count,
			  void (*work)(struct run *r, size_t slot))
{
	for (size_t i = 0; i < count; i++)
		w[n++] = (struct worker){ .run = r, .slot = i, .work = work };
	return n;
}

/* The first worker of the list always runs: on this thread if no other can be had. */
static void run_workers(struct worker *w, size_t n)
{
	size_t started = 0;
	struct k3_err err;

	for (; started < n; started++)
		if (k3_thread_start(worker_main, &w[started], &w[started].thread, &err))
			break;
	for (size_t i = started; i < n; i++)
		worker_main(&w[i]);
	for (size_t i = 0; i < started; i++)
		k3_thread_join(w[i].thread);
}

static void resolve_all(struct run *r)
{
	struct worker w[PL_TRANSFERS];

	run_workers(w, add_workers(r, w, 0, at_most(r->nimages, PL_TRANSFERS), resolve_worker));
}

static void tell_plan(struct run *r, const struct image *im)
{
	for (size_t i = 0; im->nodes && i < im->img->nlayers; i++)
		if (im->nodes[i]->wanted || !im->nodes[i]->blob->stored)
			layer_event(r, im, im->nodes[i]->blob, PL_LAYER_WAITING, 0);
}

static void transfer_and_build(struct run *r)
{
	struct worker w[PL_TRANSFERS + PL_BUILDERS];

	for (size_t i = 0; i < r->nblobs; i++) {
		struct blob *b = r->blobs[i];

		if (!b->stored) {
			r->nfetched++;
			continue;
		}
		b->state = JOB_DONE;
		b->have = b->desc->size;
	}
	for (size_t i = 0; i < r->nimages; i++) {
		K3_WITH_MONITOR(r->mon);
		tell_plan(r, &r->images[i]);
		run_check_whole_locked(r, &r->images[i]);
	}
	/* Transfers first: were threads to run out, everything is fetched before it is built. */
	size_t n = add_workers(r, w, 0, at_most(r->nfetched, PL_TRANSFERS), transfer_worker);

	n = add_workers(r, w, n, at_most(r->ntrees, PL_BUILDERS), build_slot);
	run_workers(w, n);
}

/* ---- the run ---- */

static void on_retry(void *arg, const char *what, unsigned attempt, uint64_t wait_ms,
		     const struct k3_err *why)
{
	K3_AUTO_FREE char *text = k3_xasprintf("%s: %s; trying again in %.1f s", what, why->msg,
					       (double)wait_ms / 1000);

	(void)attempt;
	run_event(arg, &(struct pl_event){ .kind = PL_EV_RETRY, .text = text, .err = why });
}

static void on_wait(void *arg)
{
	run_event(arg, &(struct pl_event){ .kind = PL_EV_WAITING });
}

static int open_all(struct run *r, struct k3_err *e)
{
	struct imp_opts io = {
		.root = r->o->root,
		.ns = r->o->ns,
		.write = true,
		.pin = r->o->pin,
		.cancel = r->stop,
		.on_wait = on_wait,
		.arg = r,
	};
	struct fetch_opts fo = r->o->fetch;

	fo.cancel = r->stop;
	fo.on_retry = on_retry;
	fo.on_retry_arg = r;
	if (imp_open(&io, &r->imp, e))
		return -1;
	return fetch_new(&fo, &r->fetch, e);
}

/* Hands everything whole to the importer.  Returns how many images that are. */
static size_t add_whole_images(struct run *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->nimages; i++) {
		struct image *im = &r->images[i];

		if (im->res->rc)
			continue;
		im->imp = (struct imp_image){
			.ref = &im->req->ref,
			.docs = im->found.docs,
			.ndocs = im->found.ndocs,
			.img = im->img,
			.literal_name = im->req->literal_name,
			.every_chain = r->o->snapshots == PL_CHAIN,
		};
		imp_add_image(r->imp, &im->imp);
		n++;
	}
	return n;
}

static int commit(struct run *r, struct k3_err *e)
{
	if (k3_cancel_check(r->stop, e))
		return -1;
	if (!add_whole_images(r))
		return 0;
	if (r->ntrees || r->nfetched)
		run_event(r, &(struct pl_event){ .kind = PL_EV_COMMIT });
	if (imp_commit(r->imp, e))
		return -1;
	for (size_t i = 0; i < r->nimages; i++)
		r->images[i].res->changed = r->images[i].imp.changed;
	return 0;
}

static int run_stages(struct run *r, struct k3_err *e)
{
	if (open_all(r, e))
		return -1;
	resolve_all(r);
	if (k3_cancel_check(r->stop, e) || plan_make(r, e))
		return -1;
	transfer_and_build(r);
	return commit(r, e);
}

static void release(struct run *r, bool keep_partial)
{
	for (size_t i = 0; i < PL_TRANSFERS; i++)
		fetch_session_free(r->sessions[i]);
	fetch_free(r->fetch);
	imp_close(r->imp, keep_partial);
	plan_release(r);
	for (size_t i = 0; i < r->nimages; i++) {
		struct image *im = &r->images[i];

		free(im->nodes);
		oci_resolved_release(&im->found);
	}
	free(r->images);
	k3_monitor_free(r->mon);
}

int pl_run(const struct pl_opts *o, const struct pl_request *reqs, size_t n, struct k3_cancel *stop,
	   struct pl_result *out, struct k3_err *e)
{
	struct run r = { .o = o, .stop = stop, .nimages = n, .start_ms = k3_now_ms() };
	bool network = false;

	memset(out, 0, n * sizeof(*out));
	r.mon = k3_monitor_new();
	r.images = k3_xcalloc(n, sizeof(*r.images));
	for (size_t i = 0; i < n; i++) {
		r.images[i].index = i;
		r.images[i].req = &reqs[i];
		r.images[i].res = &out[i];
	}
	int rc = run_stages(&r, e);

	for (size_t i = 0; i < n; i++) {
		network = network || (out[i].rc && out[i].err.code == K3_NET);
		if (!rc || out[i].rc)
			continue;
		out[i].rc = -1;
		out[i].err = *e;
	}
	/* What was downloaded is kept for the next run only where that run can go on with it. */
	release(&r, network || (rc && e->code == K3_CANCELLED));
	return rc;
}
