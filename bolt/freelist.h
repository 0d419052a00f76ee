/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages a commit may write, and the list of them that bbolt may have stored. */
#ifndef K3_BOLT_FREELIST_H
#define K3_BOLT_FREELIST_H

#include <stdint.h>

#include "base/err.h"
#include "bolt/pageset.h"
#include "bolt/txn.h"

/*
 * Up to this size a file is walked to find its free pages, which also proves that it is
 * sound before it is changed.  A larger one is not worth the time: the stored list is
 * trusted, and without one new pages go to the end.
 */
#define BOLT_WALK_BYTES (UINT64_C(16) << 20)

/* The list that the meta page names. */
struct bolt_freelist {
	uint64_t page, run; /* where it is stored: first page, number of pages; 0, 0: none */
	uint64_t n;
	const uint8_t *ids; /* n * 8 bytes */
};

/* K3_STORE if there is one and it is broken. */
K3_MUST int bolt_freelist_read(struct bolt_txn *t, struct bolt_freelist *out, struct k3_err *e);
uint64_t bolt_freelist_id(const struct bolt_freelist *fl, uint64_t i);

/* Hands out pages that neither the current state nor its freelist uses. */
struct bolt_space {
	struct bolt_pageset free;
	uint64_t high_water; /* grows up to max */
	uint64_t max;
	uint64_t single, run; /* where to look next for one page, for more */
	uint64_t no_run;      /* runs of that many pages are known not to exist; 0: unknown */
};

K3_MUST int bolt_space_init(struct bolt_space *s, struct bolt_txn *t, struct k3_err *e);
void bolt_space_release(struct bolt_space *s);
/* The first of n adjacent pages.  K3_LIMIT when the file gets too large. */
K3_MUST int bolt_space_take(struct bolt_space *s, uint64_t n, uint64_t *id, struct k3_err *e);

#endif
