/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pattern -> program.  A piece of a pattern is a run of instructions that enters at its first one
 * and leaves behind its last one, with jumps relative to nothing: a repeated piece is moved and
 * copied with its targets shifted.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "registry/regex_code.h"

struct parser {
	struct regex *re;
	const char *at;
	unsigned depth;
	bool fold, dot_all; /* flags i and s */
	struct k3_err *e;
};

static int alternatives(struct parser *p);

static int bad(struct parser *p, const char *why)
{
	return k3_fail(p->e, K3_FORMAT, "regular expression: %s at \"%.20s\"", why, p->at);
}

/* ---- the program ---- */

static int emit(struct parser *p, enum regex_op op, unsigned x, unsigned y)
{
	struct regex *re = p->re;

	if (re->n >= REGEX_PROGRAM_MAX)
		return k3_fail(p->e, K3_LIMIT, "regular expression: too large");
	re->code = k3_xgrow(re->code, re->n, &re->cap, sizeof(*re->code));
	re->code[re->n++] = (struct regex_ins){ op, x, y };
	return 0;
}

static int emit_set(struct parser *p, const struct regex_set *set)
{
	struct regex *re = p->re;

	re->sets = k3_xgrow(re->sets, re->nsets, &re->sets_cap, sizeof(*re->sets));
	re->sets[re->nsets] = *set;
	return emit(p, REGEX_SET, (unsigned)re->nsets++, 0);
}

/* Makes room for an instruction at `at`; what lies behind moves with its targets. */
static int insert(struct parser *p, size_t at, enum regex_op op, unsigned x, unsigned y)
{
	struct regex *re = p->re;

	if (emit(p, op, x, y))
		return -1;
	memmove(&re->code[at + 1], &re->code[at], (re->n - 1 - at) * sizeof(*re->code));
	for (size_t i = at + 1; i < re->n; i++) {
		bool jump = re->code[i].op == REGEX_JUMP || re->code[i].op == REGEX_SPLIT;

		re->code[i].x += jump && re->code[i].x >= at;
		re->code[i].y += jump && re->code[i].y >= at;
	}
	re->code[at] = (struct regex_ins){ op, x, y };
	return 0;
}

/* One more time the n instructions from `from`. */
static int copy(struct parser *p, size_t from, size_t n)
{
	unsigned shift = (unsigned)(p->re->n - from);

	for (size_t i = from; i < from + n; i++) {
		struct regex_ins in = p->re->code[i];
		bool jump = in.op == REGEX_JUMP || in.op == REGEX_SPLIT;

		if (emit(p, in.op, in.x + (jump ? shift : 0), in.y + (jump ? shift : 0)))
			return -1;
	}
	return 0;
}

/* x is preferred; a lazy repetition prefers to go on. */
static int insert_split(struct parser *p, size_t at, unsigned in, unsigned out, bool lazy)
{
	return insert(p, at, REGEX_SPLIT, lazy ? out : in, lazy ? in : out);
}

static int star(struct parser *p, size_t from, bool lazy)
{
	unsigned begin = (unsigned)from;

	return insert_split(p, from, begin + 1, (unsigned)p->re->n + 2, lazy) ||
			       emit(p, REGEX_JUMP, begin, 0)
		       ? -1
		       : 0;
}

static int optional(struct parser *p, size_t from, bool lazy)
{
	return insert_split(p, from, (unsigned)from + 1, (unsigned)p->re->n + 1, lazy);
}

/* ---- classes ---- */

static void add_range(const struct parser *p, struct regex_set *s, unsigned low, unsigned high)
{
	for (unsigned c = low; c <= high; c++) {
		regex_set_add(s, (unsigned char)c);
		if (p->fold && isalpha((int)c) && c < 128)
			regex_set_add(s, (unsigned char)(c ^ 0x20));
	}
}

static void invert(struct regex_set *s)
{
	for (size_t i = 0; i < K3_ARRAY_LEN(s->bits); i++)
		s->bits[i] = ~s->bits[i];
}

static void join(struct regex_set *to, const struct regex_set *from)
{
	for (size_t i = 0; i < K3_ARRAY_LEN(to->bits); i++)
		to->bits[i] |= from->bits[i];
}

