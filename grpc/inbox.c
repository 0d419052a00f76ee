/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/inbox.h"

#include <string.h>

#include "base/bytes.h"
#include "grpc/grpc.h"

static uint32_t load32be(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void inbox_init(struct inbox *in)
{
	*in = (struct inbox){ .buf = K3_BUF((size_t)2 * GRPC_ANSWER_MAX) };
}

void inbox_release(struct inbox *in)
{
	k3_buf_release(&in->buf);
	in->at = in->scanned = 0;
}

/* Forgets what has been taken, but moves the rest down only if that is the smaller part. */
static void compact(struct inbox *in)
{
	size_t rest = in->buf.len - in->at;

	if (!in->at || rest > in->at)
		return;
	if (rest)
		memmove(in->buf.p, in->buf.p + in->at, rest);
	in->buf.len = rest;
	in->scanned -= in->at;
	in->at = 0;
}

int inbox_add(struct inbox *in, const void *p, size_t n, struct k3_err *e)
{
	compact(in);
	if (k3_buf_add(&in->buf, p, n, e))
		return -1;
	while (in->buf.len - in->scanned >= INBOX_PREFIX) {
		const uint8_t *prefix = in->buf.p + in->scanned;
		uint32_t len = load32be(prefix + 1);

		if (prefix[0])
			return k3_fail(e, K3_PROTO, "a message is compressed (flag %u)", prefix[0]);
		if (len > GRPC_ANSWER_MAX)
			return k3_fail(e, K3_LIMIT,
				       "a message of %u bytes, over the limit of %u bytes", len,
				       GRPC_ANSWER_MAX);
		if (in->buf.len - in->scanned - INBOX_PREFIX < len)
			break;
		in->scanned += INBOX_PREFIX + (size_t)len;
	}
	return 0;
}

int inbox_take(struct inbox *in, struct k3_buf *out, bool *some, struct k3_err *e)
{
	*some = inbox_has(in);
	if (!*some)
		return 0;
	const uint8_t *prefix = in->buf.p + in->at;
	size_t len = load32be(prefix + 1);

	if (out) {
		k3_buf_reset(out);
		if (k3_buf_add(out, prefix + INBOX_PREFIX, len, e))
			return -1;
	}
	in->at += INBOX_PREFIX + len;
	compact(in);
	return 0;
}

bool inbox_has(const struct inbox *in)
{
	return in->scanned > in->at;
}

bool inbox_full(const struct inbox *in)
{
	return in->scanned - in->at >= INBOX_FULL;
}

bool inbox_cut(const struct inbox *in)
{
	return in->buf.len > in->scanned;
}

void inbox_prefix(uint8_t p[INBOX_PREFIX], size_t n)
{
	p[0] = 0;
	k3_store32be(p + 1, (uint32_t)n);
}
