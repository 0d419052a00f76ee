/* SPDX-License-Identifier: Apache-2.0 */
/* One try of one request to a registry's API: its address, scheme and authorization. */
#ifndef K3_FETCH_REQUEST_H
#define K3_FETCH_REQUEST_H

#include "fetch/exchange.h"
#include "fetch/route.h"

struct request {
	const char *path;              /* behind /v2/<repository>/ */
	const char *what;              /* the thing asked for, for a 404 */
	const char *accept;            /* or NULL */
	uint64_t range_from, range_to; /* as in struct http_req */
	bool head;
	bool any_status; /* 0 also for another status than 2xx, except 401 */
	http_head_fn *on_head;
	http_data_fn *on_data;
	void *arg;
};

/*
 * Asks the endpoint that the route is at.  Authenticates and, on a loopback registry without TLS,
 * falls back to HTTP.  Never repeats a request more than once for either.  Errors as answer_fail
 * and exchange_run.
 */
K3_MUST int request_try(const struct route *to, const struct request *q, struct outcome *o,
			struct k3_err *e);

/* Fails when the answer is a web page, which no registry sends: a proxy or a wrong host. */
K3_MUST int request_refuse_html(const struct outcome *o, const struct http_head *h,
				struct k3_err *e);

#endif
