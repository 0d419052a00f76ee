/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directory trees whose names and symlinks somebody else chose: resolving a name without
 * leaving the tree, walking it however deep it is, copying one node of it.
 *
 * All of it assumes that nobody else changes the tree meanwhile (staging trees are private);
 * under that assumption nothing outside the root is ever opened, whatever the tree holds.
 */
#ifndef K3_BASE_FSROOT_H
#define K3_BASE_FSROOT_H

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* ---- names -------------------------------------------------------------------------- */

/*
 * Cleans a path lexically into *out (reset first): no leading slash, no empty, "." or ".."
 * components; ".." stops at the root.  "" is the root itself.  K3_LIMIT past out->max.
 */
K3_MUST int k3_path_clean(const char *path, struct k3_buf *out, struct k3_err *e);

#define K3_ROOT_LINKS_MAX 255 /* symlinks followed for one name, as containerd does */

struct k3_root {
	int fd;          /* borrowed: the root directory */
	bool no_openat2; /* use the component walk only; set by itself after ENOSYS */
	/* Counted up by k3_root_open_dir, for owners that bound the work and what comes of it. */
	uint64_t steps; /* components walked one by one */
	uint64_t made;  /* directories made */
};

/* Where a name led. */
struct k3_root_dir {
	int fd;        /* O_PATH; the caller's */
	bool via_link; /* a symlink was followed on the way */
};

/*
 * Opens the directory that the clean path leads to, starting at the directory `at`, whose
 * own real path *real holds on entry ("" with at = root->fd).  Symlinks, the last component
 * included, are followed inside the root: absolute targets start at the root and ".." stops
 * there.  *real becomes the path without symlinks; real->max bounds it.
 * make: missing directories are made (mode 0755), also where a dangling symlink points.
 * K3_NOTFOUND (make = false), K3_FORMAT when something on the way is no directory,
 * K3_UNSAFE for more than K3_ROOT_LINKS_MAX symlinks, K3_LIMIT, K3_IO, K3_NOSPC.
 */
K3_MUST int k3_root_open_dir(struct k3_root *root, int at, const char *path, bool make,
			     struct k3_buf *real, struct k3_root_dir *out, struct k3_err *e);

/* ---- walking ------------------------------------------------------------------------- */

struct k3_walk_ent {
	const char *name;
	ino_t ino;
	bool is_dir;
};

/* Callbacks of a walk; each may be NULL, each ends the walk by returning -1. */
struct k3_walk_ops {
	/*
	 * One entry of the directory fd.  *descend (directories only) is true and may be
	 * cleared.  Must not add or remove names in fd: that belongs into listed.
	 */
	int (*entry)(void *arg, int fd, const struct k3_walk_ent *ent, bool *descend,
		     struct k3_err *e);
	/* All entries of fd were shown; its sub-directories come next. */
	int (*listed)(void *arg, int fd, struct k3_err *e);
	/* Goes down into `name` (fd); not called for the top. */
	int (*enter)(void *arg, int fd, const char *name, struct k3_err *e);
	/* Comes up out of the directory fd; not called for the top. */
	int (*leave)(void *arg, int fd, struct k3_err *e);
};

/* Directories kept open on the way down; deeper ones are found again by "..". */
#define K3_WALK_FDS 32

/*
 * Visits the tree below the directory fd, depth first, never through a symlink; a mount
 * point is an error (K3_BUSY).  Uses at most K3_WALK_FDS + 2 descriptors and no recursion.
 */
K3_MUST int k3_walk(int fd, const struct k3_walk_ops *ops, void *arg, struct k3_err *e);

/* ---- copying ------------------------------------------------------------------------- */

/*
 * Whether linkat failed for what the file system is, so that a copy has to do: the limit of links
 * of a file, or no hard links at all (EPERM in link(2); gVisor's EOPNOTSUPP, of fifos).
 */
bool k3_link_refused(int errnum);

/*
 * Makes ddir/dname a copy of the node sdir/sname, which is no directory: content, owner,
 * mode, mtime, xattrs; holes stay holes.  reflink: share extents where the file system can.  K3_IO
 * with sys EEXIST when the name is taken.
 */
K3_MUST int k3_copy_node(int sdir, const char *sname, int ddir, const char *dname, bool reflink,
			 struct k3_err *e);
/* Copies the extended attributes of one open file or directory; ENOTSUP there is ignored. */
K3_MUST int k3_copy_xattrs(int from, int to, struct k3_err *e);

#endif
