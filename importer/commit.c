/* SPDX-License-Identifier: Apache-2.0 */
/* The order of writes; docs/importer.md says why it is this one. */
#include "importer/commit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/file.h"
#include "base/mem.h"
#include "importer/content.h"
#include "importer/daemon.h"
#include "importer/live.h"
#include "importer/losses.h"
#include "importer/meta.h"
#include "importer/native.h"
#include "importer/plan.h"
#include "importer/root.h"
#include "importer/undo.h"

/* How often a commit changes its way, for a containerd that is started and stopped. */
#define TURNS_MAX 4u

struct commit {
	struct imp *i;
	struct imp_dbs dbs;
	struct imp_plan plan;
	uint8_t now[IMP_TIME_LEN];
	bool locked_out; /* somebody else has the databases: nothing was done */
};

static int step(struct imp *i, enum imp_step s, struct k3_err *e)
{
	return i->step ? i->step(i->step_arg, s, e) : 0;
}

void imp_add_image(struct imp *i, struct imp_image *im)
{
	im->changed = false;
	i->images = k3_xgrow(i->images, i->nimages, &i->images_cap, sizeof(struct imp_image *));
	i->images[i->nimages++] = im;
}

/* ---- before the locks ----------------------------------------------------------------------- */

static int make_directories(struct imp *i, bool trees, struct k3_err *e)
{
	char path[IMP_PATH_MAX];

	if (imp_make_dirs(i, IMP_META_DIR, e) || (trees && imp_make_dirs(i, IMP_SNAPSHOTS_DIR, e)))
		return -1;
	for (size_t k = 0; k < i->nstaged; k++) {
		/* One directory for each algorithm. */
		if (k && i->staged[k].digest.alg == i->staged[k - 1].digest.alg)
			continue;
		snprintf(path, sizeof(path), IMP_CONTENT_DIR "/blobs/%s",
			 oci_alg_name(i->staged[k].digest.alg));
		if (imp_make_dirs(i, path, e))
			return -1;
	}
	return 0;
}

static bool have_trees(const struct imp *i)
{
	for (size_t k = 0; k < i->ntrees; k++)
		if (i->trees[k]->sealed && !i->trees[k]->dropped)
			return true;
	return false;
}

int imp_flush(struct imp *i, struct k3_err *e)
{
	bool trees = have_trees(i);

	imp_staged_sort(i);
	if (make_directories(i, trees, e))
		return -1;
	if ((trees || i->nstaged) && !i->no_sync && k3_syncfs(i->rootfd, i->root, e))
		return -1;
	return step(i, IMP_STEP_FLUSHED, e);
}

static int prepare(struct commit *c, struct k3_err *e)
{
	enum imp_dbs_mode mode = have_trees(c->i) ? IMP_DBS_WRITE_NATIVE : IMP_DBS_WRITE;

	if (imp_flush(c->i, e))
		return -1;
	if (!imp_dbs_open(c->i, mode, IMP_PATIENCE_MS, &c->dbs, e))
		return 0;
	c->locked_out = e->code == K3_BUSY;
	return -1;
}

static int verify(struct commit *c, struct k3_err *e)
{
	struct imp_view v;
	int rc;

	if (imp_view_begin(c->i, &c->dbs, &v, e))
		return -1;
	rc = imp_plan_make(&v, &c->plan, e);
	if (!rc)
		imp_view_sweep_losses(&v);
	imp_view_end(&v);
	return rc;
}

/* ---- files -------------------------------------------------------------------------- */

static int place_blobs_of(struct commit *c, struct imp_image *im, struct k3_err *e)
{
	for (size_t k = 0; k < imp_image_blobs(im); k++) {
		const struct oci_desc *d = imp_image_blob(im, k);
		struct imp_staged *s = imp_staged_find(c->i, &d->digest);

		if (!s || !s->replace)
			continue;
		im->changed = true;
		if (s->placed)
			continue;
		if (imp_blob_place(c->i, s, d, e) || step(c->i, IMP_STEP_BLOB_PLACED, e))
			return -1;
	}
	return 0;
}

static int place_blobs(struct commit *c, struct k3_err *e)
{
	struct imp *i = c->i;
	char path[IMP_PATH_MAX];
	bool alg[] = { [K3_SHA256] = false, [K3_SHA512] = false };

	for (size_t k = 0; k < i->nimages; k++)
		if (place_blobs_of(c, i->images[k], e))
			return -1;
	for (size_t k = 0; k < i->nstaged; k++)
		alg[i->staged[k].digest.alg] |= i->staged[k].placed;
	for (size_t k = 0; k < K3_ARRAY_LEN(alg); k++) {
		snprintf(path, sizeof(path), IMP_CONTENT_DIR "/blobs/%s",
			 oci_alg_name((enum k3_hash_alg)k));
		if (alg[k] && imp_sync_dir(i, path, e))
			return -1;
	}
	return step(i, IMP_STEP_BLOBS_SYNCED, e);
}

static int place_trees(struct commit *c, struct k3_err *e)
{
	struct imp_plan *p = &c->plan;
	K3_AUTO_FD int dir = -1;

	if (k3_open_dir(c->i->rootfd, IMP_SNAPSHOTS_DIR, &dir, e))
		return -1;
	for (size_t k = 0; k < p->ntrees; k++) {
		if (imp_tree_place(p->trees[k], dir, e))
			return -1;
		if (step(c->i, IMP_STEP_TREE_PLACED, e))
			return -1;
	}
	if (k3_fsync(dir, IMP_SNAPSHOTS_DIR, e))
		return -1;
	return step(c->i, IMP_STEP_TREES_SYNCED, e);
}

