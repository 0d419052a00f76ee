/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"

#define REDRAW_MS 100
#define DEFAULT_COLUMNS 80
#define DEFAULT_ROWS 24
#define COLUMNS_MAX 160
#define BAR_MAX 30

struct layer_state {
	enum pl_phase phase;
	uint64_t done, total;
	char id[13]; /* first hex digits of the digest */
};

enum image_state { IMAGE_RESOLVING, IMAGE_WORKING, IMAGE_WHOLE, IMAGE_FAILED };

struct image_progress {
	enum image_state state;
	struct layer_state *layers;
	size_t nlayers;
};

struct progress {
	enum progress_mode mode;
	bool bars, verbose, committing, saves;
	const char *const *names;
	struct image_progress *images;
	size_t n;
	size_t drawn; /* lines on the screen that are ours */
	uint64_t last_draw_ms;
};

enum progress_mode progress_choose(bool quiet, bool plain)
{
	return quiet ? PROGRESS_NONE : plain ? PROGRESS_PLAIN : PROGRESS_AUTO;
}

struct progress *progress_new(enum progress_mode mode, bool verbose, const char *const *names,
			      size_t n)
{
	struct progress *p = k3_xcalloc(1, sizeof(*p));
	const char *term = getenv("TERM");

	p->mode = mode;
	p->verbose = verbose;
	p->names = names;
	p->n = n;
	p->images = k3_xcalloc(n, sizeof(*p->images));
	p->bars = mode == PROGRESS_AUTO && isatty(STDERR_FILENO) && term &&
		  strcmp(term, "dumb") != 0;
	return p;
}

void progress_saves(struct progress *p)
{
	p->saves = true;
}

void progress_free(struct progress *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		free(p->images[i].layers);
	free(p->images);
	free(p);
}

/* ---- bars ---- */

struct screen {
	size_t columns, rows, used;
	char *text;
	size_t len, cap;
};

static void screen_size(struct screen *s)
{
	struct winsize w = { 0 };

	s->columns = DEFAULT_COLUMNS;
	s->rows = DEFAULT_ROWS;
	if (!ioctl(STDERR_FILENO, TIOCGWINSZ, &w)) {
		s->columns = w.ws_col ? w.ws_col : DEFAULT_COLUMNS;
		s->rows = w.ws_row ? w.ws_row : DEFAULT_ROWS;
	}
	if (s->columns > COLUMNS_MAX)
		s->columns = COLUMNS_MAX;
}

static void add(struct screen *s, const char *text, size_t n)
{
	if (!n)
		return;
	if (!s->text || s->len + n > s->cap) {
		s->cap = 2 * (s->len + n);
		s->text = k3_xrealloc(s->text, s->cap, 1);
	}
	memcpy(s->text + s->len, text, n);
	s->len += n;
}

/* One line, cut to the width: a wrapped line would break the way back up. */
static void add_line(struct screen *s, const char *line)
{
	size_t n = strlen(line);

	add(s, line, n < s->columns ? n : s->columns - 1);
	add(s, "\x1b[K\n", 4);
	s->used++;
}

static void bar(char *out, size_t width, uint64_t done, uint64_t total)
{
	size_t filled = total ? (size_t)((double)done / (double)total * (double)width) : 0;

	if (filled > width)
		filled = width;
	memset(out, '=', filled);
	memset(out + filled, ' ', width - filled);
	if (filled && filled < width)
		out[filled - 1] = '>';
	out[width] = '\0';
}

static const char *phase_text(enum pl_phase phase)
{
	static const char *const texts[] = {
		[PL_LAYER_PRESENT] = "present",         [PL_LAYER_WAITING] = "waiting",
		[PL_LAYER_DOWNLOADING] = "downloading", [PL_LAYER_DOWNLOADED] = "downloaded",
		[PL_LAYER_UNPACKING] = "unpacking",     [PL_LAYER_DONE] = "done",
	};

	return texts[phase];
}

