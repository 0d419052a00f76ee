/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed bytes into a file, in one member or frame.  Private to archive/. */
#ifndef K3_ARCHIVE_ENCODE_H
#define K3_ARCHIVE_ENCODE_H

#include "archive/archive.h"

/* A compressor.  Output of at most cap bytes a call; *made = 0 asks for more input. */
struct encode_backend {
	void *(*open)(void); /* NULL when memory is out */
	/*
	 * Takes *n bytes at *p, as far as there is room for what they become.  end: nothing comes
	 * behind them; *done says that all is out.
	 */
	int (*run)(void *state, const uint8_t **p, size_t *n, bool end, uint8_t *out, size_t cap,
		   size_t *made, bool *done, struct k3_err *e);
	void (*close)(void *state);
};

extern const struct encode_backend encode_gzip;
extern const struct encode_backend encode_zstd;

struct encode {
	const struct encode_backend *backend; /* NULL: plain */
	void *state;
	int fd;           /* borrowed */
	const char *what; /* how messages call the file; borrowed */
	uint8_t *out;     /* what is not written yet */
	size_t used;
};

K3_MUST int encode_open(struct encode *c, enum layout_packing packing, int fd, const char *what,
			struct k3_err *e);
K3_MUST int encode_write(struct encode *c, const void *p, size_t n, struct k3_err *e);
/* Writes the rest.  The file is the caller's to flush and close. */
K3_MUST int encode_end(struct encode *c, struct k3_err *e);
void encode_release(struct encode *c);

#endif
