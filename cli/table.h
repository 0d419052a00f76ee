/* SPDX-License-Identifier: Apache-2.0 */
/* A table on stdout: columns as wide as their widest cell.  Foreign text in cells is escaped. */
#ifndef K3_CLI_TABLE_H
#define K3_CLI_TABLE_H

#include "base/err.h"

struct table {
	const char *const
		*heads; /* borrowed; one that begins with '>' is of a right-aligned column */
	size_t columns;
	char **cells; /* rows one after the other, the heads not among them */
	size_t n, cap;
};

void table_begin(struct table *t, const char *const *heads, size_t columns);
/* Begins a row; cells that the last one lacks are empty. */
void table_row(struct table *t);
/* The next cell of the row.  More than there are columns are dropped. */
void table_cell(struct table *t, const char *fmt, ...) K3_PRINTF(2, 3);
/* Heads and rows; no blanks at the end of a line. */
void table_print(struct table *t);
void table_release(struct table *t);

#endif
