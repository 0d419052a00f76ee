/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of one request through the endpoints of its registry: each in turn, and all of them
 * again when one that failed may do better later.
 */
#ifndef K3_FETCH_ROUTE_H
#define K3_FETCH_ROUTE_H

#include "fetch/endpoints.h"
#include "fetch/retry.h"

struct route {
	struct fetch_session *s;
	const struct oci_ref *r; /* as it was asked for */
	unsigned need;           /* REGISTRY_PULL or REGISTRY_RESOLVE */
	const struct endpoints *all;
	/* the one that is asked now, and the reference as that one calls it */
	const struct endpoint *ep;
	size_t index;
	struct oci_ref ref;
	char *repo;
	/* by index */
	uint64_t out;    /* would fail again */
	uint64_t silent; /* could not be reached */
	uint64_t denied; /* wants other credentials */
	bool may_later;  /* some one failed in this round with the error: */
	struct k3_err later;
	struct retry again;
};

/*
 * Begins with the first endpoint that may be asked.  Errors of the configuration (registry_find),
 * or of the host when it has been given up.  *rt is to be released in any case.
 */
K3_MUST int route_start(struct route *rt, struct fetch_session *s, const struct oci_ref *r,
			unsigned need, const char *what, struct k3_err *e);
/*
 * After a failed request with its error: 0 = ask again, the next endpoint or, after a pause, one
 * of this round; -1 = give up with *e.
 */
K3_MUST int route_failed(struct route *rt, struct k3_err *e);
/* The same for an answer that is of no use, whatever the endpoint would say again. */
K3_MUST int route_useless(struct route *rt, struct k3_err *e);
/* It delivered: what could not be reached or refused us meanwhile is not asked again. */
void route_done(struct route *rt);
void route_release(struct route *rt);
#define AUTO_ROUTE __attribute__((cleanup(route_release)))

#endif
