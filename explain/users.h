/* SPDX-License-Identifier: Apache-2.0 */
/* Users as images name them: "app", "1000", "app:staff", "1000:1000". */
#ifndef K3_EXPLAIN_USERS_H
#define K3_EXPLAIN_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define USERS_FILE_MAX (4u << 20) /* of /etc/passwd and /etc/group: some 50,000 lines */

/* A number as containerd takes one for an ID: decimal, at most 2^31 - 1. */
bool users_number(const char *s, uint32_t *out);
/*
 * Looks for a name in the text (n bytes) of an /etc/passwd or /etc/group: lines of
 * "name:password:id:…".  *id, and *group (the next field, 0 when it is none) are set.  Lines that
 * are malformed are passed over, as containerd does.
 */
bool users_find(const char *text, size_t n, const char *name, uint32_t *id, uint32_t *group);

#endif
