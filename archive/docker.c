/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest.json of a docker archive -> images.  Such an archive has no manifests: they are made,
 * byte for byte as containerd's import makes them, so that an image has the same digest
 * whichever of the two brought it.
 */
#include <stdlib.h>
#include <string.h>

#include "archive/state.h"
#include "base/json.h"
#include "base/mem.h"

#define MAGIC_MAX 4u
/* 10,000 images with configs of the usual 5 to 20 KiB; hundreds of the largest ones. */
#define CONFIG_BYTES_MAX (256u << 20)
#define LAYER_TAR "application/vnd.docker.image.rootfs.diff.tar"
#define LAYER_GZIP "application/vnd.docker.image.rootfs.diff.tar.gzip"

struct item {
	struct archive *a;
	size_t i; /* in manifest.json */
	const struct k3_json *v;
	struct k3_buf config;
	struct k3_buf manifest; /* being made */
};

static void item_release(struct item *it)
{
	k3_buf_release(&it->config);
	k3_buf_release(&it->manifest);
}

static void know(struct archive *a, const struct oci_digest *d, const struct entry *en)
{
	a->known = k3_xgrow(a->known, a->nknown, &a->cap_known, sizeof(*a->known));
	a->known[a->nknown++] = (struct known){ *d, en };
}

/* An entry that manifest.json names. */
static int named(const struct item *it, const char *what, const struct k3_json *name,
		 struct entry **out, struct k3_err *e)
{
	const struct archive *a = it->a;
	const char *text = k3_json_str(name);

	if (!text)
		return k3_fail(e, K3_FORMAT, "%s: manifest.json[%zu]: %s is no name", a->what,
			       it->i, what);
	*out = entries_find(&a->entries, text);
	if (!*out) {
		k3_fail(e, K3_NOTFOUND, "%s: it lacks the %s %.200s", a->what, what, text);
		return k3_hint(e, ARCHIVE_HINT_DAMAGED);
	}
	if ((*out)->sparse)
		return k3_fail(e, K3_UNSUPPORTED, "%s: %.200s is stored as a sparse file", a->what,
			       text);
	return 0;
}

/* ---- layers ------------------------------------------------------------------------- */

/* What containerd tells from a plain tar by its first bytes. */
static int is_compressed(const struct archive *a, const struct span *s, bool *yes, struct k3_err *e)
{
	uint8_t p[MAGIC_MAX];

	*yes = false;
	if (s->size < sizeof(p))
		return 0;
	if (span_read(a, s, 0, p, sizeof(p), e))
		return -1;
	*yes = (p[0] == 0x1f && p[1] == 0x8b && p[2] == 8) ||
	       (p[0] == 0x28 && p[1] == 0xb5 && p[2] == 0x2f && p[3] == 0xfd) ||
	       ((p[0] & 0xf0) == 0x50 && p[1] == 0x2a && p[2] == 0x4d && p[3] == 0x18);
	return 0;
}

static int hash_span(const struct archive *a, const struct span *s, struct oci_digest *out,
		     struct k3_err *e)
{
	K3_AUTO_HASH struct k3_hash *hash = k3_hash_new(K3_SHA256);
	K3_AUTO_FREE uint8_t *piece = k3_xcalloc(1, ARCHIVE_PIECE);

	for (uint64_t at = 0; at < s->size;) {
		uint64_t left = s->size - at;
		size_t n = left < ARCHIVE_PIECE ? (size_t)left : ARCHIVE_PIECE;

		if (k3_cancel_check(a->cancel, e) || span_read(a, s, at, piece, n, e))
			return -1;
		k3_hash_add(hash, piece, n);
		at += n;
	}
	oci_digest_final(hash, K3_SHA256, out);
	return 0;
}

/* A plain tar is its diff ID, which is verified when it is read. */
static int layer_digest(struct archive *a, struct entry *en, const struct oci_digest *diff_id,
			struct oci_digest *out, bool *compressed, struct k3_err *e)
{
	struct span s;

	span_of(a, en, &s);
	if (is_compressed(a, &s, compressed, e))
		return -1;
	/* Images share compressed layers, too: each is hashed once. */
	if (*compressed && !en->hashed) {
		if (hash_span(a, &s, out, e))
			return -1;
		en->hashed = k3_xcalloc(1, sizeof(*en->hashed));
		*en->hashed = *out;
	}
	*out = *compressed ? *en->hashed : *diff_id;
	know(a, out, en);
	return 0;
}

static int write_desc(struct k3_buf *b, const char *media, const struct oci_digest *d,
		      uint64_t size, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(d, text);
	return k3_buf_addf(b, e, "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%llu}", media,
			   text, (unsigned long long)size);
}

static int write_layer(struct item *it, size_t k, const struct k3_json *name,
		       const struct k3_json *diff_id, struct k3_err *e)
{
	struct entry *en;
	struct oci_digest want, got;
	const char *text = k3_json_str(diff_id);
	bool compressed;

	if (named(it, "layer", name, &en, e))
		return -1;
	if (!text)
		return k3_fail(e, K3_FORMAT,
			       "%s: config of manifest.json[%zu]: a diff ID is no "
			       "text",
			       it->a->what, it->i);
	if (oci_digest_parse(text, &want, e))
		return k3_wrap(e, "%s: config of manifest.json[%zu]", it->a->what, it->i);
	if (layer_digest(it->a, en, &want, &got, &compressed, e) ||
	    (k && k3_buf_add(&it->manifest, ",", 1, e)))
		return -1;
	return write_desc(&it->manifest, compressed ? LAYER_GZIP : LAYER_TAR, &got, en->size, e);
}

