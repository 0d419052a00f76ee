/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index.json.  Names are annotated as containerd's exporter does it: the whole name for
 * containerd, only its tag for everybody else.
 */
#include <string.h>

#include "archive/layout.h"
#include "base/json.h"
#include "base/mem.h"

#define NAME_KEY "io.containerd.image.name"
#define TAG_KEY "org.opencontainers.image.ref.name"

static bool same(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

static bool replaces(const struct layout_image *im, const struct k3_json *entry)
{
	const struct k3_json *notes = k3_json_get(entry, "annotations");
	const char *name = k3_json_str(k3_json_get(notes, NAME_KEY));
	bool same_tag = same(k3_json_str(k3_json_get(notes, TAG_KEY)), im->tag);
	char digest[OCI_DIGEST_TEXT_MAX];

	if (same(name, im->name) || (same_tag && im->own_tag))
		return true;
	/* Another program's entry of this very image gets its whole name. */
	oci_digest_format(&im->target.digest, digest);
	return same_tag && !name && same(k3_json_str(k3_json_get(entry, "digest")), digest);
}

static void put_platform(struct k3_jw *w, const struct oci_platform *p)
{
	k3_jw_obj(w, "platform");
	k3_jw_str(w, "architecture", p->arch);
	k3_jw_str(w, "os", p->os);
	if (p->variant[0])
		k3_jw_str(w, "variant", p->variant);
	k3_jw_close_obj(w);
}

static void put_image(struct k3_jw *w, const struct layout_image *im)
{
	char digest[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(&im->target.digest, digest);
	k3_jw_obj(w, NULL);
	k3_jw_str(w, "mediaType", im->target.media_text);
	k3_jw_str(w, "digest", digest);
	k3_jw_u64(w, "size", im->target.size);
	k3_jw_obj(w, "annotations");
	k3_jw_str(w, NAME_KEY, im->name);
	if (im->tag)
		k3_jw_str(w, TAG_KEY, im->tag);
	k3_jw_close_obj(w);
	if (im->platform && im->platform->os[0] && im->platform->arch[0])
		put_platform(w, im->platform);
	k3_jw_close_obj(w);
}

static bool put_other(void *arg, const char *key, const struct k3_json *v)
{
	if (strcmp(key, "schemaVersion") != 0 && strcmp(key, "mediaType") != 0 &&
	    strcmp(key, "manifests") != 0)
		k3_jw_value(arg, key, v);
	return true;
}

/* What was there stays in its order; an image that replaces entries takes the place of the first.
 */
static void put_all(struct k3_jw *w, const struct k3_json *manifests,
		    const struct layout_image *images, size_t n)
{
	K3_AUTO_FREE bool *done = k3_xcalloc(n, sizeof(*done));

	for (size_t i = 0; i < k3_json_len(manifests); i++) {
		const struct k3_json *entry = k3_json_at(manifests, i);
		size_t k = 0;

		while (k < n && !replaces(&images[k], entry))
			k++;
		if (k == n)
			k3_jw_value(w, NULL, entry);
		else if (!done[k])
			put_image(w, &images[k]);
		if (k < n)
			done[k] = true;
	}
	for (size_t k = 0; k < n; k++)
		if (!done[k])
			put_image(w, &images[k]);
}

int layout_index(const struct k3_buf *old, const struct layout_image *images, size_t n,
		 struct k3_buf *out, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct k3_jw w = K3_JW(out);

	if (old->len && k3_json_parse(old->p, old->len, &doc, e))
		return -1;
	const struct k3_json *root = doc ? k3_json_root(doc) : NULL;
	const struct k3_json *manifests = k3_json_get(root, "manifests");

	if (root && !k3_json_is_obj(root))
		return k3_fail(e, K3_FORMAT, "not an index");
	if (manifests && !k3_json_is_null(manifests) && !k3_json_is_arr(manifests))
		return k3_fail(e, K3_FORMAT, "manifests is not an array");
	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", 2);
	k3_jw_str(&w, "mediaType", oci_media_name(OCI_MEDIA_INDEX));
	k3_jw_arr(&w, "manifests");
	put_all(&w, manifests, images, n);
	k3_jw_close_arr(&w);
	k3_json_each(root, put_other, &w);
	k3_jw_close_obj(&w);
	return k3_jw_end(&w, e);
}
