/* SPDX-License-Identifier: Apache-2.0 */
/* The order of writes of a removal; docs/importer.md says why it is this one. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "importer/edit.h"
#include "importer/garbage.h"
#include "importer/live_change.h"
#include "importer/remove.h"
#include "importer/undo.h"
#include "importer/view.h"

/* ---- records -------------------------------------------------------------------------------- */

/* containerd's collector does not care for this list; its API and our verify do. */
static int leave_parent(struct bolt_bucket *all, struct bolt_val key, struct k3_err *e)
{
	struct bolt_bucket *rec, *up = NULL, *children = NULL;
	struct bolt_val parent;

	if (imp_sub(all, key, &rec, e) || (rec && bolt_get(rec, BOLT_STR("parent"), &parent, e)))
		return -1;
	if (!rec || !parent.n)
		return 0;
	if (imp_sub(all, parent, &up, e) || (up && imp_sub(up, BOLT_STR("children"), &children, e)))
		return -1;
	return children ? bolt_delete(children, key, e) : 0;
}

static int drop_record(struct bolt_txn *t, const struct imp_item *it, struct k3_err *e)
{
	struct bolt_val path[IMP_ITEM_DEPTH], key = BOLT_STR(it->key);
	struct bolt_bucket *b, *rec = NULL;
	size_t n = imp_item_path(it, path);

	if (bolt_bucket_path(t, path, n, &b, e) || (b && imp_sub(b, key, &rec, e)))
		return -1;
	if (!rec)
		return 0;
	if (it->kind == IMP_ITEM_SNAPSHOT && leave_parent(b, key, e))
		return -1;
	return bolt_bucket_delete(b, key, e);
}

static int write_meta(struct imp *i, struct bolt_txn *t, struct imp_edit *edits, size_t n,
		      const struct imp_removal *r, struct k3_err *e)
{
	if (imp_edit_records(i, t, edits, n, e))
		return -1;
	for (size_t k = 0; k < r->n; k++) {
		const struct imp_item *it = &r->v[k];

		if (it->now && it->record && it->ns && it->kind != IMP_ITEM_IMAGE &&
		    drop_record(t, it, e))
			return k3_wrap(e, "%s", it->path);
	}
	return 0;
}

static int commit_meta(struct imp *i, const struct imp_dbs *d, struct imp_edit *edits, size_t n,
		       const struct imp_removal *r, struct k3_err *e)
{
	struct bolt_txn *t;

	if (bolt_begin(d->meta, true, &t, e))
		return -1;
	if (write_meta(i, t, edits, n, r, e)) {
		bolt_abort(t);
		return -1;
	}
	return bolt_commit(t, e);
}

/* ---- snapshots ------------------------------------------------------------------------------ */

struct doomed {
	struct imp_doomed *v;
	size_t n, cap;
};

