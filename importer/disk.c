/* SPDX-License-Identifier: Apache-2.0 */
/* What takes the disk below a root, and what of it is in use. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "importer/losses.h"
#include "importer/native.h"
#include "importer/reach.h"
#include "importer/root.h"
#include "importer/view.h"

#define BLOCK 512u
#define BLOBS_DIR IMP_CONTENT_DIR "/blobs"

/* ---- what the databases say ---------------------------------------------------------- */

/* Trees by their keys in metadata.db, while the view is there. */
struct key {
	struct bolt_val name;
	size_t tree;
};

struct look {
	struct imp_view *v;
	struct imp_disk *out;
	struct key *keys;
	size_t n, cap;
};

static int key_cmp(const void *a, const void *b)
{
	const struct key *x = a, *y = b;
	size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
	int order = n ? memcmp(x->name.p, y->name.p, n) : 0;

	return order ? order : (x->name.n > y->name.n) - (x->name.n < y->name.n);
}

static struct imp_disk_tree *find_tree(const struct look *l, struct bolt_val name)
{
	const struct key want = { .name = name };
	const struct key *k = l->n ? bsearch(&want, l->keys, l->n, sizeof(*l->keys), key_cmp)
				   : NULL;

	return k ? &l->out->trees[k->tree] : NULL;
}

static void add_tree(struct imp_disk *d, const struct imp_disk_tree *t)
{
	d->trees = k3_xgrow(d->trees, d->ntrees, &d->trees_cap, sizeof(*d->trees));
	d->trees[d->ntrees++] = *t;
}

static int look_at_trees(struct look *l, struct k3_err *e)
{
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true, found;

	while (l->v->backend) {
		struct imp_disk_tree t = { 0 };

		if (bolt_next(l->v->backend, &it, &item, &more, e))
			return -1;
		if (!more)
			break;
		if (!item.is_bucket)
			continue;
		if (imp_native_find(l->v->backend, item.key, &t.id, &t.kind, &found, e))
			return -1;
		if (!found)
			continue;
		l->keys = k3_xgrow(l->keys, l->n, &l->cap, sizeof(*l->keys));
		l->keys[l->n++] = (struct key){ item.key, l->out->ntrees };
		add_tree(l->out, &t);
	}
	if (l->n)
		qsort(l->keys, l->n, sizeof(*l->keys), key_cmp);
	return 0;
}

static int look_at_chains(struct look *l, struct k3_err *e)
{
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true;

	while (l->v->chains) {
		struct oci_digest chain;
		struct bolt_bucket *rec;
		struct bolt_val name;
		struct k3_err why;

		if (bolt_next(l->v->chains, &it, &item, &more, e))
			return -1;
		if (!more)
			break;
		if (!item.is_bucket)
			continue;
		K3_AUTO_FREE char *key = k3_xstrndup(item.key.p, item.key.n);

		if (oci_digest_parse(key, &chain, &why))
			continue;
		if (bolt_bucket_get(l->v->chains, item.key, &rec, e) ||
		    bolt_get(rec, BOLT_STR("name"), &name, e))
			return -1;
		struct imp_disk_tree *t = find_tree(l, name);

		if (!t)
			continue;
		t->ours = true;
		t->chain = chain;
	}
	return 0;
}

static void keep_blob(struct imp_disk *d, struct bolt_val key, bool kept)
{
	K3_AUTO_FREE char *text = k3_xstrndup(key.p, key.n);
	struct imp_disk_blob b = { .kept = kept };
	struct k3_err why;

	if (oci_digest_parse(text, &b.digest, &why))
		return;
	d->blobs = k3_xgrow(d->blobs, d->nblobs, &d->blobs_cap, sizeof(*d->blobs));
	d->blobs[d->nblobs++] = b;
}

static int blob_cmp(const void *a, const void *b)
{
	const struct imp_disk_blob *x = a, *y = b;

	return memcmp(&x->digest, &y->digest, sizeof(x->digest));
}

