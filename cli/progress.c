/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/progress_bars.h"
#include "cli/progress_json.h"
#include "cli/progress_lines.h"
#include "cli/progress_words.h"

#define REDRAW_MS 100u

struct progress {
	struct progress_opts o;
	char **safe_names; /* escaped, for terminals */
	/* below: under the monitor */
	struct k3_monitor *mon;
	struct progress_state st;
	struct bars bars;
	struct lines lines;
	struct json_stream json;
	struct k3_buf above;
	char *status;
	bool ended, paused;
	struct k3_thread *thread;
};

/* ---- the option ----------------------------------------------------------------------------- */

void progress_rows(const char **text, struct opt rows[PROGRESS_ROWS])
{
	rows[0] = (struct opt){
		"progress",
		0,
		OPT_CHOICE,
		"auto|bar|plain|json|none",
		"auto (default): bars on a terminal, else plain\n"
		"plain: a few lines\njson: events, a line each\n"
		"bar: needs a terminal",
		text,
	};
	rows[1] = (struct opt){ 0 };
}

static int choose_bar(bool moves, bool traced, enum progress_mode *out, struct k3_err *e)
{
	*out = traced ? PROGRESS_PLAIN : PROGRESS_BAR;
	if (moves)
		return 0;
	k3_fail(e, K3_USAGE, "--progress bar: standard error is no terminal that can show bars");
	return k3_hint(e, "--progress plain tells the same in lines");
}

int progress_choose(const char *text, bool quiet, bool traced, enum progress_mode *out,
		    struct k3_err *e)
{
	bool moves = terminal_stderr().moves;

	if (quiet && text && strcmp(text, "none") != 0)
		return k3_fail(e, K3_USAGE, "--quiet and --progress %s exclude each other", text);
	if (quiet || (text && !strcmp(text, "none"))) {
		*out = PROGRESS_NONE;
		return 0;
	}
	if (!text || !strcmp(text, "auto")) {
		*out = moves && !traced ? PROGRESS_BAR : PROGRESS_PLAIN;
		return 0;
	}
	if (!strcmp(text, "plain")) {
		*out = PROGRESS_PLAIN;
		return 0;
	}
	if (!strcmp(text, "bar"))
		return choose_bar(moves, traced, out, e);
	if (traced)
		return k3_fail(e, K3_USAGE,
			       "--debug-http and --progress json exclude each other: both write "
			       "to standard error");
	*out = PROGRESS_JSON;
	return 0;
}

/* ---- its life ------------------------------------------------------------------------------- */

static uint64_t now_of(const struct progress *p)
{
	return p->o.now_ms(p->o.arg);
}

static struct bars_view view_of(const struct progress *p)
{
	return (struct bars_view){ .state = &p->st,
				   .names = (const char *const *)p->safe_names,
				   .words = progress_words(p->o.work),
				   .status = p->status };
}

/* Inside the monitor. */
static void draw(struct progress *p, uint64_t now)
{
	const struct bars_view v = view_of(p);

	if (p->paused)
		return;
	progress_state_look(&p->st, now);
	bars_draw(&p->bars, &v, p->above.len ? (const char *)p->above.p : "", now);
	k3_buf_reset(&p->above);
}

/* Nothing comes before the first tenth of a second: short runs have only results. */
static void draw_often(void *arg)
{
	struct progress *p = arg;
	K3_WITH_MONITOR(p->mon);

	for (;;) {
		uint64_t from = now_of(p), spent;

		while (!p->ended && (spent = now_of(p) - from) < REDRAW_MS)
			k3_monitor_wait_ms(p->mon, REDRAW_MS - (unsigned)spent);
		if (p->ended)
			return;
		draw(p, now_of(p));
	}
}

static char *safe_text(const char *s)
{
	size_t size = 4 * strlen(s) + 1;
	char *out = k3_xcalloc(1, size);

	k3_escape(out, size, s);
	return out;
}

static const char *command_of(enum progress_work work)
{
	static const char *const names[] = {
		[PROGRESS_PRELOAD] = "preload",      [PROGRESS_FETCH] = "fetch",
		[PROGRESS_CREATE] = "bundle create", [PROGRESS_APPLY] = "bundle apply",
		[PROGRESS_UNPACK] = "unpack",        [PROGRESS_REPAIR] = "repair",
	};

	return names[work];
}

