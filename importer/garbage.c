/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/garbage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "importer/check.h"
#include "importer/native.h"
#include "importer/reach.h"
#include "importer/root.h"
#include "importer/undo.h"
#include "importer/wordset.h"

#define INGEST_DIR IMP_CONTENT_DIR "/ingest"
#define BLOCK 512u /* unit of st_blocks, whatever the file system's block size */

/* ---- items ---------------------------------------------------------------------------------- */

const char *imp_item_name(enum imp_item_kind kind)
{
	static const char *const names[] = {
		[IMP_ITEM_IMAGE] = "image",       [IMP_ITEM_BLOB] = "blob",
		[IMP_ITEM_SNAPSHOT] = "snapshot", [IMP_ITEM_INGEST] = "ingest",
		[IMP_ITEM_LEASE] = "lease",       [IMP_ITEM_OTHER] = "other",
		[IMP_ITEM_STAGING] = "staging",
	};

	return names[kind];
}

const char *imp_item_bucket(enum imp_item_kind kind)
{
	static const char *const buckets[] = {
		[IMP_ITEM_IMAGE] = "images",
		[IMP_ITEM_BLOB] = "content/blob",
		[IMP_ITEM_SNAPSHOT] = ("snapshots/" IMP_SNAPSHOTTER),
		[IMP_ITEM_INGEST] = "content/ingests",
		[IMP_ITEM_LEASE] = "leases",
		[IMP_ITEM_OTHER] = "",
		[IMP_ITEM_STAGING] = "",
	};

	return buckets[kind];
}

size_t imp_item_path(const struct imp_item *it, struct bolt_val out[IMP_ITEM_DEPTH])
{
	const char *bucket = imp_item_bucket(it->kind), *slash = strchr(bucket, '/');
	size_t n = 0;

	out[n++] = BOLT_STR("v1");
	if (!it->ns) {
		out[n++] = BOLT_STR("snapshots");
		return n;
	}
	out[n++] = BOLT_STR(it->ns);
	out[n++] = (struct bolt_val){ bucket, strcspn(bucket, "/") };
	if (slash)
		out[n++] = BOLT_STR(slash + 1);
	return n;
}

void imp_removal_release(struct imp_removal *r)
{
	for (size_t k = 0; k < r->n; k++) {
		free(r->v[k].path);
		free(r->v[k].ns);
		free(r->v[k].key);
	}
	free(r->v);
	*r = (struct imp_removal){ 0 };
}

/* ---- the search ----------------------------------------------------------------------------- */

/* A record of metadata.db. */
struct backend {
	struct bolt_val key, parent;
	uint64_t id;
	bool stays;
};

struct search {
	struct imp_view *v;
	struct imp_removal *out;
	bool everything;
	bool live;  /* containerd has the databases */
	bool alone; /* no other k3simg is at work */
	struct reach r;
	size_t *known; /* items that were there, by path */
	size_t nknown;
	/* What stays: */
	struct wordset blobs;   /* "<alg>:<hex>" of files that a record, or a write, has */
	struct wordset names;   /* keys of metadata.db that meta.db knows */
	struct wordset ingests; /* names of their directories */
	struct wordset ids;     /* numbers of metadata.db */
	/* What goes: */
	struct wordset gone_blobs, gone_names, gone_ids;
	struct backend *backends;
	size_t nbackends, backends_cap;
};

static void search_release(struct search *s)
{
	reach_release(&s->r);
	free(s->known);
	wordset_release(&s->blobs);
	wordset_release(&s->names);
	wordset_release(&s->ingests);
	wordset_release(&s->ids);
	wordset_release(&s->gone_ids);
	wordset_release(&s->gone_blobs);
	wordset_release(&s->gone_names);
	free(s->backends);
}

static int path_cmp(const void *a, const void *b, void *items)
{
	const struct imp_item *v = items;

	return strcmp(v[*(const size_t *)a].path, v[*(const size_t *)b].path);
}

static void know_items(struct search *s)
{
	struct imp_removal *out = s->out;

	s->known = k3_xcalloc(out->n + 1, sizeof(*s->known));
	s->nknown = out->n;
	for (size_t k = 0; k < out->n; k++) {
		s->known[k] = k;
		out->v[k].now = false;
	}
	if (out->n)
		qsort_r(s->known, out->n, sizeof(*s->known), path_cmp, out->v);
}

