/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What to fetch and what to build.
 *
 * The layers of all images form a trie whose edges are layers and whose nodes are chain IDs.
 * A snapshot is built for a node when an image ends there, when two or more branches that
 * must be built leave it (flat mode), or always (chain mode), unless the store has it.
 */
#include <stdlib.h>

#include "pipeline/bundled.h"

static struct blob *blob_for(struct run *r, struct image *im, const struct oci_desc *d)
{
	struct blob *b = oci_map_get(&r->blob_map, &d->digest);

	if (!b) {
		b = k3_xcalloc(1, sizeof(*b));
		b->desc = d;
		r->blobs = k3_xgrow(r->blobs, r->nblobs, &r->cap_blobs, sizeof(struct blob *));
		r->blobs[r->nblobs++] = b;
		oci_map_put(&r->blob_map, &d->digest, b);
	}
	/* An image may use one blob for several layers. */
	if (!b->nusers || b->users[b->nusers - 1] != im) {
		b->users = k3_xgrow(b->users, b->nusers, &b->cap_users, sizeof(struct image *));
		b->users[b->nusers++] = im;
	}
	return b;
}

static struct node *node_for(struct run *r, const struct oci_layer *l, struct node *parent,
			     struct blob *blob)
{
	struct node *n = oci_map_get(&r->node_map, &l->chain_id);

	if (n)
		return n;
	n = k3_xcalloc(1, sizeof(*n));
	n->layer = l;
	n->blob = blob;
	n->parent = parent;
	n->depth = parent ? parent->depth + 1 : 0;
	*r->last_node = n;
	r->last_node = &n->next;
	oci_map_put(&r->node_map, &l->chain_id, n);
	return n;
}

static int same_size(const struct blob *b, const struct oci_desc *d, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];

	if (b->desc->size == d->size)
		return 0;
	oci_digest_format(&d->digest, text);
	return k3_fail(e, K3_DIGEST, "layer %s has %llu bytes here and %llu in another image", text,
		       (unsigned long long)d->size, (unsigned long long)b->desc->size);
}

static int add_image(struct run *r, struct image *im, struct k3_err *e)
{
	struct node *parent = NULL;

	im->nodes = k3_xcalloc(im->img->nlayers, sizeof(struct node *));
	for (size_t i = 0; i < im->img->nlayers; i++) {
		const struct oci_layer *l = &im->img->layers[i];
		struct blob *b = oci_map_get(&r->blob_map, &l->blob.digest);

		if (b && same_size(b, &l->blob, e))
			return -1;
	}
	for (size_t i = 0; i < im->img->nlayers; i++) {
		const struct oci_layer *l = &im->img->layers[i];

		parent = node_for(r, l, parent, blob_for(r, im, &l->blob));
		im->nodes[i] = parent;
	}
	if (parent)
		parent->top = true;
	return 0;
}

const struct oci_desc *resolved_document(const struct oci_resolved *f, size_t k,
					 const struct k3_buf **body)
{
	*body = k < f->ndocs ? &f->docs[k].body : &f->config;
	return k < f->ndocs ? &f->docs[k].desc : &f->image.config;
}

/*
 * A document that was found on disk without a record is staged like one that was fetched:
 * containerd may remove the file at any moment.
 */
static int stage_documents(struct run *r, struct imp_view *v, bool *lacks, struct k3_err *e)
{
	for (size_t i = 0; i < r->nimages; i++) {
		const struct oci_resolved *f = &r->images[i].found;

		for (size_t k = 0; !r->images[i].finished && k <= f->ndocs; k++) {
			const struct k3_buf *body;
			const struct oci_desc *d = resolved_document(f, k, &body);
			bool have;

			if (imp_view_blob(v, d, &have, e) ||
			    (!have && imp_blob_put(r->imp, d, body->p, body->len, e)))
				return -1;
			*lacks |= !have;
		}
	}
	return 0;
}

/* *lacks: containerd has no record of a document. */
static int look_once(struct run *r, bool *lacks, struct k3_err *e)
{
	struct imp_view *v;

	*lacks = false;
	if (imp_view_open(r->imp, &v, e))
		return -1;
	int rc = imp_is_live(r->imp) ? stage_documents(r, v, lacks, e) : 0;

	for (size_t i = 0; !rc && i < r->nblobs; i++)
		rc = imp_view_blob(v, r->blobs[i]->desc, &r->blobs[i]->stored, e);
	for (struct node *n = r->nodes; !rc && n; n = n->next) {
		bool have;

		rc = imp_view_chain(v, &n->layer->chain_id, &n->store_id, &have, e);
		if (!rc && !have)
			n->store_id = 0;
	}
	imp_view_close(v);
	return rc;
}

/* What the store has of all this. */
struct owned {
	struct oci_digest *blobs, *chains;
	size_t nblobs, nchains, blobs_cap, chains_cap;
	bool lacks; /* and something it has not */
};

static void owned_release(struct owned *o)
{
	free(o->blobs);
	free(o->chains);
}

