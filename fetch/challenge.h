/* SPDX-License-Identifier: Apache-2.0 */
/* WWW-Authenticate (RFC 9110 11.6.1) as far as registries use it.  Pure. */
#ifndef K3_FETCH_CHALLENGE_H
#define K3_FETCH_CHALLENGE_H

#include <stdbool.h>

#define CHALLENGE_REALM_MAX 2048
#define CHALLENGE_SERVICE_MAX 512
#define CHALLENGE_SCOPE_MAX 2048

/* All challenges of one answer together: the first usable Bearer, and whether Basic would do. */
struct challenge {
	bool basic;
	bool bearer; /* the texts below are its own; "" = not given */
	char realm[CHALLENGE_REALM_MAX];
	char service[CHALLENGE_SERVICE_MAX];
	char scope[CHALLENGE_SCOPE_MAX];
};

/*
 * Adds what one header field offers; the field may list several challenges.  *c starts
 * zeroed.  Unknown schemes and malformed parts are skipped; a Bearer without realm, or with
 * a text longer than the limits or with control characters, is not usable.
 */
void challenge_add(struct challenge *c, const char *field);

#endif
