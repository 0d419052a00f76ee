/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/plan.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "importer/content.h"
#include "importer/labels.h"
#include "importer/native.h"
#include "importer/root.h"

static int gone(struct k3_err *e, const char *what, const struct oci_digest *d)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(d, text);
	k3_fail(e, K3_BUSY, "the store was changed meanwhile: %s %s is not there any more", what,
		text);
	return k3_hint(e, "run again");
}

/* ---- blobs -------------------------------------------------------------------------- */

/* A blob must be staged by this run or be in the store. */
static int check_blob(struct imp_view *v, const struct oci_desc *d, struct k3_err *e)
{
	bool exists, whole = imp_blob_file(v->i, d, &exists), record;
	struct imp_staged *s = imp_staged_find(v->i, &d->digest);

	if (!s)
		return whole ? 0 : gone(e, "blob", &d->digest);
	if (imp_view_blob_record(v, d, &record, e))
		return -1;
	/* Bytes that we have verified beat a file that no record vouches for. */
	if (!whole || !record)
		s->replace = true;
	return 0;
}

/* ---- trees -------------------------------------------------------------------------- */

static struct imp_tree *alive(struct imp_tree *t)
{
	while (t && t->dropped)
		t = t->parent;
	return t;
}

static int tree_cmp(const void *a, const void *b)
{
	const struct imp_tree *const *x = a, *const *y = b;

	return memcmp(&(*x)->chain, &(*y)->chain, sizeof((*x)->chain));
}

static size_t sort_trees(struct imp *i, struct imp_tree ***out)
{
	struct imp_tree **v = k3_xcalloc(i->ntrees, sizeof(struct imp_tree *));
	size_t n = 0;

	for (size_t k = 0; k < i->ntrees; k++)
		if (i->trees[k]->sealed && !i->trees[k]->dropped)
			v[n++] = i->trees[k];
	qsort(v, n, sizeof(struct imp_tree *), tree_cmp);
	*out = v;
	return n;
}

/* The key "<our namespace>/<number>/<chain>" of a record that no record of meta.db names. */
static bool is_name_of(const struct imp *i, struct bolt_val key, const char *chain)
{
	size_t ns = strlen(i->ns), n = strlen(chain);
	const char *p = key.p;

	if (key.n < ns + n + 3 || memcmp(p, i->ns, ns) != 0 || p[ns] != '/' ||
	    memcmp(p + key.n - n, chain, n) != 0 || p[key.n - n - 1] != '/')
		return false;
	for (size_t k = ns + 1; k < key.n - n - 1; k++)
		if (p[k] < '0' || p[k] > '9')
			return false;
	return true;
}

static int find_unnamed(struct imp_view *v, struct imp_tree *t, const char *chain, struct k3_err *e)
{
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true, found;
	int kind;

	while (v->backend) {
		if (bolt_next(v->backend, &it, &item, &more, e))
			return -1;
		if (!more)
			break;
		if (!item.is_bucket || !is_name_of(v->i, item.key, chain))
			continue;
		t->old_name = k3_xstrndup(item.key.p, item.key.n);
		return imp_native_find(v->backend, item.key, &t->old_id, &kind, &found, e);
	}
	return 0;
}

/* What t takes the place of. */
static int find_old(struct imp_view *v, struct imp_tree *t, struct k3_err *e)
{
	char chain[OCI_DIGEST_TEXT_MAX];
	struct bolt_bucket *rec = NULL;
	struct bolt_val name = { 0 };
	bool found = false;
	int kind;

	oci_digest_format(&t->chain, chain);
	if (v->chains && imp_sub(v->chains, BOLT_STR(chain), &rec, e))
		return -1;
	if (rec && bolt_get(rec, BOLT_STR("name"), &name, e))
		return -1;
	if (!name.n)
		return imp_distrusts_chain(v->i, &t->chain) ? find_unnamed(v, t, chain, e) : 0;
	t->old_name = k3_xstrndup(name.p, name.n);
	t->old_named = true;
	if (v->backend && imp_native_find(v->backend, name, &t->old_id, &kind, &found, e))
		return -1;
	if (!v->backend || !found)
		t->old_id = 0;
	return 0;
}