/* Several namespaces may have a record of one blob. */
static void unite_blobs(struct imp_disk *d)
{
	size_t n = 0;

	if (!d->nblobs)
		return;
	qsort(d->blobs, d->nblobs, sizeof(*d->blobs), blob_cmp);
	for (size_t k = 1; k < d->nblobs; k++) {
		if (blob_cmp(&d->blobs[n], &d->blobs[k]) != 0)
			d->blobs[++n] = d->blobs[k];
		else
			d->blobs[n].kept = d->blobs[n].kept || d->blobs[k].kept;
	}
	d->nblobs = n + 1;
}

static int look_at_use(struct look *l, struct k3_err *e)
{
	__attribute__((cleanup(reach_release))) struct reach r = { 0 };

	if (!l->v->meta)
		return 0;
	if (reach_scan(&r, l->v->meta, e))
		return -1;
	reach_mark(&r);
	for (size_t k = 0; k < r.n; k++) {
		const struct reach_node *n = &r.nodes[k];
		struct imp_disk_tree *t = NULL;

		if (n->id.type == REACH_BLOB)
			keep_blob(l->out, n->id.key, n->mark != REACH_NONE);
		if (n->id.type == REACH_SNAPSHOT && n->name.n)
			t = find_tree(l, n->name);
		if (t)
			t->kept = n->mark != REACH_NONE;
	}
	unite_blobs(l->out);
	return 0;
}

