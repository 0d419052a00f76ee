/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/mem.h"
#include "oci/oci.h"

#define HEX64 "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
#define SHA "\"digest\":\"sha256:" HEX64 "\",\"size\":7"
#define BLAKE "\"digest\":\"blake3:" HEX64 "\",\"size\":7"
#define MANIFEST "\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
#define DOCKER "\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\","
#define INDEX "\"mediaType\":\"application/vnd.oci.image.index.v1+json\","
#define SCHEMA1 "\"mediaType\":\"application/vnd.docker.distribution.manifest.v1+prettyjws\","
#define OTHER "\"mediaType\":\"application/x-other\","
#define ON(os, arch) ",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\"}"
#define ONV(os, arch, variant)                                                                     \
	",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\",\"variant\":\"" variant    \
	"\"}"
#define ATTESTED ",\"annotations\":{\"vnd.docker.reference.type\":\"attestation-manifest\"}"
#define WHOLE(entries) "{\"schemaVersion\":2," INDEX "\"manifests\":[" entries "]}"

static int parse(const char *text, struct oci_index *ix, struct k3_err *e)
{
	return oci_index_parse(text, strlen(text), ix, e);
}

/* The order for a platform as digits: "20" = entry 2, then entry 0. */
static const char *order_for(const char *text, const char *platform, char out[32])
{
	struct oci_index ix = { 0 };
	struct oci_platform want;
	struct k3_err err;
	size_t order[32], n = 0;

	OK(oci_platform_parse(platform, &want, &err));
	OK(parse(text, &ix, &err));
	oci_index_rank(&ix, &want, order, &n);
	for (size_t i = 0; i < n; i++)
		out[i] = (char)('0' + order[i]);
	out[n] = '\0';
	oci_index_release(&ix);
	return out;
}

TEST(index_members)
{
	struct oci_index ix;
	struct k3_err err;

	OK(parse(WHOLE("{" DOCKER SHA ONV("linux", "arm64", "v8") "},{" OTHER SHA "}"), &ix, &err));
	EQ_INT(ix.count, 2);
	EQ_INT(ix.entries[0].desc.media, OCI_MEDIA_DOCKER_MANIFEST);
	EQ_INT(ix.entries[0].desc.size, 7);
	EQ_INT(ix.entries[0].desc.digest.hash[31], 0xa1);
	EQ_INT(ix.entries[0].has_platform, true);
	EQ_STR(ix.entries[0].platform.arch, "arm64");
	EQ_STR(ix.entries[0].platform.variant, "");
	EQ_STR(ix.entries[0].unusable, "");
	EQ_INT(ix.entries[1].desc.media, OCI_MEDIA_UNKNOWN);
	EQ_STR(ix.entries[1].desc.media_text, "application/x-other");
	EQ_INT(ix.entries[1].has_platform, false);
	oci_index_release(&ix);
	EQ_INT(ix.count, 0);
}

TEST(index_may_be_empty)
{
	struct oci_index ix;
	struct k3_err err;
	char offers[16];

	OK(parse("{\"schemaVersion\":2,\"manifests\":[]}", &ix, &err));
	EQ_INT(ix.count, 0);
	oci_index_offers(&ix, offers, sizeof(offers));
	EQ_STR(offers, "");
	oci_index_release(&ix);
	OK(parse("{\"manifests\":null}", &ix, &err));
	EQ_INT(ix.count, 0);
	oci_index_release(&ix);
}

TEST(index_order)
{
	static const char text[] = WHOLE(
		"{" MANIFEST SHA "}," /* 0: no platform */
		"{" MANIFEST SHA ON(
			"linux",
			"386") "},"
			       "{" MANIFEST SHA ON(
				       "linux",
				       "amd64") "},"
						"{" MANIFEST SHA ON(
							"linux",
							"amd64") "},"
								 "{" MANIFEST SHA ONV(
									 "linux", "amd64",
									 "v3") "},"
									       "{" MANIFEST SHA ONV(
										       "linux",
										       "arm",
										       "v7") "},"
											     "{" MANIFEST SHA ON(
												     "",
												     "arm64") "}," /* no os means ours */
													      "{" INDEX
														      SHA
													      "}," /* 7: nested, no platform */
													      "{" OTHER SHA ON(
														      "linux",
														      "amd64") "}," /* 8: never */
															       "{" MANIFEST SHA ON(
																       "linux",
																       "amd64")
																       ATTESTED
		"}"); /* 9: never */
	char out[32];

	EQ_STR(order_for(text, "linux/amd64", out), "23107");
	EQ_STR(order_for(text, "linux/amd64/v4", out), "423107");
	EQ_STR(order_for(text, "linux/386", out), "107");
	EQ_STR(order_for(text, "linux/arm64", out), "6507");
	EQ_STR(order_for(text, "linux/arm/v6", out), "07");
	EQ_STR(order_for(text, "linux/s390x", out), "07");
}

