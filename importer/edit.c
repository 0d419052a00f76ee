/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/edit.h"

#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "importer/live_change.h"
#include "importer/meta.h"
#include "importer/undo.h"
#include "importer/view.h"

int imp_edit_check(const struct imp_edit *edit, bool found, const struct oci_digest *target,
		   struct k3_err *e)
{
	if (found == edit->had && (!found || oci_digest_eq(target, &edit->had_target)))
		return 0;
	k3_fail(e, K3_BUSY, "%s: somebody else has changed it meanwhile", edit->name);
	return k3_hint(e, "run again");
}

/* *rec = NULL when there is none. */
static int find_record(struct bolt_bucket *images, const struct imp_edit *edit,
		       struct bolt_bucket **rec, struct k3_err *e)
{
	struct imp_record r = { 0 };

	*rec = NULL;
	if (images && imp_sub(images, BOLT_STR(edit->name), rec, e))
		return -1;
	if (*rec && imp_read_record(*rec, &r, e))
		return k3_wrap(e, "image record %s", edit->name);
	return imp_edit_check(edit, *rec, &r.target.digest, e);
}

static int unpin(struct bolt_bucket *rec, bool *changed, struct k3_err *e)
{
	struct bolt_bucket *labels;
	struct bolt_val old;

	if (imp_sub(rec, BOLT_STR("labels"), &labels, e) ||
	    (labels && bolt_get(labels, BOLT_STR(IMP_LABEL_PINNED), &old, e)))
		return -1;
	if (!labels || !old.p)
		return 0;
	*changed = true;
	return bolt_delete(labels, BOLT_STR(IMP_LABEL_PINNED), e);
}

static int edit_one(struct imp_meta *m, struct imp_edit *edit, struct k3_err *e)
{
	struct bolt_bucket *rec;
	int rc = 0;

	edit->changed = false;
	if (find_record(m->images, edit, &rec, e))
		return -1;
	switch (edit->kind) {
	case IMP_EDIT_SET:
		return imp_meta_image(m, edit->name, &edit->target, edit->pin, &edit->changed, e);
	case IMP_EDIT_PIN:
		rc = imp_set_in(rec, "labels", IMP_LABEL_PINNED, BOLT_STR("pinned"), &edit->changed,
				e);
		break;
	case IMP_EDIT_UNPIN:
		rc = unpin(rec, &edit->changed, e);
		break;
	case IMP_EDIT_DROP:
		edit->changed = true;
		return bolt_bucket_delete(m->images, BOLT_STR(edit->name), e);
	}
	return rc || imp_stamp(rec, m->now, edit->changed, e) ? -1 : 0;
}

int imp_edit_records(struct imp *i, struct bolt_txn *t, struct imp_edit *edits, size_t n,
		     struct k3_err *e)
{
	const struct bolt_val path[] = { BOLT_STR("v1"), BOLT_STR(i->ns), BOLT_STR("images") };
	uint8_t now[IMP_TIME_LEN];
	struct imp_meta m = { .t = t, .now = now };
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	imp_put_time(&at, now);
	if (bolt_bucket_path(t, path, K3_ARRAY_LEN(path), &m.images, e))
		return -1;
	for (size_t k = 0; k < n; k++) {
		/* Whoever edits has seen records there. */
		if (!m.images)
			return imp_edit_check(&edits[k], false, NULL, e);
		if (edit_one(&m, &edits[k], e))
			return k3_wrap(e, "%s", edits[k].name);
	}
	return 0;
}

static int edit_offline(struct imp *i, struct imp_edit *edits, size_t n, struct k3_err *e)
{
	struct imp_dbs d;
	struct bolt_txn *t;
	int rc;

	if (imp_dbs_open(i, IMP_DBS_EDIT, IMP_PATIENCE_MS, &d, e))
		return -1;
	if (!d.meta)
		rc = n ? imp_edit_check(&edits[0], false, NULL, e) : 0;
	else
		rc = bolt_begin(d.meta, true, &t, e);
	if (!rc && d.meta) {
		rc = imp_edit_records(i, t, edits, n, e);
		if (rc)
			bolt_abort(t);
		else
			rc = bolt_commit(t, e);
	}
	imp_dbs_close(&d);
	return rc ? k3_wrap(e, "%s", i->root) : 0;
}

