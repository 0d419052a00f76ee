/* SPDX-License-Identifier: Apache-2.0 */
#include "bolt/page.h"

#include <string.h>

#include "base/bytes.h"
#include "bolt/damage.h"

/* Field offsets inside an element; `pos` counts from the start of the element itself. */
enum { LEAF_FLAGS = 0, LEAF_POS = 4, LEAF_KSIZE = 8, LEAF_VSIZE = 12 };
enum { BRANCH_POS = 0, BRANCH_KSIZE = 4, BRANCH_CHILD = 8 };

void bolt_page_head_read(const uint8_t *p, struct bolt_page_head *h)
{
	h->id = k3_load64le(p);
	h->flags = k3_load16le(p + 8);
	h->count = k3_load16le(p + 10);
	h->overflow = k3_load32le(p + 12);
}

void bolt_page_head_write(uint8_t *p, const struct bolt_page_head *h)
{
	k3_store64le(p, h->id);
	k3_store16le(p + 8, (uint16_t)h->flags);
	k3_store16le(p + 10, (uint16_t)h->count);
	k3_store32le(p + 12, h->overflow);
}

int bolt_val_cmp(struct bolt_val a, struct bolt_val b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n ? memcmp(a.p, b.p, n) : 0;

	return order ? order : (a.n > b.n) - (a.n < b.n);
}

static const uint8_t *element(const struct bolt_page *pg, uint32_t i)
{
	return pg->p + BOLT_PAGE_HEADER + (size_t)BOLT_ELEMENT * i;
}

struct bolt_val bolt_page_key(const struct bolt_page *pg, uint32_t i)
{
	const uint8_t *el = element(pg, i);

	if (pg->leaf)
		return (struct bolt_val){ el + k3_load32le(el + LEAF_POS),
					  k3_load32le(el + LEAF_KSIZE) };
	return (struct bolt_val){ el + k3_load32le(el + BRANCH_POS),
				  k3_load32le(el + BRANCH_KSIZE) };
}

struct bolt_val bolt_page_value(const struct bolt_page *pg, uint32_t i)
{
	const uint8_t *el = element(pg, i);

	return (struct bolt_val){ el + k3_load32le(el + LEAF_POS) + k3_load32le(el + LEAF_KSIZE),
				  k3_load32le(el + LEAF_VSIZE) };
}

uint64_t bolt_page_child(const struct bolt_page *pg, uint32_t i)
{
	return k3_load64le(element(pg, i) + BRANCH_CHILD);
}

bool bolt_page_is_bucket(const struct bolt_page *pg, uint32_t i)
{
	return pg->leaf && k3_load32le(element(pg, i) + LEAF_FLAGS) == BOLT_ELEMENT_BUCKET;
}

void bolt_page_leaf_write(uint8_t *el, bool is_bucket, size_t pos, size_t ksize, size_t vsize)
{
	k3_store32le(el + LEAF_FLAGS, is_bucket ? BOLT_ELEMENT_BUCKET : 0);
	k3_store32le(el + LEAF_POS, (uint32_t)pos);
	k3_store32le(el + LEAF_KSIZE, (uint32_t)ksize);
	k3_store32le(el + LEAF_VSIZE, (uint32_t)vsize);
}

void bolt_page_branch_write(uint8_t *el, size_t pos, size_t ksize, uint64_t child)
{
	k3_store32le(el + BRANCH_POS, (uint32_t)pos);
	k3_store32le(el + BRANCH_KSIZE, (uint32_t)ksize);
	k3_store64le(el + BRANCH_CHILD, child);
}

/* Bounds of one element; adds its data size to *used. */
static int check_element(const struct bolt_page *pg, size_t len, uint32_t i, uint64_t *used,
			 struct k3_err *e)
{
	const uint8_t *el = element(pg, i);
	uint64_t room = len - (size_t)(el - pg->p);
	uint64_t pos = k3_load32le(el + (pg->leaf ? LEAF_POS : BRANCH_POS));
	uint64_t ksize = k3_load32le(el + (pg->leaf ? LEAF_KSIZE : BRANCH_KSIZE));
	uint64_t vsize = pg->leaf ? k3_load32le(el + LEAF_VSIZE) : 0;
	uint32_t flags = pg->leaf ? k3_load32le(el + LEAF_FLAGS) : 0;

	if (pos + ksize + vsize > room)
		return bolt_damaged(e, "element %u lies outside the page", i);
	if (!ksize || ksize > BOLT_KEY_MAX)
		return bolt_damaged(e, "element %u has a key of %u bytes", i, (unsigned)ksize);
	if (flags & ~BOLT_ELEMENT_BUCKET)
		return bolt_damaged(e, "element %u has unknown flags 0x%x", i, flags);
	if (flags == BOLT_ELEMENT_BUCKET && vsize < BOLT_BUCKET_HEADER)
		return bolt_damaged(e, "element %u is a bucket of only %u bytes", i,
				    (unsigned)vsize);
	*used += ksize + vsize;
	if (i && bolt_val_cmp(bolt_page_key(pg, i - 1), bolt_page_key(pg, i)) >= 0)
		return bolt_damaged(e, "key %u is not above the one before it", i);
	return 0;
}

int bolt_page_reparse(const uint8_t *p, size_t len, struct bolt_page *out, struct k3_err *e)
{
	struct bolt_page_head h;

	if (len < BOLT_PAGE_HEADER)
		return bolt_damaged(e, "too short for a page");
	bolt_page_head_read(p, &h);
	if (h.flags != BOLT_PAGE_LEAF && h.flags != BOLT_PAGE_BRANCH)
		return bolt_damaged(e, "neither branch nor leaf (flags 0x%x)", h.flags);
	if (h.count > (len - BOLT_PAGE_HEADER) / BOLT_ELEMENT)
		return bolt_damaged(e, "no room for its %u elements", h.count);
	if (h.flags == BOLT_PAGE_BRANCH && !h.count)
		return bolt_damaged(e, "branch without children");
	*out = (struct bolt_page){ .p = p,
				   .id = h.id,
				   .n = h.count,
				   .overflow = h.overflow,
				   .leaf = h.flags == BOLT_PAGE_LEAF };
	return 0;
}

int bolt_page_parse(const uint8_t *p, size_t len, struct bolt_page *out, struct k3_err *e)
{
	if (bolt_page_reparse(p, len, out, e))
		return -1;
	uint64_t used = BOLT_PAGE_HEADER + (uint64_t)out->n * BOLT_ELEMENT;

	for (uint32_t i = 0; i < out->n; i++)
		if (check_element(out, len, i, &used, e))
			return -1;
	if (used > len)
		return bolt_damaged(e, "its elements overlap");
	return 0;
}

int bolt_page_parse_inline(const uint8_t *p, size_t len, struct bolt_page *out, struct k3_err *e)
{
	if (bolt_page_parse(p, len, out, e))
		return k3_wrap(e, "inline bucket");
	if (!out->leaf)
		return bolt_damaged(e, "inline bucket: is a branch page");
	/* bbolt never looks for pages below an inline bucket: it would reuse them. */
	for (uint32_t i = 0; i < out->n; i++)
		if (bolt_page_is_bucket(out, i))
			return bolt_damaged(e, "inline bucket: holds a sub-bucket");
	out->id = 0;
	out->overflow = 0;
	return 0;
}