static int doomed_cmp(const void *a, const void *b)
{
	const struct imp_doomed *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

/* Numbers rise, so children come behind their parents. */
static void list_doomed(const struct imp_removal *r, struct doomed *out)
{
	for (size_t k = 0; k < r->n; k++) {
		const struct imp_item *it = &r->v[k];

		if (!it->now || !it->record || it->ns)
			continue;
		out->v = k3_xgrow(out->v, out->n, &out->cap, sizeof(*out->v));
		out->v[out->n++] = (struct imp_doomed){ .id = it->id, .key = it->key };
	}
	if (out->n)
		qsort(out->v, out->n, sizeof(*out->v), doomed_cmp);
}

static bool is_kept(const struct doomed *d, uint64_t id)
{
	for (size_t k = 0; k < d->n; k++)
		if (d->v[k].kept && d->v[k].id == id)
			return true;
	return false;
}

/* ---- files ---------------------------------------------------------------------------------- */

/* Remembers the first failure, and lets the others go on. */
static void note(struct k3_err *first, const struct k3_err *why)
{
	if (!first->code)
		*first = *why;
}

int imp_remove_file(struct imp *i, const char *path, size_t number, struct k3_err *e)
{
	char aside[64];

	if (!unlinkat(i->rootfd, path, 0) || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return k3_fail_sys(e, errno, "cannot remove %s", path);
	/* In one step: a removal that is cut off leaves no half of a directory in the store. */
	snprintf(aside, sizeof(aside), "gone-%zu", number);
	if (renameat(i->rootfd, path, i->treesfd, aside) && errno != ENOENT)
		return k3_fail_sys(e, errno, "cannot move %s away", path);
	return 0;
}

int imp_empty_aside(struct imp *i, struct k3_err *e)
{
	IMP_AUTO_LIST DIR *d = NULL;
	struct k3_err first = { 0 }, why;
	const char *name;

	if (imp_list_open(i, IMP_STAGE_DIR "/trees", &d, e))
		return -1;
	while ((name = imp_list_next(d)))
		if (k3_remove_tree(i->treesfd, name, &why))
			note(&first, &why);
	if (!first.code)
		return 0;
	*e = first;
	return -1;
}

static void remove_files(struct imp *i, const struct imp_removal *r, const struct doomed *d,
			 struct k3_err *first)
{
	struct k3_err why;

	for (size_t k = 0; k < r->n; k++) {
		const struct imp_item *it = &r->v[k];

		if (!it->now || it->record || it->kind == IMP_ITEM_STAGING ||
		    (it->id && is_kept(d, it->id)))
			continue;
		if (imp_remove_file(i, it->path, k, &why))
			note(first, &why);
	}
}

/* ---- together ------------------------------------------------------------------------------- */

static int look(struct imp *i, const struct imp_dbs *d, const struct imp_edit *edits, size_t n,
		bool keep_content, struct imp_removal *r, struct k3_err *e)
{
	struct imp_view v;
	int rc;

	if (imp_view_begin(i, d, &v, e))
		return -1;
	rc = imp_plan_removal(&v, edits, n, r, e);
	imp_view_end(&v);
	for (size_t k = 0; keep_content && k < r->n; k++)
		r->v[k].now = r->v[k].now && r->v[k].kind == IMP_ITEM_IMAGE;
	return rc;
}

/* Under the locks: what containerd looks at is right from one step to the next. */
static int take(struct imp *i, const struct imp_dbs *d, struct imp_edit *edits, size_t n,
		const struct imp_removal *r, struct k3_err *first, struct k3_err *e)
{
	struct doomed doomed = { 0 };
	int rc;

	list_doomed(r, &doomed);
	rc = (doomed.n && imp_journal_doomed(i, doomed.v, doomed.n, e)) ||
	     (d->meta && commit_meta(i, d, edits, n, r, e)) ||
	     imp_take_away(i, d, doomed.v, doomed.n, e);
	if (!rc)
		remove_files(i, r, &doomed, first);
	free(doomed.v);
	return rc ? -1 : 0;
}

/* What was staged goes as a whole; imp_close makes nothing of it. */
static int remove_staged(struct imp *i, struct k3_err *e)
{
	K3_AUTO_FD int fd = -1;

	return k3_remove_tree(i->stagefd, "blobs", e) ||
			       k3_make_dir(i->stagefd, "blobs", 0700, &fd, e)
		       ? -1
		       : 0;
}

/* Those of snapshots that are gone; best effort, every commit does it too. */
static void forget_losses(struct imp *i, const struct imp_dbs *d)
{
	struct imp_view v;
	struct k3_err why;

	if (imp_view_begin(i, d, &v, &why))
		return;
	imp_view_sweep_losses(&v);
	imp_view_end(&v);
}

static int remove_offline(struct imp *i, struct imp_edit *edits, size_t n, bool keep_content,
			  struct imp_removal *r, struct k3_err *e)
{
	struct k3_err first = { 0 }, why;
	struct imp_dbs d;
	int rc;

	if (imp_dbs_open(i, IMP_DBS_EDIT, IMP_PATIENCE_MS, &d, e))
		return -1;
	rc = look(i, &d, edits, n, keep_content, r, e) || take(i, &d, edits, n, r, &first, e);
	if (!rc)
		forget_losses(i, &d);
	imp_dbs_close(&d);
	/* What has become of it is what meta.db says; where that fails too the next run looks. */
	if (rc) {
		(void)!imp_recover(i, &why);
		return -1;
	}
	if (imp_journal_remove(i, &why))
		note(&first, &why);
	/* The databases are free meanwhile: a tree may be large. */
	if (imp_empty_aside(i, &why))
		note(&first, &why);
	if (!edits && remove_staged(i, &why))
		note(&first, &why);
	if (!first.code)
		return 0;
	*e = first;
	return -1;
}

int imp_remove(struct imp *i, struct imp_edit *edits, size_t n, bool keep_content,
	       struct imp_removal *r, struct k3_err *e)
{
	int rc;

	if (!i->write || i->stage_only)
		return k3_fail(e, K3_BUG, "root is not open for changes");
	if (i->live)
		return imp_live_remove(i, edits, n, keep_content, r, e);
	rc = remove_offline(i, edits, n, keep_content, r, e);
	return rc ? k3_wrap(e, "%s", i->root) : 0;
}
