/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/reach.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "importer/daemon.h"

#define GC_PREFIX "containerd.io/gc."
#define LABEL_ROOT GC_PREFIX "root"
#define LABEL_EXPIRE GC_PREFIX "expire"
#define LABEL_FLAT GC_PREFIX "flat"
#define LABEL_REF GC_PREFIX "ref."
#define LABEL_BACK GC_PREFIX "bref." /* since 2.2 */

struct reach_ref {
	size_t from;
	struct reach_id to;
	enum reach_kind kind;
	size_t target; /* nodes[target]; n = none */
};

void reach_release(struct reach *r)
{
	free(r->nodes);
	free(r->refs);
	free(r->order);
	*r = (struct reach){ 0 };
}

/* ---- graph ---------------------------------------------------------------------------------- */

size_t reach_add(struct reach *r, const struct reach_id *id, bool root)
{
	r->nodes = k3_xgrow(r->nodes, r->n, &r->cap, sizeof(*r->nodes));
	r->nodes[r->n] = (struct reach_node){ .id = *id, .root = root };
	return r->n++;
}

void reach_refer(struct reach *r, size_t from, const struct reach_id *to, enum reach_kind kind)
{
	r->refs = k3_xgrow(r->refs, r->nrefs, &r->refs_cap, sizeof(*r->refs));
	r->refs[r->nrefs++] = (struct reach_ref){ .from = from, .to = *to, .kind = kind };
}

static int val_cmp(struct bolt_val a, struct bolt_val b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c ? c : (a.n > b.n) - (a.n < b.n);
}

static int id_cmp(const struct reach_id *a, const struct reach_id *b)
{
	int c = (int)a->type - (int)b->type;

	c = c ? c : val_cmp(a->ns, b->ns);
	c = c ? c : val_cmp(a->sub, b->sub);
	return c ? c : val_cmp(a->key, b->key);
}

static int order_cmp(const void *a, const void *b, void *nodes)
{
	const struct reach_node *n = nodes;

	return id_cmp(&n[*(const size_t *)a].id, &n[*(const size_t *)b].id);
}

/* Its place in nodes; n = none. */
static size_t find(const struct reach *r, const struct reach_id *id)
{
	size_t low = 0, high = r->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = id_cmp(&r->nodes[r->order[mid]].id, id);

		if (!c)
			return r->order[mid];
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return r->n;
}

static int ref_cmp(const void *a, const void *b)
{
	const struct reach_ref *x = a, *y = b;

	return (x->from > y->from) - (x->from < y->from);
}

/* Once: names become numbers, and what leads back is turned round. */
static void settle(struct reach *r)
{
	size_t used = 0;

	r->order = k3_xcalloc(r->n + 1, sizeof(*r->order));
	for (size_t k = 0; k < r->n; k++)
		r->order[k] = k;
	if (r->n)
		qsort_r(r->order, r->n, sizeof(*r->order), order_cmp, r->nodes);
	for (size_t k = 0; k < r->nrefs; k++) {
		struct reach_ref ref = r->refs[k];

		ref.target = find(r, &ref.to);
		if (ref.target == r->n)
			continue;
		if (ref.kind == REACH_BACK) {
			size_t from = ref.from;

			ref.from = ref.target;
			ref.target = from;
		}
		r->refs[used++] = ref;
	}
	r->nrefs = used;
	if (used)
		qsort(r->refs, used, sizeof(*r->refs), ref_cmp);
}

struct reach_node *reach_find(struct reach *r, const struct reach_id *id)
{
	size_t k;

	if (!r->order)
		settle(r);
	k = find(r, id);
	return k < r->n ? &r->nodes[k] : NULL;
}

/* What a reference passes on of the mark of where it comes from. */
static enum reach_mark passes(enum reach_kind kind, enum reach_mark mark)
{
	if (kind == REACH_PARENT)
		return mark;
	if (mark != REACH_FULL)
		return REACH_NONE;
	return kind == REACH_HOLD ? REACH_FLAT : REACH_FULL;
}

/* The nodes still to be followed; one may come twice, flat and then full. */
struct todo {
	size_t *v;
	size_t n, cap;
};

