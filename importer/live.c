/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Staging is the same as offline.  Then a lease keeps everything from the collector while blobs
 * are placed and recorded, trees become snapshots and, at the end, images get their names.
 */
#include "importer/live.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cri/cri.h"
#include "importer/commit.h"
#include "importer/content.h"
#include "importer/daemon.h"
#include "importer/losses.h"
#include "importer/meta.h"
#include "importer/plan.h"
#include "importer/root.h"

/* The namespace of Kubernetes; CRI knows no other. */
#define CRI_NAMESPACE "k8s.io"
#define CONNECT_MS 5000u
#define CONNECT_POLL_MS 100u
/* containerd answers before its CRI plugin has looked at all images. */
#define CRI_READY_MS 30000u

/* ---- connecting --------------------------------------------------------------------- */

/* What a call says of itself, like "not found", is not what the user asked for. */
static void as_store(struct k3_err *e)
{
	if (e->code == K3_NOTFOUND || e->code == K3_AUTH || e->code == K3_PROTO ||
	    e->code == K3_LIMIT || e->code == K3_UNSUPPORTED)
		e->code = K3_STORE;
}

/* A containerd that starts has its databases before it has its socket. */
static int open_daemon(struct imp *i, struct k3_err *e)
{
	uint64_t end = k3_now_ms() + CONNECT_MS;

	for (;;) {
		struct k3_err why;

		if (!imp_daemon_open(i->address, i->ns, i->cancel, &i->daemon, &why))
			return 0;
		if (why.code != K3_BUSY || k3_now_ms() >= end) {
			*e = why;
			return -1;
		}
		if (k3_cancel_sleep(i->cancel, CONNECT_POLL_MS, e))
			return -1;
	}
}

int imp_live_connect(struct imp *i, struct k3_err *e)
{
	if (i->daemon)
		return 0;
	if (!i->address) {
		k3_fail(e, K3_BUSY, "containerd is running on this root (%s)", i->root);
		return k3_hint(e, "name its socket with --address, or stop it");
	}
	if (!open_daemon(i, e))
		return 0;
	if (e->code != K3_BUSY) {
		as_store(e);
		return k3_wrap(e, "containerd at %s", i->address);
	}
	k3_wrap(e, "%s is in use, but no containerd answers at %s", i->root, i->address);
	e->hint[0] = '\0';
	return k3_hint(e, "name the socket of the containerd that has this root: --address, or "
			  "$CONTAINERD_ADDRESS");
}

/*
 * Whether the lease is in the database of our root, that is, whether this containerd has it.
 * The answer to a call comes when its transaction is in the file.
 */
static int has_our_lease(struct imp *i, bool *yes, struct k3_err *e)
{
	const struct bolt_val path[] = { BOLT_STR("v1"), BOLT_STR(i->ns), BOLT_STR("leases"),
					 BOLT_STR(imp_daemon_lease_id(i->daemon)) };
	struct bolt_bucket *b = NULL;
	struct bolt_txn *t = NULL;
	struct imp_dbs dbs;
	int rc = 0;

	*yes = false;
	if (imp_dbs_open(i, IMP_DBS_READ, 0, &dbs, e))
		return -1;
	if (dbs.meta)
		rc = bolt_begin(dbs.meta, false, &t, e) ||
		     bolt_bucket_path(t, path, K3_ARRAY_LEN(path), &b, e);
	*yes = !rc && b;
	bolt_abort(t);
	imp_dbs_close(&dbs);
	return rc ? -1 : 0;
}

int imp_live_begin(struct imp *i, struct k3_err *e)
{
	struct k3_err ignored;
	bool ours;
	int rc;

	if (imp_daemon_lease_id(i->daemon))
		return 0;
	if (imp_daemon_lease(i->daemon, e))
		return -1;
	rc = has_our_lease(i, &ours, e);
	if (!rc && ours)
		return 0;
	(void)!imp_daemon_release(i->daemon, &ignored);
	if (rc)
		return -1;
	k3_fail(e, K3_STORE, "the containerd at %s has another root than %s", i->address, i->root);
	return k3_hint(e, "name its root with --root, or the socket of the one that has this root "
			  "with --address");
}

