/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/save.h"

#include <stdlib.h>
#include <string.h>

/* ---- shared by the stages ------------------------------------------------------------------ */

void save_event_locked(struct save *s, const struct pl_event *ev)
{
	if (s->o->event)
		s->o->event(s->o->arg, ev);
}

void save_blob_event_locked(struct save *s, const struct save_blob *b, enum pl_phase phase,
			    uint64_t done)
{
	size_t n = phase == PL_LAYER_DOWNLOADING ? 1 : b->nusers;
	bool local = false;

	for (size_t u = 0; u < b->nusers; u++)
		local = local || b->users[u]->req->from;
	for (size_t u = 0; u < n; u++) {
		const struct save_image *im = b->users[u];
		size_t i = 0;

		while (!oci_digest_eq(&im->blobs.items[i].digest, &b->desc->digest))
			i++;
		save_event_locked(s, &(struct pl_event){ .kind = PL_EV_LAYER,
							 .image = im->index,
							 .layer = i,
							 .phase = phase,
							 .done = done,
							 .total = b->desc->size,
							 .needs = PL_NEEDS_BYTES,
							 .local = local,
							 .shared = u > 0,
							 .digest = b->desc->digest });
	}
}

static void finish_image_locked(struct save *s, struct save_image *im)
{
	im->finished = true;
	im->res->ms = k3_now_ms() - s->start_ms;
}

void save_fail_locked(struct save *s, struct save_image *im, const struct k3_err *why)
{
	if (im->finished)
		return;
	im->res->rc = -1;
	im->res->err = *why;
	finish_image_locked(s, im);
	save_event_locked(
		s, &(struct pl_event){ .kind = PL_EV_FAILED, .image = im->index, .err = why });
}

static void whole_locked(struct save *s, struct save_image *im)
{
	finish_image_locked(s, im);
	save_event_locked(s, &(struct pl_event){ .kind = PL_EV_WHOLE, .image = im->index });
}

void save_got_locked(struct save *s, struct save_image *im)
{
	if (!--im->missing && !im->finished)
		whole_locked(s, im);
}

struct source_link save_link(struct save *s, size_t slot)
{
	return (struct source_link){ s->fetch, &s->sessions[slot] };
}

/* ---- workers ------------------------------------------------------------------------------- */

struct worker {
	struct save *save;
	size_t slot;
	void (*work)(struct save *s, size_t slot);
	struct k3_thread *thread;
};

static void worker_main(void *arg)
{
	struct worker *w = arg;

	w->work(w->save, w->slot);
}

/* n workers of one kind; the last one is this thread, and so are those that get no thread. */
static void run_workers(struct save *s, size_t n, void (*work)(struct save *s, size_t slot))
{
	struct worker w[PL_TRANSFERS_MAX];
	size_t started = 0;
	struct k3_err err;

	for (size_t i = 0; i < n; i++)
		w[i] = (struct worker){ .save = s, .slot = i, .work = work };
	for (; started + 1 < n; started++)
		if (k3_thread_start(worker_main, &w[started], &w[started].thread, &err))
			break;
	for (size_t i = started; i < n; i++)
		worker_main(&w[i]);
	for (size_t i = 0; i < started; i++)
		k3_thread_join(w[i].thread);
}

static size_t connections(const struct save *s, size_t work)
{
	size_t n = s->o->connections ? s->o->connections : pl_transfers(pl_default_jobs());

	if (n > PL_TRANSFERS_MAX)
		n = PL_TRANSFERS_MAX;
	return n < work ? n : work;
}

static void resolve_worker(struct save *s, size_t slot)
{
	for (;;) {
		k3_monitor_enter(s->mon);
		size_t i = s->next_image < s->nimages ? s->next_image++ : s->nimages;

		k3_monitor_leave(s->mon);
		if (i == s->nimages || k3_cancelled(s->stop))
			return;
		struct k3_err err;
		struct save_image *im = &s->images[i];
		int rc = save_resolve(s, im, slot, &err);

		K3_WITH_MONITOR(s->mon);
		if (rc)
			save_fail_locked(s, im, &err);
		else
			save_event_locked(s, &(struct pl_event){ .kind = PL_EV_RESOLVED,
								 .image = i,
								 .done = im->res->compressed,
								 .total = im->blobs.n,
								 .digest = im->target.digest });
	}
}

