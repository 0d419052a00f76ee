/* SPDX-License-Identifier: Apache-2.0 */
/* The log file of a container, as CRI has it written. */
#ifndef K3_CRI_LOG_H
#define K3_CRI_LOG_H

#include "base/err.h"

/*
 * What the container wrote, of the last `max` bytes of a log of n bytes: each line is
 * "<time> <stdout|stderr> <F|P…> <text>", where P says that the line goes on in the next one.
 * Lines that are none of this are dropped.  cut: the bytes are the end of a longer log, and what
 * is before the first newline is no whole line.  New memory; NULL for nothing at all.
 */
char *cri_log_text(const char *log, size_t n, bool cut, size_t max);
/* The same of a file; NULL also when it cannot be read. */
char *cri_log_read(int dirfd, const char *name, size_t max);

#endif
