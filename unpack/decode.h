/* SPDX-License-Identifier: Apache-2.0 */
/* From the bytes of a blob to the bytes of a tar stream.  Private to unpack/. */
#ifndef K3_UNPACK_DECODE_H
#define K3_UNPACK_DECODE_H

#include "unpack/unpack.h"

struct decode_in {
	const uint8_t *p;
	size_t n;
};

/* A decompressor of one member (gzip) or frame (zstd) at a time. */
struct decode_backend {
	const char *what;
	/* NULL when memory is out. */
	void *(*open)(const struct unpack_limits *lim);
	/* Ready for the next member. */
	int (*start)(void *state, struct k3_err *e);
	/*
	 * Advances *in and writes up to cap bytes (*made of them).  *done: the member ended
	 * and its checksums hold.  Making no progress without input is no error.
	 */
	int (*run)(void *state, struct decode_in *in, uint8_t *out, size_t cap, size_t *made,
		   bool *done, struct k3_err *e);
	void (*close)(void *state);
};

extern const struct decode_backend decode_zlib;
extern const struct decode_backend decode_isal; /* only with K3_HAVE_ISAL */
extern const struct decode_backend decode_zstd;

#define DECODE_MAGIC 4

struct decode {
	struct unpack_src src;
	const struct decode_backend *backend; /* NULL: plain */
	void *state;
	struct decode_in in, later; /* being read; then what src.next gave besides */
	uint8_t head[DECODE_MAGIC]; /* looked at to choose the backend */
	uint64_t members;
	uint64_t taken; /* bytes that src.next gave */
	bool src_over;  /* src.next said so: it is not called again */
	bool src_end;   /* ... and everything it gave is consumed */
	bool inside, padding;
};

/*
 * Chooses how to decode (docs/unpack.md) and reads the first bytes of the source for
 * it.  gzip: the backend for gzip, NULL = the fastest built in.
 */
K3_MUST int decode_open(struct decode *d, enum oci_media media, struct unpack_src src,
			const struct unpack_limits *lim, const struct decode_backend *gzip,
			struct k3_err *e);
/* Fills out completely unless the stream ends; *n = 0 is its end.  K3_FORMAT, K3_LIMIT. */
K3_MUST int decode_read(struct decode *d, uint8_t *out, size_t cap, size_t *n, struct k3_err *e);
void decode_release(struct decode *d);

#endif
