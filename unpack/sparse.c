/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack/sparse.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/mem.h"

void sparse_reset(struct sparse *s)
{
	s->n = 0;
	s->half = s->present = false;
}

void sparse_release(struct sparse *s)
{
	free(s->parts);
	s->parts = NULL;
	s->n = s->cap = 0;
}

int sparse_add(struct sparse *s, uint64_t off, uint64_t len, struct k3_err *e)
{
	uint64_t end, before = 0;

	if (s->n)
		before = s->parts[s->n - 1].off + s->parts[s->n - 1].len;
	if (!k3_add_u64(off, len, &end) || end > INT64_MAX || off < before)
		return k3_fail(e, K3_FORMAT, "sparse file map out of order");
	if (s->n == s->max)
		return k3_fail(e, K3_LIMIT, "sparse file map of more than %zu parts", s->max);
	s->parts = k3_xgrow(s->parts, s->n, &s->cap, sizeof(*s->parts));
	s->parts[s->n++] = (struct sparse_part){ off, len };
	return 0;
}

int sparse_add_number(struct sparse *s, uint64_t v, struct k3_err *e)
{
	if (s->half) {
		struct sparse_part *last = &s->parts[--s->n];

		s->half = false;
		return sparse_add(s, last->off, v, e);
	}
	s->half = true;
	return sparse_add(s, v, 0, e);
}

int sparse_add_text(struct sparse *s, const char *p, size_t n, struct k3_err *e)
{
	uint64_t v = 0;
	bool digits = false;

	for (size_t i = 0; i <= n; i++) {
		if (i < n && p[i] >= '0' && p[i] <= '9' && v <= INT64_MAX / 10 - 1) {
			v = v * 10 + (uint64_t)(p[i] - '0');
			digits = true;
			continue;
		}
		if (!digits || (i < n && p[i] != ','))
			return k3_fail(e, K3_FORMAT, "malformed sparse file map");
		if (sparse_add_number(s, v, e))
			return -1;
		v = 0;
		digits = false;
	}
	return 0;
}

int sparse_check(const struct sparse *s, uint64_t size, uint64_t stored, struct k3_err *e)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->n; i++)
		sum += s->parts[i].len; /* ordered parts below 2^63: cannot overflow */
	if (s->half || sum != stored)
		return k3_fail(e, K3_FORMAT, "sparse file map and stored data differ in length");
	if (s->n && s->parts[s->n - 1].off + s->parts[s->n - 1].len > size)
		return k3_fail(e, K3_FORMAT, "sparse file map beyond the end of the file");
	return 0;
}
