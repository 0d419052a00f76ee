/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing of a bundle is believed but what a digest proves that an image asks for: what an image's
 * name leads to is what the bundle says, as it would be what a registry says; from there on
 * every byte is the image's own.
 */
#include "pipeline/bundled.h"

#include <stdlib.h>
#include <string.h>

int bundled_lacks(const struct oci_desc *want, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(&want->digest, text);
	return k3_fail(e, K3_NOTFOUND, "the bundle has no document %s", text);
}

/* ---- documents ------------------------------------------------------------------------------ */

static int read_whole(struct bundle *b, size_t member, struct k3_buf *out, struct k3_err *e)
{
	uint64_t size = bundle_doc(b)->members[member].size;
	size_t got;

	if (k3_buf_reserve(out, (size_t)size + 1, e))
		return -1;
	do {
		if (bundle_read(b, member, out->len, out->p + out->len, (size_t)size - out->len,
				&got, e))
			return -1;
		out->len += got;
	} while (got);
	return 0;
}

static int wrong_digest(const struct oci_digest *got, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(got, text);
	return k3_fail(e, K3_DIGEST, "the bundle has %s in its place", text);
}

static int stage_document(struct run *r, size_t member, struct k3_buf *raw, struct k3_err *e)
{
	const struct bundle_member *m = &bundle_doc(r->o->bundle)->members[member];
	struct oci_desc d = { .digest = m->digest, .size = m->size };
	char text[OCI_DIGEST_TEXT_MAX];
	struct oci_digest got;

	k3_buf_reset(raw);
	if (read_whole(r->o->bundle, member, raw, e))
		return -1;
	oci_digest_of(m->digest.alg, raw->p, raw->len, &got);
	oci_digest_format(&m->digest, text);
	if (!oci_digest_eq(&got, &m->digest)) {
		wrong_digest(&got, e);
		return k3_wrap(e, "document %s", text);
	}
	return imp_blob_put(r->imp, &d, raw->p, raw->len, e);
}

int bundled_documents(struct run *r, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX + 1);
	const struct bundle_doc *doc = bundle_doc(r->o->bundle);

	for (size_t i = 0; i < doc->n && doc->members[i].kind == BUNDLE_DOCUMENT; i++)
		if (k3_cancel_check(r->stop, e) || stage_document(r, i, &raw, e))
			return -1;
	return 0;
}

/* ---- the plan ------------------------------------------------------------------------------- */

static void add_once(struct bundle_doc *d, struct oci_map *seen, enum bundle_kind kind,
		     const struct oci_digest *digest, uint64_t size)
{
	if (oci_map_get(seen, digest))
		return;
	bundle_add_member(d, kind, digest, size);
	/* The place, plus 1: the list itself moves while it grows. */
	oci_map_put(seen, digest, (void *)(uintptr_t)d->n);
}

/* A layer that a registry has as a plain tar is its own decompressed form. */
static bool is_compressed(const struct oci_layer *l)
{
	return !oci_digest_eq(&l->blob.digest, &l->diff_id);
}

void bundled_members(const struct run *r, struct bundle_doc *out)
{
	struct oci_map blobs = { 0 }, tars = { 0 };

	for (size_t i = 0; i < r->nimages; i++) {
		const struct oci_resolved *f = &r->images[i].found;
		const struct k3_buf *unused;

		for (size_t k = 0; k <= f->ndocs; k++) {
			const struct oci_desc *d = resolved_document(f, k, &unused);

			add_once(out, &blobs, BUNDLE_DOCUMENT, &d->digest, d->size);
		}
	}
	for (size_t i = 0; i < r->nblobs; i++)
		add_once(out, &blobs, BUNDLE_LAYER, &r->blobs[i]->desc->digest,
			 r->blobs[i]->desc->size);
	for (const struct node *n = r->nodes; n; n = n->next)
		if (is_compressed(n->layer))
			add_once(out, &tars, BUNDLE_TAR, &n->layer->diff_id, 0);
	oci_map_release(&blobs);
	oci_map_release(&tars);
}

void bundled_mark_decoded(struct run *r)
{
	struct oci_map tars = { 0 };

	for (struct node *n = r->nodes; n; n = n->next) {
		if (!is_compressed(n->layer) || oci_map_get(&tars, &n->layer->diff_id))
			continue;
		n->decoded = true;
		oci_map_put(&tars, &n->layer->diff_id, n);
	}
	oci_map_release(&tars);
}

static bool same_member(const struct bundle_member *a, const struct bundle_member *b)
{
	return a->kind == b->kind && oci_digest_eq(&a->digest, &b->digest) &&
	       (a->kind == BUNDLE_TAR || a->size == b->size);
}

static int compare(const struct bundle_doc *have, const struct bundle_doc *want, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];

	for (size_t i = 0; i < want->n; i++) {
		if (i < have->n && same_member(&have->members[i], &want->members[i]))
			continue;
		oci_digest_format(&want->members[i].digest, text);
		return k3_fail(e, K3_FORMAT,
			       "the bundle lacks %s, which its images need, or has it elsewhere",
			       text);
	}
	if (have->n == want->n)
		return 0;
	return k3_fail(e, K3_FORMAT, "the bundle has more than its images need");
}

