/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot's records in both databases, and its directory. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "importer/check.h"
#include "importer/native.h"
#include "importer/root.h"

#define WHAT "snapshots/" IMP_SNAPSHOTTER

/* One snapshot under check. */
struct subject {
	struct check *c;
	const struct check_space *in;
	const char *key;                /* in meta.db */
	const struct oci_digest *chain; /* or NULL */
	char *meta_path, *native_path;
	char *name; /* in metadata.db */
	struct bolt_bucket *meta, *native;
	uint64_t id;
	int kind;
};

static void subject_release(struct subject *s)
{
	free(s->meta_path);
	free(s->native_path);
	free(s->name);
}

static int tell_meta(struct subject *s, struct k3_err *e, const char *text)
{
	return check_tell(s->c, IMP_SNAPSHOT, s->chain, s->meta_path, e, "%s", text);
}

static int tell_native(struct subject *s, struct k3_err *e, const char *text)
{
	return check_tell(s->c, IMP_SNAPSHOT, s->chain, s->native_path, e, "%s", text);
}

/* *found = false: a finding was told and there is nothing more to look at. */
static int find_native(struct subject *s, bool *found, struct k3_err *e)
{
	struct imp_view *v = s->c->v;
	struct bolt_val name;

	*found = false;
	if (bolt_get(s->meta, BOLT_STR("name"), &name, e))
		return -1;
	if (!name.n)
		return tell_meta(s, e, "the record does not say what its snapshot is called");
	s->name = k3_xstrndup(name.p, name.n);
	s->native_path = k3_xasprintf("metadata.db/v1/snapshots/%s", s->name);
	if (v->backend && imp_sub(v->backend, name, &s->native, e))
		return -1;
	if (!s->native)
		return tell_native(s, e, "there is no such record");
	if (imp_native_find(v->backend, name, &s->id, &s->kind, found, e))
		return -1;
	return *found ? 0 : tell_native(s, e, "the record has no number");
}

static int check_number(struct subject *s, struct k3_err *e)
{
	struct imp_view *v = s->c->v;

	if (s->id <= bolt_sequence(v->backend))
		return 0;
	return check_tell(s->c, IMP_SNAPSHOT, s->chain, s->native_path, e,
			  "its number %" PRIu64 " is above the last one given out, %" PRIu64
			  ": containerd will delete the directory",
			  s->id, bolt_sequence(v->backend));
}

static int check_directory(struct subject *s, struct k3_err *e)
{
	char path[IMP_PATH_MAX];
	struct stat st;

	imp_snapshot_path(s->id, path);
	if (fstatat(s->c->v->i->rootfd, path, &st, AT_SYMLINK_NOFOLLOW))
		return check_tell(s->c, IMP_SNAPSHOT, s->chain, path, e,
				  "the directory is missing");
	if (!S_ISDIR(st.st_mode))
		return check_tell(s->c, IMP_SNAPSHOT, s->chain, path, e, "is no directory");
	return 0;
}

/* ---- parents ------------------------------------------------------------------------- */

static int check_child_entry(struct subject *s, struct bolt_bucket *up, struct k3_err *e)
{
	struct bolt_bucket *children;
	struct bolt_val val = { 0 };

	if (imp_sub(up, BOLT_STR("children"), &children, e) ||
	    (children && bolt_get(children, BOLT_STR(s->key), &val, e)))
		return -1;
	return val.p ? 0 : tell_meta(s, e, "its parent's record does not name it as a child");
}

static int check_link(struct subject *s, struct bolt_val parent, struct k3_err *e)
{
	const struct bolt_val path[] = { BOLT_STR("v1"), BOLT_STR("parents") };
	struct imp_view *v = s->c->v;
	uint8_t key[2 * IMP_VARINT_MAX + 1];
	struct bolt_bucket *links;
	struct bolt_val val = { 0 };
	uint64_t up;
	bool found;
	size_t n;
	int kind;

	if (imp_native_find(v->backend, parent, &up, &kind, &found, e))
		return -1;
	if (!found)
		return tell_native(s, e, "its parent has no record");
	n = imp_put_uvarint(up, key);
	key[n++] = 0;
	n += imp_put_uvarint(s->id, key + n);
	if (bolt_bucket_path(v->native, path, K3_ARRAY_LEN(path), &links, e) ||
	    (links && bolt_get(links, (struct bolt_val){ key, n }, &val, e)))
		return -1;
	return val.p && imp_val_eq(val, BOLT_STR(s->name))
		       ? 0
		       : tell_native(s, e, "its parent's list of children lacks it");
}

/* Both have to be made anew: the parent, and the child that the new one does not know. */
static int tell_no_parent(struct subject *s, struct bolt_val parent, struct k3_err *e)
{
	K3_AUTO_FREE char *key = k3_xstrndup(parent.p, parent.n);
	K3_AUTO_FREE char *path = check_record_path(s->in->ns, WHAT, key);
	struct oci_digest d;
	struct k3_err why;
	bool chain = !oci_digest_parse(key, &d, &why);

	if (check_tell(s->c, IMP_SNAPSHOT, s->chain && chain ? &d : NULL, path, e,
		       "there is no such record"))
		return -1;
	return tell_meta(s, e, "its parent has no record");
}

