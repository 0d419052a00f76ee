/* SPDX-License-Identifier: Apache-2.0 */
/* Reference -> documents, from the store where it has them, else from their source. */
#include "pipeline/bundled.h"
#include "pipeline/run.h"
#include "pipeline/source.h"

/* Who asks: the oci_get_fn below needs all three. */
struct asker {
	struct run *run;
	struct image *im;
	size_t slot;
};

/*
 * What is on disk already, and verified against its digest, is not asked for again.
 * *have = false and success when it must be fetched.
 */
static int from_store(struct run *r, const struct oci_desc *want, struct k3_buf *raw, bool *have,
		      struct k3_err *e)
{
	*have = r->imp && !imp_read_document(r->imp, want, raw, e);
	if (!r->imp)
		return 0;
	if (*have)
		return 0;
	k3_buf_reset(raw);
	return e->code == K3_NOTFOUND || e->code == K3_DIGEST ? 0 : -1;
}

static int fetch_one(const struct asker *a, const struct oci_desc *want, bool config,
		     struct k3_buf *raw, struct oci_desc *got, struct k3_err *e)
{
	const struct source_link link = run_link(a->run, a->slot);

	if (a->run->o->bundle)
		return bundled_lacks(want, e);
	if (source_document(&link, a->im->req, want, config, raw, got, e))
		return -1;
	return a->run->look_only ? 0 : imp_blob_put(a->run->imp, got, raw->p, raw->len, e);
}

static int get(void *arg, const struct oci_desc *want, bool config, struct k3_buf *raw,
	       struct oci_desc *got, struct k3_err *e)
{
	const struct asker *a = arg;
	bool have;

	if (k3_cancel_check(a->run->stop, e) || from_store(a->run, want, raw, &have, e))
		return -1;
	if (!have)
		return fetch_one(a, want, config, raw, got, e);
	*got = *want;
	return 0;
}

/*
 * The outermost document.  A digest in the reference makes the store enough; a tag of a registry
 * costs one HEAD, and the body only when it is not here yet.
 */
static int get_target(const struct asker *a, struct k3_buf *raw, struct oci_desc *got,
		      struct k3_err *e)
{
	const struct source_link link = run_link(a->run, a->slot);
	const struct pl_request *q = a->im->req;
	struct oci_desc want = { 0 };
	bool have;

	if (a->run->o->bundle)
		return get((void *)(uintptr_t)a, q->target, false, raw, got, e);
	if (!q->ref.has_digest || q->from) {
		if (source_target(&link, q, &want, e))
			return -1;
		return get((void *)(uintptr_t)a, &want, false, raw, got, e);
	}
	want.digest = q->ref.digest; /* its size is not known: 0 leaves it open */
	if (from_store(a->run, &want, raw, &have, e))
		return -1;
	if (!have)
		return fetch_one(a, NULL, false, raw, got, e);
	*got = want;
	source_describe(got, raw);
	return 0;
}

int resolve_image(struct run *r, struct image *im, size_t slot, struct k3_err *e)
{
	struct asker a = { r, im, slot };
	K3_AUTO_BUF struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	struct oci_desc target;

	if (get_target(&a, &raw, &target, e) ||
	    oci_resolve(&target, &raw, &r->o->platform, get, &a, &im->found, e))
		return -1;
	im->img = &im->found.image;
	im->res->target = target.digest;
	im->res->config = im->img->config.digest;
	im->res->platform = im->img->platform;
	im->res->layers = im->img->nlayers;
	im->res->compressed = oci_image_layer_bytes(im->img);
	return 0;
}
