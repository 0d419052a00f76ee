/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/inspect.h"

static void digest(struct k3_jw *w, const char *key, const struct oci_digest *d)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(d, text);
	k3_jw_str(w, key, text);
}

static void when(struct k3_jw *w, const char *key, int64_t seconds)
{
	char text[CLI_TIME_MAX];

	if (cli_time(seconds, text))
		k3_jw_str(w, key, text);
}

/* A document as it is, of whoever made it. */
static int document(struct k3_jw *w, const char *key, const struct k3_buf *raw, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;

	if (k3_json_parse(raw->p, raw->len, &doc, e))
		return k3_wrap(e, "%s", key ? key : "index");
	k3_jw_value(w, key, k3_json_root(doc));
	return 0;
}

static void descriptor(struct k3_jw *w, const struct oci_desc *d)
{
	digest(w, "digest", &d->digest);
	k3_jw_str(w, "mediaType", d->media_text);
	k3_jw_u64(w, "size", d->size);
}

static int label(void *arg, const char *key, const char *value, struct k3_err *e)
{
	(void)e;
	k3_jw_str(arg, key, value);
	return 0;
}

static int blob_labels(struct k3_jw *w, struct imp_view *v, const struct oci_digest *d,
		       struct k3_err *e)
{
	k3_jw_obj(w, "labels");
	int rc = imp_view_blob_labels(v, d, label, w, e);

	k3_jw_close_obj(w);
	return rc;
}

static int names(const struct inspected *x, struct k3_jw *w, struct k3_err *e)
{
	k3_jw_arr(w, "names");
	for (size_t k = 0; k < x->im->nnames; k++)
		k3_jw_str(w, NULL, x->im->names[k]);
	k3_jw_close_arr(w);
	k3_jw_arr(w, "records");
	for (size_t k = 0; k < x->im->nnames; k++) {
		k3_jw_obj(w, NULL);
		k3_jw_str(w, "name", x->im->names[k]);
		k3_jw_obj(w, "labels");
		if (imp_view_image_labels(x->c->view, x->im->names[k], label, w, e))
			return -1;
		k3_jw_close_obj(w);
		k3_jw_close_obj(w);
	}
	k3_jw_close_arr(w);
	return 0;
}

static int snapshot(const struct inspected *x, size_t k, struct k3_jw *w, struct k3_err *e)
{
	const struct imp_snapshot_info *s = &x->layers[k].snapshot;
	const struct oci_digest *chain = &x->found.image.layers[k].chain_id;

	if (!x->layers[k].has_snapshot) {
		k3_jw_str(w, "snapshot", NULL);
		return 0;
	}
	K3_AUTO_FREE char *name = imp_snapshot_name(s->id);
	K3_AUTO_FREE char *path = k3_xasprintf("%s/%s", x->c->root, name);

	k3_jw_obj(w, "snapshot");
	digest(w, "key", chain);
	k3_jw_str(w, "name", s->name);
	k3_jw_u64(w, "id", s->id);
	k3_jw_str(w, "kind", imp_kind_name(s->kind));
	k3_jw_str(w, "parent", s->parent);
	k3_jw_str(w, "directory", path);
	k3_jw_bool(w, "directoryExists", s->directory);
	k3_jw_u64(w, "recordedBytes", s->bytes);
	k3_jw_u64(w, "recordedInodes", s->inodes);
	when(w, "createdAt", s->created);
	k3_jw_obj(w, "labels");
	if (imp_view_snapshot_labels(x->c->view, chain, label, w, e))
		return -1;
	k3_jw_close_obj(w);
	k3_jw_close_obj(w);
	return 0;
}

static int layers(const struct inspected *x, struct k3_jw *w, struct k3_err *e)
{
	const struct oci_image *img = &x->found.image;

	k3_jw_arr(w, "layers");
	for (size_t k = 0; k < x->nlayers; k++) {
		k3_jw_obj(w, NULL);
		descriptor(w, &img->layers[k].blob);
		digest(w, "diffID", &img->layers[k].diff_id);
		digest(w, "chainID", &img->layers[k].chain_id);
		k3_jw_bool(w, "stored", x->layers[k].stored);
		if (snapshot(x, k, w, e) ||
		    blob_labels(w, x->c->view, &img->layers[k].blob.digest, e))
			return -1;
		k3_jw_close_obj(w);
	}
	k3_jw_close_arr(w);
	return 0;
}

static void losses(const struct inspected *x, struct k3_jw *w)
{
	k3_jw_u64(w, "losses", x->total_losses);
	k3_jw_arr(w, "lossPaths");
	for (size_t k = 0; k < x->nlosses; k++) {
		k3_jw_obj(w, NULL);
		k3_jw_str(w, "class", x->losses[k].kind);
		k3_jw_str(w, "path", x->losses[k].path);
		k3_jw_str(w, "what", x->losses[k].what);
		k3_jw_str(w, "error", x->losses[k].why);
		k3_jw_close_obj(w);
	}
	k3_jw_close_arr(w);
	if (x->nlosses < x->total_losses)
		k3_jw_u64(w, "lossPathsOmitted", x->total_losses - x->nlosses);
}

/* Index and manifest, outermost first, each with its own bytes as JSON. */
static int documents(const struct inspected *x, struct k3_jw *w, struct k3_err *e)
{
	const struct oci_resolved *f = &x->found;

	k3_jw_arr(w, "documents");
	for (size_t k = 0; k <= f->ndocs; k++) {
		const struct oci_desc *d = k < f->ndocs ? &f->docs[k].desc : &f->image.config;

		k3_jw_obj(w, NULL);
		k3_jw_str(w, "kind",
			  k == f->ndocs       ? "config"
			  : k + 1 == f->ndocs ? "manifest"
					      : "index");
		descriptor(w, d);
		if (blob_labels(w, x->c->view, &d->digest, e))
			return -1;
		k3_jw_close_obj(w);
	}
	k3_jw_close_arr(w);
	k3_jw_arr(w, "indexes");
	for (size_t k = 0; k + 1 < f->ndocs; k++)
		if (document(w, NULL, &f->docs[k].body, e))
			return -1;
	k3_jw_close_arr(w);
	return document(w, "manifest", &f->docs[f->ndocs - 1].body, e) ||
			       document(w, "config", &f->config, e)
		       ? -1
		       : 0;
}

int inspect_json(const struct inspected *x, struct k3_jw *w, struct k3_err *e)
{
	const struct catalog_image *im = x->im;
	char platform[3 * OCI_PLATFORM_PART_MAX + 3];

	k3_jw_obj(w, NULL);
	if (names(x, w, e))
		return -1;
	digest(w, "digest", &im->target.digest);
	k3_jw_str(w, "mediaType", im->target.media_text);
	k3_jw_bool(w, "pinned", im->pinned);
	k3_jw_bool(w, "managed", im->managed);
	k3_jw_bool(w, "unpacked", im->unpacked);
	k3_jw_bool(w, "complete", x->whole);
	when(w, "createdAt", im->created);
	if (x->whole) {
		oci_platform_format(&im->platform, platform, sizeof(platform));
		digest(w, "id", &im->id);
		k3_jw_str(w, "platform", platform);
		k3_jw_u64(w, "size", im->size);
		if (im->layers)
			digest(w, "chainID", &im->chain);
		if (layers(x, w, e))
			return -1;
		losses(x, w);
		if (documents(x, w, e))
			return -1;
	}
	k3_jw_close_obj(w);
	return 0;
}
