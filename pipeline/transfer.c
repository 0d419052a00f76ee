/* SPDX-License-Identifier: Apache-2.0 */
/* Blob -> staging file. */
#include <stdlib.h>
#include <string.h>

#include "pipeline/transfer.h"

#define WAIT_MS 200 /* how late an idle worker notices a cancelled run */

static int put(struct transfer *t, const void *p, size_t n, struct k3_err *e)
{
	if (imp_blob_write(t->file, p, n, e))
		return -1;
	K3_WITH_MONITOR(t->run->mon);
	t->blob->have += n;
	t->blob->users[0]->res->fetched += n;
	k3_monitor_wake_all(t->run->mon);
	run_blob_event_locked(t->run, t->blob, PL_LAYER_DOWNLOADING, t->blob->have);
	return 0;
}

static int flush(struct transfer *t, struct k3_err *e)
{
	if (t->len && put(t, t->piece, t->len, e))
		return -1;
	t->len = 0;
	return 0;
}

int transfer_take(void *arg, const void *p, size_t n, struct k3_err *e)
{
	struct transfer *t = arg;
	const uint8_t *at = p;

	/* Archives give whole pieces. */
	if (!t->len && n >= TRANSFER_PIECE)
		return put(t, p, n, e);
	while (n) {
		size_t room = TRANSFER_PIECE - t->len;
		size_t part = n < room ? n : room;

		memcpy(t->piece + t->len, at, part);
		t->len += part;
		at += part;
		n -= part;
		if (t->len == TRANSFER_PIECE && flush(t, e))
			return -1;
	}
	return 0;
}

/* Archives first, or registries. */
static int fetch_from(struct transfer *t, bool archives, struct k3_err *e)
{
	const struct blob *b = t->blob;
	const struct pl_request *last = NULL;

	for (size_t i = 0; i < b->nusers; i++) {
		const struct pl_request *q = b->users[i]->req;

		if (!q->from == archives || (last && source_same(last, q)))
			continue;
		last = q;
		uint64_t have = imp_blob_have(t->file) + t->len;

		if (!source_blob(&t->link, q, b->desc, have, imp_blob_hash(t->file), transfer_take,
				 t, e))
			return flush(t, e);
		if (!source_worth_another(e))
			break;
	}
	return -1;
}

/* Another image's archive or repository may have what this one's refuses. */
static int fetch_from_users(struct transfer *t, struct k3_err *e)
{
	*e = (struct k3_err){ 0 };
	if (!fetch_from(t, true, e))
		return 0;
	if (e->code && !source_worth_another(e))
		return -1;
	/* Where no registry is asked, the archive's answer stands. */
	return fetch_from(t, false, e);
}

static int begin(struct transfer *t, struct k3_err *e)
{
	struct run *r = t->run;

	if (imp_blob_begin(r->imp, t->blob->desc, &t->file, e))
		return -1;
	K3_WITH_MONITOR(r->mon);
	t->blob->have = imp_blob_have(t->file);
	t->blob->unsure = t->blob->have > 0;
	run_blob_event_locked(r, t->blob, PL_LAYER_DOWNLOADING, t->blob->have);
	k3_monitor_wake_all(r->mon);
	return 0;
}

/*
 * What an earlier run left was part of it, and a file that was not flushed before the power was
 * lost may hold anything.  True when all of it can come again, from its first byte.
 */
static bool begin_again(struct transfer *t, struct k3_err *e)
{
	struct run *r = t->run;
	K3_AUTO_FREE char *text = NULL;
	K3_WITH_MONITOR(r->mon);

	if (e->code != K3_DIGEST || !t->blob->unsure)
		return false;
	text = k3_xasprintf("%s; an earlier run left some of it: fetching all of the layer",
			    e->msg);
	run_event_locked(r, &(struct pl_event){ .kind = PL_EV_RETRY, .text = text, .err = e });
	t->len = 0;
	t->blob->have = 0;
	t->blob->unsure = false;
	return !imp_blob_restart(t->file, e);
}

/* Fetches what is missing, verifies and closes the file.  p: the parts that came, or NULL. */
static int complete(struct transfer *t, struct parts *p, struct k3_err *e)
{
	bool in_parts = p != NULL;
	struct k3_err later;

	if (!(p && parts_end(p, t, e)) &&
	    (!fetch_from_users(t, e) || (begin_again(t, e) && !fetch_from_users(t, e))))
		return imp_blob_done(t->file, e);
	/* Bytes that failed the check are worth nothing; all others save the next run time. */
	if (e->code == K3_DIGEST ? imp_blob_restart(t->file, &later) : flush(t, &later))
		k3_hint(e, "%s", later.msg);
	else if (e->code == K3_DIGEST && in_parts)
		k3_hint(e, "it came in parts; --chunk-size 0 fetches it in one piece");
	imp_blob_abandon(t->file);
	return -1;
}

