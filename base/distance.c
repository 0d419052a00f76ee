/* SPDX-License-Identifier: Apache-2.0 */
#include "base/distance.h"

#include <string.h>

size_t k3_distance(const char *a, const char *b)
{
	size_t la = strnlen(a, K3_DISTANCE_MAX), lb = strnlen(b, K3_DISTANCE_MAX);
	size_t row[K3_DISTANCE_MAX + 1];

	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[lb];
}