static int hold(struct imp *i, const struct oci_digest *blobs, size_t nblobs,
		const struct oci_digest *chains, size_t nchains, struct k3_err *e)
{
	if (imp_live_begin(i, e))
		return -1;
	for (size_t k = 0; k < nblobs; k++)
		if (imp_daemon_hold_blob(i->daemon, &blobs[k], e))
			return -1;
	for (size_t k = 0; k < nchains; k++)
		if (imp_daemon_hold_chain(i->daemon, &chains[k], e))
			return -1;
	return 0;
}

int imp_live_through(struct imp *i, struct k3_err *e)
{
	as_store(e);
	return k3_wrap(e, "%s: through containerd %s at %s", i->root, imp_daemon_version(i->daemon),
		       i->address);
}

/* Whether nobody listens any more. */
static bool has_stopped(struct imp *i, struct k3_err *e)
{
	return imp_daemon_ping(i->daemon, e) && e->code == K3_BUSY;
}

int imp_hold(struct imp *i, const struct oci_digest *blobs, size_t nblobs,
	     const struct oci_digest *chains, size_t nchains, struct k3_err *e)
{
	struct k3_err why;

	if (!i->daemon || !hold(i, blobs, nblobs, chains, nchains, e))
		return 0;
	/* Where it has stopped nobody removes anything, and the commit finds out. */
	if (i->mode == IMP_AUTO && e->code == K3_BUSY && has_stopped(i, &why))
		return 0;
	return imp_live_through(i, e);
}

/* ---- what is to be done ------------------------------------------------------------- */

struct live {
	struct imp *i;
	struct imp_daemon *d;
	struct imp_plan plan;
	bool clean; /* everything is there and has its names */
	/* For each image, which of its chains only the config can keep; nlayers of each. */
	bool **keep;
};

static void live_release(struct live *l)
{
	for (size_t k = 0; l->keep && k < l->i->nimages; k++)
		free(l->keep[k]);
	free(l->keep);
	imp_plan_release(&l->plan);
}

static bool is_chosen(const struct imp_plan *p, const struct oci_digest *chain)
{
	for (size_t k = 0; k < p->ntrees; k++)
		if (oci_digest_eq(&p->trees[k]->chain, chain))
			return true;
	return false;
}

/*
 * Our snapshots have no parents, since containerd would copy those.  What stands below another
 * one is kept by a label of the config instead.
 */
static int find_keeps(struct live *l, struct imp_view *v, struct k3_err *e)
{
	struct imp_meta m = { .chains = v->chains };

	l->keep = k3_xcalloc(l->i->nimages, sizeof(bool *));
	for (size_t k = 0; k < l->i->nimages; k++) {
		const struct imp_image *im = l->i->images[k];
		const struct oci_layer *layers = im->img->layers;

		l->keep[k] = k3_xcalloc(im->img->nlayers, sizeof(bool));
		for (size_t n = 0; n + 1 < im->img->nlayers; n++) {
			bool held = false;

			if (is_chosen(&l->plan, &layers[n].chain_id)) {
				l->keep[k][n] = true;
				continue;
			}
			if (!im->every_chain)
				continue;
			if (m.chains && imp_meta_stands_on(&m, &layers[n + 1].chain_id,
							   &layers[n].chain_id, &held, e))
				return -1;
			l->keep[k][n] = !held;
		}
	}
	return 0;
}

static int names_are_right(struct live *l, struct imp_view *v, bool *right, struct k3_err *e)
{
	*right = true;
	for (size_t k = 0; *right && k < l->plan.nnames; k++) {
		const struct imp_name *n = &l->plan.names[k];
		const struct oci_desc *want = &n->image->docs[0].desc;
		struct bolt_bucket *rec = NULL;
		struct imp_record r = { 0 };

		if (v->images && imp_sub(v->images, BOLT_STR(n->text), &rec, e))
			return -1;
		if (rec && imp_read_record(rec, &r, e))
			return k3_wrap(e, "image record %s", n->text);
		*right = rec && oci_digest_eq(&r.target.digest, &want->digest) &&
			 r.target.size == want->size &&
			 !strcmp(r.target.media_text, want->media_text) && r.managed &&
			 (r.pinned || !l->i->pin);
	}
	return 0;
}

