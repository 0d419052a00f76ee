/* SPDX-License-Identifier: Apache-2.0 */
/* Files in the tree of an image, whose names and symlinks somebody else chose. */
#ifndef K3_EXPLAIN_TREE_H
#define K3_EXPLAIN_TREE_H

#include <sys/stat.h>

#include "base/buf.h"
#include "base/fsroot.h"

struct tree_file {
	char *path; /* in the tree, without symlinks, with a leading slash */
	struct stat st;
	int fd; /* of a regular file, opened for reading, or -1 when it cannot be */
};

/*
 * Finds what a path leads to; symlinks, the last one included, are followed inside the tree only.
 * Relative paths begin at its root.  K3_NOTFOUND, K3_FORMAT (something on the way is no
 * directory), K3_UNSAFE (symlinks without end), K3_LIMIT, K3_IO.
 */
K3_MUST int tree_find(struct k3_root *root, const char *path, struct tree_file *out,
		      struct k3_err *e);
void tree_file_release(struct tree_file *f);
/* Appends a regular file, up to out->max.  Errors as tree_find; K3_FORMAT: no regular file. */
K3_MUST int tree_read(struct k3_root *root, const char *path, struct k3_buf *out, struct k3_err *e);

#endif
