/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "importer/root.h"

#define CHUNK 65536

struct imp_blob {
	struct imp *owner;
	struct oci_desc desc;
	int fd;
	uint64_t have;
	struct k3_hash *hash;
	char name[IMP_PATH_MAX]; /* when complete */
	char part[IMP_PATH_MAX + 8];
};

/* ---- one blob being staged ------------------------------------------------------------------ */

static void blob_free(struct imp_blob *b)
{
	k3_hash_free(b->hash);
	k3_closep(&b->fd);
	free(b);
}

/* Hashes what an earlier run left; more than the whole blob is no part of it. */
static int take_over(struct imp_blob *b, struct k3_err *e)
{
	K3_AUTO_FREE uint8_t *chunk = NULL;
	struct stat st;

	if (fstat(b->fd, &st))
		return k3_fail_sys(e, errno, "cannot look at the staging file");
	if ((uint64_t)st.st_size > b->desc.size)
		return imp_blob_restart(b, e);
	chunk = k3_xcalloc(1, CHUNK);
	for (;;) {
		ssize_t n = read(b->fd, chunk, CHUNK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return k3_fail_sys(e, errno, "cannot read the staging file");
		if (n == 0)
			return 0;
		k3_hash_add(b->hash, chunk, (size_t)n);
		b->have += (uint64_t)n;
	}
}

static int blob_open(struct imp *i, const struct oci_desc *d, struct imp_blob **out,
		     struct k3_err *e)
{
	struct imp_blob *b;

	if (!i->write)
		return k3_fail(e, K3_BUG, "root was not opened for writing");
	b = k3_xcalloc(1, sizeof(*b));
	b->owner = i;
	b->desc = *d;
	b->fd = -1;
	b->hash = k3_hash_new(d->digest.alg);
	imp_stage_name(&d->digest, b->name);
	snprintf(b->part, sizeof(b->part), "%s.part", b->name);
	/* Complete, but by an earlier run: not trusted before it is hashed again. */
	if (!renameat(i->blobsfd, b->name, i->blobsfd, b->part) &&
	    fchmodat(i->blobsfd, b->part, 0600, 0)) {
		k3_fail_sys(e, errno, "cannot set the mode of %s", b->part);
		blob_free(b);
		return -1;
	}
	b->fd = openat(i->blobsfd, b->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (b->fd < 0) {
		k3_fail_sys(e, errno, "cannot open the staging file of %s", b->name);
		blob_free(b);
		return -1;
	}
	*out = b;
	return 0;
}

int imp_blob_begin(struct imp *i, const struct oci_desc *d, struct imp_blob **out, struct k3_err *e)
{
	struct imp_blob *b;

	if (blob_open(i, d, &b, e))
		return -1;
	if (take_over(b, e)) {
		k3_wrap(e, "%s", b->name);
		blob_free(b);
		return -1;
	}
	*out = b;
	return 0;
}

uint64_t imp_blob_have(const struct imp_blob *b)
{
	return b->have;
}

struct k3_hash *imp_blob_hash(struct imp_blob *b)
{
	return b->hash;
}

int imp_blob_write(struct imp_blob *b, const void *p, size_t n, struct k3_err *e)
{
	if (k3_write_all(b->fd, p, n, b->part, e))
		return -1;
	b->have += n;
	return 0;
}

int imp_blob_restart(struct imp_blob *b, struct k3_err *e)
{
	uint8_t unused[K3_HASH_MAX];

	k3_hash_final(b->hash, unused);
	b->have = 0;
	if (ftruncate(b->fd, 0) || lseek(b->fd, 0, SEEK_SET))
		return k3_fail_sys(e, errno, "cannot empty %s", b->part);
	return 0;
}

static void note_staged(struct imp *i, const struct oci_digest *d, bool replace)
{
	K3_WITH_MONITOR(i->lock);
	i->staged = k3_xgrow(i->staged, i->nstaged, &i->staged_cap, sizeof(*i->staged));
	i->staged[i->nstaged++] = (struct imp_staged){ .digest = *d, .replace = replace };
}

static int finish(struct imp_blob *b, bool replace, struct k3_err *e)
{
	struct imp *i = b->owner;

	if (b->have != b->desc.size)
		return k3_fail(e, K3_BUG, "%s is done with a wrong size", b->name);
	/* The mode that containerd gives to committed blobs. */
	if (fchmod(b->fd, 0444))
		return k3_fail_sys(e, errno, "cannot set the mode of %s", b->part);
	if (k3_close(&b->fd, b->part, e))
		return -1;
	if (renameat(i->blobsfd, b->part, i->blobsfd, b->name))
		return k3_fail_sys(e, errno, "cannot rename %s", b->part);
	note_staged(i, &b->desc.digest, replace);
	return 0;
}

int imp_blob_done(struct imp_blob *b, struct k3_err *e)
{
	int rc = finish(b, false, e);

	blob_free(b);
	return rc;
}

void imp_blob_abandon(struct imp_blob *b)
{
	if (b)
		blob_free(b);
}

/* ---- documents ---------------------------------------------------------------------- */

/* A blob's file in staging when complete, else in the store. */
static int open_complete(struct imp *i, const struct oci_desc *d, int *fd, bool *staged,
			 struct k3_err *e)
{
	char path[IMP_PATH_MAX];

	*fd = -1;
	*staged = true;
	if (i->blobsfd >= 0) {
		imp_stage_name(&d->digest, path);
		*fd = openat(i->blobsfd, path, O_RDONLY | O_CLOEXEC);
		if (*fd >= 0 || errno != ENOENT)
			goto opened;
	}
	*staged = false;
	imp_blob_path(&d->digest, path);
	*fd = openat(i->rootfd, path, O_RDONLY | O_CLOEXEC);
opened:
	if (*fd >= 0)
		return 0;
	if (errno == ENOENT || errno == ENOTDIR)
		return k3_fail(e, K3_NOTFOUND, "%s is not in the content store", path);
	return k3_fail_sys(e, errno, "cannot open %s", path);
}

int imp_blob_open(struct imp *i, const struct oci_desc *d, int *fd, struct k3_err *e)
{
	char name[IMP_PATH_MAX], part[IMP_PATH_MAX + 8];
	bool unused;

	if (i->blobsfd >= 0) {
		imp_stage_name(&d->digest, name);
		snprintf(part, sizeof(part), "%s.part", name);
		*fd = openat(i->blobsfd, part, O_RDONLY | O_CLOEXEC);
		if (*fd >= 0)
			return 0;
	}
	return open_complete(i, d, fd, &unused, e);
}

/* The bytes of a file of exactly `want` bytes (0: any number); K3_DIGEST when it has others. */
static int read_exactly(int fd, uint64_t want, struct k3_buf *out, struct k3_err *e)
{
	struct stat st;
	uint64_t n;

	if (fstat(fd, &st))
		return k3_fail_sys(e, errno, "cannot look at the file");
	n = (uint64_t)st.st_size;
	if (want && n != want)
		return k3_fail(e, K3_DIGEST, "file has %llu bytes instead of %llu",
			       (unsigned long long)n, (unsigned long long)want);
	if (!n)
		return 0;
	if (k3_buf_reserve(out, n, e))
		return -1;
	while (n) {
		ssize_t got = read(fd, out->p + out->len, n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return k3_fail_sys(e, errno, "cannot read the file");
		if (got == 0)
			return k3_fail(e, K3_DIGEST, "file ends early");
		out->len += (size_t)got;
		n -= (uint64_t)got;
	}
	out->p[out->len] = '\0';
	return 0;
}

int imp_read_document(struct imp *i, const struct oci_desc *d, struct k3_buf *out, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];
	size_t before = out->len;
	struct oci_digest got;
	K3_AUTO_FD int fd = -1;
	bool staged;

	oci_digest_format(&d->digest, text);
	if (open_complete(i, d, &fd, &staged, e))
		return -1;
	if (read_exactly(fd, d->size, out, e)) {
		out->len = before;
		return k3_wrap(e, "blob %s", text);
	}
	oci_digest_of(d->digest.alg, out->p + before, out->len - before, &got);
	if (oci_digest_eq(&got, &d->digest)) {
		/* Maybe left by an earlier run: now it is verified, and need not be fetched. */
		if (staged)
			note_staged(i, &d->digest, false);
		return 0;
	}
	out->len = before;
	return k3_fail(e, K3_DIGEST, "blob %s: the file has another digest", text);
}

/* Whether the file behind fd is exactly these bytes. */
static bool same_bytes(int fd, const void *p, size_t n)
{
	K3_AUTO_BUF struct k3_buf have = K3_BUF(n + 1);
	struct k3_err ignored;

	return !read_exactly(fd, n, &have, &ignored) && have.len == n &&
	       (!n || !memcmp(have.p, p, n));
}

/* Whether the file is there with exactly these bytes; *exists: there at all. */
static bool has_bytes(int dirfd, const char *name, const void *p, size_t n, bool *exists)
{
	K3_AUTO_FD int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);

	*exists = fd >= 0;
	return fd >= 0 && same_bytes(fd, p, n);
}

int imp_blob_put(struct imp *i, const struct oci_desc *d, const void *p, size_t n, struct k3_err *e)
{
	char path[IMP_PATH_MAX], name[IMP_PATH_MAX];
	struct imp_blob *b;
	bool stored, staged;
	int rc;

	/* Images that share a document may put it at the same time. */
	K3_WITH_MONITOR(i->putting);
	imp_blob_path(&d->digest, path);
	if (has_bytes(i->rootfd, path, p, n, &stored))
		return 0;
	imp_stage_name(&d->digest, name);
	if (has_bytes(i->blobsfd, name, p, n, &staged)) {
		note_staged(i, &d->digest, stored);
		return 0;
	}
	if (blob_open(i, d, &b, e))
		return -1;
	rc = imp_blob_restart(b, e) || imp_blob_write(b, p, n, e) || finish(b, stored, e);
	blob_free(b);
	return rc ? -1 : 0;
}

/* ---- placing ------------------------------------------------------------------------ */

bool imp_blob_file(struct imp *i, const struct oci_desc *d, bool *exists)
{
	char path[IMP_PATH_MAX];
	struct stat st;

	imp_blob_path(&d->digest, path);
	*exists = !fstatat(i->rootfd, path, &st, AT_SYMLINK_NOFOLLOW);
	return *exists && S_ISREG(st.st_mode) && (uint64_t)st.st_size == d->size;
}

static int digest_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct oci_digest));
}

