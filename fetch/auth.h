/* SPDX-License-Identifier: Apache-2.0 */
/* Authorization: what to send, and how to get it when a registry challenges us. */
#ifndef K3_FETCH_AUTH_H
#define K3_FETCH_AUTH_H

#include "fetch/challenge.h"
#include "fetch/session.h"

/* The Authorization known for the repository, or NULL.  Caller passes it to auth_forget. */
char *auth_known(struct fetch *f, const struct oci_ref *r);

/*
 * Answers a challenge of the registry at `origin`: Basic credentials, or a new token from
 * the service that the challenge names.  The result is remembered for all sessions.
 * `rejected` is what the registry has just refused, or NULL.  K3_AUTH, and as exchange_run.
 * Caller passes *out to auth_forget.
 */
K3_MUST int auth_answer(struct fetch_session *s, const struct oci_ref *r, const char *origin,
			const struct challenge *c, const char *rejected, char **out,
			struct k3_err *e);

/* Sets the hint of a K3_AUTH error: whose credentials were tried, or how to give some. */
void auth_hint(const struct fetch_session *s, const struct oci_ref *r, struct k3_err *e);

/* Wipes and frees. */
void auth_forget(char *value);
void auth_forgetp(char **value);
#define AUTH_AUTO __attribute__((cleanup(auth_forgetp)))

/* Seconds a token is good for, and the token, from a token service's answer.  K3_PROTO. */
K3_MUST int auth_parse_token(const void *json, size_t n, char **token, uint64_t *seconds,
			     struct k3_err *e);

#endif
