/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress_bars.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/progress_words.h"

/* Wider or higher ones are used as far as that: lines of 200 columns are hard to read. */
#define COLUMNS_MAX 100u
#define ROWS_MAX 100u
/* Each with its colours and a bar of 3 bytes a column; and of lines above that are short. */
#define FRAME_MAX (ROWS_MAX * COLUMNS_MAX * 16u + 4 * BARS_ABOVE_MAX)
#define WIDE 64u
#define MEDIUM 34u
#define BAR_MAX 60u
#define SPINNER_MS 100u
/* What is folded stays so until there has been room for as long as this: nothing flickers. */
#define CALM_MS 2000u
#define ID_MAX 12u

/* What is drawn of the images; more of it is folded from one to the next. */
enum level {
	LEVEL_LAYERS, /* every layer of the images that are worked on */
	LEVEL_ACTIVE, /* those that are on their way */
	LEVEL_FOLDED, /* images that are done or wait: one line each kind */
	LEVEL_IMAGES, /* no layers */
	LEVEL_SOME,   /* not all images that are worked on */
};

/* Lines that are drawn, or only counted. */
struct sheet {
	struct bars *b;
	const struct bars_view *v;
	struct row row;
	size_t room, lines;
	bool draw;
	uint64_t now;
};

void bars_init(struct bars *b, const struct terminal *t)
{
	*b = (struct bars){ .terminal = t, .frame = K3_BUF(FRAME_MAX) };
	b->widths = k3_xcalloc(ROWS_MAX, sizeof(*b->widths));
	b->look.colour = t->colour;
	/* Not the process's: only the widths of characters are wanted. */
	b->look.ctype = t->unicode ? newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0) : (locale_t)0;
}

void bars_release(struct bars *b)
{
	if (b->look.ctype)
		freelocale(b->look.ctype);
	k3_buf_release(&b->frame);
	free(b->widths);
}

/* ---- parts of a line ------------------------------------------------------------------------ */

enum sign { SIGN_DONE, SIGN_FAILED, SIGN_WAITING };

static void put_sign(struct sheet *s, enum sign sign)
{
	static const char *const signs[][2] = {
		[SIGN_DONE] = { "+", "\u2713" },
		[SIGN_FAILED] = { "x", "\u2717" },
		[SIGN_WAITING] = { ".", "\u00b7" },
	};
	static const enum row_style style[] = { ROW_GREEN, ROW_RED, ROW_DIM };

	row_text(&s->row, style[sign], signs[sign][s->b->look.ctype != NULL]);
	row_text(&s->row, ROW_PLAIN, " ");
}

static void put_spinner(struct sheet *s)
{
	static const char *const dots[] = { "\u280b", "\u2819", "\u2839", "\u2838", "\u283c",
					    "\u2834", "\u2826", "\u2827", "\u2807", "\u280f" };
	static const char *const strokes[] = { "-", "\\", "|", "/" };
	uint64_t turn = (s->now - s->v->state->start_ms) / SPINNER_MS;

	row_text(&s->row, ROW_CYAN,
		 s->b->look.ctype ? dots[turn % K3_ARRAY_LEN(dots)]
				  : strokes[turn % K3_ARRAY_LEN(strokes)]);
	row_text(&s->row, ROW_PLAIN, " ");
}

static size_t part_of(uint64_t done, uint64_t total, size_t width)
{
	if (done >= total)
		return width;
	return (size_t)((double)done / (double)total * (double)width);
}

static void put_times(struct row *r, enum row_style style, const char *what, size_t n)
{
	char text[3 * BAR_MAX + 1];
	size_t len = strlen(what);

	for (size_t i = 0; i < n; i++)
		memcpy(text + i * len, what, len);
	text[n * len] = '\0';
	row_text(r, style, text);
}

/* What is ready, what is there, and what has to come. */
static void put_bar(struct sheet *s, size_t width, uint64_t ready, uint64_t there, uint64_t total)
{
	bool fine = s->b->look.ctype != NULL;
	size_t a, b;

	width = width < BAR_MAX ? width : BAR_MAX;
	a = part_of(ready, total, width);
	b = part_of(there, total, width);
	b = b > a ? b - a : 0;
	put_times(&s->row, ROW_GREEN, fine ? "\u2501" : "#", a);
	put_times(&s->row, ROW_CYAN, fine ? "\u2500" : "=", b);
	put_times(&s->row, ROW_DIM, fine ? "\u00b7" : ".", width - a - b);
}