static void raise_mark(struct reach *r, struct todo *t, size_t k, enum reach_mark mark)
{
	struct reach_node *node = &r->nodes[k];

	if (node->dropped || node->mark >= mark)
		return;
	node->mark = mark;
	t->v = k3_xgrow(t->v, t->n, &t->cap, sizeof(*t->v));
	t->v[t->n++] = k;
}

/* The first reference of a node. */
static size_t first_ref(const struct reach *r, size_t from)
{
	size_t low = 0, high = r->nrefs;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r->refs[mid].from < from)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void reach_mark(struct reach *r)
{
	struct todo t = { 0 };

	if (!r->order)
		settle(r);
	for (size_t k = 0; k < r->n; k++)
		r->nodes[k].mark = REACH_NONE;
	for (size_t k = 0; k < r->n; k++)
		if (r->nodes[k].root)
			raise_mark(r, &t, k, REACH_FULL);
	while (t.n) {
		size_t from = t.v[--t.n];

		for (size_t k = first_ref(r, from); k < r->nrefs && r->refs[k].from == from; k++)
			raise_mark(r, &t, r->refs[k].target,
				   passes(r->refs[k].kind, r->nodes[from].mark));
	}
	free(t.v);
}

/* ---- labels --------------------------------------------------------------------------------- */

static struct bolt_val behind(struct bolt_val v, size_t n)
{
	return (struct bolt_val){ (const char *)v.p + n, v.n - n };
}

/* Takes a prefix away. */
static bool skip(struct bolt_val *v, const char *prefix)
{
	size_t n = strlen(prefix);

	if (v->n < n || memcmp(v->p, prefix, n) != 0)
		return false;
	*v = behind(*v, n);
	return true;
}

/* "content", "content.…" and "content/…" name one thing, "contents" does not. */
static bool names(struct bolt_val rest, const char *what)
{
	return skip(&rest, what) &&
	       (!rest.n || *(const char *)rest.p == '.' || *(const char *)rest.p == '/');
}

void reach_label(struct reach *r, size_t from, struct bolt_val key, struct bolt_val value)
{
	struct reach_id to = { .ns = r->nodes[from].id.ns, .key = value };
	enum reach_kind kind = REACH_REF;
	const char *slash;

	if (!skip(&key, LABEL_REF)) {
		if (!skip(&key, LABEL_BACK))
			return;
		kind = REACH_BACK;
	}
	if (names(key, "content")) {
		to.type = REACH_BLOB;
	} else if (names(key, "image")) {
		to.type = REACH_IMAGE;
	} else if (names(key, "container")) {
		to.type = REACH_CONTAINER;
	} else if (skip(&key, "snapshot.")) {
		to.type = REACH_SNAPSHOT;
		to.sub = key;
		slash = key.n ? memchr(key.p, '/', key.n) : NULL;
		if (slash)
			to.sub.n = (size_t)(slash - (const char *)key.p);
	} else {
		/* Kept by something that this program cannot look for. */
		if (kind == REACH_BACK)
			r->nodes[from].root = true;
		return;
	}
	reach_refer(r, from, &to, kind);
}

/* A number of exactly n digits. */
static bool digits(const char **p, const char *end, size_t n, int *out)
{
	*out = 0;
	if ((size_t)(end - *p) < n)
		return false;
	for (; n; n--, ++*p) {
		if (**p < '0' || **p > '9')
			return false;
		*out = *out * 10 + (**p - '0');
	}
	return true;
}

static bool sign(const char **p, const char *end, char c)
{
	return *p < end && *(*p)++ == c;
}

/* "Z", "+02:00": seconds east. */
static bool zone(const char *p, const char *end, int *east)
{
	int hours, minutes;
	bool west;

	*east = 0;
	if (end - p == 1 && (*p == 'Z' || *p == 'z'))
		return true;
	if (p == end || (*p != '+' && *p != '-'))
		return false;
	west = *p++ == '-';
	if (!digits(&p, end, 2, &hours) || !sign(&p, end, ':') || !digits(&p, end, 2, &minutes) ||
	    p != end)
		return false;
	*east = (hours * 60 + minutes) * (west ? -60 : 60);
	return true;
}