/* \d \w \s and their opposites. */
static bool perl_class(struct parser *p, char c, struct regex_set *s)
{
	struct regex_set own = { 0 };

	switch (c | 0x20) {
	case 'd':
		add_range(p, &own, '0', '9');
		break;
	case 'w':
		add_range(p, &own, '0', '9');
		add_range(p, &own, 'a', 'z');
		add_range(p, &own, 'A', 'Z');
		add_range(p, &own, '_', '_');
		break;
	case 's':
		for (const char *b = "\t\n\f\r "; *b; b++)
			regex_set_add(&own, (unsigned char)*b);
		break;
	default:
		return false;
	}
	if (c < 'a')
		invert(&own);
	join(s, &own);
	return true;
}

/* The one byte that an escape stands for; p->at is behind the backslash. */
static int escaped_byte(struct parser *p, unsigned char *c)
{
	static const char letters[] = "tnrfva", bytes[] = "\t\n\r\f\v\a";
	const char *letter = *p->at ? strchr(letters, *p->at) : NULL;

	if (letter) {
		*c = (unsigned char)bytes[letter - letters];
	} else if (*p->at == 'x' && isxdigit((unsigned char)p->at[1]) &&
		   isxdigit((unsigned char)p->at[2])) {
		const char hex[] = { p->at[1], p->at[2], 0 };

		*c = (unsigned char)strtoul(hex, NULL, 16);
		p->at += 2;
	} else if (*p->at && !isalnum((unsigned char)*p->at)) {
		*c = (unsigned char)*p->at;
	} else {
		return bad(p, "unknown escape");
	}
	p->at++;
	return 0;
}

/* "[:alpha:]" inside of a class: p->at is at its bracket. */
static int named_class(struct parser *p, struct regex_set *s)
{
	static const struct {
		const char *name;
		int (*is)(int c);
	} known[] = {
		{ "alnum", isalnum }, { "alpha", isalpha }, { "blank", isblank },
		{ "cntrl", iscntrl }, { "digit", isdigit }, { "graph", isgraph },
		{ "lower", islower }, { "print", isprint }, { "punct", ispunct },
		{ "space", isspace }, { "upper", isupper }, { "xdigit", isxdigit },
	};
	bool not = p->at[2] == '^';
	const char *name = p->at + 2 + not ;

	for (size_t i = 0; i < K3_ARRAY_LEN(known); i++) {
		size_t n = strlen(known[i].name);
		struct regex_set own = { 0 };

		if (strncmp(name, known[i].name, n) != 0 || strncmp(name + n, ":]", 2) != 0)
			continue;
		for (unsigned c = 0; c < 128; c++)
			if (known[i].is((int)c))
				add_range(p, &own, c, c);
		if (not )
			invert(&own);
		join(s, &own);
		p->at = name + n + 2;
		return 0;
	}
	return bad(p, "unknown class");
}

/* One end of a range, or a class of its own (*single = false). */
static int class_item(struct parser *p, struct regex_set *s, unsigned char *c, bool *single)
{
	*single = true;
	if (!*p->at)
		return bad(p, "missing ]");
	if (p->at[0] == '[' && p->at[1] == ':') {
		*single = false;
		return named_class(p, s);
	}
	if (*p->at != '\\') {
		if ((unsigned char)*p->at >= 0x80)
			return bad(p, "only ASCII is understood in a class");
		*c = (unsigned char)*p->at++;
		return 0;
	}
	p->at++;
	if (perl_class(p, *p->at, s)) {
		p->at++;
		*single = false;
		return 0;
	}
	return escaped_byte(p, c);
}

static int class(struct parser *p)
{
	struct regex_set s = { 0 };
	bool not = p->at[1] == '^', first = true, single;
	unsigned char low, high;

	p->at += 1 + not ;
	for (; *p->at != ']' || first; first = false) {
		if (class_item(p, &s, &low, &single))
			return -1;
		if (!single)
			continue;
		high = low;
		if (p->at[0] == '-' && p->at[1] && p->at[1] != ']') {
			p->at++;
			if (class_item(p, &s, &high, &single))
				return -1;
			if (!single || high < low)
				return bad(p, "bad range");
		}
		add_range(p, &s, low, high);
	}
	p->at++;
	if (not )
		invert(&s);
	return emit_set(p, &s);
}

/* ---- atoms ---- */

