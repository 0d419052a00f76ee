/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/undo.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "importer/native.h"
#include "importer/root.h"

#define JOURNAL "journal"
#define JOURNAL_NEW "journal.new"
#define JOURNAL_MAX (64u << 20) /* bytes: half a million snapshots */

/* One snapshot to be taken back. */
struct entry {
	uint64_t id;
	const char *key; /* in metadata.db: "<ns>/<n>/<chain ID>" */
	char *now;       /* what meta.db names in its place, or NULL */
	bool keep;
	bool held, dropped; /* others stand on its record; it is gone */
	bool shared;        /* the record goes, but not the directory: another record has it */
};

struct entries {
	struct entry *v;
	size_t n, cap;
};

static void entries_release(struct entries *es)
{
	for (size_t k = 0; k < es->n; k++)
		free(es->v[k].now);
	free(es->v);
}

#define AUTO_ENTRIES __attribute__((cleanup(entries_release)))

static void entries_add(struct entries *es, uint64_t id, const char *key)
{
	es->v = k3_xgrow(es->v, es->n, &es->cap, sizeof(*es->v));
	es->v[es->n++] = (struct entry){ .id = id, .key = key };
}

/* ---- journal ------------------------------------------------------------------------------ */

static int place_journal(struct imp *i, const struct k3_buf *text, struct k3_err *e)
{
	K3_AUTO_FD int fd = openat(i->stagefd, JOURNAL_NEW,
				   O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return k3_fail_sys(e, errno, "cannot make the journal");
	if (k3_write_all(fd, text->p, text->len, "journal", e) || k3_fsync(fd, "journal", e) ||
	    k3_close(&fd, "journal", e))
		return -1;
	if (renameat(i->stagefd, JOURNAL_NEW, i->stagefd, JOURNAL))
		return k3_fail_sys(e, errno, "cannot place the journal");
	return k3_fsync(i->stagefd, "staging directory", e);
}

int imp_journal_write(struct imp *i, struct imp_tree *const *trees, size_t n, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(JOURNAL_MAX);

	for (size_t k = 0; k < n; k++) {
		const struct imp_tree *t = trees[k];

		if (k3_buf_addf(&text, e, "%" PRIu64 " %s\n", t->id, t->name) ||
		    (t->old_named && t->old_id &&
		     k3_buf_addf(&text, e, "%" PRIu64 " %s\n", t->old_id, t->old_name)))
			return k3_wrap(e, "journal");
	}
	return place_journal(i, &text, e);
}

int imp_journal_doomed(struct imp *i, const struct imp_doomed *v, size_t n, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(JOURNAL_MAX);

	/* A key of several lines is none of containerd's; the next prune finds what it names. */
	for (size_t k = 0; k < n; k++)
		if (!strchr(v[k].key, '\n') &&
		    k3_buf_addf(&text, e, "%" PRIu64 " %s\n", v[k].id, v[k].key))
			return k3_wrap(e, "journal");
	return place_journal(i, &text, e);
}

const char *imp_staged_file(size_t k)
{
	static const char *const names[IMP_STAGED_FILES] = { JOURNAL, JOURNAL_NEW, "meta.db",
							     "metadata.db" };

	return names[k];
}

int imp_journal_remove(struct imp *i, struct k3_err *e)
{
	unlinkat(i->stagefd, JOURNAL_NEW, 0);
	if (unlinkat(i->stagefd, JOURNAL, 0) && errno != ENOENT)
		return k3_fail_sys(e, errno, "cannot remove the journal");
	return 0;
}

/* Lines of "<number> <key>"; the entries borrow from the text.  A line of another form is not
 * ours to act on. */
static void parse(char *text, struct entries *es)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *end;
		uint64_t id = strtoull(line, &end, 10);

		if (id && *end == ' ' && end[1])
			entries_add(es, id, end + 1);
	}
}

/* ---- what to keep --------------------------------------------------------------------------- */

/*
 * Whether meta.db has the snapshot: a new one then went through, an old one was not replaced.
 * Else *now is what it names in its place, as new memory, or NULL.
 */
