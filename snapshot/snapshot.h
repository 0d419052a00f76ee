/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Native snapshot trees on disk: begin (empty or as a clone of a parent tree), fill, seal,
 * publish.  Knows directories, not images and not databases.
 *
 * A tree lives in a staging directory until it is published by one rename; freeing an
 * unpublished tree removes it.  Different trees may be used on different threads.
 */
#ifndef K3_SNAPSHOT_SNAPSHOT_H
#define K3_SNAPSHOT_SNAPSHOT_H

#include <stdint.h>

#include "base/err.h"
#include "base/thread.h"

/* The cheapest way a clone may share file content; it falls back towards SNAP_COPY by itself. */
enum snap_share {
	SNAP_HARDLINK, /* same inode: only if nobody ever edits either tree in place */
	SNAP_REFLINK,  /* own inode, shared extents */
	SNAP_COPY,
};

struct snap_tree;

/* As containerd counts (continuity/fs DiskUsage): distinct inodes, st_blocks * 512. */
struct snap_usage {
	uint64_t inodes;
	uint64_t bytes;
};

/*
 * Makes stagedir/name (mode 0755, owner root) and opens it.
 * parentfd = -1: empty.  Else: a copy of that tree with every attribute (type, mode, owner,
 * mtime of all kinds of entries, xattrs, hard-link groups inside the tree); content shared
 * as `share` allows, per file falling back on EMLINK, EXDEV, EPERM, EOPNOTSUPP.
 * parentfd is borrowed and must stay unchanged while the clone is filled and sealed.
 * A leftover of the same name is removed first.
 */
K3_MUST int snap_begin(int stagefd, const char *name, int parentfd, enum snap_share share,
		       struct k3_cancel *cancel, struct snap_tree **out, struct k3_err *e);

/*
 * As snap_begin, but with up to `threads` threads, the caller's included, at work while the tree
 * is cloned and while it is sealed; none is left on return.  The result is the same for every
 * number (0 is 1).  Where a file has run out of links (EMLINK), which of its names in the
 * tree are links and which are copies is not defined.
 */
K3_MUST int snap_begin_mt(int stagefd, const char *name, int parentfd, enum snap_share share,
			  unsigned threads, struct k3_cancel *cancel, struct snap_tree **out,
			  struct k3_err *e);

int snap_rootfd(const struct snap_tree *t); /* borrowed */
/* True when inodes of the tree belong to another tree too (unpack_opts.shared). */
bool snap_is_shared(const struct snap_tree *t);

/*
 * Counts what this tree adds: inodes that no other tree shares, plus all directories.
 * Nothing may be written to the tree afterwards.
 */
K3_MUST int snap_seal(struct snap_tree *t, struct snap_usage *out, struct k3_err *e);

/*
 * Renames a sealed tree to destfd/name (never replaces).  Durability is the caller's: one
 * syncfs for many trees before, one fsync of destfd after.
 */
K3_MUST int snap_publish(struct snap_tree *t, int destfd, const char *name, struct k3_err *e);

/*
 * What several trees take on disk together, and which of it is whose.  A file that hard links
 * share between trees counts once, for the set of trees that have it.  Belongs to one thread; 16
 * to 40 bytes of memory for each inode with more than one name.
 */
struct snap_disk;

struct snap_disk *snap_disk_new(void) __attribute__((returns_nonnull));
void snap_disk_free(struct snap_disk *d); /* NULL is a no-op */
/*
 * Counts all below the directory fd, itself included, as tree number *tree: 0, 1, ....  What
 * is mounted there is left out, and so is what is removed meanwhile; a directory that is removed is
 * K3_NOTFOUND or K3_IO with sys ENOENT, and what was seen before counts.  K3_LIMIT: more than 16
 * million ways of sharing.
 */
K3_MUST int snap_disk_add(struct snap_disk *d, int fd, struct k3_cancel *cancel, size_t *tree,
			  struct k3_err *e);
/* What exactly these n trees have in common; numbers rise.  -1 ends. */
typedef int snap_disk_fn(void *arg, const size_t *trees, size_t n, const struct snap_usage *sum,
			 struct k3_err *e);
K3_MUST int snap_disk_each(struct snap_disk *d, snap_disk_fn *fn, void *arg, struct k3_err *e);

/*
 * What comparisons of one tree that grows, layer by layer, with the snapshots of these layers
 * share: pairs of files found equal are not read again as long as neither inode changes.
 * Belongs to one thread.
 */
struct snap_compare;

struct snap_compare *snap_compare_new(void) __attribute__((returns_nonnull));
void snap_compare_free(struct snap_compare *c); /* NULL is a no-op */

/*
 * One difference.  path: from the top of the tree, "" for the top itself; what: a phrase such
 * as "is missing" or "mode is 0644 instead of 0600".  Both are borrowed, and the path is as the
 * file system has it: escape it before it is shown.  -1 ends the comparison.
 */
typedef int snap_differ_fn(void *arg, const char *path, const char *what, struct k3_err *e);

/*
 * Compares the tree at `have` with the one at `want`, which is right: names, types, modes,
 * owners, sizes, contents, modification times of all but directories, link targets, device
 * numbers, extended attributes, and which names are hard links to one file.  Not compared, since
 * containerd does not keep them when it copies a tree for the next layer: times of directories,
 * links of symbolic links and special files; neither are security.selinux, and attributes of
 * the top but its mode and owner.  What cannot be read of `have` is a difference.
 * Nobody may change either tree meanwhile.  Uses at most 40 descriptors, no recursion, and 32
 * bytes of memory per file.
 * Fails when `want` cannot be read, fn fails, or cancel is raised.
 */
K3_MUST int snap_compare(struct snap_compare *c, int want, int have, struct k3_cancel *cancel,
			 snap_differ_fn *fn, void *arg, struct k3_err *e);

/*
 * What a set of trees takes alone, that is, what becomes free when all of them are removed: an
 * inode that another tree has too does not count.  Belongs to one thread.
 */
struct snap_total;

struct snap_total *snap_total_new(void) __attribute__((returns_nonnull));
void snap_total_free(struct snap_total *t); /* NULL is a no-op */
/* Adds the tree at fd, which is not one of those inside already.  On failure part of it counts. */
K3_MUST int snap_total_add(struct snap_total *t, int fd, struct k3_cancel *cancel,
			   struct k3_err *e);
struct snap_usage snap_total_get(const struct snap_total *t);

/* NULL is a no-op.  An unpublished tree is removed (errors ignored: sweep gets it later). */
void snap_free(struct snap_tree *t);

#endif
