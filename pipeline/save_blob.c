/* SPDX-License-Identifier: Apache-2.0 */
/* Blob -> layout. */
#include <stdlib.h>
#include <string.h>

#include "pipeline/save.h"
#include "pipeline/transfer.h"

struct saving {
	struct save *save;
	size_t slot;
	struct save_blob *blob;
	struct layout_blob *file;
	uint8_t *piece;   /* of the worker: TRANSFER_PIECE bytes */
	size_t len;       /* of what is in it */
	uint64_t sources; /* endpoints of registries that sent some of it */
};

static int flush(struct saving *t, struct k3_err *e)
{
	if (!t->len)
		return 0;
	if (layout_blob_write(t->file, t->piece, t->len, e))
		return -1;
	K3_WITH_MONITOR(t->save->mon);
	t->blob->users[0]->res->fetched += t->len;
	t->len = 0;
	save_blob_event_locked(t->save, t->blob, PL_LAYER_DOWNLOADING, layout_blob_have(t->file));
	return 0;
}

static int take(void *arg, const void *p, size_t n, struct k3_err *e)
{
	struct saving *t = arg;
	const uint8_t *at = p;

	while (n) {
		size_t room = TRANSFER_PIECE - t->len, part = n < room ? n : room;

		memcpy(t->piece + t->len, at, part);
		t->len += part;
		at += part;
		n -= part;
		if (t->len == TRANSFER_PIECE && flush(t, e))
			return -1;
	}
	return 0;
}

/* Archives first: they cost no network. */
static int fetch_from(struct saving *t, bool archives, struct k3_err *e)
{
	const struct source_link link = save_link(t->save, t->slot);
	const struct save_blob *b = t->blob;
	const struct pl_request *last = NULL;

	for (size_t i = 0; i < b->nusers; i++) {
		const struct pl_request *q = b->users[i]->req;

		if (!q->from == archives || (last && source_same(last, q)))
			continue;
		last = q;
		if (!source_blob(&link, q, b->desc, layout_blob_have(t->file) + t->len,
				 layout_blob_hash(t->file), take, t, &t->sources, e))
			return flush(t, e);
		if (!source_worth_another(e))
			break;
	}
	return -1;
}

static int fetch_from_users(struct saving *t, struct k3_err *e)
{
	*e = (struct k3_err){ 0 };
	if (!fetch_from(t, true, e))
		return 0;
	if (e->code && !source_worth_another(e))
		return -1;
	/* Where no registry is asked, the archive's answer stands. */
	return fetch_from(t, false, e);
}

/* A mirror sent wrong bytes, and others are left to be asked. */
static bool begin_elsewhere(struct saving *t, struct k3_err *e)
{
	const struct source_link link = save_link(t->save, t->slot);
	struct k3_err later;

	if (e->code != K3_DIGEST || !source_blame(&link, t->sources, e))
		return false;
	t->len = 0;
	t->sources = 0;
	return !layout_blob_restart(t->file, &later);
}

static int fetch_from_anybody(struct saving *t, struct k3_err *e)
{
	int rc = fetch_from_users(t, e);

	while (rc && begin_elsewhere(t, e))
		rc = fetch_from_users(t, e);
	return rc;
}

/* What an earlier run left may hold anything, if the power was lost: then all of it comes again. */
static bool begin_again(struct saving *t, bool unsure, struct k3_err *e)
{
	K3_AUTO_FREE char *text = NULL;

	if (e->code != K3_DIGEST || !unsure || layout_blob_restart(t->file, e))
		return false;
	t->len = 0;
	text = k3_xasprintf("%s; an earlier run left some of it: fetching all of the layer",
			    e->msg);
	K3_WITH_MONITOR(t->save->mon);
	save_event_locked(t->save,
			  &(struct pl_event){ .kind = PL_EV_RETRY, .text = text, .err = e });
	return true;
}

static int complete(struct saving *t, struct k3_err *e)
{
	bool unsure = layout_blob_have(t->file) > 0;
	struct k3_err later;

	if (!fetch_from_anybody(t, e) || (begin_again(t, unsure, e) && !fetch_from_anybody(t, e)))
		return layout_blob_done(t->file, e);
	/* Bytes that failed the check are worth nothing; all others save the next run time. */
	if (e->code == K3_DIGEST ? layout_blob_restart(t->file, &later) : flush(t, &later))
		k3_hint(e, "%s", later.msg);
	layout_blob_abandon(t->file);
	return -1;
}

static int save_one(struct saving *t, bool *present, struct k3_err *e)
{
	struct save *s = t->save;

	if (layout_has(s->layout, t->blob->desc, s->stop, present, e))
		return -1;
	if (*present)
		return 0;
	if (layout_blob_begin(s->layout, t->blob->desc, &t->file, e))
		return -1;
	k3_monitor_enter(s->mon);
	save_blob_event_locked(s, t->blob, PL_LAYER_DOWNLOADING, layout_blob_have(t->file));
	k3_monitor_leave(s->mon);
	return complete(t, e);
}

static void finish(struct saving *t, int rc, bool present, struct k3_err *e)
{
	struct save *s = t->save;
	struct save_blob *b = t->blob;
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(&b->desc->digest, text);
	K3_WITH_MONITOR(s->mon);
	if (rc && e->code == K3_NOTFOUND && oci_media_is_foreign(b->desc->media_text)) {
		K3_AUTO_FREE char *why = k3_xasprintf(
			"layer %s may not be distributed and is not in the registry: left out",
			text);

		b->left_out = true;
		save_event_locked(s, &(struct pl_event){ .kind = PL_EV_LOSS,
							 .image = b->users[0]->index,
							 .text = why });
		rc = 0;
	}
	if (rc) {
		k3_wrap(e, "layer %s", text);
		for (size_t i = 0; i < b->nusers; i++)
			save_fail_locked(s, b->users[i], e);
		return;
	}
	save_blob_event_locked(s, b, present ? PL_LAYER_DONE : PL_LAYER_DOWNLOADED, b->desc->size);
	for (size_t i = 0; i < b->nusers; i++) {
		b->users[i]->wrote = b->users[i]->wrote || !present;
		save_got_locked(s, b->users[i]);
	}
}

static struct save_blob *next_blob(struct save *s)
{
	K3_WITH_MONITOR(s->mon);
	while (s->next_blob < s->nblobs && !k3_cancelled(s->stop)) {
		struct save_blob *b = s->blobs[s->next_blob++];

		for (size_t i = 0; i < b->nusers; i++)
			if (!b->users[i]->finished)
				return b;
	}
	return NULL;
}

void save_blobs(struct save *s, size_t slot)
{
	K3_AUTO_FREE uint8_t *piece = k3_xcalloc(1, TRANSFER_PIECE);
	struct save_blob *b;

	while ((b = next_blob(s))) {
		struct saving t = { .save = s, .blob = b, .piece = piece, .slot = slot };
		bool present = false;
		struct k3_err err;
		int rc = save_one(&t, &present, &err);

		finish(&t, rc, present, &err);
	}
}
