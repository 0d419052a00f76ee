/* SPDX-License-Identifier: Apache-2.0 */
/* A tar of plain files and directories, the same bytes for the same input.  Private to archive/. */
#ifndef K3_ARCHIVE_TAROUT_H
#define K3_ARCHIVE_TAROUT_H

#include "archive/encode.h"

#define TAROUT_NAME_MAX 512

/* The header of a directory (mode 0755), name without slash at its end. */
K3_MUST int tarout_dir(struct encode *to, const char *name, struct k3_err *e);
/*
 * The header of a file (mode 0644) of `size` bytes; they follow, then tarout_pad(size).  POSIX
 * ustar; a PAX header where it has no room for the name or the size.
 */
K3_MUST int tarout_file(struct encode *to, const char *name, uint64_t size, struct k3_err *e);
K3_MUST int tarout_pad(struct encode *to, uint64_t size, struct k3_err *e);
K3_MUST int tarout_end(struct encode *to, struct k3_err *e);

#endif
