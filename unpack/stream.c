/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack/stream.h"

#include <stdlib.h>

#include "base/mem.h"
#include "unpack/decode.h"

/* 1 MiB in all: large enough for one write per typical file, small enough for the L2 cache. */
#define CHUNK (256u << 10)
#define CHUNKS 4u
#define PROGRESS_STEP (1u << 20)

/*
 * Two threads share the work: one decodes, the other (the caller's) applies.  Hashing belongs to
 * neither: whoever would have to wait for the other hashes a chunk instead, so that both
 * cores are busy whether the layer is one large file or many small ones.
 */
struct stream {
	struct decode dec;
	struct k3_hash *hash;
	enum k3_hash_alg alg;
	const struct unpack_opts *opts;
	uint64_t decoded; /* the decoding side's count */
	uint64_t read, reported;
	bool read_end;
	bool alone; /* no thread: told so, or none to be had */

	struct k3_thread *thread;
	struct k3_monitor *mon;
	/* Under mon once the thread runs.  Chunk i is ring[i % CHUNKS]. */
	uint8_t *ring[CHUNKS];
	size_t len[CHUNKS];
	/* Chunks filled, hashed and given back, counted from the start. */
	uint64_t made, hashed, freed;
	bool hashing; /* one of the two is at chunk number `hashed` */
	bool end, failed, stop;
	struct k3_err err;
};

int stream_open(struct stream **out, enum oci_media media, struct unpack_src src,
		const struct unpack_opts *o, enum k3_hash_alg alg, struct k3_err *e)
{
	__attribute__((cleanup(stream_freep))) struct stream *s = k3_xcalloc(1, sizeof(*s));

	s->opts = o;
	s->alg = alg;
	s->alone = o->one_thread;
	s->hash = k3_hash_new(alg);
	if (decode_open(&s->dec, media, src, &o->limits, o->no_isal ? &decode_zlib : NULL, e))
		return -1;
	*out = K3_STEAL(s);
	return 0;
}

void stream_skip_hash(struct stream *s)
{
	k3_hash_free(s->hash);
	s->hash = NULL;
}

static void add_hash(struct stream *s, const uint8_t *p, size_t n)
{
	if (s->hash)
		k3_hash_add(s->hash, p, n);
}

/* Fills one chunk; *n = 0 at the end of the stream. */
static int produce(struct stream *s, uint8_t **p, size_t *n, struct k3_err *e)
{
	if (!*p)
		*p = k3_xcalloc(1, CHUNK);
	if (k3_cancel_check(s->opts->cancel, e) || decode_read(&s->dec, *p, CHUNK, n, e))
		return -1;
	s->decoded += *n;
	if (s->decoded > s->opts->limits.bytes)
		return k3_fail(e, K3_LIMIT, "the layer unpacks to more than %llu bytes",
			       (unsigned long long)s->opts->limits.bytes);
	if (s->decoded > s->opts->limits.ratio_from &&
	    s->decoded / s->opts->limits.ratio > s->dec.taken)
		return k3_fail(e, K3_LIMIT, "the layer unpacks to more than %u times its size",
			       s->opts->limits.ratio);
	return 0;
}

/* Inside the monitor, which is left meanwhile: hashes one chunk or waits for a change. */
static void hash_or_wait(struct stream *s)
{
	if (s->hashing || s->hashed == s->made) {
		k3_monitor_wait(s->mon);
		return;
	}
	unsigned slot = s->hashed % CHUNKS;

	s->hashing = true;
	k3_monitor_leave(s->mon);
	add_hash(s, s->ring[slot], s->len[slot]);
	k3_monitor_enter(s->mon);
	s->hashing = false;
	s->hashed++;
	k3_monitor_wake_all(s->mon);
}

static bool ring_is_full(const struct stream *s)
{
	return s->made - (s->hashed < s->freed ? s->hashed : s->freed) == CHUNKS;
}