static unsigned percent(uint64_t done, uint64_t total)
{
	return total ? (unsigned)((double)done / (double)total * 100) : 100;
}

/* Room for one more line; false when it is only counted. */
static bool begin_line(struct sheet *s)
{
	s->lines++;
	return s->draw && s->lines <= s->room;
}

static void end_line(struct sheet *s)
{
	s->b->widths[s->b->nlines++] = row_end(&s->row);
}

/* ---- layers --------------------------------------------------------------------------------- */

static void draw_layer(struct sheet *s, const struct layer_progress *l)
{
	size_t width = s->row.width, ready, there;
	char hex[2 * (ID_MAX / 2) + 1], pair[24];
	const char *word = words_layer(s->v->words, l);
	bool done = layer_is_done(l);

	if (!begin_line(s))
		return;
	k3_hex(l->digest.hash, ID_MAX / 2, hex);
	there = l->needs & PL_NEEDS_BYTES ? l->fetched : l->total;
	ready = l->needs & PL_NEEDS_UNPACK ? l->unpacked : there;
	if (done)
		ready = there = l->total;
	/* What moves, of how much; what does not is as large as it is. */
	if (ready < there && there == l->total && l->phase == PL_LAYER_UNPACKING)
		words_pair(ready, l->total, pair, sizeof(pair));
	else if (there < l->total && l->phase != PL_LAYER_WAITING)
		words_pair(there, l->total, pair, sizeof(pair));
	else
		cli_size(l->total, pair, sizeof(pair));
	if (width >= WIDE) {
		row_text(&s->row, ROW_PLAIN, "    ");
		row_text(&s->row, ROW_DIM, hex);
		row_to(&s->row, 18);
		put_bar(s, width - 18 - 26, ready, there, l->total);
		row_to(&s->row, s->row.used + 2);
		row_name(&s->row, done || l->phase == PL_LAYER_WAITING ? ROW_DIM : ROW_PLAIN, word,
			 11);
		row_textf(&s->row, ROW_PLAIN, "%13s", pair);
	} else if (width >= MEDIUM) {
		row_textf(&s->row, ROW_DIM, "  %s ", hex);
		put_bar(s, width - 15 - 12, ready, there, l->total);
		row_textf(&s->row, ROW_PLAIN, "%12s", pair);
	} else {
		row_textf(&s->row, ROW_DIM, "  %.4s ", hex);
		if (width > 12 + 5)
			put_bar(s, width - 7 - 5, ready, there, l->total);
		row_textf(&s->row, ROW_PLAIN, "%4u%%", percent(ready + there, 2 * l->total));
	}
	end_line(s);
}

static void draw_layers(struct sheet *s, const struct image_progress *im, bool all)
{
	for (size_t i = 0; i < im->nlayers; i++)
		if (all || layer_moves(&im->layers[i]))
			draw_layer(s, &im->layers[i]);
}

/* ---- images --------------------------------------------------------------------------------- */

enum kind { KIND_RESOLVING, KIND_WAITING, KIND_WORKING, KIND_DONE, KIND_FAILED, KINDS };

static enum kind kind_of(const struct progress_state *st, const struct image_progress *im,
			 const struct image_sum *sum)
{
	if (im->state == IMAGE_RESOLVING)
		return KIND_RESOLVING;
	if (im->state == IMAGE_FAILED)
		return KIND_FAILED;
	if (image_is_done(st, im))
		return KIND_DONE;
	return sum->active || sum->done > sum->there ? KIND_WORKING : KIND_WAITING;
}

/* "2/7 layers" of what is on its way, else "7 layers". */
static void layers_text(const struct sheet *s, const struct image_progress *im,
			const struct image_sum *sum, bool working, char *out, size_t size)
{
	const char *word = im->nlayers == 1 ? s->v->words->part : s->v->words->parts;

	if (working)
		snprintf(out, size, "%zu/%zu %s", sum->done, im->nlayers, word);
	else
		snprintf(out, size, "%zu %s", im->nlayers, word);
}

