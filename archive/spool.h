/* SPDX-License-Identifier: Apache-2.0 */
/* A tar as a file that can be read at any place.  Private to archive/. */
#ifndef K3_ARCHIVE_SPOOL_H
#define K3_ARCHIVE_SPOOL_H

#include "archive/archive.h"

/*
 * Opens o->path, or standard input for "-".  *fd: the file itself when it is plain and regular,
 * else a nameless one with what it holds, decompressed.
 */
K3_MUST int spool_open(const struct archive_opts *o, const char *what, int *fd, struct k3_err *e);

#endif
