/* SPDX-License-Identifier: Apache-2.0 */
/* A unified diff, as diff -u writes it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "setup/files.h"

#define CONTEXT 3u
/* Cells of the table of common lines; texts beyond it are shown as replaced: 8 MiB. */
#define CELLS_MAX (4u << 20)

struct line {
	const char *p;
	size_t n; /* without its newline */
	bool cut; /* the last one, without a newline */
};

struct lines {
	struct line *at;
	size_t n, cap;
};

struct step {
	char sign; /* ' ', '-', '+' */
	const struct line *line;
	size_t a, b; /* lines of either text in front of it */
};

struct steps {
	struct step *at;
	size_t n, cap;
};

static void split(const struct k3_buf *text, struct lines *out)
{
	size_t len = text ? text->len : 0;

	for (size_t i = 0; i < len;) {
		const char *p = (const char *)text->p + i;
		const char *end = memchr(p, '\n', len - i);
		size_t n = end ? (size_t)(end - p) : len - i;

		out->at = k3_xgrow(out->at, out->n, &out->cap, sizeof(*out->at));
		out->at[out->n++] = (struct line){ p, n, !end };
		i += n + 1;
	}
}

static bool same(const struct line *a, const struct line *b)
{
	return a->n == b->n && a->cut == b->cut && !memcmp(a->p, b->p, a->n);
}

static void step(struct steps *s, char sign, const struct line *line, size_t a, size_t b)
{
	s->at = k3_xgrow(s->at, s->n, &s->cap, sizeof(*s->at));
	s->at[s->n++] = (struct step){ sign, line, a, b };
}

/*
 * table[i][j]: how many lines the rests from i and j have in common, in order.  NULL when the
 * texts are too large for one; then the middle is all replaced.
 */
static uint16_t *common(const struct line *a, size_t n, const struct line *b, size_t m)
{
	if (n >= UINT16_MAX || m >= UINT16_MAX || (n + 1) * (m + 1) > CELLS_MAX)
		return NULL;
	uint16_t *t = k3_xcalloc((n + 1) * (m + 1), sizeof(*t));
	size_t w = m + 1;

	for (size_t i = n; i-- > 0;)
		for (size_t j = m; j-- > 0;) {
			uint16_t down = t[(i + 1) * w + j], right = t[i * w + j + 1];

			t[i * w + j] = same(&a[i], &b[j]) ? t[(i + 1) * w + j + 1] + 1
				       : down > right     ? down
							  : right;
		}
	return t;
}

/* What lies between the lines that both begin and end with. */
static void compare_middle(const struct lines *a, const struct lines *b, size_t head, size_t n,
			   size_t m, struct steps *out)
{
	K3_AUTO_FREE uint16_t *t = common(n ? a->at + head : NULL, n, m ? b->at + head : NULL, m);

	for (size_t i = 0, j = 0; i < n || j < m;) {
		const struct line *la = i < n ? &a->at[head + i] : NULL;
		const struct line *lb = j < m ? &b->at[head + j] : NULL;
		const uint16_t *here = t && la && lb ? &t[i * (m + 1) + j] : NULL;

		if (here && same(la, lb))
			step(out, ' ', la, head + i++, head + j++);
		else if (la && (!here || here[m + 1] >= here[1]))
			step(out, '-', la, head + i++, head + j);
		else
			step(out, '+', lb, head + i, head + j++);
	}
}

static void compare(const struct lines *a, const struct lines *b, struct steps *out)
{
	size_t head = 0, tail = 0;

	while (head < a->n && head < b->n && same(&a->at[head], &b->at[head])) {
		step(out, ' ', &a->at[head], head, head);
		head++;
	}
	while (tail < a->n - head && tail < b->n - head &&
	       same(&a->at[a->n - tail - 1], &b->at[b->n - tail - 1]))
		tail++;
	compare_middle(a, b, head, a->n - head - tail, b->n - head - tail, out);
	for (size_t k = 0; k < tail; k++)
		step(out, ' ', &a->at[a->n - tail + k], a->n - tail + k, b->n - tail + k);
}

/* "12,3": where the lines begin, counted from 1, or the one in front when there are none. */
static int put_range(char sign, size_t from, size_t n, struct k3_buf *out, struct k3_err *e)
{
	return k3_buf_addf(out, e, " %c%zu,%zu", sign, n ? from + 1 : from, n);
}

static int put_hunk(const struct step *s, size_t n, struct k3_buf *out, struct k3_err *e)
{
	size_t a = 0, b = 0;

	for (size_t i = 0; i < n; i++) {
		a += s[i].sign != '+';
		b += s[i].sign != '-';
	}
	if (k3_buf_add(out, "@@", 2, e) || put_range('-', s->a, a, out, e) ||
	    put_range('+', s->b, b, out, e) || k3_buf_add(out, " @@\n", 4, e))
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (k3_buf_add(out, &s[i].sign, 1, e) ||
		    k3_buf_add(out, s[i].line->p, s[i].line->n, e) || k3_buf_add(out, "\n", 1, e) ||
		    (s[i].line->cut && k3_buf_addf(out, e, "\\ No newline at end of file\n")))
			return -1;
	}
	return 0;
}

static int put_hunks(const struct steps *s, struct k3_buf *out, struct k3_err *e)
{
	size_t i = 0;

	for (;;) {
		while (i < s->n && s->at[i].sign == ' ')
			i++;
		if (i == s->n)
			return 0;
		size_t from = i > CONTEXT ? i - CONTEXT : 0, last = i;

		/* changes with no more than their contexts between them are one hunk */
		for (; i < s->n && i - last <= 2 * CONTEXT; i++)
			if (s->at[i].sign != ' ')
				last = i;
		size_t to = last + 1 + CONTEXT < s->n ? last + 1 + CONTEXT : s->n;

		if (put_hunk(s->at + from, to - from, out, e))
			return -1;
		i = to;
	}
}

int diff_unified(const char *path, const struct k3_buf *old, const struct k3_buf *new_,
		 struct k3_buf *out, struct k3_err *e)
{
	struct lines a = { 0 }, b = { 0 };
	struct steps s = { 0 };

	split(old, &a);
	split(new_, &b);
	compare(&a, &b, &s);
	int rc = k3_buf_addf(out, e, "--- %s\n+++ %s\n", old ? path : "/dev/null", path);

	if (!rc)
		rc = put_hunks(&s, out, e);
	free(a.at);
	free(b.at);
	free(s.at);
	return rc;
}