static int is_known(struct bolt_txn *meta, const char *key, bool *known, char **now,
		    struct k3_err *e)
{
	const char *slash = strchr(key, '/');
	const char *chain = slash ? strchr(slash + 1, '/') : NULL;
	struct bolt_bucket *rec;
	struct bolt_val name;

	*known = true;
	if (!chain)
		return 0;

	const struct bolt_val path[] = { BOLT_STR("v1"),
					 { key, (size_t)(slash - key) },
					 BOLT_STR("snapshots"),
					 BOLT_STR(IMP_SNAPSHOTTER),
					 BOLT_STR(chain + 1) };

	if (bolt_bucket_path(meta, path, K3_ARRAY_LEN(path), &rec, e))
		return -1;
	*known = false;
	if (!rec)
		return 0;
	if (bolt_get(rec, BOLT_STR("name"), &name, e))
		return -1;
	*known = name.p && imp_val_eq(name, BOLT_STR(key));
	if (!*known && name.n)
		*now = k3_xstrndup(name.p, name.n);
	return 0;
}

static int keep_known(struct bolt_db *meta, struct entries *es, struct k3_err *e)
{
	struct bolt_txn *t;
	int rc = 0;

	if (bolt_begin(meta, false, &t, e))
		return -1;
	for (size_t k = 0; !rc && k < es->n; k++)
		rc = is_known(t, es->v[k].key, &es->v[k].keep, &es->v[k].now, e);
	bolt_abort(t);
	return rc;
}

/*
 * Numbers are never given out twice, so a record of another key under one of ours means that
 * somebody has begun a new metadata.db under our journal, or that a damaged record was replaced:
 * the directory is not ours.
 */
static int find_shared(struct bolt_txn *t, struct entries *es, struct k3_err *e)
{
	struct bolt_iter it = { 0 };
	struct bolt_bucket *snapshots;
	struct bolt_item item;
	bool more = true, found;
	uint64_t id;
	int kind;

	if (imp_native_snapshots(t, &snapshots, e))
		return -1;
	while (snapshots && more) {
		if (bolt_next(snapshots, &it, &item, &more, e))
			return -1;
		if (!more || !item.is_bucket)
			continue;
		if (imp_native_find(snapshots, item.key, &id, &kind, &found, e))
			return -1;
		for (size_t k = 0; found && k < es->n; k++)
			if (es->v[k].id == id && !imp_val_eq(item.key, BOLT_STR(es->v[k].key)))
				es->v[k].shared = true;
	}
	return 0;
}

/* ---- taking back ---------------------------------------------------------------------------- */

/* One that others stand on waits for them to go; *more: some went, and some wait. */
static int drop_pass(struct bolt_txn *t, struct entries *es, bool *more, struct k3_err *e)
{
	bool some = false, waiting = false;

	/* Children come behind their parents, but where a parent was replaced. */
	for (size_t k = es->n; k-- > 0;) {
		struct entry *en = &es->v[k];

		if (en->keep || en->dropped)
			continue;
		if ((en->now && imp_native_relink(t, en->key, en->now, e)) ||
		    imp_native_drop(t, en->id, en->key, &en->held, e))
			return -1;
		en->dropped = !en->held;
		some |= en->dropped;
		waiting |= en->held;
	}
	*more = some && waiting;
	return 0;
}

static int drop_all(struct bolt_txn *t, struct entries *es, struct k3_err *e)
{
	bool more = true;

	if (find_shared(t, es, e))
		return -1;
	while (more)
		if (drop_pass(t, es, &more, e))
			return -1;
	for (size_t k = 0; k < es->n; k++)
		es->v[k].keep |= es->v[k].held;
	return 0;
}

static int drop_records(struct bolt_db *native, struct entries *es, struct k3_err *e)
{
	struct bolt_txn *t;

	if (bolt_begin(native, true, &t, e))
		return -1;
	if (drop_all(t, es, e)) {
		bolt_abort(t);
		return -1;
	}
	return bolt_commit(t, e);
}

/* Directories are removed later, from staging: a removal that is cut off leaves no half of a
 * tree in the store. */
