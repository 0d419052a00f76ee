/* SPDX-License-Identifier: Apache-2.0 */
/* k3simg-bundle.json (docs/bundle.md). */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "bundle/bundle.h"

#define FORMAT "k3simg-bundle"

static const char *const lists[] = {
	[BUNDLE_DOCUMENT] = "documents",
	[BUNDLE_LAYER] = "layers",
	[BUNDLE_TAR] = "tars",
};

void bundle_add_image(struct bundle_doc *d, const struct oci_ref *ref,
		      const struct oci_desc *target)
{
	struct bundle_image *im;

	d->images = k3_xgrow(d->images, d->nimages, &d->images_cap, sizeof(*d->images));
	im = &d->images[d->nimages++];
	*im = (struct bundle_image){ .name = oci_ref_full(ref), .ref = *ref, .target = *target };
	im->ref.host = k3_xstrdup(ref->host);
	im->ref.repo = k3_xstrdup(ref->repo);
	im->ref.tag = ref->tag ? k3_xstrdup(ref->tag) : NULL;
}

void bundle_add_member(struct bundle_doc *d, enum bundle_kind kind, const struct oci_digest *digest,
		       uint64_t size)
{
	d->members = k3_xgrow(d->members, d->n, &d->members_cap, sizeof(*d->members));
	d->members[d->n++] =
		(struct bundle_member){ .kind = kind, .digest = *digest, .size = size };
}

void bundle_doc_release(struct bundle_doc *d)
{
	for (size_t i = 0; i < d->nimages; i++) {
		free(d->images[i].name);
		oci_ref_release(&d->images[i].ref);
	}
	free(d->images);
	free(d->members);
	*d = (struct bundle_doc){ 0 };
}

/* ---- writing -------------------------------------------------------------------------------- */

static void write_digest(struct k3_jw *w, const struct oci_digest *digest, uint64_t size)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(digest, text);
	k3_jw_str(w, "digest", text);
	k3_jw_u64(w, "size", size);
}

static void write_members(struct k3_jw *w, const struct bundle_doc *d, enum bundle_kind kind)
{
	k3_jw_arr(w, lists[kind]);
	for (size_t i = 0; i < d->n; i++) {
		if (d->members[i].kind != kind)
			continue;
		k3_jw_obj(w, NULL);
		write_digest(w, &d->members[i].digest, d->members[i].size);
		k3_jw_close_obj(w);
	}
	k3_jw_close_arr(w);
}

int bundle_doc_write(const struct bundle_doc *d, struct k3_buf *out, struct k3_err *e)
{
	char platform[3 * OCI_PLATFORM_PART_MAX + 3];
	struct k3_jw w = K3_JW(out);

	if (d->nimages > BUNDLE_IMAGES_MAX || d->n > BUNDLE_MEMBERS_MAX) {
		k3_fail(e, K3_LIMIT,
			"%zu images with %zu documents and layers: a bundle has at most %u and %u",
			d->nimages, d->n, BUNDLE_IMAGES_MAX, BUNDLE_MEMBERS_MAX);
		return k3_hint(e, "make several bundles");
	}
	oci_platform_format(&d->platform, platform, sizeof(platform));
	k3_jw_obj(&w, NULL);
	k3_jw_str(&w, "format", FORMAT);
	k3_jw_u64(&w, "version", BUNDLE_VERSION);
	k3_jw_str(&w, "platform", platform);
	k3_jw_arr(&w, "images");
	for (size_t i = 0; i < d->nimages; i++) {
		k3_jw_obj(&w, NULL);
		k3_jw_str(&w, "name", d->images[i].name);
		k3_jw_str(&w, "mediaType", d->images[i].target.media_text);
		write_digest(&w, &d->images[i].target.digest, d->images[i].target.size);
		k3_jw_close_obj(&w);
	}
	k3_jw_close_arr(&w);
	for (enum bundle_kind k = BUNDLE_DOCUMENT; k <= BUNDLE_TAR; k++)
		write_members(&w, d, k);
	k3_jw_close_obj(&w);
	return k3_jw_end(&w, e);
}

/* ---- reading -------------------------------------------------------------------------------- */

static int read_digest(const struct k3_json *v, uint64_t limit, struct oci_digest *digest,
		       uint64_t *size, struct k3_err *e)
{
	const char *text = k3_json_str(k3_json_get(v, "digest"));

	if (!text)
		return k3_fail(e, K3_FORMAT, "an entry without a digest");
	if (oci_digest_parse(text, digest, e))
		return -1;
	if (!k3_json_u64(k3_json_get(v, "size"), size))
		return k3_fail(e, K3_FORMAT, "%s has no size", text);
	if (*size > limit)
		return k3_fail(e, K3_LIMIT, "%s has %llu bytes, more than %llu", text,
			       (unsigned long long)*size, (unsigned long long)limit);
	return 0;
}

