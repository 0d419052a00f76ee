/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a preload would fetch and take on disk, before it is made.  Bytes to fetch are facts; what
 * trees take is reckoned, and docs/commands.md says from what the numbers here were measured.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/run.h"

#define BLOCK 4096u /* a file's bytes are rounded up to this */
#define HEAD 32u    /* bytes of a blob in which its form tells its size */
#define TAIL 4u

/* Decompressed bytes for each compressed one, in percent: of layers of gzip and zstd. */
static const struct pl_range ratio = { 130, 280, 530 };
/* Bytes on disk for each of a layer's tar, in percent. */
static const struct pl_range on_disk = { 90, 102, 160 };
/* Bytes of a layer's tar for each inode; few of them make many inodes. */
#define INODE_LIKELY 15000u
#define INODE_HIGH 2048u
#define INODE_LOW 200000u
/* Of 100 inodes, directories, which a tree cannot share with another; each is a block. */
static const struct pl_range dirs = { 2, 12, 25 };

/* What a layer makes, and the chain up to it. */
struct weight {
	struct pl_range bytes, inodes;         /* of the layer */
	struct pl_range all_bytes, all_inodes; /* with those below */
};

static void add(struct pl_range *to, const struct pl_range *more)
{
	to->low += more->low;
	to->likely += more->likely;
	to->high += more->high;
}

static uint64_t percent(uint64_t n, uint64_t of)
{
	/* Sizes are those of documents, which may claim anything. */
	return n > UINT64_MAX / 1000 ? UINT64_MAX / 1000 : n * of / 100;
}

static struct pl_range scale(const struct pl_range *r, const struct pl_range *by)
{
	return (struct pl_range){ percent(r->low, by->low), percent(r->likely, by->likely),
				  percent(r->high, by->high) };
}

/* ---- how large a layer is ------------------------------------------------------------ */

/* The two ends of a blob. */
struct ends {
	uint8_t head[HEAD], tail[TAIL];
	size_t n; /* of head */
};

static void take(struct ends *ends, const uint8_t *p, size_t n)
{
	size_t room = HEAD - ends->n, first = n < room ? n : room;

	memcpy(ends->head + ends->n, p, first);
	ends->n += first;
	if (n >= TAIL) {
		memcpy(ends->tail, p + n - TAIL, TAIL);
		return;
	}
	memmove(ends->tail, ends->tail + n, TAIL - n);
	memcpy(ends->tail + TAIL - n, p, n);
}

/* A blob that went meanwhile is one that tells nothing. */
static int stored_ends(struct run *r, const struct oci_desc *d, struct ends *out, bool *have,
		       struct k3_err *e)
{
	K3_AUTO_FD int fd = -1;
	ssize_t n;

	*have = false;
	if (imp_stored_open(r->imp, &d->digest, &fd, e))
		return e->code == K3_NOTFOUND ? 0 : -1;
	n = pread(fd, out->head, HEAD, 0);
	if (n < 0)
		return k3_fail_sys(e, errno, "cannot read a stored layer");
	out->n = (size_t)n;
	if (d->size < TAIL || pread(fd, out->tail, TAIL, (off_t)(d->size - TAIL)) != TAIL)
		return 0;
	*have = true;
	return 0;
}

/* All of it is read, and with that verified: an archive may be a stream of its own. */
static int archive_ends(struct archive *a, const struct oci_desc *d, struct ends *out,
			struct k3_err *e)
{
	__attribute__((cleanup(archive_reader_freep))) struct archive_reader *r = NULL;
	const uint8_t *p;
	size_t n;

	if (archive_reader_open(a, d, &r, e))
		return -1;
	do {
		if (archive_reader_next(r, &p, &n, e))
			return -1;
		if (n)
			take(out, p, n);
	} while (n);
	return 0;
}