/* ---- records ------------------------------------------------------------------------ */

static int publish_trees(struct commit *c, struct k3_err *e)
{
	struct imp_plan *p = &c->plan;

	if (!p->ntrees)
		return 0;
	if (imp_native_reserve(c->dbs.native, p->last_id, e) || step(c->i, IMP_STEP_RESERVED, e) ||
	    imp_journal_write(c->i, p->trees, p->ntrees, e) || step(c->i, IMP_STEP_JOURNALED, e) ||
	    place_trees(c, e) || imp_losses_keep(c->i, p->trees, p->ntrees, e) ||
	    imp_native_write(c->dbs.native, p->trees, p->ntrees, c->now, e) ||
	    step(c->i, IMP_STEP_NATIVE_COMMITTED, e))
		return -1;
	return 0;
}

/* In a store that had only the upper snapshots nothing stands on the lower ones. */
static int keep_chains(struct imp_meta *m, const struct imp_image *im, struct imp_labels *labels,
		       struct k3_err *e)
{
	const struct oci_layer *layers = im->img->layers;

	for (size_t k = 0; k + 1 < im->img->nlayers; k++) {
		bool held;

		if (imp_meta_stands_on(m, &layers[k + 1].chain_id, &layers[k].chain_id, &held, e))
			return -1;
		if (!held)
			imp_labels_keep(im, k, labels);
	}
	return 0;
}

static int write_blobs_of(struct imp_meta *m, struct imp_image *im, struct k3_err *e)
{
	for (size_t k = 0; k < imp_image_blobs(im); k++) {
		struct imp_labels labels = { 0 };
		int rc;

		rc = imp_labels_of(im, k, &labels, e) ||
		     (im->every_chain && k == im->ndocs && keep_chains(m, im, &labels, e)) ||
		     imp_meta_blob(m, imp_image_blob(im, k), &labels, &im->changed, e);
		imp_labels_release(&labels);
		if (rc)
			return -1;
	}
	return 0;
}

static int write_meta(struct commit *c, struct imp_meta *m, struct k3_err *e)
{
	struct imp *i = c->i;
	struct imp_plan *p = &c->plan;

	for (size_t k = 0; k < p->ntrees; k++)
		if (imp_meta_snapshot(m, p->trees[k], e))
			return -1;
	for (size_t k = 0; k < i->nimages; k++)
		if (write_blobs_of(m, i->images[k], e))
			return -1;
	if (p->ntrees && bolt_set_sequence(m->chains, p->last_seq, e))
		return -1;
	for (size_t k = 0; k < p->nnames; k++) {
		struct imp_image *im = p->names[k].image;

		if (imp_meta_image(m, p->names[k].text, &im->docs[0].desc, i->pin, &im->changed, e))
			return -1;
	}
	return 0;
}

static int commit_meta(struct commit *c, struct k3_err *e)
{
	struct imp_meta m;

	if (imp_meta_begin(c->dbs.meta, c->i->ns, c->now, &m, e))
		return -1;
	if (write_meta(c, &m, e)) {
		bolt_abort(m.t);
		return -1;
	}
	return bolt_commit(m.t, e);
}

static int run(struct commit *c, struct k3_err *e)
{
	if (step(c->i, IMP_STEP_LOCKED, e) || verify(c, e) || step(c->i, IMP_STEP_VERIFIED, e) ||
	    place_blobs(c, e) || publish_trees(c, e) || commit_meta(c, e))
		return -1;
	c->i->committed = true;
	return 0;
}

/* *locked_out: containerd has been started meanwhile. */
static int commit_offline(struct imp *i, bool *locked_out, struct k3_err *e)
{
	struct commit c = { .i = i };
	struct k3_err ignored;
	struct timespec now;
	bool stop, retired;
	int rc;

	clock_gettime(CLOCK_REALTIME, &now);
	imp_put_time(&now, c.now);
	if (prepare(&c, e)) {
		*locked_out = c.locked_out;
		return -1;
	}
	rc = run(&c, e);
	if (rc)
		imp_undo(i, &c.dbs, c.plan.trees, c.plan.ntrees);
	stop = !rc && step(i, IMP_STEP_META_COMMITTED, e);
	/* What was replaced goes now, or by the journal with the next run. */
	retired = !rc && !stop && !imp_retire(i, &c.dbs, c.plan.trees, c.plan.ntrees, &ignored);
	imp_dbs_close(&c.dbs);
	imp_plan_release(&c.plan);
	if (rc)
		return k3_wrap(e, "%s", i->root);
	if (stop)
		return -1;
	/* If it stays, the next run finds nothing in it to be taken back. */
	if (retired)
		(void)!imp_journal_remove(i, &ignored);
	return 0;
}

int imp_commit(struct imp *i, struct k3_err *e)
{
	if (!i->write || i->stage_only || i->committed)
		return k3_fail(e, K3_BUG, "root is not open for a commit");
	if (!i->nimages)
		return 0;
	for (unsigned k = 0;; k++) {
		bool other = false;
		int rc = i->live ? imp_live_commit(i, &other, e) : commit_offline(i, &other, e);

		if (!rc || !other || i->mode != IMP_AUTO || k == TURNS_MAX)
			return rc ? -1 : 0;
		/* It has been started meanwhile, or has stopped: nothing was done yet. */
		if (i->live)
			imp_daemon_close(K3_STEAL(i->daemon));
		i->live = !i->live;
	}
}
