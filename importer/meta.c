/* SPDX-License-Identifier: Apache-2.0 */
/* containerd core/metadata: buckets.go, images.go, content.go, snapshot.go */
#include "importer/meta.h"

#include <string.h>

#include "base/mem.h"

static int make_buckets(struct imp_meta *m, const char *ns, struct k3_err *e)
{
	struct bolt_bucket *v1, *space, *content, *snapshots;
	bool unused = false;
	int64_t version;

	if (imp_schema_read(m->t, &version, e) ||
	    bolt_bucket_make(bolt_root(m->t), BOLT_STR("v1"), &v1, e) ||
	    (!version && imp_set_varint(v1, "version", IMP_SCHEMA_NEW, &unused, e)) ||
	    bolt_bucket_make(v1, BOLT_STR(ns), &space, e) ||
	    bolt_bucket_make(space, BOLT_STR("images"), &m->images, e) ||
	    bolt_bucket_make(space, BOLT_STR("content"), &content, e) ||
	    bolt_bucket_make(content, BOLT_STR("blob"), &m->blobs, e) ||
	    bolt_bucket_make(space, BOLT_STR("snapshots"), &snapshots, e) ||
	    bolt_bucket_make(snapshots, BOLT_STR(IMP_SNAPSHOTTER), &m->chains, e))
		return -1;
	return 0;
}

int imp_meta_begin(struct bolt_db *db, const char *ns, const uint8_t now[IMP_TIME_LEN],
		   struct imp_meta *m, struct k3_err *e)
{
	*m = (struct imp_meta){ .now = now };
	if (bolt_begin(db, true, &m->t, e))
		return -1;
	if (make_buckets(m, ns, e)) {
		bolt_abort(m->t);
		return -1;
	}
	return 0;
}

/* ---- blobs -------------------------------------------------------------------------- */

/* Adds an entry to a label that is a list. */
static int merge_label(struct bolt_bucket *rec, const struct imp_label *l, bool *changed,
		       struct k3_err *e)
{
	struct bolt_bucket *labels;
	struct bolt_val old;
	K3_AUTO_FREE char *list = NULL;

	if (bolt_bucket_make(rec, BOLT_STR("labels"), &labels, e) ||
	    bolt_get(labels, BOLT_STR(l->key), &old, e))
		return -1;
	list = imp_list_add(old.p, old.n, l->value);
	/* containerd leaves a list as it is when it would grow too long. */
	if (!list || strlen(l->key) + strlen(list) > IMP_LABEL_MAX)
		return 0;
	*changed = true;
	return bolt_put(labels, BOLT_STR(l->key), BOLT_STR(list), e);
}

static int set_labels(struct bolt_bucket *rec, const struct imp_labels *labels, bool *changed,
		      struct k3_err *e)
{
	for (size_t k = 0; k < labels->n; k++) {
		const struct imp_label *l = &labels->v[k];

		if (l->merge ? merge_label(rec, l, changed, e)
			     : imp_set_in(rec, "labels", l->key, BOLT_STR(l->value), changed, e))
			return -1;
	}
	return 0;
}

int imp_meta_blob(struct imp_meta *m, const struct oci_desc *d, const struct imp_labels *labels,
		  bool *changed, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];
	struct bolt_bucket *rec;
	bool now = false;

	oci_digest_format(&d->digest, text);
	if (bolt_bucket_make(m->blobs, BOLT_STR(text), &rec, e) ||
	    imp_set_varint(rec, "size", d->size, &now, e) || set_labels(rec, labels, &now, e) ||
	    imp_stamp(rec, m->now, now, e))
		return k3_wrap(e, "record of blob %s", text);
	*changed |= now;
	return 0;
}

/* ---- snapshots ---------------------------------------------------------------------- */

static int link_parent(struct imp_meta *m, struct bolt_bucket *rec, const char *chain,
		       const char *parent, struct k3_err *e)
{
	struct bolt_bucket *up;
	bool unused = false;

	if (bolt_bucket_get(m->chains, BOLT_STR(parent), &up, e) ||
	    imp_set_in(up, "children", chain, BOLT_STR(""), &unused, e))
		return -1;
	return imp_set(rec, "parent", BOLT_STR(parent), &unused, e);
}

int imp_meta_snapshot(struct imp_meta *m, const struct imp_tree *t, struct k3_err *e)
{
	char chain[OCI_DIGEST_TEXT_MAX], parent[OCI_DIGEST_TEXT_MAX];
	struct bolt_bucket *rec;
	bool changed = false;

	oci_digest_format(&t->chain, chain);
	oci_digest_format(&t->parent_chain, parent);
	/* A record whose snapshot is gone is repaired: it gets ours. */
	if (bolt_bucket_make(m->chains, BOLT_STR(chain), &rec, e) ||
	    bolt_delete(rec, BOLT_STR("parent"), e) ||
	    (t->parent_name && link_parent(m, rec, chain, parent, e)) ||
	    imp_set(rec, "name", BOLT_STR(t->name), &changed, e) ||
	    imp_set_in(rec, "labels", IMP_LABEL_SNAPSHOT_REF, BOLT_STR(chain), &changed, e) ||
	    imp_stamp(rec, m->now, changed, e))
		return k3_wrap(e, "record of snapshot %s", chain);
	return 0;
}

int imp_meta_stands_on(struct imp_meta *m, const struct oci_digest *chain,
		       const struct oci_digest *parent, bool *yes, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];
	struct bolt_bucket *rec;
	struct bolt_val found;

	*yes = false;
	oci_digest_format(chain, text);
	if (imp_sub(m->chains, BOLT_STR(text), &rec, e))
		return -1;
	if (!rec)
		return 0;
	if (bolt_get(rec, BOLT_STR("parent"), &found, e))
		return -1;
	oci_digest_format(parent, text);
	*yes = found.p && imp_val_eq(found, BOLT_STR(text));
	return 0;
}

/* ---- images ------------------------------------------------------------------------- */

static int set_target(struct bolt_bucket *rec, const struct oci_desc *d, bool *changed,
		      struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];
	struct bolt_bucket *target, *annotations;
	bool other = false;

	oci_digest_format(&d->digest, text);
	if (bolt_bucket_make(rec, BOLT_STR("target"), &target, e) ||
	    imp_set(target, "digest", BOLT_STR(text), &other, e) ||
	    imp_set(target, "mediatype", BOLT_STR(d->media_text), &other, e) ||
	    imp_set_varint(target, "size", d->size, &other, e))
		return -1;
	if (!other)
		return 0;
	*changed = true;
	/* They describe the old target. */
	if (imp_sub(rec, BOLT_STR("annotations"), &annotations, e))
		return -1;
	return annotations ? bolt_bucket_delete(rec, BOLT_STR("annotations"), e) : 0;
}

int imp_meta_image(struct imp_meta *m, const char *name, const struct oci_desc *target, bool pin,
		   bool *changed, struct k3_err *e)
{
	struct bolt_bucket *rec;
	bool now = false;

	if (bolt_bucket_make(m->images, BOLT_STR(name), &rec, e) ||
	    set_target(rec, target, &now, e) ||
	    imp_set_in(rec, "labels", IMP_LABEL_MANAGED, BOLT_STR("managed"), &now, e) ||
	    (pin && imp_set_in(rec, "labels", IMP_LABEL_PINNED, BOLT_STR("pinned"), &now, e)) ||
	    imp_stamp(rec, m->now, now, e))
		return k3_wrap(e, "image record %s", name);
	*changed |= now;
	return 0;
}