static struct archive *archive_of(const struct blob *b)
{
	for (size_t i = 0; i < b->nusers; i++)
		if (b->users[i]->req->from)
			return b->users[i]->req->from;
	return NULL;
}

static int measure(struct run *r, const struct blob *b, struct pl_known *known,
		   struct pl_range *tar, struct k3_err *e)
{
	struct archive *a = archive_of(b);
	struct ends ends = { 0 };
	uint64_t size = 0;
	bool have = b->desc->media == OCI_MEDIA_LAYER_TAR;
	enum unpack_told how = UNPACK_UNTOLD;

	if (have) {
		how = UNPACK_PLAIN;
		size = b->desc->size;
	} else if (b->stored && stored_ends(r, b->desc, &ends, &have, e)) {
		return -1;
	} else if (!b->stored && a) {
		have = true;
		if (archive_ends(a, b->desc, &ends, e))
			return -1;
	}
	if (have && how == UNPACK_UNTOLD)
		how = unpack_told_size(ends.head, ends.n, ends.tail, b->desc->size, &size);
	known->plain += how == UNPACK_PLAIN;
	known->told += how == UNPACK_TOLD;
	known->guessed += how == UNPACK_UNTOLD;
	*tar = (struct pl_range){ size, size, size };
	if (how == UNPACK_UNTOLD)
		*tar = scale(&(struct pl_range){ b->desc->size, b->desc->size, b->desc->size },
			     &ratio);
	return 0;
}

static void weigh(struct weight *w, const struct pl_range *tar, const struct weight *below)
{
	w->bytes = scale(tar, &on_disk);
	w->inodes = (struct pl_range){ 1 + tar->low / INODE_LOW, 1 + tar->likely / INODE_LIKELY,
				       1 + tar->high / INODE_HIGH };
	w->all_bytes = w->bytes;
	w->all_inodes = w->inodes;
	if (below) {
		add(&w->all_bytes, &below->all_bytes);
		add(&w->all_inodes, &below->all_inodes);
	}
}

/* ---- what trees take ----------------------------------------------------------------- */

/* Weights of all nodes, by their place in the list; a node's parent is in front of it. */
struct weights {
	struct weight *v;
	struct oci_map places; /* of chain IDs, plus 1 */
};

static struct weight *weight_of(const struct weights *w, const struct node *n)
{
	return &w->v[(uintptr_t)oci_map_get(&w->places, &n->layer->chain_id) - 1];
}

static int weigh_all(struct run *r, struct weights *w, struct pl_known *known, struct k3_err *e)
{
	size_t n = 0;

	for (const struct node *at = r->nodes; at; at = at->next)
		n++;
	w->v = k3_xcalloc(n, sizeof(*w->v));
	n = 0;
	for (const struct node *at = r->nodes; at; at = at->next) {
		struct pl_range tar;

		if (k3_cancel_check(r->stop, e) || measure(r, at->blob, known, &tar, e))
			return -1;
		oci_map_put(&w->places, &at->layer->chain_id, (void *)(uintptr_t)++n);
		weigh(&w->v[n - 1], &tar, at->parent ? weight_of(w, at->parent) : NULL);
	}
	return 0;
}

static void weights_release(struct weights *w)
{
	free(w->v);
	oci_map_release(&w->places);
}

/* A tree that is cloned has directories of its own, and nothing else twice. */
static void add_clone(struct pl_cost *c, const struct weight *below)
{
	struct pl_range own = scale(&below->all_inodes, &dirs);

	add(&c->inodes, &own);
	c->bytes.low += own.low * BLOCK;
	c->bytes.likely += own.likely * BLOCK;
	c->bytes.high += own.high * BLOCK;
}

