/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directory entries whose times are set again at the end, because writing into a directory
 * changes them.  Private to unpack/.
 */
#ifndef K3_UNPACK_TIMES_H
#define K3_UNPACK_TIMES_H

#include <time.h>

#include "base/buf.h"

struct times {
	struct k3_buf log;  /* records: see times.c */
	struct k3_buf last; /* name of the newest record */
};

struct times_item {
	const char *name; /* clean path; valid until the next call */
	bool doubtful;    /* reached through a symlink: may be something else by now */
	struct timespec times[2];
};

struct times_iter {
	const struct times *t;
	size_t at;
	struct k3_buf name;
};

void times_init(struct times *t, size_t path_max);
void times_release(struct times *t);
K3_MUST int times_add(struct times *t, const struct times_item *item, struct k3_err *e);
/* Items in the order they were added; *more = false after the last one. */
K3_MUST int times_next(struct times_iter *it, struct times_item *item, bool *more,
		       struct k3_err *e);

#endif
