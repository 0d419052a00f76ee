/* SPDX-License-Identifier: Apache-2.0 */
/* One auth file: docker's config.json, containers-auth.json(5).  Pure, but for the paths. */
#ifndef K3_FETCH_AUTHFILE_H
#define K3_FETCH_AUTHFILE_H

#include "fetch/credentials.h"

#define AUTHFILE_MAX (1u << 20) /* a thousand registries with tokens of 1 KiB */

/* What a file says of a repository: a helper to ask first, and what "auths" has itself. */
struct authfile_entry {
	char *helper;          /* its name, or NULL */
	char *server;          /* what the helper calls the registry */
	char *where;           /* the entry that names it, for messages */
	bool general;          /* it is credsStore, for every registry */
	struct credential own; /* user and password, identity, or nothing */
};

void authfile_entry_release(struct authfile_entry *x); /* wipes the secrets */

/*
 * The most specific key of "auths" wins (host/ns/repo before host); credHelpers go before
 * credsStore, and an empty one means none.  K3_FORMAT: not such a file, or the entry of this
 * registry is malformed.  *out is to be released also after a failure.
 */
K3_MUST int authfile_parse(const void *json, size_t n, const char *host, const char *repo,
			   struct authfile_entry *out, struct k3_err *e);

/* Only which helper it names for the registry: the entries may be malformed. */
K3_MUST int authfile_parse_helper(const void *json, size_t n, const char *host,
				  struct authfile_entry *out, struct k3_err *e);

/* Is this a key for the whole registry, in any of the ways to write it? */
bool authfile_key_is(const char *key, const char *host);
/* The key that docker writes, and what it tells its helpers. */
const char *authfile_docker_key(const char *host);

/* $XDG_RUNTIME_DIR/containers/auth.json or /run/containers/<uid>/auth.json.  Caller frees. */
char *authfile_containers_path(void);
/* $DOCKER_CONFIG/config.json or ~/.docker/config.json; NULL without a home.  Caller frees. */
char *authfile_docker_path(void);

#endif
