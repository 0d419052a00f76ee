/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/mem.h"
#include "importer/root.h"

#define CHUNK 65536
/* A large blob is on its way to the disk while the rest of it comes. */
#define BEHIND_STEP (8u << 20)

/*
 * A blob that comes in parts has a table behind its last byte, so that the next run knows what
 * is there: magic, bytes of a chunk, then the bytes of each chunk that have been written, all
 * little endian.  An entry is written after its bytes.  imp_blob_done cuts the table off.
 */
#define TABLE_MAGIC UINT64_C(0x317374726170336b)
#define TABLE_HEAD 16u

struct imp_blob {
	struct imp *owner;
	struct oci_desc desc;
	int fd;
	uint64_t have; /* hashed */
	struct k3_hash *hash;
	uint64_t chunk; /* 0 = not in parts: the file ends at `have`, and so does its position */
	size_t nchunks;
	uint64_t *done;          /* bytes written of each chunk */
	char name[IMP_PATH_MAX]; /* when complete */
	char part[IMP_PATH_MAX + 8];
};

/* ---- one blob being staged ------------------------------------------------------------------ */

static void blob_free(struct imp_blob *b)
{
	k3_hash_free(b->hash);
	k3_closep(&b->fd);
	free(b->done);
	free(b);
}

static void advance(struct imp_blob *b, size_t n)
{
	if ((b->have + n) / BEHIND_STEP != b->have / BEHIND_STEP)
		k3_write_behind(b->fd);
	b->have += n;
}

static uint64_t table_at(const struct imp_blob *b)
{
	return (b->desc.size + 7) & ~UINT64_C(7);
}

static uint64_t chunk_len(const struct imp_blob *b, size_t k)
{
	uint64_t left = b->desc.size - k * b->chunk;

	return left < b->chunk ? left : b->chunk;
}

static void forget_parts(struct imp_blob *b)
{
	free(b->done);
	b->done = NULL;
	b->chunk = 0;
	b->nchunks = 0;
}

static bool pread_exactly(int fd, void *p, size_t n, uint64_t at)
{
	return pread(fd, p, n, (off_t)at) == (ssize_t)n;
}

/*
 * Looks for the table of an earlier run; *prefix is what is there from the start then, else 0.
 * The file is not trusted: whatever the table says, the digest decides in the end.
 */
static void read_table(struct imp_blob *b, uint64_t file_size, uint64_t *prefix)
{
	uint8_t head[TABLE_HEAD], *raw;
	uint64_t at = table_at(b), n;
	size_t k;

	*prefix = 0;
	if (!b->desc.size || file_size < at + TABLE_HEAD ||
	    !pread_exactly(b->fd, head, sizeof(head), at) || k3_load64le(head) != TABLE_MAGIC ||
	    !k3_load64le(head + 8))
		return;
	b->chunk = k3_load64le(head + 8);
	n = (b->desc.size - 1) / b->chunk + 1;
	if (n > IMP_PARTS_MAX || file_size != at + TABLE_HEAD + 8 * n) {
		forget_parts(b);
		return;
	}
	b->nchunks = (size_t)n;
	b->done = k3_xcalloc(b->nchunks, sizeof(*b->done));
	raw = (uint8_t *)b->done;
	if (!pread_exactly(b->fd, raw, 8 * b->nchunks, at + TABLE_HEAD)) {
		forget_parts(b);
		return;
	}
	for (k = 0; k < b->nchunks; k++) {
		b->done[k] = k3_load64le(raw + 8 * k);
		if (b->done[k] > chunk_len(b, k))
			b->done[k] = 0;
	}
	for (k = 0; k < b->nchunks; k++) {
		*prefix += b->done[k];
		if (b->done[k] < chunk_len(b, k))
			return;
	}
}