/* False: the reader is gone. */
static bool wait_for_room(struct stream *s, unsigned *slot)
{
	K3_WITH_MONITOR(s->mon);
	while (!s->stop && ring_is_full(s))
		hash_or_wait(s);
	*slot = s->made % CHUNKS;
	return !s->stop;
}

static void decode_ahead(void *arg)
{
	struct stream *s = arg;
	bool go_on = true;
	unsigned slot;

	while (go_on && wait_for_room(s, &slot)) {
		struct k3_err err = { 0 };
		size_t n = 0;
		bool failed = produce(s, &s->ring[slot], &n, &err) != 0;

		K3_WITH_MONITOR(s->mon);
		if (failed) {
			s->failed = true;
			s->err = err;
		} else if (!n) {
			s->end = true;
		} else {
			s->len[slot] = n;
			s->made++;
		}
		go_on = !failed && n;
		k3_monitor_wake_all(s->mon);
	}
}

/* The chunk after the one given last, from the thread; *n = 0 at the end. */
static int take_ahead(struct stream *s, const uint8_t **p, size_t *n, struct k3_err *e)
{
	K3_WITH_MONITOR(s->mon);
	s->freed++;
	k3_monitor_wake_all(s->mon);
	while (s->made == s->freed && !s->end && !s->failed)
		hash_or_wait(s);
	if (s->made != s->freed) {
		*p = s->ring[s->freed % CHUNKS];
		*n = s->len[s->freed % CHUNKS];
		return 0;
	}
	if (s->failed) {
		*e = s->err;
		return -1;
	}
	while (s->hashed < s->made)
		hash_or_wait(s);
	*n = 0;
	return 0;
}

static int take(struct stream *s, const uint8_t **p, size_t *n, struct k3_err *e)
{
	/* The first chunk is often the whole layer: not worth a thread. */
	if (!s->thread && !s->alone && s->decoded) {
		struct k3_err ignored;

		s->mon = k3_monitor_new();
		s->made = s->hashed = 1;
		s->alone = k3_thread_start(decode_ahead, s, &s->thread, &ignored) != 0;
	}
	if (s->thread)
		return take_ahead(s, p, n, e);
	if (produce(s, &s->ring[0], n, e))
		return -1;
	add_hash(s, s->ring[0], *n);
	*p = s->ring[0];
	return 0;
}

int stream_next(void *arg, const uint8_t **p, size_t *n, struct k3_err *e)
{
	struct stream *s = arg;

	*n = 0;
	if (s->read_end)
		return 0;
	if (k3_cancel_check(s->opts->cancel, e) || take(s, p, n, e))
		return -1;
	s->read_end = *n == 0;
	s->read += *n;
	if (s->opts->on_progress &&
	    (s->read - s->reported >= PROGRESS_STEP || (s->read_end && s->read > s->reported))) {
		s->opts->on_progress(s->opts->arg, s->read);
		s->reported = s->read;
	}
	return 0;
}

int stream_finish(struct stream *s, struct oci_digest *got, uint64_t *bytes, struct k3_err *e)
{
	const uint8_t *p;
	size_t n;

	do {
		if (stream_next(s, &p, &n, e))
			return -1;
	} while (n);
	oci_digest_final(s->hash, s->alg, got);
	*bytes = s->read;
	return 0;
}

void stream_freep(struct stream **sp)
{
	struct stream *s = *sp;

	if (!s)
		return;
	if (s->thread) {
		k3_monitor_enter(s->mon);
		s->stop = true;
		k3_monitor_wake_all(s->mon);
		k3_monitor_leave(s->mon);
		k3_thread_join(s->thread);
	}
	if (s->mon)
		k3_monitor_free(s->mon);
	decode_release(&s->dec);
	k3_hash_free(s->hash);
	for (unsigned i = 0; i < CHUNKS; i++)
		free(s->ring[i]);
	free(s);
	*sp = NULL;
}
