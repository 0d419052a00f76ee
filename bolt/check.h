/* SPDX-License-Identifier: Apache-2.0 */
#ifndef K3_BOLT_CHECK_H
#define K3_BOLT_CHECK_H

#include "base/err.h"
#include "bolt/bolt.h"
#include "bolt/pageset.h"
#include "bolt/txn.h"

/* A report function that keeps the first problem; text starts empty, arg is the struct. */
struct bolt_first {
	char text[K3_ERR_MSG_MAX];
};
void bolt_keep_first(void *arg, const char *problem);

/*
 * Visits every page reachable from the state t began with and adds it to *reached; a page
 * that is in there already is a problem.  Returns the number of problems.
 */
size_t bolt_walk(struct bolt_txn *t, struct bolt_pageset *reached, bolt_report_fn *report,
		 void *arg);

#endif