/* Recorded snapshots without a directory cannot be mended through the API. */
static int check_trees(const struct imp_plan *p, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];

	for (size_t k = 0; k < p->ntrees; k++) {
		if (!p->trees[k]->old_name)
			continue;
		oci_digest_format(&p->trees[k]->chain, text);
		k3_fail(e, K3_STORE, "snapshot %s is recorded, but its directory is gone", text);
		return k3_hint(e, "remove its images (crictl rmi), or stop containerd and run this "
				  "again");
	}
	return 0;
}

static int make_plan(struct live *l, struct imp_view *v, struct k3_err *e)
{
	bool right;

	if (imp_plan_make(v, &l->plan, e) || check_trees(&l->plan, e) || find_keeps(l, v, e) ||
	    names_are_right(l, v, &right, e))
		return -1;
	l->clean = right && !l->plan.ntrees;
	for (size_t k = 0; l->clean && k < l->i->nstaged; k++)
		l->clean = !l->i->staged[k].replace;
	return 0;
}

static int look(struct live *l, struct k3_err *e)
{
	struct imp_dbs dbs;
	struct imp_view v;
	int rc;

	if (imp_dbs_open(l->i, IMP_DBS_READ, 0, &dbs, e))
		return -1;
	rc = imp_view_begin(l->i, &dbs, &v, e);
	if (!rc) {
		rc = make_plan(l, &v, e);
		if (!rc)
			imp_view_sweep_losses(&v);
		imp_view_end(&v);
	}
	imp_dbs_close(&dbs);
	return rc;
}

/* ---- blobs -------------------------------------------------------------------------- */

/*
 * Its file, for the daemon that does not find it; open before it is placed, because without a
 * record it may be collected at once.
 */
static int open_blob(struct imp *i, const struct oci_desc *desc, int *fd, struct k3_err *e)
{
	if (!imp_blob_open(i, desc, fd, e))
		return 0;
	if (e->code != K3_NOTFOUND)
		return -1;
	/* Its record was seen a moment ago. */
	e->code = K3_BUSY;
	return k3_hint(e, "containerd has removed it meanwhile: run again");
}

static int record_blob(struct live *l, const struct oci_desc *desc, const struct imp_labels *labels,
		       struct imp_image *im, struct k3_err *e)
{
	struct imp_staged *s = imp_staged_find(l->i, &desc->digest);
	bool place = s && s->replace && !s->placed;
	K3_AUTO_FD int fd = -1;
	bool found, existed = false;

	im->changed |= place;
	if ((!place && imp_daemon_hold_blob(l->d, &desc->digest, e)) ||
	    open_blob(l->i, desc, &fd, e) || (place && imp_blob_place(l->i, s, desc, e)) ||
	    imp_daemon_label_blob(l->d, desc, labels, &found, &im->changed, e))
		return -1;
	if (!found) {
		im->changed = true;
		if (imp_daemon_add_blob(l->d, desc, labels, fd, &existed, e))
			return -1;
	}
	if (existed && imp_daemon_label_blob(l->d, desc, labels, &found, &im->changed, e))
		return -1;
	/* From now on the record keeps the file. */
	if (s)
		s->fresh = false;
	return 0;
}

static int record_blobs(struct live *l, size_t image, struct k3_err *e)
{
	struct imp_image *im = l->i->images[image];

	/* From the leaves up: layers, config, manifest, indexes. */
	for (size_t k = imp_image_blobs(im); k-- > 0;) {
		struct imp_labels labels = { 0 };
		int rc = imp_labels_of(im, k, &labels, e);

		for (size_t n = 0; !rc && k == im->ndocs && n < im->img->nlayers; n++)
			if (l->keep[image][n])
				imp_labels_keep(im, n, &labels);
		rc = rc || record_blob(l, imp_image_blob(im, k), &labels, im, e);
		imp_labels_release(&labels);
		if (rc)
			return -1;
	}
	return 0;
}

/* ---- trees -------------------------------------------------------------------------- */

/* Says which tree it went wrong with. */
static int with_tree(const struct imp_tree *t, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(&t->chain, text);
	return k3_wrap(e, "snapshot %s", text);
}