int imp_edit(struct imp *i, struct imp_edit *edits, size_t n, struct k3_err *e)
{
	if (!i->write || i->stage_only)
		return k3_fail(e, K3_BUG, "root is not open for changes");
	return i->live ? imp_live_edit(i, edits, n, e) : edit_offline(i, edits, n, e);
}

/* ---- users ---------------------------------------------------------------------------------- */

void imp_user_release(struct imp_user *u)
{
	free(u->ns);
	free(u->id);
	*u = (struct imp_user){ 0 };
}

struct lookup {
	struct imp_view *v;
	struct bolt_val ns;
	const struct oci_digest *target, *chain;
};

/* Whether the image that a container was made from is there: then *same, whether it is ours. */
static int made_from(const struct lookup *l, struct bolt_bucket *rec, bool *known, bool *same,
		     struct k3_err *e)
{
	struct bolt_bucket *image;
	struct imp_record r = { 0 };
	struct bolt_val name;

	*known = *same = false;
	if (bolt_get(rec, BOLT_STR("image"), &name, e))
		return -1;
	const struct bolt_val path[] = { BOLT_STR("v1"), l->ns, BOLT_STR("images"), name };

	if (!name.n)
		return 0;
	if (bolt_bucket_path(l->v->meta, path, K3_ARRAY_LEN(path), &image, e) ||
	    (image && imp_read_record(image, &r, e)))
		return -1;
	*known = image;
	*same = image && oci_digest_eq(&r.target.digest, l->target);
	return 0;
}

static int stands_on(const struct lookup *l, struct bolt_bucket *rec, bool *yes, struct k3_err *e)
{
	char chain[OCI_DIGEST_TEXT_MAX];
	struct bolt_val by, key, parent = { NULL, 0 };
	struct bolt_bucket *snapshot;

	*yes = false;
	if (!l->chain)
		return 0;
	if (bolt_get(rec, BOLT_STR("snapshotter"), &by, e) ||
	    bolt_get(rec, BOLT_STR("snapshotKey"), &key, e))
		return -1;
	const struct bolt_val path[] = { BOLT_STR("v1"), l->ns, BOLT_STR("snapshots"), by, key };

	if (!by.n || !key.n)
		return 0;
	if (bolt_bucket_path(l->v->meta, path, K3_ARRAY_LEN(path), &snapshot, e) ||
	    (snapshot && bolt_get(snapshot, BOLT_STR("parent"), &parent, e)))
		return -1;
	oci_digest_format(l->chain, chain);
	*yes = parent.n && imp_val_eq(parent, BOLT_STR(chain));
	return 0;
}

static int user_in(const struct lookup *l, struct bolt_bucket *containers, struct imp_user *out,
		   bool *used, struct k3_err *e)
{
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	struct bolt_bucket *rec;
	bool more = containers != NULL, known;

	while (more && !*used) {
		if (bolt_next(containers, &it, &item, &more, e))
			return -1;
		if (!more || !item.is_bucket)
			continue;
		if (bolt_bucket_get(containers, item.key, &rec, e) ||
		    made_from(l, rec, &known, used, e) || (!known && stands_on(l, rec, used, e)))
			return -1;
		if (*used) {
			out->ns = k3_xstrndup(l->ns.p, l->ns.n);
			out->id = k3_xstrndup(item.key.p, item.key.n);
		}
	}
	return 0;
}

int imp_view_user(struct imp_view *v, const struct oci_digest *target,
		  const struct oci_digest *chain, struct imp_user *out, bool *used,
		  struct k3_err *e)
{
	struct lookup l = { .v = v, .target = target, .chain = chain };
	struct bolt_bucket *v1 = NULL, *space, *containers;
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more;

	*used = false;
	*out = (struct imp_user){ 0 };
	if (v->meta && imp_sub(bolt_root(v->meta), BOLT_STR("v1"), &v1, e))
		return -1;
	for (more = v1 != NULL; more && !*used;) {
		if (bolt_next(v1, &it, &item, &more, e))
			return -1;
		if (!more || !item.is_bucket)
			continue;
		l.ns = item.key;
		if (bolt_bucket_get(v1, item.key, &space, e) ||
		    imp_sub(space, BOLT_STR("containers"), &containers, e) ||
		    user_in(&l, containers, out, used, e))
			return k3_wrap(e, "meta.db");
	}
	return 0;
}
