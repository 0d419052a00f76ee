/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "oci/json.h"
#include "oci/platform.h"

static int refuse_artifact(const struct k3_json *root, const struct oci_desc *config,
			   struct k3_err *e)
{
	const char *type;

	if (oci_json_str(root, "", "artifactType", &type, e))
		return -1;
	if (!type || !*type)
		type = config->media_text;
	k3_fail(e, K3_UNSUPPORTED, "not a container image but an artifact of type \"%.100s\"",
		*type ? type : "unknown");
	return k3_hint(e, "only images can be preloaded; its config is \"%.100s\"",
		       config->media_text);
}

static int read_config_desc(const struct k3_json *root, struct oci_desc *out, struct k3_err *e)
{
	const struct k3_json *v = oci_json_member(root, "config");

	if (oci_json_check_kind(root, false, e))
		return -1;
	if (!v)
		return k3_fail(e, K3_FORMAT, "config is missing");
	if (oci_json_desc(v, "config", out, e))
		return -1;
	if (out->media != OCI_MEDIA_CONFIG && out->media != OCI_MEDIA_DOCKER_CONFIG)
		return refuse_artifact(root, out, e);
	return 0;
}

int oci_manifest_config(const void *json, size_t n, struct oci_desc *config, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;

	if (oci_json_open(json, n, &doc, e))
		return -1;
	return read_config_desc(k3_json_root(doc), config, e);
}

static int read_layer(const struct k3_json *v, size_t i, struct oci_desc *out, struct k3_err *e)
{
	char where[OCI_WHERE_MAX];

	snprintf(where, sizeof(where), "layers[%zu]", i);
	if (oci_json_desc(v, where, out, e))
		return -1;
	if (oci_media_is_layer(out->media))
		return 0;
	k3_fail(e, K3_UNSUPPORTED, "%s has media type \"%.150s\", which is not a layer's", where,
		out->media_text);
	if (strstr(out->media_text, "+encrypted"))
		return k3_hint(e, "encrypted layers cannot be preloaded");
	return -1;
}

/* One blob cannot have two sizes; whoever meets it first would decide which is believed. */
static int check_sizes(const struct oci_image *img, struct k3_err *e)
{
	for (size_t i = 0; i < img->nlayers; i++)
		for (size_t k = 0; k < i; k++)
			if (img->layers[i].blob.size != img->layers[k].blob.size &&
			    oci_digest_eq(&img->layers[i].blob.digest, &img->layers[k].blob.digest))
				return k3_fail(e, K3_FORMAT,
					       "layers[%zu] and layers[%zu] give one blob two "
					       "sizes",
					       k, i);
	return 0;
}

static int read_manifest(const void *json, size_t n, struct oci_image *img, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	const struct k3_json *layers;

	if (oci_json_open(json, n, &doc, e) ||
	    read_config_desc(k3_json_root(doc), &img->config, e) ||
	    oci_json_arr(k3_json_root(doc), "", "layers", &layers, e))
		return -1;
	img->nlayers = k3_json_len(layers);
	if (img->nlayers > OCI_LAYERS_MAX)
		return k3_fail(e, K3_LIMIT, "%zu layers are more than the limit of %u",
			       img->nlayers, OCI_LAYERS_MAX);
	img->layers = k3_xcalloc(img->nlayers, sizeof(*img->layers));
	for (size_t i = 0; i < img->nlayers; i++)
		if (read_layer(k3_json_at(layers, i), i, &img->layers[i].blob, e))
			return -1;
	return check_sizes(img, e);
}

int oci_manifest_blobs(const void *json, size_t len, struct oci_desc **out, size_t *n,
		       struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	K3_AUTO_FREE struct oci_desc *found = NULL;
	const struct k3_json *config, *layers;
	char where[OCI_WHERE_MAX];

	if (oci_json_open(json, len, &doc, e) || oci_json_check_kind(k3_json_root(doc), false, e) ||
	    oci_json_obj(k3_json_root(doc), "", "config", &config, e) ||
	    oci_json_arr(k3_json_root(doc), "", "layers", &layers, e))
		return -1;
	if (k3_json_len(layers) > OCI_LAYERS_MAX)
		return k3_fail(e, K3_LIMIT, "%zu layers are more than the limit of %u",
			       k3_json_len(layers), OCI_LAYERS_MAX);
	found = k3_xcalloc(k3_json_len(layers) + 1, sizeof(*found));
	if (oci_json_desc(config, "config", &found[0], e))
		return -1;
	for (size_t i = 0; i < k3_json_len(layers); i++) {
		snprintf(where, sizeof(where), "layers[%zu]", i);
		if (oci_json_desc(k3_json_at(layers, i), where, &found[i + 1], e))
			return -1;
	}
	*n = k3_json_len(layers) + 1;
	*out = K3_STEAL(found);
	return 0;
}