static int move_directories(struct imp *i, const struct entries *es, struct k3_err *e)
{
	for (size_t k = 0; k < es->n; k++) {
		char from[IMP_PATH_MAX], to[64];

		if (es->v[k].keep || es->v[k].shared || !es->v[k].id)
			continue;
		imp_snapshot_path(es->v[k].id, from);
		snprintf(to, sizeof(to), "trees/undo-%" PRIu64, es->v[k].id);
		if (renameat(i->rootfd, from, i->stagefd, to) && errno != ENOENT)
			return k3_fail_sys(e, errno, "cannot move %s away", from);
	}
	return 0;
}

static int take_back(struct imp *i, const struct imp_dbs *d, struct entries *es, struct k3_err *e)
{
	if (!d->native)
		return 0;
	return drop_records(d->native, es, e) || move_directories(i, es, e) ? -1 : 0;
}

static int recover_entries(struct imp *i, struct entries *es, struct k3_err *e)
{
	struct imp_dbs d;
	int rc;

	if (imp_dbs_open(i, IMP_DBS_WRITE, IMP_PATIENCE_MS, &d, e))
		return -1;
	rc = keep_known(d.meta, es, e) || take_back(i, &d, es, e) ? -1 : 0;
	imp_dbs_close(&d);
	return rc;
}

int imp_recover(struct imp *i, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(JOURNAL_MAX);
	AUTO_ENTRIES struct entries es = { 0 };
	struct k3_err why = { 0 };

	if (k3_read_file(i->stagefd, JOURNAL, &text, &why)) {
		if (why.code == K3_NOTFOUND)
			return 0;
		*e = why;
		return -1;
	}
	if (text.len)
		parse((char *)text.p, &es);
	if (es.n && recover_entries(i, &es, e))
		return k3_wrap(e, "cleaning up after a run that was cut off");
	return imp_journal_remove(i, e);
}

int imp_retire(struct imp *i, const struct imp_dbs *d, struct imp_tree *const *trees, size_t n,
	       struct k3_err *e)
{
	AUTO_ENTRIES struct entries es = { 0 };

	for (size_t k = 0; k < n; k++)
		if (trees[k]->old_name)
			entries_add(&es, trees[k]->old_id, trees[k]->old_name);
	/* In a damaged store the old name may be that of another, sound snapshot, which stays. */
	if (!es.n)
		return 0;
	if (keep_known(d->meta, &es, e))
		return -1;
	for (size_t k = 0, m = 0; k < n; k++) {
		struct entry *old = trees[k]->old_name ? &es.v[m++] : NULL;

		if (old && !old->now)
			old->now = k3_xstrdup(trees[k]->name);
	}
	return take_back(i, d, &es, e);
}

int imp_take_away(struct imp *i, const struct imp_dbs *d, struct imp_doomed *v, size_t n,
		  struct k3_err *e)
{
	AUTO_ENTRIES struct entries es = { 0 };

	for (size_t k = 0; k < n; k++)
		entries_add(&es, v[k].id, v[k].key);
	if (!n)
		return 0;
	if (take_back(i, d, &es, e))
		return -1;
	for (size_t k = 0; k < n; k++)
		v[k].kept = es.v[k].keep || es.v[k].shared;
	return 0;
}

void imp_undo(struct imp *i, const struct imp_dbs *d, struct imp_tree *const *trees, size_t n)
{
	AUTO_ENTRIES struct entries es = { 0 };
	struct k3_err ignored;

	for (size_t k = 0; k < n; k++)
		if (trees[k]->published)
			entries_add(&es, trees[k]->id, trees[k]->name);
	/*
	 * A disk that took the last write to meta.db, failed to flush it and failed to take it
	 * back leaves a file that may be in the new state: nothing goes that it may refer to, and
	 * the next run looks by the journal.
	 */
	if (keep_known(d->meta, &es, &ignored))
		return;
	/* When this fails the journal stays, and the next run tries again. */
	if (!es.n || !take_back(i, d, &es, &ignored))
		(void)!imp_journal_remove(i, &ignored);
	for (size_t k = 0; k < i->nstaged; k++) {
		char path[IMP_PATH_MAX], name[IMP_PATH_MAX];

		if (!i->staged[k].placed || !i->staged[k].fresh)
			continue;
		imp_blob_path(&i->staged[k].digest, path);
		imp_stage_name(&i->staged[k].digest, name);
		renameat(i->rootfd, path, i->blobsfd, name);
	}
}
