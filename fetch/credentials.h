/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are at a registry: --creds, auth files of containers and docker.  Files are read
 * when a registry asks, never kept: no state, any thread.
 */
#ifndef K3_FETCH_CREDENTIALS_H
#define K3_FETCH_CREDENTIALS_H

#include "fetch/fetch.h"

struct credential {
	char *user, *password; /* both or none */
	char *identity;        /* OAuth2 refresh token, or NULL */
	char *source;          /* where it is from, for messages; NULL = none found */
	/* why nothing was found although something is there, for a hint; or NULL */
	char *note;
};

/*
 * Looks in the order --creds, --authfile, REGISTRY_AUTH_FILE, the containers auth.json,
 * docker's config.json.  Success with source = NULL when nothing fits.  K3_USAGE when a
 * file named by the user is missing, K3_FORMAT when it does not parse; a broken default
 * file is only noted.
 */
K3_MUST int credentials_find(const struct fetch_opts *o, const char *host, const char *repo,
			     struct credential *out, struct k3_err *e);
void credential_release(struct credential *c); /* wipes the secrets */

/*
 * Looks into one auth file's text.  Sets user and password, or identity, or note, or
 * nothing.  The most specific key wins (host/ns/repo before host).  K3_FORMAT.
 */
K3_MUST int credentials_parse(const void *json, size_t n, const char *host, const char *repo,
			      struct credential *out, struct k3_err *e);

/* "Basic <base64>".  Caller wipes and frees. */
char *credential_basic(const struct credential *c);
/* 0, or K3_USAGE when "user[:password]" has no user or control characters. */
K3_MUST int credentials_check(const char *creds, struct k3_err *e);

#endif
