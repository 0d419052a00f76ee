/* SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/bundled.h"

#define DEFAULT_JOBS_MIN 2u
#define DEFAULT_JOBS_MAX 16u

unsigned pl_default_jobs(void)
{
	cpu_set_t set;
	unsigned n = DEFAULT_JOBS_MAX; /* more CPUs than the set has bits */

	if (!sched_getaffinity(0, sizeof(set), &set))
		n = (unsigned)CPU_COUNT(&set);
	if (n < DEFAULT_JOBS_MIN)
		return DEFAULT_JOBS_MIN;
	return n < DEFAULT_JOBS_MAX ? n : DEFAULT_JOBS_MAX;
}

unsigned pl_transfers(unsigned jobs)
{
	if (jobs == 1)
		return 1;
	if (jobs < PL_TRANSFERS_MIN)
		return PL_TRANSFERS_MIN;
	return jobs < PL_TRANSFERS_MAX ? jobs : PL_TRANSFERS_MAX;
}

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

/* By its own layers: what is unpacked may be another image's blob with the same content. */
static size_t first_layer(const struct image *im, const struct blob *b)
{
	size_t i = 0;

	while (!oci_digest_eq(&im->img->layers[i].blob.digest, &b->desc->digest))
		i++;
	return i;
}

/* Of an image that has the same blob several times: what any of its places needs. */
static unsigned layer_needs(const struct image *im, const struct blob *b)
{
	unsigned needs = b->stored ? 0 : PL_NEEDS_BYTES;

	for (size_t i = 0; i < im->img->nlayers; i++)
		if (im->nodes[i]->blob == b && (im->nodes[i]->wanted || im->nodes[i]->decoded))
			needs |= PL_NEEDS_UNPACK;
	return needs;
}

static void layer_event(struct run *r, const struct image *im, const struct blob *b, size_t layer,
			unsigned needs, enum pl_phase phase, uint64_t done)
{
	run_event_locked(r, &(struct pl_event){ .kind = PL_EV_LAYER,
						.image = im->index,
						.layer = layer,
						.phase = phase,
						.done = done,
						.total = b->desc->size,
						.needs = needs,
						.local = r->o->bundle || run_is_local(b),
						.shared = im != b->users[0],
						.digest = b->desc->digest });
}

void run_blob_event_locked(struct run *r, const struct blob *b, enum pl_phase phase, uint64_t done)
{
	bool all = phase != PL_LAYER_DOWNLOADING && phase != PL_LAYER_UNPACKING;

	for (size_t i = 0; i < (all ? b->nusers : 1); i++) {
		const struct image *im = b->users[i];

		layer_event(r, im, b, first_layer(im, b), layer_needs(im, b), phase, done);
	}
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

static void whole_locked(struct run *r, struct image *im)
{
	finish_image_locked(r, im);
	run_event_locked(r, &(struct pl_event){ .kind = PL_EV_WHOLE, .image = im->index });
}

void run_got_locked(struct run *r, struct image *im)
{
	if (!--im->missing && !im->finished)
		whole_locked(r, im);
}

bool run_image_has(const struct image *im, const struct node *n)
{
	return n->depth < im->img->nlayers && im->nodes[n->depth] == n;
}

bool run_is_local(const struct blob *b)
{
	for (size_t i = 0; i < b->nusers; i++)
		if (b->users[i]->req->from)
			return true;
	return false;
}

size_t run_parts(const struct run *r, const struct blob *b, uint64_t *chunk)
{
	uint64_t size = b->desc->size;

	*chunk = r->o->chunk_size;
	if (!*chunk || r->transfers == 1 || size <= *chunk || run_is_local(b))
		return 1;
	while ((size - 1) / *chunk >= IMP_PARTS_MAX)
		*chunk *= 2;
	return (size_t)((size - 1) / *chunk + 1);
}

struct source_link run_link(struct run *r, size_t slot)
{
	return (struct source_link){ r->fetch, &r->sessions[slot] };
}

int run_session(struct run *r, size_t slot, struct fetch_session **out, struct k3_err *e)
{
	const struct source_link link = run_link(r, slot);

	return source_session(&link, out, e);
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
							     .done = r->images[i].res->compressed,
							     .total = r->images[i].img->nlayers,
							     .digest = r->images[i].res->target });
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

