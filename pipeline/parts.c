/* SPDX-License-Identifier: Apache-2.0 */
/* Blob -> staging file, over several connections. */
#include <stdlib.h>
#include <string.h>

#include "pipeline/transfer.h"

/* Pieces hashed in one go by a worker whose connection waits meanwhile. */
#define FOLLOW_PIECES 8

struct parts {
	struct run *run;
	struct blob *blob;
	struct imp_blob *file;
	uint64_t chunk;
	size_t n;
	/* below: under the monitor */
	struct parts *next; /* blobs in parts, in order of their begin */
	size_t workers;
	bool open;      /* the registry has answered a range */
	bool closed;    /* no further chunks: something went wrong */
	bool failed;    /* for good, with err */
	bool hashing;   /* somebody goes on with the hash */
	uint64_t *done; /* bytes there of each chunk; NULL until open */
	bool *taken;
	size_t next_chunk;        /* all before it are taken */
	size_t front;             /* all before it are complete */
	uint64_t written, hashed; /* bytes, anywhere and from the start */
	char tag[FETCH_TAG_MAX];
	struct k3_err err;
};

/* One chunk on its way. */
struct part_job {
	struct parts *p;
	struct transfer *t;
	struct fetch_part range;
	size_t k;
	bool begun;
};

static uint64_t chunk_len(const struct parts *p, size_t k)
{
	uint64_t left = p->blob->desc->size - k * p->chunk;

	return left < p->chunk ? left : p->chunk;
}

struct blob *parts_blob(const struct parts *p)
{
	return p->blob;
}

struct imp_blob *parts_file(const struct parts *p)
{
	return p->file;
}

struct parts *parts_begin(struct transfer *t, uint64_t chunk, size_t *k)
{
	struct parts *p = k3_xcalloc(1, sizeof(*p)), **last;
	struct run *r = t->run;

	p->run = r;
	p->blob = t->blob;
	p->file = t->file;
	p->chunk = chunk;
	p->n = (size_t)((p->blob->desc->size - 1) / chunk + 1);
	p->taken = k3_xcalloc(p->n, sizeof(*p->taken));
	p->hashed = p->written = imp_blob_have(p->file);
	*k = (size_t)(p->hashed / chunk);
	p->front = p->next_chunk = *k;
	p->taken[*k] = true;
	p->workers = 1;
	K3_WITH_MONITOR(r->mon);
	for (last = &r->parts; *last; last = &(*last)->next)
		;
	*last = p;
	return p;
}

/* The lowest chunk that nobody has begun.  Inside the monitor. */
static bool take_chunk(struct parts *p, size_t *k)
{
	if (!p->open || p->closed)
		return false;
	while (p->next_chunk < p->n &&
	       (p->taken[p->next_chunk] || p->done[p->next_chunk] == chunk_len(p, p->next_chunk)))
		p->next_chunk++;
	if (p->next_chunk == p->n)
		return false;
	*k = p->next_chunk;
	p->taken[*k] = true;
	return true;
}

struct parts *parts_join_locked(struct run *r, size_t *k)
{
	for (struct parts *p = r->parts; p; p = p->next) {
		if (!take_chunk(p, k))
			continue;
		p->workers++;
		return p;
	}
	return NULL;
}

/* How far everything is there.  Inside the monitor. */
static uint64_t front_bytes(struct parts *p)
{
	while (p->front < p->n && p->done[p->front] == chunk_len(p, p->front))
		p->front++;
	return p->front < p->n ? p->front * p->chunk + p->done[p->front] : p->blob->desc->size;
}

/*
 * Goes on with the hash unless somebody else does, and lets the builder see what was hashed.
 * Reads back what other connections wrote into the page cache, through this worker's piece.
 */
static int follow(struct parts *p, struct transfer *t, unsigned pieces, struct k3_err *e)
{
	struct run *r = p->run;
	uint64_t to;
	int rc = 0;

	K3_WITH_MONITOR(r->mon);
	while (!rc && pieces-- && !p->hashing && p->hashed < front_bytes(p)) {
		to = front_bytes(p);
		if (to - p->hashed > TRANSFER_PIECE)
			to = p->hashed + TRANSFER_PIECE;
		p->hashing = true;
		k3_monitor_leave(r->mon);
		rc = imp_blob_follow(p->file, to, t->piece, TRANSFER_PIECE, e);
		k3_monitor_enter(r->mon);
		p->hashing = false;
		if (!rc)
			p->hashed = p->blob->have = to;
		k3_monitor_wake_all(r->mon);
	}
	run_blob_event_locked(r, p->blob, PL_LAYER_DOWNLOADING, p->written);
	return rc;
}

static int flush(struct part_job *j, struct k3_err *e)
{
	struct transfer *t = j->t;
	struct parts *p = j->p;

	if (!t->len)
		return 0;
	if (imp_blob_part_write(p->file, j->k, t->piece, t->len, e)) {
		t->len = 0;
		return -1;
	}
	k3_monitor_enter(p->run->mon);
	p->done[j->k] += t->len;
	p->written += t->len;
	p->blob->users[0]->res->fetched += t->len;
	t->len = 0;
	k3_monitor_leave(p->run->mon);
	return follow(p, t, FOLLOW_PIECES, e);
}