static void draw_layer(struct screen *s, const struct layer_state *l)
{
	char line[COLUMNS_MAX + 64], meter[BAR_MAX + 1], done[16], total[16];
	size_t fixed = 48; /* columns of everything but the bar */
	size_t width = s->columns > fixed + BAR_MAX ? BAR_MAX
		       : s->columns > fixed + 5     ? s->columns - fixed
						    : 0;

	cli_size(l->done, done, sizeof(done));
	cli_size(l->total, total, sizeof(total));
	bar(meter, width, l->done, l->total);
	snprintf(line, sizeof(line), "  %s  %-11s  %s%s%s %7s / %7s", l->id, phase_text(l->phase),
		 width ? "[" : "", meter, width ? "]" : "", done, total);
	add_line(s, line);
}

static bool active(const struct layer_state *l)
{
	return l->phase == PL_LAYER_DOWNLOADING || l->phase == PL_LAYER_UNPACKING;
}

static void draw_image(const struct progress *p, struct screen *s, size_t i)
{
	const struct image_progress *im = &p->images[i];
	char line[COLUMNS_MAX + 64];
	size_t done = 0, fetched = 0;

	for (size_t l = 0; l < im->nlayers; l++) {
		const struct layer_state *layer = &im->layers[l];

		done += layer->phase == PL_LAYER_DONE || layer->phase == PL_LAYER_PRESENT;
		fetched += layer->phase >= PL_LAYER_DOWNLOADED || layer->phase == PL_LAYER_PRESENT;
	}
	if (im->state == IMAGE_RESOLVING)
		snprintf(line, sizeof(line), "%s: resolving", p->names[i]);
	else if (p->saves)
		snprintf(line, sizeof(line), "%s: %zu blob%s, %zu here", p->names[i], im->nlayers,
			 im->nlayers == 1 ? "" : "s", fetched);
	else
		snprintf(line, sizeof(line), "%s: %zu layer%s, %zu downloaded, %zu unpacked",
			 p->names[i], im->nlayers, im->nlayers == 1 ? "" : "s", fetched, done);
	add_line(s, line);
	for (size_t l = 0; l < im->nlayers && s->used + 2 < s->rows; l++)
		if (active(&im->layers[l]))
			draw_layer(s, &im->layers[l]);
}

static void go_up(struct screen *s, size_t lines)
{
	char text[32];

	if (lines)
		add(s, text, (size_t)snprintf(text, sizeof(text), "\x1b[%zuA\r", lines));
}

static void show(const struct screen *s)
{
	fwrite(s->text, 1, s->len, stderr);
	fflush(stderr);
	free(s->text);
}

static void draw(struct progress *p)
{
	struct screen s = { 0 };
	size_t whole = 0, failed = 0;
	char line[128];

	screen_size(&s);
	go_up(&s, p->drawn);
	for (size_t i = 0; i < p->n; i++) {
		whole += p->images[i].state == IMAGE_WHOLE;
		failed += p->images[i].state == IMAGE_FAILED;
	}
	for (size_t i = 0; i < p->n && s.used + 3 < s.rows; i++)
		if (p->images[i].state < IMAGE_WHOLE)
			draw_image(p, &s, i);
	char trouble[32] = "";

	if (failed)
		snprintf(trouble, sizeof(trouble), ", %zu failed", failed);
	snprintf(line, sizeof(line), "%zu of %zu images ready%s%s", whole, p->n, trouble,
		 p->committing ? "; writing to disk" : "");
	add_line(&s, line);
	add(&s, "\x1b[J", 3); /* what the last drawing had below */
	p->drawn = s.used;
	p->last_draw_ms = k3_now_ms();
	show(&s);
}

static void clear(struct progress *p)
{
	struct screen s = { 0 };

	if (!p->drawn)
		return;
	go_up(&s, p->drawn);
	add(&s, "\x1b[J", 3);
	p->drawn = 0;
	show(&s);
}

void progress_end(struct progress *p)
{
	clear(p);
	p->bars = false;
}

/* ---- lines ---- */

static void line(struct progress *p, const char *image, const char *text)
{
	char safe[K3_ERR_MSG_MAX];

	clear(p);
	k3_escape(safe, sizeof(safe), text);
	fprintf(stderr, "%s%s%s\n", image, *image ? ": " : "", safe);
}

