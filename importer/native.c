/* SPDX-License-Identifier: Apache-2.0 */
/* containerd core/snapshots/storage/bolt.go */
#include "importer/native.h"

#include <string.h>

#include "base/mem.h"

/* Key of a child in [parents]: parent's number, NUL, child's number. */
#define LINK_MAX (2 * IMP_VARINT_MAX + 1)

int imp_native_snapshots(struct bolt_txn *t, struct bolt_bucket **out, struct k3_err *e)
{
	const struct bolt_val path[] = { BOLT_STR("v1"), BOLT_STR("snapshots") };

	return bolt_bucket_path(t, path, K3_ARRAY_LEN(path), out, e);
}

int imp_native_find(struct bolt_bucket *snapshots, struct bolt_val key, uint64_t *id, int *kind,
		    bool *found, struct k3_err *e)
{
	struct bolt_bucket *rec;
	struct bolt_val val;

	*found = false;
	if (imp_sub(snapshots, key, &rec, e))
		return -1;
	if (!rec)
		return 0;
	if (bolt_get(rec, BOLT_STR("id"), &val, e))
		return -1;
	*found = imp_get_uvarint(val, id) && *id;
	if (bolt_get(rec, BOLT_STR("kind"), &val, e))
		return -1;
	*kind = val.n == 1 ? *(const uint8_t *)val.p : 0;
	return 0;
}

int imp_native_highest(struct bolt_db *db, uint64_t *out, struct k3_err *e)
{
	struct bolt_bucket *snapshots;
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	struct bolt_txn *t;
	bool more, found;
	uint64_t id;
	int kind, rc;

	*out = 0;
	if (bolt_begin(db, false, &t, e))
		return -1;
	rc = imp_native_snapshots(t, &snapshots, e);
	more = !rc && snapshots;
	while (more) {
		rc = bolt_next(snapshots, &it, &item, &more, e);
		if (rc || !more)
			break;
		if (!item.is_bucket)
			continue;
		rc = imp_native_find(snapshots, item.key, &id, &kind, &found, e);
		if (rc)
			break;
		if (found && id > *out)
			*out = id;
	}
	bolt_abort(t);
	return rc;
}

static int make_buckets(struct bolt_txn *t, struct bolt_bucket **snapshots,
			struct bolt_bucket **parents, struct k3_err *e)
{
	struct bolt_bucket *v1;

	if (bolt_bucket_make(bolt_root(t), BOLT_STR("v1"), &v1, e) ||
	    bolt_bucket_make(v1, BOLT_STR("snapshots"), snapshots, e) ||
	    bolt_bucket_make(v1, BOLT_STR("parents"), parents, e))
		return -1;
	return 0;
}

static int reserve(struct bolt_txn *t, uint64_t last_id, struct k3_err *e)
{
	struct bolt_bucket *snapshots, *parents;

	if (make_buckets(t, &snapshots, &parents, e))
		return -1;
	if (bolt_sequence(snapshots) >= last_id)
		return 0;
	return bolt_set_sequence(snapshots, last_id, e);
}

int imp_native_reserve(struct bolt_db *db, uint64_t last_id, struct k3_err *e)
{
	struct bolt_txn *t;

	if (bolt_begin(db, true, &t, e))
		return -1;
	if (reserve(t, last_id, e)) {
		bolt_abort(t);
		return -1;
	}
	return bolt_commit(t, e);
}

/* The key lives in out. */
static struct bolt_val link_key(uint64_t parent, uint64_t child, uint8_t out[LINK_MAX])
{
	size_t n = imp_put_uvarint(parent, out);

	out[n++] = 0;
	n += imp_put_uvarint(child, out + n);
	return (struct bolt_val){ out, n };
}

static int write_record(struct bolt_bucket *b, const struct imp_tree *t,
			const uint8_t now[IMP_TIME_LEN], struct k3_err *e)
{
	uint8_t id[IMP_VARINT_MAX], kind = IMP_KIND_COMMITTED;
	char chain[OCI_DIGEST_TEXT_MAX];
	size_t n = imp_put_uvarint(t->id, id);
	bool changed = false;

	oci_digest_format(&t->chain, chain);
	if (imp_set(b, "id", (struct bolt_val){ id, n }, &changed, e) ||
	    imp_set(b, "kind", (struct bolt_val){ &kind, 1 }, &changed, e) ||
	    imp_set_varint(b, "inodes", t->usage.inodes, &changed, e) ||
	    imp_set_varint(b, "size", t->usage.bytes, &changed, e) ||
	    imp_set_in(b, "labels", IMP_LABEL_SNAPSHOT_REF, BOLT_STR(chain), &changed, e) ||
	    imp_stamp(b, now, changed, e))
		return -1;
	return t->parent_name ? imp_set(b, "parent", BOLT_STR(t->parent_name), &changed, e) : 0;
}

static int write_all(struct bolt_txn *txn, struct imp_tree *const *trees, size_t n,
		     const uint8_t now[IMP_TIME_LEN], struct k3_err *e)
{
	struct bolt_bucket *snapshots, *parents, *rec;
	uint8_t link[LINK_MAX];

	if (make_buckets(txn, &snapshots, &parents, e))
		return -1;
	for (size_t k = 0; k < n; k++) {
		const struct imp_tree *t = trees[k];

		if (bolt_bucket_make(snapshots, BOLT_STR(t->name), &rec, e) ||
		    write_record(rec, t, now, e))
			return k3_wrap(e, "snapshot %s", t->name);
		if (t->parent_name && bolt_put(parents, link_key(t->parent_name_id, t->id, link),
					       BOLT_STR(t->name), e))
			return k3_wrap(e, "snapshot %s", t->name);
	}
	return 0;
}

