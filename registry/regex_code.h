/* SPDX-License-Identifier: Apache-2.0 */
/* A regular expression as a program.  Private to regex.c and regex_parse.c. */
#ifndef K3_REGISTRY_REGEX_CODE_H
#define K3_REGISTRY_REGEX_CODE_H

#include <stdint.h>

#include "registry/regex.h"

enum regex_op {
	REGEX_SET,   /* a byte of set x */
	REGEX_JUMP,  /* to x */
	REGEX_SPLIT, /* to x, or less wanted y */
	REGEX_SAVE,  /* where it is, in x */
	REGEX_BEGIN, /* of the text, and its end; edge of a word */
	REGEX_END,
	REGEX_EDGE,
	REGEX_NO_EDGE,
	REGEX_MATCH,
};

struct regex_ins {
	enum regex_op op;
	unsigned x, y;
};

struct regex_set {
	uint32_t bits[8];
};

struct regex {
	struct regex_ins *code;
	size_t n, cap;
	struct regex_set *sets;
	size_t nsets, sets_cap;
	char *names[REGEX_GROUPS_MAX]; /* or NULL; group 0 is the whole */
	size_t ngroups;
};

static inline bool regex_set_has(const struct regex_set *s, unsigned char c)
{
	return s->bits[c / 32] >> (c % 32) & 1;
}

static inline void regex_set_add(struct regex_set *s, unsigned char c)
{
	s->bits[c / 32] |= 1u << (c % 32);
}

#endif