/* prepared[k]: the k-th tree is to be committed, or given up. */
static int fill_trees(struct live *l, bool *prepared, struct k3_err *e)
{
	K3_AUTO_FD int dir = -1;
	bool exists;

	if (k3_open_dir(l->i->rootfd, IMP_SNAPSHOTS_DIR, &dir, e))
		return -1;
	for (size_t k = 0; k < l->plan.ntrees; k++) {
		struct imp_tree *t = l->plan.trees[k];

		if (imp_daemon_prepare(l->d, &t->chain, &t->id, &exists, e))
			return with_tree(t, e);
		prepared[k] = !exists;
		if (!exists && imp_tree_fill(t, dir, e))
			return with_tree(t, e);
	}
	return l->i->no_sync ? 0 : k3_fsync(dir, IMP_SNAPSHOTS_DIR, e);
}

static int commit_trees(struct live *l, bool *prepared, struct k3_err *e)
{
	bool exists;

	for (size_t k = 0; k < l->plan.ntrees; k++) {
		const struct imp_tree *t = l->plan.trees[k];

		if (!prepared[k])
			continue;
		if (imp_daemon_commit(l->d, &t->chain, &exists, e))
			return with_tree(t, e);
		prepared[k] = false;
	}
	return 0;
}

/* All are filled before the first is committed: one flush does for them. */
static int publish_trees(struct live *l, struct k3_err *e)
{
	K3_AUTO_FREE bool *prepared = k3_xcalloc(l->plan.ntrees + 1, sizeof(bool));
	struct k3_err ignored;

	if (!l->plan.ntrees || (!fill_trees(l, prepared, e) &&
				!imp_losses_keep(l->i, l->plan.trees, l->plan.ntrees, e) &&
				!commit_trees(l, prepared, e)))
		return 0;
	for (size_t k = 0; k < l->plan.ntrees; k++)
		if (prepared[k])
			(void)!imp_daemon_unprepare(l->d, &l->plan.trees[k]->chain, &ignored);
	return -1;
}

/* ---- CRI ---------------------------------------------------------------------------- */

bool imp_live_tells_pinned(struct imp *i)
{
	const char *version = imp_daemon_version(i->daemon);
	unsigned major = 0, minor = 0, patch = 0;

	if (*version == 'v')
		version++;
	if (sscanf(version, "%u.%u.%u", &major, &minor, &patch) < 2)
		return true;
	if (major != 1)
		return major > 1;
	return minor > 7 || (minor == 7 && patch >= 3) || (minor == 6 && patch >= 22);
}

