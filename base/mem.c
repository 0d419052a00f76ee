/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *check_oom(void *p)
{
	static const char text[] = "k3simg: error: out of memory\n";

	if (p)
		return p;
	/* No allocation and no stdio lock on this path. */
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(1);
	abort();
}

void *k3_xcalloc(size_t n, size_t size)
{
	return check_oom(calloc(n ? n : 1, size ? size : 1));
}

void *k3_xrealloc(void *p, size_t n, size_t size)
{
	return check_oom(reallocarray(p, n ? n : 1, size ? size : 1));
}

void *k3_xgrow(void *p, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return p;
	*cap = *cap ? 2 * *cap : 16;
	return k3_xrealloc(p, *cap, size);
}

char *k3_xstrdup(const char *s)
{
	return check_oom(strdup(s));
}

char *k3_xstrndup(const char *s, size_t n)
{
	return check_oom(strndup(s, n));
}

char *k3_xasprintf(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return check_oom(s);
}

char *k3_xvasprintf(size_t max, const char *fmt, va_list ap)
{
	char *s = NULL;
	int n = vasprintf(&s, fmt, ap);

	if (n >= 0 && (size_t)n > max)
		s[max] = '\0';
	return check_oom(n < 0 ? NULL : s);
}

void k3_freep(void *pp)
{
	void **p = pp;

	free(*p);
	*p = NULL;
}

void k3_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}
