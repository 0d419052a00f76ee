/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory and cleanup.
 *
 * Small sizes that we choose come from the k3_x* functions, which end the process when
 * memory is out: nothing is published yet at that point, so staging makes it harmless.
 * Sizes that input chooses go through struct k3_buf (base/buf.h), which has a ceiling
 * and returns errors.
 */
#ifndef K3_BASE_MEM_H
#define K3_BASE_MEM_H

#include <stdarg.h>
#include <stdint.h>

#include "base/err.h"

/* Zeroed; n * size is checked for overflow; never NULL (n = 0 gives 1 byte). */
void *k3_xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
/* Resized array of n elements of size bytes each; new bytes are not cleared. */
void *k3_xrealloc(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
char *k3_xstrdup(const char *s) __attribute__((returns_nonnull));
char *k3_xstrndup(const char *s, size_t n) __attribute__((returns_nonnull));
char *k3_xasprintf(const char *fmt, ...) K3_PRINTF(1, 2) __attribute__((returns_nonnull));
/* The same, cut to at most `max` bytes: for lines that foreign text could make long. */
char *k3_xvasprintf(size_t max, const char *fmt, va_list ap) K3_PRINTF(2, 0)
	__attribute__((returns_nonnull));

/*
 * Makes room for one more element in a growing array: *p has *cap elements of size bytes,
 * n are used.  For arrays whose length is bounded elsewhere.
 */
void *k3_xgrow(void *p, size_t n, size_t *cap, size_t size) __attribute__((returns_nonnull));

void k3_freep(void *pp); /* pp: address of a pointer; frees and clears it */
void k3_closep(int *fd); /* closes a valid fd, ignoring errors: failure paths only */

/* Failure paths are released by attribute, success paths steal. */
#define K3_AUTO_FREE __attribute__((cleanup(k3_freep)))
#define K3_AUTO_FD __attribute__((cleanup(k3_closep)))
#define K3_STEAL(p)                                                                                \
	(__extension__({                                                                           \
		__typeof__(p) stolen_ = (p);                                                       \
		(p) = NULL;                                                                        \
		stolen_;                                                                           \
	}))
static inline int k3_steal_fd(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}

#define K3_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
