/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and times as Go writes them: encoding/binary varints, time.Time.MarshalBinary. */
#ifndef K3_IMPORTER_CODEC_H
#define K3_IMPORTER_CODEC_H

#include <stdint.h>
#include <time.h>

#include "bolt/bolt.h"

#define IMP_VARINT_MAX 10
#define IMP_TIME_LEN 15

/* Return the number of bytes written. */
size_t imp_put_uvarint(uint64_t v, uint8_t out[IMP_VARINT_MAX]);
size_t imp_put_varint(int64_t v, uint8_t out[IMP_VARINT_MAX]);
/* false: absent, cut off or longer than 64 bits.  Bytes behind are ignored, as Go does. */
bool imp_get_uvarint(struct bolt_val v, uint64_t *out);
bool imp_get_varint(struct bolt_val v, int64_t *out);
void imp_put_time(const struct timespec *t, uint8_t out[IMP_TIME_LEN]); /* in UTC */
bool imp_get_time(struct bolt_val v, int64_t *unix_seconds);

#endif
