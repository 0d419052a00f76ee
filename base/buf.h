/* SPDX-License-Identifier: Apache-2.0 */
/* A growable byte buffer that cannot be made without a ceiling. */
#ifndef K3_BASE_BUF_H
#define K3_BASE_BUF_H

#include <stdint.h>

#include "base/err.h"

struct k3_buf {
	uint8_t *p; /* always followed by a NUL that len does not count, once p is set */
	size_t len;
	size_t cap;
	size_t max; /* most bytes len may reach */
};

#define K3_BUF(maximum) ((struct k3_buf){ .max = (maximum) })
#define K3_AUTO_BUF __attribute__((cleanup(k3_buf_release)))

/* Appends n bytes.  K3_LIMIT past max (nothing is added), K3_NOMEM. */
K3_MUST int k3_buf_add(struct k3_buf *b, const void *src, size_t n, struct k3_err *e);
K3_MUST int k3_buf_addf(struct k3_buf *b, struct k3_err *e, const char *fmt, ...) K3_PRINTF(3, 4);
/* Makes room for n more bytes without changing len.  K3_LIMIT, K3_NOMEM. */
K3_MUST int k3_buf_reserve(struct k3_buf *b, size_t n, struct k3_err *e);
void k3_buf_reset(struct k3_buf *b); /* len = 0, memory kept */
/* Frees the memory; max stays, so the buffer may be used again. */
void k3_buf_release(struct k3_buf *b);

/* Moves the bytes out; the source stays usable and empty. */
struct k3_buf k3_buf_steal(struct k3_buf *b);

#endif