static struct imp_item *find_item(struct search *s, const char *path)
{
	size_t low = 0, high = s->nknown;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		struct imp_item *it = &s->out->v[s->known[mid]];
		int c = strcmp(it->path, path);

		if (!c)
			return it;
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* Takes the texts of it. */
static void add_item(struct search *s, struct imp_item it)
{
	struct imp_item *old = find_item(s, it.path);

	if (old) {
		old->now = true;
		free(it.path);
		free(it.ns);
		free(it.key);
		return;
	}
	it.now = true;
	s->out->v = k3_xgrow(s->out->v, s->out->n, &s->out->cap, sizeof(*s->out->v));
	s->out->v[s->out->n++] = it;
}

static char *text_of(struct bolt_val v)
{
	return v.n ? k3_xstrndup(v.p, v.n) : k3_xstrdup("");
}

/* ---- records of meta.db --------------------------------------------------------------------- */

static enum imp_item_kind kind_of(enum reach_type type)
{
	static const enum imp_item_kind kinds[] = {
		[REACH_IMAGE] = IMP_ITEM_IMAGE,       [REACH_BLOB] = IMP_ITEM_BLOB,
		[REACH_SNAPSHOT] = IMP_ITEM_SNAPSHOT, [REACH_INGEST] = IMP_ITEM_INGEST,
		[REACH_LEASE] = IMP_ITEM_LEASE,       [REACH_CONTAINER] = IMP_ITEM_OTHER,
		[REACH_OTHER] = IMP_ITEM_OTHER,
	};

	return kinds[type];
}

/* A record whose key is no text is none that containerd has made: it is left alone. */
static bool goes(const struct reach_node *n)
{
	if (n->mark || kind_of(n->id.type) == IMP_ITEM_OTHER || !n->id.key.n || !n->id.ns.n)
		return false;
	return !memchr(n->id.key.p, 0, n->id.key.n) && !memchr(n->id.ns.p, 0, n->id.ns.n);
}

/* The directory of an ingest; plugins/content/local ingestPaths. */
static char *ingest_name(struct bolt_val ref)
{
	uint8_t hash[K3_HASH_MAX];
	char hex[2 * K3_HASH_MAX + 1];

	k3_hash_once(K3_SHA256, ref.n ? ref.p : "", ref.n, hash);
	k3_hex(hash, k3_hash_len(K3_SHA256), hex);
	return k3_xstrdup(hex);
}

static void note_kept(struct search *s, const struct reach_node *n)
{
	switch (n->id.type) {
	case REACH_BLOB:
		wordset_add(&s->blobs, text_of(n->id.key));
		break;
	case REACH_SNAPSHOT:
		if (n->name.n)
			wordset_add(&s->names, text_of(n->name));
		break;
	case REACH_INGEST:
		wordset_add(&s->ingests, ingest_name(n->name));
		break;
	default:
		break;
	}
}

static void note_gone(struct search *s, const struct reach_node *n)
{
	struct imp_item it = { .kind = kind_of(n->id.type), .record = true };

	it.ns = text_of(n->id.ns);
	it.key = text_of(n->id.key);
	it.path = check_record_path(it.ns, imp_item_bucket(it.kind), it.key);
	if (n->id.type == REACH_BLOB)
		wordset_add(&s->gone_blobs, k3_xstrdup(it.key));
	if (n->id.type == REACH_SNAPSHOT && n->name.n)
		wordset_add(&s->gone_names, text_of(n->name));
	add_item(s, it);
}

/* What an unfinished write is going to be keeps its file, as containerd's own sweep has it. */
static int note_expected(struct search *s, const struct reach_node *n, struct k3_err *e)
{
	const struct bolt_val path[] = { BOLT_STR("v1"), n->id.ns, BOLT_STR("content"),
					 BOLT_STR("ingests"), n->id.key };
	struct bolt_bucket *rec;
	struct bolt_val expected;

	if (bolt_bucket_path(s->v->meta, path, K3_ARRAY_LEN(path), &rec, e))
		return -1;
	if (!rec)
		return 0;
	if (bolt_get(rec, BOLT_STR("expected"), &expected, e))
		return -1;
	if (expected.n)
		wordset_add(&s->blobs, text_of(expected));
	return 0;
}

static int sort_nodes(struct search *s, struct k3_err *e)
{
	for (size_t k = 0; k < s->r.n; k++) {
		const struct reach_node *n = &s->r.nodes[k];

		if (goes(n)) {
			note_gone(s, n);
			continue;
		}
		note_kept(s, n);
		if (n->id.type == REACH_INGEST && note_expected(s, n, e))
			return -1;
	}
	wordset_sort(&s->blobs);
	wordset_sort(&s->names);
	wordset_sort(&s->ingests);
	wordset_sort(&s->gone_blobs);
	wordset_sort(&s->gone_names);
	return 0;
}

/* The record of an edit, if it is one by which something may lose what keeps it. */
static struct reach_node *edited(struct search *s, const struct imp_edit *edit)
{
	const struct reach_id id = { .type = REACH_IMAGE,
				     .ns = BOLT_STR(s->v->i->ns),
				     .key = BOLT_STR(edit->name) };

