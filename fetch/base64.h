/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648, 4) of credentials.  Pure. */
#ifndef K3_FETCH_BASE64_H
#define K3_FETCH_BASE64_H

#include <stddef.h>

/* Bytes of one password or token: those of clouds have been seen with 4 KiB. */
#define BASE64_SECRET_MAX (64u << 10)

/*
 * Text without NUL inside, or NULL when it is none or longer than the limit.  Padding may be
 * missing, and NULs at the end are dropped, as old docker files have it.  Caller wipes and frees.
 */
char *base64_decode(const char *s);
/* With padding.  Caller wipes and frees. */
char *base64_encode(const char *s, size_t n);

#endif
