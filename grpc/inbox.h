/* SPDX-License-Identifier: Apache-2.0 */
/* Messages out of the bytes of an answer, however these are cut. */
#ifndef K3_GRPC_INBOX_H
#define K3_GRPC_INBOX_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define INBOX_FULL (1u << 20) /* bytes of waiting messages with which no more is wanted */
#define INBOX_PREFIX 5        /* in front of a message: a flag and its length */

struct inbox {
	struct k3_buf buf;
	size_t at;      /* first byte that nobody has taken */
	size_t scanned; /* where the message begins that is not whole yet */
};

void inbox_init(struct inbox *in);
void inbox_release(struct inbox *in);
/* K3_PROTO: a compressed message; K3_LIMIT: one of over GRPC_ANSWER_MAX bytes. */
K3_MUST int inbox_add(struct inbox *in, const void *p, size_t n, struct k3_err *e);
/* The next whole message into *out (NULL: nobody wants it).  *some = false: there is none. */
K3_MUST int inbox_take(struct inbox *in, struct k3_buf *out, bool *some, struct k3_err *e);
bool inbox_has(const struct inbox *in);  /* a whole message */
bool inbox_full(const struct inbox *in); /* enough to take before more is wanted */
bool inbox_cut(const struct inbox *in);  /* part of a message */

/* What stands in front of a message of n bytes. */
void inbox_prefix(uint8_t p[INBOX_PREFIX], size_t n);

#endif
