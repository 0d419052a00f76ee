/* SPDX-License-Identifier: Apache-2.0 */
/* Where else something is: names in other namespaces, chain IDs of other snapshotters. */
#include <string.h>

#include "base/mem.h"
#include "importer/view.h"

typedef int bucket_fn(void *arg, const char *key, struct bolt_bucket *b, struct k3_err *e);

static int each_bucket(struct bolt_bucket *in, bucket_fn *fn, void *arg, struct k3_err *e)
{
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true;

	while (in) {
		struct bolt_bucket *b;

		if (bolt_next(in, &it, &item, &more, e))
			return -1;
		if (!more)
			break;
		if (!item.is_bucket)
			continue;
		K3_AUTO_FREE char *key = k3_xstrndup(item.key.p, item.key.n);

		if (bolt_bucket_get(in, item.key, &b, e) || fn(arg, key, b, e))
			return -1;
	}
	return 0;
}

/* What is looked for in each bucket, and who wants to know. */
struct search {
	const char *own, *key;
	imp_word_fn *fn;
	void *arg;
};

static int in_namespace(void *arg, const char *ns, struct bolt_bucket *b, struct k3_err *e)
{
	const struct search *s = arg;
	struct bolt_bucket *images, *rec = NULL;

	if (!strcmp(ns, s->own))
		return 0;
	if (imp_sub(b, BOLT_STR("images"), &images, e) ||
	    (images && imp_sub(images, BOLT_STR(s->key), &rec, e)))
		return -1;
	return rec ? s->fn(s->arg, ns, e) : 0;
}

int imp_view_elsewhere(struct imp_view *v, const char *name, imp_word_fn *fn, void *arg,
		       struct k3_err *e)
{
	struct search s = { .own = v->i->ns, .key = name, .fn = fn, .arg = arg };
	struct bolt_bucket *v1 = NULL;

	if (v->meta && imp_sub(bolt_root(v->meta), BOLT_STR("v1"), &v1, e))
		return k3_wrap(e, "meta.db");
	return each_bucket(v1, in_namespace, &s, e);
}

static int of_snapshotter(void *arg, const char *snapshotter, struct bolt_bucket *b,
			  struct k3_err *e)
{
	const struct search *s = arg;
	struct bolt_bucket *rec;

	if (imp_sub(b, BOLT_STR(s->key), &rec, e))
		return -1;
	return rec ? s->fn(s->arg, snapshotter, e) : 0;
}

int imp_view_snapshotters(struct imp_view *v, const struct oci_digest *chain, imp_word_fn *fn,
			  void *arg, struct k3_err *e)
{
	const struct bolt_val path[] = { BOLT_STR("v1"), BOLT_STR(v->i->ns),
					 BOLT_STR("snapshots") };
	struct bolt_bucket *all = NULL;
	char key[OCI_DIGEST_TEXT_MAX];
	struct search s = { .key = key, .fn = fn, .arg = arg };

	oci_digest_format(chain, key);
	if (v->meta && bolt_bucket_path(v->meta, path, K3_ARRAY_LEN(path), &all, e))
		return k3_wrap(e, "meta.db");
	return each_bucket(all, of_snapshotter, &s, e);
}
