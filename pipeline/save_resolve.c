/* SPDX-License-Identifier: Apache-2.0 */
/* Reference -> documents in the layout, and the blobs they name. */
#include <stdlib.h>

#include "pipeline/save.h"

struct asker {
	struct save *save;
	struct save_image *im;
	size_t slot;
};

static bool add(struct descs *list, const struct oci_desc *d)
{
	for (size_t i = 0; i < list->n; i++)
		if (oci_digest_eq(&list->items[i].digest, &d->digest))
			return false;
	list->items = k3_xgrow(list->items, list->n, &list->cap, sizeof(*list->items));
	list->items[list->n++] = *d;
	return true;
}

/* What is there, whole, is not asked for again. */
static int from_layout(const struct asker *a, const struct oci_desc *want, struct k3_buf *raw,
		       bool *have, struct k3_err *e)
{
	*have = !layout_read(a->save->layout, want, raw, e);
	if (*have)
		return 0;
	k3_buf_reset(raw);
	return e->code == K3_NOTFOUND || e->code == K3_DIGEST ? 0 : -1;
}

static int fetch_one(const struct asker *a, const struct oci_desc *want, bool config,
		     struct k3_buf *raw, struct oci_desc *got, struct k3_err *e)
{
	const struct source_link link = save_link(a->save, a->slot);

	return source_document(&link, a->im->req, want, config, raw, got, e);
}

static int get(void *arg, const struct oci_desc *want, bool config, struct k3_buf *raw,
	       struct oci_desc *got, struct k3_err *e)
{
	const struct asker *a = arg;
	bool have;

	if (k3_cancel_check(a->save->stop, e) || from_layout(a, want, raw, &have, e))
		return -1;
	if (!have)
		return fetch_one(a, want, config, raw, got, e);
	*got = *want;
	return 0;
}

/* The outermost document. */
static int get_target(struct asker *a, struct k3_buf *raw, struct oci_desc *got, struct k3_err *e)
{
	const struct source_link link = save_link(a->save, a->slot);
	const struct pl_request *q = a->im->req;
	struct oci_desc want = { 0 };
	bool have;

	if (!q->ref.has_digest || q->from) {
		if (source_target(&link, q, &want, e))
			return -1;
		return get(a, &want, false, raw, got, e);
	}
	want.digest = q->ref.digest;
	if (from_layout(a, &want, raw, &have, e))
		return -1;
	if (!have)
		return fetch_one(a, NULL, false, raw, got, e);
	*got = want;
	source_describe(got, raw);
	return 0;
}

static int keep(const struct asker *a, const struct oci_desc *d, const struct k3_buf *raw,
		struct k3_err *e)
{
	bool wrote = false;

	if (!add(&a->im->docs, d))
		return 0;
	/* Images may share documents; two that write one file at once would tear it. */
	K3_WITH_MONITOR(a->save->mon);
	if (layout_put(a->save->layout, d, raw->p, raw->len, &wrote, e))
		return -1;
	a->im->wrote = a->im->wrote || wrote;
	return 0;
}

/* ---- one platform -------------------------------------------------------------------------- */

static int one_platform(struct asker *a, struct k3_buf *raw, struct k3_err *e)
{
	__attribute__((cleanup(oci_resolved_release))) struct oci_resolved found = { 0 };
	struct save_image *im = a->im;

	if (oci_resolve(&im->target, raw, &a->save->o->platform, get, a, &found, e))
		return -1;
	for (size_t i = 0; i < found.ndocs; i++)
		if (keep(a, &found.docs[i].desc, &found.docs[i].body, e))
			return -1;
	if (keep(a, &found.image.config, &found.config, e))
		return -1;
	for (size_t i = 0; i < found.image.nlayers; i++)
		add(&im->blobs, &found.image.layers[i].blob);
	im->res->config = found.image.config.digest;
	im->res->platform = found.image.platform;
	return 0;
}

/* ---- all of them --------------------------------------------------------------------------- */

