/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/distance.h"

TEST(edits_are_counted)
{
	EQ_INT(k3_distance("", ""), 0);
	EQ_INT(k3_distance("nginx", "nginx"), 0);
	EQ_INT(k3_distance("nginx", "ngnix"), 2);
	EQ_INT(k3_distance("nginx", "nginxx"), 1);
	EQ_INT(k3_distance("redis", "rdis"), 1);
	EQ_INT(k3_distance("a", "xyz"), 3);
	EQ_INT(k3_distance("", "abc"), 3);
}

TEST(long_words_are_cut)
{
	char a[3 * K3_DISTANCE_MAX] = "", b[3 * K3_DISTANCE_MAX] = "";

	memset(a, 'a', sizeof(a) - 1);
	memset(b, 'b', sizeof(b) - 1);
	EQ_INT(k3_distance(a, b), K3_DISTANCE_MAX);
	memset(b, 'a', K3_DISTANCE_MAX);
	EQ_INT(k3_distance(a, b), 0);
}

UNIT_MAIN
