/* SPDX-License-Identifier: Apache-2.0 */
/* What belongs to no image: files and records without each other, of all namespaces. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "importer/check.h"
#include "importer/losses.h"
#include "importer/native.h"
#include "importer/root.h"
#include "importer/wordset.h"

/* ---- the databases ------------------------------------------------------------------- */

struct db_check {
	struct check c;
	const char *name;
	int rc;
	struct k3_err *e;
};

static void report_page(void *arg, const char *finding)
{
	struct db_check *d = arg;

	if (!d->rc)
		d->rc = check_tell(&d->c, IMP_DATABASE, NULL, d->name, d->e, "%s", finding);
}

static int check_pages(struct imp_view *v, struct bolt_txn *t, const char *name,
		       const struct imp_sink *s, bool *sound, struct k3_err *e)
{
	struct db_check d = { .c = { .v = v, .sink = s }, .name = name, .e = e };
	size_t problems;

	if (!t)
		return 0;
	if (bolt_check(t, NULL, NULL, &problems, e))
		return k3_wrap(e, "%s", name);
	if (!problems)
		return 0;
	*sound = false;
	if (bolt_check(t, report_page, &d, &problems, e))
		return k3_wrap(e, "%s", name);
	return d.rc;
}

int imp_check_databases(struct imp_view *v, const struct imp_sink *s, bool *sound, struct k3_err *e)
{
	*sound = true;
	return check_pages(v, v->meta, IMP_META_DIR "/meta.db", s, sound, e) ||
			       check_pages(v, v->native, IMP_NATIVE_DIR "/metadata.db", s, sound, e)
		       ? -1
		       : 0;
}

int imp_check_records(struct imp_view *v, imp_record_fn *fn, void *arg, const struct imp_sink *s,
		      struct k3_err *e)
{
	struct check c = { .v = v, .sink = s };
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true;

	while (v->images) {
		struct bolt_bucket *rec;
		struct imp_record r = { 0 };
		struct k3_err why;

		if (bolt_next(v->images, &it, &item, &more, e))
			return -1;
		if (!more)
			break;
		K3_AUTO_FREE char *name = k3_xstrndup(item.key.p, item.key.n);
		K3_AUTO_FREE char *path = check_record_path(v->i->ns, "images", name);

		r.name = name;
		if (!item.is_bucket) {
			if (check_tell(&c, IMP_IMAGE, NULL, path, e, "is no record"))
				return -1;
			continue;
		}
		if (bolt_bucket_get(v->images, item.key, &rec, e))
			return -1;
		if (imp_read_record(rec, &r, &why)
			    ? check_tell(&c, IMP_IMAGE, NULL, path, e, "%s", why.msg)
			    : fn(arg, &r, e))
			return -1;
	}
	return 0;
}

/* ---- records ------------------------------------------------------------------------- */

/* What all namespaces say is there. */
struct known {
	struct check c;
	struct wordset digests; /* "<alg>:<hex>" of recorded blobs */
	struct wordset names;   /* keys in metadata.db that meta.db knows */
	struct wordset ids;     /* numbers of the records in metadata.db */
};

static void known_release(struct known *k)
{
	wordset_release(&k->digests);
	wordset_release(&k->names);
	wordset_release(&k->ids);
}

static int check_blob_file(struct known *k, const char *ns, const char *text, struct k3_err *e)
{
	struct oci_digest d;
	struct k3_err why;
	char path[IMP_PATH_MAX];
	struct stat st;

	if (oci_digest_parse(text, &d, &why))
		return 0;
	imp_blob_path(&d, path);
	if (!fstatat(k->c.v->i->rootfd, path, &st, AT_SYMLINK_NOFOLLOW))
		return 0;
	return check_tell(&k->c, IMP_BLOB, &d, path, e,
			  "the file is missing, and %s has a record of it", ns);
}

static int know_blobs(struct known *k, const char *ns, struct bolt_bucket *blobs, struct k3_err *e)
{
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true;

	while (blobs) {
		if (bolt_next(blobs, &it, &item, &more, e))
			return -1;
		if (!more)
			break;
		wordset_add(&k->digests, k3_xstrndup(item.key.p, item.key.n));
		if (check_blob_file(k, ns, k->digests.v[k->digests.n - 1], e))
			return -1;
	}
	return 0;
}

