/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/2 connection on a unix socket, with one request at a time.  Knows no gRPC. */
#ifndef K3_GRPC_H2_H
#define K3_GRPC_H2_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define H2_WINDOW (1 << 20) /* bytes that the peer may send before h2_consume */

struct h2;

struct h2_field {
	char *name, *value;
};

enum h2_end {
	H2_END_WHOLE,
	H2_END_REFUSED, /* the peer has done nothing of it */
	H2_END_RESET,   /* the peer broke it off */
	H2_END_BROKEN,  /* we did, for what the peer sent is not HTTP/2 */
};

/* What a request has to say and to hear; called from within h2_round and h2_usable only. */
struct h2_sink {
	void *arg;
	/* One header or trailer; the bytes of a name are lower case. */
	void (*field)(void *arg, const char *name, const char *value);
	void (*fields_end)(void *arg); /* all headers, or all trailers */
	void (*data)(void *arg, const uint8_t *p, size_t n);
	/* Fills p with up to n bytes of the body.  0 without *end: nothing yet; see h2_resume. */
	size_t (*body)(void *arg, uint8_t *p, size_t n, bool *end);
	void (*ended)(void *arg); /* the answer is whole; the request may go on */
	/* The request is no more. */
	void (*closed)(void *arg, enum h2_end end, const char *why);
};

/* Connects.  e->sys tells why not; EAGAIN = the peer's queue is full: try again. */
K3_MUST int h2_connect(const char *path, struct h2 **out, struct k3_err *e);
void h2_free(struct h2 *h); /* NULL is a no-op */
/* Whether the connection is good for another request.  Reads what has come since the last. */
bool h2_usable(struct h2 *h);
/* Fields are copied; the sink is borrowed until closed, h2_forget or h2_free. */
K3_MUST int h2_request(struct h2 *h, const struct h2_field *fields, size_t n,
		       const struct h2_sink *sink, struct k3_err *e);
/* There is more of the body now. */
void h2_resume(struct h2 *h);
/* So many bytes of data are out of the way: the peer may send as many again. */
void h2_consume(struct h2 *h, size_t n);
/* Ends a request for which nobody waits any more; the connection stays. */
void h2_forget(struct h2 *h);
/*
 * Sends and receives what is possible without waiting.  -1: the connection is no more of use:
 * K3_BUSY it broke off, K3_PROTO the peer does not speak HTTP/2, K3_NOMEM.
 */
K3_MUST int h2_round(struct h2 *h, struct k3_err *e);
/* Waits until a round makes sense again, ms at most. */
void h2_wait(const struct h2 *h, unsigned ms);

#endif