/* Behind the name: layers, bytes, and how far it is. */
static void put_numbers(struct sheet *s, const struct image_progress *im,
			const struct image_sum *sum, enum kind kind)
{
	bool there = kind == KIND_DONE && sum->there == im->nlayers, wide = s->row.width >= WIDE;
	char layers[32], bytes[24], last[24] = "";

	layers_text(s, im, sum, kind == KIND_WORKING, layers, sizeof(layers));
	cli_size(im->bytes, bytes, sizeof(bytes));
	if (kind == KIND_WORKING) {
		words_pair(sum->bytes, sum->total, bytes, sizeof(bytes));
		snprintf(last, sizeof(last), "%u%%", percent(sum->work, sum->all_work));
	} else if (there) {
		snprintf(last, sizeof(last), "present");
	} else if (kind == KIND_DONE) {
		cli_duration(im->end_ms - s->v->state->start_ms, last, sizeof(last));
	} else if (wide) {
		snprintf(last, sizeof(last), "waiting");
	}
	if (wide)
		row_textf(&s->row, ROW_DIM, "%13s", layers);
	if (s->row.width >= MEDIUM)
		row_textf(&s->row, ROW_DIM, "%13s", bytes);
	if (wide)
		row_textf(&s->row, ROW_PLAIN, "%9s", last);
	else
		row_textf(&s->row, ROW_PLAIN, " %5.5s", there ? "" : last);
}

static void draw_image(struct sheet *s, size_t i, const struct image_sum *sum, enum kind kind)
{
	const struct image_progress *im = &s->v->state->images[i];
	size_t width = s->row.width, numbers = width >= WIDE ? 35 : width >= MEDIUM ? 19 : 6;
	size_t room = width - 2 - numbers;

	if (!begin_line(s))
		return;
	if (kind == KIND_WORKING || kind == KIND_RESOLVING)
		put_spinner(s);
	else
		put_sign(s, kind == KIND_DONE     ? SIGN_DONE
			    : kind == KIND_FAILED ? SIGN_FAILED
						  : SIGN_WAITING);
	if (kind == KIND_FAILED) {
		/* The whole of it is told in the end. */
		row_name(&s->row, ROW_PLAIN, s->v->names[i],
			 row_columns(&s->b->look, s->v->names[i]) < room
				 ? row_columns(&s->b->look, s->v->names[i])
				 : room);
		row_text(&s->row, ROW_PLAIN, "  ");
		row_text(&s->row, ROW_RED, im->why);
	} else if (kind == KIND_RESOLVING) {
		row_name(&s->row, ROW_PLAIN, s->v->names[i],
			 width - 2 - (width >= MEDIUM ? 11 : 0));
		row_text(&s->row, ROW_DIM, "  resolving");
	} else {
		row_name(&s->row, kind == KIND_WORKING ? ROW_BOLD : ROW_PLAIN, s->v->names[i],
			 room);
		put_numbers(s, im, sum, kind);
	}
	end_line(s);
}

static void draw_fold(struct sheet *s, enum sign sign, size_t n, const char *word)
{
	if (!n || !begin_line(s))
		return;
	put_sign(s, sign);
	row_textf(&s->row, sign == SIGN_FAILED ? ROW_RED : ROW_DIM, "%zu image%s %s", n,
		  n == 1 ? "" : "s", word);
	end_line(s);
}

static bool is_folded(enum kind kind, enum level level)
{
	return kind != KIND_WORKING && level >= (kind == KIND_FAILED ? LEVEL_IMAGES : LEVEL_FOLDED);
}

/* How many images of each kind there are. */
static void count_kinds(const struct progress_state *st, size_t count[KINDS])
{
	for (size_t i = 0; i < st->n; i++) {
		const struct image_sum sum = image_sum(&st->images[i]);

		count[kind_of(st, &st->images[i], &sum)]++;
	}
}

