/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/base64.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int base64_digit(char c)
{
	const char *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : -1;
}

char *base64_decode(const char *s)
{
	size_t n = strcspn(s, "="), len = 0;
	unsigned bits = 0, have = 0;

	if (n > BASE64_SECRET_MAX || s[n + strspn(s + n, "=")] || n % 4 == 1)
		return NULL;
	char *out = k3_xcalloc(n + 1, 1);

	for (size_t i = 0; i < n; i++) {
		int v = base64_digit(s[i]);

		if (v < 0) {
			free(out);
			return NULL;
		}
		bits = bits << 6 | (unsigned)v;
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[len++] = (char)(bits >> have & 0xff);
		}
	}
	/* docker pads some passwords with NULs */
	while (len && !out[len - 1])
		len--;
	if (memchr(out, 0, len))
		k3_freep(&out);
	return out;
}

char *base64_encode(const char *s, size_t n)
{
	const uint8_t *p = (const uint8_t *)s;
	char *out = k3_xcalloc(n / 3 + 2, 4), *o = out;

	for (size_t i = 0; i < n; i += 3) {
		unsigned v = (unsigned)p[i] << 16;

		if (i + 1 < n)
			v |= (unsigned)p[i + 1] << 8;
		if (i + 2 < n)
			v |= p[i + 2];
		*o++ = digits[v >> 18];
		*o++ = digits[v >> 12 & 63];
		*o++ = (char)(i + 1 < n ? digits[v >> 6 & 63] : '=');
		*o++ = (char)(i + 2 < n ? digits[v & 63] : '=');
	}
	*o = '\0';
	return out;
}
