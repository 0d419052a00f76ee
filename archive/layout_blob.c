/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs on their way into a layout. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/layout.h"
#include "base/file.h"
#include "base/mem.h"

#define PIECE (256u << 10)
/* A large blob is on its way to the disk while the rest of it comes. */
#define BEHIND_STEP (8u << 20)

struct layout_blob {
	struct layout *owner;
	struct oci_desc desc;
	int fd;
	uint64_t have; /* hashed; the file ends there */
	struct k3_hash *hash;
	char part[LAYOUT_NAME_MAX];
};

static int hash_file(int fd, struct k3_hash *h, struct k3_cancel *cancel, uint64_t *n,
		     struct k3_err *e)
{
	K3_AUTO_FREE uint8_t *piece = k3_xcalloc(1, PIECE);

	for (*n = 0;;) {
		ssize_t got = read(fd, piece, PIECE);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return k3_fail_sys(e, errno, "cannot read a blob");
		if (!got)
			return 0;
		k3_hash_add(h, piece, (size_t)got);
		*n += (uint64_t)got;
		if (cancel && k3_cancel_check(cancel, e))
			return -1;
	}
}

int layout_has(struct layout *l, const struct oci_desc *d, struct k3_cancel *cancel, bool *has,
	       struct k3_err *e)
{
	K3_AUTO_HASH struct k3_hash *hash = k3_hash_new(d->digest.alg);
	K3_AUTO_FD int fd = -1;
	struct oci_digest got;
	uint64_t n;

	*has = false;
	if (layout_open_blob(l, d, &fd, e))
		return e->code == K3_NOTFOUND ? 0 : -1;
	if (hash_file(fd, hash, cancel, &n, e))
		return k3_wrap(e, "%s", l->path);
	oci_digest_final(hash, d->digest.alg, &got);
	*has = n == d->size && oci_digest_eq(&got, &d->digest);
	return 0;
}

static void blob_free(struct layout_blob *b)
{
	k3_hash_free(b->hash);
	k3_closep(&b->fd);
	free(b);
}

static int take_over(struct layout_blob *b, struct k3_err *e)
{
	struct stat st;

	if (fstat(b->fd, &st))
		return k3_fail_sys(e, errno, "cannot stat %s", b->part);
	/* More than all of it was never ours. */
	if ((uint64_t)st.st_size > b->desc.size)
		return layout_blob_restart(b, e);
	return hash_file(b->fd, b->hash, NULL, &b->have, e);
}

int layout_blob_begin(struct layout *l, const struct oci_desc *d, struct layout_blob **out,
		      struct k3_err *e)
{
	struct layout_blob *b = k3_xcalloc(1, sizeof(*b));
	const char *alg = oci_alg_name(d->digest.alg);
	int n = snprintf(b->part, sizeof(b->part), LAYOUT_ASIDE "/%s-", alg);

	k3_hex(d->digest.hash, k3_hash_len(d->digest.alg), b->part + n);
	b->owner = l;
	b->desc = *d;
	b->hash = k3_hash_new(d->digest.alg);
	b->fd = openat(l->dir, b->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	int rc = b->fd < 0 ? k3_fail_sys(e, errno, "cannot make %s", b->part) : take_over(b, e);

	if (rc) {
		k3_wrap(e, "%s", l->path);
		blob_free(b);
		return -1;
	}
	*out = b;
	return 0;
}

uint64_t layout_blob_have(const struct layout_blob *b)
{
	return b->have;
}

struct k3_hash *layout_blob_hash(struct layout_blob *b)
{
	return b->hash;
}

int layout_blob_write(struct layout_blob *b, const void *p, size_t n, struct k3_err *e)
{
	if (k3_write_all(b->fd, p, n, b->part, e))
		return k3_wrap(e, "%s", b->owner->path);
	if ((b->have + n) / BEHIND_STEP != b->have / BEHIND_STEP)
		k3_write_behind(b->fd);
	b->have += n;
	return 0;
}

int layout_blob_restart(struct layout_blob *b, struct k3_err *e)
{
	if (ftruncate(b->fd, 0) || lseek(b->fd, 0, SEEK_SET) < 0)
		return k3_fail_sys(e, errno, "cannot empty %s/%s", b->owner->path, b->part);
	b->have = 0;
	k3_hash_free(b->hash);
	b->hash = k3_hash_new(b->desc.digest.alg);
	return 0;
}

static int into_place(struct layout_blob *b, struct k3_err *e)
{
	struct layout *l = b->owner;
	char name[LAYOUT_NAME_MAX];

	layout_blob_name(&b->desc.digest, name);
	if (k3_close(&b->fd, b->part, e))
		return -1;
	if (b->desc.digest.alg == K3_SHA512 && mkdirat(l->dir, "blobs/sha512", 0755) &&
	    errno != EEXIST)
		return k3_fail_sys(e, errno, "cannot make blobs/sha512");
	if (renameat(l->dir, b->part, l->dir, name))
		return k3_fail_sys(e, errno, "cannot rename %s", b->part);
	return 0;
}

int layout_blob_done(struct layout_blob *b, struct k3_err *e)
{
	int rc = into_place(b, e);

	if (rc)
		k3_wrap(e, "%s", b->owner->path);
	blob_free(b);
	return rc;
}

void layout_blob_abandon(struct layout_blob *b)
{
	struct stat st;

	/* An empty file saves nobody anything. */
	if (!fstat(b->fd, &st) && !st.st_size)
		unlinkat(b->owner->dir, b->part, 0);
	blob_free(b);
}

int layout_put(struct layout *l, const struct oci_desc *d, const void *p, size_t n, bool *wrote,
	       struct k3_err *e)
{
	struct layout_blob *b;
	bool has;

	if (layout_has(l, d, NULL, &has, e))
		return -1;
	*wrote = !has;
	if (has)
		return 0;
	if (layout_blob_begin(l, d, &b, e))
		return -1;
	if (layout_blob_restart(b, e) || layout_blob_write(b, p, n, e)) {
		layout_blob_abandon(b);
		return -1;
	}
	return layout_blob_done(b, e);
}
