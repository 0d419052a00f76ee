/* SPDX-License-Identifier: Apache-2.0 */

#include "oci/oci.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/mem.h"

#define FIRST_CAP 64 /* a power of two */

static struct oci_map_slot *find(struct oci_map_slot *slots, size_t cap,
				 const struct oci_digest *key)
{
	size_t i = (size_t)k3_load64le(key->hash) & (cap - 1);

	while (slots[i].key && !oci_digest_eq(slots[i].key, key))
		i = (i + 1) & (cap - 1);
	return &slots[i];
}

void *oci_map_get(const struct oci_map *m, const struct oci_digest *key)
{
	return m->cap ? find(m->slots, m->cap, key)->value : NULL;
}

static void grow(struct oci_map *m)
{
	size_t cap = m->cap ? 2 * m->cap : FIRST_CAP;
	struct oci_map_slot *slots = k3_xcalloc(cap, sizeof(*slots));

	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].key)
			*find(slots, cap, m->slots[i].key) = m->slots[i];
	free(m->slots);
	m->slots = slots;
	m->cap = cap;
}

void oci_map_put(struct oci_map *m, const struct oci_digest *key, void *value)
{
	if (2 * (m->used + 1) > m->cap)
		grow(m);
	*find(m->slots, m->cap, key) = (struct oci_map_slot){ key, value };
	m->used++;
}

void oci_map_release(struct oci_map *m)
{
	free(m->slots);
	*m = (struct oci_map){ 0 };
}
