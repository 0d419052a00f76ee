/* SPDX-License-Identifier: Apache-2.0 */
/* A set of page numbers below a fixed bound. */
#ifndef K3_BOLT_PAGESET_H
#define K3_BOLT_PAGESET_H

#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"

struct bolt_pageset {
	uint64_t *words;
	uint64_t n; /* pages 0 ... n - 1 */
};

K3_MUST static inline int bolt_pageset_init(struct bolt_pageset *s, uint64_t n, struct k3_err *e)
{
	s->n = n;
	s->words = calloc((size_t)(n / 64 + 1), sizeof(*s->words));
	if (!s->words)
		return k3_fail(e, K3_NOMEM, "no memory for a set of pages");
	return 0;
}

static inline void bolt_pageset_release(struct bolt_pageset *s)
{
	free(s->words);
	s->words = NULL;
}

static inline bool bolt_pageset_has(const struct bolt_pageset *s, uint64_t id)
{
	return id < s->n && s->words[id / 64] >> id % 64 & 1;
}

static inline void bolt_pageset_add(struct bolt_pageset *s, uint64_t id)
{
	if (id < s->n)
		s->words[id / 64] |= UINT64_C(1) << id % 64;
}

static inline void bolt_pageset_remove(struct bolt_pageset *s, uint64_t id)
{
	if (id < s->n)
		s->words[id / 64] &= ~(UINT64_C(1) << id % 64);
}

#endif
