/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/view.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "importer/content.h"
#include "importer/native.h"
#include "importer/root.h"
#include "importer/undo.h"

/* ---- begin, end ------------------------------------------------------------------------------ */

static int meta_buckets(struct imp_view *v, struct k3_err *e)
{
	const struct bolt_val v1 = BOLT_STR("v1"), ns = BOLT_STR(v->i->ns);
	const struct bolt_val images[] = { v1, ns, BOLT_STR("images") };
	const struct bolt_val blobs[] = { v1, ns, BOLT_STR("content"), BOLT_STR("blob") };
	const struct bolt_val chains[] = { v1, ns, BOLT_STR("snapshots"),
					   BOLT_STR(IMP_SNAPSHOTTER) };
	int64_t version;

	if (imp_schema_read(v->meta, &version, e) ||
	    bolt_bucket_path(v->meta, images, K3_ARRAY_LEN(images), &v->images, e) ||
	    bolt_bucket_path(v->meta, blobs, K3_ARRAY_LEN(blobs), &v->blobs, e) ||
	    bolt_bucket_path(v->meta, chains, K3_ARRAY_LEN(chains), &v->chains, e))
		return k3_wrap(e, "meta.db");
	return 0;
}

int imp_view_begin(struct imp *i, const struct imp_dbs *d, struct imp_view *v, struct k3_err *e)
{
	*v = (struct imp_view){ .i = i };
	if ((d->meta && (bolt_begin(d->meta, false, &v->meta, e) || meta_buckets(v, e))) ||
	    (d->native && (bolt_begin(d->native, false, &v->native, e) ||
			   imp_native_snapshots(v->native, &v->backend, e)))) {
		imp_view_end(v);
		return k3_wrap(e, "%s", i->root);
	}
	return 0;
}

void imp_view_end(struct imp_view *v)
{
	bolt_abort(v->native);
	bolt_abort(v->meta);
	imp_dbs_close(&v->own);
}

int imp_view_open(struct imp *i, struct imp_view **out, struct k3_err *e)
{
	/* Another k3simg may be committing, unless we hold the run lock. */
	unsigned patience = i->write ? 0 : IMP_PATIENCE_MS;
	struct imp_dbs d;
	struct imp_view *v;

	if (imp_dbs_open(i, IMP_DBS_READ, patience, &d, e))
		return -1;
	v = k3_xcalloc(1, sizeof(*v));
	if (imp_view_begin(i, &d, v, e)) {
		imp_dbs_close(&d);
		free(v);
		return -1;
	}
	v->own = d;
	*out = v;
	return 0;
}

void imp_view_close(struct imp_view *v)
{
	if (v)
		imp_view_end(v);
	free(v);
}

bool imp_view_is_stale(const struct imp_view *v)
{
	const struct imp_dbs *d = &v->own;

	return (d->meta && bolt_is_stale(d->meta)) || (d->native && bolt_is_stale(d->native));
}

bool imp_view_is_copy(const struct imp_view *v)
{
	return v->own.meta && bolt_is_copy(v->own.meta);
}

/* ---- images ------------------------------------------------------------------------- */

/* A text field as a C string, cut to the room there is; "" when absent. */
static int text_field(struct bolt_bucket *b, const char *key, char *out, size_t size,
		      struct k3_err *e)
{
	struct bolt_val val;

	if (bolt_get(b, BOLT_STR(key), &val, e))
		return -1;
	snprintf(out, size, "%.*s", (int)val.n, val.p ? (const char *)val.p : "");
	return 0;
}

/* A file may be whole and what is in it not. */
static int broken_record(struct k3_err *e, const char *ns, const char *name)
{
	k3_wrap(e, "image record %s", name);
	return e->code == K3_STORE ? k3_hint(e,
					     "start containerd, remove the image (ctr -n %s "
					     "images rm NAME) and stop it again",
					     ns)
				   : -1;
}

static int read_target(struct bolt_bucket *image, struct oci_desc *out, struct k3_err *e)
{
	char digest[OCI_DIGEST_TEXT_MAX + 1];
	struct bolt_bucket *target;
	struct bolt_val val;
	int64_t size;

	*out = (struct oci_desc){ 0 };
	if (imp_sub(image, BOLT_STR("target"), &target, e))
		return -1;
	if (!target)
		return k3_fail(e, K3_STORE, "the record has no target");
	if (text_field(target, "digest", digest, sizeof(digest), e) ||
	    text_field(target, "mediatype", out->media_text, sizeof(out->media_text), e) ||
	    bolt_get(target, BOLT_STR("size"), &val, e))
		return -1;
	if (!imp_get_varint(val, &size) || size < 0)
		return k3_fail(e, K3_STORE, "the record has no size");
	out->size = (uint64_t)size;
	out->media = oci_media_parse(out->media_text);
	if (oci_digest_parse(digest, &out->digest, e)) {
		e->code = K3_STORE;
		return -1;
	}
	return 0;
}

