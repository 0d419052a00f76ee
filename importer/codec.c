/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/codec.h"

#include "base/bytes.h"

/* Seconds from 0001-01-01, where Go counts from, to 1970-01-01. */
#define GO_EPOCH 62135596800LL

size_t imp_put_uvarint(uint64_t v, uint8_t out[IMP_VARINT_MAX])
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		out[n++] = (uint8_t)(v | 0x80);
	out[n++] = (uint8_t)v;
	return n;
}

size_t imp_put_varint(int64_t v, uint8_t out[IMP_VARINT_MAX])
{
	uint64_t zigzag = (uint64_t)v << 1;

	return imp_put_uvarint(v < 0 ? ~zigzag : zigzag, out);
}

bool imp_get_uvarint(struct bolt_val v, uint64_t *out)
{
	const uint8_t *p = v.p;
	uint64_t u = 0;

	for (size_t i = 0; i < v.n && i < IMP_VARINT_MAX; i++) {
		if (i == IMP_VARINT_MAX - 1 && p[i] > 1)
			return false;
		u |= (uint64_t)(p[i] & 0x7f) << 7 * i;
		if (p[i] < 0x80) {
			*out = u;
			return true;
		}
	}
	return false;
}

bool imp_get_varint(struct bolt_val v, int64_t *out)
{
	uint64_t u;

	if (!imp_get_uvarint(v, &u))
		return false;
	*out = (int64_t)(u >> 1 ^ (0 - (u & 1)));
	return true;
}

void imp_put_time(const struct timespec *t, uint8_t out[IMP_TIME_LEN])
{
	out[0] = 1;
	k3_store64be(out + 1, (uint64_t)(t->tv_sec + GO_EPOCH));
	k3_store32be(out + 9, (uint32_t)t->tv_nsec);
	out[13] = out[14] = 0xff; /* zone offset -1: UTC */
}

bool imp_get_time(struct bolt_val v, int64_t *unix_seconds)
{
	const uint8_t *p = v.p;
	uint64_t s = 0;

	/* Version 2 has one more byte for zones with seconds in their offset. */
	if (!(v.n == IMP_TIME_LEN && p[0] == 1) && !(v.n == IMP_TIME_LEN + 1 && p[0] == 2))
		return false;
	for (int i = 1; i <= 8; i++)
		s = s << 8 | p[i];
	*unix_seconds = (int64_t)(s - (uint64_t)GO_EPOCH);
	return true;
}
