/* SPDX-License-Identifier: Apache-2.0 */
#include "bolt/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "bolt/damage.h"
#include "bolt/db.h"
#include "bolt/freelist.h"
#include "bolt/tree.h"

/* A page whose elements are being visited. */
struct frame {
	struct bolt_page pg;
	uint32_t i;           /* next element */
	struct bolt_val high; /* its keys are below this; n = 0: no bound */
	unsigned level;       /* in its tree */
	unsigned depth;       /* of its bucket */
};

/* The root page of a bucket that is still to be visited. */
struct root {
	uint64_t id;
	unsigned depth; /* of its bucket */
};

struct roots {
	struct root *v;
	size_t n, cap;
};

/*
 * containerd gives each blob and each snapshot a bucket, most of them a page of their own.  Touched
 * one by one through the map, tens of thousands of them cost a page fault each; where many lie
 * near each other they are read together.  256 KiB stay in the cache until they are looked at.
 */
#define WINDOW_BYTES (1u << 18)
#define WINDOW_ROOTS 8u /* so many at least make it worth reading */

struct window {
	uint8_t *p;
	uint64_t first, n; /* pages */
};

/* The stack is on the heap: its depth is the product of two limits. */
struct walk {
	struct bolt_txn *t;
	struct bolt_pageset *reached;
	bolt_report_fn *report;
	void *arg;
	size_t problems;
	struct frame *stack;
	size_t n, cap;
	struct roots found; /* in what was visited */
	struct window window;
};

K3_PRINTF(2, 0) static void vnote(struct walk *w, const char *fmt, va_list ap)
{
	char raw[K3_ERR_MSG_MAX], text[K3_ERR_MSG_MAX];

	if (!w->report)
		return;
	vsnprintf(raw, sizeof(raw), fmt, ap);
	k3_escape(text, sizeof(text), raw);
	w->report(w->arg, text);
}

K3_PRINTF(2, 3) static void note(struct walk *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vnote(w, fmt, ap);
	va_end(ap);
}

K3_PRINTF(2, 3) static void problem(struct walk *w, const char *fmt, ...)
{
	va_list ap;

	w->problems++;
	va_start(ap, fmt);
	vnote(w, fmt, ap);
	va_end(ap);
}

static void reach(struct walk *w, const struct bolt_page *pg)
{
	for (uint64_t i = 0; i <= pg->overflow; i++) {
		if (i && bolt_pageset_has(w->reached, pg->id + i))
			problem(w, "page %" PRIu64 ": used more than once", pg->id + i);
		bolt_pageset_add(w->reached, pg->id + i);
	}
}

static void check_keys(struct walk *w, const struct bolt_page *pg, struct bolt_val low,
		       struct bolt_val high)
{
	struct k3_err err;

	if (!low.n)
		return;
	if (bolt_tree_check_range(pg, low, high, &err))
		problem(w, "%s", err.msg);
	/* bbolt finds the entry to replace by this key. */
	else if (bolt_val_cmp(bolt_page_key(pg, 0), low))
		problem(w, "page %" PRIu64 ": branch key is not its first key", pg->id);
}

static int get_page(struct walk *w, uint64_t id, struct bolt_page *pg, struct k3_err *e)
{
	const struct window *win = &w->window;

	if (id < win->first || id - win->first >= win->n)
		return bolt_txn_page(w->t, id, pg, e);
	return bolt_txn_page_at(w->t, id, win->p + (id - win->first) * w->t->meta.page_size,
				win->n - (id - win->first), pg, e);
}

/* Starts with page `id`; low.n = 0: it is the root of a bucket. */
static void enter(struct walk *w, uint64_t id, struct bolt_val low, struct frame *where)
{
	struct k3_err err;
	struct bolt_page *pg = &where->pg;

	if (where->level > BOLT_DEPTH_MAX || where->depth >= BOLT_DEPTH_MAX) {
		problem(w, "page %" PRIu64 ": nested too deep", id);
		return;
	}
	if (bolt_pageset_has(w->reached, id)) {
		problem(w, "page %" PRIu64 ": used more than once", id);
		return;
	}
	bolt_pageset_add(w->reached, id);
	if (get_page(w, id, pg, &err)) {
		problem(w, "%s", err.msg);
		return;
	}
	reach(w, pg);
	check_keys(w, pg, low, where->high);
	if (!pg->leaf && pg->n < 2)
		problem(w, "page %" PRIu64 ": branch with one child", id);
	w->stack = k3_xgrow(w->stack, w->n, &w->cap, sizeof(*w->stack));
	w->stack[w->n++] = *where;
}

