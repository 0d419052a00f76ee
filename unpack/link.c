/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hard links.  The header of a link carries attributes of its own, which belong to the
 * inode that all its names share.  In a shared tree that inode may belong to the parent tree
 * too: then the tree first gets an inode of its own ("copy-up").
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "unpack/apply.h"

/* Names of one directory that a scan has found; a directory of a million names fits. */
#define SCAN_NAMES_MAX (32u << 20)

/* Gives all names of the inode `old` the inode at `to` instead. */
struct relink {
	ino_t old;
	const struct place *to;
	struct apply *apply;
	struct k3_buf names;
};

static int relink_entry(void *arg, int fd, const struct k3_walk_ent *ent, bool *descend,
			struct k3_err *e)
{
	struct relink *r = arg;

	(void)fd, (void)descend;
	if (apply_work(r->apply, 1, e))
		return -1;
	if (ent->ino != r->old || ent->is_dir)
		return 0;
	return k3_buf_add(&r->names, ent->name, strlen(ent->name) + 1, e);
}

static int relink_listed(void *arg, int fd, struct k3_err *e)
{
	struct relink *r = arg;

	for (size_t i = 0; i < r->names.len; i += strlen((char *)r->names.p + i) + 1) {
		const char *name = (const char *)r->names.p + i;

		if (unlinkat(fd, name, 0) || linkat(r->to->dir->fd, r->to->base, fd, name, 0))
			return k3_fail_sys(e, errno, "cannot link %s anew", name);
	}
	k3_buf_reset(&r->names);
	return k3_cancel_check(r->apply->opts->cancel, e);
}

/* Replaces the inode at `at` (st) by a copy in the whole tree; st becomes the copy's. */
static int copy_up(struct apply *a, const struct place *at, struct stat *st, struct k3_err *e)
{
	/* No layer can have brought a name with this prefix: it would be a whiteout. */
	static const char temp[] = ".wh.k3simg-copy-up";
	const struct k3_walk_ops ops = { .entry = relink_entry, .listed = relink_listed };
	struct relink r = {
		.old = st->st_ino,
		.to = at,
		.apply = a,
		.names = K3_BUF(SCAN_NAMES_MAX),
	};

	if (apply_copies(a, st, e) ||
	    k3_copy_node(at->dir->fd, at->base, at->dir->fd, temp, true, e))
		return -1;
	if (renameat(at->dir->fd, temp, at->dir->fd, at->base)) {
		k3_fail_sys(e, errno, "cannot replace %s by a copy", at->path);
		unlinkat(at->dir->fd, temp, 0);
		return -1;
	}
	int rc = k3_walk(a->rootfd, &ops, &r, e);

	k3_buf_release(&r.names);
	if (rc)
		return -1;
	if (fstatat(at->dir->fd, at->base, st, AT_SYMLINK_NOFOLLOW))
		return k3_fail_sys(e, errno, "cannot look at %s", at->path);
	u64set_add(&a->copied, st->st_ino);
	return 0;
}

/* Was the inode made by this layer?  Link counts are not asked: gVisor shows stale ones. */
static bool is_ours(const struct apply *a, const struct place *at, const struct stat *st)
{
	if (!a->opts->shared || u64set_has(&a->copied, st->st_ino))
		return true;
	return u64set_has(&a->written, place_hash(at)) && !u64set_has(&a->foreign, st->st_ino);
}

static int look_at_target(const struct apply *a, const struct place *to, struct stat *st,
			  bool *lost, struct k3_err *e)
{
	if (fstatat(to->dir->fd, to->base, st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISDIR(st->st_mode))
			return k3_fail(e, K3_FORMAT, "hard link to the directory %s", to->path);
		return 0;
	}
	*lost = errno == ENOENT && u64set_has(&a->lost, place_hash(to));
	if (*lost)
		return 0;
	if (errno == ENOENT)
		return k3_fail(e, K3_FORMAT, "hard link to %s, which does not exist", to->path);
	return k3_fail_sys(e, errno, "cannot look at the hard link target %s", to->path);
}

/* A name of a device node that could not be made is lost with it. */
static int lose_link(struct apply *a, const struct place *at, struct k3_err *e)
{
	if (place_clear(a, at, e))
		return -1;
	apply_loss(a, UNPACK_LOSS_DEVICE, at->path, "link", EPERM);
	u64set_add(&a->lost, place_hash(at));
	return 0;
}

static int link_or_copy(struct apply *a, const struct place *to, const struct stat *st,
			const struct place *at, struct k3_err *e)
{
	int rc = linkat(to->dir->fd, to->base, at->dir->fd, at->base, 0);

	if (rc && errno == EEXIST) {
		if (place_clear(a, at, e))
			return -1;
		rc = linkat(to->dir->fd, to->base, at->dir->fd, at->base, 0);
	}
	if (!rc)
		return 0;
	if (k3_link_refused(errno))
		return apply_copies(a, st, e) ? -1
					      : k3_copy_node(to->dir->fd, to->base, at->dir->fd,
							     at->base, true, e);
	if (errno == ENOENT)
		return k3_fail(e, K3_FORMAT, "%s: hard link to %s, which it replaces", at->path,
			       to->path);
	return k3_fail_sys(e, errno, "cannot link %s to %s", at->path, to->path);
}

int create_link(struct apply *a, const struct place *at, const struct tar_entry *t,
		struct k3_err *e)
{
	struct place to;
	struct stat st;
	bool differ;

	if (k3_path_clean(t->link, &a->link, e))
		return k3_wrap(e, "hard link target of %s", at->path);
	if (!a->link.len)
		return k3_fail(e, K3_FORMAT, "%s: hard link to the root directory", at->path);
	if (place_find(a, (const char *)a->link.p, false, &to, e)) {
		if (e->code == K3_NOTFOUND)
			e->code = K3_FORMAT;
		return k3_wrap(e, "hard link target of %s", at->path);
	}
	if (!strcmp(to.dir->real, at->dir->real) && !strcmp(to.base, at->base))
		return k3_fail(e, K3_FORMAT, "%s: hard link to itself", at->path);
	bool lost = false;

	if (look_at_target(a, &to, &st, &lost, e))
		return k3_wrap(e, "%s", at->path);
	if (lost)
		return lose_link(a, at, e);
	if (attrs_differ(a, &to, &st, t, &differ, e))
		return k3_wrap(e, "%s", at->path);
	bool ours = is_ours(a, &to, &st);

	if (differ && !ours && copy_up(a, &to, &st, e))
		return k3_wrap(e, "%s", at->path);
	/* Before there is a second name. */
	if (differ && attrs_update(a, &to, &st, t, e))
		return -1;
	if (!ours && !differ)
		u64set_add(&a->foreign, st.st_ino);
	return link_or_copy(a, &to, &st, at, e);
}
