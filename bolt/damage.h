/* SPDX-License-Identifier: Apache-2.0 */
#ifndef K3_BOLT_DAMAGE_H
#define K3_BOLT_DAMAGE_H

#include "base/err.h"

#define BOLT_DAMAGED_HINT                                                                          \
	"the database was left as it is: restore it from a backup, or begin with a new root"

/* K3_STORE with a message and the hint that all broken files share. */
#define bolt_damaged(e, ...) (k3_fail(e, K3_STORE, __VA_ARGS__), k3_hint(e, BOLT_DAMAGED_HINT))

#endif
