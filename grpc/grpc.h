/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC over HTTP/2 on a unix socket, and protobuf messages.  Knows no containerd.
 *
 * Transport: HTTP/2 without TLS and without upgrade (prior knowledge), as gRPC over HTTP/2
 * (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md) has it; the peer is grpc-go.
 * Messages: proto3, written and read field by field.  What comes from the peer is bounded, and
 * what does not parse is K3_PROTO, never a crash.
 *
 * Threads: a struct grpc and everything made from it belongs to one thread.
 */
#ifndef K3_GRPC_GRPC_H
#define K3_GRPC_GRPC_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/thread.h"

/* ---- messages: writing -------------------------------------------------------------------- */

/*
 * A message being written.  The first failure sticks and comes out of grpc_done; fields that are
 * zero, false, NULL or empty are left out, as proto3 does.
 */
struct grpc_msg {
	struct k3_buf buf;
	bool failed;
	struct k3_err err;
};

#define GRPC_MSG_MAX (4u << 20) /* a message of ours; containerd takes 16 MiB, others 4 */
#define GRPC_MSG ((struct grpc_msg){ .buf = K3_BUF(GRPC_MSG_MAX) })
#define GRPC_AUTO_MSG __attribute__((cleanup(grpc_release)))

void grpc_put_u64(struct grpc_msg *m, unsigned field, uint64_t v);    /* also enums, int64, bool */
void grpc_put_str(struct grpc_msg *m, unsigned field, const char *s); /* NULL or "": nothing */
void grpc_put_bytes(struct grpc_msg *m, unsigned field, const void *p, size_t n);
/* The same, but also when it is empty: an element of a repeated field. */
void grpc_add_str(struct grpc_msg *m, unsigned field, const char *s);
/* One entry of a map<string, string>. */
void grpc_put_pair(struct grpc_msg *m, unsigned field, const char *key, const char *value);
/* A message inside: everything put until grpc_close(m, at) belongs to it.  They nest. */
size_t grpc_open(struct grpc_msg *m, unsigned field);
void grpc_close(struct grpc_msg *m, size_t at);
/* 0, or -1 with the first failure (K3_LIMIT, K3_NOMEM). */
K3_MUST int grpc_done(const struct grpc_msg *m, struct k3_err *e);
void grpc_reset(struct grpc_msg *m); /* empty again, memory kept */
void grpc_release(struct grpc_msg *m);

/* ---- messages: reading -------------------------------------------------------------------- */

/* Bytes of a message, borrowed.  { NULL, 0 } is an empty message: every field is absent. */
struct grpc_val {
	const uint8_t *p;
	size_t n;
};

struct grpc_field {
	unsigned number;
	uint64_t v;          /* of a varint, fixed32 or fixed64; else 0 */
	struct grpc_val val; /* of a string, bytes or message; else { NULL, 0 } */
};

/*
 * Reads the field at *m and moves *m behind it.  *more = false at the end.  K3_PROTO when it
 * does not parse (also groups, which proto3 has not).
 */
K3_MUST int grpc_next(struct grpc_val *m, struct grpc_field *f, bool *more, struct k3_err *e);
/* Whether all of m parses, with what is in it not looked into. */
K3_MUST int grpc_check(struct grpc_val m, struct k3_err *e);

/*
 * For messages that have been checked: the last field of that number, or nothing ({ NULL, 0 },
 * 0).  What is behind a field that does not parse is not seen.
 */
struct grpc_val grpc_get(struct grpc_val m, unsigned field);
uint64_t grpc_get_u64(struct grpc_val m, unsigned field);
bool grpc_has(struct grpc_val m, unsigned field);
/* As a C string, new memory, never NULL; cut at a NUL byte.  Caller frees. */
char *grpc_get_str(struct grpc_val m, unsigned field) __attribute__((returns_nonnull));
/* The value of a map<string, string> entry.  *found = false: { NULL, 0 }. */
struct grpc_val grpc_get_pair(struct grpc_val m, unsigned field, const char *key, bool *found);
/*
 * Calls for repeated fields: *it starts as m; the next element of that number, false at the end.
 */