static void choose(struct imp_plan *p, struct imp_tree *t)
{
	t->chosen = true;
	p->trees = k3_xgrow(p->trees, p->ntrees, &p->trees_cap, sizeof(struct imp_tree *));
	p->trees[p->ntrees++] = t;
}

/* What t is going to hang on: a record of the store, or nothing that has one yet. */
static int find_parent(struct imp_view *v, struct imp_tree *t, struct k3_err *e)
{
	struct imp_tree *up = alive(t->parent), *root = t;
	struct imp_snapshot s;
	bool found;

	/* All trees between were dropped: what the lowest of them stood on counts. */
	while (!up && root->parent)
		root = root->parent;
	t->parent = up;
	t->parent_id = up ? 0 : root->parent_id;
	t->parent_chain = up ? up->chain : root->parent_chain;
	if (!up && !t->parent_id)
		return 0;
	if (imp_view_snapshot(v, &t->parent_chain, &s, &found, e))
		return -1;
	if (!up && (!found || s.id != t->parent_id))
		return gone(e, "snapshot", &t->parent_chain);
	if (!found)
		return 0;
	free(t->parent_name);
	t->parent_name = k3_xstrndup(s.name.p, s.name.n);
	t->parent_name_id = s.id;
	t->parent = NULL;
	return 0;
}

/* Chooses a tree and those below it which the store does not have. */
static int choose_branch(struct imp_view *v, struct imp_plan *p, struct imp_tree *top,
			 struct k3_err *e)
{
	size_t first = p->ntrees;

	for (struct imp_tree *t = top; t && !t->chosen; t = t->parent) {
		if (find_parent(v, t, e) || find_old(v, t, e))
			return -1;
		choose(p, t);
	}
	for (size_t low = first, high = p->ntrees; low + 1 < high; low++, high--) {
		struct imp_tree *swap = p->trees[low];

		p->trees[low] = p->trees[high - 1];
		p->trees[high - 1] = swap;
	}
	return 0;
}

/* The usable trees of this run, sorted by chain. */
struct usable {
	struct imp_tree **v;
	size_t n;
};

static int choose_chain(struct imp_view *v, struct imp_plan *p, struct imp_image *im,
			const struct oci_digest *chain, const struct usable *u, struct k3_err *e)
{
	struct imp_tree key = { .chain = *chain }, *want = &key, **tree;
	struct imp_snapshot s;
	bool found;

	if (imp_view_snapshot(v, chain, &s, &found, e))
		return -1;
	if (found)
		return 0;
	tree = u->n ? bsearch(&want, u->v, u->n, sizeof(struct imp_tree *), tree_cmp) : NULL;
	if (!tree)
		return gone(e, "snapshot", chain);
	im->changed = true;
	return choose_branch(v, p, *tree, e);
}

static int choose_trees(struct imp_view *v, struct imp_plan *p, struct k3_err *e)
{
	K3_AUTO_FREE struct imp_tree **sorted = NULL;
	struct usable u = { .n = sort_trees(v->i, &sorted) };

	u.v = sorted;
	for (size_t k = 0; k < v->i->nimages; k++) {
		struct imp_image *im = v->i->images[k];
		size_t lowest = im->every_chain || !im->img->nlayers ? 0 : im->img->nlayers - 1;

		for (size_t l = im->img->nlayers; l-- > 0;) {
			const struct oci_digest *chain = &im->img->layers[l].chain_id;

			if ((l >= lowest || imp_distrusts_chain(v->i, chain)) &&
			    choose_chain(v, p, im, chain, &u, e))
				return -1;
		}
	}
	return 0;
}

/* Counting up from here never comes back to 0. */
#define NUMBERS_MAX (UINT64_MAX / 2)