static int tree_cmp(const void *a, const void *b)
{
	const struct imp_disk_tree *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

int imp_disk_look(struct imp_view *v, struct imp_disk *out, struct k3_err *e)
{
	struct look l = { .v = v, .out = out };

	*out = (struct imp_disk){ 0 };
	int rc = look_at_trees(&l, e) || look_at_chains(&l, e) || look_at_use(&l, e) ? -1 : 0;

	free(l.keys);
	if (out->ntrees)
		qsort(out->trees, out->ntrees, sizeof(*out->trees), tree_cmp);
	return rc;
}

const struct imp_disk_blob *imp_disk_blob(const struct imp_disk *d, const struct oci_digest *of)
{
	const struct imp_disk_blob want = { .digest = *of };

	return d->nblobs ? bsearch(&want, d->blobs, d->nblobs, sizeof(*d->blobs), blob_cmp) : NULL;
}

void imp_disk_release(struct imp_disk *d)
{
	for (size_t k = 0; k < d->nshares; k++)
		free(d->shares[k].trees);
	free(d->shares);
	free(d->trees);
	free(d->blobs);
	*d = (struct imp_disk){ 0 };
}

/* ---- what the disk says -------------------------------------------------------------- */

#define NO_TREE SIZE_MAX

/* What was counted: a tree of the snapshotter, or something else and where that is summed. */
struct counted {
	size_t tree; /* of imp_disk, or NO_TREE */
	uint64_t *sum;
};

struct count {
	struct imp *i;
	struct imp_disk *d;
	struct k3_cancel *cancel;
	struct snap_disk *disk;
	struct counted *v;
	size_t n, cap;
	size_t known; /* trees that the databases know, sorted */
	uint64_t blobs;
};

static bool is_gone(const struct k3_err *e)
{
	return e->code == K3_NOTFOUND || e->sys == ENOENT || e->sys == ENOTDIR;
}

/* A directory with all below it. */
static int count_dir(struct count *c, int at, const char *name, size_t tree, uint64_t *sum,
		     struct k3_err *e)
{
	K3_AUTO_FD int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	size_t number;

	if (fd < 0)
		return errno == ENOENT ? 0 : k3_fail_sys(e, errno, "cannot open %s", name);
	/* As many as snap_disk has counted: its numbers are places in this list. */
	c->v = k3_xgrow(c->v, c->n, &c->cap, sizeof(*c->v));
	c->v[c->n++] = (struct counted){ tree, sum };
	if (!snap_disk_add(c->disk, fd, c->cancel, &number, e))
		return 0;
	return is_gone(e) ? 0 : k3_wrap(e, "%s", name);
}

static void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

typedef int entry_fn(struct count *c, int dir, const char *name, const struct stat *st,
		     struct k3_err *e);

/* Calls fn for each entry of a directory; none when it is not there.  *self += its own blocks. */
static int each_entry(struct count *c, const char *path, entry_fn *fn, uint64_t *self,
		      struct k3_err *e)
{
	int fd = openat(c->i->rootfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	__attribute__((cleanup(closedirp))) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *ent;
	struct stat st;

	if (!d) {
		int err = errno;

		k3_closep(&fd);
		return err == ENOENT ? 0 : k3_fail_sys(e, err, "cannot open %s", path);
	}
	if (fstat(fd, &st))
		return k3_fail_sys(e, errno, "cannot look at %s", path);
	*self += (uint64_t)st.st_blocks * BLOCK;
	while ((ent = readdir(d))) {
		if (!strcmp(ent->d_name, ".") || !strcmp(ent->d_name, ".."))
			continue;
		if (fstatat(fd, ent->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		if (k3_cancel_check(c->cancel, e) || fn(c, fd, ent->d_name, &st, e))
			return -1;
	}
	return 0;
}

/* ---- the content store ---- */

static void count_blob(struct count *c, const char *alg, const char *name, const struct stat *st)
{
	K3_AUTO_FREE char *text = k3_xasprintf("%s:%s", alg, name);
	uint64_t bytes = (uint64_t)st->st_blocks * BLOCK;
	struct imp_disk_blob *known, want = { 0 };
	struct k3_err why;

	c->blobs += bytes;
	if (oci_digest_parse(text, &want.digest, &why))
		return;
	/* Those of the databases are in front and sorted; others come behind them. */
	known = c->known ? bsearch(&want, c->d->blobs, c->known, sizeof(want), blob_cmp) : NULL;
	if (known) {
		known->bytes = bytes;
		return;
	}
	want.bytes = bytes;
	c->d->blobs = k3_xgrow(c->d->blobs, c->d->nblobs, &c->d->blobs_cap, sizeof(want));
	c->d->blobs[c->d->nblobs++] = want;
}

static int sha256_entry(struct count *c, int dir, const char *name, const struct stat *st,
			struct k3_err *e)
{
	(void)dir, (void)e;
	count_blob(c, "sha256", name, st);
	return 0;
}

static int sha512_entry(struct count *c, int dir, const char *name, const struct stat *st,
			struct k3_err *e)
{
	(void)dir, (void)e;
	count_blob(c, "sha512", name, st);
	return 0;
}

static int count_content(struct count *c, struct k3_err *e)
{
	uint64_t unused = 0;

	c->known = c->d->nblobs;
	if (each_entry(c, BLOBS_DIR "/sha256", sha256_entry, &unused, e) ||
	    each_entry(c, BLOBS_DIR "/sha512", sha512_entry, &unused, e))
		return -1;
	if (c->d->nblobs)
		qsort(c->d->blobs, c->d->nblobs, sizeof(*c->d->blobs), blob_cmp);
	return count_dir(c, c->i->rootfd, IMP_CONTENT_DIR, NO_TREE, &c->d->content, e);
}

/* ---- the snapshotter ---- */

static int snapshot_entry(struct count *c, int dir, const char *name, const struct stat *st,
			  struct k3_err *e)
{
	struct imp_disk_tree want = { 0 }, *known = NULL;
	char *end;

	if (!S_ISDIR(st->st_mode)) {
		c->d->rest += (uint64_t)st->st_blocks * BLOCK;
		return 0;
	}
	want.id = *name >= '1' && *name <= '9' ? strtoull(name, &end, 10) : 0;
	if (want.id && *end)
		want.id = 0;
	if (want.id && c->known)
		known = bsearch(&want, c->d->trees, c->known, sizeof(want), tree_cmp);
	if (!known) {
		/* containerd may be at work on it. */
		want.kept = c->i->live;
		add_tree(c->d, &want);
		known = &c->d->trees[c->d->ntrees - 1];
	}
	return count_dir(c, dir, name, (size_t)(known - c->d->trees), NULL, e);
}

/* Everything of it but the trees. */
static int native_entry(struct count *c, int dir, const char *name, const struct stat *st,
			struct k3_err *e)
{
	if (!strcmp(name, "snapshots") && S_ISDIR(st->st_mode)) {
		c->known = c->d->ntrees;
		return each_entry(c, IMP_SNAPSHOTS_DIR, snapshot_entry, &c->d->rest, e);
	}
	if (S_ISDIR(st->st_mode))
		return count_dir(c, dir, name, NO_TREE, &c->d->rest, e);
	c->d->databases += (uint64_t)st->st_blocks * BLOCK;
	return 0;
}

/* ---- the root ---- */

static int staging_entry(struct count *c, int dir, const char *name, const struct stat *st,
			 struct k3_err *e)
{
	uint64_t *sum = strcmp(name, IMP_LOSSES) != 0 ? &c->d->staging : &c->d->rest;

	if (S_ISDIR(st->st_mode))
		return count_dir(c, dir, name, NO_TREE, sum, e);
	*sum += (uint64_t)st->st_blocks * BLOCK;
	return 0;
}

static int root_entry(struct count *c, int dir, const char *name, const struct stat *st,
		      struct k3_err *e)
{
	if (!S_ISDIR(st->st_mode)) {
		c->d->rest += (uint64_t)st->st_blocks * BLOCK;
		return 0;
	}
	if (!strcmp(name, IMP_CONTENT_DIR))
		return count_content(c, e);
	if (!strcmp(name, IMP_NATIVE_DIR))
		return each_entry(c, IMP_NATIVE_DIR, native_entry, &c->d->databases, e);
	if (!strcmp(name, IMP_META_DIR))
		return count_dir(c, dir, name, NO_TREE, &c->d->databases, e);
	if (!strcmp(name, IMP_STAGE_DIR))
		return each_entry(c, IMP_STAGE_DIR, staging_entry, &c->d->rest, e);
	return count_dir(c, dir, name, NO_TREE, &c->d->rest, e);
}

/* What is shared by a tree and something else is the other's. */
static int take_share(void *arg, const size_t *members, size_t n, const struct snap_usage *sum,
		      struct k3_err *e)
{
	struct count *c = arg;
	struct imp_disk *d = c->d;
	struct imp_disk_share s = { .bytes = sum->bytes, .inodes = sum->inodes };

	(void)e;
	for (size_t k = 0; k < n; k++)
		if (c->v[members[k]].sum) {
			*c->v[members[k]].sum += sum->bytes;
			return 0;
		}
	s.trees = k3_xcalloc(n, sizeof(*s.trees));
	for (; s.n < n; s.n++)
		s.trees[s.n] = c->v[members[s.n]].tree;
	d->shares = k3_xgrow(d->shares, d->nshares, &d->shares_cap, sizeof(*d->shares));
	d->shares[d->nshares++] = s;
	return 0;
}

/* A preload that is at work holds the lock. */
static bool staging_is_idle(const struct imp *i)
{
	if (i->write)
		return false;
	if (flock(i->rootfd, LOCK_SH | LOCK_NB))
		return false;
	flock(i->rootfd, LOCK_UN);
	return true;
}

int imp_disk_count(struct imp *i, struct imp_disk *d, struct k3_cancel *cancel, struct k3_err *e)
{
	struct count c = { .i = i, .d = d, .cancel = cancel, .disk = snap_disk_new() };

	d->staging_idle = staging_is_idle(i);
	int rc = each_entry(&c, ".", root_entry, &d->rest, e) ||
				 snap_disk_each(c.disk, take_share, &c, e)
			 ? -1
			 : 0;

	/* Blobs were counted with their directory, and one by one. */
	d->content = d->content > c.blobs ? d->content - c.blobs : 0;
	snap_disk_free(c.disk);
	free(c.v);
	return rc ? k3_wrap(e, "%s", i->root) : 0;
}