/* "2024-01-31T23:59:59" */
static bool date_and_time(const char **p, const char *end, struct tm *tm)
{
	int *const fields[] = { &tm->tm_year, &tm->tm_mon, &tm->tm_mday,
				&tm->tm_hour, &tm->tm_min, &tm->tm_sec };
	static const char between[] = "--T::";

	for (size_t k = 0; k < K3_ARRAY_LEN(fields); k++)
		if (!digits(p, end, k ? 2 : 4, fields[k]) ||
		    (between[k] && !sign(p, end, between[k])))
			return false;
	return tm->tm_mon >= 1 && tm->tm_mon <= 12 && tm->tm_mday >= 1 && tm->tm_mday <= 31 &&
	       tm->tm_hour <= 23 && tm->tm_min <= 59 && tm->tm_sec <= 60;
}

bool reach_time(struct bolt_val text, int64_t *out)
{
	const char *p = text.p, *end = text.n ? p + text.n : p;
	struct tm tm = { 0 };
	int east;

	if (!text.n || !date_and_time(&p, end, &tm))
		return false;
	if (p < end && *p == '.')
		for (p++; p < end && *p >= '0' && *p <= '9'; p++)
			;
	if (!zone(p, end, &east))
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	*out = (int64_t)timegm(&tm) - east;
	return true;
}

/* ---- records -------------------------------------------------------------------------------- */

/* The bucket that is looked at, and where it is. */
struct scan {
	struct reach *r;
	struct bolt_val ns, sub;
};
typedef int scan_fn(struct scan *s, struct bolt_val key, struct bolt_bucket *rec, struct k3_err *e);

/* Calls fn for each bucket in b, which may be NULL. */
static int each(struct scan *s, struct bolt_bucket *b, scan_fn *fn, struct k3_err *e)
{
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	struct bolt_bucket *rec;
	bool more = b != NULL;

	while (more) {
		if (bolt_next(b, &it, &item, &more, e))
			return -1;
		if (!more || !item.is_bucket)
			continue;
		if (bolt_bucket_get(b, item.key, &rec, e) || fn(s, item.key, rec, e))
			return -1;
	}
	return 0;
}

static int each_in(struct scan *s, struct bolt_bucket *b, const char *name, scan_fn *fn,
		   struct k3_err *e)
{
	struct bolt_bucket *sub;

	return imp_sub(b, BOLT_STR(name), &sub, e) || each(s, sub, fn, e) ? -1 : 0;
}

/* The labels of a record: what it refers to, and whether it is a root. */
static int labels(struct scan *s, size_t node, struct bolt_bucket *rec, struct k3_err *e)
{
	struct bolt_bucket *all;
	struct bolt_iter it = { { GC_PREFIX, strlen(GC_PREFIX) } };
	struct bolt_item item;
	bool more;

	if (imp_sub(rec, BOLT_STR("labels"), &all, e))
		return -1;
	for (more = all != NULL; more;) {
		struct bolt_val rest;

		if (bolt_next(all, &it, &item, &more, e))
			return -1;
		if (!more)
			break;
		rest = item.key;
		if (!skip(&rest, GC_PREFIX))
			break;
		if (item.is_bucket)
			continue;
		if (imp_val_eq(item.key, BOLT_STR(LABEL_ROOT)))
			s->r->nodes[node].root = true;
		reach_label(s->r, node, item.key, item.val);
	}
	return 0;
}

static int add(struct scan *s, enum reach_type type, struct bolt_val key, bool root,
	       struct bolt_bucket *rec, size_t *node, struct k3_err *e)
{
	const struct reach_id id = { type, s->ns, s->sub, key };

	*node = reach_add(s->r, &id, root);
	return labels(s, *node, rec, e);
}

/* A field of the record names another one. */
static int refer(struct scan *s, size_t node, struct reach_id to, struct bolt_bucket *rec,
		 const char *field, enum reach_kind kind, struct k3_err *e)
{
	if (bolt_get(rec, BOLT_STR(field), &to.key, e))
		return -1;
	to.ns = s->ns;
	if (to.key.n)
		reach_refer(s->r, node, &to, kind);
	return 0;
}