static int know_snapshots(struct known *k, const char *ns, struct bolt_bucket *chains,
			  struct k3_err *e)
{
	const struct check_space in = { ns, chains };
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true;

	while (chains) {
		struct bolt_bucket *rec;
		struct bolt_val name;

		if (bolt_next(chains, &it, &item, &more, e))
			return -1;
		if (!more)
			break;
		if (!item.is_bucket)
			continue;
		K3_AUTO_FREE char *key = k3_xstrndup(item.key.p, item.key.n);

		if (bolt_bucket_get(chains, item.key, &rec, e) ||
		    bolt_get(rec, BOLT_STR("name"), &name, e))
			return -1;
		if (name.n)
			wordset_add(&k->names, k3_xstrndup(name.p, name.n));
		if (check_snapshot(&k->c, &in, key, NULL, false, e))
			return -1;
	}
	return 0;
}

static int know_namespace(struct known *k, struct bolt_val key, struct k3_err *e)
{
	K3_AUTO_FREE char *ns = k3_xstrndup(key.p, key.n);
	const struct bolt_val v1 = BOLT_STR("v1"), space = BOLT_STR(ns);
	const struct bolt_val blob_path[] = { v1, space, BOLT_STR("content"), BOLT_STR("blob") };
	const struct bolt_val chain_path[] = { v1, space, BOLT_STR("snapshots"),
					       BOLT_STR(IMP_SNAPSHOTTER) };
	struct bolt_bucket *blobs, *chains;

	if (bolt_bucket_path(k->c.v->meta, blob_path, K3_ARRAY_LEN(blob_path), &blobs, e) ||
	    bolt_bucket_path(k->c.v->meta, chain_path, K3_ARRAY_LEN(chain_path), &chains, e))
		return -1;
	return know_blobs(k, ns, blobs, e) || know_snapshots(k, ns, chains, e) ? -1 : 0;
}

static int know_all(struct known *k, struct k3_err *e)
{
	struct bolt_bucket *v1 = NULL;
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true;

	if (k->c.v->meta && imp_sub(bolt_root(k->c.v->meta), BOLT_STR("v1"), &v1, e))
		return -1;
	while (v1) {
		if (bolt_next(v1, &it, &item, &more, e))
			return -1;
		if (!more)
			break;
		if (item.is_bucket && know_namespace(k, item.key, e))
			return -1;
	}
	wordset_sort(&k->digests);
	wordset_sort(&k->names);
	return 0;
}

static int check_backend(struct known *k, struct k3_err *e)
{
	struct bolt_bucket *backend = k->c.v->backend;
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true;

	while (backend) {
		uint64_t id;
		bool found;
		int kind;

		if (bolt_next(backend, &it, &item, &more, e))
			return -1;
		if (!more)
			break;
		if (!item.is_bucket)
			continue;
		K3_AUTO_FREE char *name = k3_xstrndup(item.key.p, item.key.n);
		K3_AUTO_FREE char *path = k3_xasprintf("metadata.db/v1/snapshots/%s", name);

		if (imp_native_find(backend, item.key, &id, &kind, &found, e))
			return -1;
		if (found)
			wordset_add(&k->ids, k3_xasprintf("%" PRIu64, id));
		if (!wordset_has(&k->names, name) &&
		    check_tell(&k->c, IMP_LEFTOVER, NULL, path, e,
			       "no record of meta.db names this snapshot"))
			return -1;
	}
	wordset_sort(&k->ids);
	return 0;
}

/* ---- files --------------------------------------------------------------------------- */

