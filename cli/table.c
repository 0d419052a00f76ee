/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"

#define CELL_MAX 2048 /* bytes: a whole reference, escaped, has less */

void table_begin(struct table *t, const char *const *heads, size_t columns)
{
	*t = (struct table){ .heads = heads, .columns = columns };
}

static void add(struct table *t, const char *text)
{
	t->cells = k3_xgrow(t->cells, t->n, &t->cap, sizeof(char *));
	t->cells[t->n++] = cli_safe(text);
}

void table_row(struct table *t)
{
	while (t->n % t->columns)
		add(t, "");
}

void table_cell(struct table *t, const char *fmt, ...)
{
	char text[CELL_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	add(t, text);
}

/* Columns of a terminal: characters, of which none in a name is wide or combines. */
static size_t width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static const char *head(const struct table *t, size_t column)
{
	return t->heads[column] + (t->heads[column][0] == '>');
}

static size_t widest(const struct table *t, size_t column)
{
	size_t most = width(head(t, column));

	for (size_t k = column; k < t->n; k += t->columns)
		if (width(t->cells[k]) > most)
			most = width(t->cells[k]);
	return most;
}

static void print_cell(const struct table *t, size_t column, size_t room, const char *text)
{
	size_t pad = room - width(text);
	bool last = column + 1 == t->columns;

	if (t->heads[column][0] == '>')
		printf("%*s%s", (int)pad, "", text);
	else
		printf("%s%*s", text, last ? 0 : (int)pad, "");
	printf("%s", last ? "\n" : "  ");
}

void table_print(struct table *t)
{
	K3_AUTO_FREE size_t *room = k3_xcalloc(t->columns, sizeof(*room));

	table_row(t);
	for (size_t c = 0; c < t->columns; c++)
		room[c] = widest(t, c);
	for (size_t c = 0; c < t->columns; c++)
		print_cell(t, c, room[c], head(t, c));
	for (size_t k = 0; k < t->n; k++)
		print_cell(t, k % t->columns, room[k % t->columns], t->cells[k]);
}

void table_release(struct table *t)
{
	for (size_t k = 0; k < t->n; k++)
		free(t->cells[k]);
	free(t->cells);
	*t = (struct table){ 0 };
}