static int read_platform(const struct k3_json *root, struct oci_platform *out, struct k3_err *e)
{
	static const char *const keys[3] = { "os", "architecture", "variant" };
	const char *part[3];

	for (size_t i = 0; i < K3_ARRAY_LEN(keys); i++) {
		if (oci_json_str(root, "", keys[i], &part[i], e))
			return -1;
		part[i] = part[i] ? part[i] : "";
		if (strlen(part[i]) >= OCI_PLATFORM_PART_MAX)
			return k3_fail(e, K3_LIMIT, "%s has more than %d bytes", keys[i],
				       OCI_PLATFORM_PART_MAX - 1);
	}
	oci_platform_normal(part[0], part[1], part[2], out);
	return 0;
}

static int read_diff_ids(const struct k3_json *ids, struct oci_image *img, struct k3_err *e)
{
	size_t n = k3_json_len(ids);

	if (n != img->nlayers)
		return k3_fail(e, K3_FORMAT, "%zu diff IDs for %zu layers", n, img->nlayers);
	for (size_t i = 0; i < n; i++) {
		const char *text = k3_json_str(k3_json_at(ids, i));

		if (!text)
			return k3_fail(e, K3_FORMAT, "rootfs.diff_ids[%zu] is not a string", i);
		if (oci_digest_parse(text, &img->layers[i].diff_id, e))
			return k3_wrap(e, "rootfs.diff_ids[%zu]", i);
	}
	return 0;
}

static int read_config(const void *json, size_t n, struct oci_image *img, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	const struct k3_json *rootfs, *ids;
	const char *type;

	if (oci_json_open(json, n, &doc, e))
		return -1;
	const struct k3_json *root = k3_json_root(doc);

	if (read_platform(root, &img->platform, e) || oci_json_obj(root, "", "rootfs", &rootfs, e))
		return -1;
	if (!rootfs)
		return k3_fail(e, K3_FORMAT, "rootfs is missing");
	if (oci_json_str(rootfs, "rootfs", "type", &type, e))
		return -1;
	if (!type || strcmp(type, "layers"))
		return k3_fail(e, K3_FORMAT, "rootfs.type is %s%.60s%s, not \"layers\"",
			       type ? "\"" : "", type ? type : "missing", type ? "\"" : "");
	if (oci_json_arr(rootfs, "rootfs", "diff_ids", &ids, e))
		return -1;
	return read_diff_ids(ids, img, e);
}

/* image-spec config.md: the first is the diff ID, then SHA-256 over "chain diff" as text. */
static void set_chain_ids(struct oci_image *img)
{
	char text[2 * OCI_DIGEST_TEXT_MAX];

	for (size_t i = 0; i < img->nlayers; i++) {
		struct oci_layer *l = &img->layers[i];

		if (i == 0) {
			l->chain_id = l->diff_id;
			continue;
		}
		oci_digest_format(&l[-1].chain_id, text);
		size_t n = strlen(text);

		text[n] = ' ';
		oci_digest_format(&l->diff_id, text + n + 1);
		oci_digest_of(K3_SHA256, text, strlen(text), &l->chain_id);
	}
}

static int read_both(const void *manifest, size_t nm, const void *config, size_t nc,
		     struct oci_image *img, struct k3_err *e)
{
	if (read_manifest(manifest, nm, img, e))
		return k3_wrap(e, "manifest");
	if (read_config(config, nc, img, e))
		return k3_wrap(e, "config");
	set_chain_ids(img);
	return 0;
}

int oci_image_parse(const void *manifest, size_t nm, const void *config, size_t nc,
		    struct oci_image *out, struct k3_err *e)
{
	struct oci_image img = { 0 };

	if (read_both(manifest, nm, config, nc, &img, e)) {
		oci_image_release(&img);
		return -1;
	}
	*out = img;
	return 0;
}

void oci_image_release(struct oci_image *img)
{
	free(img->layers);
	*img = (struct oci_image){ 0 };
}

uint64_t oci_image_layer_bytes(const struct oci_image *img)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < img->nlayers; i++)
		if (!k3_add_u64(sum, img->layers[i].blob.size, &sum))
			return UINT64_MAX;
	return sum;
}
