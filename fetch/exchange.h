/* SPDX-License-Identifier: Apache-2.0 */
/* An exchange with its redirects followed: the Authorization stays with its origin. */
#ifndef K3_FETCH_EXCHANGE_H
#define K3_FETCH_EXCHANGE_H

#include "fetch/session.h"

/* Hints for what the peer does wrong. */
#define EXCHANGE_HINT_SETUP                                                                        \
	"the registry, or a proxy before it, is set up wrongly: tell who runs it"
#define EXCHANGE_HINT_BYTES                                                                        \
	"the registry's copy is damaged, or something on the way changes it: run it again, or "    \
	"push "                                                                                    \
	"the image again"
#define EXCHANGE_HINT_ENCODED                                                                      \
	"it came with a Content-Encoding that was not asked for: a proxy on the way compresses it"

struct exchange {
	const char *url;
	const char *authorization, *accept, *form; /* or NULL; a form is never redirected */
	uint64_t range_from, range_to;             /* as in struct http_req */
	bool head;
	bool to_endpoint;      /* the session's own: the headers of its configuration go along */
	http_head_fn *on_head; /* of the last answer when it is 2xx */
	http_data_fn *on_data; /* likewise; the body of others goes to s->note */
	void *arg;
};

struct outcome {
	const struct http_head *head; /* valid until the session's next exchange */
	char origin[HTTP_ORIGIN_MAX]; /* who answered in the end */
	unsigned status;              /* of that answer; 0 = there was none */
	bool answered;                /* by the origin asked, if only by a redirect */
	bool crossed;                 /* another origin than the one asked */
	bool not_tls;                 /* failed because the one asked speaks no TLS */
};

/*
 * 0 whatever the last status is.  K3_PROTO for a bad or forbidden redirect or too many,
 * else as http_run.  *o is filled on failure too, as far as it came.
 */
K3_MUST int exchange_run(struct fetch_session *s, const struct exchange *x, struct outcome *o,
			 struct k3_err *e);

/* Does the answer claim that its body is not as it was stored? */
bool exchange_encoded(const struct http_head *h);

/* May somebody at origin `from` send us to `to`?  Not from TLS to plain HTTP. */
bool exchange_may_lead(const struct fetch *f, const char *from, const char *to);

#endif