struct progress *progress_new(const struct progress_opts *o)
{
	struct progress *p = k3_xcalloc(1, sizeof(*p));
	struct k3_err ignored;
	uint64_t now;

	p->o = *o;
	now = now_of(p);
	p->mon = k3_monitor_new();
	p->above = K3_BUF(BARS_ABOVE_MAX);
	p->safe_names = k3_xcalloc(o->n, sizeof(*p->safe_names));
	for (size_t i = 0; i < o->n; i++)
		p->safe_names[i] = safe_text(o->names[i]);
	progress_state_init(&p->st, o->n, now);
	bars_init(&p->bars, &p->o.terminal);
	p->lines = (struct lines){ .names = (const char *const *)p->safe_names,
				   .words = progress_words(o->work),
				   .verbose = o->verbose,
				   .told_ms = now };
	p->json = (struct json_stream){ .out = &p->o.terminal,
					.command = command_of(o->work),
					.names = o->names,
					.wall_ms = o->wall_ms,
					.told_ms = now };
	if (o->mode == PROGRESS_JSON)
		json_start(&p->json, &p->st, now);
	/* Without it, bars are drawn when there is an event. */
	if (o->mode == PROGRESS_BAR && o->thread &&
	    k3_thread_start(draw_often, p, &p->thread, &ignored))
		p->thread = NULL;
	return p;
}

static uint64_t machine_now(void *arg)
{
	(void)arg;
	return k3_now_ms();
}

struct progress *progress_start(enum progress_mode mode, enum progress_work work, bool verbose,
				unsigned jobs, const char *const *names, size_t n)
{
	struct timespec wall = { 0 };
	struct progress_opts o = {
		.mode = mode,
		.work = work,
		.verbose = verbose,
		.thread = jobs != 1,
		.names = names,
		.n = n,
		.terminal = terminal_stderr(),
		.now_ms = machine_now,
	};

	clock_gettime(CLOCK_REALTIME, &wall);
	o.wall_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000 - k3_now_ms();
	return progress_new(&o);
}

/* `keep`: images that are done stay on the screen.  Inside the monitor, or after the end. */
static void take_away(struct progress *p, bool keep)
{
	const struct bars_view v = view_of(p);
	uint64_t now = now_of(p);

	if (p->o.mode != PROGRESS_BAR)
		return;
	progress_state_look(&p->st, now);
	bars_end(&p->bars, &v, p->above.len ? (const char *)p->above.p : "", keep, now);
	k3_buf_reset(&p->above);
}

void progress_pause(struct progress *p)
{
	K3_WITH_MONITOR(p->mon);

	take_away(p, false);
	p->paused = true;
}

void progress_end(struct progress *p)
{
	if (!p || p->ended)
		return;
	k3_monitor_enter(p->mon);
	p->ended = true;
	k3_monitor_wake_all(p->mon);
	k3_monitor_leave(p->mon);
	k3_thread_join(p->thread);
	/* Results take their place, where they are seen. */
	take_away(p, !p->o.terminal.results);
}

void progress_free(struct progress *p)
{
	if (!p)
		return;
	progress_end(p);
	for (size_t i = 0; i < p->o.n; i++)
		free(p->safe_names[i]);
	free(p->safe_names);
	free(p->status);
	progress_state_release(&p->st);
	bars_release(&p->bars);
	k3_buf_release(&p->above);
	k3_monitor_free(p->mon);
	free(p);
}

void progress_freep(struct progress **p)
{
	progress_free(*p);
	*p = NULL;
}

/* ---- what is told --------------------------------------------------------------------------- */

/* A line for people; it may have any characters.  Inside the monitor, or after the end. */
static void line(struct progress *p, const char *text)
{
	K3_AUTO_FREE char *safe = safe_text(text), *full = k3_xasprintf("%s\n", safe);
	size_t n = strlen(full);
	struct k3_err no_room;

	if (p->o.mode != PROGRESS_BAR || p->ended) {
		p->bars.lost |= !terminal_write(&p->o.terminal, full, n);
		return;
	}
	if (!k3_buf_add(&p->above, full, n, &no_room))
		return;
	draw(p, now_of(p));
	if (k3_buf_add(&p->above, full, n, &no_room))
		p->bars.lost = true;
}