static void add_blob(struct owned *o, const struct oci_desc *d)
{
	o->blobs = k3_xgrow(o->blobs, o->nblobs, &o->blobs_cap, sizeof(*o->blobs));
	o->blobs[o->nblobs++] = d->digest;
}

static void gather(const struct run *r, struct owned *o)
{
	for (size_t i = 0; i < r->nimages; i++) {
		const struct oci_resolved *f = &r->images[i].found;
		const struct k3_buf *unused;

		for (size_t k = 0; !r->images[i].finished && k <= f->ndocs; k++)
			add_blob(o, resolved_document(f, k, &unused));
	}
	for (size_t i = 0; i < r->nblobs; i++) {
		o->lacks |= !r->blobs[i]->stored;
		if (r->blobs[i]->stored)
			add_blob(o, r->blobs[i]->desc);
	}
	for (const struct node *n = r->nodes; n; n = n->next) {
		o->lacks |= !n->store_id && n->top;
		if (!n->store_id)
			continue;
		o->chains = k3_xgrow(o->chains, o->nchains, &o->chains_cap, sizeof(*o->chains));
		o->chains[o->nchains++] = n->layer->chain_id;
	}
}

/* containerd may collect what it has while we build on it: it is told to keep that. */
static int look_at_store(struct run *r, struct k3_err *e)
{
	__attribute__((cleanup(owned_release))) struct owned o = { 0 };

	if (look_once(r, &o.lacks, e))
		return -1;
	if (!imp_is_live(r->imp))
		return 0;
	gather(r, &o);
	if (!o.lacks || (!o.nblobs && !o.nchains))
		return 0;
	if (imp_hold(r->imp, o.blobs, o.nblobs, o.chains, o.nchains, e))
		return -1;
	return look_once(r, &o.lacks, e);
}

/* Marks the path from a node to be built down to the nearest one the store has. */
static void want(struct node *n)
{
	while (n && !n->store_id && !n->wanted) {
		n->wanted = true;
		n = n->parent;
		if (n)
			n->wanted_children++;
	}
}

/* An image ends here, every layer gets a tree, or the one that there is must be replaced. */
static bool is_asked_for(const struct run *r, const struct node *n)
{
	return n->top || r->o->snapshots == PL_CHAIN ||
	       (r->imp && imp_distrusts_chain(r->imp, &n->layer->chain_id));
}

bool plan_needs_tree(const struct run *r, const struct node *n)
{
	return n->wanted && (is_asked_for(r, n) || n->wanted_children > 1);
}

void plan_mark(struct run *r)
{
	for (struct node *n = r->nodes; n; n = n->next) {
		n->wanted = false;
		n->wanted_children = 0;
	}
	for (struct node *n = r->nodes; n; n = n->next)
		if (is_asked_for(r, n))
			want(n);
}

static void add_tree(struct run *r, struct node *n)
{
	struct tree *t = k3_xcalloc(1, sizeof(*t));
	struct node *base = n->parent;
	size_t len = 1;

	for (; base && !base->tree && !base->store_id; base = base->parent)
		len++;
	t->node = n;
	t->base_node = base;
	t->base = base ? base->tree : NULL;
	t->owner = n->blob->users[0];
	t->path = k3_xcalloc(len, sizeof(struct node *));
	t->npath = len;
	for (struct node *p = n; len; p = p->parent)
		t->path[--len] = p;
	n->tree = t;
	r->trees = k3_xgrow(r->trees, r->ntrees, &r->cap_trees, sizeof(struct tree *));
	r->trees[r->ntrees++] = t;
}

int plan_make(struct run *r, struct k3_err *e)
{
	r->last_node = &r->nodes;
	for (size_t i = 0; i < r->nimages; i++) {
		struct image *im = &r->images[i];
		struct k3_err err;

		if (im->finished || !add_image(r, im, &err))
			continue;
		K3_WITH_MONITOR(r->mon);
		run_fail_image_locked(r, im, &err);
	}
	if (r->o->bundle && bundled_plan(r, e))
		return -1;
	if (r->blobs_only)
		return 0;
	bool lacks;

	if (r->look_only)
		return r->imp ? look_once(r, &lacks, e) : 0;
	if (look_at_store(r, e))
		return -1;
	plan_mark(r);
	/* Nodes are listed parents first, so a base always has its tree before its children. */
	for (struct node *n = r->nodes; n; n = n->next)
		if (plan_needs_tree(r, n))
			add_tree(r, n);
	return 0;
}

void plan_release(struct run *r)
{
	for (size_t i = 0; i < r->ntrees; i++) {
		free(r->trees[i]->path);
		free(r->trees[i]);
	}
	free(r->trees);
	for (struct node *n = r->nodes, *next; n; n = next) {
		next = n->next;
		free(n);
	}
	for (size_t i = 0; i < r->nblobs; i++) {
		free(r->blobs[i]->users);
		free(r->blobs[i]);
	}
	free(r->blobs);
	oci_map_release(&r->blob_map);
	oci_map_release(&r->node_map);
}
