/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/schema.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

#define POLL_MS 50

bool imp_val_eq(struct bolt_val a, struct bolt_val b)
{
	return a.n == b.n && (!a.n || !memcmp(a.p, b.p, a.n));
}

/* ---- opening ------------------------------------------------------------------------------ */

static int busy(struct imp *i, struct k3_err *e)
{
	k3_fail(e, K3_BUSY, "containerd is running on this root (%s)", i->root);
	return k3_hint(e, "stop it for the time of the preload: systemctl stop containerd "
			  "(k3s: systemctl stop k3s, or k3s-agent)");
}

/* A missing file or directory leaves *out = NULL. */
static int open_one(struct imp *i, const char *dir, const char *name, unsigned flags, unsigned mode,
		    struct bolt_db **out, struct k3_err *e)
{
	K3_AUTO_FD int fd = -1;
	struct k3_err why = { 0 };

	*out = NULL;
	if (!k3_open_dir(i->rootfd, dir, &fd, &why) && !bolt_open(fd, name, flags, mode, out, &why))
		return 0;
	if (why.code == K3_NOTFOUND)
		return 0;
	*e = why;
	return k3_wrap(e, "%s/%s", i->root, dir);
}

static int open_both(struct imp *i, enum imp_dbs_mode mode, struct imp_dbs *out, struct k3_err *e)
{
	unsigned meta = mode == IMP_DBS_READ ? BOLT_READ : BOLT_WRITE | BOLT_CREATE;
	unsigned native = mode == IMP_DBS_READ    ? BOLT_READ
			  : mode == IMP_DBS_WRITE ? BOLT_WRITE
						  : BOLT_WRITE | BOLT_CREATE;

	*out = (struct imp_dbs){ NULL, NULL };
	if (!open_one(i, IMP_META_DIR, "meta.db", meta, 0644, &out->meta, e) &&
	    !open_one(i, IMP_NATIVE_DIR, "metadata.db", native, 0600, &out->native, e))
		return 0;
	imp_dbs_close(out);
	return -1;
}

int imp_dbs_open(struct imp *i, enum imp_dbs_mode mode, unsigned patience_ms, struct imp_dbs *out,
		 struct k3_err *e)
{
	for (uint64_t end = k3_now_ms() + patience_ms;;) {
		struct k3_err why = { 0 };

		if (!open_both(i, mode, out, &why))
			return 0;
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
	if (imp_get_varint(val, version) && *version >= IMP_SCHEMA_MIN &&
	    *version <= IMP_SCHEMA_MAX)
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
