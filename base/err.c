/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

/* The functions behind the macros. */
#undef k3_fail
#undef k3_fail_sys
#undef k3_wrap
#undef k3_hint

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

size_t k3_utf8(const char *text, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *s = (const unsigned char *)text;
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	uint32_t c = n == 1 ? s[0] : s[0] & (0x7fu >> n);

	if (!n || s[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*code = c;
	return n;
}

bool k3_is_control(uint32_t c)
{
	/* Marks of direction, line and paragraph separators: they move what stands around them. */
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x200e || c == 0x200f ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* Marks that n bytes of dst (of size) are not all: after the last character that leaves room. */
static void mark_cut(char *dst, size_t size, size_t n)
{
	static const char mark[] = "...";
	size_t at = n;

	if (size < sizeof(mark)) {
		dst[n] = '\0';
		return;
	}
	if (at > size - sizeof(mark))
		for (at = size - sizeof(mark); at && ((unsigned char)dst[at] & 0xc0) == 0x80;)
			at--;
	memcpy(dst + at, mark, sizeof(mark));
}

void k3_escape(char *dst, size_t size, const char *src)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	if (!size)
		return;
	while (*src) {
		uint32_t code = 0;
		size_t len = k3_utf8(src, &code);
		bool plain = len && !k3_is_control(code);

		len = len ? len : 1;
		if (n + (plain ? len : 4 * len) >= size) {
			mark_cut(dst, size, n);
			return;
		}
		for (; len; len--, src++) {
			unsigned char c = (unsigned char)*src;

			if (plain) {
				dst[n++] = *src;
				continue;
			}
			dst[n++] = '\\';
			dst[n++] = 'x';
			dst[n++] = hex[c >> 4];
			dst[n++] = hex[c & 15];
		}
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
		mark_cut(whole, sizeof(e->msg), n);
		n = strlen(whole);
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
