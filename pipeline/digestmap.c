/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/digestmap.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/mem.h"

#define FIRST_CAP 64 /* a power of two */

static struct digestmap_slot *find(struct digestmap_slot *slots, size_t cap,
				   const struct oci_digest *key)
{
	size_t i = (size_t)k3_load64le(key->hash) & (cap - 1);

	while (slots[i].key && !oci_digest_eq(slots[i].key, key))
		i = (i + 1) & (cap - 1);
	return &slots[i];
}

void *digestmap_get(const struct digestmap *m, const struct oci_digest *key)
{
	return m->cap ? find(m->slots, m->cap, key)->value : NULL;
}

static void grow(struct digestmap *m)
{
	size_t cap = m->cap ? 2 * m->cap : FIRST_CAP;
	struct digestmap_slot *slots = k3_xcalloc(cap, sizeof(*slots));

	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].key)
			*find(slots, cap, m->slots[i].key) = m->slots[i];
	free(m->slots);
	m->slots = slots;
	m->cap = cap;
}

void digestmap_put(struct digestmap *m, const struct oci_digest *key, void *value)
{
	if (2 * (m->used + 1) > m->cap)
		grow(m);
	*find(m->slots, m->cap, key) = (struct digestmap_slot){ key, value };
	m->used++;
}

void digestmap_release(struct digestmap *m)
{
	free(m->slots);
	*m = (struct digestmap){ 0 };
}
