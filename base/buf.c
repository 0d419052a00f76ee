/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 256

int k3_buf_reserve(struct k3_buf *b, size_t n, struct k3_err *e)
{
	if (n > b->max - b->len || n == SIZE_MAX - b->len)
		return k3_fail(e, K3_LIMIT, "more than the limit of %zu bytes", b->max);
	size_t need = b->len + n + 1;

	if (need <= b->cap)
		return 0;
	size_t cap = b->cap ? b->cap : FIRST_CAP;

	while (cap < need)
		cap = cap < SIZE_MAX / 2 ? 2 * cap : need;
	if (cap - 1 > b->max)
		cap = b->max + 1;
	uint8_t *p = realloc(b->p, cap);

	if (!p)
		return k3_fail(e, K3_NOMEM, "no memory for a buffer of %zu bytes", cap);
	b->p = p;
	b->cap = cap;
	b->p[b->len] = 0;
	return 0;
}

int k3_buf_add(struct k3_buf *b, const void *src, size_t n, struct k3_err *e)
{
	if (k3_buf_reserve(b, n, e))
		return -1;
	if (n)
		memcpy(b->p + b->len, src, n);
	b->len += n;
	b->p[b->len] = 0;
	return 0;
}

int k3_buf_addf(struct k3_buf *b, struct k3_err *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return k3_fail(e, K3_BUG, "cannot format \"%s\"", fmt);
	if (k3_buf_reserve(b, (size_t)n, e))
		return -1;
	va_start(ap, fmt);
	vsnprintf((char *)b->p + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
	return 0;
}

void k3_buf_reset(struct k3_buf *b)
{
	b->len = 0;
	if (b->p)
		b->p[0] = 0;
}

void k3_buf_release(struct k3_buf *b)
{
	free(b->p);
	b->p = NULL;
	b->len = b->cap = 0;
}

struct k3_buf k3_buf_steal(struct k3_buf *b)
{
	struct k3_buf stolen = *b;

	*b = K3_BUF(stolen.max);
	return stolen;
}
