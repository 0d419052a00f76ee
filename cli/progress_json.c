/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress_json.h"

#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/results.h"

#define EVENT_MAX (64u << 20) /* the first one has all names: some 100,000 */
/* A layer on its way, and the whole run, are told of no more often. */
#define LAYER_MS 1000u
#define RUN_MS 500u

struct event {
	struct k3_buf text;
	struct k3_jw w;
};

static void event_release(struct event *e)
{
	k3_buf_release(&e->text);
}

#define AUTO_EVENT __attribute__((cleanup(event_release)))

/* "2025-11-25T14:40:41.123Z" */
static void put_time(const struct json_stream *s, struct k3_jw *w, uint64_t now)
{
	uint64_t ms = s->wall_ms + now;
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm = { 0 };
	char text[40];

	gmtime_r(&seconds, &tm);
	size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);

	snprintf(text + n, sizeof(text) - n, ".%03uZ", (unsigned)(ms % 1000));
	k3_jw_str(w, "time", text);
}

static void begin(const struct json_stream *s, struct event *e, const char *type, uint64_t now)
{
	e->text = K3_BUF(EVENT_MAX);
	e->w = K3_JW(&e->text);
	e->w.one_line = true;
	k3_jw_obj(&e->w, NULL);
	k3_jw_u64(&e->w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&e->w, "type", type);
	put_time(s, &e->w, now);
}

/* One event is one write: whoever else writes to stderr does not come in between. */
static void end(struct json_stream *s, struct event *e)
{
	struct k3_err full;

	k3_jw_close_obj(&e->w);
	if (s->lost || k3_jw_end(&e->w, &full))
		return;
	s->lost = !terminal_write(s->out, (const char *)e->text.p, e->text.len);
}

void json_start(struct json_stream *s, const struct progress_state *st, uint64_t now)
{
	AUTO_EVENT struct event e;

	begin(s, &e, "start", now);
	k3_jw_str(&e.w, "command", s->command);
	k3_jw_arr(&e.w, "images");
	for (size_t i = 0; i < st->n; i++)
		k3_jw_str(&e.w, NULL, s->names[i]);
	k3_jw_close_arr(&e.w);
	end(s, &e);
}

void json_message(struct json_stream *s, const char *type, const char *image, const char *text,
		  uint64_t now)
{
	AUTO_EVENT struct event e;

	begin(s, &e, type, now);
	if (image)
		k3_jw_str(&e.w, "image", image);
	k3_jw_str(&e.w, "message", text);
	end(s, &e);
}

void json_error(struct json_stream *s, const char *image, const struct k3_err *why, uint64_t now)
{
	AUTO_EVENT struct event e;

	begin(s, &e, "error", now);
	if (image)
		k3_jw_str(&e.w, "image", image);
	results_json_error(&e.w, why);
	end(s, &e);
}

static void put_digest(struct k3_jw *w, const struct oci_digest *d)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(d, text);
	k3_jw_str(w, "digest", text);
}

static void resolved(struct json_stream *s, const struct pl_event *ev, uint64_t now)
{
	AUTO_EVENT struct event e;

	begin(s, &e, "resolved", now);
	k3_jw_str(&e.w, "image", s->names[ev->image]);
	put_digest(&e.w, &ev->digest);
	k3_jw_u64(&e.w, "layers", ev->total);
	k3_jw_u64(&e.w, "bytesTotal", ev->done);
	end(s, &e);
}

static void image(struct json_stream *s, const struct pl_event *ev, uint64_t now)
{
	AUTO_EVENT struct event e;

	begin(s, &e, "image", now);
	k3_jw_str(&e.w, "image", s->names[ev->image]);
	k3_jw_str(&e.w, "status", ev->kind == PL_EV_FAILED ? "failed" : "ready");
	if (ev->kind == PL_EV_FAILED)
		results_json_error(&e.w, ev->err);
	end(s, &e);
}

static const char *layer_phase(const struct layer_progress *l)
{
	static const char *const names[] = {
		[PL_LAYER_PRESENT] = "present",      [PL_LAYER_WAITING] = "waiting",
		[PL_LAYER_DOWNLOADING] = "fetching", [PL_LAYER_DOWNLOADED] = "fetched",
		[PL_LAYER_UNPACKING] = "unpacking",  [PL_LAYER_DONE] = "done",
	};

	return layer_was_there(l) ? "present" : names[l->phase];
}

