/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of words: gathered, sorted once, then asked. */
#ifndef K3_IMPORTER_WORDSET_H
#define K3_IMPORTER_WORDSET_H

#include <stdbool.h>
#include <stddef.h>

struct wordset {
	char **v;
	size_t n, cap;
};

void wordset_release(struct wordset *w);
void wordset_add(struct wordset *w, char *word);             /* takes the word */
void wordset_sort(struct wordset *w);                        /* each word once from now on */
bool wordset_has(const struct wordset *w, const char *word); /* sorted */

#endif