static void layer_line(struct progress *p, const struct pl_event *ev, const char *id)
{
	const struct layer_state *old = &p->images[ev->image].layers[ev->layer];
	char text[64], size[16];

	if (p->bars || p->mode == PROGRESS_NONE || ev->shared || old->phase == ev->phase)
		return;
	cli_size(ev->total, size, sizeof(size));
	snprintf(text, sizeof(text), "%s %s %s (%s)", p->saves ? "blob" : "layer", id,
		 ev->phase != PL_LAYER_DONE ? phase_text(ev->phase)
		 : p->saves                 ? "is there"
					    : "unpacked",
		 size);
	if (ev->phase == PL_LAYER_DOWNLOADED || ev->phase == PL_LAYER_DONE)
		line(p, p->names[ev->image], text);
}

static void layer_event(struct progress *p, const struct pl_event *ev)
{
	struct image_progress *im = &p->images[ev->image];
	struct layer_state *l;
	char hex[2 * 6 + 1];

	if (ev->layer >= im->nlayers)
		return;
	l = &im->layers[ev->layer];
	k3_hex(ev->digest.hash, 6, hex);
	layer_line(p, ev, hex);
	memcpy(l->id, hex, sizeof(hex));
	/* Unpacking goes on behind the download: what is shown never goes backwards. */
	if (ev->phase < l->phase)
		return;
	l->phase = ev->phase;
	l->done = ev->done;
	l->total = ev->total;
}

static void resolved(struct progress *p, const struct pl_event *ev)
{
	struct image_progress *im = &p->images[ev->image];
	char text[64];

	im->state = IMAGE_WORKING;
	im->nlayers = (size_t)ev->total;
	im->layers = k3_xcalloc(im->nlayers, sizeof(*im->layers));
	for (size_t i = 0; i < im->nlayers; i++)
		im->layers[i].phase = PL_LAYER_PRESENT;
	snprintf(text, sizeof(text), "resolved, %zu %s%s", im->nlayers, p->saves ? "blob" : "layer",
		 im->nlayers == 1 ? "" : "s");
	if (!p->bars && p->mode != PROGRESS_NONE)
		line(p, p->names[ev->image], text);
}

static void loss(struct progress *p, const struct pl_event *ev)
{
	char text[K3_ERR_MSG_MAX];

	/* Without -v one line tells of all of them, when the image is there (cli/losses.h). */
	if (!p->verbose)
		return;
	snprintf(text, sizeof(text), "warning: %s", ev->text);
	line(p, p->names[ev->image], text);
}

static void notice(struct progress *p, const char *text)
{
	K3_AUTO_FREE char *full = k3_xasprintf("warning: %s", text);

	line(p, "", full);
}

void progress_event(void *arg, const struct pl_event *ev)
{
	struct progress *p = arg;
	bool quiet = p->mode == PROGRESS_NONE;

	switch (ev->kind) {
	case PL_EV_RESOLVED:
		resolved(p, ev);
		break;
	case PL_EV_LAYER:
		layer_event(p, ev);
		break;
	case PL_EV_WHOLE:
		p->images[ev->image].state = IMAGE_WHOLE;
		break;
	case PL_EV_FAILED:
		p->images[ev->image].state = IMAGE_FAILED;
		break;
	case PL_EV_RETRY:
		if (!quiet)
			line(p, "", ev->text);
		break;
	case PL_EV_NOTICE:
		notice(p, ev->text);
		break;
	case PL_EV_LOSS:
		loss(p, ev);
		break;
	case PL_EV_WAITING:
		if (!quiet)
			line(p, "", "waiting for another k3simg that works on this root");
		break;
	case PL_EV_COMMIT:
		p->committing = true;
		if (!p->bars && !quiet)
			line(p, "", "writing to disk");
		break;
	}
	if (p->bars && (ev->kind != PL_EV_LAYER || k3_now_ms() - p->last_draw_ms >= REDRAW_MS))
		draw(p);
}
