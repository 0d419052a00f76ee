/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decompressed stream: decoded ahead of its reader on a thread of its own, as soon as it
 * is longer than one chunk, and hashed by whichever of the two has time.  Private to unpack/.
 */
#ifndef K3_UNPACK_STREAM_H
#define K3_UNPACK_STREAM_H

#include "unpack/unpack.h"

struct stream;

K3_MUST int stream_open(struct stream **out, enum oci_media media, struct unpack_src src,
			const struct unpack_opts *o, enum k3_hash_alg alg, struct k3_err *e);
/* An unpack_src over the stream; arg is the struct stream. */
K3_MUST int stream_next(void *arg, const uint8_t **p, size_t *n, struct k3_err *e);
/* Nobody will ask for the digest: before the first byte is read. */
void stream_skip_hash(struct stream *s);
/* Reads to the end; then the digest and length of everything. */
K3_MUST int stream_finish(struct stream *s, struct oci_digest *got, uint64_t *bytes,
			  struct k3_err *e);
void stream_freep(struct stream **s); /* waits for the thread */

#endif
