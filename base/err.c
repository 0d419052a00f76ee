/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define EXIT_OTHER 1

static const struct {
	const char *name;
	int exit_status;
} code_table[] = {
	[K3_OK] = { "OK", 0 },
	[K3_USAGE] = { "USAGE", 2 },
	[K3_NOTFOUND] = { "NOT_FOUND", 3 },
	[K3_AUTH] = { "AUTH", 4 },
	[K3_NET] = { "NETWORK", 5 },
	[K3_PROTO] = { "PROTOCOL", 5 },
	[K3_FORMAT] = { "FORMAT", 6 },
	[K3_DIGEST] = { "DIGEST_MISMATCH", 6 },
	[K3_PLATFORM] = { "PLATFORM", 6 },
	[K3_UNSAFE] = { "UNSAFE", 6 },
	[K3_LIMIT] = { "LIMIT", 6 },
	[K3_UNSUPPORTED] = { "UNSUPPORTED", 6 },
	[K3_STORE] = { "STORE", 7 },
	[K3_BUSY] = { "BUSY", 7 },
	[K3_NOSPC] = { "NO_SPACE", 8 },
	[K3_IO] = { "IO", 7 },
	[K3_NOMEM] = { "NO_MEMORY", EXIT_OTHER },
	[K3_CANCELLED] = { "CANCELLED", 130 },
	[K3_BUG] = { "BUG", EXIT_OTHER },
};

static bool code_known(enum k3_code code)
{
	return (size_t)code < sizeof(code_table) / sizeof(code_table[0]);
}

int k3_exit_status(enum k3_code code)
{
	return code_known(code) ? code_table[code].exit_status : EXIT_OTHER;
}

const char *k3_code_name(enum k3_code code)
{
	return code_known(code) ? code_table[code].name : "BUG";
}

/* C1 controls are only dangerous as UTF-8 sequences (0xc2 0x80..0x9f). */
static bool is_control(const unsigned char *p)
{
	return p[0] < 0x20 || p[0] == 0x7f || (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f);
}

void k3_escape(char *dst, size_t size, const char *src)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *s = (const unsigned char *)src;
	size_t n = 0;

	if (!size)
		return;
	for (; *s; s++) {
		size_t need = is_control(s) ? 4 : 1;

		if (n + need >= size) {
			if (size >= 4)
				memcpy(dst + (n < size - 4 ? n : size - 4), "...", 4);
			else
				dst[n] = '\0';
			return;
		}
		if (need == 1) {
			dst[n++] = (char)*s;
			continue;
		}
		dst[n++] = '\\';
		dst[n++] = 'x';
		dst[n++] = hex[*s >> 4];
		dst[n++] = hex[*s & 15];
	}
	dst[n] = '\0';
}

K3_PRINTF(2, 0) static void set_msg(struct k3_err *e, const char *fmt, va_list ap)
{
	char raw[K3_ERR_MSG_MAX];

	vsnprintf(raw, sizeof(raw), fmt, ap);
	k3_escape(e->msg, sizeof(e->msg), raw);
}

static void reset(struct k3_err *e, enum k3_code code, int sys)
{
	e->code = code;
	e->sys = sys;
	e->retry = false;
	e->hint[0] = '\0';
}

int k3_fail(struct k3_err *e, enum k3_code code, const char *fmt, ...)
{
	va_list ap;

	reset(e, code, 0);
	va_start(ap, fmt);
	set_msg(e, fmt, ap);
	va_end(ap);
	return -1;
}

static enum k3_code code_of_errno(int errnum)
{
	switch (errnum) {
	case ENOSPC:
	case EDQUOT:
		return K3_NOSPC;
	case EROFS:
		return K3_STORE;
	case ENOMEM:
		return K3_NOMEM;
	default:
		return K3_IO;
	}
}

int k3_fail_sys(struct k3_err *e, int errnum, const char *fmt, ...)
{
	char reason[128];
	va_list ap;

	reset(e, code_of_errno(errnum), errnum);
	va_start(ap, fmt);
	set_msg(e, fmt, ap);
	va_end(ap);
	/* GNU strerror_r: thread-safe, may return a static string instead of the buffer. */
	const char *text = strerror_r(errnum, reason, sizeof(reason));
	size_t used = strlen(e->msg);

	snprintf(e->msg + used, sizeof(e->msg) - used, ": %s", text);
	if (e->code == K3_NOSPC)
		k3_hint(e, "free some space or inodes on that file system, then run the same "
			   "command again");
	return -1;
}

int k3_wrap(struct k3_err *e, const char *fmt, ...)
{
	char raw[K3_ERR_MSG_MAX], head[K3_ERR_MSG_MAX], whole[2 * K3_ERR_MSG_MAX + 2];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	k3_escape(head, sizeof(head), raw);
	snprintf(whole, sizeof(whole), "%s: %s", head, e->msg);
	/* Already escaped: only cut, and show that it was cut. */
	size_t n = strlen(whole);

	if (n >= sizeof(e->msg)) {
		n = sizeof(e->msg) - 1;
		memcpy(whole + n - 3, "...", 3);
	}
	memcpy(e->msg, whole, n);
	e->msg[n] = '\0';
	return -1;
}

int k3_hint(struct k3_err *e, const char *fmt, ...)
{
	char raw[K3_ERR_HINT_MAX];
	va_list ap;

	if (e->hint[0])
		return -1;
	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	k3_escape(e->hint, sizeof(e->hint), raw);
	return -1;
}
