/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a database should contain, kept in plain sorted arrays, and random operations done
 * to both.  Shared by the unit tests and the fuzz targets of bolt/.
 */
#ifndef K3_TESTS_BOLT_MODEL_H
#define K3_TESTS_BOLT_MODEL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bolt/bolt.h"

struct model;

struct model_entry {
	struct bolt_val key;
	struct bolt_val val;
	struct model *sub; /* a bucket, or NULL: a plain value */
};

struct model {
	uint64_t sequence;
	struct model_entry *v;
	size_t n, cap;
};

/* Random numbers, or the bytes of a fuzzer as long as there are any. */
struct model_rng {
	uint64_t state;
	const uint8_t *bytes;
	size_t left;
	bool from_bytes; /* 0 for ever when they run out */
};

static inline uint32_t model_rand(struct model_rng *r, uint32_t below)
{
	if (r->from_bytes) {
		uint32_t v = 0;

		for (uint32_t span = below - 1; span && r->left; span >>= 8, r->left--)
			v = v << 8 | *r->bytes++;
		return v % below;
	}
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return (uint32_t)(r->state >> 24) % below;
}

static inline struct bolt_val model_dup(struct bolt_val v)
{
	char *p = k3_xcalloc(v.n + 1, 1);

	if (v.n)
		memcpy(p, v.p, v.n);
	return (struct bolt_val){ p, v.n };
}

static inline void model_undup(struct bolt_val v)
{
	union {
		const void *in;
		void *out;
	} p = { .in = v.p };

	free(p.out);
}

static inline struct model *model_new(void)
{
	return k3_xcalloc(1, sizeof(struct model));
}

static inline void model_free(struct model *m)
{
	for (size_t i = 0; m && i < m->n; i++) {
		model_undup(m->v[i].key);
		model_undup(m->v[i].val);
		model_free(m->v[i].sub);
	}
	if (m)
		free(m->v);
	free(m);
}

static inline int model_cmp(struct bolt_val a, struct bolt_val b)
{
	int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

	return order ? order : (a.n > b.n) - (a.n < b.n);
}

