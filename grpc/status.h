/* SPDX-License-Identifier: Apache-2.0 */
/* How a call ended: the header fields and trailers that say so, and what we make of them. */
#ifndef K3_GRPC_STATUS_H
#define K3_GRPC_STATUS_H

#include <stddef.h>

#include "base/err.h"
#include "grpc/grpc.h"

#define STATUS_TYPE_MAX 64

struct status {
	unsigned http;              /* 0: no header yet */
	bool head_done;             /* what comes now are trailers */
	bool seen;                  /* grpc-status has come ... */
	bool broken;                /* ... but is no number, or came twice */
	unsigned code;              /* of gRPC, whatever it is */
	char *message;              /* decoded, or NULL */
	char type[STATUS_TYPE_MAX]; /* content-type, cut */
};

void status_release(struct status *st);
/* One field of headers or trailers, ":status" too. */
void status_field(struct status *st, const char *name, const char *value);
/* The headers are complete; trailers follow. */
void status_head_done(struct status *st);
/* Whether what the head says is the head of a gRPC answer; else K3_PROTO. */
K3_MUST int status_check_head(const struct status *st, struct k3_err *e);
/*
 * What the peer said at the end.  0 = OK; -1: any other status, or none.  *code is set in any
 * case.
 */
K3_MUST int status_end(const struct status *st, enum grpc_code *code, struct k3_err *e);

/* Replaces %XX in place. */
void status_decode(char *s);

#endif