static int read_target(const struct k3_json *v, struct oci_desc *d, struct k3_err *e)
{
	const char *media = k3_json_str(k3_json_get(v, "mediaType"));

	*d = (struct oci_desc){ 0 };
	if (!media || strlen(media) >= sizeof(d->media_text))
		return k3_fail(e, K3_FORMAT, "no media type");
	memcpy(d->media_text, media, strlen(media) + 1);
	d->media = oci_media_parse(media);
	if (!oci_media_is_index(d->media) && !oci_media_is_manifest(d->media))
		return k3_fail(e, K3_FORMAT, "media type \"%s\" is not an image's", media);
	return read_digest(v, OCI_DOCUMENT_MAX, &d->digest, &d->size, e);
}

static int read_image(struct bundle_doc *out, const struct k3_json *v, struct k3_err *e)
{
	const char *name = k3_json_str(k3_json_get(v, "name"));
	struct oci_desc target;
	struct oci_ref ref;

	if (!name)
		return k3_fail(e, K3_FORMAT, "an image without a name");
	if (oci_ref_parse(name, &ref, e)) {
		e->code = K3_FORMAT;
		return -1;
	}
	int rc = read_target(v, &target, e);

	if (rc)
		k3_wrap(e, "image %s", name);
	else if (ref.has_digest && !oci_digest_eq(&ref.digest, &target.digest))
		rc = k3_fail(e, K3_DIGEST, "image %s is said to have another digest", name);
	else
		bundle_add_image(out, &ref, &target);
	oci_ref_release(&ref);
	return rc;
}

static int read_members(struct bundle_doc *out, const struct k3_json *root, enum bundle_kind kind,
			struct k3_err *e)
{
	const struct k3_json *list = k3_json_get(root, lists[kind]);
	uint64_t limit = kind == BUNDLE_DOCUMENT ? OCI_DOCUMENT_MAX : BUNDLE_SIZE_MAX;

	if (!k3_json_is_arr(list))
		return k3_fail(e, K3_FORMAT, "no list \"%s\"", lists[kind]);
	if (k3_json_len(list) > BUNDLE_MEMBERS_MAX - out->n)
		return k3_fail(e, K3_LIMIT, "more than %u documents and layers",
			       BUNDLE_MEMBERS_MAX);
	for (size_t i = 0; i < k3_json_len(list); i++) {
		struct oci_digest digest;
		uint64_t size;

		if (read_digest(k3_json_at(list, i), limit, &digest, &size, e))
			return k3_wrap(e, "%s", lists[kind]);
		bundle_add_member(out, kind, &digest, size);
	}
	return 0;
}

static int read_all(const struct k3_json *root, struct bundle_doc *out, struct k3_err *e)
{
	const struct k3_json *images = k3_json_get(root, "images");
	const char *format = k3_json_str(k3_json_get(root, "format"));
	const char *platform = k3_json_str(k3_json_get(root, "platform"));
	uint64_t version;

	if (!format || strcmp(format, FORMAT) != 0)
		return k3_fail(e, K3_FORMAT, "it is not the document of a bundle");
	if (!k3_json_u64(k3_json_get(root, "version"), &version))
		return k3_fail(e, K3_FORMAT, "it has no version");
	if (version != BUNDLE_VERSION)
		return k3_fail(e, K3_UNSUPPORTED,
			       "version %llu of the format; this k3simg knows %u",
			       (unsigned long long)version, BUNDLE_VERSION);
	if (!platform || oci_platform_parse(platform, &out->platform, e))
		return k3_fail(e, K3_FORMAT, "it names no platform");
	if (!k3_json_len(images))
		return k3_fail(e, K3_FORMAT, "it names no image");
	if (k3_json_len(images) > BUNDLE_IMAGES_MAX)
		return k3_fail(e, K3_LIMIT, "more than %u images", BUNDLE_IMAGES_MAX);
	for (size_t i = 0; i < k3_json_len(images); i++)
		if (read_image(out, k3_json_at(images, i), e))
			return -1;
	for (enum bundle_kind k = BUNDLE_DOCUMENT; k <= BUNDLE_TAR; k++)
		if (read_members(out, root, k, e))
			return -1;
	return 0;
}

int bundle_doc_parse(const void *json, size_t n, struct bundle_doc *out, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf again = K3_BUF(BUNDLE_DOCUMENT_MAX);
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;

	*out = (struct bundle_doc){ 0 };
	if (k3_json_parse(json, n, &doc, e) || read_all(k3_json_root(doc), out, e) ||
	    bundle_doc_write(out, &again, e))
		return k3_wrap(e, BUNDLE_DOCUMENT_NAME);
	if (again.len != n || memcmp(again.p, json, n) != 0)
		return k3_fail(e, K3_FORMAT,
			       BUNDLE_DOCUMENT_NAME ": it says more, or in other words, than "
						    "version %u of the format has",
			       BUNDLE_VERSION);
	return 0;
}
