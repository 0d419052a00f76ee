/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/schema.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "importer/native.h"

#define POLL_MS 50
/* While containerd writes all the time; what may then be out of step is looked at again later. */
#define COPIES_MAX 20u

bool imp_val_eq(struct bolt_val a, struct bolt_val b)
{
	return a.n == b.n && (!a.n || !memcmp(a.p, b.p, a.n));
}

/* ---- opening ------------------------------------------------------------------------------ */

static int busy(struct imp *i, struct k3_err *e)
{
	k3_fail(e, K3_BUSY, "containerd is running on this root (%s)", i->root);
	return k3_hint(e,
		       "stop it for as long: systemctl stop containerd (k3s: systemctl stop k3s, "
		       "or k3s-agent)");
}

/*
 * A new database gets its name when it is complete: a run that is cut off leaves none, instead
 * of one that neither containerd nor the next run can open.
 */
static int make_one(struct imp *i, int dir, const char *name, unsigned mode, struct k3_err *e)
{
	struct bolt_db *db;

	if (i->stagefd < 0 || !faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW))
		return 0;
	if (k3_remove_tree(i->stagefd, name, e) ||
	    bolt_open(i->stagefd, name, BOLT_WRITE | BOLT_CREATE, mode, &db, e))
		return -1;
	bolt_close(db);
	if (k3_rename_new(i->stagefd, name, dir, name, e)) {
		bool made = e->sys == EEXIST; /* by a containerd that was started just now */

		unlinkat(i->stagefd, name, 0);
		return made ? 0 : -1;
	}
	return k3_fsync(dir, name, e);
}

/* A missing file or directory leaves *out = NULL. */
static int open_one(struct imp *i, const char *dir, const char *name, unsigned flags, unsigned mode,
		    struct bolt_db **out, struct k3_err *e)
{
	K3_AUTO_FD int fd = -1;
	struct k3_err why = { 0 };

	*out = NULL;
	if (!k3_open_dir(i->rootfd, dir, &fd, &why) &&
	    !(flags & BOLT_CREATE && make_one(i, fd, name, mode, &why)) &&
	    !bolt_open(fd, name, flags, mode, out, &why))
		return 0;
	if (why.code == K3_NOTFOUND)
		return 0;
	*e = why;
	return k3_wrap(e, "%s/%s", i->root, dir);
}

static int open_both(struct imp *i, enum imp_dbs_mode mode, struct imp_dbs *out, struct k3_err *e)
{
	unsigned read = i->mode == IMP_OFFLINE ? BOLT_READ : BOLT_READ | BOLT_COPY;
	unsigned make = BOLT_WRITE | BOLT_CREATE;
	const struct {
		unsigned meta, native;
	} flags[] = { [IMP_DBS_READ] = { read, read },
		      [IMP_DBS_WRITE] = { make, BOLT_WRITE },
		      [IMP_DBS_WRITE_NATIVE] = { make, make },
		      [IMP_DBS_EDIT] = { BOLT_WRITE, BOLT_WRITE } };

	*out = (struct imp_dbs){ NULL, NULL };
	if (!open_one(i, IMP_META_DIR, "meta.db", flags[mode].meta, 0644, &out->meta, e) &&
	    !open_one(i, IMP_NATIVE_DIR, "metadata.db", flags[mode].native, 0600, &out->native, e))
		return 0;
	imp_dbs_close(out);
	return -1;
}

/* containerd changes both, one after the other: copies must be of the same moment. */
static bool apart(const struct imp_dbs *d)
{
	return d->meta && bolt_is_copy(d->meta) && bolt_is_stale(d->meta);
}

int imp_dbs_open(struct imp *i, enum imp_dbs_mode mode, unsigned patience_ms, struct imp_dbs *out,
		 struct k3_err *e)
{
	unsigned copies = 0;

	for (uint64_t end = k3_now_ms() + patience_ms;;) {
		struct k3_err why = { 0 };

		if (!open_both(i, mode, out, &why)) {
			if (apart(out) && copies++ < COPIES_MAX) {
				imp_dbs_close(out);
				continue;
			}
			if (mode == IMP_DBS_READ || !imp_dbs_sound(i, out, e))
				return 0;
			imp_dbs_close(out);
			return -1;
		}
		if (why.code != K3_BUSY) {
			*e = why;
			return -1;
		}
		if (k3_now_ms() >= end)
			return busy(i, e);
		if (k3_cancel_sleep(i->cancel, POLL_MS, e))
			return -1;
	}
}

void imp_dbs_close(struct imp_dbs *d)
{
	bolt_close(d->native);
	bolt_close(d->meta);
	*d = (struct imp_dbs){ NULL, NULL };
}

/* ---- before anything is written ------------------------------------------------------------- */