/* A directory without a record under a number not given out yet: left alone, passed over. */
static bool is_taken(struct imp *i, uint64_t id)
{
	char path[IMP_PATH_MAX];
	struct stat st;

	imp_snapshot_path(id, path);
	return fstatat(i->rootfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int name_tree(struct imp_view *v, struct imp_plan *p, struct imp_tree *t, struct k3_err *e)
{
	char chain[OCI_DIGEST_TEXT_MAX];
	struct bolt_bucket *other = NULL;

	do {
		p->last_id++;
	} while (is_taken(v->i, p->last_id));
	t->id = p->last_id;
	oci_digest_format(&t->chain, chain);
	do {
		free(t->name);
		t->name = k3_xasprintf("%s/%" PRIu64 "/%s", v->i->ns, ++p->last_seq, chain);
		if (v->backend && imp_sub(v->backend, BOLT_STR(t->name), &other, e))
			return -1;
	} while (other);
	if (t->parent) {
		free(t->parent_name);
		t->parent_name = k3_xstrdup(t->parent->name);
		t->parent_name_id = t->parent->id;
	}
	return 0;
}

static int name_trees(struct imp_view *v, struct imp_plan *p, struct k3_err *e)
{
	if (!p->ntrees)
		return 0;
	p->last_id = v->backend ? bolt_sequence(v->backend) : 0;
	/* A sequence that fell behind its records is damage, too. */
	if (p->last_id < v->i->highest_native)
		p->last_id = v->i->highest_native;
	p->last_seq = v->chains ? bolt_sequence(v->chains) : 0;
	if (p->last_id > NUMBERS_MAX || p->last_seq > NUMBERS_MAX) {
		k3_fail(e, K3_STORE, "no snapshot numbers are left after %" PRIu64 " and %" PRIu64,
			p->last_id, p->last_seq);
		return k3_hint(e, "no store comes that far: one of its databases is damaged; "
				  "restore both from a backup, or begin with a new root");
	}
	for (size_t k = 0; k < p->ntrees; k++)
		if (name_tree(v, p, p->trees[k], e))
			return -1;
	return 0;
}

/* ---- image names -------------------------------------------------------------------- */

/* Takes text. */
static void add_name(struct imp_plan *p, struct imp_image *im, size_t order, char *text)
{
	p->names = k3_xgrow(p->names, p->nnames, &p->names_cap, sizeof(*p->names));
	p->names[p->nnames++] = (struct imp_name){ text, im, order };
}

static void add_names(struct imp_plan *p, struct imp_image *im, size_t order)
{
	char id[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(&im->img->config.digest, id);
	add_name(p, im, order, k3_xstrdup(id));
	add_name(p, im, order, oci_ref_with_digest(im->ref, &im->docs[0].desc.digest));
	if (!im->ref->has_digest)
		add_name(p, im, order, oci_ref_name(im->ref));
	if (im->literal_name)
		add_name(p, im, order, k3_xstrdup(im->literal_name));
}

static int name_cmp(const void *a, const void *b)
{
	const struct imp_name *x = a, *y = b;
	int order = strcmp(x->text, y->text);

	return order ? order : (x->order > y->order) - (x->order < y->order);
}

static void unique_names(struct imp_plan *p)
{
	size_t n = 0;

	if (!p->nnames)
		return;
	qsort(p->names, p->nnames, sizeof(*p->names), name_cmp);
	for (size_t k = 1; k < p->nnames; k++) {
		if (strcmp(p->names[n].text, p->names[k].text))
			n++;
		else
			free(p->names[n].text);
		p->names[n] = p->names[k];
	}
	p->nnames = n + 1;
}

int imp_plan_make(struct imp_view *v, struct imp_plan *p, struct k3_err *e)
{
	for (size_t k = 0; k < v->i->nimages; k++) {
		struct imp_image *im = v->i->images[k];

		for (size_t b = 0; b < imp_image_blobs(im); b++)
			if (check_blob(v, imp_image_blob(im, b), e))
				return -1;
		add_names(p, im, k);
	}
	unique_names(p);
	return choose_trees(v, p, e) || name_trees(v, p, e) ? -1 : 0;
}

void imp_plan_release(struct imp_plan *p)
{
	for (size_t k = 0; k < p->nnames; k++)
		free(p->names[k].text);
	free(p->names);
	free(p->trees);
}