/* Index of key, or where it belongs. */
static inline size_t model_find(const struct model *m, struct bolt_val key, bool *found)
{
	size_t low = 0, high = m->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (model_cmp(m->v[mid].key, key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*found = low < m->n && !model_cmp(m->v[low].key, key);
	return low;
}

static inline struct model_entry *model_add(struct model *m, struct bolt_val key)
{
	bool found;
	size_t i = model_find(m, key, &found);

	if (found)
		return &m->v[i];
	m->v = k3_xgrow(m->v, m->n, &m->cap, sizeof(*m->v));
	memmove(&m->v[i + 1], &m->v[i], (m->n - i) * sizeof(*m->v));
	m->n++;
	m->v[i] = (struct model_entry){ .key = model_dup(key) };
	return &m->v[i];
}

static inline void model_put(struct model *m, struct bolt_val key, struct bolt_val val)
{
	struct model_entry *en = model_add(m, key);

	model_undup(en->val);
	en->val = model_dup(val);
}

static inline struct model *model_make(struct model *m, struct bolt_val key)
{
	struct model_entry *en = model_add(m, key);

	if (!en->sub)
		en->sub = model_new();
	return en->sub;
}

static inline void model_remove(struct model *m, size_t i)
{
	model_undup(m->v[i].key);
	model_undup(m->v[i].val);
	model_free(m->v[i].sub);
	m->n--;
	memmove(&m->v[i], &m->v[i + 1], (m->n - i) * sizeof(*m->v));
}

static inline struct model *model_copy(const struct model *m)
{
	struct model *c = model_new();

	c->sequence = m->sequence;
	for (size_t i = 0; i < m->n; i++) {
		struct model_entry *en = model_add(c, m->v[i].key);

		if (m->v[i].sub)
			en->sub = model_copy(m->v[i].sub);
		else
			en->val = model_dup(m->v[i].val);
	}
	return c;
}

static inline struct bolt_val model_str(const char *s)
{
	return (struct bolt_val){ s, strlen(s) };
}

/* Reads all below b into a model.  NULL with *err filled. */
static inline struct model *model_load(struct bolt_bucket *b, struct k3_err *err)
{
	struct model *m = model_new();
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true;

	m->sequence = bolt_sequence(b);
	for (;;) {
		struct bolt_bucket *sub;

		if (bolt_next(b, &it, &item, &more, err))
			goto fail;
		if (!more)
			return m;
		if (!item.is_bucket) {
			model_put(m, item.key, item.val);
			continue;
		}
		if (bolt_bucket_get(b, item.key, &sub, err))
			goto fail;
		struct model *below = model_load(sub, err);

		if (!below)
			goto fail;
		model_add(m, item.key)->sub = below;
	}
fail:
	model_free(m);
	return NULL;
}

/* NULL if equal, else what differs. */
static inline const char *model_diff(const struct model *a, const struct model *b)
{
	if (a->sequence != b->sequence)
		return "sequence";
	if (a->n != b->n)
		return "number of elements";
	for (size_t i = 0; i < a->n; i++) {
		const struct model_entry *x = &a->v[i], *y = &b->v[i];

		if (model_cmp(x->key, y->key))
			return "key";
		if (!x->sub != !y->sub)
			return "kind of element";
		if (!x->sub && model_cmp(x->val, y->val))
			return "value";
		const char *below = x->sub ? model_diff(x->sub, y->sub) : NULL;

		if (below)
			return below;
	}
	return NULL;
}

/* Canonical text, the same as the one of the Go oracle. */
static inline void model_dump(const struct model *m, FILE *f, int depth)
{
	for (size_t i = 0; i < m->n; i++) {
		const struct model_entry *en = &m->v[i];
		const unsigned char *k = en->key.p, *v = en->val.p;

		fprintf(f, "%d %c ", depth, en->sub ? 'B' : 'K');
		for (size_t j = 0; j < en->key.n; j++)
			fprintf(f, "%02x", k[j]);
		if (en->sub) {
			fprintf(f, " %llu\n", (unsigned long long)en->sub->sequence);
			model_dump(en->sub, f, depth + 1);
			continue;
		}
		fputc(' ', f);
		for (size_t j = 0; j < en->val.n; j++)
			fprintf(f, "%02x", v[j]);
		fputc('\n', f);
	}
}

/* How random operations look. */
struct model_shape {
	uint32_t keys;      /* different keys per bucket */
	uint32_t value_max; /* usual length of values */
	uint32_t big_max;   /* one value in 32 is up to that long */
	uint32_t depth;     /* of nested buckets */
	uint32_t deletes;   /* percent */
};

static inline struct bolt_val model_rand_key(struct model_rng *r, const struct model_shape *s,
					     char buf[64])
{
	/* Keys of very different length, in an order unlike that of the numbers. */
	uint32_t k = model_rand(r, s->keys);
	int n = snprintf(buf, 64, "%0*x-%u", (int)(k % 23) + 1, k * 2654435761u, k);

	return (struct bolt_val){ buf, (size_t)n };
}

static inline int model_op_put(struct model_rng *r, const struct model_shape *s, struct model *m,
			       struct bolt_bucket *b, struct bolt_val key, struct k3_err *e)
{
	uint32_t max = s->big_max && !model_rand(r, 32) ? s->big_max : s->value_max;
	size_t n = model_rand(r, max + 1);
	unsigned fill = model_rand(r, 256);
	char *p = k3_xcalloc(n + 1, 1);

	memset(p, (int)fill, n);
	struct bolt_val val = { p, n };
	int ret = bolt_put(b, key, val, e);

	if (!ret)
		model_put(m, key, val);
	free(p);
	return ret;
}

static inline int model_op_delete(struct model *m, struct bolt_bucket *b, struct bolt_val key,
				  struct k3_err *e)
{
	bool found;
	size_t i = model_find(m, key, &found);
	int ret;

	if (found && m->v[i].sub)
		ret = bolt_bucket_delete(b, key, e);
	else
		ret = bolt_delete(b, key, e);
	if (!ret && found)
		model_remove(m, i);
	return ret;
}

/* One random operation on both; -1 with *e when bolt refuses it. */
static inline int model_op(struct model_rng *r, const struct model_shape *s, struct model *m,
			   struct bolt_bucket *b, struct k3_err *e)
{
	char buf[64];
	uint32_t depth = 0;

	for (;;) {
		struct bolt_val key = model_rand_key(r, s, buf);
		bool found, root = depth == 0;
		size_t i = model_find(m, key, &found);
		uint32_t dice = model_rand(r, 100);

		if (dice < s->deletes)
			return model_op_delete(m, b, key, e);
		if (dice > 97) {
			m->sequence = root ? m->sequence : dice + m->n;
			return root ? 0 : bolt_set_sequence(b, m->sequence, e);
		}
		bool is_sub = found ? m->v[i].sub != NULL
				    : root || (depth < s->depth && !model_rand(r, 8));

		if (!is_sub)
			return model_op_put(r, s, m, b, key, e);
		if (bolt_bucket_make(b, key, &b, e))
			return -1;
		m = model_make(m, key);
		if (++depth > s->depth)
			return 0;
	}
}

#endif
