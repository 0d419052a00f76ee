/* SPDX-License-Identifier: Apache-2.0 */
/* Protobuf: any bytes parse or fail, and what parses is the same when it is written again. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "grpc/grpc.h"

#define DEPTH_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void touch(struct grpc_val v)
{
	volatile uint8_t last = 0;

	if (v.n)
		last = v.p[v.n - 1];
	(void)last;
}

/* What the functions for checked messages say, also of messages that do not parse. */
static void ask(struct grpc_val m, unsigned field)
{
	struct grpc_val it = m, element, last = { NULL, 0 };
	bool found, some = false;
	size_t sum = 0;

	while (grpc_each(&it, field, &element)) {
		touch(element);
		last = element;
		some = true;
		sum += element.n + 2; /* with tag and length */
	}
	must(sum <= m.n);
	must(last.p == grpc_get(m, field).p && last.n == grpc_get(m, field).n);
	must(grpc_has(m, field) || (!some && !grpc_get_u64(m, field)));
	touch(grpc_get_pair(m, field, "key", &found));
	must(!found || some);
	K3_AUTO_FREE char *s = grpc_get_str(m, field);

	must(strlen(s) <= last.n);
}

/* Writes what m holds; fields that are 0 or empty are left out, as the writer does. */
static void copy(struct grpc_val m, struct grpc_msg *out)
{
	struct grpc_field f;
	struct k3_err err;
	bool more = true;

	while (!grpc_next(&m, &f, &more, &err) && more) {
		touch(f.val);
		if (f.val.p)
			grpc_put_bytes(out, f.number, f.val.p, f.val.n);
		else
			grpc_put_u64(out, f.number, f.v);
	}
}

static void walk(struct grpc_val m, unsigned depth)
{
	struct grpc_field f;
	struct k3_err err = { 0 };
	bool more = true;

	while (!grpc_next(&m, &f, &more, &err) && more)
		if (f.val.p && depth < DEPTH_MAX && !grpc_check(f.val, &err))
			walk(f.val, depth + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	GRPC_AUTO_MSG struct grpc_msg once = GRPC_MSG, twice = GRPC_MSG;
	struct grpc_val m = { data, size };
	struct k3_err err = { 0 };
	bool parses = !grpc_check(m, &err);

	must(parses || (err.code == K3_PROTO && err.msg[0]));
	for (unsigned field = 1; field < 5; field++)
		ask(m, field);
	if (!parses)
		return 0;
	walk(m, 0);
	copy(m, &once);
	must(!grpc_done(&once, &err));
	copy((struct grpc_val){ once.buf.p, once.buf.len }, &twice);
	must(once.buf.len == twice.buf.len &&
	     (!once.buf.len || !memcmp(once.buf.p, twice.buf.p, once.buf.len)));
	return 0;
}