/* The registry answers ranges: whoever has nothing to do may help. */
static int open_parts(struct part_job *j, struct k3_err *e)
{
	struct parts *p = j->p;
	struct run *r = p->run;

	if (imp_blob_split(p->file, p->chunk, e))
		return -1;
	K3_WITH_MONITOR(r->mon);
	p->done = k3_xcalloc(p->n, sizeof(*p->done));
	p->written = 0;
	for (size_t k = 0; k < p->n; k++)
		p->written += p->done[k] = imp_blob_part_have(p->file, k);
	p->blob->unsure = p->written > 0;
	memcpy(p->tag, j->range.tag, sizeof(p->tag));
	/* From here on a whole blob would come too late. */
	j->range.whole_too = false;
	p->open = true;
	r->probing--;
	k3_monitor_wake_all(r->mon);
	return 0;
}

static int begin_chunk(struct part_job *j, struct k3_err *e)
{
	j->begun = true;
	return j->range.whole_too && !j->range.whole ? open_parts(j, e) : 0;
}

static int take(void *arg, const void *p, size_t n, struct k3_err *e)
{
	struct part_job *j = arg;
	struct transfer *t = j->t;
	const uint8_t *at = p;

	if (!j->begun && begin_chunk(j, e))
		return -1;
	if (j->range.whole) {
		k3_hash_add(imp_blob_hash(t->file), p, n);
		return transfer_take(t, p, n, e);
	}
	while (n) {
		size_t room = TRANSFER_PIECE - t->len;
		size_t part = n < room ? n : room;

		memcpy(t->piece + t->len, at, part);
		t->len += part;
		at += part;
		n -= part;
		if (t->len == TRANSFER_PIECE && flush(j, e))
			return -1;
	}
	return 0;
}

/* What one more try in one piece may mend: it follows its own rules, and asks other sources. */
static bool worth_one_piece(const struct part_job *j, const struct k3_err *e)
{
	bool source = e->code == K3_NOTFOUND || e->code == K3_AUTH || e->code == K3_NET ||
		      e->code == K3_PROTO;

	return j->range.refused || (source && j->p->blob->nusers > 1);
}

static void chunk_failed(struct part_job *j, const struct k3_err *e)
{
	struct parts *p = j->p;
	struct run *r = p->run;
	bool again = !k3_cancelled(r->stop) && worth_one_piece(j, e);
	K3_AUTO_FREE char *text =
		again ? k3_xasprintf("%s; fetching the layer in one piece", e->msg) : NULL;
	K3_WITH_MONITOR(r->mon);

	if (p->closed)
		return;
	p->closed = true;
	p->failed = !again;
	p->err = *e;
	if (text)
		run_event_locked(r,
				 &(struct pl_event){ .kind = PL_EV_RETRY, .text = text, .err = e });
}

static int fetch_chunk(struct parts *p, struct transfer *t, size_t k)
{
	struct part_job j = { .p = p, .t = t, .k = k };
	struct run *r = p->run;
	struct fetch_session *session;
	struct k3_err err, later;

	j.range.first = k * p->chunk;
	j.range.end = j.range.first + chunk_len(p, k);
	k3_monitor_enter(r->mon);
	j.range.whole_too = !p->open;
	j.range.at = p->open ? j.range.first + p->done[k] : p->hashed;
	memcpy(j.range.tag, p->tag, sizeof(p->tag));
	k3_monitor_leave(r->mon);
	int rc = source_session(&t->link, &session, &err) ||
				 fetch_blob_part(session, &p->blob->users[0]->req->ref,
						 p->blob->desc, &j.range, take, &j, &err)
			 ? -1
			 : 0;

	/* What came is kept, whatever became of the rest; of a whole one it stays in t. */
	if (!j.range.whole && flush(&j, rc ? &later : &err))
		rc = -1;
	if (rc)
		chunk_failed(&j, &err);
	return rc || j.range.whole ? -1 : 0;
}

bool parts_work(struct parts *p, struct transfer *t, size_t k)
{
	struct run *r = p->run;
	bool more = true, last;

	while (more) {
		more = !fetch_chunk(p, t, k);
		K3_WITH_MONITOR(r->mon);
		more = more && take_chunk(p, &k);
	}
	K3_WITH_MONITOR(r->mon);
	if (!p->open) {
		/* It never was: nobody waits for it any more. */
		p->closed = true;
		r->probing--;
	}
	last = !--p->workers;
	if (last) {
		struct parts **at = &r->parts;

		while (*at != p)
			at = &(*at)->next;
		*at = p->next;
	}
	k3_monitor_wake_all(r->mon);
	return last;
}

int parts_end(struct parts *p, struct transfer *t, struct k3_err *e)
{
	int rc = 0;

	/* Nobody else works on it: no lock is needed to look. */
	if (p->open)
		rc = follow(p, t, UINT32_MAX, e);
	if (!rc && p->failed) {
		*e = p->err;
		rc = -1;
	}
	free(p->done);
	free(p->taken);
	free(p);
	return rc;
}
