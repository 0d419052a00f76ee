/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/row.h"

#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "base/mem.h"

#define TEXT_MAX 1024 /* of one piece: a terminal is narrower */

static const char *const styles[] = {
	[ROW_PLAIN] = "",         [ROW_DIM] = "\x1b[2m",   [ROW_BOLD] = "\x1b[1m",
	[ROW_GREEN] = "\x1b[32m", [ROW_CYAN] = "\x1b[36m", [ROW_RED] = "\x1b[31m",
};

/* One character: its length and columns; *columns < 0: it is shown as a question mark. */
static size_t next_char(const struct row_look *look, const char *s, int *columns)
{
	uint32_t code = 0;
	size_t len = k3_utf8(s, &code);

	*columns = -1;
	if (!len)
		return 1;
	if (code < 0x80) {
		*columns = code >= 0x20 && code < 0x7f ? 1 : -1;
	} else if (look->ctype) {
		/* Of this thread alone, and for the length of one call. */
		locale_t before = uselocale(look->ctype);

		*columns = wcwidth((wchar_t)code);
		uselocale(before);
	}
	return len;
}

size_t row_columns(const struct row_look *look, const char *text)
{
	size_t sum = 0;
	int columns;

	while (*text) {
		text += next_char(look, text, &columns);
		sum += columns < 0 ? 1 : (size_t)columns;
	}
	return sum;
}

static void put(struct row *r, const char *text, size_t n)
{
	struct k3_err full;

	if (k3_buf_add(r->out, text, n, &full))
		r->failed = true;
}

/* Up to so many columns of the text; where it ends. */
static const char *put_columns(struct row *r, const char *text, size_t limit)
{
	size_t used = 0;

	while (*text) {
		int columns;
		size_t len = next_char(r->look, text, &columns);
		size_t wide = columns < 0 ? 1 : (size_t)columns;

		if (used + wide > limit)
			break;
		if (columns < 0)
			put(r, "?", 1);
		else
			put(r, text, len);
		used += wide;
		text += len;
	}
	r->used += used;
	return text;
}

static void begin_style(struct row *r, enum row_style style)
{
	if (r->look->colour && style != ROW_PLAIN)
		put(r, styles[style], strlen(styles[style]));
}

static void end_style(struct row *r, enum row_style style)
{
	if (r->look->colour && style != ROW_PLAIN)
		put(r, "\x1b[0m", 4);
}

/* What a text that is cut has in place of the rest. */
static const char *cut_mark(const struct row_look *look)
{
	return look->ctype ? "\u2026" : "...";
}

void row_text(struct row *r, enum row_style style, const char *text)
{
	size_t room = r->width - r->used;

	if (r->used >= r->width || !*text)
		return;
	begin_style(r, style);
	if (row_columns(r->look, text) > room) {
		const char *mark = cut_mark(r->look);
		size_t wide = row_columns(r->look, mark);

		put_columns(r, text, room > wide ? room - wide : 0);
		put_columns(r, mark, r->width - r->used);
	} else {
		put_columns(r, text, room);
	}
	end_style(r, style);
}

void row_textf(struct row *r, enum row_style style, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	row_text(r, style, text);
}

/* The last so many columns of the text. */
static const char *tail_of(const struct row_look *look, const char *text, size_t columns)
{
	size_t left = row_columns(look, text);
	int wide = 1;

	/* A mark without the letter that it belongs to goes with that. */
	while (*text && (left > columns || !wide)) {
		text += next_char(look, text, &wide);
		left -= wide < 0 ? 1 : (size_t)wide;
		if (left <= columns && *text)
			next_char(look, text, &wide);
	}
	return text;
}

void row_name(struct row *r, enum row_style style, const char *text, size_t columns)
{
	const char *mark = cut_mark(r->look);
	size_t room = r->width - r->used, end, wide = row_columns(r->look, mark);

	columns = columns < room ? columns : room;
	end = r->used + columns;
	begin_style(r, style);
	if (row_columns(r->look, text) <= columns) {
		put_columns(r, text, columns);
	} else if (columns <= wide) {
		put_columns(r, text, columns);
	} else {
		/* The end of a name tells more: repository and tag. */
		size_t keep = columns - wide, head = keep / 3;

		put_columns(r, text, head);
		put_columns(r, mark, wide);
		put_columns(r, tail_of(r->look, text, keep - head), keep - head);
	}
	end_style(r, style);
	while (r->used < end) {
		put(r, " ", 1);
		r->used++;
	}
}

void row_to(struct row *r, size_t column)
{
	do {
		if (r->used >= r->width)
			return;
		put(r, " ", 1);
		r->used++;
	} while (r->used < column);
}

size_t row_end(struct row *r)
{
	size_t columns = r->used;

	put(r, "\x1b[K\n", 4);
	r->used = 0;
	return columns;
}
