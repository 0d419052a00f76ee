/* SPDX-License-Identifier: Apache-2.0 */
#ifndef K3_BOLT_BALANCE_H
#define K3_BOLT_BALANCE_H

#include "base/err.h"
#include "bolt/txn.h"

/*
 * Brings the loaded nodes of b into the shape bbolt relies on: no empty leaf but the
 * root, no branch with fewer than two children, and nodes that lost elements merged with
 * a neighbour when less than a quarter full.  They may be too large afterwards.
 */
K3_MUST int bolt_balance(struct bolt_bucket *b, struct k3_err *e);

#endif