int imp_native_write(struct bolt_db *db, struct imp_tree *const *trees, size_t n,
		     const uint8_t now[IMP_TIME_LEN], struct k3_err *e)
{
	struct bolt_txn *t;

	if (bolt_begin(db, true, &t, e))
		return -1;
	if (write_all(t, trees, n, now, e)) {
		bolt_abort(t);
		return -1;
	}
	return bolt_commit(t, e);
}

/* Whatever links to this child, also from a parent whose record is lost. */
static int drop_links_to(struct bolt_bucket *parents, struct bolt_val child, struct k3_err *e)
{
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true;

	for (;;) {
		if (bolt_next(parents, &it, &item, &more, e))
			return -1;
		if (!more)
			return 0;
		if (!item.is_bucket && imp_val_eq(item.val, child) &&
		    bolt_delete(parents, item.key, e))
			return -1;
	}
}

static int drop_link(struct bolt_txn *t, struct bolt_bucket *snapshots, struct bolt_val parent,
		     uint64_t id, struct bolt_val key, struct k3_err *e)
{
	const struct bolt_val path[] = { BOLT_STR("v1"), BOLT_STR("parents") };
	struct bolt_bucket *parents;
	uint8_t bytes[LINK_MAX];
	struct bolt_val link, child;
	uint64_t parent_id;
	bool found;
	int kind;

	if (imp_native_find(snapshots, parent, &parent_id, &kind, &found, e) ||
	    bolt_bucket_path(t, path, K3_ARRAY_LEN(path), &parents, e))
		return -1;
	if (!found || !parents)
		return 0;
	link = link_key(parent_id, id, bytes);
	if (bolt_get(parents, link, &child, e))
		return -1;
	/* Where numbers are wrong, that link is missing or another one's. */
	return child.p && imp_val_eq(child, key) ? bolt_delete(parents, link, e)
						 : drop_links_to(parents, key, e);
}

static int relink_one(struct bolt_bucket *parents, struct bolt_bucket *rec, struct bolt_val child,
		      const char *now, uint64_t now_id, struct k3_err *e)
{
	struct bolt_val val;
	uint8_t link[LINK_MAX];
	uint64_t id;

	if (bolt_get(rec, BOLT_STR("id"), &val, e))
		return -1;
	if (!imp_get_uvarint(val, &id) || !id)
		return 0;
	if (bolt_put(rec, BOLT_STR("parent"), BOLT_STR(now), e) || drop_links_to(parents, child, e))
		return -1;
	return bolt_put(parents, link_key(now_id, id, link), child, e);
}

int imp_native_relink(struct bolt_txn *t, const char *old, const char *now, struct k3_err *e)
{
	struct bolt_bucket *snapshots, *parents, *rec;
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	struct bolt_val parent;
	uint64_t now_id;
	bool found, more = true;
	int kind;

	if (make_buckets(t, &snapshots, &parents, e) ||
	    imp_native_find(snapshots, BOLT_STR(now), &now_id, &kind, &found, e))
		return -1;
	while (found) {
		if (bolt_next(snapshots, &it, &item, &more, e))
			return -1;
		if (!more)
			break;
		if (!item.is_bucket)
			continue;
		if (bolt_bucket_get(snapshots, item.key, &rec, e) ||
		    bolt_get(rec, BOLT_STR("parent"), &parent, e))
			return -1;
		if (parent.p && imp_val_eq(parent, BOLT_STR(old)) &&
		    relink_one(parents, rec, item.key, now, now_id, e))
			return k3_wrap(e, "snapshot %.*s", (int)item.key.n,
				       (const char *)item.key.p);
	}
	return 0;
}

/* As containerd asks before it removes a snapshot. */
static int has_children(struct bolt_txn *t, uint64_t id, bool *has, struct k3_err *e)
{
	const struct bolt_val path[] = { BOLT_STR("v1"), BOLT_STR("parents") };
	struct bolt_bucket *parents;
	struct bolt_item item;
	uint8_t prefix[LINK_MAX];
	size_t n = imp_put_uvarint(id, prefix);
	bool more;

	prefix[n++] = 0;
	struct bolt_iter it = { { prefix, n } };

	*has = false;
	if (bolt_bucket_path(t, path, K3_ARRAY_LEN(path), &parents, e))
		return -1;
	if (!parents)
		return 0;
	if (bolt_next(parents, &it, &item, &more, e))
		return -1;
	*has = more && item.key.n > n && !memcmp(item.key.p, prefix, n);
	return 0;
}

int imp_native_drop(struct bolt_txn *t, uint64_t id, const char *key, bool *kept, struct k3_err *e)
{
	struct bolt_bucket *snapshots, *rec;
	struct bolt_val parent;
	uint64_t have;
	bool found;
	int kind;

	*kept = false;
	if (imp_native_snapshots(t, &snapshots, e))
		return -1;
	if (!snapshots)
		return 0;
	if (imp_native_find(snapshots, BOLT_STR(key), &have, &kind, &found, e))
		return -1;
	if (!found || have != id)
		return 0;
	if (has_children(t, id, kept, e))
		return -1;
	if (*kept)
		return 0;
	if (imp_sub(snapshots, BOLT_STR(key), &rec, e) ||
	    bolt_get(rec, BOLT_STR("parent"), &parent, e))
		return -1;
	if (parent.p && drop_link(t, snapshots, parent, id, BOLT_STR(key), e))
		return -1;
	return bolt_bucket_delete(snapshots, BOLT_STR(key), e);
}