/* The record of the parent in meta.db, its name in metadata.db. */
static int check_parent(struct subject *s, struct bolt_val parent, struct bolt_val native,
			struct k3_err *e)
{
	struct bolt_bucket *up;
	struct bolt_val name;

	if (!parent.n)
		return native.n ? tell_native(s, e, "it has a parent, and none in meta.db") : 0;
	if (imp_sub(s->in->chains, parent, &up, e))
		return -1;
	if (!up)
		return tell_no_parent(s, parent, e);
	if (bolt_get(up, BOLT_STR("name"), &name, e))
		return -1;
	if (!native.n || !name.n || !imp_val_eq(name, native))
		return tell_native(s, e, "its parent is another one than in meta.db");
	return check_child_entry(s, up, e) || check_link(s, native, e) ? -1 : 0;
}

static int check_rest(struct subject *s, bool committed, struct k3_err *e)
{
	struct bolt_val parent, native;

	if (committed && s->kind != IMP_KIND_COMMITTED)
		return tell_native(s, e, "it is not committed");
	if (bolt_get(s->meta, BOLT_STR("parent"), &parent, e) ||
	    bolt_get(s->native, BOLT_STR("parent"), &native, e) || check_number(s, e))
		return -1;
	/* A view of a snapshot is no directory of its own. */
	if ((s->kind != IMP_KIND_VIEW || !native.n) && check_directory(s, e))
		return -1;
	return check_parent(s, parent, native, e);
}

int check_snapshot(struct check *c, const struct check_space *in, const char *key,
		   const struct oci_digest *chain, bool committed, struct k3_err *e)
{
	__attribute__((cleanup(subject_release))) struct subject s = {
		.c = c,
		.in = in,
		.key = key,
		.chain = chain,
		.meta_path = check_record_path(in->ns, WHAT, key),
	};
	bool found;

	if (imp_sub(in->chains, BOLT_STR(key), &s.meta, e))
		return -1;
	if (!s.meta)
		return tell_meta(&s, e, "there is no such record");
	if (find_native(&s, &found, e))
		return -1;
	return found ? check_rest(&s, committed, e) : 0;
}

/* ---- of an image --------------------------------------------------------------------- */

/* Whether anything else keeps the snapshot from being collected. */
static int is_kept(struct imp_view *v, const char *chain, bool *kept, struct k3_err *e)
{
	struct bolt_bucket *all[] = { v->blobs, v->chains };
	struct bolt_bucket *rec;
	struct bolt_item item;
	struct bolt_val parent;
	bool more = true;

	*kept = false;
	for (size_t k = 0; k < K3_ARRAY_LEN(all); k++) {
		struct bolt_iter it = { 0 };

		while (all[k] && !*kept) {
			if (bolt_next(all[k], &it, &item, &more, e))
				return -1;
			if (!more)
				break;
			if (!item.is_bucket)
				continue;
			if (bolt_bucket_get(all[k], item.key, &rec, e) ||
			    check_refers(rec, IMP_LABEL_GC_SNAPSHOT, chain, kept, e) ||
			    bolt_get(rec, BOLT_STR("parent"), &parent, e))
				return -1;
			*kept = *kept || (parent.p && imp_val_eq(parent, BOLT_STR(chain)));
		}
	}
	return 0;
}

static int check_kept(struct check *c, const char *top, const char *holder, struct k3_err *e)
{
	bool kept;

	if (is_kept(c->v, top, &kept, e))
		return -1;
	if (kept)
		return 0;
	return check_tell(c, IMP_LABEL, NULL, holder, e,
			  "no label " IMP_LABEL_GC_SNAPSHOT " for %s: containerd will delete that "
			  "snapshot",
			  top);
}

int check_snapshots(struct check *c, struct imp_variant *va, bool labelled, const char *holder,
		    struct k3_err *e)
{
	const struct check_space in = { c->v->i->ns, c->v->chains };
	const struct oci_image *img = &va->img;
	struct bolt_bucket *rec;
	char key[OCI_DIGEST_TEXT_MAX];

	va->unpacked = !img->nlayers;
	for (size_t k = 0; k < img->nlayers; k++) {
		bool top = k + 1 == img->nlayers;

		rec = NULL;
		oci_digest_format(&img->layers[k].chain_id, key);
		if (in.chains && imp_sub(in.chains, BOLT_STR(key), &rec, e))
			return -1;
		if (rec && check_snapshot(c, &in, key, &img->layers[k].chain_id, true, e))
			return -1;
		if (!top)
			continue;
		va->unpacked = rec != NULL;
		if (rec && !labelled && check_kept(c, key, holder, e))
			return -1;
		if (rec || !labelled)
			continue;
		K3_AUTO_FREE char *path = check_record_path(in.ns, WHAT, key);

		if (check_tell(c, IMP_SNAPSHOT, &img->layers[k].chain_id, path, e,
			       "there is no such record"))
			return -1;
	}
	return 0;
}
