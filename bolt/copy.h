/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of a database that another process holds. */
#ifndef K3_BOLT_COPY_H
#define K3_BOLT_COPY_H

#include "base/err.h"

/*
 * Copies the file behind `from` as one of its commits has left it to a file in memory; *out is to
 * be closed.  K3_BUSY: the other one commits faster than the file can be copied; K3_STORE: no
 * database; K3_IO.
 */
K3_MUST int bolt_copy(int from, const char *name, int *out, struct k3_err *e);

#endif