static void layer(struct json_stream *s, const struct progress_state *st, const struct pl_event *ev,
		  uint64_t now)
{
	const struct layer_progress *l = &st->images[ev->image].layers[ev->layer];
	const char *source = !(l->needs & PL_NEEDS_BYTES) ? "store"
			     : l->local                   ? "local"
							  : "registry";
	AUTO_EVENT struct event e;

	begin(s, &e, "layer", now);
	k3_jw_str(&e.w, "image", s->names[ev->image]);
	k3_jw_u64(&e.w, "layer", ev->layer);
	put_digest(&e.w, &l->digest);
	k3_jw_str(&e.w, "phase", layer_phase(l));
	k3_jw_str(&e.w, "source", source);
	k3_jw_bool(&e.w, "shared", l->shared);
	k3_jw_u64(&e.w, "fetchedBytes", l->fetched);
	k3_jw_u64(&e.w, "unpackedBytes", l->unpacked);
	k3_jw_u64(&e.w, "bytesTotal", l->total);
	end(s, &e);
}

static void put_run(struct k3_jw *w, const struct progress_state *st)
{
	k3_jw_u64(w, "imagesDone", st->whole);
	k3_jw_u64(w, "imagesFailed", st->failed);
	k3_jw_u64(w, "imagesTotal", st->n);
	k3_jw_u64(w, "fetchedBytes", st->fetch.done);
	k3_jw_u64(w, "fetchBytesTotal", st->fetch.total);
	k3_jw_u64(w, "unpackedBytes", st->unpack.done);
	k3_jw_u64(w, "unpackBytesTotal", st->unpack.total);
	k3_jw_u64(w, "percent", st->permille / 10);
}

static void run(struct json_stream *s, struct progress_state *st, uint64_t now)
{
	AUTO_EVENT struct event e;

	progress_state_look(st, now);
	begin(s, &e, "progress", now);
	k3_jw_str(&e.w, "phase",
		  st->committing ? "writing"
		  : st->planned  ? "working"
				 : "resolving");
	put_run(&e.w, st);
	if (st->fetch.begin_ms && st->fetch.left)
		k3_jw_u64(&e.w, "bytesPerSecond", (uint64_t)st->fetch.rate);
	if (st->has_left && !st->committing)
		k3_jw_u64(&e.w, "secondsLeft", (uint64_t)(st->left_ms / 1000 + 0.5));
	if (st->write_total) {
		k3_jw_u64(&e.w, "writtenBytes", st->written);
		k3_jw_u64(&e.w, "writeBytesTotal", st->write_total);
	}
	end(s, &e);
	s->told_ms = now;
}

void json_event(struct json_stream *s, struct progress_state *st, const struct pl_event *ev,
		enum pl_phase before, uint64_t now)
{
	struct layer_progress *l = NULL;

	if (ev->kind == PL_EV_LAYER && ev->layer < st->images[ev->image].nlayers)
		l = &st->images[ev->image].layers[ev->layer];
	/* What a layer comes to is told in any case. */
	if (l && (l->phase != before || !l->told_ms || now - l->told_ms >= LAYER_MS)) {
		l->told_ms = now;
		layer(s, st, ev, now);
	}
	switch (ev->kind) {
	case PL_EV_RESOLVED:
		resolved(s, ev, now);
		break;
	case PL_EV_WHOLE:
	case PL_EV_FAILED:
		image(s, ev, now);
		break;
	case PL_EV_RETRY:
		json_message(s, "retry", NULL, ev->text, now);
		break;
	case PL_EV_NOTICE:
		json_message(s, "warning", NULL, ev->text, now);
		break;
	case PL_EV_LOSS:
		json_message(s, "warning", s->names[ev->image], ev->text, now);
		break;
	case PL_EV_WAITING:
		json_message(s, "waiting", NULL,
			     "waiting for another k3simg that works on this root", now);
		break;
	case PL_EV_LAYER:
	case PL_EV_PLANNED:
	case PL_EV_COMMIT:
		break;
	}
	bool turn = ev->kind == PL_EV_PLANNED || (ev->kind == PL_EV_COMMIT && !ev->done);

	if (turn || now - s->told_ms >= RUN_MS)
		run(s, st, now);
}

void json_summary(struct json_stream *s, struct progress_state *st, int status, uint64_t now)
{
	AUTO_EVENT struct event e;

	/* What came of it, whatever was still open. */
	progress_state_look(st, now);
	begin(s, &e, "summary", now);
	k3_jw_str(&e.w, "status",
		  status == 0                              ? "ok"
		  : status == CLI_PARTIAL_EXIT             ? "partial"
		  : status == k3_exit_status(K3_CANCELLED) ? "interrupted"
							   : "failed");
	k3_jw_u64(&e.w, "exitStatus", (uint64_t)status);
	put_run(&e.w, st);
	k3_jw_u64(&e.w, "milliseconds", now - st->start_ms);
	end(s, &e);
}
