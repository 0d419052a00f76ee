/* SPDX-License-Identifier: Apache-2.0 */
/* The two meta pages: which state of the file is current. */
#ifndef K3_BOLT_META_H
#define K3_BOLT_META_H

#include <stdint.h>

#include "base/err.h"

#define BOLT_META_BYTES 80u /* page header and meta fields */
#define BOLT_NO_FREELIST UINT64_MAX
#define BOLT_PAGE_SIZE_MIN 1024u
#define BOLT_PAGE_SIZE_MAX (1024u << 14) /* where bbolt stops looking for meta page 1 */
#define BOLT_NEW_PAGES 4u                /* two metas, freelist, root leaf */
/* Bound our one byte per page, what a commit may ftruncate to, and what is mapped. */
#define BOLT_PAGES_MAX (UINT64_C(1) << 26) /* 256 GiB at 4096 bytes */
#define BOLT_BYTES_MAX (UINT64_C(1) << 40)

struct bolt_meta {
	uint32_t page_size;
	uint64_t root;       /* root page of the root bucket */
	uint64_t sequence;   /* of the root bucket */
	uint64_t freelist;   /* page or BOLT_NO_FREELIST */
	uint64_t high_water; /* first page never used */
	uint64_t txid;
	unsigned slot; /* page 0 or 1 it was read from; not stored */
};

/*
 * Finds the current meta of a file by reading it.
 * K3_STORE: not a database, no valid meta, unknown version, impossible numbers.
 */
K3_MUST int bolt_meta_load(int fd, uint64_t file_size, struct bolt_meta *out, struct k3_err *e);

/* How many pages a file may have. */
uint64_t bolt_meta_pages_max(const struct bolt_meta *m);

/* Writes page header and meta to p (BOLT_META_BYTES), for page m->slot. */
void bolt_meta_encode(const struct bolt_meta *m, uint8_t *p);

/* The content of a new database: p has BOLT_NEW_PAGES * page_size bytes. */
void bolt_meta_new_image(uint8_t *p, uint32_t page_size);

#endif