static int check_directories(struct known *k, struct k3_err *e)
{
	uint64_t last = k->c.v->backend ? bolt_sequence(k->c.v->backend) : 0, n;
	IMP_AUTO_LIST DIR *d = NULL;
	const char *name;

	if (imp_list_open(k->c.v->i, IMP_SNAPSHOTS_DIR, &d, e))
		return -1;
	while ((name = imp_list_next(d))) {
		K3_AUTO_FREE char *path = k3_xasprintf(IMP_SNAPSHOTS_DIR "/%s", name);
		bool number = imp_is_number(name, &n);

		if (number && wordset_has(&k->ids, name))
			continue;
		if (number && n > last
			    ? check_tell(&k->c, IMP_DATABASE, NULL, path, e,
					 "no record has this number, and containerd will "
					 "stumble over it: the last one given out is %" PRIu64,
					 last)
			    : check_tell(&k->c, IMP_LEFTOVER, NULL, path, e,
					 "no record has this directory"))
			return -1;
	}
	return 0;
}

static int check_algorithm(struct known *k, const char *alg, struct k3_err *e)
{
	K3_AUTO_FREE char *dir = k3_xasprintf(IMP_BLOBS_DIR "/%s", alg);
	IMP_AUTO_LIST DIR *d = NULL;
	struct oci_digest digest;
	struct k3_err why;
	const char *name;

	if (imp_list_open(k->c.v->i, dir, &d, e))
		return -1;
	while ((name = imp_list_next(d))) {
		K3_AUTO_FREE char *path = k3_xasprintf("%s/%s", dir, name);
		K3_AUTO_FREE char *text = k3_xasprintf("%s:%s", alg, name);

		if (wordset_has(&k->digests, text))
			continue;
		if (oci_digest_parse(text, &digest, &why)
			    ? check_tell(&k->c, IMP_DATABASE, NULL, path, e,
					 "this name is no digest: containerd's collector will "
					 "fail at it")
			    : check_tell(&k->c, IMP_LEFTOVER, NULL, path, e,
					 "no namespace has a record of this blob"))
			return -1;
	}
	return 0;
}

/* Whether anything is in it but what is kept there on purpose. */
static int is_leftover(struct imp *i, bool *yes, struct k3_err *e)
{
	IMP_AUTO_LIST DIR *d = NULL;
	const char *name;

	if (imp_list_open(i, IMP_STAGE_DIR, &d, e))
		return -1;
	/* An empty one was made for nothing. */
	name = imp_list_next(d);
	*yes = !name || strcmp(name, IMP_LOSSES) != 0;
	while (!*yes && (name = imp_list_next(d)))
		*yes = strcmp(name, IMP_LOSSES) != 0;
	return 0;
}

/* What a preload has left; one that is at work holds the lock. */
static int check_staging(struct known *k, struct k3_err *e)
{
	struct imp *i = k->c.v->i;
	struct stat st;

	if (i->write || fstatat(i->rootfd, IMP_STAGE_DIR, &st, AT_SYMLINK_NOFOLLOW))
		return 0;
	if (flock(i->rootfd, LOCK_SH | LOCK_NB))
		return 0;
	flock(i->rootfd, LOCK_UN);
	bool left;

	if (is_leftover(i, &left, e))
		return -1;
	if (!left)
		return 0;
	return check_tell(&k->c, IMP_LEFTOVER, NULL, IMP_STAGE_DIR, e,
			  "left by a preload that did not end; the next one goes on with it");
}

int imp_check_store(struct imp_view *v, const struct imp_sink *s, struct k3_err *e)
{
	__attribute__((cleanup(known_release))) struct known k = { .c = { .v = v, .sink = s } };

	return know_all(&k, e) || check_backend(&k, e) || check_directories(&k, e) ||
			       check_algorithm(&k, "sha256", e) ||
			       check_algorithm(&k, "sha512", e) || check_staging(&k, e)
		       ? -1
		       : 0;
}

int imp_stored_open(struct imp *i, const struct oci_digest *d, int *fd, struct k3_err *e)
{
	char path[IMP_PATH_MAX];

	imp_blob_path(d, path);
	*fd = openat(i->rootfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (*fd >= 0)
		return 0;
	if (errno == ENOENT || errno == ENOTDIR)
		return k3_fail(e, K3_NOTFOUND, "%s is missing", path);
	return k3_fail_sys(e, errno, "cannot open %s", path);
}
