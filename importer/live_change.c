/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Image records are changed one by one under a lease; when that ends containerd collects what
 * nothing refers to any more.
 */
#include "importer/live_change.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "cri/cri.h"
#include "importer/daemon.h"
#include "importer/edit.h"
#include "importer/live.h"
#include "importer/remove.h"
#include "importer/view.h"

/* ---- records -------------------------------------------------------------------------------- */

/* Whether the record is as it was decided upon, and whether there is anything to change. */
static int check_edit(struct imp_view *v, struct imp_edit *edit, struct k3_err *e)
{
	struct bolt_bucket *rec = NULL;
	struct imp_record r = { 0 };

	if (v->images && imp_sub(v->images, BOLT_STR(edit->name), &rec, e))
		return -1;
	if (rec && imp_read_record(rec, &r, e))
		return k3_wrap(e, "image record %s", edit->name);
	edit->changed = (edit->kind != IMP_EDIT_PIN || !r.pinned) &&
			(edit->kind != IMP_EDIT_UNPIN || r.pinned);
	if (edit->kind == IMP_EDIT_PIN || edit->kind == IMP_EDIT_UNPIN)
		edit->target = r.target;
	return imp_edit_check(edit, rec, &r.target.digest, e);
}

static int check_edits(struct imp *i, struct imp_edit *edits, size_t n, struct k3_err *e)
{
	struct imp_view *v;
	int rc = 0;

	if (imp_view_open(i, &v, e))
		return -1;
	for (size_t k = 0; !rc && k < n; k++)
		rc = check_edit(v, &edits[k], e);
	imp_view_close(v);
	return rc;
}

static int edit_one(struct imp_daemon *d, struct imp_edit *edit, struct k3_err *e)
{
	bool found = true;

	switch (edit->kind) {
	case IMP_EDIT_SET:
		edit->changed = false;
		return imp_daemon_image(d, edit->name, &edit->target, edit->pin, &edit->changed, e);
	case IMP_EDIT_PIN:
	case IMP_EDIT_UNPIN:
		if (edit->changed && imp_daemon_pin_image(d, edit->name, &edit->target,
							  edit->kind == IMP_EDIT_PIN, &found, e))
			return -1;
		return found ? 0 : imp_edit_check(edit, false, NULL, e);
	case IMP_EDIT_DROP:
		return imp_daemon_drop_image(d, edit->name, &found, e);
	}
	return 0;
}

/* ---- CRI ------------------------------------------------------------------------------------ */

/* Whether CRI's answer shows what the edit has made. */
static bool has_noticed(const struct imp_edit *edit, const char *id, const struct cri_image *seen)
{
	switch (edit->kind) {
	case IMP_EDIT_SET:
		return seen->found && !strcmp(seen->id, id);
	case IMP_EDIT_PIN:
		return !seen->found || seen->pinned;
	case IMP_EDIT_UNPIN:
		return !seen->found || !seen->pinned;
	case IMP_EDIT_DROP:
		return !seen->found;
	}
	return true;
}

/* Waits for it; *noticed = false and success when time is up. */
static int wait_for(struct imp *i, const struct imp_edit *edit, const char *id, bool *noticed,
		    struct k3_err *e)
{
	uint64_t end = k3_now_ms() + IMP_CRI_KNOWS_MS;
	unsigned pause = IMP_CRI_POLL_MS;

	for (*noticed = false;;) {
		__attribute__((cleanup(cri_image_release))) struct cri_image seen = { 0 };

		if (cri_image_status(imp_daemon_channel(i->daemon), edit->name, &seen, e))
			return k3_wrap(e, "%s", edit->name);
		*noticed = has_noticed(edit, id, &seen);
		if (*noticed || k3_now_ms() >= end)
			return 0;
		if (k3_cancel_sleep(i->cancel, pause, e))
			return -1;
		pause = pause * 2 < IMP_CRI_POLL_MAX_MS ? pause * 2 : IMP_CRI_POLL_MAX_MS;
	}
}

static int wait_edit(struct imp *i, const struct imp_edit *edit, struct k3_err *e)
{
	__attribute__((cleanup(cri_image_release))) struct cri_image source = { 0 };
	bool pins = edit->kind == IMP_EDIT_PIN || edit->kind == IMP_EDIT_UNPIN, noticed;

	if (pins && !imp_live_tells_pinned(i))
		return 0;
	if (edit->kind == IMP_EDIT_SET) {
		if (!edit->like)
			return 0;
		if (cri_image_status(imp_daemon_channel(i->daemon), edit->like, &source, e))
			return k3_wrap(e, "%s", edit->like);
		/* An image for other machines, of which CRI takes no notice. */
		if (!source.found)
			return 0;
	}
	if (wait_for(i, edit, source.id, &noticed, e))
		return -1;
	/* Another image of the same ID may still have the pin, or the name. */
	if (noticed || (edit->kind != IMP_EDIT_SET && edit->kind != IMP_EDIT_PIN))
		return 0;
	k3_fail(e, K3_STORE, "%s: it is changed in the store, but CRI takes no notice", edit->name);
	return k3_hint(e, "the log of containerd says why (journalctl -u containerd, or -u k3s)");
}

