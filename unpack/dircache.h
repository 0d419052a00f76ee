/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directories that entries are written into, kept open: consecutive entries of one
 * directory resolve it once.  Private to unpack/.
 */
#ifndef K3_UNPACK_DIRCACHE_H
#define K3_UNPACK_DIRCACHE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/fsroot.h"

/* What a new file (or directory) in some directory gets without being asked. */
struct probe {
	bool known;
	uid_t uid;
	gid_t gid;
	mode_t extra; /* bits above 0777: set-gid is inherited by directories */
	mode_t kept;  /* bits of 0777 seen to survive umask and default ACL */
};

struct dir {
	int fd;        /* O_PATH */
	char *name;    /* clean path as asked for */
	char *real;    /* the same without symlinks */
	uint64_t hash; /* pathhash of real, not ended */
	bool via_link;
	bool stale; /* not found any more; the fd is still good */
	uint64_t used;
	struct probe file, subdir;
};

#define DIRCACHE_DIRS 32

struct dircache {
	struct k3_root root;
	size_t path_max;
	uint64_t seed;
	uint64_t clock;
	struct dir dirs[DIRCACHE_DIRS];
	struct dir *last;
};

void dircache_init(struct dircache *c, int rootfd, bool no_openat2, size_t path_max, uint64_t seed);
void dircache_release(struct dircache *c);
/*
 * The directory of a clean path (n bytes, "" is the root), symlinks followed in the root.
 * *out stays valid while at most DIRCACHE_DIRS - 2 other directories are asked for.
 * Errors of k3_root_open_dir.
 */
K3_MUST int dircache_get(struct dircache *c, const char *name, size_t n, bool make,
			 struct dir **out, struct k3_err *e);
/* The entry `base` of d, which was no directory, is gone: it may have been a symlink on the way. */
void dircache_lost_node(struct dircache *c);
/* The same for a directory and everything below it. */
void dircache_lost_dir(struct dircache *c, const struct dir *d, const char *base);
/* Anything may be gone. */
void dircache_lost_all(struct dircache *c);
/* The attributes of directory `base` in d changed: what it hands down is not known any more. */
void dircache_changed(struct dircache *c, const struct dir *d, const char *base);

#endif