static int scan_image(struct scan *s, struct bolt_val key, struct bolt_bucket *rec,
		      struct k3_err *e)
{
	const struct reach_id blob = { .type = REACH_BLOB };
	struct bolt_bucket *target;
	size_t node;

	if (add(s, REACH_IMAGE, key, true, rec, &node, e) ||
	    imp_sub(rec, BOLT_STR("target"), &target, e))
		return -1;
	return target ? refer(s, node, blob, target, "digest", REACH_REF, e) : 0;
}

static int scan_blob(struct scan *s, struct bolt_val key, struct bolt_bucket *rec, struct k3_err *e)
{
	size_t node;

	return add(s, REACH_BLOB, key, false, rec, &node, e);
}

static int scan_ingest(struct scan *s, struct bolt_val key, struct bolt_bucket *rec,
		       struct k3_err *e)
{
	const struct reach_id blob = { .type = REACH_BLOB };
	struct bolt_val until, name;
	int64_t at;
	size_t node;

	if (bolt_get(rec, BOLT_STR("expireat"), &until, e) ||
	    bolt_get(rec, BOLT_STR("ref"), &name, e) ||
	    add(s, REACH_INGEST, key, imp_get_time(until, &at) && at >= s->r->now, rec, &node, e))
		return -1;
	s->r->nodes[node].name = name;
	return refer(s, node, blob, rec, "expected", REACH_REF, e);
}

static int scan_snapshot(struct scan *s, struct bolt_val key, struct bolt_bucket *rec,
			 struct k3_err *e)
{
	const struct reach_id parent = { .type = REACH_SNAPSHOT, .sub = s->sub };
	/* Those of other snapshotters are not ours to judge. */
	bool foreign = !imp_val_eq(s->sub, BOLT_STR(IMP_SNAPSHOTTER));
	struct bolt_val name;
	size_t node;

	if (bolt_get(rec, BOLT_STR("name"), &name, e) ||
	    add(s, REACH_SNAPSHOT, key, foreign, rec, &node, e))
		return -1;
	s->r->nodes[node].name = name;
	return refer(s, node, parent, rec, "parent", REACH_PARENT, e);
}

static int scan_snapshotter(struct scan *s, struct bolt_val key, struct bolt_bucket *b,
			    struct k3_err *e)
{
	int rc;

	s->sub = key;
	rc = each(s, b, scan_snapshot, e);
	s->sub = (struct bolt_val){ NULL, 0 };
	return rc;
}

static int scan_container(struct scan *s, struct bolt_val key, struct bolt_bucket *rec,
			  struct k3_err *e)
{
	struct reach_id snapshot = { .type = REACH_SNAPSHOT };
	size_t node;

	if (add(s, REACH_CONTAINER, key, true, rec, &node, e) ||
	    bolt_get(rec, BOLT_STR("snapshotter"), &snapshot.sub, e))
		return -1;
	return snapshot.sub.n ? refer(s, node, snapshot, rec, "snapshotKey", REACH_REF, e) : 0;
}

static int scan_other(struct scan *s, struct bolt_val key, struct bolt_bucket *rec,
		      struct k3_err *e)
{
	size_t node;

	return add(s, REACH_OTHER, key, true, rec, &node, e);
}

/* ---- leases --------------------------------------------------------------------------------- */

/* The keys of a set, each of which the lease keeps. */
static int held(struct scan *s, size_t node, struct bolt_bucket *set, struct reach_id to, bool flat,
		struct k3_err *e)
{
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = set != NULL;

	to.ns = s->ns;
	while (more) {
		if (bolt_next(set, &it, &item, &more, e))
			return -1;
		if (!more || item.is_bucket)
			continue;
		to.key = item.key;
		reach_refer(s->r, node, &to, flat ? REACH_HOLD : REACH_REF);
	}
	return 0;
}

static int held_in(struct scan *s, size_t node, struct bolt_bucket *rec, const char *set,
		   enum reach_type type, bool flat, struct k3_err *e)
{
	const struct reach_id to = { .type = type };
	struct bolt_bucket *b;

	return imp_sub(rec, BOLT_STR(set), &b, e) || held(s, node, b, to, flat, e) ? -1 : 0;
}

static int held_snapshots(struct scan *s, size_t node, struct bolt_bucket *rec, bool flat,
			  struct k3_err *e)
{
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	struct bolt_bucket *all, *set;
	bool more;