	if (edit->kind != IMP_EDIT_DROP && edit->kind != IMP_EDIT_SET)
		return NULL;
	return reach_find(&s->r, &id);
}

/* The records that are dropped; what nothing refers to before that is somebody else's business. */
static void drop_images(struct search *s, const struct imp_edit *edits, size_t n)
{
	reach_mark(&s->r);
	for (size_t k = 0; k < s->r.n; k++)
		if (!s->r.nodes[k].mark)
			s->r.nodes[k].root = true;
	for (size_t k = 0; k < n; k++) {
		struct reach_node *node = edited(s, &edits[k]);

		if (node)
			node->dropped = true;
	}
	reach_mark(&s->r);
	/* A name that is to lead elsewhere stays; what it leads to then has other names. */
	for (size_t k = 0; k < n; k++) {
		struct reach_node *node = edited(s, &edits[k]);

		if (node && edits[k].kind == IMP_EDIT_SET)
			node->mark = REACH_FULL;
	}
}

static int search_meta(struct search *s, const struct imp_edit *edits, size_t n, struct k3_err *e)
{
	s->r.now = (int64_t)time(NULL);
	s->r.ours_are_stale = s->everything && s->alone;
	s->r.ours_in = s->live ? s->v->i->ns : NULL;
	if (reach_scan(&s->r, s->v->meta, e))
		return -1;
	if (s->everything)
		reach_mark(&s->r);
	else
		drop_images(s, edits, n);
	return sort_nodes(s, e);
}

/* ---- records of metadata.db ----------------------------------------------------------------- */

static int backend_cmp(const void *a, const void *b)
{
	const struct backend *x = a, *y = b;
	size_t n = x->key.n < y->key.n ? x->key.n : y->key.n;
	int c = memcmp(x->key.p, y->key.p, n);

	return c ? c : (x->key.n > y->key.n) - (x->key.n < y->key.n);
}

static int read_backends(struct search *s, struct k3_err *e)
{
	struct bolt_bucket *all = s->v->backend;
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = all != NULL;

	while (more) {
		struct backend b = { 0 };
		struct bolt_bucket *rec;
		bool found;
		int kind;

		if (bolt_next(all, &it, &item, &more, e))
			return -1;
		if (!more || !item.is_bucket)
			continue;
		if (imp_native_find(all, item.key, &b.id, &kind, &found, e) ||
		    bolt_bucket_get(all, item.key, &rec, e) ||
		    bolt_get(rec, BOLT_STR("parent"), &b.parent, e))
			return -1;
		K3_AUTO_FREE char *key = text_of(item.key);

		b.key = item.key;
		/* A broken record is for verify to tell of. */
		b.stays = !found || wordset_has(&s->names, key) ||
			  (!s->everything && !wordset_has(&s->gone_names, key)) ||
			  memchr(item.key.p, 0, item.key.n);
		s->backends = k3_xgrow(s->backends, s->nbackends, &s->backends_cap,
				       sizeof(*s->backends));
		s->backends[s->nbackends++] = b;
	}
	return 0;
}

/* Whoever stays has all that it stands on. */
static void keep_parents(struct search *s)
{
	if (s->nbackends)
		qsort(s->backends, s->nbackends, sizeof(*s->backends), backend_cmp);
	for (size_t k = 0; k < s->nbackends; k++) {
		struct backend *b = &s->backends[k];

		while (b && b->stays && b->parent.n) {
			const struct backend want = { .key = b->parent };

			b = bsearch(&want, s->backends, s->nbackends, sizeof(want), backend_cmp);
			if (b && b->stays)
				break;
			if (b)
				b->stays = true;
		}
	}
}

static bool present(struct imp *i, const char *path)
{
	struct stat st;

	return !fstatat(i->rootfd, path, &st, AT_SYMLINK_NOFOLLOW);
}

static void add_directory(struct search *s, uint64_t id)
{
	char path[IMP_PATH_MAX];

	imp_snapshot_path(id, path);
	if (present(s->v->i, path))
		add_item(s, (struct imp_item){ .kind = IMP_ITEM_SNAPSHOT,
					       .path = k3_xstrdup(path),
					       .id = id });
}

static int search_native(struct search *s, struct k3_err *e)
{
	if (read_backends(s, e))
		return k3_wrap(e, "metadata.db");
	keep_parents(s);
	/* A running containerd makes a snapshot here before meta.db names it, and removes it later.
	 */
	for (size_t k = 0; k < s->nbackends; k++)
		if (s->backends[k].stays || s->live)
			wordset_add(&s->ids, k3_xasprintf("%" PRIu64, s->backends[k].id));
	wordset_sort(&s->ids);
	for (size_t k = 0; k < s->nbackends; k++) {
		const struct backend *b = &s->backends[k];
		K3_AUTO_FREE char *id = k3_xasprintf("%" PRIu64, b->id);
		struct imp_item it = { .kind = IMP_ITEM_SNAPSHOT, .record = true, .id = b->id };

		if (b->stays)
			continue;
		wordset_add(&s->gone_ids, k3_xstrdup(id));
		it.key = text_of(b->key);
		it.path = k3_xasprintf("metadata.db/v1/snapshots/%s", it.key);
		add_item(s, it);
		/* Where two records have one number the other one has the directory. */
		if (s->live || !wordset_has(&s->ids, id))
			add_directory(s, b->id);
	}
	wordset_sort(&s->gone_ids);
	return 0;
}

/* ---- files ---------------------------------------------------------------------------------- */

static void add_blob_file(struct search *s, const char *digest)
{
	struct oci_digest d;
	struct k3_err why;
	char path[IMP_PATH_MAX];

	if (oci_digest_parse(digest, &d, &why))
		return;
	imp_blob_path(&d, path);
	if (present(s->v->i, path))
		add_item(s, (struct imp_item){ .kind = IMP_ITEM_BLOB,
					       .path = k3_xstrdup(path),
					       .key = k3_xstrdup(digest) });
}

static int search_blobs(struct search *s, enum k3_hash_alg alg, struct k3_err *e)
{
	K3_AUTO_FREE char *dir = k3_xasprintf(IMP_BLOBS_DIR "/%s", oci_alg_name(alg));
	IMP_AUTO_LIST DIR *d = NULL;
	const char *name;

	if (imp_list_open(s->v->i, dir, &d, e))
		return -1;
	while ((name = imp_list_next(d))) {
		K3_AUTO_FREE char *digest = k3_xasprintf("%s:%s", oci_alg_name(alg), name);
		struct oci_digest parsed;
		struct k3_err why;

		if (wordset_has(&s->blobs, digest))
			continue;
		if (!oci_digest_parse(digest, &parsed, &why))
			add_blob_file(s, digest);
		else
			add_item(s, (struct imp_item){ .kind = IMP_ITEM_OTHER,
						       .path = k3_xasprintf("%s/%s", dir, name) });
	}
	return 0;
}

static int search_ingests(struct search *s, struct k3_err *e)
{
	IMP_AUTO_LIST DIR *d = NULL;
	const char *name;

	if (imp_list_open(s->v->i, INGEST_DIR, &d, e))
		return -1;
	while ((name = imp_list_next(d)))
		if (strlen(name) == 2 * k3_hash_len(K3_SHA256) && !wordset_has(&s->ingests, name))
			add_item(s,
				 (struct imp_item){ .kind = IMP_ITEM_INGEST,
						    .path = k3_xasprintf(INGEST_DIR "/%s", name) });
	return 0;
}

/*
 * Whether this name in the directory of snapshots is left over.  Beside a running containerd only
 * what it cannot be about to use: it makes "new-…", gives it a number above the last one that
 * is recorded, and renames a snapshot that it removes before it has removed the record.
 */
static bool is_orphan(const struct search *s, const char *name, uint64_t last, uint64_t *id)
{
	static const char fresh[] = "new-", dying[] = "rm-";
	const char *number = name;

	*id = 0;
	if (!strncmp(name, fresh, strlen(fresh)))
		return !s->live;
	if (!strncmp(name, dying, strlen(dying)))
		number += strlen(dying);
	/* That of a record that goes is on the list. */
	if (!imp_is_number(number, id) || wordset_has(&s->ids, number) ||
	    (number == name && wordset_has(&s->gone_ids, name)))
		return false;
	return !s->live || *id <= last;
}

static int search_trees(struct search *s, struct k3_err *e)
{
	uint64_t last = s->v->backend ? bolt_sequence(s->v->backend) : 0, id;
	IMP_AUTO_LIST DIR *d = NULL;
	const char *name;

	if (imp_list_open(s->v->i, IMP_SNAPSHOTS_DIR, &d, e))
		return -1;
	while ((name = imp_list_next(d)))
		if (is_orphan(s, name, last, &id))
			add_item(s, (struct imp_item){
					    .kind = IMP_ITEM_SNAPSHOT,
					    .path = k3_xasprintf(IMP_SNAPSHOTS_DIR "/%s", name),
					    .id = id });
	return 0;
}

/* Staged blobs and trees one by one, so that it is seen what takes the space. */
static int search_staged(struct search *s, const char *dir, struct k3_err *e)
{
	IMP_AUTO_LIST DIR *d = NULL;
	const char *name;

	if (imp_list_open(s->v->i, dir, &d, e))
		return -1;
	while ((name = imp_list_next(d)))
		add_item(s, (struct imp_item){ .kind = IMP_ITEM_STAGING,
					       .path = k3_xasprintf("%s/%s", dir, name) });
	return 0;
}

/* Whether the directory is there for nothing; a run that may write has it for itself. */
static int stage_is_bare(struct search *s, bool *bare, struct k3_err *e)
{
	IMP_AUTO_LIST DIR *d = NULL;
	const char *name;

	*bare = false;
	if (s->v->i->write || imp_list_open(s->v->i, IMP_STAGE_DIR, &d, e))
		return s->v->i->write ? 0 : -1;
	for (*bare = d; *bare && (name = imp_list_next(d));)
		*bare = !strcmp(name, "blobs") || !strcmp(name, "trees");
	return 0;
}

static int search_staging(struct search *s, struct k3_err *e)
{
	size_t before = s->out->n;
	bool bare;

	for (size_t k = 0; k < IMP_STAGED_FILES; k++) {
		const char *name = imp_staged_file(k);
		K3_AUTO_FREE char *path = k3_xasprintf(IMP_STAGE_DIR "/%s", name);

		/* A journal waits for a run that has the databases. */
		if (present(s->v->i, path) && !(s->live && !strcmp(name, "journal")))
			add_item(s, (struct imp_item){ .kind = IMP_ITEM_STAGING,
						       .path = K3_STEAL(path) });
	}
	if (search_staged(s, IMP_STAGE_DIR "/blobs", e) ||
	    search_staged(s, IMP_STAGE_DIR "/trees", e) || stage_is_bare(s, &bare, e))
		return -1;
	if (bare && s->out->n == before)
		add_item(s, (struct imp_item){ .kind = IMP_ITEM_STAGING,
					       .path = k3_xstrdup(IMP_STAGE_DIR) });
	return 0;
}

static int search_files(struct search *s, struct k3_err *e)
{
	if (!s->everything) {
		for (size_t k = 0; k < s->gone_blobs.n; k++)
			if (!wordset_has(&s->blobs, s->gone_blobs.v[k]))
				add_blob_file(s, s->gone_blobs.v[k]);
		return 0;
	}
	return search_blobs(s, K3_SHA256, e) || search_blobs(s, K3_SHA512, e) ||
			       search_ingests(s, e) || search_trees(s, e)
		       ? -1
		       : 0;
}

static int search_all(struct search *s, const struct imp_edit *edits, size_t n, struct k3_err *e)
{
	struct imp_view *v = s->v;
	int64_t version = 0;

	if (v->meta && imp_schema_read(v->meta, &version, e))
		return -1;
	/* Where there are no records, those of the files may have been lost. */
	if (version && (search_meta(s, edits, n, e) || (v->native && search_native(s, e)) ||
			search_files(s, e)))
		return -1;
	if (!s->everything || !s->alone)
		return 0;
	return search_staging(s, e);
}

int imp_plan_removal(struct imp_view *v, const struct imp_edit *edits, size_t n,
		     struct imp_removal *r, struct k3_err *e)
{
	__attribute__((cleanup(search_release))) struct search s = {
		.v = v, .out = r, .everything = !edits, .live = v->i->live || imp_view_is_copy(v)
	};
	struct imp *i = v->i;
	int rc;