TEST(index_attestations_are_never_chosen)
{
	static const char text[] = WHOLE("{" MANIFEST SHA ON(
		"unknown", "unknown") "},"
				      "{" MANIFEST SHA ATTESTED "},"
				      "{" INDEX SHA ON("unknown", "unknown") ATTESTED "}");
	char out[32];

	EQ_STR(order_for(text, "linux/amd64", out), "");
	EQ_STR(order_for(text, "unknown/unknown", out), "");
}

TEST(index_unusable_entries)
{
	static const char text[] = WHOLE("{" MANIFEST BLAKE ON(
		"linux",
		"amd64") "},"
			 "{" MANIFEST SHA ON(
				 "linux",
				 "arm64") "},"
					  "{" MANIFEST SHA ON(
						  "linux",
						  "386") "},"
							 "{" SCHEMA1 SHA ON(
								 "linux",
								 "s390x") "},"
									  "{" MANIFEST BLAKE ONV(
										  "linux", "arm",
										  "v7") "}");
	struct oci_index ix;
	struct oci_platform want;
	const struct oci_entry *en;
	struct k3_err err;
	char out[32];

	/* Others are chosen as if it was not there; what it hides is not taken in its place. */
	EQ_STR(order_for(text, "linux/arm64", out), "1");
	EQ_STR(order_for(text, "linux/386", out), "2");
	EQ_STR(order_for(text, "linux/amd64", out), "");
	OK(parse(text, &ix, &err));
	OK(oci_platform_parse("linux/amd64", &want, &err));
	en = oci_index_blocked(&ix, &want);
	CHECK(en == &ix.entries[0]);
	EQ_STR(en ? en->unusable : NULL, "digest algorithm \"blake3\" is not supported");
	OK(oci_platform_parse("linux/s390x", &want, &err));
	en = oci_index_blocked(&ix, &want);
	EQ_STR(en ? en->unusable : NULL, "Docker schema 1 manifests are not supported");
	OK(oci_platform_parse("linux/386", &want, &err));
	CHECK(!oci_index_blocked(&ix, &want));
	oci_index_release(&ix);
}

TEST(index_odd_platforms)
{
	struct oci_index ix;
	struct k3_err err;
	char out[32];

	EQ_STR(order_for(WHOLE("{" MANIFEST SHA ",\"platform\":{}}"), "linux/amd64", out), "");
	EQ_STR(order_for(WHOLE("{" MANIFEST SHA ",\"platform\":null}"), "linux/amd64", out), "0");
	EQ_STR(order_for(WHOLE("{" MANIFEST SHA ",\"platform\":{\"os\":\"linux\",\"architecture\":"
			       "\"amd64\",\"os.features\":[\"x\"]}}"),
			 "linux/amd64", out),
	       "");
	EQ_STR(order_for(WHOLE("{" MANIFEST SHA ",\"platform\":{\"os\":\"linux\",\"architecture\":"
			       "\"amd64\",\"os.features\":[],\"os.version\":\"1\"}}"),
			 "linux/amd64", out),
	       "0");
	OK(parse(
		WHOLE("{" MANIFEST SHA ON("linux", "a123456789b123456789c123456789d123456789") "}"),
		&ix, &err));
	HAS_STR(ix.entries[0].unusable, "overlong");
	oci_index_release(&ix);
}

TEST(index_offers)
{
	static const char text[] = WHOLE("{" MANIFEST SHA ON(
		"linux",
		"amd64") "},"
			 "{" MANIFEST SHA ON("unknown",
					     "unknown") "},"
							"{" MANIFEST SHA ON(
								"linux",
								"amd64") "},"
									 "{" MANIFEST SHA "},"
									 "{" MANIFEST SHA ONV(
										 "linux", "arm",
										 "v7") "}");
	struct oci_index ix;
	struct k3_err err;
	char out[64];

	OK(parse(text, &ix, &err));
	oci_index_offers(&ix, out, sizeof(out));
	EQ_STR(out, "linux/amd64, linux/arm/v7");
	oci_index_offers(&ix, out, 22);
	EQ_STR(out, "linux/amd64, \xe2\x80\xa6");
	oci_index_offers(&ix, out, 4);
	EQ_STR(out, "\xe2\x80\xa6");
	oci_index_offers(&ix, out, 1);
	EQ_STR(out, "");
	oci_index_release(&ix);
}

