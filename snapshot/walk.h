/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Visits a tree, alone or side by side with a second one that is being made like it, on one
 * thread or several.  Private to snapshot/.
 *
 * Every directory is listed once, and nothing is done to it after its `listed`: what comes
 * later happens inside its sub-directories.  So any thread may take any sub-directory, and the
 * attributes that `listed` sets stay as they are.
 */
#ifndef K3_SNAPSHOT_WALK_H
#define K3_SNAPSHOT_WALK_H

#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#include "base/err.h"
#include "base/thread.h"

#define WALK_THREADS_MAX 16
#define WALK_TOP ((mode_t)-1) /* of the top: nobody made it here */

struct walk_attrs {
	struct timespec times[2];
	uid_t uid;
	gid_t gid;
	mode_t mode; /* 07777 */
	mode_t made; /* what `subdir` said, or WALK_TOP */
};

/* The directory that is being listed. */
struct walk_dir {
	int from;
	int to;                         /* its counterpart in the second tree; -1 with one tree */
	const char *path;               /* from the top ("") down; always "" with one tree */
	const struct walk_attrs *attrs; /* of from */
};

/* Each ends the walk by returning -1.  arg is the one of the thread. */
struct walk_ops {
	/* One entry that is no directory, with its d_ino. */
	int (*file)(void *arg, const struct walk_dir *d, const char *name, ino_t ino,
		    struct k3_err *e);
	/*
	 * One sub-directory.  With two trees its counterpart must exist afterwards; *made (the
	 * mode that it was given) comes back in its attrs.
	 */
	int (*subdir)(void *arg, const struct walk_dir *d, const char *name, const struct stat *st,
		      mode_t *made, struct k3_err *e);
	/* All entries of d were shown, the top's too.  May be NULL. */
	int (*listed)(void *arg, const struct walk_dir *d, struct k3_err *e);
	bool skip_mounts; /* mount points are left out, and no error */
};

struct walk_job {
	int from;                 /* borrowed, as is to */
	int to;                   /* -1: one tree only */
	unsigned threads;         /* 1 .. WALK_THREADS_MAX, the caller's included */
	struct k3_cancel *cancel; /* may be NULL */
	const struct walk_ops *ops;
	void *const *args; /* one for each thread */
};

/*
 * Never follows a symlink; a mount point is K3_BUSY, unless it is skipped.  Other threads are
 * started only when there is work for them; where the system refuses one, the walk goes on with
 * fewer.  The first failure is the one reported and stops all threads; none runs any more on
 * return. Uses at most 36 descriptors per thread (half of that for one tree), however deep the tree
 * is, and no recursion.
 */
K3_MUST int walk_trees(const struct walk_job *job, struct k3_err *e);

#endif
