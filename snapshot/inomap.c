/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/mem.h"
#include "snapshot/tree.h"

#define FIRST_CAP 256

static struct inomap_item *find(const struct inomap *m, ino_t ino)
{
	/* Fibonacci hashing: inode numbers come in runs. */
	size_t i = (ino * 0x9e3779b97f4a7c15ull >> 20) & (m->cap - 1);

	while (m->items[i].ino && m->items[i].ino != ino)
		i = (i + 1) & (m->cap - 1);
	return &m->items[i];
}

static void grow(struct inomap *m)
{
	struct inomap wide = { .cap = m->cap ? 2 * m->cap : FIRST_CAP, .n = m->n };

	wide.items = k3_xcalloc(wide.cap, sizeof(*wide.items));
	for (size_t i = 0; i < m->cap; i++)
		if (m->items[i].ino)
			*find(&wide, m->items[i].ino) = m->items[i];
	free(m->items);
	*m = wide;
}

uint64_t *inomap_at(struct inomap *m, ino_t ino, bool *fresh)
{
	if (m->n >= m->cap / 4 * 3)
		grow(m);
	struct inomap_item *it = find(m, ino);

	*fresh = !it->ino;
	m->n += *fresh;
	it->ino = ino;
	return &it->value;
}

/* A set is a map from a run of inode numbers, plus 1, to a bit for each of the run. */
#define RUN 64u

void inoset_add(struct inomap *m, ino_t ino)
{
	bool fresh;

	*inomap_at(m, ino / RUN + 1, &fresh) |= 1ull << ino % RUN;
}

bool inoset_has(const struct inomap *m, ino_t ino)
{
	/* A free item has no bits. */
	return m->cap && find(m, ino / RUN + 1)->value >> ino % RUN & 1;
}

void inoset_merge(struct inomap *m, const struct inomap *more)
{
	bool fresh;

	for (size_t i = 0; i < more->cap; i++)
		if (more->items[i].ino)
			*inomap_at(m, more->items[i].ino, &fresh) |= more->items[i].value;
}

void inomap_release(struct inomap *m)
{
	free(m->items);
	*m = (struct inomap){ 0 };
}