static int wait_for_cri(struct imp *i, const struct imp_edit *edits, size_t n, struct k3_err *e)
{
	bool has;

	if (imp_live_has_cri(i, &has, e))
		return -1;
	for (size_t k = 0; has && k < n; k++)
		if (edits[k].changed && wait_edit(i, &edits[k], e))
			return -1;
	return 0;
}

/* ---- together ------------------------------------------------------------------------------- */

static int change(struct imp *i, struct imp_edit *edits, size_t n, struct k3_err *e)
{
	if (imp_live_begin(i, e) || check_edits(i, edits, n, e))
		return -1;
	for (size_t k = 0; k < n; k++)
		if (edit_one(i->daemon, &edits[k], e))
			return -1;
	return wait_for_cri(i, edits, n, e);
}

int imp_live_edit(struct imp *i, struct imp_edit *edits, size_t n, struct k3_err *e)
{
	struct k3_err ignored;

	if (imp_live_connect(i, e))
		return -1;
	if (!change(i, edits, n, e) && !imp_daemon_release(i->daemon, e))
		return 0;
	(void)!imp_daemon_release(i->daemon, &ignored);
	return imp_live_through(i, e);
}

static int plan(struct imp *i, const struct imp_edit *edits, size_t n, struct imp_removal *r,
		struct k3_err *e)
{
	struct imp_view *v;
	int rc;

	if (imp_view_open(i, &v, e))
		return -1;
	rc = imp_plan_removal(v, edits, n, r, e);
	imp_view_close(v);
	return rc;
}

/* Names at which containerd's collector would fail, before it is asked to run. */
static int clear_way(struct imp *i, const struct imp_removal *r, struct k3_err *e)
{
	for (size_t k = 0; k < r->n; k++)
		if (r->v[k].now && r->v[k].kind == IMP_ITEM_OTHER && !r->v[k].record &&
		    imp_remove_file(i, r->v[k].path, k, e))
			return -1;
	return 0;
}

/* Whether containerd has a record of the snapshot still, or again. */
static bool is_recorded(const struct imp_removal *r, uint64_t id)
{
	for (size_t k = 0; k < r->n; k++)
		if (r->v[k].now && r->v[k].record && !r->v[k].ns && r->v[k].id == id)
			return true;
	return false;
}

/* Directories that the collector leaves lying, and that containerd is not going to use. */
static int remove_trees(struct imp *i, const struct imp_removal *r, struct k3_err *e)
{
	for (size_t k = 0; k < r->n; k++) {
		const struct imp_item *it = &r->v[k];

		if (!it->now || it->kind != IMP_ITEM_SNAPSHOT || it->record ||
		    is_recorded(r, it->id))
			continue;
		if (imp_remove_file(i, it->path, k, e))
			return -1;
	}
	return imp_empty_aside(i, e);
}

static int stir(struct imp *i, struct k3_err *e)
{
	K3_AUTO_FREE char *dir = k3_xasprintf("%s/" IMP_STAGE_DIR, i->root);
	K3_AUTO_FD int fd = -1;

	return k3_temp_file(dir, &fd, e) || imp_daemon_stir(i->daemon, fd, e) ? -1 : 0;
}

static int prune(struct imp *i, struct imp_removal *r, struct k3_err *e)
{
	struct k3_err ignored;
	int rc;

	if (plan(i, NULL, 0, r, e) || clear_way(i, r, e) || imp_live_begin(i, e))
		return -1;
	rc = stir(i, e) || imp_daemon_sweep(i->daemon, e) || imp_daemon_collect(i->daemon, e);
	if (rc) {
		(void)!imp_daemon_release(i->daemon, &ignored);
		return -1;
	}
	/* What is found now is found after the collection. */
	return plan(i, NULL, 0, r, e) || remove_trees(i, r, e) ||
			       k3_remove_tree(i->stagefd, "blobs", e)
		       ? -1
		       : 0;
}

static int drop(struct imp *i, struct imp_edit *edits, size_t n, struct imp_removal *r,
		struct k3_err *e)
{
	struct k3_err ignored;

	if (!plan(i, edits, n, r, e) && !change(i, edits, n, e) &&
	    !imp_daemon_collect(i->daemon, e))
		return 0;
	(void)!imp_daemon_release(i->daemon, &ignored);
	return -1;
}

int imp_live_remove(struct imp *i, struct imp_edit *edits, size_t n, bool keep_content,
		    struct imp_removal *r, struct k3_err *e)
{
	if (keep_content) {
		k3_fail(e, K3_USAGE, "a running containerd removes what no image needs");
		return k3_hint(e, "--keep-content is for a containerd that is stopped");
	}
	if (imp_live_connect(i, e))
		return -1;
	return (edits ? drop(i, edits, n, r, e) : prune(i, r, e)) ? imp_live_through(i, e) : 0;
}
