/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/mem.h"
#include "oci/oci.h"

#define D1 "sha256:a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
#define D2 "sha256:b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"
#define D3                                                                                         \
	"sha512:c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3"                  \
	"c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3"
/* printf 'D1 D2' | sha256sum, then that and D3, likewise */
#define C2 "sha256:d30ab3b6f9b401ea17a3d11f0f7cfb1c0684f96e612ce65208a90ec5b0140363"
#define C3 "sha256:cc227d760e3891b982766f0578b65485de4b85d3d813498f81c790288960e16e"

#define OCI "application/vnd.oci.image."
#define DOCKER "application/vnd.docker."
#define DESC(media, digest, size)                                                                  \
	"{\"mediaType\":\"" media "\",\"digest\":\"" digest "\",\"size\":" size "}"
#define CONFIG_DESC DESC(OCI "config.v1+json", D1, "9")
#define MANIFEST(config, layers)                                                                   \
	"{\"schemaVersion\":2,\"mediaType\":\"" OCI "manifest.v1+json\",\"config\":" config        \
	",\"layers\":" layers "}"
#define CONFIG(ids)                                                                                \
	"{\"architecture\":\"arm64\",\"variant\":\"v8\",\"os\":\"linux\",\"rootfs\":{\"type\":"    \
	"\"layers\",\"diff_ids\":" ids "},\"history\":[{\"empty_layer\":true}]}"
#define GZIP(digest) DESC(OCI "layer.v1.tar+gzip", digest, "5")

static int parse(const char *manifest, const char *config, struct oci_image *img, struct k3_err *e)
{
	return oci_image_parse(manifest, strlen(manifest), config, strlen(config), img, e);
}

static void eq_digest(const struct oci_digest *d, const char *want)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(d, text);
	EQ_STR(text, want);
}

TEST(image_with_layers)
{
	static const char manifest[] = MANIFEST(
		CONFIG_DESC,
		"[" GZIP(D2) "," DESC(
			OCI "layer.v1.tar+zstd", D3,
			"9007199254740993") ",{\"mediaType\":"
					    "\"" DOCKER "image.rootfs.foreign.diff.tar.gzip\","
					    "\"digest\":\"" D1 "\",\"size\":0,\"urls\":[\"https:"
					    "//x/y\"],\"annotations\":{\"a\":\"b\"}}]");
	struct oci_image img;
	struct oci_desc config;
	struct k3_err err;
	char platform[64];

	OK(oci_manifest_config(manifest, strlen(manifest), &config, &err));
	eq_digest(&config.digest, D1);
	EQ_INT(config.size, 9);
	EQ_INT(config.media, OCI_MEDIA_CONFIG);

	OK(parse(manifest, CONFIG("[\"" D1 "\",\"" D2 "\",\"" D3 "\"]"), &img, &err));
	EQ_INT(img.nlayers, 3);
	EQ_INT(img.layers[0].blob.media, OCI_MEDIA_LAYER_GZIP);
	EQ_INT(img.layers[1].blob.media, OCI_MEDIA_LAYER_ZSTD);
	EQ_INT(img.layers[1].blob.size, 9007199254740993);
	EQ_INT(img.layers[2].blob.media, OCI_MEDIA_LAYER_DOCKER);
	eq_digest(&img.layers[0].blob.digest, D2);
	eq_digest(&img.layers[0].diff_id, D1);
	eq_digest(&img.layers[0].chain_id, D1);
	eq_digest(&img.layers[1].chain_id, C2);
	eq_digest(&img.layers[2].chain_id, C3);
	eq_digest(&img.config.digest, D1);
	oci_platform_format(&img.platform, platform, sizeof(platform));
	EQ_STR(platform, "linux/arm64");
	EQ_INT(oci_image_layer_bytes(&img), 9007199254740998);
	img.layers[0].blob.size = UINT64_MAX;
	CHECK(oci_image_layer_bytes(&img) == UINT64_MAX);
	oci_image_release(&img);
	EQ_INT(img.nlayers, 0);
}