static bool still_needed(const struct blob *b)
{
	for (size_t i = 0; i < b->nusers; i++)
		if (!b->users[i]->finished)
			return true;
	return false;
}

/* Inside the monitor. */
static struct blob *next_blob(struct run *r)
{
	while (r->next_blob < r->nblobs) {
		struct blob *b = r->blobs[r->next_blob++];

		if (b->state != JOB_WAITING)
			continue;
		if (still_needed(b)) {
			b->state = JOB_RUNNING;
			return b;
		}
		k3_fail(&b->err, K3_CANCELLED, "no image needs it any more");
		b->state = JOB_FAILED;
		k3_monitor_wake_all(r->mon);
	}
	return NULL;
}

static void finish(struct run *r, struct blob *b, int rc, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];

	K3_WITH_MONITOR(r->mon);
	if (rc) {
		oci_digest_format(&b->desc->digest, text);
		k3_wrap(e, "layer %s", text);
		b->err = *e;
		b->state = JOB_FAILED;
		for (size_t i = 0; i < b->nusers; i++)
			run_fail_image_locked(r, b->users[i], e);
	} else {
		b->have = b->desc->size;
		b->state = JOB_DONE;
		run_blob_event_locked(r, b, PL_LAYER_DOWNLOADED, b->have);
		for (size_t i = 0; i < b->nusers; i++)
			run_got_locked(r, b->users[i]);
	}
	k3_monitor_wake_all(r->mon);
}

/* A whole blob, or a chunk of one that others have begun. */
struct job {
	struct blob *blob;
	struct parts *parts;
	size_t chunk;
};

static bool in_parts(const struct run *r, const struct blob *b)
{
	uint64_t chunk;

	return run_parts(r, b, &chunk) > 1;
}

/*
 * Chunks first: the blob that was begun first is the one that a builder waits for.  Waits while
 * a blob may yet want help.  False when nothing is left to do.
 */
static bool next_job(struct run *r, bool may_help, struct job *j)
{
	K3_WITH_MONITOR(r->mon);
	while (!k3_cancelled(r->stop)) {
		j->blob = NULL;
		j->parts = may_help ? parts_join_locked(r, &j->chunk) : NULL;
		if (!j->parts)
			j->blob = next_blob(r);
		/* Counted before anybody else can find that nothing is left to do. */
		if (j->blob && may_help && in_parts(r, j->blob))
			r->probing++;
		if (j->parts || j->blob)
			return true;
		if (!may_help || !r->probing)
			return false;
		k3_monitor_wait_ms(r->mon, WAIT_MS);
	}
	return false;
}

static void help(struct transfer *t, struct parts *p, size_t chunk)
{
	struct k3_err err;

	t->blob = parts_blob(p);
	t->file = parts_file(p);
	if (parts_work(p, t, chunk))
		finish(t->run, t->blob, complete(t, p, &err), &err);
}

/* Nobody needs to wait for this blob: it has no parts to give away. */
static void not_in_parts(const struct transfer *t)
{
	struct run *r = t->run;
	K3_WITH_MONITOR(r->mon);

	if (!in_parts(r, t->blob))
		return;
	r->probing--;
	k3_monitor_wake_all(r->mon);
}

static void fetch(struct transfer *t)
{
	struct parts *p = NULL;
	struct k3_err err;
	int rc = begin(t, &err);
	uint64_t chunk;
	size_t first;

	if (!rc && run_parts(t->run, t->blob, &chunk) > 1 &&
	    imp_blob_have(t->file) < t->blob->desc->size) {
		p = parts_begin(t, chunk, &first);
		if (!parts_work(p, t, first))
			return;
	} else {
		not_in_parts(t);
	}
	finish(t->run, t->blob, rc ? rc : complete(t, p, &err), &err);
}

/* An archive is read without libcurl, on a machine that may have no network at all. */
static bool needs_registries(const struct run *r)
{
	for (size_t i = 0; i < r->nblobs; i++)
		if (!r->blobs[i]->stored && !run_is_local(r->blobs[i]))
			return true;
	return false;
}

void transfer_worker(struct run *r, size_t slot)
{
	K3_AUTO_FREE uint8_t *piece = k3_xcalloc(1, TRANSFER_PIECE);
	struct fetch_session *unused;
	struct k3_err err;
	struct job job;
	bool usable = needs_registries(r) && !run_session(r, slot, &unused, &err);

	while (next_job(r, usable, &job)) {
		struct transfer t = {
			.run = r, .blob = job.blob, .link = run_link(r, slot), .piece = piece
		};

		if (job.parts)
			help(&t, job.parts, job.chunk);
		else if (usable || run_is_local(job.blob))
			fetch(&t);
		else
			finish(r, job.blob, -1, &err);
	}
}