/*
 * The last worker of the list runs on this thread, and so do those for which the system refuses
 * a thread, in the order of the list.
 */
static void run_workers(struct worker *w, size_t n)
{
	size_t started = 0;
	struct k3_err err;

	for (; started + 1 < n; started++)
		if (k3_thread_start(worker_main, &w[started], &w[started].thread, &err))
			break;
	for (size_t i = started; i < n; i++)
		worker_main(&w[i]);
	for (size_t i = 0; i < started; i++)
		k3_thread_join(w[i].thread);
}

void run_resolve(struct run *r)
{
	struct worker w[PL_TRANSFERS_MAX];

	run_workers(w, add_workers(r, w, 0, at_most(r->nimages, r->transfers), resolve_worker));
}

/* How many transfers have something to do. */
static size_t count_transfers(const struct run *r)
{
	size_t n = 0;
	uint64_t chunk;

	for (size_t i = 0; i < r->nblobs && n < r->transfers; i++)
		if (!r->blobs[i]->stored)
			n += run_parts(r, r->blobs[i], &chunk);
	return at_most(n, r->transfers);
}

/* What each image waits for. */
static void count_missing(struct run *r)
{
	for (size_t i = 0; i < r->nblobs; i++)
		for (size_t u = 0; !r->blobs[i]->stored && u < r->blobs[i]->nusers; u++)
			r->blobs[i]->users[u]->missing++;
	for (size_t i = 0; i < r->ntrees; i++) {
		const struct node *n = r->trees[i]->node;

		for (size_t u = 0; u < n->blob->nusers; u++)
			n->blob->users[u]->missing += run_image_has(n->blob->users[u], n);
	}
}

static void tell_plan(struct run *r, const struct image *im)
{
	for (size_t i = 0; !im->finished && i < im->img->nlayers; i++) {
		const struct blob *b = oci_map_get(&r->blob_map, &im->img->layers[i].blob.digest);
		unsigned needs = first_layer(im, b) == i ? layer_needs(im, b) : 0;

		layer_event(r, im, b, i, needs, needs ? PL_LAYER_WAITING : PL_LAYER_PRESENT, 0);
	}
}