static void draw_images(struct sheet *s, enum level level)
{
	const struct progress_state *st = s->v->state;
	size_t count[KINDS] = { 0 }, shown = 0, most = st->n;

	/* What the last line tells is not about layers. */
	if (s->v->status)
		return;
	count_kinds(st, count);
	if (level >= LEVEL_FOLDED)
		draw_fold(s, SIGN_DONE, count[KIND_DONE], "ready");
	if (level >= LEVEL_IMAGES)
		draw_fold(s, SIGN_FAILED, count[KIND_FAILED], "failed");
	/* One line says what is left out, and one each what waits and what is resolved. */
	size_t below = (count[KIND_WAITING] > 0) + (count[KIND_RESOLVING] > 0) + 1;

	if (level == LEVEL_SOME)
		most = s->room > s->lines + below ? s->room - s->lines - below : 0;
	for (size_t i = 0; i < st->n; i++) {
		const struct image_progress *im = &st->images[i];
		const struct image_sum sum = image_sum(im);
		enum kind kind = kind_of(st, im, &sum);

		if (is_folded(kind, level) || shown == most)
			continue;
		shown += kind == KIND_WORKING;
		draw_image(s, i, &sum, kind);
		if (kind == KIND_WORKING && level < LEVEL_IMAGES)
			draw_layers(s, im, level == LEVEL_LAYERS);
	}
	if (level == LEVEL_SOME)
		draw_fold(s, SIGN_WAITING, count[KIND_WORKING] - shown, "more in progress");
	if (level >= LEVEL_FOLDED) {
		draw_fold(s, SIGN_WAITING, count[KIND_WAITING], "waiting");
		draw_fold(s, SIGN_WAITING, count[KIND_RESOLVING], "resolving");
	}
}

/* ---- the last line -------------------------------------------------------------------------- */

static void add_word(char *text, size_t size, const char *word)
{
	size_t n = strlen(text);

	if (*word)
		snprintf(text + n, size - n, "%s%s", n ? "  " : "", word);
}

/* How many images, bytes and seconds; more of it where there is room. */
static void summary_text(const struct sheet *s, char *text, size_t size)
{
	const struct progress_state *st = s->v->state;
	bool wide = s->row.width >= WIDE, medium = s->row.width >= MEDIUM;
	const struct flow *f = st->fetch.total ? &st->fetch : &st->unpack;
	char word[40];

	*text = '\0';
	snprintf(word, sizeof(word), "%3u%%", st->permille / 10);
	add_word(text, size, word);
	snprintf(word, sizeof(word), wide ? "%zu/%zu images" : "%zu/%zu", st->whole, st->n);
	if (st->n > 1)
		add_word(text, size, word);
	snprintf(word, sizeof(word), "%zu failed", st->failed);
	if (st->failed && wide)
		add_word(text, size, word);
	words_pair(f->done, f->total, word, sizeof(word));
	if (wide && f->total)
		add_word(text, size, word);
	words_rate(&st->fetch, word, sizeof(word));
	if (medium && st->fetch.left && st->fetch.begin_ms)
		add_word(text, size, word);
	words_left(st->left_ms, word, sizeof(word));
	if (wide)
		strncat(word, " left", sizeof(word) - strlen(word) - 1);
	if (st->has_left)
		add_word(text, size, word);
}

/* A word on what is done, where it is not known how long it takes. */
static const char *what_now(const struct sheet *s, char *room, size_t size)
{
	const struct progress_state *st = s->v->state;

	if (st->waiting)
		return "waiting for another k3simg that works on this root";
	if (st->committing && !st->write_total)
		return s->v->words->committing;
	if (s->v->status)
		return s->v->status;
	if (st->planned || st->committing)
		return NULL;
	snprintf(room, size, st->n > 1 ? "resolved %zu of %zu images" : "resolving",
		 st->n - st->resolving, st->n);
	return room;
}

static void draw_summary(struct sheet *s)
{
	const struct progress_state *st = s->v->state;
	char text[160], room[64];
	const char *now = what_now(s, room, sizeof(room));
	size_t n;

	if (!begin_line(s))
		return;
	if (now) {
		put_spinner(s);
		row_text(&s->row, ROW_PLAIN, now);
		end_line(s);
		return;
	}
	if (st->committing) {
		words_pair(st->written, st->write_total, room, sizeof(room));
		snprintf(text, sizeof(text), "%s  %s", s->v->words->committing, room);
	} else {
		summary_text(s, text, sizeof(text));
	}
	n = row_columns(&s->b->look, text) + 2;
	if (n + 6 <= s->row.width) {
		if (st->committing)
			put_bar(s, s->row.width - n, st->written, st->written, st->write_total);
		else
			put_bar(s, s->row.width - n, st->permille, st->permille, 1000);
		row_text(&s->row, ROW_PLAIN, "  ");
	}
	row_text(&s->row, ROW_PLAIN, text + (n + 6 > s->row.width ? strspn(text, " ") : 0));
	end_line(s);
}

/* ---- drawing -------------------------------------------------------------------------------- */