static int unknown_layout(struct bolt_val key, struct k3_err *e)
{
	k3_fail(e, K3_STORE, "the layout is unknown: there is an entry \"%.*s\"", (int)key.n,
		(const char *)key.p);
	return k3_hint(e, "use a newer k3simg if a newer containerd has written it; else restore "
			  "it from a backup, or begin with a new root");
}

/* Fails on an entry of b that is none of these buckets. */
static int only(struct bolt_bucket *b, const char *const *names, size_t n, struct k3_err *e)
{
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true;

	for (;;) {
		bool known = false;

		if (bolt_next(b, &it, &item, &more, e))
			return -1;
		if (!more)
			return 0;
		for (size_t k = 0; k < n; k++)
			known = known || imp_val_eq(item.key, BOLT_STR(names[k]));
		if (!known || !item.is_bucket)
			return unknown_layout(item.key, e);
	}
}

/* containerd 1.7 keeps sandboxes beside v1, but never without it. */
static int meta_layout(struct bolt_txn *t, struct k3_err *e)
{
	struct bolt_bucket *v1;
	int64_t version;

	if (imp_sub(bolt_root(t), BOLT_STR("v1"), &v1, e))
		return -1;
	return v1 ? imp_schema_read(t, &version, e) : only(bolt_root(t), NULL, 0, e);
}

/* There is no version in this file. */
static int native_layout(struct bolt_txn *t, struct k3_err *e)
{
	static const char *const top[] = { "v1" }, *const below[] = { "parents", "snapshots" };
	struct bolt_bucket *v1;

	if (only(bolt_root(t), top, K3_ARRAY_LEN(top), e) ||
	    imp_sub(bolt_root(t), BOLT_STR("v1"), &v1, e))
		return -1;
	return v1 ? only(v1, below, K3_ARRAY_LEN(below), e) : 0;
}

static int sound(struct bolt_db *db, uint64_t *known,
		 int (*layout)(struct bolt_txn *t, struct k3_err *e), struct k3_err *e)
{
	uint64_t last = *known;
	struct bolt_txn *t;
	int rc;

	if (bolt_sound(db, &last, e))
		return -1;
	if (last == *known)
		return 0;
	if (bolt_begin(db, false, &t, e))
		return -1;
	rc = layout(t, e);
	bolt_abort(t);
	if (!rc)
		*known = last;
	return rc;
}

int imp_dbs_sound(struct imp *i, const struct imp_dbs *d, struct k3_err *e)
{
	uint64_t before = i->sound_native;

	if (d->meta && sound(d->meta, &i->sound_meta, meta_layout, e))
		return -1;
	if (d->native && sound(d->native, &i->sound_native, native_layout, e))
		return -1;
	/* Like the check itself, only for what is new: a commit must not read it all. */
	if (i->sound_native == before)
		return 0;
	return imp_native_highest(d->native, &i->highest_native, e);
}

/* Whether metadata.db, or in any namespace meta.db, knows a snapshot. */
typedef int snapshots_fn(struct bolt_txn *t, bool *any, struct k3_err *e);

static int native_snapshots(struct bolt_txn *t, bool *any, struct k3_err *e)
{
	const struct bolt_val path[] = { BOLT_STR("v1"), BOLT_STR("snapshots") };
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	struct bolt_bucket *b;

	if (bolt_bucket_path(t, path, K3_ARRAY_LEN(path), &b, e))
		return -1;
	return b ? bolt_next(b, &it, &item, any, e) : 0;
}

static int meta_snapshots(struct bolt_txn *t, bool *any, struct k3_err *e)
{
	struct bolt_bucket *v1, *ns, *b;
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more;

	if (imp_sub(bolt_root(t), BOLT_STR("v1"), &v1, e))
		return -1;
	while (v1 && !*any) {
		struct bolt_iter in = { 0 };

		if (bolt_next(v1, &it, &item, &more, e))
			return -1;
		if (!more)
			break;
		if (!item.is_bucket)
			continue;
		if (imp_sub(v1, item.key, &ns, e) || imp_sub(ns, BOLT_STR("snapshots"), &b, e) ||
		    (b && imp_sub(b, BOLT_STR(IMP_SNAPSHOTTER), &b, e)) ||
		    (b && bolt_next(b, &in, &item, any, e)))
			return -1;
	}
	return 0;
}

/* `name` exists and was not opened: fails if the other file has something to go with it. */
static int match(struct imp *i, const char *name, struct bolt_db *other, snapshots_fn *look,
		 struct k3_err *e)
{
	struct bolt_txn *t;
	struct stat st;
	bool any = false;

	if (!other || fstatat(i->rootfd, name, &st, 0))
		return 0;
	if (bolt_begin(other, false, &t, e))
		return -1;
	int rc = look(t, &any, e);

