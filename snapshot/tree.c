/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "snapshot/walk.h"

#define TREE_MODE 0755

struct snap_tree {
	int stagefd; /* our own descriptor: the caller may close its one first */
	int fd;
	char *name;
	unsigned threads;
	struct clone_sum parent; /* what is shared with it */
	bool sealed, published;
};

static void tree_freep(struct snap_tree **t)
{
	snap_free(*t);
}

int snap_begin_mt(int stagefd, const char *name, int parentfd, enum snap_share share,
		  unsigned threads, struct k3_cancel *cancel, struct snap_tree **out,
		  struct k3_err *e)
{
	if (k3_remove_tree(stagefd, name, e))
		return k3_wrap(e, "leftover in the staging directory");
	__attribute__((cleanup(tree_freep))) struct snap_tree *t = k3_xcalloc(1, sizeof(*t));

	t->name = k3_xstrdup(name);
	t->fd = -1;
	t->threads = threads < 1 ? 1 : threads < WALK_THREADS_MAX ? threads : WALK_THREADS_MAX;
	t->stagefd = fcntl(stagefd, F_DUPFD_CLOEXEC, 0);
	if (t->stagefd < 0)
		return k3_fail_sys(e, errno, "cannot keep the staging directory open");
	if (k3_make_dir(t->stagefd, name, TREE_MODE, &t->fd, e))
		return -1;
	const struct clone_how how = { share, t->threads, cancel };

	if (parentfd >= 0 && clone_tree(parentfd, t->fd, &how, &t->parent, e))
		return k3_wrap(e, "%s", name);
	*out = K3_STEAL(t);
	return 0;
}

int snap_begin(int stagefd, const char *name, int parentfd, enum snap_share share,
	       struct k3_cancel *cancel, struct snap_tree **out, struct k3_err *e)
{
	return snap_begin_mt(stagefd, name, parentfd, share, 1, cancel, out, e);
}

int snap_rootfd(const struct snap_tree *t)
{
	return t->fd;
}

bool snap_is_shared(const struct snap_tree *t)
{
	return t->parent.linked;
}

int snap_seal(struct snap_tree *t, struct snap_usage *out, struct k3_err *e)
{
	if (usage_count(t->fd, &t->parent.known, t->threads, out, e))
		return k3_wrap(e, "%s", t->name);
	inomap_release(&t->parent.known);
	t->sealed = true;
	return 0;
}

int snap_publish(struct snap_tree *t, int destfd, const char *name, struct k3_err *e)
{
	if (!t->sealed || t->published)
		return k3_fail(e, K3_BUG, "tree %s is not ready to be published", t->name);
	if (k3_rename_new(t->stagefd, t->name, destfd, name, e))
		return -1;
	t->published = true;
	return 0;
}

void snap_free(struct snap_tree *t)
{
	struct k3_err ignored;

	if (!t)
		return;
	k3_closep(&t->fd);
	if (t->stagefd >= 0 && !t->published && k3_remove_tree(t->stagefd, t->name, &ignored)) {
		/* Left for the sweep of the staging directory. */
	}
	k3_closep(&t->stagefd);
	inomap_release(&t->parent.known);
	free(t->name);
	free(t);
}