static void put(struct bars *b, const char *text, size_t n)
{
	struct k3_err full;

	if (k3_buf_add(&b->frame, text, n, &full))
		b->lost = true;
}

static void begin_frame(struct bars *b)
{
	struct terminal_size now = terminal_size(b->terminal);
	size_t up = 0;
	char move[32];

	k3_buf_reset(&b->frame);
	for (size_t i = 0; i < b->nlines; i++)
		up += b->terminal->reflows && now.columns && b->widths[i] > now.columns
			      ? (b->widths[i] + now.columns - 1) / now.columns
			      : 1;
	/* Hidden while it moves only. */
	put(b, "\x1b[?25l", 6);
	if (up)
		put(b, move, (size_t)snprintf(move, sizeof(move), "\x1b[%zuA\r", up));
	b->nlines = 0;
	if (now.columns != b->size.columns || now.rows != b->size.rows)
		b->level = 0;
	b->size = now;
}

static void end_frame(struct bars *b)
{
	put(b, "\x1b[J\x1b[?25h", 9);
	if (b->lost || !terminal_write(b->terminal, (const char *)b->frame.p, b->frame.len))
		b->lost = true;
}

/* Above the bars or after them: whole lines, and nothing of what was drawn behind them. */
static void put_lines(struct bars *b, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");

		put(b, text, n);
		put(b, "\x1b[K\n", 4);
		text += n + (text[n] == '\n');
	}
}

static struct sheet sheet_of(struct bars *b, const struct bars_view *v, uint64_t now)
{
	/* The last column stays free: a terminal wraps there, sooner or later. */
	size_t columns = b->size.columns > 1 ? b->size.columns - 1 : 1;
	struct sheet s = { .b = b, .v = v, .now = now };

	s.row = (struct row){ .look = &b->look,
			      .out = &b->frame,
			      .width = columns < COLUMNS_MAX ? columns : COLUMNS_MAX };
	s.room = b->size.rows < ROWS_MAX ? b->size.rows : ROWS_MAX;
	return s;
}

static void choose_level(struct sheet *s)
{
	struct bars *b = s->b;
	unsigned best = LEVEL_LAYERS;

	for (; best < LEVEL_SOME; best++) {
		s->lines = 0;
		draw_images(s, (enum level)best);
		if (s->lines <= s->room)
			break;
	}
	if (best < b->level && s->now - b->calm_ms < CALM_MS)
		return;
	b->level = best;
	b->calm_ms = s->now;
}

void bars_draw(struct bars *b, const struct bars_view *v, const char *above, uint64_t now)
{
	if (b->lost || !terminal_is_ours(b->terminal))
		return;
	begin_frame(b);
	put_lines(b, above);
	struct sheet s = sheet_of(b, v, now);

	b->drawn_ms = now;
	/* Of a terminal this small nothing could be taken back: the cursor has a line, too. */
	if (b->size.rows < 3 || s.row.width < 8) {
		end_frame(b);
		return;
	}
	s.room -= 2;
	choose_level(&s);
	s.draw = true;
	s.lines = 0;
	draw_images(&s, (enum level)b->level);
	s.lines = 0;
	draw_summary(&s);
	b->lost = b->lost || s.row.failed;
	end_frame(b);
}

/* What stays; there may be more images than a frame has room for. */
static void put_images(struct bars *b, const struct bars_view *v, uint64_t now)
{
	for (size_t i = 0; i < v->state->n && !b->lost; i++) {
		const struct image_sum sum = image_sum(&v->state->images[i]);
		enum kind kind = kind_of(v->state, &v->state->images[i], &sum);
		struct sheet s = sheet_of(b, v, now);

		s.draw = kind == KIND_DONE || kind == KIND_FAILED;
		draw_image(&s, i, &sum, kind);
		b->nlines = 0;
		if (b->frame.len < FRAME_MAX / 2)
			continue;
		if (!terminal_write(b->terminal, (const char *)b->frame.p, b->frame.len))
			b->lost = true;
		k3_buf_reset(&b->frame);
	}
}

void bars_end(struct bars *b, const struct bars_view *v, const char *above, bool keep, uint64_t now)
{
	bool shown = b->nlines > 0;

	if (b->lost || !terminal_is_ours(b->terminal) || (!shown && !*above))
		return;
	begin_frame(b);
	put_lines(b, above);
	if (keep && shown && b->size.columns > 8)
		put_images(b, v, now);
	end_frame(b);
}
