/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/buf.h"

TEST(buf_grows_and_ends_with_nul)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(100000);
	struct k3_err err;

	for (int i = 0; i < 10000; i++)
		OK(k3_buf_add(&b, "abc", 3, &err));
	EQ_INT(b.len, 30000);
	EQ_INT(b.p[b.len], 0);
	EQ_INT(strlen((char *)b.p), 30000);
	EQ_INT(memcmp(b.p + 29997, "abc", 3), 0);
}

TEST(buf_limit_is_exact)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(5);
	struct k3_err err;

	OK(k3_buf_add(&b, "abcd", 4, &err));
	FAILS(k3_buf_add(&b, "ef", 2, &err), K3_LIMIT);
	HAS_STR(err.msg, "5 bytes");
	EQ_INT(b.len, 4);
	EQ_STR((char *)b.p, "abcd");
	OK(k3_buf_add(&b, "e", 1, &err));
	FAILS(k3_buf_add(&b, "f", 1, &err), K3_LIMIT);
	OK(k3_buf_add(&b, "", 0, &err));
	FAILS(k3_buf_reserve(&b, SIZE_MAX, &err), K3_LIMIT);
	EQ_STR((char *)b.p, "abcde");
}

TEST(buf_zero_limit)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(0);
	struct k3_err err;

	OK(k3_buf_add(&b, NULL, 0, &err));
	FAILS(k3_buf_add(&b, "a", 1, &err), K3_LIMIT);
	EQ_INT(b.len, 0);
}

/* A limit of all there is must not wrap to a buffer of no bytes. */
TEST(buf_without_limit)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(SIZE_MAX);
	struct k3_err err;

	FAILS(k3_buf_reserve(&b, SIZE_MAX, &err), K3_LIMIT);
	OK(k3_buf_add(&b, "a", 1, &err));
	EQ_STR((char *)b.p, "a");
	FAILS(k3_buf_reserve(&b, SIZE_MAX, &err), K3_LIMIT);
	FAILS(k3_buf_reserve(&b, SIZE_MAX - 1, &err), K3_LIMIT);
}

TEST(buf_addf)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(8);
	struct k3_err err;

	OK(k3_buf_addf(&b, &err, "%s-%d", "ab", 12));
	EQ_STR((char *)b.p, "ab-12");
	FAILS(k3_buf_addf(&b, &err, "%d", 1234), K3_LIMIT);
	EQ_STR((char *)b.p, "ab-12");
	OK(k3_buf_addf(&b, &err, "%d", 123));
	EQ_INT(b.len, 8);
	EQ_STR((char *)b.p, "ab-12123");
	OK(k3_buf_addf(&b, &err, "%s", ""));
}

TEST(buf_reset_and_release)
{
	struct k3_buf b = K3_BUF(10);
	struct k3_err err;

	k3_buf_reset(&b);
	OK(k3_buf_reserve(&b, 10, &err));
	EQ_INT(b.len, 0);
	OK(k3_buf_add(&b, "abc", 3, &err));
	k3_buf_reset(&b);
	EQ_INT(b.len, 0);
	EQ_STR((char *)b.p, "");
	k3_buf_release(&b);
	CHECK(b.p == NULL);
	OK(k3_buf_add(&b, "0123456789", 10, &err));
	k3_buf_release(&b);
	k3_buf_release(&b);
}

UNIT_MAIN
