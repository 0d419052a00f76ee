/* SPDX-License-Identifier: Apache-2.0 */
/* The byte range of an answer. */
#ifndef K3_FETCH_BLOB_H
#define K3_FETCH_BLOB_H

#include <stdbool.h>
#include <stdint.h>

/* Content-Range of a 206. */
struct blob_range {
	uint64_t first, last;
	uint64_t total; /* UINT64_MAX = "*" */
};

/* Parses "bytes first-last/total"; false for anything else, also first > last or >= total. */
bool blob_range_parse(const char *s, struct blob_range *out);

#endif
