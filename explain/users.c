/* SPDX-License-Identifier: Apache-2.0 */
#include "explain/users.h"

#include <string.h>

static bool number(const char *s, size_t n, uint32_t *out)
{
	uint64_t v = 0;

	if (!n || n > 10)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = 10 * v + (uint64_t)(s[i] - '0');
	}
	*out = (uint32_t)v;
	return v <= INT32_MAX;
}

bool users_number(const char *s, uint32_t *out)
{
	return number(s, strlen(s), out);
}

/* The length of the field at `at` of a line that ends at `end`. */
static size_t field(const char *at, const char *end)
{
	const char *colon = memchr(at, ':', (size_t)(end - at));

	return (size_t)((colon ? colon : end) - at);
}

static const char *next(const char *at, const char *end)
{
	at += field(at, end);
	return at < end ? at + 1 : end;
}

static bool is_line_of(const char *line, const char *end, const char *name, uint32_t *id,
		       uint32_t *group)
{
	size_t n = field(line, end);
	const char *at;

	if (n != strlen(name) || memcmp(line, name, n) != 0)
		return false;
	at = next(next(line, end), end);
	if (!number(at, field(at, end), id))
		return false;
	at = next(at, end);
	if (!number(at, field(at, end), group))
		*group = 0;
	return true;
}

bool users_find(const char *text, size_t n, const char *name, uint32_t *id, uint32_t *group)
{
	const char *end = text + n;

	for (const char *line = text; line < end;) {
		const char *stop = memchr(line, '\n', (size_t)(end - line));

		if (!stop)
			stop = end;
		if (is_line_of(line, stop, name, id, group))
			return true;
		line = stop < end ? stop + 1 : end;
	}
	return false;
}
