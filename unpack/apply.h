/* SPDX-License-Identifier: Apache-2.0 */
/* One layer being applied: what the parts of unpack/ share.  Private to unpack/. */
#ifndef K3_UNPACK_APPLY_H
#define K3_UNPACK_APPLY_H

#include <sys/stat.h>

#include "unpack/dircache.h"
#include "unpack/tar.h"
#include "unpack/times.h"
#include "unpack/u64set.h"
#include "unpack/unpack.h"

struct apply {
	int rootfd;
	const struct unpack_opts *opts;
	struct unpack_stats *stats;
	struct tar *tar;
	struct dircache dirs;
	struct times times;
	struct u64set written; /* path hashes of this layer's entries (opaque rule) */
	struct u64set lost;    /* path hashes of device nodes that could not be made */
	/* Only with opts.shared; inode numbers. */
	struct u64set foreign;    /* older than this layer, but got a name from it */
	struct u64set copied;     /* copied up: ours under names that are not in written */
	struct k3_buf name, link; /* clean paths of the entry in work */
	bool dir_removed;         /* some directory went away during this layer */
	uint64_t copied_bytes;    /* in files that were copied, as their sizes say */
};

/* Where an entry goes: base in dir; path for messages. */
struct place {
	struct dir *dir;
	const char *base;
	const char *path;
};

/* Finds the directory of a clean path (not the root's).  path is borrowed by *out. */
K3_MUST int place_find(struct apply *a, const char *path, bool make, struct place *out,
		       struct k3_err *e);
uint64_t place_hash(const struct place *p);
/* Removes whatever is there, recursively; nothing there is fine. */
K3_MUST int place_clear(struct apply *a, const struct place *p, struct k3_err *e);

/* Counts one name looked at, or checks only (0).  K3_LIMIT. */
K3_MUST int apply_work(struct apply *a, uint64_t steps, struct k3_err *e);
/* A file of this size is going to be copied.  K3_LIMIT. */
K3_MUST int apply_copies(struct apply *a, const struct stat *st, struct k3_err *e);

void apply_loss(struct apply *a, enum unpack_loss_kind kind, const char *path, const char *what,
		int errnum);

/* attrs.c */
void probe_learn(struct probe *p, mode_t asked, const struct stat *st);
/*
 * Owner, xattrs, mode and (except for directories) times of a node just made with mode
 * `asked`, of which probe tells what it has got.  fd: open on it, or -1 for nodes that cannot
 * be opened, which go by name.
 */
K3_MUST int attrs_set(struct apply *a, const struct place *at, int fd, const struct probe *probe,
		      const struct tar_entry *t, struct k3_err *e);
/* A directory that was there before: all but its times. */
K3_MUST int attrs_merge(struct apply *a, const struct place *at, const struct tar_entry *t,
			struct k3_err *e);
/* Does a hard link's header ask for anything that the inode (st, at `at`) has not got? */
K3_MUST int attrs_differ(struct apply *a, const struct place *at, const struct stat *st,
			 const struct tar_entry *t, bool *differ, struct k3_err *e);
/* Makes it so. */
K3_MUST int attrs_update(struct apply *a, const struct place *at, const struct stat *st,
			 const struct tar_entry *t, struct k3_err *e);

/* create.c, link.c, whiteout.c */
K3_MUST int create_node(struct apply *a, const struct place *at, const struct tar_entry *t,
			struct k3_err *e);
K3_MUST int create_link(struct apply *a, const struct place *at, const struct tar_entry *t,
			struct k3_err *e);
/* *was: the name is a whiteout, and it was carried out.  K3_UNSAFE for one that escapes. */
K3_MUST int whiteout(struct apply *a, const struct place *at, bool *was, struct k3_err *e);

#endif
