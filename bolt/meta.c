/* SPDX-License-Identifier: Apache-2.0 */
#include "bolt/meta.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "bolt/damage.h"
#include "bolt/page.h"

#define MAGIC 0xED0CDAEDu
#define VERSION 2u

/* Offsets in a meta page. */
enum {
	AT_MAGIC = 16,
	AT_VERSION = 20,
	AT_PAGE_SIZE = 24,
	AT_FLAGS = 28,
	AT_ROOT = 32,
	AT_SEQUENCE = 40,
	AT_FREELIST = 48,
	AT_HIGH_WATER = 56,
	AT_TXID = 64,
	AT_CHECKSUM = 72,
};

static uint64_t fnv1a(const uint8_t *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h;
}

void bolt_meta_encode(const struct bolt_meta *m, uint8_t *p)
{
	struct bolt_page_head head = { .id = m->slot, .flags = BOLT_PAGE_META };

	bolt_page_head_write(p, &head);
	k3_store32le(p + AT_MAGIC, MAGIC);
	k3_store32le(p + AT_VERSION, VERSION);
	k3_store32le(p + AT_PAGE_SIZE, m->page_size);
	k3_store32le(p + AT_FLAGS, 0);
	k3_store64le(p + AT_ROOT, m->root);
	k3_store64le(p + AT_SEQUENCE, m->sequence);
	k3_store64le(p + AT_FREELIST, m->freelist);
	k3_store64le(p + AT_HIGH_WATER, m->high_water);
	k3_store64le(p + AT_TXID, m->txid);
	k3_store64le(p + AT_CHECKSUM, fnv1a(p + AT_MAGIC, AT_CHECKSUM - AT_MAGIC));
}

void bolt_meta_new_image(uint8_t *p, uint32_t page_size)
{
	struct bolt_page_head head = { 0 };

	memset(p, 0, (size_t)BOLT_NEW_PAGES * page_size);
	for (unsigned i = 0; i < 2; i++) {
		struct bolt_meta m = { .page_size = page_size,
				       .root = 3,
				       .freelist = 2,
				       .high_water = BOLT_NEW_PAGES,
				       .txid = i,
				       .slot = i };

		bolt_meta_encode(&m, p + (size_t)i * page_size);
	}
	head.id = 2;
	head.flags = BOLT_PAGE_FREELIST;
	bolt_page_head_write(p + (size_t)2 * page_size, &head);
	head.id = 3;
	head.flags = BOLT_PAGE_LEAF;
	bolt_page_head_write(p + (size_t)3 * page_size, &head);
}

enum verdict { META_GOOD, META_BAD, META_VERSION, META_PAGE_SIZE };

static enum verdict decode(const uint8_t *p, unsigned slot, struct bolt_meta *m)
{
	if (k3_load32le(p + AT_MAGIC) != MAGIC)
		return META_BAD;
	if (k3_load32le(p + AT_VERSION) != VERSION)
		return META_VERSION;
	if (k3_load64le(p + AT_CHECKSUM) != fnv1a(p + AT_MAGIC, AT_CHECKSUM - AT_MAGIC))
		return META_BAD;
	*m = (struct bolt_meta){ .page_size = k3_load32le(p + AT_PAGE_SIZE),
				 .root = k3_load64le(p + AT_ROOT),
				 .sequence = k3_load64le(p + AT_SEQUENCE),
				 .freelist = k3_load64le(p + AT_FREELIST),
				 .high_water = k3_load64le(p + AT_HIGH_WATER),
				 .txid = k3_load64le(p + AT_TXID),
				 .slot = slot };
	if (m->page_size < BOLT_PAGE_SIZE_MIN || m->page_size > BOLT_PAGE_SIZE_MAX ||
	    m->page_size & (m->page_size - 1))
		return META_PAGE_SIZE;
	return META_GOOD;
}

/* *v says what is at that offset; fails only if it cannot be read. */
static int read_meta(int fd, uint64_t offset, unsigned slot, struct bolt_meta *m, enum verdict *v,
		     struct k3_err *e)
{
	uint8_t raw[BOLT_META_BYTES];
	ssize_t n = pread(fd, raw, sizeof(raw), (off_t)offset);

	if (n < 0)
		return k3_fail_sys(e, errno, "cannot read meta page %u", slot);
	*v = n == (ssize_t)sizeof(raw) ? decode(raw, slot, m) : META_BAD;
	return 0;
}

/* Meta 1 when meta 0 is broken: its place depends on the page size it tells itself. */
static int probe_second(int fd, struct bolt_meta *m, enum verdict *v, struct k3_err *e)
{
	for (uint32_t size = BOLT_PAGE_SIZE_MIN; size <= BOLT_PAGE_SIZE_MAX; size *= 2) {
		if (read_meta(fd, size, 1, m, v, e))
			return -1;
		if (*v == META_GOOD && m->page_size == size)
			return 0;
	}
	*v = META_BAD;
	return 0;
}

uint64_t bolt_meta_pages_max(const struct bolt_meta *m)
{
	uint64_t n = BOLT_BYTES_MAX / m->page_size;

	return n < BOLT_PAGES_MAX ? n : BOLT_PAGES_MAX;
}

static int check_numbers(const struct bolt_meta *m, uint64_t file_size, struct k3_err *e)
{
	/* Before a page is written the file is as long as the state that will have it. */
	if (m->high_water > file_size / m->page_size)
		return bolt_damaged(e,
				    "file of %" PRIu64 " bytes is cut off: it has %" PRIu64
				    " pages of %" PRIu32 " bytes in use",
				    file_size, m->high_water, m->page_size);
	if (m->high_water > bolt_meta_pages_max(m))
		return k3_fail(e, K3_LIMIT, "%" PRIu64 " pages are more than the limit of %" PRIu64,
			       m->high_water, bolt_meta_pages_max(m));
	if (m->root < 2 || m->root >= m->high_water)
		return bolt_damaged(e,
				    "meta page %u names root page %" PRIu64 " of %" PRIu64 " pages",
				    m->slot, m->root, m->high_water);
	if (m->freelist != BOLT_NO_FREELIST && (m->freelist < 2 || m->freelist >= m->high_water))
		return bolt_damaged(
			e, "meta page %u names freelist page %" PRIu64 " of %" PRIu64 " pages",
			m->slot, m->freelist, m->high_water);
	return 0;
}

int bolt_meta_load(int fd, uint64_t file_size, struct bolt_meta *out, struct k3_err *e)
{
	struct bolt_meta first = { 0 }, second = { 0 };
	enum verdict v0, v1;

	if (read_meta(fd, 0, 0, &first, &v0, e))
		return -1;
	if (v0 == META_GOOD) {
		if (read_meta(fd, first.page_size, 1, &second, &v1, e))
			return -1;
	} else if (probe_second(fd, &second, &v1, e)) {
		return -1;
	}
	if (v0 == META_VERSION && v1 != META_GOOD)
		return bolt_damaged(e, "unknown bbolt file format version");
	if (v0 == META_PAGE_SIZE && v1 != META_GOOD)
		return bolt_damaged(e, "unsupported page size %u", first.page_size);
	if (v0 != META_GOOD && v1 != META_GOOD)
		return bolt_damaged(e, "not a bbolt database, or both meta pages are broken");
	/* A second meta that disagrees about the page size was read from a wrong place. */
	if (v0 == META_GOOD && v1 == META_GOOD && first.page_size != second.page_size)
		v1 = META_BAD;
	if (v0 == META_GOOD && (v1 != META_GOOD || first.txid >= second.txid))
		*out = first;
	else
		*out = second;
	return check_numbers(out, file_size, e);
}