	bolt_abort(t);
	if (rc || !any)
		return rc;
	k3_fail(e, K3_STORE, "%s is an empty file, but there are snapshots: it was cut off", name);
	return k3_hint(e, "restore it from a backup, or begin with a new root");
}

int imp_dbs_match(struct imp *i, const struct imp_dbs *d, struct k3_err *e)
{
	if (!d->meta)
		return match(i, IMP_META_DIR "/meta.db", d->native, native_snapshots, e);
	if (!d->native)
		return match(i, IMP_NATIVE_DIR "/metadata.db", d->meta, meta_snapshots, e);
	return 0;
}

/* ---- version -------------------------------------------------------------------------------- */

int imp_schema_read(struct bolt_txn *meta, int64_t *version, struct k3_err *e)
{
	struct bolt_bucket *v1;
	struct bolt_val val;

	*version = 0;
	if (imp_sub(bolt_root(meta), BOLT_STR("v1"), &v1, e))
		return -1;
	if (!v1)
		return 0;
	if (bolt_get(v1, BOLT_STR("version"), &val, e))
		return -1;
	if (!val.p || !imp_get_varint(val, version) || *version < 0) {
		k3_fail(e, K3_STORE, "meta.db has no schema version%s",
			val.p ? ", but something else in its place" : "");
		return k3_hint(e, "start containerd once: it takes such a database for an old one, "
				  "or refuses it");
	}
	if (*version >= IMP_SCHEMA_MIN && *version <= IMP_SCHEMA_MAX)
		return 0;
	k3_fail(e, K3_STORE, "meta.db has schema version %" PRId64 ", this program knows %d and %d",
		*version, IMP_SCHEMA_MIN, IMP_SCHEMA_MAX);
	return *version > IMP_SCHEMA_MAX
		       ? k3_hint(e, "use a newer k3simg for this containerd")
		       : k3_hint(e, "start containerd once, so that it upgrades its database");
}

int64_t imp_schema_peek(const char *root)
{
	K3_AUTO_FREE char *dir = k3_xasprintf("%s/%s", root, IMP_META_DIR);
	K3_AUTO_FD int fd = -1;
	struct k3_err ignored;
	struct bolt_db *db = NULL;
	struct bolt_txn *t = NULL;
	int64_t version = 0;

	if (k3_open_dir(AT_FDCWD, dir, &fd, &ignored) ||
	    bolt_open(fd, "meta.db", BOLT_READ, 0, &db, &ignored))
		return 0;
	if (bolt_begin(db, false, &t, &ignored) || imp_schema_read(t, &version, &ignored))
		version = 0;
	bolt_abort(t);
	bolt_close(db);
	return version;
}

/* ---- fields ------------------------------------------------------------------------- */

int imp_sub(struct bolt_bucket *b, struct bolt_val name, struct bolt_bucket **out, struct k3_err *e)
{
	struct k3_err why = { 0 };

	*out = NULL;
	if (!bolt_bucket_get(b, name, out, &why) || why.code == K3_NOTFOUND)
		return 0;
	*e = why;
	return -1;
}

int imp_set(struct bolt_bucket *b, const char *key, struct bolt_val val, bool *changed,
	    struct k3_err *e)
{
	struct bolt_val old;

	if (bolt_get(b, BOLT_STR(key), &old, e))
		return -1;
	if (old.p && imp_val_eq(old, val))
		return 0;
	*changed = true;
	return bolt_put(b, BOLT_STR(key), val, e);
}

int imp_set_varint(struct bolt_bucket *b, const char *key, uint64_t v, bool *changed,
		   struct k3_err *e)
{
	uint8_t bytes[IMP_VARINT_MAX];
	struct bolt_val val = { bytes, imp_put_varint((int64_t)v, bytes) };

	return imp_set(b, key, val, changed, e);
}

int imp_set_in(struct bolt_bucket *b, const char *map, const char *key, struct bolt_val val,
	       bool *changed, struct k3_err *e)
{
	struct bolt_bucket *m;

	if (bolt_bucket_make(b, BOLT_STR(map), &m, e))
		return -1;
	return imp_set(m, key, val, changed, e);
}

int imp_stamp(struct bolt_bucket *b, const uint8_t now[IMP_TIME_LEN], bool changed,
	      struct k3_err *e)
{
	struct bolt_val old, val = { now, IMP_TIME_LEN };

	if (!changed)
		return 0;
	if (bolt_get(b, BOLT_STR("createdat"), &old, e))
		return -1;
	if (!old.p && bolt_put(b, BOLT_STR("createdat"), val, e))
		return -1;
	return bolt_put(b, BOLT_STR("updatedat"), val, e);
}