TEST(image_of_docker)
{
	static const char manifest[] =
		"{\"schemaVersion\":2,\"mediaType\":\"" DOCKER "distribution.manifest.v2+json\","
		"\"config\":" DESC(DOCKER "container.image.v1+json", D1, "9") ",\"layers\":[" DESC(
			DOCKER "image.rootfs.diff.tar.gzip", D2, "5") "]}";
	struct oci_image img;
	struct k3_err err;

	OK(parse(manifest, "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D2 "\"]}}", &img,
		 &err));
	EQ_INT(img.config.media, OCI_MEDIA_DOCKER_CONFIG);
	EQ_STR(img.platform.os, "linux");
	EQ_STR(img.platform.arch, "");
	oci_image_release(&img);
}

TEST(image_without_layers)
{
	struct oci_image img;
	struct k3_err err;

	OK(parse(MANIFEST(CONFIG_DESC, "[]"), CONFIG("[]"), &img, &err));
	EQ_INT(img.nlayers, 0);
	EQ_INT(oci_image_layer_bytes(&img), 0);
	oci_image_release(&img);
	OK(parse(MANIFEST(CONFIG_DESC, "null"), CONFIG("null"), &img, &err));
	EQ_INT(img.nlayers, 0);
	oci_image_release(&img);
}

TEST(manifest_refuses)
{
	static const struct {
		const char *text;
		enum k3_code code;
		const char *msg;
	} bad[] = {
		{ "", K3_FORMAT, "manifest: not valid JSON" },
		{ "\"x\"", K3_FORMAT, "not valid JSON" },
		{ "[1]", K3_FORMAT, "not a JSON object" },
		{ "{\"layers\":[]}", K3_FORMAT, "config is missing" },
		{ "{\"config\":null,\"layers\":[]}", K3_FORMAT, "config is missing" },
		{ "{\"config\":\"x\",\"layers\":[]}", K3_FORMAT, "config is not a descriptor" },
		{ "{\"config\":" CONFIG_DESC "}", K3_FORMAT, "layers is missing" },
		{ "{\"config\":" CONFIG_DESC ",\"layers\":{}}", K3_FORMAT,
		  "layers is not an array" },
		{ "{\"config\":" CONFIG_DESC ",\"layers\":[],\"manifests\":[]}", K3_FORMAT,
		  "member of an index" },
		{ "{\"manifests\":[]}", K3_FORMAT, "member of an index" },
		{ "{\"mediaType\":\"" OCI "index.v1+json\",\"config\":" CONFIG_DESC
		  ",\"layers\":[]}",
		  K3_FORMAT, "says it is an index" },
		{ "{\"mediaType\":\"text/plain\",\"config\":" CONFIG_DESC ",\"layers\":[]}",
		  K3_UNSUPPORTED, "\"text/plain\" is not an image manifest" },
		{ "{\"schemaVersion\":1,\"name\":\"x\",\"fsLayers\":[]}", K3_UNSUPPORTED,
		  "Docker schema 1" },
		{ "{\"mediaType\":\"" DOCKER "distribution.manifest.v1+json\"}", K3_UNSUPPORTED,
		  "Docker schema 1" },
		{ MANIFEST(DESC("application/vnd.oci.empty.v1+json", D1, "2"), "[]"),
		  K3_UNSUPPORTED, "artifact of type \"application/vnd.oci.empty.v1+json\"" },
		{ "{\"artifactType\":\"application/vnd.x\",\"config\":" DESC(
			  "application/vnd.oci.empty.v1+json", D1, "2") ",\"layers\":[]}",
		  K3_UNSUPPORTED, "artifact of type \"application/vnd.x\"" },
		{ MANIFEST(DESC("application/vnd.cncf.helm.config.v1+json", D1, "2"), "[]"),
		  K3_UNSUPPORTED, "application/vnd.cncf.helm.config.v1+json" },
		{ MANIFEST(DESC(OCI "config.v1+json", "blake3:abc", "2"), "[]"), K3_UNSUPPORTED,
		  "config.digest: digest algorithm \"blake3\" is not supported" },
		{ MANIFEST(CONFIG_DESC, "[" GZIP(D1) "," DESC(OCI "layer.v1.tar", D1, "-1") "]"),
		  K3_FORMAT, "manifest: layers[1].size is not a non-negative integer" },
		{ MANIFEST(CONFIG_DESC, "[" DESC(OCI "layer.v1.tar", D1, "\"1\"") "]"), K3_FORMAT,
		  "layers[0].size is not a non-negative integer" },
		{ MANIFEST(CONFIG_DESC, "[" DESC(OCI "layer.v1.tar", D1, "1e3") "]"), K3_FORMAT,
		  "layers[0].size is not a non-negative integer" },
		{ MANIFEST(CONFIG_DESC,
			   "[" DESC(OCI "layer.v1.tar", D1, "99999999999999999999") "]"),
		  K3_FORMAT, "not valid JSON" },
		{ MANIFEST(CONFIG_DESC, "[" DESC(OCI "layer.v1.tar", "sha384:00", "1") "]"),
		  K3_UNSUPPORTED, "layers[0].digest: digest algorithm \"sha384\"" },
		{ MANIFEST(CONFIG_DESC, "[" DESC(OCI "layer.v1.tar", "x", "1") "]"), K3_FORMAT,
		  "layers[0].digest: \"x\" is not a digest" },
		{ MANIFEST(CONFIG_DESC, "[{\"mediaType\":\"" OCI "layer.v1.tar\",\"size\":1}]"),
		  K3_FORMAT, "layers[0].digest is missing" },
		{ MANIFEST(CONFIG_DESC, "[" DESC(OCI "layer.v1.tar+gzip+encrypted", D1, "1") "]"),
		  K3_UNSUPPORTED,
		  "layers[0] has media type \"" OCI "layer.v1.tar+gzip+encrypted\"" },
		{ MANIFEST(CONFIG_DESC, "[" DESC("application/wasm", D1, "1") "]"), K3_UNSUPPORTED,
		  "which is not a layer's" },
		{ MANIFEST(CONFIG_DESC, "[" DESC(OCI "layer.v1.tar\\u001b[2J", D1, "1") "]"),
		  K3_UNSUPPORTED, "layer.v1.tar\\x1b[2J" },
		{ MANIFEST(CONFIG_DESC, "[null]"), K3_FORMAT, "layers[0] is not a descriptor" },
	};
	struct oci_image img;
	struct k3_err err;

	for (size_t i = 0; i < K3_ARRAY_LEN(bad); i++) {
		FAILS(parse(bad[i].text, CONFIG("[]"), &img, &err), bad[i].code);
		HAS_STR(err.msg, bad[i].msg);
	}
}

