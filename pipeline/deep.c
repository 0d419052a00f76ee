/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes instead of records: layers are hashed, snapshots compared with what layers make. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "pipeline/verify.h"

#define PIECE (256u << 10)
#define TREE_FINDINGS_MAX 20 /* told of one tree; the rest is counted */

/* A layer's blob, once over all images. */
struct hashed {
	const struct oci_desc *desc;
	bool bad;
	char *why; /* of a bad one */
	uint64_t bytes;
};

/* A chain ID whose snapshot was compared. */
struct compared {
	struct oci_digest chain;
	uint64_t id;
	size_t findings;
};

struct deep {
	struct verify *v;
	struct k3_monitor *mon;
	struct hashed *blobs;
	size_t nblobs, blobs_cap;
	struct oci_map by_digest;
	struct compared **trees;
	size_t ntrees, trees_cap;
	struct oci_map by_chain;
	uint8_t *piece;
	/* below: under the monitor */
	size_t next;
	bool failed;
	struct k3_err err;
};

static void deep_release(struct deep *d)
{
	for (size_t i = 0; i < d->nblobs; i++)
		free(d->blobs[i].why);
	free(d->blobs);
	for (size_t i = 0; i < d->ntrees; i++)
		free(d->trees[i]);
	free(d->trees);
	free(d->piece);
	oci_map_release(&d->by_digest);
	oci_map_release(&d->by_chain);
	k3_monitor_free(d->mon);
}

/* ---- blobs --------------------------------------------------------------------------- */

static void gather_blobs(struct deep *d)
{
	const struct verify *v = d->v;

	for (size_t i = 0; i < v->n; i++) {
		const struct imp_checked *c = &v->subjects[i].checked;

		for (size_t k = 0; v->subjects[i].chosen && k < c->nlayers; k++) {
			const struct oci_digest *digest = &c->layers[k].digest;

			if (oci_map_get(&d->by_digest, digest))
				continue;
			d->blobs = k3_xgrow(d->blobs, d->nblobs, &d->blobs_cap, sizeof(*d->blobs));
			d->blobs[d->nblobs++] = (struct hashed){ .desc = &c->layers[k] };
			/* The place, plus 1: the list itself moves while it grows. */
			oci_map_put(&d->by_digest, digest, (void *)(uintptr_t)d->nblobs);
		}
	}
}

static struct hashed *find_blob(const struct deep *d, const struct oci_digest *digest)
{
	size_t place = (uintptr_t)oci_map_get(&d->by_digest, digest);

	return place ? &d->blobs[place - 1] : NULL;
}

