/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/hash.h"

#define EMPTY256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC512                                                                                     \
	"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"                         \
	"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"

static void eq_hash(const uint8_t *hash, enum k3_hash_alg alg, const char *want)
{
	char hex[2 * K3_HASH_MAX + 1];

	k3_hex(hash, k3_hash_len(alg), hex);
	EQ_STR(hex, want);
}

TEST(hash_once)
{
	uint8_t out[K3_HASH_MAX];

	EQ_INT(k3_hash_len(K3_SHA256), 32);
	EQ_INT(k3_hash_len(K3_SHA512), 64);
	k3_hash_once(K3_SHA256, "", 0, out);
	eq_hash(out, K3_SHA256, EMPTY256);
	k3_hash_once(K3_SHA256, "abc", 3, out);
	eq_hash(out, K3_SHA256, ABC256);
	k3_hash_once(K3_SHA512, "abc", 3, out);
	eq_hash(out, K3_SHA512, ABC512);
}

TEST(hash_running_is_new_after_final)
{
	uint8_t out[K3_HASH_MAX];
	K3_AUTO_HASH struct k3_hash *h = k3_hash_new(K3_SHA512);

	for (int i = 0; i < 3; i++) {
		k3_hash_add(h, "a", 1);
		k3_hash_add(h, "", 0);
		k3_hash_add(h, "bc", 2);
		k3_hash_final(h, out);
		eq_hash(out, K3_SHA512, ABC512);
	}
	k3_hash_free(NULL);
}

TEST(hash_hex)
{
	char out[9] = "########";

	k3_hex((const uint8_t *)"\x00\x0f\xff", 3, out);
	EQ_STR(out, "000fff");
	k3_hex(NULL, 0, out);
	EQ_STR(out, "");
}

UNIT_MAIN
