/* SPDX-License-Identifier: Apache-2.0 */
/* Files of others that are written anew: wholly or not at all, and where they really are. */
#ifndef K3_BASE_REPLACE_H
#define K3_BASE_REPLACE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* The directory of a file that may be missing, and its name there. */
struct k3_place {
	int dir;
	char *name; /* one component */
	char *path; /* with all symlinks followed, for messages */
};

/*
 * Follows symlinks to the file; directories that are missing are made with mode 0700.
 * K3_USAGE when the path ends in a symlink to nothing or names something that is no file.
 */
K3_MUST int k3_place_open(const char *path, struct k3_place *out, struct k3_err *e);
void k3_place_release(struct k3_place *p);

/*
 * Writes n bytes into a new file beside, with this mode and the owner of the old one, flushes
 * it, puts it in the place of the old one and flushes the directory.  After a failure the old
 * one is as it was.
 */
K3_MUST int k3_place_write(const struct k3_place *p, const void *bytes, size_t n, mode_t mode,
			   struct k3_err *e);

#endif
