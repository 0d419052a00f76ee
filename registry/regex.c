/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/regex.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "registry/regex_code.h"

/* ---- running a program (Pike's way: all threads side by side) ---- */

struct thread {
	unsigned pc;
	size_t caps[2 * REGEX_GROUPS_MAX];
};

struct threads {
	struct thread *t;
	size_t n;
	unsigned *mark; /* mark[pc] = generation in which it was added */
	unsigned generation;
};

struct run {
	const struct regex *re;
	const unsigned char *text;
	size_t len;
};

static bool is_word(const struct run *r, size_t at)
{
	return at < r->len && (isalnum(r->text[at]) || r->text[at] == '_');
}

static bool holds(const struct run *r, enum regex_op op, size_t at)
{
	bool edge = (at > 0 && is_word(r, at - 1)) != is_word(r, at);

	switch (op) {
	case REGEX_BEGIN:
		return at == 0;
	case REGEX_END:
		return at == r->len;
	case REGEX_EDGE:
		return edge;
	default:
		return !edge;
	}
}

/* Follows what takes no byte.  Recursion is bounded by the program: each pc is added once. */
static void add(const struct run *r, struct threads *l, unsigned pc, size_t at, size_t *caps)
{
	const struct regex_ins *in = &r->re->code[pc];
	size_t old;

	if (l->mark[pc] == l->generation)
		return;
	l->mark[pc] = l->generation;
	switch (in->op) {
	case REGEX_JUMP:
		add(r, l, in->x, at, caps);
		break;
	case REGEX_SPLIT:
		add(r, l, in->x, at, caps);
		add(r, l, in->y, at, caps);
		break;
	case REGEX_SAVE:
		old = caps[in->x];
		caps[in->x] = at;
		add(r, l, pc + 1, at, caps);
		caps[in->x] = old;
		break;
	case REGEX_BEGIN:
	case REGEX_END:
	case REGEX_EDGE:
	case REGEX_NO_EDGE:
		if (holds(r, in->op, at))
			add(r, l, pc + 1, at, caps);
		break;
	case REGEX_SET:
	case REGEX_MATCH:
		l->t[l->n].pc = pc;
		memcpy(l->t[l->n++].caps, caps, sizeof(l->t->caps));
		break;
	}
}

static void clear(struct threads *l)
{
	l->n = 0;
	l->generation++;
}

/* The leftmost match from `from` on: caps[0] and caps[1] are its ends. */
static bool search(const struct run *r, struct threads *now, struct threads *next, size_t from,
		   size_t caps[2 * REGEX_GROUPS_MAX])
{
	bool matched = false;

	clear(now);
	for (size_t at = from;; at++) {
		size_t none[2 * REGEX_GROUPS_MAX];

		memset(none, 0xff, sizeof(none));
		if (!matched)
			add(r, now, 0, at, none);
		clear(next);
		for (size_t i = 0; i < now->n; i++) {
			struct thread *t = &now->t[i];
			const struct regex_ins *in = &r->re->code[t->pc];

			if (in->op == REGEX_MATCH) {
				/* those behind it are less wanted */
				memcpy(caps, t->caps, sizeof(t->caps));
				matched = true;
				break;
			}
			if (at < r->len && regex_set_has(&r->re->sets[in->x], r->text[at]))
				add(r, next, t->pc + 1, at + 1, t->caps);
		}
		struct threads *swap = now;

		now = next;
		next = swap;
		if (at >= r->len || (matched && !now->n))
			return matched;
	}
}

/* ---- replacing ---- */

static int group_number(const struct regex *re, const char *name, size_t n)
{
	int number = 0;

	for (size_t i = 0; i < re->ngroups && i < REGEX_GROUPS_MAX; i++)
		if (re->names[i] && strlen(re->names[i]) == n && !memcmp(re->names[i], name, n))
			return (int)i;
	for (size_t i = 0; i < n; i++) {
		if (name[i] < '0' || name[i] > '9' || number > 1000)
			return -1;
		number = 10 * number + (name[i] - '0');
	}
	return number;
}

static int add_group(struct k3_buf *out, const struct run *r, int number, const size_t *caps,
		     struct k3_err *e)
{
	if (number < 0 || number >= (int)REGEX_GROUPS_MAX || number >= (int)r->re->ngroups)
		return 0;
	size_t from = caps[2 * number], to = caps[2 * number + 1];

	if (from == SIZE_MAX || to == SIZE_MAX)
		return 0;
	return k3_buf_add(out, r->text + from, to - from, e);
}

/* "$name", "${name}", "$$"; anything else behind a dollar leaves it as it is. */
static int expand(struct k3_buf *out, const struct run *r, const char *with, const size_t *caps,
		  struct k3_err *e)
{
	while (*with) {
		size_t n = strcspn(with, "$");

		if (n && k3_buf_add(out, with, n, e))
			return -1;
		with += n;
		if (!*with)
			break;
		bool braces = with[1] == '{';
		const char *name = with + 1 + braces;
		size_t len = 0;

		while (isalnum((unsigned char)name[len]) || name[len] == '_')
			len++;
		if (!len || (braces && name[len] != '}')) {
			if (k3_buf_add(out, "$", 1, e))
				return -1;
			with += with[1] == '$' ? 2 : 1;
			continue;
		}
		if (add_group(out, r, group_number(r->re, name, len), caps, e))
			return -1;
		with = name + len + braces;
	}
	return 0;
}

static int replace(const struct run *r, struct threads *lists, const char *with, struct k3_buf *out,
		   struct k3_err *e)
{
	size_t caps[2 * REGEX_GROUPS_MAX], at = 0, last = SIZE_MAX;

	while (at <= r->len && search(r, &lists[0], &lists[1], at, caps)) {
		size_t from = caps[0], to = caps[1];

		if (k3_buf_add(out, r->text + at, from - at, e))
			return -1;
		/* an empty match right behind the one before does not count */
		if ((to > from || from != last) && expand(out, r, with, caps, e))
			return -1;
		last = to;
		if (to > from) {
			at = to;
			continue;
		}
		if (to < r->len && k3_buf_add(out, r->text + to, 1, e))
			return -1;
		at = to + 1;
	}
	return at < r->len ? k3_buf_add(out, r->text + at, r->len - at, e) : 0;
}

char *regex_replace_all(const struct regex *re, const char *text, const char *with, size_t max)
{
	struct run r = { re, (const unsigned char *)text, strlen(text) };
	K3_AUTO_FREE struct thread *all = k3_xcalloc(2 * re->n, sizeof(*all));
	K3_AUTO_FREE unsigned *marks = k3_xcalloc(2 * re->n, sizeof(*marks));
	struct threads lists[2] = { { .t = all, .mark = marks },
				    { .t = all + re->n, .mark = marks + re->n } };
	K3_AUTO_BUF struct k3_buf out = K3_BUF(max);
	struct k3_err ignored;

	if (replace(&r, lists, with, &out, &ignored))
		return NULL;
	return k3_xstrdup(out.p ? (const char *)out.p : "");
}
