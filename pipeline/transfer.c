/* SPDX-License-Identifier: Apache-2.0 */
/* Blob -> staging file. */
#include <stdlib.h>
#include <string.h>

#include "pipeline/run.h"

/*
 * libcurl hands out at most 16 KiB at a time; written and announced in larger pieces, a blob
 * costs a sixteenth of the system calls and wake-ups.
 */
#define PIECE (256u << 10)

struct transfer {
	struct run *run;
	struct blob *blob;
	struct imp_blob *file;
	uint8_t *piece;
	size_t len;
};

static int flush(struct transfer *t, struct k3_err *e)
{
	if (!t->len)
		return 0;
	if (imp_blob_write(t->file, t->piece, t->len, e))
		return -1;
	K3_WITH_MONITOR(t->run->mon);
	t->blob->have += t->len;
	t->blob->users[0]->res->fetched += t->len;
	t->len = 0;
	k3_monitor_wake_all(t->run->mon);
	run_blob_event_locked(t->run, t->blob, PL_LAYER_DOWNLOADING, t->blob->have);
	return 0;
}

static int take(void *arg, const void *p, size_t n, struct k3_err *e)
{
	struct transfer *t = arg;
	const uint8_t *at = p;

	while (n) {
		size_t room = PIECE - t->len;
		size_t part = n < room ? n : room;

		memcpy(t->piece + t->len, at, part);
		t->len += part;
		at += part;
		n -= part;
		if (t->len == PIECE && flush(t, e))
			return -1;
	}
	return 0;
}

/* Another image's repository may have what this one's refuses. */
static bool worth_another_source(const struct k3_err *e)
{
	return e->code == K3_NOTFOUND || e->code == K3_AUTH || e->code == K3_NET ||
	       e->code == K3_PROTO;
}

static bool same_source(const struct oci_ref *a, const struct oci_ref *b)
{
	return !strcmp(a->host, b->host) && !strcmp(a->repo, b->repo);
}

static int fetch_from_users(struct transfer *t, struct fetch_session *s, struct k3_err *e)
{
	struct blob *b = t->blob;
	const struct oci_ref *last = NULL;

	for (size_t i = 0; i < b->nusers; i++) {
		const struct oci_ref *ref = &b->users[i]->req->ref;

		if (last && same_source(last, ref))
			continue;
		last = ref;
		uint64_t have = imp_blob_have(t->file) + t->len;

		if (!fetch_blob(s, ref, b->desc, have, imp_blob_hash(t->file), take, t, e))
			return flush(t, e);
		if (!worth_another_source(e))
			break;
	}
	return -1;
}

static int transfer_blob(struct run *r, struct blob *b, size_t slot, uint8_t *piece,
			 struct k3_err *e)
{
	struct transfer t = { .run = r, .blob = b, .piece = piece };
	struct fetch_session *s;

	if (run_session(r, slot, &s, e) || imp_blob_begin(r->imp, b->desc, &t.file, e))
		return -1;
	k3_monitor_enter(r->mon);
	b->have = imp_blob_have(t.file);
	run_blob_event_locked(r, b, PL_LAYER_DOWNLOADING, b->have);
	k3_monitor_wake_all(r->mon);
	k3_monitor_leave(r->mon);
	if (!fetch_from_users(&t, s, e))
		return imp_blob_done(t.file, e);

	struct k3_err later;

	/* Bytes that failed the check are worth nothing; all others save the next run time. */
	if (e->code == K3_DIGEST ? imp_blob_restart(t.file, &later) : flush(&t, &later))
		k3_hint(e, "%s", later.msg);
	imp_blob_abandon(t.file);
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
			run_check_whole_locked(r, b->users[i]);
	}
	k3_monitor_wake_all(r->mon);
}

void transfer_worker(struct run *r, size_t slot)
{
	K3_AUTO_FREE uint8_t *piece = k3_xcalloc(1, PIECE);

	while (!k3_cancelled(r->stop)) {
		struct k3_err err;

		k3_monitor_enter(r->mon);
		struct blob *b = next_blob(r);

		k3_monitor_leave(r->mon);
		if (!b)
			return;
		finish(r, b, transfer_blob(r, b, slot, piece, &err), &err);
	}
}
