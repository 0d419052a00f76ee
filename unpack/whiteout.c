/* SPDX-License-Identifier: Apache-2.0 */
/* Whiteouts: names that remove (docs/unpack.md). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "unpack/apply.h"

#define PREFIX ".wh."
#define OPAQUE ".wh..wh..opq"
#define DOOMED_MAX (64u << 20) /* names of one directory */

/* One opaque directory being emptied of everything that this layer has not written. */
struct opaque {
	struct apply *a;
	uint64_t *hashes; /* of the directories from the opaque one down */
	size_t depth, cap;
	struct k3_buf doomed; /* names to remove from the directory in work */
};

static uint64_t child_hash(uint64_t dir, bool is_root, const char *name)
{
	if (!is_root)
		dir = pathhash_add(dir, "/", 1);
	return pathhash_add(dir, name, strlen(name));
}

static uint64_t opaque_child(const struct opaque *o, const char *name)
{
	uint64_t dir = o->hashes[o->depth - 1];

	return child_hash(dir, dir == o->a->dirs.seed, name);
}

static int opaque_entry(void *arg, int fd, const struct k3_walk_ent *ent, bool *descend,
			struct k3_err *e)
{
	struct opaque *o = arg;

	(void)fd;
	if (apply_work(o->a, 1, e))
		return -1;
	if (u64set_has(&o->a->written, pathhash_end(opaque_child(o, ent->name))))
		return 0;
	*descend = false;
	o->a->dir_removed |= ent->is_dir;
	return k3_buf_add(&o->doomed, ent->name, strlen(ent->name) + 1, e);
}

static int opaque_listed(void *arg, int fd, struct k3_err *e)
{
	struct opaque *o = arg;

	for (size_t i = 0; i < o->doomed.len; i += strlen((char *)o->doomed.p + i) + 1)
		if (k3_remove_tree(fd, (const char *)o->doomed.p + i, e))
			return -1;
	k3_buf_reset(&o->doomed);
	return k3_cancel_check(o->a->opts->cancel, e);
}

static int opaque_enter(void *arg, int fd, const char *name, struct k3_err *e)
{
	struct opaque *o = arg;
	uint64_t h = opaque_child(o, name);

	(void)fd, (void)e;
	o->hashes = k3_xgrow(o->hashes, o->depth, &o->cap, sizeof(*o->hashes));
	o->hashes[o->depth++] = h;
	return 0;
}

static int opaque_leave(void *arg, int fd, struct k3_err *e)
{
	struct opaque *o = arg;

	(void)fd, (void)e;
	o->depth--;
	return 0;
}

static int make_opaque(struct apply *a, struct dir *d, struct k3_err *e)
{
	static const struct k3_walk_ops ops = {
		.entry = opaque_entry,
		.listed = opaque_listed,
		.enter = opaque_enter,
		.leave = opaque_leave,
	};
	struct opaque o = { .a = a, .doomed = K3_BUF(DOOMED_MAX) };

	o.hashes = k3_xgrow(NULL, 0, &o.cap, sizeof(*o.hashes));
	o.hashes[o.depth++] = d->hash;
	int rc = k3_walk(d->fd, &ops, &o, e);

	dircache_lost_all(&a->dirs);
	k3_buf_release(&o.doomed);
	free(o.hashes);
	return rc;
}

int whiteout(struct apply *a, const struct place *at, bool *was, struct k3_err *e)
{
	const char *victim = at->base + strlen(PREFIX);

	*was = !strncmp(at->base, PREFIX, strlen(PREFIX));
	if (!*was)
		return 0;
	if (!strcmp(at->base, OPAQUE))
		return make_opaque(a, at->dir, e) ? k3_wrap(e, "%s", at->path) : 0;
	if (!*victim || !strcmp(victim, ".") || !strcmp(victim, ".."))
		return k3_fail(e, K3_UNSAFE, "%s: invalid whiteout name", at->path);
	return place_clear(a, &(struct place){ at->dir, victim, at->path }, e);
}

uint64_t place_hash(const struct place *p)
{
	return pathhash_end(child_hash(p->dir->hash, !*p->dir->real, p->base));
}

int place_clear(struct apply *a, const struct place *p, struct k3_err *e)
{
	if (unlinkat(p->dir->fd, p->base, 0) == 0) {
		dircache_lost_node(&a->dirs);
		return 0;
	}
	if (errno == ENOENT)
		return 0;
	/* A directory, or something that k3_remove_tree knows how to complain about. */
	if (k3_remove_tree(p->dir->fd, p->base, e))
		return k3_wrap(e, "cannot replace or remove %s", p->path);
	dircache_lost_dir(&a->dirs, p->dir, p->base);
	a->dir_removed = true;
	return 0;
}

int place_find(struct apply *a, const char *path, bool make, struct place *out, struct k3_err *e)
{
	const char *slash = strrchr(path, '/');

	out->path = path;
	out->base = slash ? slash + 1 : path;
	/* Not the file system's fault; a whiteout is never made and may name what is that long. */
	bool mark = !strncmp(out->base, PREFIX, strlen(PREFIX));

	if (strlen(out->base) - (mark ? strlen(PREFIX) : 0) > NAME_MAX)
		return k3_fail(e, K3_LIMIT, "%.64s...: a name too long for a file system",
			       out->base);
	return dircache_get(&a->dirs, path, slash ? (size_t)(slash - path) : 0, make, &out->dir, e);
}