	s.alone = i->write || !flock(i->rootfd, LOCK_SH | LOCK_NB);
	know_items(&s);
	rc = search_all(&s, edits, n, e);
	if (s.alone && !i->write)
		flock(i->rootfd, LOCK_UN);
	return rc ? k3_wrap(e, "%s", i->root) : 0;
}

/* ---- sizes ---------------------------------------------------------------------------------- */

/* A file, or a directory with what is in it. */
static uint64_t size_of(struct imp *i, const char *path, struct snap_total *t,
			struct k3_cancel *cancel)
{
	struct snap_usage before = snap_total_get(t), after;
	K3_AUTO_FD int fd = -1;
	struct k3_err ignored;
	struct stat st;

	if (fstatat(i->rootfd, path, &st, AT_SYMLINK_NOFOLLOW))
		return 0;
	if (!S_ISDIR(st.st_mode))
		return st.st_nlink == 1 ? (uint64_t)st.st_blocks * BLOCK : 0;
	fd = openat(i->rootfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || snap_total_add(t, fd, cancel, &ignored))
		return 0;
	after = snap_total_get(t);
	return after.bytes - before.bytes;
}

void imp_measure(struct imp *i, struct imp_removal *r, struct k3_cancel *cancel)
{
	struct snap_total *t = snap_total_new();

	for (size_t k = 0; k < r->n && !k3_cancelled(cancel); k++)
		if (!r->v[k].record && !r->v[k].bytes)
			r->v[k].bytes = size_of(i, r->v[k].path, t, cancel);
	snap_total_free(t);
}

/* ---- afterwards ----------------------------------------------------------------------------- */

static int record_is_there(struct imp_view *v, const struct imp_item *it, bool *there,
			   struct k3_err *e)
{
	struct bolt_txn *t = it->ns ? v->meta : v->native;
	struct bolt_val path[IMP_ITEM_DEPTH];
	struct bolt_bucket *b = NULL, *rec = NULL;

	*there = false;
	if (!t)
		return 0;
	if (bolt_bucket_path(t, path, imp_item_path(it, path), &b, e) ||
	    (b && imp_sub(b, BOLT_STR(it->key), &rec, e)))
		return -1;
	*there = rec;
	return 0;
}

int imp_confirm(struct imp *i, struct imp_removal *r, struct k3_err *e)
{
	struct imp_view *v;
	bool there;

	if (imp_view_open(i, &v, e))
		return -1;
	r->bytes = 0;
	for (size_t k = 0; k < r->n; k++) {
		struct imp_item *it = &r->v[k];

		there = !it->record && present(i, it->path);
		if (it->record && record_is_there(v, it, &there, e)) {
			imp_view_close(v);
			return -1;
		}
		it->gone = !there;
		if (it->gone)
			r->bytes += it->bytes;
	}
	imp_view_close(v);
	return 0;
}
