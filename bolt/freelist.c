/* SPDX-License-Identifier: Apache-2.0 */
#include "bolt/freelist.h"

#include <inttypes.h>

#include "base/bytes.h"
#include "bolt/check.h"
#include "bolt/damage.h"

#define COUNT_LONG 0xffffu /* the real count is the first element */

static int read_list(struct bolt_txn *t, struct bolt_freelist *fl, struct k3_err *e)
{
	uint64_t id = t->meta.freelist;
	struct bolt_page_head head;

	if (id >= t->pages)
		return bolt_damaged(e, "beyond the end of the file");
	const uint8_t *p = t->db->map + (size_t)id * t->meta.page_size;

	bolt_page_head_read(p, &head);
	if (head.id != id || head.flags != BOLT_PAGE_FREELIST)
		return bolt_damaged(e, "no freelist (id %" PRIu64 ", flags 0x%x)", head.id,
				    head.flags);
	if (head.overflow >= t->pages - id)
		return bolt_damaged(e, "its %" PRIu32 " overflow pages pass the end",
				    head.overflow);
	uint64_t run = head.overflow + UINT64_C(1);
	uint64_t room = (run * t->meta.page_size - BOLT_PAGE_HEADER) / 8;
	uint64_t n = head.count;
	const uint8_t *ids = p + BOLT_PAGE_HEADER;

	if (n == COUNT_LONG) {
		n = k3_load64le(ids);
		ids += 8;
		room--;
	}
	if (n > room)
		return bolt_damaged(e, "no room for its %" PRIu64 " entries", n);
	*fl = (struct bolt_freelist){ .page = id, .run = run, .n = n, .ids = ids };
	return 0;
}

int bolt_freelist_read(struct bolt_txn *t, struct bolt_freelist *out, struct k3_err *e)
{
	*out = (struct bolt_freelist){ 0 };
	if (t->meta.freelist == BOLT_NO_FREELIST)
		return 0;
	if (read_list(t, out, e))
		return k3_wrap(e, "%s: freelist page %" PRIu64, t->db->name, t->meta.freelist);
	return 0;
}

uint64_t bolt_freelist_id(const struct bolt_freelist *fl, uint64_t i)
{
	return k3_load64le(fl->ids + 8 * i);
}

static int space_by_walk(struct bolt_space *s, struct bolt_txn *t, const struct bolt_freelist *fl,
			 struct k3_err *e)
{
	struct bolt_first first = { "" };

	for (uint64_t i = 0; i < fl->run; i++)
		bolt_pageset_add(&s->free, fl->page + i);
	if (bolt_walk(t, &s->free, bolt_keep_first, &first))
		return bolt_damaged(e, "%s: damaged, not changed: %s", t->db->name, first.text);
	/* So far the set holds what is in use. */
	for (uint64_t i = 0; i <= s->free.n / 64; i++)
		s->free.words[i] = ~s->free.words[i];
	bolt_pageset_remove(&s->free, 0);
	bolt_pageset_remove(&s->free, 1);
	return 0;
}

static int space_by_list(struct bolt_space *s, struct bolt_txn *t, const struct bolt_freelist *fl,
			 struct k3_err *e)
{
	for (uint64_t i = 0; i < fl->n; i++) {
		uint64_t id = bolt_freelist_id(fl, i);

		if (id < 2 || id >= t->meta.high_water)
			return bolt_damaged(e, "%s: freelist names page %" PRIu64, t->db->name, id);
		bolt_pageset_add(&s->free, id);
	}
	for (uint64_t i = 0; i < fl->run; i++)
		bolt_pageset_remove(&s->free, fl->page + i);
	return 0;
}

int bolt_space_init(struct bolt_space *s, struct bolt_txn *t, struct k3_err *e)
{
	struct bolt_freelist fl;
	uint64_t end = t->meta.high_water;

	*s = (struct bolt_space){
		.high_water = end, .max = bolt_meta_pages_max(&t->meta), .single = 2, .run = 2
	};
	if (bolt_freelist_read(t, &fl, e) || bolt_pageset_init(&s->free, end, e))
		return -1;
	if (end * t->meta.page_size <= BOLT_WALK_BYTES)
		return space_by_walk(s, t, &fl, e);
	return space_by_list(s, t, &fl, e);
}

void bolt_space_release(struct bolt_space *s)
{
	bolt_pageset_release(&s->free);
}

/* Pages are only ever taken, so each search may go on where the last one ended. */
static bool take_single(struct bolt_space *s, uint64_t *id)
{
	for (uint64_t i = s->single; i < s->free.n; i++) {
		if (!(i % 64) && !s->free.words[i / 64]) {
			i += 63;
			continue;
		}
		if (bolt_pageset_has(&s->free, i)) {
			s->single = i + 1;
			*id = i;
			return true;
		}
	}
	s->single = s->free.n;
	return false;
}

static bool take_run(struct bolt_space *s, uint64_t n, uint64_t *id)
{
	uint64_t have = 0;

	if (s->no_run && n >= s->no_run)
		return false;
	for (uint64_t i = s->run; i < s->free.n; i++) {
		have = bolt_pageset_has(&s->free, i) ? have + 1 : 0;
		if (have == n) {
			*id = i + 1 - n;
			s->run = i + 1;
			return true;
		}
	}
	s->no_run = n;
	return false;
}

int bolt_space_take(struct bolt_space *s, uint64_t n, uint64_t *id, struct k3_err *e)
{
	if (n == 1 ? take_single(s, id) : take_run(s, n, id)) {
		for (uint64_t i = 0; i < n; i++)
			bolt_pageset_remove(&s->free, *id + i);
		return 0;
	}
	if (n > s->max - s->high_water)
		return k3_fail(e, K3_LIMIT, "the database would have more than %" PRIu64 " pages",
			       s->max);
	*id = s->high_water;
	s->high_water += n;
	return 0;
}