static int escape(struct parser *p)
{
	struct regex_set s = { 0 };
	unsigned char c;

	p->at++;
	switch (*p->at) {
	case 'A':
		p->at++;
		return emit(p, REGEX_BEGIN, 0, 0);
	case 'z':
		p->at++;
		return emit(p, REGEX_END, 0, 0);
	case 'b':
		p->at++;
		return emit(p, REGEX_EDGE, 0, 0);
	case 'B':
		p->at++;
		return emit(p, REGEX_NO_EDGE, 0, 0);
	}
	if (perl_class(p, *p->at, &s)) {
		p->at++;
		return emit_set(p, &s);
	}
	if (escaped_byte(p, &c))
		return -1;
	add_range(p, &s, c, c);
	return emit_set(p, &s);
}

/* "?i:" or "?s)" behind the parenthesis; *group = it has a body. */
static int flags(struct parser *p, bool *group)
{
	bool on = true;

	for (p->at++; *p->at != ':' && *p->at != ')'; p->at++) {
		if (*p->at == 'i')
			p->fold = on;
		else if (*p->at == 's')
			p->dot_all = on;
		else if (*p->at == '-' && on)
			on = false;
		else
			return bad(p, "unknown group");
	}
	*group = *p->at++ == ':';
	return 0;
}

static int group_name(struct parser *p, size_t number)
{
	size_t n = 0;

	p->at += p->at[1] == 'P' ? 3 : 2;
	while (isalnum((unsigned char)p->at[n]) || p->at[n] == '_')
		n++;
	if (!n || p->at[n] != '>')
		return bad(p, "bad name of a group");
	if (number < REGEX_GROUPS_MAX)
		p->re->names[number] = k3_xstrndup(p->at, n);
	p->at += n + 1;
	return 0;
}

/* A group that is captured. */
static int capture(struct parser *p, bool named)
{
	size_t number = p->re->ngroups++;
	bool keep = number < REGEX_GROUPS_MAX;

	if ((named && group_name(p, number)) ||
	    (keep && emit(p, REGEX_SAVE, 2 * (unsigned)number, 0)) || alternatives(p))
		return -1;
	return keep ? emit(p, REGEX_SAVE, 2 * (unsigned)number + 1, 0) : 0;
}

static int group(struct parser *p)
{
	bool fold = p->fold, dot_all = p->dot_all, body = true;
	int rc;

	if (++p->depth > REGEX_DEPTH_MAX)
		return k3_fail(p->e, K3_LIMIT, "regular expression: nested too deeply");
	p->at++;
	bool named = !strncmp(p->at, "?P<", 3) || !strncmp(p->at, "?<", 2);

	if (*p->at == '?' && !named)
		rc = flags(p, &body) || (body && alternatives(p)) ? -1 : 0;
	else
		rc = capture(p, named);
	p->depth--;
	/* flags without a body hold until the group around them ends */
	if (rc || !body)
		return rc;
	p->fold = fold;
	p->dot_all = dot_all;
	if (*p->at != ')')
		return bad(p, "missing )");
	p->at++;
	return 0;
}

static int atom(struct parser *p)
{
	struct regex_set s = { 0 };

	switch (*p->at) {
	case '(':
		return group(p);
	case '[':
		return class(p);
	case '\\':
		return escape(p);
	case '^':
		p->at++;
		return emit(p, REGEX_BEGIN, 0, 0);
	case '$':
		p->at++;
		return emit(p, REGEX_END, 0, 0);
	case '*':
	case '+':
	case '?':
		return bad(p, "nothing to repeat");
	case '.':
		p->at++;
		if (!p->dot_all)
			regex_set_add(&s, '\n');
		invert(&s);
		return emit_set(p, &s);
	}
	add_range(p, &s, (unsigned char)*p->at, (unsigned char)*p->at);
	p->at++;
	return emit_set(p, &s);
}

/* ---- repetitions ---- */

static bool number(const char **s, unsigned *out)
{
	unsigned v = 0;

	if (!isdigit((unsigned char)**s))
		return false;
	for (; isdigit((unsigned char)**s) && v <= REGEX_REPEAT_MAX; (*s)++)
		v = 10 * v + (unsigned)(**s - '0');
	*out = v;
	return true;
}

#define NO_END (REGEX_REPEAT_MAX + 1)