bool grpc_each(struct grpc_val *it, unsigned field, struct grpc_val *out);
bool grpc_eq(struct grpc_val v, const char *s);

/* ---- calls -------------------------------------------------------------------------------- */

/* Status codes of gRPC that behaviour depends on. */
enum grpc_code {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_ALREADY_EXISTS = 6,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_ABORTED = 10,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_DATA_LOSS = 15,
	GRPC_UNAUTHENTICATED = 16,
	/* No answer at all: no socket, refused, broken off.  The call may have been carried out. */
	GRPC_NO_PEER = 100,
	/* The call did not end with a status: a broken answer, our cancellation, a limit. */
	GRPC_NONE = 101,
};

struct grpc;

#define GRPC_ANSWER_MAX (64u << 20) /* most bytes of one message that the peer may send */

/*
 * Connects to nobody yet: a call does.  `socket` is the path of a unix socket ("unix://" in
 * front is dropped).  cancel may be NULL and outlives the channel.  K3_NOMEM, K3_USAGE (a
 * path longer than a socket's may be).
 */
K3_MUST int grpc_new(const char *socket, struct k3_cancel *cancel, struct grpc **out,
		     struct k3_err *e);
void grpc_free(struct grpc *g); /* NULL is a no-op */
/* Another one from now on, NULL for none: so that what was begun can be taken back. */
void grpc_set_cancel(struct grpc *g, struct k3_cancel *cancel);
const char *grpc_socket(const struct grpc *g); /* the path; borrowed */
/*
 * A metadata field ("containerd-namespace") for all later calls; replaces one of the same name,
 * NULL removes it.
 */
void grpc_header(struct grpc *g, const char *name, const char *value);

/*
 * One unary call of "/<service>/<method>".  *answer is reset and holds the message; it lives until
 * the caller releases it (K3_BUF(GRPC_ANSWER_MAX)); NULL = not wanted.
 *   timeout_ms: for all of it; 0 = none but cancellation.
 *   *code (may be NULL): what the call ended with, also on failure.
 * -1: any status but OK: K3_NOTFOUND, K3_BUSY (no peer, UNAVAILABLE, out of time), K3_AUTH (no
 * permission on the socket, PERMISSION_DENIED), K3_LIMIT, K3_CANCELLED, K3_STORE for everything
 * else the peer refuses, K3_PROTO; the message is "<Service>.<Method>: <what the peer said>".
 */
K3_MUST int grpc_call(struct grpc *g, const char *method, const struct grpc_msg *request,
		      struct k3_buf *answer, unsigned timeout_ms, enum grpc_code *code,
		      struct k3_err *e);

/*
 * A call with several messages in either direction.  One at a time on a channel, and no
 * grpc_call meanwhile.
 */
struct grpc_stream;

K3_MUST int grpc_stream_open(struct grpc *g, const char *method, unsigned timeout_ms,
			     struct grpc_stream **out, struct k3_err *e);
/*
 * Queues a message and sends what the peer takes; waits while there is much that it has not taken.
 * Fails for the message alone: when the call has ended it goes nowhere, and
 * grpc_stream_receive says how it ended.
 */
K3_MUST int grpc_stream_send(struct grpc_stream *s, const struct grpc_msg *m, struct k3_err *e);
/* No more messages of ours. */
K3_MUST int grpc_stream_end_send(struct grpc_stream *s, struct k3_err *e);
/*
 * Waits for the next message of the peer; *more = false when there is none: the call has ended
 * with OK.  -1 as grpc_call.
 */
K3_MUST int grpc_stream_receive(struct grpc_stream *s, struct k3_buf *message, bool *more,
				enum grpc_code *code, struct k3_err *e);
/* Ends it, at once if it has not: the peer sees a cancelled call.  NULL is a no-op. */
void grpc_stream_free(struct grpc_stream *s);

#endif