void run_transfer_and_build(struct run *r)
{
	struct worker w[PL_TRANSFERS_MAX + PL_JOBS_MAX];

	for (size_t i = 0; i < r->nblobs; i++) {
		struct blob *b = r->blobs[i];

		if (!b->stored) {
			r->nfetched++;
			continue;
		}
		b->state = JOB_DONE;
		b->have = b->desc->size;
	}
	count_missing(r);
	for (size_t i = 0; i < r->nimages; i++) {
		struct image *im = &r->images[i];
		K3_WITH_MONITOR(r->mon);

		tell_plan(r, im);
		if (!im->missing && !im->finished)
			whole_locked(r, im);
	}
	run_event(r, &(struct pl_event){ .kind = PL_EV_PLANNED });
	size_t n = add_workers(r, w, 0, at_most(count_transfers(r), r->in_order ? 1 : r->transfers),
			       transfer_worker);

	n = add_workers(r, w, n, at_most(r->ntrees, r->in_order ? 1 : r->jobs), build_slot);
	if (r->jobs > 1 && !r->in_order) {
		/* Were threads to run out, everything is fetched before it is built. */
		run_workers(w, n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		worker_main(&w[i]);
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

static void on_notice(void *arg, const char *text)
{
	run_event(arg, &(struct pl_event){ .kind = PL_EV_NOTICE, .text = text });
}

static void on_wait(void *arg)
{
	run_event(arg, &(struct pl_event){ .kind = PL_EV_WAITING });
}

static void take_doubts(struct run *r)
{
	const struct pl_doubts *d = r->o->doubts;

	for (size_t i = 0; d && i < d->nblobs; i++)
		imp_distrust_blob(r->imp, &d->blobs[i]);
	for (size_t i = 0; d && i < d->nwhole_blobs; i++)
		imp_vouch_blob(r->imp, &d->whole_blobs[i]);
	for (size_t i = 0; d && i < d->nchains; i++)
		imp_distrust_chain(r->imp, &d->chains[i]);
}

int run_open(struct run *r, struct k3_err *e)
{
	struct imp_opts io = {
		.root = r->o->root,
		.ns = r->o->ns,
		.mode = r->o->mode,
		.address = r->o->address,
		.write = !r->look_only,
		.stage_only = r->blobs_only,
		.pin = r->o->pin,
		.no_sync = r->o->no_sync,
		.cancel = r->stop,
		.on_wait = on_wait,
		.arg = r,
	};
	struct fetch_opts fo = r->o->fetch;

	fo.cancel = r->stop;
	fo.on_retry = on_retry;
	fo.on_retry_arg = r;
	fo.on_notice = on_notice;
	fo.on_notice_arg = r;
	if (imp_open(&io, &r->imp, e) && !(r->look_only && e->code == K3_NOTFOUND))
		return -1;
	if (r->imp)
		take_doubts(r);
	if (r->o->bundle)
		return bundled_documents(r, e);
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
			.from_archive = im->req->from != NULL,
			.every_chain = r->o->snapshots == PL_CHAIN,
		};
		imp_add_image(r->imp, &im->imp);
		n++;
	}
	return n;
}

static int commit(struct run *r, struct k3_err *e)
{
	if (k3_cancel_check(r->stop, e) || (r->o->bundle && bundled_end(r, e)))
		return -1;
	if (!add_whole_images(r))
		return 0;
	if (r->ntrees || r->nfetched)
		run_event(r, &(struct pl_event){ .kind = PL_EV_COMMIT });
	if (imp_commit(r->imp, e))
		return -1;
	for (size_t i = 0; i < r->nimages; i++) {
		r->images[i].res->changed = r->images[i].imp.changed;
		r->images[i].res->live = imp_is_live(r->imp);
	}
	return 0;
}

static int run_stages(struct run *r, struct k3_err *e)
{
	if (run_open(r, e))
		return -1;
	run_resolve(r);
	if (k3_cancel_check(r->stop, e) || plan_make(r, e))
		return -1;
	run_transfer_and_build(r);
	return commit(r, e);
}

void run_release(struct run *r, bool keep)
{
	for (size_t i = 0; i < PL_TRANSFERS_MAX; i++)
		fetch_session_free(r->sessions[i]);
	fetch_free(r->fetch);
	imp_close(r->imp, keep);
	plan_release(r);
	for (size_t i = 0; i < r->nimages; i++) {
		struct image *im = &r->images[i];

		free(im->nodes);
		oci_resolved_release(&im->found);
	}
	free(r->images);
	k3_monitor_free(r->mon);
}

const struct image *run_first_failed(const struct run *r)
{
	for (size_t i = 0; i < r->nimages; i++)
		if (r->images[i].res->rc)
			return &r->images[i];
	return NULL;
}

void run_init(struct run *r, const struct pl_opts *o, const struct pl_request *reqs, size_t n,
	      struct k3_cancel *stop, struct pl_result *out)
{
	*r = (struct run){ .o = o, .stop = stop, .nimages = n, .start_ms = k3_now_ms() };
	memset(out, 0, n * sizeof(*out));
	r->jobs = o->jobs ? o->jobs : pl_default_jobs();
	if (r->jobs > PL_JOBS_MAX)
		r->jobs = PL_JOBS_MAX;
	r->transfers = pl_transfers(r->jobs);
	r->in_order = o->bundle && !bundle_any_order(o->bundle);
	r->mon = k3_monitor_new();
	r->images = k3_xcalloc(n, sizeof(*r->images));
	for (size_t i = 0; i < n; i++) {
		r->images[i].index = i;
		r->images[i].req = &reqs[i];
		r->images[i].res = &out[i];
	}
}

int pl_run(const struct pl_opts *o, const struct pl_request *reqs, size_t n, struct k3_cancel *stop,
	   struct pl_result *out, struct k3_err *e)
{
	bool network = false;
	struct run r;

	run_init(&r, o, reqs, n, stop, out);
	int rc = run_stages(&r, e);

	for (size_t i = 0; i < n; i++) {
		network = network || (out[i].rc && out[i].err.code == K3_NET);
		if (!rc || out[i].rc)
			continue;
		out[i].rc = -1;
		out[i].err = *e;
	}
	/* What was downloaded is kept for the next run only where that run can go on with it. */
	run_release(&r, network || (rc && (e->code == K3_CANCELLED || r.cut_short)));
	return rc;
}
