/* SPDX-License-Identifier: Apache-2.0 */
/* Lines on a terminal that are never wider than it is. */
#ifndef K3_CLI_ROW_H
#define K3_CLI_ROW_H

#include <locale.h>

#include "base/buf.h"

enum row_style { ROW_PLAIN, ROW_DIM, ROW_BOLD, ROW_GREEN, ROW_CYAN, ROW_RED };

/* How rows are written; ctype: the widths of characters, (locale_t)0 = only ASCII is shown. */
struct row_look {
	locale_t ctype;
	bool colour;
};

struct row {
	const struct row_look *look;
	struct k3_buf *out; /* lines, one behind the other */
	size_t width, used; /* columns */
	bool failed;        /* out is full */
};

/* Columns of text, whose control characters were escaped before (k3_escape). */
size_t row_columns(const struct row_look *look, const char *text);
/* Adds text, cut at the end of the row. */
void row_text(struct row *r, enum row_style style, const char *text);
void row_textf(struct row *r, enum row_style style, const char *fmt, ...) K3_PRINTF(3, 4);
/* Text that is cut in its middle to so many columns, and filled up to them. */
void row_name(struct row *r, enum row_style style, const char *text, size_t columns);
/* Blanks up to a column; one at least when the row is there already. */
void row_to(struct row *r, size_t column);
/* Takes what is behind it from the terminal, and begins the next row.  Returns its columns. */
size_t row_end(struct row *r);

#endif