/* Reads a file to its end into the hash.  K3_IO when the disk refuses. */
static int hash_file(struct deep *d, int fd, struct hashed *b, struct k3_hash *hash, uint8_t *piece,
		     struct k3_err *e)
{
	for (;;) {
		ssize_t n = read(fd, piece, PIECE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return k3_fail_sys(e, errno, "cannot be read");
		if (!n)
			return 0;
		k3_hash_add(hash, piece, (size_t)n);
		b->bytes += (uint64_t)n;
		if (k3_cancel_check(d->v->stop, e))
			return -1;
	}
}

static int hash_blob(struct deep *d, struct hashed *b, uint8_t *piece, struct k3_err *e)
{
	K3_AUTO_HASH struct k3_hash *hash = k3_hash_new(b->desc->digest.alg);
	K3_AUTO_FD int fd = -1;
	struct oci_digest got;
	struct k3_err why;

	if (imp_stored_open(d->v->imp, &b->desc->digest, &fd, &why) ||
	    hash_file(d, fd, b, hash, piece, &why)) {
		if (why.code == K3_CANCELLED) {
			*e = why;
			return -1;
		}
		b->bad = true;
		b->why = k3_xstrdup(why.msg);
		return 0;
	}
	oci_digest_final(hash, b->desc->digest.alg, &got);
	if (b->bytes == b->desc->size && oci_digest_eq(&got, &b->desc->digest))
		return 0;
	b->bad = true;
	b->why = k3_xstrdup("the bytes have another digest");
	return 0;
}

static struct hashed *next_blob(struct deep *d)
{
	K3_WITH_MONITOR(d->mon);
	return d->failed || d->next == d->nblobs ? NULL : &d->blobs[d->next++];
}

static void hash_worker(void *arg)
{
	K3_AUTO_FREE uint8_t *piece = k3_xcalloc(1, PIECE);
	struct deep *d = arg;
	struct hashed *b;
	struct k3_err err;

	while ((b = next_blob(d))) {
		if (!hash_blob(d, b, piece, &err))
			continue;
		K3_WITH_MONITOR(d->mon);
		d->failed = true;
		d->err = err;
	}
}

static void run_workers(struct deep *d, unsigned jobs)
{
	struct k3_thread *threads[PL_JOBS_MAX];
	struct k3_err refused;
	unsigned n = 0;

	while (n + 1 < jobs && n + 1 < d->nblobs &&
	       !k3_thread_start(hash_worker, d, &threads[n], &refused))
		n++;
	hash_worker(d);
	while (n)
		k3_thread_join(threads[--n]);
}

static int tell_bad_blobs(struct deep *d, struct k3_err *e)
{
	struct verify *v = d->v;

	for (size_t i = 0; i < v->n; i++) {
		const struct imp_checked *c = &v->subjects[i].checked;

		v->current = &v->subjects[i];
		for (size_t k = 0; v->subjects[i].chosen && k < c->nlayers; k++) {
			const struct hashed *b = find_blob(d, &c->layers[k].digest);

			if (!b || !b->bad)
				continue;
			K3_AUTO_FREE char *path = imp_blob_name(&c->layers[k].digest);

			if (verify_take(v,
					&(struct imp_finding){ .kind = IMP_BLOB,
							       .path = path,
							       .text = b->why,
							       .digest = &c->layers[k].digest },
					e))
				return -1;
		}
	}
	v->current = NULL;
	return 0;
}

static int hash_blobs(struct deep *d, struct k3_err *e)
{
	unsigned jobs = d->v->o->jobs ? d->v->o->jobs : pl_default_jobs();

	gather_blobs(d);
	verify_progress(d->v, "hashing %zu layer%s", d->nblobs, d->nblobs == 1 ? "" : "s");
	run_workers(d, jobs < PL_JOBS_MAX ? jobs : PL_JOBS_MAX);
	if (d->failed) {
		*e = d->err;
		return -1;
	}
	for (size_t i = 0; i < d->nblobs; i++)
		d->v->out->bytes += d->blobs[i].bytes;
	d->v->out->blobs = d->nblobs;
	return tell_bad_blobs(d, e);
}

/* ---- trees --------------------------------------------------------------------------- */

/* One image that is unpacked for a comparison. */
struct fresh {
	struct deep *d;
	struct subject *s;
	const struct oci_image *img;
	uint64_t *ids; /* of the snapshots of its chain IDs; 0 = none to compare */
	size_t top;    /* layers to apply: up to the last one that has an id */
	struct imp_tree *tree;
	struct compared *now;
	size_t dropped; /* differences counted only */
};

static int tell(struct fresh *f, enum imp_trouble kind, const char *path, const char *text,
		const struct oci_digest *chain, struct k3_err *e)
{
	return verify_take(
		f->d->v,
		&(struct imp_finding){ .kind = kind, .path = path, .text = text, .digest = chain },
		e);
}

static int take_difference(void *arg, const char *path, const char *what, struct k3_err *e)
{
	struct fresh *f = arg;

	if (f->now->findings++ >= TREE_FINDINGS_MAX) {
		f->dropped++;
		return 0;
	}
	K3_AUTO_FREE char *dir = imp_snapshot_name(f->now->id);
	K3_AUTO_FREE char *full = k3_xasprintf("%s%s%s", dir, *path ? "/" : "", path);

	return tell(f, IMP_TREE, full, what, &f->now->chain, e);
}

struct reader {
	struct deep *d;
	int fd;
};

static int read_layer(void *arg, const uint8_t **p, size_t *n, struct k3_err *e)
{
	struct reader *r = arg;
	ssize_t got;

	if (k3_cancel_check(r->d->v->stop, e))
		return -1;
	do {
		got = read(r->fd, r->d->piece, PIECE);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return k3_fail_sys(e, errno, "cannot read the stored layer");
	*p = r->d->piece;
	*n = (size_t)got;
	return 0;
}

static int apply(struct fresh *f, size_t k, struct k3_err *e)
{
	const struct oci_layer *l = &f->img->layers[k];
	const struct verify *v = f->d->v;
	K3_AUTO_FD int fd = -1;
	struct reader r = { .d = f->d };
	struct unpack_opts opts = {
		.limits = v->o->limits,
		.lenient_owner = true,
		.one_thread = v->o->jobs == 1,
		.cancel = v->stop,
	};
	struct unpack_stats stats;

	if (imp_stored_open(v->imp, &l->blob.digest, &fd, e))
		return -1;
	r.fd = fd;
	return unpack_layer(imp_tree_rootfd(f->tree), l->blob.media,
			    (struct unpack_src){ read_layer, &r }, &opts, &l->diff_id, NULL, &stats,
			    e);
}

/* The image itself is at fault, not this machine. */
static bool is_of_image(enum k3_code code)
{
	return code == K3_FORMAT || code == K3_DIGEST || code == K3_UNSAFE || code == K3_LIMIT ||
	       code == K3_UNSUPPORTED;
}

/* *go = false: nothing above this layer can be compared, and that was told. */
static int apply_layer(struct fresh *f, size_t k, bool *go, struct k3_err *e)
{
	K3_AUTO_FREE char *path = imp_blob_name(&f->img->layers[k].blob.digest);
	struct k3_err why;

	*go = !apply(f, k, &why);
	if (*go)
		return 0;
	if (!is_of_image(why.code)) {
		*e = why;
		return k3_wrap(e, "%s", path);
	}
	return tell(f, IMP_IMAGE, path, why.msg, NULL, e);
}

static int compare(struct fresh *f, size_t k, struct k3_err *e)
{
	struct deep *d = f->d;
	char text[64];

	f->now = k3_xcalloc(1, sizeof(*f->now));
	d->trees = k3_xgrow(d->trees, d->ntrees, &d->trees_cap, sizeof(struct compared *));
	d->trees[d->ntrees++] = f->now;
	f->now->chain = f->img->layers[k].chain_id;
	f->now->id = f->ids[k];
	oci_map_put(&d->by_chain, &f->now->chain, f->now);
	f->dropped = 0;
	if (imp_tree_compare(f->tree, f->ids[k], d->v->stop, take_difference, f, e))
		return -1;
	d->v->out->trees++;
	if (!f->dropped)
		return 0;
	K3_AUTO_FREE char *dir = imp_snapshot_name(f->now->id);

	snprintf(text, sizeof(text), "%zu more differences", f->dropped);
	return tell(f, IMP_TREE, dir, text, &f->now->chain, e);
}

static int unpack_and_compare(struct fresh *f, struct k3_err *e)
{
	bool go = true;

	for (size_t k = 0; k < f->top; k++) {
		if (apply_layer(f, k, &go, e))
			return -1;
		if (!go) {
			f->d->v->out->skipped_trees++;
			return 0;
		}
		if (f->ids[k] && compare(f, k, e))
			return -1;
	}
	return 0;
}

/* What has been compared for another image is not compared again, but told again when bad. */
static int skip_compared(struct fresh *f, size_t k, struct k3_err *e)
{
	const struct compared *c = oci_map_get(&f->d->by_chain, &f->img->layers[k].chain_id);

	if (!c)
		return 0;
	f->ids[k] = 0;
	if (!c->findings)
		return 0;
	K3_AUTO_FREE char *dir = imp_snapshot_name(c->id);

	return tell(f, IMP_TREE, dir, "is damaged, as told with another image", &c->chain, e);
}

static int find_ids(struct fresh *f, struct k3_err *e)
{
	struct imp_view *view;
	struct k3_err why;

	if (imp_view_open(f->d->v->imp, &view, e))
		return -1;
	for (size_t k = 0; k < f->img->nlayers; k++) {
		bool have;

		/* One that is broken has been told. */
		if (imp_view_chain(view, &f->img->layers[k].chain_id, &f->ids[k], &have, &why) ||
		    !have)
			f->ids[k] = 0;
	}
	imp_view_close(view);
	for (size_t k = 0; k < f->img->nlayers; k++)
		if (f->ids[k] && skip_compared(f, k, e))
			return -1;
	for (size_t k = 0; k < f->img->nlayers; k++)
		if (f->ids[k])
			f->top = k + 1;
	return 0;
}

/* The layers below what is to be compared must be there and right. */
static int have_layers(struct fresh *f, bool *have, struct k3_err *e)
{
	*have = true;
	for (size_t k = 0; k < f->top; k++) {
		const struct oci_digest *digest = &f->img->layers[k].blob.digest;
		const struct hashed *b = find_blob(f->d, digest);

		if (b && !b->bad)
			continue;
		K3_AUTO_FREE char *path = imp_blob_name(digest);

		*have = false;
		f->d->v->out->skipped_trees++;
		return tell(f, IMP_NOTE, path,
			    "the image's tree is not compared: this layer is not at hand", NULL, e);
	}
	return 0;
}

static int check_variant(struct fresh *f, struct k3_err *e)
{
	bool have;
	int rc;

	if (find_ids(f, e))
		return -1;
	if (!f->top)
		return 0;
	if (have_layers(f, &have, e))
		return -1;
	if (!have)
		return 0;
	verify_progress(f->d->v, "%s: comparing %zu layer%s with the snapshots", f->s->name, f->top,
			f->top == 1 ? "" : "s");
	if (imp_tree_begin(f->d->v->imp, &f->img->layers[f->top - 1].chain_id, NULL, f->d->v->stop,
			   &f->tree, e))
		return -1;
	rc = unpack_and_compare(f, e);
	/* One image at a time: that much disk is asked for, and no more. */
	imp_tree_drop(f->tree);
	return rc;
}

static int check_trees(struct deep *d, struct subject *s, struct k3_err *e)
{
	for (size_t k = 0; k < s->checked.n; k++) {
		struct fresh f = { .d = d, .s = s, .img = &s->checked.variants[k].img };
		int rc;

		f.ids = k3_xcalloc(f.img->nlayers, sizeof(*f.ids));
		d->v->current = s;
		rc = check_variant(&f, e);
		d->v->current = NULL;
		free(f.ids);
		if (rc)
			return k3_wrap(e, "%s", s->name);
	}
	return 0;
}

int verify_deep(struct verify *v, struct k3_err *e)
{
	__attribute__((cleanup(deep_release))) struct deep d = { .v = v, .mon = k3_monitor_new() };

	d.piece = k3_xcalloc(1, PIECE);
	if (hash_blobs(&d, e))
		return -1;
	for (size_t i = 0; i < v->n; i++)
		if (v->subjects[i].chosen && check_trees(&d, &v->subjects[i], e))
			return -1;
	return 0;
}