static int whole_document(struct asker *a, const struct oci_desc *d, const struct k3_buf *raw,
			  unsigned depth, struct k3_err *e);

static int whole_entry(struct asker *a, const struct oci_entry *entry, unsigned depth,
		       struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	const struct oci_desc *d = &entry->desc;
	struct oci_desc got;

	/* Of those only the digest matters here. */
	if (entry->unusable[0] && !d->size)
		return k3_fail(e, K3_UNSUPPORTED, "an index entry: %s", entry->unusable);
	if (!oci_media_is_index(d->media) && !oci_media_is_manifest(d->media)) {
		add(&a->im->blobs, d);
		return 0;
	}
	if (d->size > OCI_DOCUMENT_MAX)
		return k3_fail(e, K3_LIMIT, "a document of %llu bytes; the limit is %u",
			       (unsigned long long)d->size, OCI_DOCUMENT_MAX);
	return get(a, d, false, &raw, &got, e) || whole_document(a, &got, &raw, depth, e) ? -1 : 0;
}

static int whole_index(struct asker *a, const struct k3_buf *raw, unsigned depth, struct k3_err *e)
{
	__attribute__((cleanup(oci_index_release))) struct oci_index ix = { 0 };

	if (depth == OCI_INDEX_DEPTH_MAX)
		return k3_fail(e, K3_LIMIT, "more than %u indexes inside one another",
			       OCI_INDEX_DEPTH_MAX);
	if (oci_index_parse(raw->p, raw->len, &ix, e))
		return -1;
	for (size_t i = 0; i < ix.count; i++)
		if (whole_entry(a, &ix.entries[i], depth + 1, e))
			return -1;
	return 0;
}

static int whole_manifest(struct asker *a, const struct k3_buf *raw, struct k3_err *e)
{
	K3_AUTO_FREE struct oci_desc *blobs = NULL;
	size_t n;

	if (oci_manifest_blobs(raw->p, raw->len, &blobs, &n, e))
		return -1;
	for (size_t i = 0; i < n; i++)
		add(&a->im->blobs, &blobs[i]);
	if (a->im->blobs.n > SAVE_BLOBS_MAX)
		return k3_fail(e, K3_LIMIT, "more than %u blobs in one image", SAVE_BLOBS_MAX);
	return 0;
}

/* Recursion is as deep as indexes are nested. */
static int whole_document(struct asker *a, const struct oci_desc *d, const struct k3_buf *raw,
			  unsigned depth, struct k3_err *e)
{
	size_t before = a->im->docs.n;

	if (keep(a, d, raw, e))
		return -1;
	if (a->im->docs.n == before) /* seen already */
		return 0;
	if (a->im->docs.n > SAVE_DOCS_MAX)
		return k3_fail(e, K3_LIMIT, "more than %u documents in one image", SAVE_DOCS_MAX);
	if (oci_media_is_index(d->media))
		return whole_index(a, raw, depth, e);
	if (oci_media_is_manifest(d->media))
		return whole_manifest(a, raw, e);
	return k3_fail(e, K3_UNSUPPORTED, "media type \"%s\" is no image manifest or index",
		       d->media_text);
}

/* ---- both ---------------------------------------------------------------------------------- */

int save_resolve(struct save *s, struct save_image *im, size_t slot, struct k3_err *e)
{
	struct asker a = { s, im, slot };
	K3_AUTO_BUF struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);

	if (get_target(&a, &raw, &im->target, e))
		return -1;
	im->res->target = im->target.digest;
	if (s->o->all_platforms ? whole_document(&a, &im->target, &raw, 0, e)
				: one_platform(&a, &raw, e))
		return -1;
	im->res->layers = im->blobs.n;
	for (size_t i = 0; i < im->blobs.n; i++)
		if (__builtin_add_overflow(im->res->compressed, im->blobs.items[i].size,
					   &im->res->compressed))
			im->res->compressed = UINT64_MAX;
	return 0;
}