/* Each layer is unpacked once, into the tree of the next node above that gets one. */
static void reckon(struct run *r, const struct weights *w, struct pl_cost *c)
{
	plan_mark(r);
	for (const struct node *n = r->nodes; n; n = n->next) {
		const struct node *below = n->parent;

		if (!n->wanted)
			continue;
		add(&c->bytes, &weight_of(w, n)->bytes);
		add(&c->inodes, &weight_of(w, n)->inodes);
		if (!plan_needs_tree(r, n))
			continue;
		c->trees++;
		while (below && !below->store_id && !plan_needs_tree(r, below))
			below = below->parent;
		if (below)
			add_clone(c, weight_of(w, below));
	}
}

/* containerd copies what is below for every layer, and keeps each copy. */
static void reckon_native(const struct run *r, const struct weights *w, struct pl_cost *c)
{
	for (const struct node *n = r->nodes; n; n = n->next) {
		if (n->store_id)
			continue;
		c->trees++;
		add(&c->bytes, &weight_of(w, n)->all_bytes);
		add(&c->inodes, &weight_of(w, n)->all_inodes);
	}
}

/* ---- what is fetched ----------------------------------------------------------------- */

static void count_blob(struct pl_forecast *f, uint64_t size, bool stored, bool archived)
{
	if (stored) {
		f->stored_blobs++;
		f->stored_bytes += size;
		return;
	}
	f->fetch_blobs++;
	f->fetch_bytes += size;
	f->archive_bytes += archived ? size : 0;
	f->blob_bytes += (size + BLOCK - 1) / BLOCK * BLOCK;
}

static int count_documents(struct run *r, struct pl_forecast *f, struct k3_err *e)
{
	struct oci_map seen = { 0 };
	struct imp_view *v = NULL;
	int rc = r->imp ? imp_view_open(r->imp, &v, e) : 0;

	for (size_t i = 0; !rc && i < r->nimages; i++) {
		const struct image *im = &r->images[i];

		for (size_t k = 0; !rc && !im->res->rc && k <= im->found.ndocs; k++) {
			const struct k3_buf *unused;
			const struct oci_desc *d = resolved_document(&im->found, k, &unused);
			bool have = false;

			if (oci_map_get(&seen, &d->digest))
				continue;
			oci_map_put(&seen, &d->digest, f);
			rc = v ? imp_view_blob(v, d, &have, e) : 0;
			if (!rc)
				count_blob(f, d->size, have, im->req->from != NULL);
		}
	}
	imp_view_close(v);
	oci_map_release(&seen);
	return rc ? -1 : 0;
}

static void count_layers(struct run *r, struct pl_forecast *f)
{
	for (size_t i = 0; i < r->nblobs; i++) {
		const struct blob *b = r->blobs[i];

		count_blob(f, b->desc->size, b->stored, run_is_local(b));
		if (!b->stored)
			b->users[0]->res->fetched += b->desc->size;
	}
}

static int forecast(struct run *r, struct pl_opts *o, struct pl_forecast *f, struct k3_err *e)
{
	__attribute__((cleanup(weights_release))) struct weights w = { 0 };

	if (run_open(r, e))
		return -1;
	f->no_root = !r->imp;
	run_resolve(r);
	if (k3_cancel_check(r->stop, e) || plan_make(r, e) || count_documents(r, f, e) ||
	    weigh_all(r, &w, &f->layers, e))
		return -1;
	count_layers(r, f);
	o->snapshots = PL_FLAT;
	reckon(r, &w, &f->flat);
	o->snapshots = PL_CHAIN;
	reckon(r, &w, &f->chain);
	reckon_native(r, &w, &f->native);
	return 0;
}

int pl_forecast(const struct pl_opts *opts, const struct pl_request *reqs, size_t n,
		struct k3_cancel *stop, struct pl_result *out, struct pl_forecast *f,
		struct k3_err *e)
{
	struct pl_opts o = *opts;
	struct run r;

	*f = (struct pl_forecast){ 0 };
	run_init(&r, &o, reqs, n, stop, out);
	r.look_only = true;
	int rc = forecast(&r, &o, f, e);

	run_release(&r, true);
	return rc;
}