TEST(config_refuses)
{
	static const struct {
		const char *text;
		enum k3_code code;
		const char *msg;
	} bad[] = {
		{ "", K3_FORMAT, "config: not valid JSON" },
		{ "[]", K3_FORMAT, "config: not a JSON object" },
		{ "{}", K3_FORMAT, "rootfs is missing" },
		{ "{\"rootfs\":[]}", K3_FORMAT, "rootfs is not an object" },
		{ "{\"rootfs\":{}}", K3_FORMAT, "rootfs.type is missing" },
		{ "{\"rootfs\":{\"type\":1}}", K3_FORMAT, "rootfs.type is not a string" },
		{ "{\"rootfs\":{\"type\":\"windows\"}}", K3_FORMAT,
		  "rootfs.type is \"windows\", not \"layers\"" },
		{ "{\"rootfs\":{\"type\":\"layers\"}}", K3_FORMAT, "rootfs.diff_ids is missing" },
		{ "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":{}}}", K3_FORMAT,
		  "rootfs.diff_ids is not an array" },
		{ CONFIG("[]"), K3_FORMAT, "0 diff IDs for 1 layers" },
		{ CONFIG("[\"" D1 "\",\"" D1 "\"]"), K3_FORMAT, "2 diff IDs for 1 layers" },
		{ CONFIG("[7]"), K3_FORMAT, "rootfs.diff_ids[0] is not a string" },
		{ CONFIG("[\"sha256:\"]"), K3_FORMAT, "rootfs.diff_ids[0]: \"sha256:\"" },
		{ CONFIG("[\"md5:00\"]"), K3_UNSUPPORTED, "rootfs.diff_ids[0]: digest algorithm" },
		{ "{\"os\":7,\"rootfs\":{}}", K3_FORMAT, "os is not a string" },
		{ "{\"architecture\":\"a123456789b123456789c123456789d\",\"rootfs\":{}}", K3_FORMAT,
		  "rootfs.type" },
		{ "{\"architecture\":\"a123456789b123456789c123456789d1\",\"rootfs\":{}}", K3_LIMIT,
		  "architecture has more than 31 bytes" },
	};
	struct oci_image img;
	struct k3_err err;

	for (size_t i = 0; i < K3_ARRAY_LEN(bad); i++) {
		FAILS(parse(MANIFEST(CONFIG_DESC, "[" GZIP(D1) "]"), bad[i].text, &img, &err),
		      bad[i].code);
		HAS_STR(err.msg, bad[i].msg);
	}
}

