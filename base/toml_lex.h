/* SPDX-License-Identifier: Apache-2.0 */
/* The words of TOML: strings, numbers, dates.  Private to base/toml.c. */
#ifndef K3_BASE_TOML_LEX_H
#define K3_BASE_TOML_LEX_H

#include "base/buf.h"
#include "base/toml.h"

struct k3_toml_lex {
	const char *start, *at; /* NUL-terminated; no NUL inside */
	struct k3_err *e;
};

/* Anything but an array or a table. */
struct k3_toml_scalar {
	enum k3_toml_kind kind;
	char *text; /* the caller frees it */
	int64_t num;
};

/* K3_FORMAT and K3_LIMIT with the line that l is at. */
int k3_toml_bad(const struct k3_toml_lex *l, const char *why);
int k3_toml_too_much(const struct k3_toml_lex *l, const char *why);
#define k3_toml_bad(...) k3_minus_one(k3_toml_bad(__VA_ARGS__))
#define k3_toml_too_much(...) k3_minus_one(k3_toml_too_much(__VA_ARGS__))
/*
 * Begins a text: a copy of s with CRLF as LF, in out[n + 1].  No place of a TOML document may
 * hold a control character other than these and tab, or malformed UTF-8: settling it here
 * spares everybody else.
 */
K3_MUST int k3_toml_clean(struct k3_toml_lex *l, const uint8_t *s, size_t n, char *out);
void k3_toml_skip_blanks(struct k3_toml_lex *l);
/* Blanks, newlines and comments, where a value may go on on the next line. */
void k3_toml_skip_lines(struct k3_toml_lex *l);
/* Blanks and a comment up to the end of the line and over it. */
K3_MUST int k3_toml_end_of_line(struct k3_toml_lex *l);
/* The string at l->at, of any of the four kinds if multi_ok, as new memory. */
K3_MUST int k3_toml_string(struct k3_toml_lex *l, bool multi_ok, char **out);
/* A number, boolean, date or time. */
K3_MUST int k3_toml_word(struct k3_toml_lex *l, struct k3_toml_scalar *out);

#endif
