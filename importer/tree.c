/* SPDX-License-Identifier: Apache-2.0 */
/* Trees of this run: staging names, parents, lifetime. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "importer/imp.h"
#include "importer/losses.h"
#include "importer/root.h"

static int check_parent(const struct imp_tree_from *from, struct k3_err *e)
{
	if (!from || !from->parent)
		return 0;
	if (from->parent_id)
		return k3_fail(e, K3_BUG, "a tree cannot have two parents");
	if (!from->parent->sealed || from->parent->dropped)
		return k3_fail(e, K3_BUG, "the parent tree is not sealed");
	return 0;
}

/* Takes the place of this chain in the list, so that nobody else begins it. */
static int add_tree(struct imp *i, struct imp_tree *t, struct k3_err *e)
{
	K3_WITH_MONITOR(i->lock);
	for (size_t k = 0; k < i->ntrees; k++)
		if (!i->trees[k]->dropped && oci_digest_eq(&i->trees[k]->chain, &t->chain))
			return k3_fail(e, K3_BUG, "this tree was begun already");
	i->trees = k3_xgrow(i->trees, i->ntrees, &i->trees_cap, sizeof(struct imp_tree *));
	i->trees[i->ntrees++] = t;
	return 0;
}

/*
 * A sealed tree is a directory of ours and nothing more: a run may have thousands of them,
 * and each struct snap_tree holds descriptors.
 */
static void sealed_name(const struct imp_tree *t, char out[IMP_PATH_MAX + 8])
{
	char name[IMP_PATH_MAX];

	imp_stage_name(&t->chain, name);
	snprintf(out, IMP_PATH_MAX + 8, "sealed-%s", name);
}

/* t->parentfd = the parent's root, -1 = no parent. */
static int open_parent(struct imp_tree *t, struct k3_err *e)
{
	char path[IMP_PATH_MAX + 8];

	if (t->parent) {
		sealed_name(t->parent, path);
		return k3_open_dir(t->owner->treesfd, path, &t->parentfd, e);
	}
	if (!t->parent_id)
		return 0;
	imp_snapshot_path(t->parent_id, path);
	if (k3_open_dir(t->owner->rootfd, path, &t->parentfd, e)) {
		/* Seen a moment ago: containerd has started since and removed it. */
		if (e->code == K3_NOTFOUND)
			e->code = K3_BUSY;
		return -1;
	}
	return 0;
}

static struct imp_tree *new_tree(struct imp *i, const struct oci_digest *chain,
				 const struct imp_tree_from *from)
{
	struct imp_tree *t = k3_xcalloc(1, sizeof(*t));

	t->owner = i;
	t->chain = *chain;
	t->parentfd = -1;
	imp_losses_init(&t->losses);
	if (from) {
		t->parent = from->parent;
		t->parent_id = from->parent_id;
		t->parent_chain = from->parent ? from->parent->chain : from->parent_chain;
	}
	return t;
}

int imp_tree_begin(struct imp *i, const struct oci_digest *chain, const struct imp_tree_from *from,
		   struct k3_cancel *cancel, struct imp_tree **out, struct k3_err *e)
{
	char name[IMP_PATH_MAX];
	struct imp_tree *t;

	if (!i->write)
		return k3_fail(e, K3_BUG, "root was not opened for writing");
	if (check_parent(from, e))
		return -1;
	t = new_tree(i, chain, from);
	if (add_tree(i, t, e)) {
		free(t);
		return -1;
	}
	if (t->parent)
		imp_losses_inherit(&t->losses, &t->parent->losses);
	else if (t->parent_id)
		imp_losses_recall(i, t->parent_id, &t->parent_chain, &t->losses);
	imp_stage_name(chain, name);
	if (open_parent(t, e) || snap_begin_mt(i->treesfd, name, t->parentfd, SNAP_HARDLINK,
					       from ? from->threads : 1, cancel, &t->snap, e)) {
		imp_tree_drop(t);
		return k3_wrap(e, "tree %s", name);
	}
	*out = t;
	return 0;
}

int imp_tree_rootfd(const struct imp_tree *t)
{
	return snap_rootfd(t->snap);
}

bool imp_tree_is_shared(const struct imp_tree *t)
{
	return snap_is_shared(t->snap);
}

int imp_tree_seal(struct imp_tree *t, struct k3_err *e)
{
	char name[IMP_PATH_MAX + 8];

	sealed_name(t, name);
	if (snap_seal(t->snap, &t->usage, e) || snap_publish(t->snap, t->owner->treesfd, name, e))
		return k3_wrap(e, "tree %s", name);
	snap_free(t->snap);
	t->snap = NULL;
	k3_closep(&t->parentfd);
	t->sealed = true;
	return 0;
}

int imp_tree_compare(struct imp_tree *t, uint64_t id, struct k3_cancel *cancel, imp_differ_fn *fn,
		     void *arg, struct k3_err *e)
{
	char path[IMP_PATH_MAX];
	K3_AUTO_FD int fd = -1;

	imp_snapshot_path(id, path);
	if (!t->compare)
		t->compare = snap_compare_new();
	if (k3_open_dir(t->owner->rootfd, path, &fd, e) ||
	    snap_compare(t->compare, imp_tree_rootfd(t), fd, cancel, fn, arg, e))
		return k3_wrap(e, "comparison with %s", path);
	return 0;
}

uint64_t imp_tree_bytes(const struct imp_tree *t)
{
	return t->usage.bytes;
}

int imp_tree_place(struct imp_tree *t, int snapshots, struct k3_err *e)
{
	char from[IMP_PATH_MAX + 8], to[32];

	sealed_name(t, from);
	snprintf(to, sizeof(to), "%" PRIu64, t->id);
	if (k3_rename_new(t->owner->treesfd, from, snapshots, to, e))
		return k3_wrap(e, "snapshot %s", t->name);
	t->published = true;
	return 0;
}

int imp_tree_fill(struct imp_tree *t, int snapshots, struct k3_err *e)
{
	char from[IMP_PATH_MAX + 8], to[32];

	sealed_name(t, from);
	snprintf(to, sizeof(to), "%" PRIu64, t->id);
	/* Replaces the directory, and fails if anything is in it. */
	if (renameat(t->owner->treesfd, from, snapshots, to))
		return k3_fail_sys(e, errno, "cannot move the tree to " IMP_SNAPSHOTS_DIR "/%s",
				   to);
	t->published = true;
	return 0;
}

void imp_tree_drop(struct imp_tree *t)
{
	char name[IMP_PATH_MAX + 8];
	struct k3_err ignored;

	if (!t)
		return;
	snap_free(t->snap);
	t->snap = NULL;
	snap_compare_free(t->compare);
	t->compare = NULL;
	k3_closep(&t->parentfd);
	sealed_name(t, name);
	if (t->sealed && !t->dropped && !t->published)
		(void)!k3_remove_tree(t->owner->treesfd, name, &ignored);

	K3_WITH_MONITOR(t->owner->lock);
	t->dropped = true; /* last: until now its staging name is taken */
}
