/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "cli/cli.h"

/* Reads digits; *end is what follows.  False without any, and when they are too many. */
static bool take_digits(const char *text, const char **end, uint64_t *out)
{
	uint64_t v = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
	*end = p;
	*out = v;
	return p > text;
}

int cli_parse_count(const char *option, const char *text, unsigned low, unsigned high,
		    unsigned *out, struct k3_err *e)
{
	const char *end;
	uint64_t v;

	if (!take_digits(text, &end, &v) || *end || v < low || v > high)
		return k3_fail(e, K3_USAGE, "--%s is a number from %u to %u, not \"%s\"", option,
			       low, high, text);
	*out = (unsigned)v;
	return 0;
}

/* The factor of a suffix, 0 for none that we know. */
static uint64_t unit_of(const char *suffix)
{
	static const char letters[] = "KMG";
	uint64_t factor = 1, base = 1000;
	size_t n = strlen(suffix);

	if (n && strchr("Bb", suffix[n - 1]))
		n--;
	if (n == 2 && suffix[1] == 'i')
		base = 1024;
	else if (n > 1)
		return 0;
	if (!n)
		return 1;
	for (const char *l = letters; *l; l++) {
		factor *= base;
		if (!strncasecmp(suffix, l, 1))
			return factor;
	}
	return 0;
}

int cli_parse_size(const char *option, const char *text, uint64_t *out, struct k3_err *e)
{
	const char *end;
	uint64_t v, unit;

	if (take_digits(text, &end, &v)) {
		unit = unit_of(end);
		if (unit && !__builtin_mul_overflow(v, unit, out))
			return 0;
	}
	k3_fail(e, K3_USAGE, "--%s is a size, not \"%s\"", option, text);
	return k3_hint(e, "such as 16MiB, 500M or 0");
}

static const struct {
	const char *name;
	unsigned ms;
} units[] = { { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 }, { "", 1000 } };

/* "24h", "1s", "500ms": in the largest unit that fits. */
static void print_time(unsigned ms, char *out, size_t size)
{
	size_t i = 0;

	while (ms && ms % units[i].ms)
		i++;
	snprintf(out, size, "%u%s", ms / units[i].ms, ms ? units[i].name : "");
}

int cli_parse_time(const char *option, const char *text, unsigned low, unsigned high, unsigned *ms,
		   struct k3_err *e)
{
	char from[16], to[16];
	const char *end;
	uint64_t v;

	for (size_t i = 0; take_digits(text, &end, &v) && i < K3_ARRAY_LEN(units); i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(v, units[i].ms, &v) || v < low || v > high)
			break;
		*ms = (unsigned)v;
		return 0;
	}
	print_time(low, from, sizeof(from));
	print_time(high, to, sizeof(to));
	k3_fail(e, K3_USAGE, "--%s is a time from %s to %s, not \"%s\"", option, from, to, text);
	return k3_hint(e, "such as 90s, 5m or 1h");
}