/* ---- the plan ------------------------------------------------------------------------------ */

static void want_blob(struct save *s, struct save_image *im, const struct oci_desc *d)
{
	struct save_blob *b = oci_map_get(&s->map, &d->digest);

	if (!b) {
		b = k3_xcalloc(1, sizeof(*b));
		b->desc = d;
		s->blobs = k3_xgrow(s->blobs, s->nblobs, &s->cap_blobs, sizeof(struct save_blob *));
		s->blobs[s->nblobs++] = b;
		oci_map_put(&s->map, &d->digest, b);
	}
	b->users = k3_xgrow(b->users, b->nusers, &b->cap_users, sizeof(struct save_image *));
	b->users[b->nusers++] = im;
	im->missing++;
}

static void plan(struct save *s)
{
	for (size_t i = 0; i < s->nimages; i++) {
		struct save_image *im = &s->images[i];

		for (size_t b = 0; !im->res->rc && b < im->blobs.n; b++)
			want_blob(s, im, &im->blobs.items[b]);
	}
	K3_WITH_MONITOR(s->mon);
	for (size_t i = 0; i < s->nblobs; i++)
		save_blob_event_locked(s, s->blobs[i], PL_LAYER_WAITING, 0);
	for (size_t i = 0; i < s->nimages; i++)
		if (!s->images[i].missing && !s->images[i].finished)
			whole_locked(s, &s->images[i]);
	save_event_locked(s, &(struct pl_event){ .kind = PL_EV_PLANNED });
}

/* ---- the end ------------------------------------------------------------------------------- */

/* What the images are called; names[i] belongs to images[i]. */
struct named {
	struct layout_image *images;
	char **names;
	size_t n;
};

static void named_release(struct named *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->names[i]);
	free(w->names);
	free(w->images);
}

static void name_images(const struct save *s, struct named *w)
{
	w->images = k3_xcalloc(s->nimages, sizeof(*w->images));
	w->names = k3_xcalloc(s->nimages, sizeof(*w->names));
	for (size_t i = 0; i < s->nimages; i++) {
		const struct save_image *im = &s->images[i];
		bool index = oci_media_is_index(im->target.media);

		if (im->res->rc)
			continue;
		w->names[w->n] = oci_ref_name(&im->req->ref);
		w->images[w->n] = (struct layout_image){
			.name = w->names[w->n],
			.tag = s->o->tag ? s->o->tag : im->req->ref.tag,
			.own_tag = s->o->tag != NULL,
			.target = im->target,
			.platform = index ? NULL : &im->res->platform,
		};
		w->n++;
	}
}

static size_t list_blobs(const struct save *s, const struct oci_desc **out)
{
	size_t n = 0;

	for (size_t i = 0; i < s->nimages; i++) {
		const struct save_image *im = &s->images[i];

		for (size_t d = 0; !im->res->rc && d < im->docs.n; d++)
			out[n++] = &im->docs.items[d];
		for (size_t b = 0; !im->res->rc && b < im->blobs.n; b++) {
			const struct save_blob *blob = oci_map_get(&s->map,
								   &im->blobs.items[b].digest);

			if (!blob->left_out)
				out[n++] = blob->desc;
		}
	}
	return n;
}

static int pack(struct save *s, const struct named *w, struct k3_err *e)
{
	size_t room = 1;

	for (size_t i = 0; i < s->nimages; i++)
		room += s->images[i].docs.n + s->images[i].blobs.n;
	K3_AUTO_FREE const struct oci_desc **blobs = k3_xcalloc(room, sizeof(*blobs));

	if (layout_pack(s->layout, w->images, w->n, blobs, list_blobs(s, blobs), s->o->path,
			layout_packing_of(s->o->path), s->stop, e))
		return -1;
	/* The blobs of images that failed are kept for the next run. */
	if (w->n < s->nimages)
		return 0;
	struct layout *l = K3_STEAL(s->layout);

	return layout_discard(l, e);
}

