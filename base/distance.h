/* SPDX-License-Identifier: Apache-2.0 */
/* How unlike two words are, for "did you mean". */
#ifndef K3_BASE_DISTANCE_H
#define K3_BASE_DISTANCE_H

#include <stddef.h>

#define K3_DISTANCE_MAX 64u /* bytes of a word that are compared: names of images fit */

/* The number of edits (a byte put in, taken out or changed) that make one of the other. */
size_t k3_distance(const char *a, const char *b);

#endif