static int write_layers(struct item *it, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	const struct k3_json *layers = k3_json_get(it->v, "Layers");

	if (k3_json_parse(it->config.p, it->config.len, &doc, e))
		return k3_wrap(e, "%s: config of manifest.json[%zu]", it->a->what, it->i);
	const struct k3_json *ids = k3_json_get(k3_json_get(k3_json_root(doc), "rootfs"),
						"diff_ids");
	size_t n = k3_json_len(layers);

	if (n > OCI_LAYERS_MAX)
		return k3_fail(e, K3_LIMIT, "%s: manifest.json[%zu]: %zu layers are more than %u",
			       it->a->what, it->i, n, OCI_LAYERS_MAX);
	if (n != k3_json_len(ids))
		return k3_fail(
			e, K3_FORMAT,
			"%s: manifest.json[%zu]: %zu layers, and its config has %zu diff IDs",
			it->a->what, it->i, n, k3_json_len(ids));
	for (size_t k = 0; k < n; k++)
		if (write_layer(it, k, k3_json_at(layers, k), k3_json_at(ids, k), e))
			return -1;
	return 0;
}

/* ---- manifests ---------------------------------------------------------------------- */

static int write_config(struct item *it, struct k3_err *e)
{
	struct archive *a = it->a;
	struct entry *en;
	struct oci_digest digest;
	struct span s;

	if (named(it, "config", k3_json_get(it->v, "Config"), &en, e))
		return -1;
	span_of(a, en, &s);
	if (span_text(a, &s, &it->config, e))
		return -1;
	a->config_bytes += s.size;
	if (a->config_bytes > CONFIG_BYTES_MAX)
		return k3_fail(e, K3_LIMIT, "%s: configs of more than %u bytes in all", a->what,
			       CONFIG_BYTES_MAX);
	oci_digest_of(K3_SHA256, it->config.p, it->config.len, &digest);
	know(a, &digest, en);
	return write_desc(&it->manifest, oci_media_name(OCI_MEDIA_DOCKER_CONFIG), &digest, en->size,
			  e);
}

static int write_manifest(struct item *it, struct k3_err *e)
{
	struct k3_buf *b = &it->manifest;

	if (k3_buf_addf(b, e, "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":",
			oci_media_name(OCI_MEDIA_DOCKER_MANIFEST)) ||
	    write_config(it, e) || k3_buf_addf(b, e, ",\"layers\":[") || write_layers(it, e))
		return -1;
	return k3_buf_addf(b, e, "]}");
}

/* docker writes "<none>:<none>" for an image that lost its tag. */
static bool is_name(const char *s)
{
	return *s && strcmp(s, "<none>:<none>") != 0;
}

static int add_images(struct item *it, const struct archive_image *im, struct k3_err *e)
{
	const struct k3_json *tags = k3_json_get(it->v, "RepoTags");
	bool any = false;

	for (size_t i = 0; i < k3_json_len(tags); i++) {
		const char *name = k3_json_str(k3_json_at(tags, i));

		if (!name)
			return k3_fail(e, K3_FORMAT,
				       "%s: manifest.json[%zu]: RepoTags[%zu] is no name",
				       it->a->what, it->i, i);
		if (!is_name(name))
			continue;
		any = true;
		if (archive_add_image(it->a, name, NULL, im, e))
			return -1;
	}
	return any ? 0 : archive_add_image(it->a, NULL, NULL, im, e);
}

static int read_item(struct item *it, struct k3_err *e)
{
	struct archive *a = it->a;
	struct archive_image im = { 0 };
	const char *media = oci_media_name(OCI_MEDIA_DOCKER_MANIFEST);

	if (!k3_json_is_obj(it->v))
		return k3_fail(e, K3_FORMAT, "%s: manifest.json[%zu] is no object", a->what, it->i);
	if (write_manifest(it, e))
		return -1;
	im.target.media = OCI_MEDIA_DOCKER_MANIFEST;
	memcpy(im.target.media_text, media, strlen(media) + 1);
	im.target.size = it->manifest.len;
	oci_digest_of(K3_SHA256, it->manifest.p, it->manifest.len, &im.target.digest);
	if (add_images(it, &im, e))
		return -1;
	a->made = k3_xgrow(a->made, a->nmade, &a->cap_made, sizeof(*a->made));
	a->made[a->nmade++] = (struct made){ im.target.digest, k3_buf_steal(&it->manifest) };
	return 0;
}

static int by_digest(const void *a, const void *b)
{
	/* The digest comes first in the struct. */
	return memcmp(a, b, sizeof(struct oci_digest));
}

int docker_read(struct archive *a, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(OCI_DOCUMENT_MAX);
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct span s;
	bool found;

	if (span_find(a, "manifest.json", &found, &s, e) || span_text(a, &s, &text, e))
		return -1;
	if (k3_json_parse(text.p, text.len, &doc, e))
		return k3_wrap(e, "%s: manifest.json", a->what);
	const struct k3_json *list = k3_json_root(doc);

	if (!k3_json_is_arr(list))
		return k3_fail(e, K3_FORMAT, "%s: manifest.json is no list", a->what);
	for (size_t i = 0; i < k3_json_len(list); i++) {
		__attribute__((cleanup(item_release))) struct item it = {
			.a = a,
			.i = i,
			.v = k3_json_at(list, i),
			.config = K3_BUF(OCI_DOCUMENT_MAX),
			.manifest = K3_BUF(OCI_DOCUMENT_MAX),
		};

		if (k3_cancel_check(a->cancel, e) || read_item(&it, e))
			return -1;
	}
	if (a->nknown)
		qsort(a->known, a->nknown, sizeof(*a->known), by_digest);
	return 0;
}