/* Hashes what an earlier run left; more than the whole blob is no part of it. */
static int take_over(struct imp_blob *b, struct k3_err *e)
{
	K3_AUTO_FREE uint8_t *chunk = NULL;
	struct stat st;
	uint64_t prefix;

	if (fstat(b->fd, &st))
		return k3_fail_sys(e, errno, "cannot look at the staging file");
	prefix = (uint64_t)st.st_size;
	if (prefix > b->desc.size) {
		read_table(b, (uint64_t)st.st_size, &prefix);
		if (!b->chunk)
			return imp_blob_restart(b, e);
	}
	chunk = k3_xcalloc(1, CHUNK);
	while (b->have < prefix) {
		uint64_t left = prefix - b->have;
		ssize_t n = read(b->fd, chunk, left < CHUNK ? left : CHUNK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return k3_fail_sys(e, errno, "cannot read the staging file");
		if (n == 0)
			return 0;
		k3_hash_add(b->hash, chunk, (size_t)n);
		b->have += (uint64_t)n;
	}
	return 0;
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

/* Back to a file that grows at its end. */
static int drop_parts(struct imp_blob *b, struct k3_err *e)
{
	if (!b->chunk)
		return 0;
	forget_parts(b);
	if (ftruncate(b->fd, (off_t)b->have) || lseek(b->fd, (off_t)b->have, SEEK_SET) < 0)
		return k3_fail_sys(e, errno, "cannot shorten %s", b->part);
	return 0;
}

int imp_blob_write(struct imp_blob *b, const void *p, size_t n, struct k3_err *e)
{
	if (drop_parts(b, e) || k3_write_all(b->fd, p, n, b->part, e))
		return -1;
	advance(b, n);
	return 0;
}

int imp_blob_restart(struct imp_blob *b, struct k3_err *e)
{
	uint8_t unused[K3_HASH_MAX];

	k3_hash_final(b->hash, unused);
	forget_parts(b);
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
	if (drop_parts(b, e))
		return -1;
	/* The mode that containerd gives to committed blobs. */
	if (fchmod(b->fd, 0444))
		return k3_fail_sys(e, errno, "cannot set the mode of %s", b->part);
	k3_write_behind(b->fd);
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

/* ---- blobs in parts ------------------------------------------------------------------ */

static int write_table(struct imp_blob *b, struct k3_err *e)
{
	size_t len = TABLE_HEAD + 8 * b->nchunks;
	K3_AUTO_FREE uint8_t *raw = k3_xcalloc(1, len);

	k3_store64le(raw, TABLE_MAGIC);
	k3_store64le(raw + 8, b->chunk);
	for (size_t k = 0; k < b->nchunks; k++)
		k3_store64le(raw + TABLE_HEAD + 8 * k, b->done[k]);
	return k3_pwrite_all(b->fd, raw, len, table_at(b), b->part, e);
}

int imp_blob_split(struct imp_blob *b, uint64_t chunk, struct k3_err *e)
{
	uint64_t known = b->have;

	if (!chunk || !b->desc.size || (b->desc.size - 1) / chunk >= IMP_PARTS_MAX)
		return k3_fail(e, K3_BUG, "%s cannot be split", b->name);
	if (b->chunk == chunk)
		return 0;
	if (drop_parts(b, e))
		return -1;
	b->chunk = chunk;
	b->nchunks = (size_t)((b->desc.size - 1) / chunk + 1);
	b->done = k3_xcalloc(b->nchunks, sizeof(*b->done));
	for (size_t k = 0; known; k++) {
		b->done[k] = known < chunk ? known : chunk;
		known -= b->done[k];
	}
	return write_table(b, e);
}

uint64_t imp_blob_part_have(const struct imp_blob *b, size_t k)
{
	return b->done[k];
}

int imp_blob_part_write(struct imp_blob *b, size_t k, const void *p, size_t n, struct k3_err *e)
{
	uint8_t entry[8];

	if (n > chunk_len(b, k) - b->done[k])
		return k3_fail(e, K3_BUG, "%s: too much for a part", b->name);
	if (k3_pwrite_all(b->fd, p, n, k * b->chunk + b->done[k], b->part, e))
		return -1;
	b->done[k] += n;
	k3_store64le(entry, b->done[k]);
	return k3_pwrite_all(b->fd, entry, sizeof(entry), table_at(b) + TABLE_HEAD + 8 * k, b->part,
			     e);
}

int imp_blob_follow(struct imp_blob *b, uint64_t to, void *buf, size_t size, struct k3_err *e)
{
	while (b->have < to) {
		uint64_t left = to - b->have;
		ssize_t n = pread(b->fd, buf, left < size ? left : size, (off_t)b->have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return k3_fail_sys(e, errno, "cannot read %s", b->part);
		if (n == 0)
			return k3_fail(e, K3_STORE, "%s was cut by somebody else", b->part);
		k3_hash_add(b->hash, buf, (size_t)n);
		advance(b, (size_t)n);
	}
	return 0;
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
	if (imp_distrusts_blob(i, &d->digest))
		return k3_fail(e, K3_NOTFOUND, "%s is damaged", path);
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
	bool stored, staged, exists, right, replace;
	int rc;

	/* Images that share a document may put it at the same time. */
	K3_WITH_MONITOR(i->putting);
	imp_blob_path(&d->digest, path);
	/* As imp_commit will look at it: a symbolic link, and what is doubted, is replaced. */
	right = has_bytes(i->rootfd, path, p, n, &stored) && imp_blob_file(i, d, &exists);
	/* A running containerd may remove a file that has no record. */
	if (right && !i->daemon)
		return 0;
	replace = stored && !right;
	imp_stage_name(&d->digest, name);
	if (has_bytes(i->blobsfd, name, p, n, &staged)) {
		note_staged(i, &d->digest, replace);
		return 0;
	}
	if (blob_open(i, d, &b, e))
		return -1;
	rc = imp_blob_restart(b, e) || imp_blob_write(b, p, n, e) || finish(b, replace, e);
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
	return *exists && S_ISREG(st.st_mode) && (uint64_t)st.st_size == d->size &&
	       !imp_distrusts_blob(i, &d->digest);
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
