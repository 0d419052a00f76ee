/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/json.h"

#include <string.h>

#include "base/mem.h"

int oci_json_open(const void *json, size_t n, struct k3_json_doc **out, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;

	if (n > OCI_DOCUMENT_MAX)
		return k3_fail(e, K3_LIMIT, "%zu bytes are more than the limit of %u", n,
			       OCI_DOCUMENT_MAX);
	if (k3_json_parse(json, n, &doc, e))
		return -1;
	if (!k3_json_is_obj(k3_json_root(doc)))
		return k3_fail(e, K3_FORMAT, "not a JSON object");
	*out = K3_STEAL(doc);
	return 0;
}

const struct k3_json *oci_json_member(const struct k3_json *obj, const char *key)
{
	const struct k3_json *v = k3_json_get(obj, key);

	return k3_json_is_null(v) ? NULL : v;
}

static const char *dot(const char *where)
{
	return *where ? "." : "";
}

int oci_json_str(const struct k3_json *obj, const char *where, const char *key, const char **out,
		 struct k3_err *e)
{
	const struct k3_json *v = oci_json_member(obj, key);

	*out = k3_json_str(v);
	if (v && !*out)
		return k3_fail(e, K3_FORMAT, "%s%s%s is not a string", where, dot(where), key);
	return 0;
}

static int missing(const char *where, const char *key, struct k3_err *e)
{
	return k3_fail(e, K3_FORMAT, "%s%s%s is missing", where, dot(where), key);
}

int oci_json_arr(const struct k3_json *obj, const char *where, const char *key,
		 const struct k3_json **out, struct k3_err *e)
{
	const struct k3_json *v = oci_json_member(obj, key);

	if (!k3_json_get(obj, key))
		return missing(where, key, e);
	if (v && !k3_json_is_arr(v))
		return k3_fail(e, K3_FORMAT, "%s%s%s is not an array", where, dot(where), key);
	*out = v;
	return 0;
}

int oci_json_obj(const struct k3_json *obj, const char *where, const char *key,
		 const struct k3_json **out, struct k3_err *e)
{
	const struct k3_json *v = oci_json_member(obj, key);

	if (v && !k3_json_is_obj(v))
		return k3_fail(e, K3_FORMAT, "%s%s%s is not an object", where, dot(where), key);
	*out = v;
	return 0;
}

static int desc_media(const struct k3_json *v, const char *where, struct oci_desc *out,
		      struct k3_err *e)
{
	const char *text;

	if (oci_json_str(v, where, "mediaType", &text, e))
		return -1;
	if (!text)
		return missing(where, "mediaType", e);
	text += strspn(text, " \t");
	size_t n = strcspn(text, "; \t");

	if (n >= sizeof(out->media_text))
		return k3_fail(e, K3_LIMIT, "%s.mediaType has more than %zu bytes", where,
			       sizeof(out->media_text) - 1);
	memcpy(out->media_text, text, n);
	out->media_text[n] = '\0';
	out->media = oci_media_parse(text);
	return 0;
}

int oci_json_desc(const struct k3_json *v, const char *where, struct oci_desc *out,
		  struct k3_err *e)
{
	const char *digest;

	*out = (struct oci_desc){ 0 };
	if (!k3_json_is_obj(v))
		return k3_fail(e, K3_FORMAT, "%s is not a descriptor", where);
	if (desc_media(v, where, out, e))
		return -1;
	if (!oci_json_member(v, "size"))
		return missing(where, "size", e);
	if (!k3_json_u64(k3_json_get(v, "size"), &out->size))
		return k3_fail(e, K3_FORMAT, "%s.size is not a non-negative integer", where);
	if (oci_json_str(v, where, "digest", &digest, e))
		return -1;
	if (!digest)
		return missing(where, "digest", e);
	if (oci_digest_parse(digest, &out->digest, e))
		return k3_wrap(e, "%s.digest", where);
	return 0;
}

static bool is_schema1(const struct k3_json *root)
{
	uint64_t version;

	return k3_json_get(root, "fsLayers") ||
	       (k3_json_u64(k3_json_get(root, "schemaVersion"), &version) && version == 1);
}

static int check_schema(const struct k3_json *root, struct k3_err *e)
{
	const struct k3_json *v = oci_json_member(root, "schemaVersion");
	uint64_t version;

	if (!v)
		return 0;
	if (!k3_json_u64(v, &version))
		return k3_fail(e, K3_FORMAT, "schemaVersion is not a non-negative integer");
	if (version != 2)
		return k3_fail(e, K3_UNSUPPORTED, "schemaVersion %llu is not supported",
			       (unsigned long long)version);
	return 0;
}

int oci_json_check_kind(const struct k3_json *root, bool index, struct k3_err *e)
{
	const char *text;

	if (oci_json_str(root, "", "mediaType", &text, e))
		return -1;
	enum oci_media m = text ? oci_media_parse(text) : OCI_MEDIA_UNKNOWN;

	if (m == OCI_MEDIA_DOCKER_SCHEMA1 || is_schema1(root)) {
		k3_fail(e, K3_UNSUPPORTED, "a Docker schema 1 manifest, which is not supported");
		return k3_hint(e, "the image must be pushed again by a current tool");
	}
	if (index ? oci_media_is_manifest(m) : oci_media_is_index(m))
		return k3_fail(e, K3_FORMAT, "mediaType says it is %s, but it was given as %s",
			       index ? "a manifest" : "an index",
			       index ? "an index" : "a manifest");
	if (text && *text && !oci_media_is_manifest(m) && !oci_media_is_index(m))
		return k3_fail(e, K3_UNSUPPORTED, "mediaType \"%.100s\" is not %s", text,
			       index ? "an index" : "an image manifest");
	if (index && (k3_json_get(root, "config") || k3_json_get(root, "layers")))
		return k3_fail(e, K3_FORMAT,
			       "an index with members of a manifest (config, layers)");
	if (!index && k3_json_get(root, "manifests"))
		return k3_fail(e, K3_FORMAT, "a manifest with a member of an index (manifests)");
	return check_schema(root, e);
}

enum oci_media oci_document_kind(const void *json, size_t n)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct k3_err ignored;

	if (oci_json_open(json, n, &doc, &ignored))
		return OCI_MEDIA_UNKNOWN;
	const struct k3_json *root = k3_json_root(doc);
	const struct k3_json *text = oci_json_member(root, "mediaType");

	if (text)
		return k3_json_str(text) ? oci_media_parse(k3_json_str(text)) : OCI_MEDIA_UNKNOWN;
	if (is_schema1(root))
		return OCI_MEDIA_DOCKER_SCHEMA1;
	if (k3_json_get(root, "manifests"))
		return OCI_MEDIA_INDEX;
	if (k3_json_get(root, "layers") || k3_json_get(root, "config"))
		return k3_json_get(root, "rootfs") ? OCI_MEDIA_CONFIG : OCI_MEDIA_MANIFEST;
	return k3_json_get(root, "rootfs") ? OCI_MEDIA_CONFIG : OCI_MEDIA_UNKNOWN;
}