static int commit(struct save *s, struct k3_err *e)
{
	__attribute__((cleanup(named_release))) struct named w = { 0 };
	bool changed = true;

	if (k3_cancel_check(s->stop, e))
		return -1;
	name_images(s, &w);
	if (!w.n)
		return 0;
	k3_monitor_enter(s->mon);
	save_event_locked(s, &(struct pl_event){ .kind = PL_EV_COMMIT });
	k3_monitor_leave(s->mon);
	if (s->o->archive ? pack(s, &w, e) : layout_commit(s->layout, w.images, w.n, &changed, e))
		return -1;
	for (size_t i = 0; i < s->nimages; i++)
		s->images[i].res->changed = changed || s->images[i].wrote;
	return 0;
}

/* ---- the run ------------------------------------------------------------------------------- */

static void on_retry(void *arg, const char *what, unsigned attempt, uint64_t wait_ms,
		     const struct k3_err *why)
{
	struct save *s = arg;
	K3_AUTO_FREE char *text = k3_xasprintf("%s: %s; trying again in %.1f s", what, why->msg,
					       (double)wait_ms / 1000);
	K3_WITH_MONITOR(s->mon);

	(void)attempt;
	save_event_locked(s, &(struct pl_event){ .kind = PL_EV_RETRY, .text = text, .err = why });
}

static void on_notice(void *arg, const char *text)
{
	struct save *s = arg;
	K3_WITH_MONITOR(s->mon);

	save_event_locked(s, &(struct pl_event){ .kind = PL_EV_NOTICE, .text = text });
}

static int run_stages(struct save *s, struct k3_err *e)
{
	struct fetch_opts fo = s->o->fetch;
	K3_AUTO_FREE char *dir = k3_xasprintf("%s%s", s->o->path, s->o->archive ? ".partial" : "");

	fo.cancel = s->stop;
	fo.on_retry = on_retry;
	fo.on_retry_arg = s;
	fo.on_notice = on_notice;
	fo.on_notice_arg = s;
	if (layout_open(dir, &s->layout, e) || fetch_new(&fo, &s->fetch, e))
		return -1;
	run_workers(s, connections(s, s->nimages), resolve_worker);
	if (k3_cancel_check(s->stop, e))
		return -1;
	plan(s);
	run_workers(s, connections(s, s->nblobs), save_blobs);
	return commit(s, e);
}

static void release(struct save *s)
{
	for (size_t i = 0; i < PL_TRANSFERS_MAX; i++)
		fetch_session_free(s->sessions[i]);
	fetch_free(s->fetch);
	layout_close(s->layout);
	for (size_t i = 0; i < s->nblobs; i++) {
		free(s->blobs[i]->users);
		free(s->blobs[i]);
	}
	free(s->blobs);
	oci_map_release(&s->map);
	for (size_t i = 0; i < s->nimages; i++) {
		free(s->images[i].docs.items);
		free(s->images[i].blobs.items);
	}
	free(s->images);
	k3_monitor_free(s->mon);
}

int pl_save(const struct pl_save_opts *o, const struct pl_request *reqs, size_t n,
	    struct k3_cancel *stop, struct pl_result *out, struct k3_err *e)
{
	struct save s = { .o = o, .stop = stop, .nimages = n, .start_ms = k3_now_ms() };

	memset(out, 0, n * sizeof(*out));
	s.mon = k3_monitor_new();
	s.images = k3_xcalloc(n, sizeof(*s.images));
	for (size_t i = 0; i < n; i++) {
		s.images[i].index = i;
		s.images[i].req = &reqs[i];
		s.images[i].res = &out[i];
	}
	int rc = run_stages(&s, e);

	for (size_t i = 0; rc && i < n; i++) {
		if (out[i].rc)
			continue;
		out[i].rc = -1;
		out[i].err = *e;
	}
	release(&s);
	return rc;
}
