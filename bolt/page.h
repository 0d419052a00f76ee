/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One page: looking into the bytes of a branch or leaf, and laying one out.
 *
 * A struct bolt_page exists only after its element table has been checked, so that the
 * accessors need no bounds of their own.
 */
#ifndef K3_BOLT_PAGE_H
#define K3_BOLT_PAGE_H

#include <stdint.h>

#include "base/err.h"
#include "bolt/bolt.h"

#define BOLT_PAGE_HEADER 16u
#define BOLT_ELEMENT 16u       /* both kinds of element */
#define BOLT_BUCKET_HEADER 16u /* root page, sequence */
#define BOLT_COUNT_MAX 65534u  /* 65535 marks a long freelist */

enum {
	BOLT_PAGE_BRANCH = 0x01,
	BOLT_PAGE_LEAF = 0x02,
	BOLT_PAGE_META = 0x04,
	BOLT_PAGE_FREELIST = 0x10,
};

#define BOLT_ELEMENT_BUCKET 1u /* leaf element flag */

struct bolt_page_head {
	uint64_t id;
	uint32_t flags;
	uint32_t count;
	uint32_t overflow;
};

struct bolt_page {
	const uint8_t *p;
	uint64_t id; /* 0: the image inside an inline bucket */
	uint32_t n;
	uint32_t overflow;
	bool leaf;
};

/* p has at least BOLT_PAGE_HEADER bytes. */
void bolt_page_head_read(const uint8_t *p, struct bolt_page_head *h);
void bolt_page_head_write(uint8_t *p, const struct bolt_page_head *h);

/*
 * Checks header kind and element table of a branch or leaf of len bytes: everything in
 * bounds, keys not empty and ascending, no more data than the page has room for (so that
 * a small file cannot describe huge content).  K3_STORE.
 */
K3_MUST int bolt_page_parse(const uint8_t *p, size_t len, struct bolt_page *out, struct k3_err *e);
/* As bolt_page_parse without walking the elements: for pages that passed it before. */
K3_MUST int bolt_page_reparse(const uint8_t *p, size_t len, struct bolt_page *out,
			      struct k3_err *e);
/* The page image after the header of an inline bucket: a leaf without sub-buckets. */
K3_MUST int bolt_page_parse_inline(const uint8_t *p, size_t len, struct bolt_page *out,
				   struct k3_err *e);

/* One element at el; key and value sizes were checked to fit 32 bits. */
void bolt_page_leaf_write(uint8_t *el, bool is_bucket, size_t pos, size_t ksize, size_t vsize);
void bolt_page_branch_write(uint8_t *el, size_t pos, size_t ksize, uint64_t child);

struct bolt_val bolt_page_key(const struct bolt_page *pg, uint32_t i);
struct bolt_val bolt_page_value(const struct bolt_page *pg, uint32_t i); /* leaf */
uint64_t bolt_page_child(const struct bolt_page *pg, uint32_t i);        /* branch */
bool bolt_page_is_bucket(const struct bolt_page *pg, uint32_t i);        /* leaf */

/* As memcmp, the shorter first on a tie. */
int bolt_val_cmp(struct bolt_val a, struct bolt_val b);

#endif
