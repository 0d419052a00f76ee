/* SPDX-License-Identifier: Apache-2.0 */
/* Records as they are, for who shows them. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "importer/native.h"
#include "importer/root.h"
#include "importer/view.h"

/* ---- labels -------------------------------------------------------------------------- */

static int each_label(struct bolt_bucket *rec, imp_label_fn *fn, void *arg, struct k3_err *e)
{
	struct bolt_bucket *labels = NULL;
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true;

	if (rec && imp_sub(rec, BOLT_STR("labels"), &labels, e))
		return -1;
	while (labels) {
		if (bolt_next(labels, &it, &item, &more, e))
			return -1;
		if (!more)
			break;
		if (item.is_bucket)
			continue;
		K3_AUTO_FREE char *key = k3_xstrndup(item.key.p, item.key.n);
		K3_AUTO_FREE char *value = k3_xstrndup(item.val.p, item.val.n);

		if (fn(arg, key, value, e))
			return -1;
	}
	return 0;
}

static int labels_of(struct bolt_bucket *records, const char *key, imp_label_fn *fn, void *arg,
		     struct k3_err *e)
{
	struct bolt_bucket *rec = NULL;

	if (records && imp_sub(records, BOLT_STR(key), &rec, e))
		return -1;
	return each_label(rec, fn, arg, e);
}

int imp_view_image_labels(struct imp_view *v, const char *name, imp_label_fn *fn, void *arg,
			  struct k3_err *e)
{
	return labels_of(v->images, name, fn, arg, e);
}

int imp_view_blob_labels(struct imp_view *v, const struct oci_digest *d, imp_label_fn *fn,
			 void *arg, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(d, text);
	return labels_of(v->blobs, text, fn, arg, e);
}

int imp_view_snapshot_labels(struct imp_view *v, const struct oci_digest *chain, imp_label_fn *fn,
			     void *arg, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(chain, text);
	return labels_of(v->chains, text, fn, arg, e);
}

/* ---- snapshots ----------------------------------------------------------------------- */

static uint64_t number(struct bolt_val val)
{
	int64_t n;

	return imp_get_varint(val, &n) && n > 0 ? (uint64_t)n : 0;
}

static int read_native(struct imp_view *v, struct bolt_val name, struct imp_snapshot_info *out,
		       bool *found, struct k3_err *e)
{
	struct bolt_bucket *rec = NULL;
	struct bolt_val inodes, bytes, created;
	char path[IMP_PATH_MAX];
	struct stat st;

	if (imp_native_find(v->backend, name, &out->id, &out->kind, found, e))
		return -1;
	if (!*found)
		return 0;
	if (imp_sub(v->backend, name, &rec, e) || bolt_get(rec, BOLT_STR("inodes"), &inodes, e) ||
	    bolt_get(rec, BOLT_STR("size"), &bytes, e) ||
	    bolt_get(rec, BOLT_STR("createdat"), &created, e))
		return -1;
	out->inodes = number(inodes);
	out->bytes = number(bytes);
	if (!imp_get_time(created, &out->created))
		out->created = 0;
	imp_snapshot_path(out->id, path);
	out->directory = !fstatat(v->i->rootfd, path, &st, AT_SYMLINK_NOFOLLOW) &&
			 S_ISDIR(st.st_mode);
	return 0;
}

int imp_view_snapshot_info(struct imp_view *v, const struct oci_digest *chain,
			   struct imp_snapshot_info *out, bool *found, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];
	struct bolt_bucket *rec = NULL;
	struct bolt_val name, parent;

	*out = (struct imp_snapshot_info){ 0 };
	*found = false;
	oci_digest_format(chain, text);
	if (v->chains && imp_sub(v->chains, BOLT_STR(text), &rec, e))
		return -1;
	if (!rec || !v->backend)
		return 0;
	if (bolt_get(rec, BOLT_STR("name"), &name, e) ||
	    bolt_get(rec, BOLT_STR("parent"), &parent, e))
		return -1;
	if (!name.n)
		return 0;
	if (read_native(v, name, out, found, e))
		return -1;
	if (!*found)
		return 0;
	out->name = k3_xstrndup(name.p, name.n);
	out->parent = parent.n ? k3_xstrndup(parent.p, parent.n) : NULL;
	return 0;
}

void imp_snapshot_info_release(struct imp_snapshot_info *s)
{
	free(s->name);
	free(s->parent);
	*s = (struct imp_snapshot_info){ 0 };
}

bool imp_is_container(int kind)
{
	return kind == IMP_KIND_ACTIVE || kind == IMP_KIND_VIEW;
}

const char *imp_kind_name(int kind)
{
	static const char *const names[] = { [IMP_KIND_VIEW] = "view",
					     [IMP_KIND_ACTIVE] = "active",
					     [IMP_KIND_COMMITTED] = "committed" };

	return kind > 0 && (size_t)kind < K3_ARRAY_LEN(names) ? names[kind] : "unknown";
}
