/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

#define HINT_NO_GRPC "something that does not speak gRPC listens on that socket"
/* Of a long message: a chain of errors has what was tried first and the cause last. */
#define MESSAGE_HEAD 200
#define MESSAGE_TAIL 200

static const struct {
	const char *name;
	enum k3_code code;
} codes[] = {
	[GRPC_OK] = { "OK", K3_OK },
	[GRPC_CANCELLED] = { "CANCELLED", K3_STORE },
	[GRPC_UNKNOWN] = { "UNKNOWN", K3_STORE },
	[GRPC_INVALID_ARGUMENT] = { "INVALID_ARGUMENT", K3_STORE },
	[GRPC_DEADLINE_EXCEEDED] = { "DEADLINE_EXCEEDED", K3_BUSY },
	[GRPC_NOT_FOUND] = { "NOT_FOUND", K3_NOTFOUND },
	[GRPC_ALREADY_EXISTS] = { "ALREADY_EXISTS", K3_STORE },
	[GRPC_PERMISSION_DENIED] = { "PERMISSION_DENIED", K3_AUTH },
	[GRPC_RESOURCE_EXHAUSTED] = { "RESOURCE_EXHAUSTED", K3_LIMIT },
	[GRPC_FAILED_PRECONDITION] = { "FAILED_PRECONDITION", K3_STORE },
	[GRPC_ABORTED] = { "ABORTED", K3_STORE },
	[GRPC_OUT_OF_RANGE] = { "OUT_OF_RANGE", K3_STORE },
	[GRPC_UNIMPLEMENTED] = { "UNIMPLEMENTED", K3_STORE },
	[GRPC_INTERNAL] = { "INTERNAL", K3_STORE },
	[GRPC_UNAVAILABLE] = { "UNAVAILABLE", K3_BUSY },
	[GRPC_DATA_LOSS] = { "DATA_LOSS", K3_STORE },
	[GRPC_UNAUTHENTICATED] = { "UNAUTHENTICATED", K3_AUTH },
};

void status_release(struct status *st)
{
	free(st->message);
	*st = (struct status){ 0 };
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void status_decode(char *s)
{
	char *to = s;

	for (; *s; s++, to++) {
		*to = *s;
		if (*s != '%' || hex(s[1]) < 0 || hex(s[2]) < 0)
			continue;
		char c = (char)(hex(s[1]) << 4 | hex(s[2]));

		if (!c) /* would end the text */
			continue;
		*to = c;
		s += 2;
	}
	*to = '\0';
}

static void set_code(struct status *st, const char *value)
{
	char *end;
	unsigned long code = strtoul(value, &end, 10);

	if (st->seen || *value < '0' || *value > '9' || *end)
		st->broken = true;
	st->seen = true;
	st->code = code < K3_ARRAY_LEN(codes) ? (unsigned)code : GRPC_UNKNOWN;
}

void status_field(struct status *st, const char *name, const char *value)
{
	if (!strcmp(name, ":status")) {
		st->http = (unsigned)strtoul(value, NULL, 10);
	} else if (!strcmp(name, "grpc-status")) {
		set_code(st, value);
	} else if (!strcmp(name, "grpc-message")) {
		free(st->message);
		st->message = k3_xstrdup(value);
		status_decode(st->message);
	} else if (!strcmp(name, "content-type") && !st->head_done) {
		snprintf(st->type, sizeof(st->type), "%s", value);
	}
}

void status_head_done(struct status *st)
{
	/* The end of a 1xx answer is not the end of the head. */
	if (st->http >= 200)
		st->head_done = true;
	else
		status_release(st);
}

int status_check_head(const struct status *st, struct k3_err *e)
{
	static const char type[] = "application/grpc";
	size_t n = strlen(type);

	if (st->seen && st->http != 200) /* it says all in its own words */
		return 0;
	if (st->http != 200)
		k3_fail(e, K3_PROTO, "the answer is HTTP status %u", st->http);
	else if (strncasecmp(st->type, type, n) != 0 || !strchr("+; ", st->type[n]))
		k3_fail(e, K3_PROTO, "the answer is of type \"%s\", not %s", st->type, type);
	else
		return 0;
	return k3_hint(e, HINT_NO_GRPC);
}

int status_end(const struct status *st, enum grpc_code *code, struct k3_err *e)
{
	*code = GRPC_NONE;
	if (status_check_head(st, e))
		return -1;
	if (!st->seen)
		return k3_fail(e, K3_PROTO, "the answer ended without a status");
	if (st->broken)
		return k3_fail(e, K3_PROTO, "the status of the answer is not one number");
	*code = (enum grpc_code)st->code;
	if (!st->code)
		return 0;
	size_t n = st->message ? strlen(st->message) : 0;

	if (!n)
		return k3_fail(e, codes[st->code].code, "%s", codes[st->code].name);
	if (n <= MESSAGE_HEAD + MESSAGE_TAIL)
		return k3_fail(e, codes[st->code].code, "%s", st->message);
	return k3_fail(e, codes[st->code].code, "%.*s ... %s", MESSAGE_HEAD, st->message,
		       st->message + n - MESSAGE_TAIL);
}