static void line_event(struct progress *p, const struct pl_event *ev)
{
	K3_AUTO_FREE char *text = NULL;

	if (ev->kind == PL_EV_NOTICE)
		text = k3_xasprintf("warning: %s", ev->text);
	else if (ev->kind == PL_EV_LOSS && p->o.verbose)
		/* Without -v one line tells of all of them, when the image is there. */
		text = k3_xasprintf("%s: warning: %s", p->o.names[ev->image], ev->text);
	else if (ev->kind == PL_EV_RETRY && p->o.mode != PROGRESS_NONE)
		text = k3_xasprintf("%s", ev->text);
	if (text)
		line(p, text);
}

static void plain_event(struct progress *p, const struct pl_event *ev, enum pl_phase before,
			uint64_t now)
{
	K3_AUTO_FREE char *text = lines_event(&p->lines, &p->st, ev, before, now);

	if (text)
		line(p, text);
}

static enum pl_phase phase_before(const struct progress *p, const struct pl_event *ev)
{
	if (ev->kind != PL_EV_LAYER || ev->layer >= p->st.images[ev->image].nlayers)
		return PL_LAYER_PRESENT;
	return p->st.images[ev->image].layers[ev->layer].phase;
}

void progress_event(void *arg, const struct pl_event *ev)
{
	struct progress *p = arg;
	K3_WITH_MONITOR(p->mon);
	uint64_t now = now_of(p);
	enum pl_phase before = phase_before(p, ev);

	p->paused = false;
	progress_state_event(&p->st, ev, now);
	if (ev->kind == PL_EV_PLANNED)
		free(K3_STEAL(p->status));
	if (p->o.mode == PROGRESS_JSON) {
		json_event(&p->json, &p->st, ev, before, now);
		return;
	}
	line_event(p, ev);
	if (p->o.mode == PROGRESS_PLAIN)
		plain_event(p, ev, before, now);
	else if (p->o.mode == PROGRESS_BAR && !p->thread && now - p->bars.drawn_ms >= REDRAW_MS)
		draw(p, now);
}

void progress_status(void *arg, const char *text)
{
	struct progress *p = arg;
	K3_WITH_MONITOR(p->mon);
	uint64_t now = now_of(p);

	p->paused = false;
	free(p->status);
	p->status = safe_text(text);
	/* Of what was written before it, nothing is left to be told. */
	p->st.committing = false;
	switch (p->o.mode) {
	case PROGRESS_NONE:
		break;
	case PROGRESS_PLAIN:
		line(p, text);
		break;
	case PROGRESS_BAR:
		if (!p->thread)
			draw(p, now);
		break;
	case PROGRESS_JSON:
		json_message(&p->json, "status", NULL, text, now);
		break;
	}
}

int progress_error(struct progress *p, const char *image, const struct k3_err *e)
{
	if (p->o.mode == PROGRESS_JSON)
		json_error(&p->json, image, e, now_of(p));
	else if (image)
		cli_image_error(image, e);
	else
		cli_error(e);
	return k3_exit_status(e->code);
}

void progress_warning(struct progress *p, const char *image, const char *text)
{
	K3_WITH_MONITOR(p->mon);

	if (p->o.mode == PROGRESS_JSON) {
		json_message(&p->json, "warning", image, text, now_of(p));
		return;
	}
	K3_AUTO_FREE char *full = k3_xasprintf("warning: %s%s%s", image ? image : "",
					       image ? ": " : "", text);

	line(p, full);
}

void progress_result(struct progress *p, const char *text)
{
	if (p->o.mode == PROGRESS_JSON)
		json_message(&p->json, "result", NULL, text, now_of(p));
	else
		fprintf(stderr, "%s\n", text);
}

int progress_finish(struct progress *p, int status)
{
	progress_end(p);
	if (p->o.mode == PROGRESS_JSON)
		json_summary(&p->json, &p->st, status, now_of(p));
	return status;
}