/* A manifest with n layers, which all are the same. */
static void many_layers(struct k3_buf *b, unsigned n)
{
	struct k3_err err;

	k3_buf_reset(b);
	OK(k3_buf_addf(b, &err, "{\"config\":" CONFIG_DESC ",\"layers\":["));
	for (unsigned i = 0; i < n; i++)
		OK(k3_buf_addf(b, &err, "%s" GZIP(D1), i ? "," : ""));
	OK(k3_buf_add(b, "]}", 2, &err));
}

TEST(image_limits)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(2 * OCI_DOCUMENT_MAX);
	struct oci_image img;
	struct k3_err err;

	many_layers(&b, OCI_LAYERS_MAX + 1);
	FAILS(oci_image_parse(b.p, b.len, "{}", 2, &img, &err), K3_LIMIT);
	HAS_STR(err.msg, "1025 layers");
	many_layers(&b, OCI_LAYERS_MAX);
	FAILS(oci_image_parse(b.p, b.len, "{}", 2, &img, &err), K3_FORMAT);
	HAS_STR(err.msg, "config: rootfs is missing");
	many_layers(&b, 40000);
	FAILS(oci_image_parse(b.p, b.len, "{}", 2, &img, &err), K3_LIMIT);
}

TEST(documents_cut_at_every_byte)
{
	static const char manifest[] = MANIFEST(CONFIG_DESC, "[" GZIP(D2) "," GZIP(D3) "]");
	static const char config[] = CONFIG("[\"" D1 "\",\"" D2 "\"]");
	static const char index[] =
		"{\"schemaVersion\":2,\"manifests\":[" DESC(OCI "manifest.v1+json", D1, "9") "]}";
	struct oci_index ix;
	struct oci_image img;
	struct oci_desc desc;
	struct k3_err err;

	OK(parse(manifest, config, &img, &err));
	oci_image_release(&img);
	for (size_t n = 0; n < strlen(manifest); n++) {
		FAILS(oci_manifest_config(manifest, n, &desc, &err), K3_FORMAT);
		FAILS(oci_image_parse(manifest, n, config, strlen(config), &img, &err), K3_FORMAT);
	}
	for (size_t n = 0; n < strlen(config); n++)
		FAILS(oci_image_parse(manifest, strlen(manifest), config, n, &img, &err),
		      K3_FORMAT);
	OK(oci_index_parse(index, strlen(index), &ix, &err));
	oci_index_release(&ix);
	for (size_t n = 0; n < strlen(index); n++)
		FAILS(oci_index_parse(index, n, &ix, &err), K3_FORMAT);
}

TEST(one_blob_has_one_size)
{
	struct oci_image img;
	struct k3_err err;

	OK(parse(MANIFEST(CONFIG_DESC, "[" GZIP(D2) "," GZIP(D2) "]"),
		 CONFIG("[\"" D1 "\",\"" D1 "\"]"), &img, &err));
	oci_image_release(&img);
	FAILS(parse(MANIFEST(CONFIG_DESC,
			     "[" GZIP(D2) "," DESC(OCI "layer.v1.tar+gzip", D2, "6") "]"),
		    CONFIG("[\"" D1 "\",\"" D1 "\"]"), &img, &err),
	      K3_FORMAT);
	EQ_STR(err.msg, "manifest: layers[0] and layers[1] give one blob two sizes");
}

UNIT_MAIN
