/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What credential helpers keep: get, store and erase of docker's protocol
 * (github.com/docker/docker-credential-helpers, "Development").
 */
#ifndef K3_FETCH_KEYCHAIN_H
#define K3_FETCH_KEYCHAIN_H

#include "fetch/credentials.h"

/*
 * An answer, or a failure, counts for so long: all images of a run ask one helper once, one
 * that hangs costs its time once, and a token of a cloud is still good when it is used.
 */
#define KEYCHAIN_KEEP_MS 60000u

struct keychain; /* answers of helpers; mt */

struct keychain *keychain_new(void) __attribute__((returns_nonnull));
void keychain_free(struct keychain *k); /* wipes the secrets */

struct keychain_item {
	const char *helper, *server; /* docker-credential-<helper>; what it knows the registry as */
	unsigned limit_ms;           /* as in struct helper_call */
	struct k3_cancel *cancel;
};

/*
 * Sets user and password of *out, or its identity; or nothing when the helper has none.  k may be
 * NULL.  Threads that ask for the same at the same time wait for one of them.  Errors as
 * helper_run, and K3_AUTH when it fails or answers something else.
 */
K3_MUST int keychain_get(struct keychain *k, const struct keychain_item *i, struct credential *out,
			 struct k3_err *e);
K3_MUST int keychain_store(const struct keychain_item *i, const char *user, const char *password,
			   struct k3_err *e);
/* *had: there was something. */
K3_MUST int keychain_erase(const struct keychain_item *i, bool *had, struct k3_err *e);

/* The answer of `get`.  K3_AUTH, without a word of it. */
K3_MUST int keychain_parse(const void *json, size_t n, struct credential *out, struct k3_err *e);

#endif
