/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "base/mem.h"

struct k3_hash {
	EVP_MD_CTX *ctx;
	enum k3_hash_alg alg;
};

static const EVP_MD *md_of(enum k3_hash_alg alg)
{
	return alg == K3_SHA512 ? EVP_sha512() : EVP_sha256();
}

/* SHA-2 of a working OpenSSL cannot fail: go no further with one that does. */
static void must(int ok)
{
	if (ok != 1)
		abort();
}

struct k3_hash *k3_hash_new(enum k3_hash_alg alg)
{
	struct k3_hash *h = k3_xcalloc(1, sizeof(*h));

	h->alg = alg;
	h->ctx = EVP_MD_CTX_new();
	must(h->ctx != NULL);
	must(EVP_DigestInit_ex(h->ctx, md_of(alg), NULL));
	return h;
}

void k3_hash_add(struct k3_hash *h, const void *p, size_t n)
{
	must(EVP_DigestUpdate(h->ctx, p, n));
}

void k3_hash_final(struct k3_hash *h, uint8_t out[K3_HASH_MAX])
{
	must(EVP_DigestFinal_ex(h->ctx, out, NULL));
	must(EVP_DigestInit_ex(h->ctx, md_of(h->alg), NULL));
}

void k3_hash_free(struct k3_hash *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

void k3_hash_freep(struct k3_hash **h)
{
	k3_hash_free(*h);
	*h = NULL;
}

size_t k3_hash_len(enum k3_hash_alg alg)
{
	return alg == K3_SHA512 ? 64 : 32;
}

void k3_hash_once(enum k3_hash_alg alg, const void *p, size_t n, uint8_t out[K3_HASH_MAX])
{
	must(EVP_Digest(p, n, out, NULL, md_of(alg), NULL));
}

void k3_hex(const uint8_t *p, size_t n, char *out)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*out++ = hex[p[i] >> 4];
		*out++ = hex[p[i] & 15];
	}
	*out = '\0';
}