/* What is wrong with what CRI says; NULL = nothing. */
static const char *objection(const struct live *l, const struct imp_image *im,
			     const struct cri_image *seen)
{
	char id[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(&im->img->config.digest, id);
	if (!seen->found)
		return "CRI does not know it";
	if (strcmp(seen->id, id) != 0)
		return "CRI has another image under this name";
	if (l->i->pin && !seen->pinned && imp_live_tells_pinned(l->i))
		return "CRI does not call it pinned";
	return NULL;
}

static int wait_for_cri(struct live *l, struct imp_image *im, const char *name, struct k3_err *e)
{
	uint64_t end = k3_now_ms() + IMP_CRI_KNOWS_MS;
	unsigned pause = IMP_CRI_POLL_MS;

	for (;;) {
		__attribute__((cleanup(cri_image_release))) struct cri_image seen = { 0 };
		const char *why;

		if (cri_image_status(imp_daemon_channel(l->d), name, &seen, e))
			return k3_wrap(e, "%s", name);
		why = objection(l, im, &seen);
		if (!why)
			break;
		if (k3_now_ms() >= end) {
			k3_fail(e, K3_STORE, "%s: it is in the store, but %s", name, why);
			return k3_hint(e,
				       "the log of containerd says why (journalctl -u containerd, "
				       "or -u k3s)");
		}
		if (k3_cancel_sleep(l->i->cancel, pause, e))
			return -1;
		pause = pause * 2 < IMP_CRI_POLL_MAX_MS ? pause * 2 : IMP_CRI_POLL_MAX_MS;
	}
	return 0;
}

static int check_unpacked(struct live *l, const struct imp_image *im, const char *name,
			  struct k3_err *e)
{
	bool has = true;

	if (im->img->nlayers &&
	    imp_daemon_has_chain(l->d, &im->img->layers[im->img->nlayers - 1].chain_id, &has, e))
		return -1;
	if (has)
		return 0;
	k3_fail(e, K3_STORE, "%s: its snapshot was removed meanwhile", name);
	return k3_hint(e, "run again");
}

/* CRI takes no notice of an image for other machines, which was asked for all the same. */
static bool runs_here(const struct imp_image *im)
{
	struct oci_platform host;

	oci_platform_host(&host);
	return !strcmp(im->img->platform.os, host.os) && !strcmp(im->img->platform.arch, host.arch);
}

int imp_live_has_cri(struct imp *i, bool *has, struct k3_err *e)
{
	struct grpc *g = imp_daemon_channel(i->daemon);
	__attribute__((cleanup(cri_version_release))) struct cri_version version = { 0 };
	struct k3_err why = { 0 };

	*has = false;
	if (strcmp(i->ns, CRI_NAMESPACE) != 0)
		return 0;
	if (cri_version(g, &version, &why)) {
		/* A containerd without Kubernetes. */
		if (why.code == K3_UNSUPPORTED)
			return 0;
		if (cri_wait_ready(g, CRI_READY_MS, i->cancel, e))
			return -1;
	}
	*has = true;
	return 0;
}

static int check_cri(struct live *l, struct k3_err *e)
{
	bool has;

	if (imp_live_has_cri(l->i, &has, e))
		return -1;
	for (size_t k = 0; has && k < l->plan.nnames; k++) {
		const struct imp_name *n = &l->plan.names[k];

		if (!runs_here(n->image))
			continue;
		if (check_unpacked(l, n->image, n->text, e) ||
		    wait_for_cri(l, n->image, n->text, e))
			return -1;
	}
	return 0;
}

/* ---- together ----------------------------------------------------------------------- */

static int publish(struct live *l, struct k3_err *e)
{
	struct imp *i = l->i;

	if (imp_live_begin(i, e))
		return -1;
	for (size_t k = 0; k < i->nimages; k++)
		if (record_blobs(l, k, e))
			return -1;
	if (publish_trees(l, e))
		return -1;
	for (size_t k = 0; k < l->plan.nnames; k++) {
		struct imp_image *im = l->plan.names[k].image;

		if (imp_daemon_image(l->d, l->plan.names[k].text, &im->docs[0].desc, i->pin,
				     &im->changed, e))
			return -1;
	}
	return 0;
}

/* What has got no record goes back to where the next run finds it. */
static void take_back(struct imp *i)
{
	char path[IMP_PATH_MAX], name[IMP_PATH_MAX];

	for (size_t k = 0; k < i->nstaged; k++) {
		if (!i->staged[k].placed || !i->staged[k].fresh)
			continue;
		imp_blob_path(&i->staged[k].digest, path);
		imp_stage_name(&i->staged[k].digest, name);
		renameat(i->rootfd, path, i->blobsfd, name);
	}
}

static int run(struct live *l, struct k3_err *e)
{
	struct k3_err ignored;

	if (imp_flush(l->i, e) || look(l, e))
		return -1;
	if (!l->clean && publish(l, e)) {
		take_back(l->i);
		(void)!imp_daemon_release(l->d, &ignored);
		return -1;
	}
	l->i->committed = true;
	return check_cri(l, e);
}

int imp_live_commit(struct imp *i, bool *gone, struct k3_err *e)
{
	struct live l = { .i = i };
	int rc;

	if (imp_live_connect(i, e))
		return -1;
	*gone = has_stopped(i, e);
	if (*gone)
		return -1;
	l.d = i->daemon;
	/* Sweep last: what killed runs have left, this one has built on. */
	rc = run(&l, e) || imp_daemon_sweep(l.d, e) || imp_daemon_release(l.d, e);
	live_release(&l);
	if (!rc)
		return 0;
	imp_live_through(i, e);
	return e->code == K3_BUSY ? k3_hint(e, "run again: it goes on from here") : -1;
}