static void assign(struct run *r, const struct bundle_doc *doc)
{
	struct oci_map blobs = { 0 }, tars = { 0 };

	for (size_t i = 0; i < doc->n; i++) {
		const struct bundle_member *m = &doc->members[i];

		oci_map_put(m->kind == BUNDLE_TAR ? &tars : &blobs, &m->digest,
			    (void *)(uintptr_t)(i + 1));
	}
	for (size_t i = 0; i < r->nblobs; i++)
		r->blobs[i]->member = (uintptr_t)oci_map_get(&blobs, &r->blobs[i]->desc->digest) -
				      1;
	/* A pipe gives it once: to the first one; others have the blob. */
	for (struct node *n = r->nodes; n; n = n->next)
		if (is_compressed(n->layer))
			n->tar = (uintptr_t)oci_map_get(&tars, &n->layer->diff_id);
	oci_map_release(&blobs);
	oci_map_release(&tars);
}

int bundled_plan(struct run *r, struct k3_err *e)
{
	const struct bundle_doc *doc = bundle_doc(r->o->bundle);
	const struct image *bad = run_first_failed(r);
	struct bundle_doc want = { 0 };

	if (bad) {
		*e = bad->res->err;
		return k3_wrap(e, "%s", doc->images[bad->index].name);
	}
	bundled_members(r, &want);
	int rc = compare(doc, &want, e);

	bundle_doc_release(&want);
	if (!rc)
		assign(r, doc);
	return rc;
}

/* ---- blobs ---------------------------------------------------------------------------------- */

static int check_blob(struct transfer *t, struct k3_err *e)
{
	const struct oci_digest *want = &t->blob->desc->digest;
	struct oci_digest got;

	oci_digest_final(imp_blob_hash(t->file), want->alg, &got);
	return oci_digest_eq(&got, want) ? 0 : wrong_digest(&got, e);
}

static int restart(struct transfer *t, struct k3_err *e)
{
	K3_WITH_MONITOR(t->run->mon);
	return transfer_restart_locked(t, e);
}

static void note_cut(struct run *r, const struct k3_err *e)
{
	K3_WITH_MONITOR(r->mon);
	r->cut_short |= e->code == K3_FORMAT;
}

int bundled_blob(struct transfer *t, struct k3_err *e)
{
	struct bundle *b = t->run->o->bundle;
	uint64_t size = t->blob->desc->size, have = imp_blob_have(t->file);

	/* A pipe cannot be asked again: what an earlier run left of a blob is used if whole. */
	if (have && !bundle_any_order(b)) {
		if (have == size && !check_blob(t, e))
			return 0;
		if (restart(t, e))
			return -1;
		have = 0;
	}
	for (;;) {
		if (k3_cancel_check(t->run->stop, e))
			return -1;
		if (bundle_read(b, t->blob->member, have, t->piece, TRANSFER_PIECE, &t->len, e)) {
			t->len = 0;
			note_cut(t->run, e);
			return -1;
		}
		if (!t->len)
			return check_blob(t, e);
		k3_hash_add(imp_blob_hash(t->file), t->piece, t->len);
		have += t->len;
		if (transfer_flush(t, e))
			return -1;
	}
}

/* ---- decompressed layers -------------------------------------------------------------------- */

bool bundled_has_tar(const struct run *r, const struct node *n)
{
	return r->o->bundle && n->tar && bundle_has(r->o->bundle, n->tar - 1);
}

static void tell(struct bundled_tar *t, uint64_t size)
{
	const struct blob *b = t->node->blob;
	K3_WITH_MONITOR(t->run->mon);

	/* Progress counts in bytes of the blob. */
	run_blob_event_locked(
		t->run, b, PL_LAYER_UNPACKING,
		size ? (uint64_t)((double)b->desc->size * (double)t->pos / (double)size) : 0);
}

int bundled_tar_next(void *arg, const uint8_t **p, size_t *n, struct k3_err *e)
{
	struct bundled_tar *t = arg;
	struct bundle *b = t->run->o->bundle;

	if (k3_cancel_check(t->run->stop, e))
		return -1;
	*p = t->piece;
	if (bundle_read(b, t->node->tar - 1, t->pos, t->piece, t->size, n, e)) {
		note_cut(t->run, e);
		return -1;
	}
	t->pos += *n;
	tell(t, bundle_doc(b)->members[t->node->tar - 1].size);
	return 0;
}

int bundled_end(struct run *r, struct k3_err *e)
{
	const struct image *bad = run_first_failed(r);

	if (bad) {
		*e = bad->res->err;
		return k3_wrap(e, "%s", bundle_doc(r->o->bundle)->images[bad->index].name);
	}
	if (!bundle_finish(r->o->bundle, e))
		return 0;
	r->cut_short = e->code == K3_FORMAT;
	return -1;
}
