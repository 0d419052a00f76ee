/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are at a registry: --creds, auth files of containers and docker, the credential
 * helpers that these name.  Files are read when a registry asks, never kept: any thread.
 */
#ifndef K3_FETCH_CREDENTIALS_H
#define K3_FETCH_CREDENTIALS_H

#include "fetch/fetch.h"

struct keychain;

struct credential {
	char *user, *password; /* both or none */
	char *identity;        /* OAuth2 refresh token, or NULL */
	char *source;          /* where it is from, for messages; NULL = none found */
	/* why nothing was found although something is there, for a hint; or NULL */
	char *note;
};

/*
 * Looks in the order --creds, --authfile, REGISTRY_AUTH_FILE, the containers auth.json,
 * docker's config.json; in a file, at its helper for the registry (credHelpers, else credsStore),
 * then at "auths".  Success with source = NULL when nothing fits.
 * K3_USAGE when a file named by the user is missing, K3_FORMAT when it does not parse, and the
 * errors of keychain_get, with file and entry in front.  A broken default file is only noted, and
 * so is a credsStore of it that does not work: it is for every registry, also for those that ask
 * for no credentials.  known: answers of helpers, or NULL.
 */
K3_MUST int credentials_find(const struct fetch_opts *o, struct keychain *known, const char *host,
			     const char *repo, struct credential *out, struct k3_err *e);
/* How long a helper may take: as long as a registry that says nothing. */
unsigned credentials_limit_ms(const struct fetch_opts *o);
void credential_release(struct credential *c); /* wipes the secrets */
void credential_wipe(char **secret);           /* wipes and frees one */

/* "user:password" taken apart; without a colon the password is empty. */
void credential_split(const char *pair, struct credential *out);
/* "Basic <base64>".  Caller wipes and frees. */
char *credential_basic(const struct credential *c);
/* 0, or K3_USAGE when "user[:password]" has no user or control characters. */
K3_MUST int credentials_check(const char *creds, struct k3_err *e);

#endif