TEST(index_refuses)
{
	static const struct {
		const char *text;
		enum k3_code code;
		const char *msg;
	} bad[] = {
		{ "", K3_FORMAT, "not valid JSON" },
		{ "<html>", K3_FORMAT, "not valid JSON" },
		{ "[]", K3_FORMAT, "not a JSON object" },
		{ "{}", K3_FORMAT, "manifests is missing" },
		{ "{\"manifests\":[],\"manifests\":[]}", K3_FORMAT, "duplicate" },
		{ "{\"manifests\":{}}", K3_FORMAT, "manifests is not an array" },
		{ "{\"manifests\":[],\"layers\":[]}", K3_FORMAT, "members of a manifest" },
		{ "{\"manifests\":[],\"config\":{}}", K3_FORMAT, "members of a manifest" },
		{ "{" MANIFEST "\"manifests\":[]}", K3_FORMAT, "says it is a manifest" },
		{ "{" OTHER "\"manifests\":[]}", K3_UNSUPPORTED, "\"application/x-other\"" },
		{ "{\"mediaType\":1,\"manifests\":[]}", K3_FORMAT, "mediaType is not a string" },
		{ "{\"schemaVersion\":1,\"fsLayers\":[]}", K3_UNSUPPORTED, "Docker schema 1" },
		{ "{\"schemaVersion\":3,\"manifests\":[]}", K3_UNSUPPORTED, "schemaVersion 3" },
		{ "{\"schemaVersion\":\"2\",\"manifests\":[]}", K3_FORMAT, "schemaVersion is not" },
		{ WHOLE("7"), K3_FORMAT, "manifests[0] is not a descriptor" },
		{ WHOLE("{" SHA "}"), K3_FORMAT, "manifests[0].mediaType is missing" },
		{ WHOLE("{\"mediaType\":[]," SHA "}"), K3_FORMAT,
		  "manifests[0].mediaType is not a string" },
		{ WHOLE("{" MANIFEST SHA "},{" MANIFEST "\"size\":7}"), K3_FORMAT,
		  "manifests[1].digest is missing" },
		{ WHOLE("{" MANIFEST "\"digest\":\"sha256:0\",\"size\":7}"), K3_FORMAT,
		  "manifests[0].digest: \"sha256:0\" is not a sha256 digest" },
		{ WHOLE("{" MANIFEST "\"digest\":7,\"size\":7}"), K3_FORMAT,
		  "manifests[0].digest is not a string" },
		{ WHOLE("{" MANIFEST "\"digest\":\"sha256:" HEX64 "\"}"), K3_FORMAT,
		  "manifests[0].size is missing" },
		{ WHOLE("{" MANIFEST "\"digest\":\"sha256:" HEX64 "\",\"size\":-1}"), K3_FORMAT,
		  "manifests[0].size is not a non-negative integer" },
		{ WHOLE("{" MANIFEST "\"digest\":\"sha256:" HEX64 "\",\"size\":1.5}"), K3_FORMAT,
		  "manifests[0].size is not a non-negative integer" },
		{ WHOLE("{" MANIFEST SHA ",\"platform\":\"linux/amd64\"}"), K3_FORMAT,
		  "manifests[0].platform is not an object" },
		{ WHOLE("{" MANIFEST SHA ",\"platform\":{\"os\":1}}"), K3_FORMAT,
		  "manifests[0].platform.os is not a string" },
		{ WHOLE("{" MANIFEST SHA ",\"annotations\":[]}"), K3_FORMAT,
		  "manifests[0].annotations is not an object" },
	};
	struct oci_index ix;
	struct k3_err err;

	for (size_t i = 0; i < K3_ARRAY_LEN(bad); i++) {
		FAILS(parse(bad[i].text, &ix, &err), bad[i].code);
		HAS_STR(err.msg, bad[i].msg);
	}
}

TEST(index_limits)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(2 * OCI_DOCUMENT_MAX);
	struct oci_index ix;
	struct k3_err err;
	char media[OCI_MEDIA_TEXT_MAX + 1];

	OK(k3_buf_add(&b, "{\"manifests\":[", 14, &err));
	for (unsigned i = 0; i <= OCI_INDEX_ENTRIES_MAX; i++)
		OK(k3_buf_addf(&b, &err, "%s{" MANIFEST SHA "}", i ? "," : ""));
	OK(k3_buf_add(&b, "]}", 2, &err));
	FAILS(oci_index_parse(b.p, b.len, &ix, &err), K3_LIMIT);
	HAS_STR(err.msg, "10001 manifests");

	k3_buf_reset(&b);
	OK(k3_buf_addf(&b, &err, "{\"manifests\":[]%*s}", (int)OCI_DOCUMENT_MAX, ""));
	FAILS(oci_index_parse(b.p, b.len, &ix, &err), K3_LIMIT);

	memset(media, 'm', sizeof(media) - 1);
	media[sizeof(media) - 1] = '\0';
	k3_buf_reset(&b);
	OK(k3_buf_addf(&b, &err, "{\"manifests\":[{\"mediaType\":\"%s\"," SHA "}]}", media));
	FAILS(oci_index_parse(b.p, b.len, &ix, &err), K3_LIMIT);
	HAS_STR(err.msg, "manifests[0].mediaType");
}

/* The largest index that the limits allow, with everything an entry usually has. */
TEST(index_largest)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(2 * OCI_DOCUMENT_MAX);
	struct oci_index ix;
	struct k3_err err;

	OK(k3_buf_add(&b, "{\"manifests\":[", 14, &err));
	for (unsigned i = 0; i < OCI_INDEX_ENTRIES_MAX; i++)
		OK(k3_buf_addf(&b, &err, "%s{" MANIFEST SHA ON("linux", "arm64") "}",
			       i ? "," : ""));
	OK(k3_buf_add(&b, "]}", 2, &err));
	OK(oci_index_parse(b.p, b.len, &ix, &err));
	EQ_INT(ix.count, OCI_INDEX_ENTRIES_MAX);
	oci_index_release(&ix);
}

UNIT_MAIN