int imp_view_image(struct imp_view *v, const char *name, struct oci_desc *target, bool *found,
		   struct k3_err *e)
{
	struct bolt_bucket *rec = NULL;

	*found = false;
	if (v->images && imp_sub(v->images, BOLT_STR(name), &rec, e))
		return -1;
	if (!rec)
		return 0;
	if (read_target(rec, target, e))
		return broken_record(e, v->i->ns, name);
	*found = true;
	return 0;
}

static int has_label(struct bolt_bucket *rec, const char *key, const char *value, bool *has,
		     struct k3_err *e)
{
	struct bolt_bucket *labels;
	struct bolt_val val;

	*has = false;
	if (imp_sub(rec, BOLT_STR("labels"), &labels, e))
		return -1;
	if (!labels)
		return 0;
	if (bolt_get(labels, BOLT_STR(key), &val, e))
		return -1;
	*has = val.p && imp_val_eq(val, BOLT_STR(value));
	return 0;
}

int imp_read_record(struct bolt_bucket *rec, struct imp_record *r, struct k3_err *e)
{
	struct bolt_val val;

	if (read_target(rec, &r->target, e) ||
	    has_label(rec, IMP_LABEL_MANAGED, "managed", &r->managed, e) ||
	    has_label(rec, IMP_LABEL_PINNED, "pinned", &r->pinned, e) ||
	    bolt_get(rec, BOLT_STR("createdat"), &val, e))
		return -1;
	if (!imp_get_time(val, &r->created))
		r->created = 0;
	return 0;
}

int imp_view_images(struct imp_view *v, imp_record_fn *fn, void *arg, struct k3_err *e)
{
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true;

	while (v->images) {
		K3_AUTO_FREE char *name = NULL;
		struct imp_record r = { 0 };
		struct bolt_bucket *rec;

		if (bolt_next(v->images, &it, &item, &more, e))
			return -1;
		if (!more)
			break;
		if (!item.is_bucket)
			continue;
		name = k3_xstrndup(item.key.p, item.key.n);
		r.name = name;
		if (bolt_bucket_get(v->images, item.key, &rec, e) || imp_read_record(rec, &r, e))
			return broken_record(e, v->i->ns, name);
		if (fn(arg, &r, e))
			return -1;
	}
	return 0;
}

/* ---- blobs, snapshots --------------------------------------------------------------- */

int imp_view_blob_record(struct imp_view *v, const struct oci_desc *d, bool *have, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];
	struct bolt_bucket *rec = NULL;
	struct bolt_val val;
	int64_t size;

	*have = false;
	oci_digest_format(&d->digest, text);
	if (v->blobs && imp_sub(v->blobs, BOLT_STR(text), &rec, e))
		return -1;
	if (!rec)
		return 0;
	if (bolt_get(rec, BOLT_STR("size"), &val, e))
		return -1;
	*have = imp_get_varint(val, &size) && (uint64_t)size == d->size;
	return 0;
}

int imp_view_blob(struct imp_view *v, const struct oci_desc *d, bool *have, struct k3_err *e)
{
	bool exists;

	if (imp_view_blob_record(v, d, have, e))
		return -1;
	*have = *have || imp_vouches_blob(v->i, &d->digest);
	*have = *have && imp_blob_file(v->i, d, &exists);
	return 0;
}

static bool has_directory(struct imp *i, uint64_t id)
{
	char path[IMP_PATH_MAX];
	struct stat st;

	imp_snapshot_path(id, path);
	return !fstatat(i->rootfd, path, &st, AT_SYMLINK_NOFOLLOW) && S_ISDIR(st.st_mode);
}

int imp_view_snapshot(struct imp_view *v, const struct oci_digest *chain, struct imp_snapshot *out,
		      bool *found, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];
	struct bolt_bucket *rec = NULL;
	int kind;

	*found = false;
	if (imp_distrusts_chain(v->i, chain))
		return 0;
	oci_digest_format(chain, text);
	if (v->chains && imp_sub(v->chains, BOLT_STR(text), &rec, e))
		return -1;
	if (!rec || !v->backend)
		return 0;
	if (bolt_get(rec, BOLT_STR("name"), &out->name, e))
		return -1;
	if (!out->name.n)
		return 0;
	if (imp_native_find(v->backend, out->name, &out->id, &kind, found, e))
		return -1;
	if (*found && kind != IMP_KIND_COMMITTED) {
		k3_fail(e, K3_STORE, "snapshot %s exists, but is not committed", text);
		return k3_hint(e,
			       "start containerd, remove it (ctr -n %s snapshots "
			       "--snapshotter " IMP_SNAPSHOTTER " rm) and stop it again",
			       v->i->ns);
	}
	*found = *found && has_directory(v->i, out->id);
	return 0;
}

int imp_view_chain(struct imp_view *v, const struct oci_digest *chain, uint64_t *id, bool *have,
		   struct k3_err *e)
{
	struct imp_snapshot s = { 0 };

	if (imp_view_snapshot(v, chain, &s, have, e))
		return -1;
	if (*have)
		*id = s.id;
	return 0;
}
