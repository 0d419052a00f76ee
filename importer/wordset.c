/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/wordset.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void wordset_release(struct wordset *w)
{
	for (size_t k = 0; k < w->n; k++)
		free(w->v[k]);
	free(w->v);
	*w = (struct wordset){ 0 };
}

void wordset_add(struct wordset *w, char *word)
{
	w->v = k3_xgrow(w->v, w->n, &w->cap, sizeof(char *));
	w->v[w->n++] = word;
}

static int word_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void wordset_sort(struct wordset *w)
{
	size_t used = 0;

	if (w->n)
		qsort(w->v, w->n, sizeof(char *), word_cmp);
	for (size_t k = 0; k < w->n; k++) {
		if (used && !strcmp(w->v[used - 1], w->v[k]))
			free(w->v[k]);
		else
			w->v[used++] = w->v[k];
	}
	w->n = used;
}

bool wordset_has(const struct wordset *w, const char *word)
{
	return w->n && bsearch(&word, w->v, w->n, sizeof(char *), word_cmp);
}