	if (imp_sub(rec, BOLT_STR("snapshots"), &all, e))
		return -1;
	for (more = all != NULL; more;) {
		struct reach_id to = { .type = REACH_SNAPSHOT };

		if (bolt_next(all, &it, &item, &more, e))
			return -1;
		if (!more || !item.is_bucket)
			continue;
		to.sub = item.key;
		if (bolt_bucket_get(all, item.key, &set, e) || held(s, node, set, to, flat, e))
			return -1;
	}
	return 0;
}

static bool is_ours(const struct scan *s, struct bolt_val key)
{
	const struct reach *r = s->r;

	return r->ours_are_stale && skip(&key, IMP_LEASE_PREFIX) &&
	       (!r->ours_in || imp_val_eq(s->ns, BOLT_STR(r->ours_in)));
}

static int scan_lease(struct scan *s, struct bolt_val key, struct bolt_bucket *rec,
		      struct k3_err *e)
{
	struct bolt_val until = { NULL, 0 }, flat = { NULL, 0 };
	struct bolt_bucket *all;
	int64_t at;
	bool dead;
	size_t node;

	if (imp_sub(rec, BOLT_STR("labels"), &all, e))
		return -1;
	if (all && (bolt_get(all, BOLT_STR(LABEL_EXPIRE), &until, e) ||
		    bolt_get(all, BOLT_STR(LABEL_FLAT), &flat, e)))
		return -1;
	/* A time that cannot be read is none: such a lease never ends. */
	dead = is_ours(s, key) || (reach_time(until, &at) && at < s->r->now);
	if (add(s, REACH_LEASE, key, !dead, rec, &node, e) ||
	    held_in(s, node, rec, "content", REACH_BLOB, flat.p, e) ||
	    held_in(s, node, rec, "ingests", REACH_INGEST, false, e) ||
	    held_in(s, node, rec, "images", REACH_IMAGE, false, e))
		return -1;
	return held_snapshots(s, node, rec, flat.p, e);
}

/* ---- all of it ------------------------------------------------------------------------------ */

static int scan_content(struct scan *s, struct bolt_bucket *b, struct k3_err *e)
{
	return each_in(s, b, "blob", scan_blob, e) || each_in(s, b, "ingests", scan_ingest, e) ? -1
											       : 0;
}

/* One kind of objects of a namespace. */
static int scan_objects(struct scan *s, struct bolt_val key, struct bolt_bucket *b,
			struct k3_err *e)
{
	static const struct {
		const char *name;
		scan_fn *fn;
	} kinds[] = { { "images", scan_image },
		      { "snapshots", scan_snapshotter },
		      { "containers", scan_container },
		      { "leases", scan_lease } };

	if (imp_val_eq(key, BOLT_STR("labels")))
		return 0;
	if (imp_val_eq(key, BOLT_STR("content")))
		return scan_content(s, b, e);
	for (size_t k = 0; k < K3_ARRAY_LEN(kinds); k++)
		if (imp_val_eq(key, BOLT_STR(kinds[k].name)))
			return each(s, b, kinds[k].fn, e);
	/* Whatever it is, what its labels refer to stays. */
	return each(s, b, scan_other, e);
}

static int scan_namespace(struct scan *s, struct bolt_val key, struct bolt_bucket *b,
			  struct k3_err *e)
{
	struct scan in = { .r = s->r, .ns = key };

	return each(&in, b, scan_objects, e);
}

/* containerd 1.7 keeps sandboxes beside v1, in the same form. */
static int scan_top(struct scan *s, struct bolt_val key, struct bolt_bucket *b, struct k3_err *e)
{
	struct scan in = { .r = s->r, .ns = key };

	if (imp_val_eq(key, BOLT_STR("v1")))
		return each(s, b, scan_namespace, e);
	return each_in(&in, b, "sandboxes", scan_other, e);
}

int reach_scan(struct reach *r, struct bolt_txn *meta, struct k3_err *e)
{
	struct scan s = { .r = r };

	return each(&s, bolt_root(meta), scan_top, e) ? k3_wrap(e, "meta.db") : 0;
}
