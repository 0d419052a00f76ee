/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions as Go reads them (RE2 syntax), for the rewrites of k3s: leftmost match, the
 * first alternative wins, time linear in the text.  Bytes, not runes: repository names are ASCII.
 * Left out: \p classes, and the flags m and U.
 */
#ifndef K3_REGISTRY_REGEX_H
#define K3_REGISTRY_REGEX_H

#include "base/err.h"

#define REGEX_PATTERN_MAX 4096u /* bytes */
#define REGEX_REPEAT_MAX 1000u  /* as in Go */
#define REGEX_PROGRAM_MAX                                                                          \
	4000u                /* instructions: bounds memory, and time for each byte of a text      \
			      */
#define REGEX_DEPTH_MAX 100u /* groups inside each other */
#define REGEX_GROUPS_MAX 20u /* more are matched and not captured */

struct regex;

/* K3_FORMAT with the reason, K3_LIMIT. */
K3_MUST int regex_new(const char *pattern, struct regex **out, struct k3_err *e);
void regex_free(struct regex *re); /* NULL is a no-op */

/*
 * Replaces every match by the template, in which $1, ${1}, ${name} and $$ are expanded as Go's
 * ReplaceAllString does.  Caller frees.  NULL when the outcome exceeds max bytes.
 */
char *regex_replace_all(const struct regex *re, const char *text, const char *with, size_t max);

#endif
