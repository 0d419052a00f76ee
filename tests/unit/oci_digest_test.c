/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/mem.h"
#include "oci/oci.h"

#define ABC256 "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC512                                                                                     \
	"sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"                  \
	"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
#define ZERO64 "0000000000000000000000000000000000000000000000000000000000000000"
#define ZERO256 "sha256:" ZERO64

TEST(digest_round_trip)
{
	static const char *const texts[] = { ABC256, ABC512, ZERO256 };
	struct k3_err err;

	for (size_t i = 0; i < K3_ARRAY_LEN(texts); i++) {
		struct oci_digest d;
		char out[OCI_DIGEST_TEXT_MAX];

		memset(&d, 0xff, sizeof(d));
		OK(oci_digest_parse(texts[i], &d, &err));
		oci_digest_format(&d, out);
		EQ_STR(out, texts[i]);
		for (size_t k = k3_hash_len(d.alg); k < K3_HASH_MAX; k++)
			EQ_INT(d.hash[k], 0);
	}
}

TEST(digest_refuses)
{
	static const struct {
		const char *text;
		enum k3_code code;
		const char *msg;
	} bad[] = {
		{ "", K3_FORMAT, "not a digest" },
		{ "sha256", K3_FORMAT, "not a digest" },
		{ ":" ZERO64, K3_FORMAT, "not a digest" },
		{ "sha256:", K3_FORMAT, "not a digest" },
		{ ZERO64, K3_FORMAT, "not a digest" },
		{ "sha256:" ZERO64 "0", K3_FORMAT, "want 64 lower-case hex" },
		{ "sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		  K3_FORMAT, "want 64 lower-case hex" },
		{ "sha512:" ZERO64, K3_FORMAT, "want 128 lower-case hex" },
		{ "sha256:zz" ZERO64, K3_FORMAT, "not a sha256 digest" },
		{ "SHA256:" ZERO64, K3_FORMAT, "not a digest" },
		{ "sha256:a b", K3_FORMAT, "not a digest" },
		{ "sha256 :" ZERO64, K3_FORMAT, "not a digest" },
		{ "sha256::" ZERO64, K3_FORMAT, "not a digest" },
		{ "+b64:abc", K3_FORMAT, "not a digest" },
		{ "sha256+:abc", K3_FORMAT, "not a digest" },
		{ "a++b:abc", K3_FORMAT, "not a digest" },
		{ "sha384:" ZERO64, K3_UNSUPPORTED, "\"sha384\"" },
		{ "blake3:abc", K3_UNSUPPORTED, "\"blake3\"" },
		{ "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564=", K3_UNSUPPORTED,
		  "\"sha256+b64u\"" },
		{ "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8", K3_UNSUPPORTED,
		  "multihash+base58" },
	};
	struct oci_digest d;
	struct k3_err err;

	for (size_t i = 0; i < K3_ARRAY_LEN(bad); i++) {
		FAILS(oci_digest_parse(bad[i].text, &d, &err), bad[i].code);
		HAS_STR(err.msg, bad[i].msg);
	}
}

TEST(digest_of_bytes)
{
	struct oci_digest want, got, running;
	struct k3_err err;

	OK(oci_digest_parse(ABC512, &want, &err));
	oci_digest_of(K3_SHA512, "abc", 3, &got);
	CHECK(oci_digest_eq(&want, &got));
	OK(oci_digest_parse(ABC256, &want, &err));
	CHECK(!oci_digest_eq(&want, &got));
	oci_digest_of(K3_SHA256, "abc", 3, &got);
	CHECK(oci_digest_eq(&want, &got));

	K3_AUTO_HASH struct k3_hash *h = k3_hash_new(K3_SHA256);

	for (int i = 0; i < 2; i++) {
		memset(&running, 0xff, sizeof(running));
		k3_hash_add(h, "a", 1);
		k3_hash_add(h, "bc", 2);
		oci_digest_final(h, K3_SHA256, &running);
		EQ_INT(memcmp(&running, &want, sizeof(want)), 0);
	}
}

UNIT_MAIN