/* "{2}", "{2,}", "{2,5}"; a brace that begins none of them is a byte. */
static bool counts(struct parser *p, unsigned *low, unsigned *high)
{
	const char *s = p->at + 1;

	if (!number(&s, low))
		return false;
	*high = *low;
	if (*s == ',') {
		s++;
		if (!number(&s, high))
			*high = NO_END;
	}
	if (*s != '}')
		return false;
	p->at = s + 1;
	return true;
}

static bool quantifier(struct parser *p, unsigned *low, unsigned *high)
{
	switch (*p->at) {
	case '*':
		*low = 0, *high = NO_END;
		break;
	case '+':
		*low = 1, *high = NO_END;
		break;
	case '?':
		*low = 0, *high = 1;
		break;
	case '{':
		return counts(p, low, high);
	default:
		return false;
	}
	p->at++;
	return true;
}

/* Repeats the piece that begins at `from`: the first one is there already. */
static int repeat(struct parser *p, size_t from, unsigned low, unsigned high, bool lazy)
{
	size_t n = p->re->n - from;

	if (!high) {
		p->re->n = from;
		return 0;
	}
	for (unsigned i = 1; i < low; i++)
		if (copy(p, from, n))
			return -1;
	if (high == low)
		return 0;
	if (high == NO_END) {
		size_t last = from;

		if (low) {
			last = p->re->n;
			if (copy(p, from, n))
				return -1;
		}
		return star(p, last, lazy);
	}
	/* x{1,3} is x(x(x)?)?: the innermost one first */
	size_t extra = high - low, begin = low ? p->re->n : from;

	for (size_t i = low ? 0 : 1; i < extra; i++)
		if (copy(p, from, n))
			return -1;
	for (size_t i = extra; i > 0; i--)
		if (optional(p, begin + (i - 1) * n, lazy))
			return -1;
	return 0;
}

static int piece(struct parser *p)
{
	size_t from = p->re->n;
	unsigned low, high;

	if (atom(p))
		return -1;
	if (!quantifier(p, &low, &high))
		return 0;
	if (low > REGEX_REPEAT_MAX || (high != NO_END && (high > REGEX_REPEAT_MAX || high < low)))
		return bad(p, "bad number of repetitions");
	bool lazy = *p->at == '?';

	p->at += lazy;
	if (repeat(p, from, low, high, lazy))
		return -1;
	return quantifier(p, &low, &high) ? bad(p, "a repetition repeated") : 0;
}

static int alternatives(struct parser *p)
{
	size_t from = p->re->n;

	while (*p->at && *p->at != ')' && *p->at != '|')
		if (piece(p))
			return -1;
	if (*p->at != '|')
		return 0;
	p->at++;
	/* from: SPLIT to here or to the rest, here: JUMP behind the rest */
	size_t end = p->re->n + 1;

	if (insert(p, from, REGEX_SPLIT, (unsigned)from + 1, (unsigned)end + 1) ||
	    emit(p, REGEX_JUMP, 0, 0))
		return -1;
	/* Recursion over alternatives is bounded by the length of the pattern. */
	if (alternatives(p))
		return -1;
	p->re->code[end].x = (unsigned)p->re->n;
	return 0;
}

int regex_new(const char *pattern, struct regex **out, struct k3_err *e)
{
	struct regex *re = k3_xcalloc(1, sizeof(*re));
	struct parser p = { .re = re, .at = pattern, .e = e };

	re->ngroups = 1;
	if (strlen(pattern) > REGEX_PATTERN_MAX) {
		k3_fail(e, K3_LIMIT, "regular expression: more than %u bytes", REGEX_PATTERN_MAX);
	} else if (!emit(&p, REGEX_SAVE, 0, 0) && !alternatives(&p)) {
		if (*p.at)
			bad(&p, "unexpected )");
		else if (!emit(&p, REGEX_SAVE, 1, 0) && !emit(&p, REGEX_MATCH, 0, 0)) {
			*out = re;
			return 0;
		}
	}
	regex_free(re);
	return -1;
}

void regex_free(struct regex *re)
{
	if (!re)
		return;
	for (size_t i = 0; i < REGEX_GROUPS_MAX; i++)
		free(re->names[i]);
	free(re->code);
	free(re->sets);
	free(re);
}