static void visit_bucket(struct walk *w, const struct frame *f, uint32_t i)
{
	struct bolt_val val = bolt_page_value(&f->pg, i);
	const uint8_t *p = val.p;
	uint64_t root = k3_load64le(p);
	unsigned depth = f->depth + 1;
	struct bolt_page image;
	struct k3_err err;

	if (root) {
		w->found.v = k3_xgrow(w->found.v, w->found.n, &w->found.cap, sizeof(*w->found.v));
		w->found.v[w->found.n++] = (struct root){ root, depth };
	} else if (depth >= BOLT_DEPTH_MAX)
		problem(w, "page %" PRIu64 ": bucket %" PRIu32 " is nested too deep", f->pg.id, i);
	else if (bolt_page_parse_inline(p + BOLT_BUCKET_HEADER, val.n - BOLT_BUCKET_HEADER, &image,
					&err))
		problem(w, "page %" PRIu64 ": element %" PRIu32 ": %s", f->pg.id, i, err.msg);
}

static void visit_child(struct walk *w, const struct frame *f, uint32_t i)
{
	struct frame sub = { .level = f->level + 1, .depth = f->depth, .high = f->high };

	if (i + 1 < f->pg.n)
		sub.high = bolt_page_key(&f->pg, i + 1);
	enter(w, bolt_page_child(&f->pg, i), bolt_page_key(&f->pg, i), &sub);
}

/* Visits what the stack holds, and what hangs below it in the same buckets. */
static void drain(struct walk *w)
{
	while (w->n) {
		struct frame *top = &w->stack[w->n - 1];

		if (top->i == top->pg.n) {
			w->n--;
			continue;
		}
		uint32_t i = top->i++;
		struct frame f = *top; /* the stack moves when it grows */

		if (!f.pg.leaf)
			visit_child(w, &f, i);
		else if (bolt_page_is_bucket(&f.pg, i))
			visit_bucket(w, &f, i);
	}
}

/* Reads what lies from the i-th root on, if that pays. */
static void read_ahead(struct walk *w, const struct roots *r, size_t i)
{
	struct window *win = &w->window;
	uint64_t id = r->v[i].id, page_size = w->t->meta.page_size, n = WINDOW_BYTES / page_size;

	if (id - win->first < win->n && id >= win->first)
		return;
	win->n = 0;
	if (id < 2 || id >= w->t->pages || n < WINDOW_ROOTS || i + WINDOW_ROOTS > r->n ||
	    r->v[i + WINDOW_ROOTS - 1].id - id >= n)
		return;
	if (n > w->t->pages - id)
		n = w->t->pages - id;
	if (!win->p)
		win->p = k3_xcalloc(1, WINDOW_BYTES);
	ssize_t got = pread(w->t->db->fd, win->p, n * page_size, (off_t)(id * page_size));

	win->first = id;
	/* What could not be read is looked at in the map, where errors belong. */
	win->n = got > 0 ? (uint64_t)got / page_size : 0;
}

