/* SPDX-License-Identifier: Apache-2.0 */
/* A unary call: a stream with one message each way. */
#include "grpc/grpc.h"

#include "base/mem.h"

static void freep_stream(struct grpc_stream **s)
{
	grpc_stream_free(*s);
}

static int fail_count(const char *method, const char *what, enum grpc_code *code, struct k3_err *e)
{
	*code = GRPC_NONE;
	return k3_fail(e, K3_PROTO, "%s: %s", method, what);
}

int grpc_call(struct grpc *g, const char *method, const struct grpc_msg *request,
	      struct k3_buf *answer, unsigned timeout_ms, enum grpc_code *code, struct k3_err *e)
{
	__attribute__((cleanup(freep_stream))) struct grpc_stream *s = NULL;
	enum grpc_code ignored;
	bool more;

	code = code ? code : &ignored;
	*code = GRPC_NONE;
	if (grpc_stream_open(g, method, timeout_ms, &s, e) || grpc_stream_send(s, request, e) ||
	    grpc_stream_end_send(s, e) || grpc_stream_receive(s, answer, &more, code, e))
		return -1;
	if (!more)
		return fail_count(method, "the answer has no message", code, e);
	if (grpc_stream_receive(s, NULL, &more, code, e))
		return -1;
	if (more)
		return fail_count(method, "the answer has more than one message", code, e);
	return 0;
}
