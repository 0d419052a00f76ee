/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/hash.h"
#include "importer/codec.h"

static void is_varint(int64_t v, const char *want)
{
	uint8_t out[IMP_VARINT_MAX];
	char hex[2 * IMP_VARINT_MAX + 1];
	size_t n = imp_put_varint(v, out);
	int64_t back = 0;

	k3_hex(out, n, hex);
	EQ_STR(hex, want);
	CHECK(imp_get_varint((struct bolt_val){ out, n }, &back));
	EQ_INT(back, v);
}

TEST(signed_varints_as_go)
{
	is_varint(0, "00");
	is_varint(3, "06");
	is_varint(4, "08");
	is_varint(8, "10");
	is_varint(100, "c801");
	is_varint(416, "c006");
	is_varint(4096, "8040");
	is_varint(1048576, "80808001");
	is_varint(-1, "01");
	is_varint(INT64_MAX, "feffffffffffffffff01");
	is_varint(INT64_MIN, "ffffffffffffffffff01");
}

TEST(unsigned_varints_as_go)
{
	uint8_t out[IMP_VARINT_MAX];
	uint64_t back;

	EQ_INT(imp_put_uvarint(300, out), 2);
	EQ_INT(out[0], 0xac);
	EQ_INT(out[1], 0x02);
	EQ_INT(imp_put_uvarint(UINT64_MAX, out), 10);
	CHECK(imp_get_uvarint((struct bolt_val){ out, 10 }, &back));
	CHECK(back == UINT64_MAX);
}

TEST(broken_varints)
{
	static const uint8_t cut[] = { 0x80 };
	static const uint8_t big[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2 };
	static const uint8_t endless[] = { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
					   0x80, 0x80, 0x80, 0x80, 0x01 };
	uint64_t v;

	CHECK(!imp_get_uvarint((struct bolt_val){ NULL, 0 }, &v));
	CHECK(!imp_get_uvarint((struct bolt_val){ cut, 1 }, &v));
	CHECK(!imp_get_uvarint((struct bolt_val){ big, sizeof(big) }, &v));
	CHECK(!imp_get_uvarint((struct bolt_val){ endless, sizeof(endless) }, &v));
}

TEST(times_as_go)
{
	const struct timespec t = { 1704067200, 5 };
	uint8_t out[IMP_TIME_LEN];
	char hex[2 * IMP_TIME_LEN + 1];
	int64_t s;

	imp_put_time(&t, out);
	k3_hex(out, sizeof(out), hex);
	EQ_STR(hex, "010000000edd23f78000000005ffff");
	CHECK(imp_get_time((struct bolt_val){ out, sizeof(out) }, &s));
	EQ_INT(s, 1704067200);
	CHECK(!imp_get_time((struct bolt_val){ out, sizeof(out) - 1 }, &s));
	out[0] = 2;
	CHECK(!imp_get_time((struct bolt_val){ out, sizeof(out) }, &s));
	CHECK(!imp_get_time((struct bolt_val){ NULL, 0 }, &s));
}

UNIT_MAIN