static int by_id(const void *a, const void *b)
{
	const struct root *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

/* Buckets a generation at a time, in the order of the file. */
static void walk_all(struct walk *w)
{
	struct roots now = { 0 };
	struct frame root = { 0 };

	enter(w, w->t->meta.root, (struct bolt_val){ 0 }, &root);
	drain(w);
	while (w->found.n) {
		struct roots done = now;

		now = w->found;
		w->found = (struct roots){ done.v, 0, done.cap };
		qsort(now.v, now.n, sizeof(*now.v), by_id);
		for (size_t i = 0; i < now.n; i++) {
			struct frame where = { .depth = now.v[i].depth };

			read_ahead(w, &now, i);
			enter(w, now.v[i].id, (struct bolt_val){ 0 }, &where);
			drain(w);
		}
	}
	free(now.v);
	free(w->found.v);
	free(w->window.p);
	free(w->stack);
	w->stack = NULL;
}

size_t bolt_walk(struct bolt_txn *t, struct bolt_pageset *reached, bolt_report_fn *report,
		 void *arg)
{
	struct walk w = { .t = t, .reached = reached, .report = report, .arg = arg };

	walk_all(&w);
	return w.problems;
}

/* The stored list against what is reachable: each page is in exactly one of the two. */
static void check_list(struct walk *w, const struct bolt_freelist *fl, struct bolt_pageset *listed)
{
	uint64_t end = w->t->meta.high_water;

	for (uint64_t i = 0; i < fl->n; i++) {
		uint64_t id = bolt_freelist_id(fl, i);

		if (id < 2 || id >= end)
			problem(w, "page %" PRIu64 ": listed as free, but not in use", id);
		else if (bolt_pageset_has(listed, id))
			problem(w, "page %" PRIu64 ": listed as free twice", id);
		else if (bolt_pageset_has(w->reached, id))
			problem(w, "page %" PRIu64 ": listed as free, but reachable", id);
		bolt_pageset_add(listed, id);
	}
	/* Only lost space: bbolt's DeleteBucket leaves such pages behind now and then. */
	uint64_t lost = 0, first = 0;

	for (uint64_t id = end; id-- > 2;) {
		if (bolt_pageset_has(w->reached, id) || bolt_pageset_has(listed, id))
			continue;
		lost++;
		first = id;
	}
	if (lost)
		note(w,
		     "%" PRIu64
		     " pages are neither reachable nor listed as free, the first: %" PRIu64,
		     lost, first);
}

static void check_pages(struct walk *w, struct bolt_pageset *listed)
{
	struct bolt_freelist fl;
	struct k3_err err;
	bool have_list = w->t->meta.freelist != BOLT_NO_FREELIST;

	if (bolt_freelist_read(w->t, &fl, &err)) {
		problem(w, "%s", err.msg);
		have_list = false;
	}
	for (uint64_t i = 0; i < fl.run; i++)
		bolt_pageset_add(w->reached, fl.page + i);
	walk_all(w);
	if (have_list)
		check_list(w, &fl, listed);
}

int bolt_check(struct bolt_txn *t, bolt_report_fn *report, void *arg, size_t *problems,
	       struct k3_err *e)
{
	struct bolt_pageset reached = { 0 }, listed = { 0 };
	struct walk w = { .t = t, .reached = &reached, .report = report, .arg = arg };
	int r = -1;

	if (!bolt_pageset_init(&reached, t->meta.high_water, e) &&
	    !bolt_pageset_init(&listed, t->meta.high_water, e)) {
		check_pages(&w, &listed);
		*problems = w.problems;
		r = 0;
	}
	bolt_pageset_release(&reached);
	bolt_pageset_release(&listed);
	return r;
}

void bolt_keep_first(void *arg, const char *problem)
{
	struct bolt_first *first = arg;

	if (!first->text[0])
		snprintf(first->text, sizeof(first->text), "%s", problem);
}

int bolt_sound(struct bolt_db *db, uint64_t *known, struct k3_err *e)
{
	struct bolt_first first = { "" };
	struct bolt_txn *t;
	size_t problems = 0;
	int r;

	if (*known && *known == db->meta.txid)
		return 0;
	/* A session makes a handful of commits; none of them may be the first to notice. */
	if (db->meta.txid > UINT64_MAX / 2)
		return bolt_damaged(e, "%s: damaged, not changed: %" PRIu64 " transactions",
				    db->name, db->meta.txid);
	if (bolt_begin(db, false, &t, e))
		return -1;
	/* Lost pages are reported too, but last. */
	r = bolt_check(t, bolt_keep_first, &first, &problems, e);
	bolt_abort(t);
	if (!r && problems)
		r = bolt_damaged(e, "%s: damaged, not changed: %s", db->name, first.text);
	if (!r)
		*known = db->meta.txid;
	return r;
}
