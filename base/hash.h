/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-2 by OpenSSL, which picks SHA-NI where the CPU has it. */
#ifndef K3_BASE_HASH_H
#define K3_BASE_HASH_H

#include <stdint.h>

#include "base/err.h"

enum k3_hash_alg { K3_SHA256, K3_SHA512 };

#define K3_HASH_MAX 64 /* bytes of the longest digest */

struct k3_hash; /* one running hash; single-thread */

/* Never fails: a missing SHA-2 is a broken OpenSSL and ends the process. */
struct k3_hash *k3_hash_new(enum k3_hash_alg alg) __attribute__((returns_nonnull));
void k3_hash_add(struct k3_hash *h, const void *p, size_t n);
/* Writes k3_hash_len() bytes to out; afterwards the hash is as new. */
void k3_hash_final(struct k3_hash *h, uint8_t out[K3_HASH_MAX]);
void k3_hash_free(struct k3_hash *h);
size_t k3_hash_len(enum k3_hash_alg alg); /* 32 or 64 */
void k3_hash_once(enum k3_hash_alg alg, const void *p, size_t n, uint8_t out[K3_HASH_MAX]);

void k3_hash_freep(struct k3_hash **h);
#define K3_AUTO_HASH __attribute__((cleanup(k3_hash_freep)))

/* Lower-case hex of n bytes into out[2 * n + 1]. */
void k3_hex(const uint8_t *p, size_t n, char *out);

#endif