void imp_staged_sort(struct imp *i)
{
	size_t n = 0;

	if (!i->nstaged)
		return;
	/* The digest comes first in the struct. */
	qsort(i->staged, i->nstaged, sizeof(*i->staged), digest_cmp);
	for (size_t k = 1; k < i->nstaged; k++) {
		if (digest_cmp(&i->staged[n], &i->staged[k]))
			i->staged[++n] = i->staged[k];
		else
			i->staged[n].replace |= i->staged[k].replace;
	}
	i->nstaged = n + 1;
}

struct imp_staged *imp_staged_find(struct imp *i, const struct oci_digest *d)
{
	if (!i->nstaged)
		return NULL;
	return bsearch(d, i->staged, i->nstaged, sizeof(*i->staged), digest_cmp);
}

int imp_blob_place(struct imp *i, struct imp_staged *s, const struct oci_desc *d, struct k3_err *e)
{
	char path[IMP_PATH_MAX], name[IMP_PATH_MAX];
	bool exists;

	imp_blob_path(&d->digest, path);
	imp_stage_name(&d->digest, name);
	imp_blob_file(i, d, &exists);
	if (renameat(i->blobsfd, name, i->rootfd, path))
		return k3_fail_sys(e, errno, "cannot move blob %s into the content store", name);
	s->placed = true;
	s->fresh = !exists;
	return 0;
}
