/* SPDX-License-Identifier: Apache-2.0 */
/* A layout into a tar. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive/layout.h"
#include "archive/tarout.h"
#include "base/file.h"
#include "base/mem.h"

#define PIECE (256u << 10)
#define ASIDE LAYOUT_ASIDE "/archive"

enum layout_packing layout_packing_of(const char *file)
{
	static const struct {
		const char *end;
		enum layout_packing packing;
	} ends[] = { { ".gz", LAYOUT_GZIP },
		     { ".tgz", LAYOUT_GZIP },
		     { ".zst", LAYOUT_ZSTD },
		     { ".zstd", LAYOUT_ZSTD } };
	size_t n = strlen(file);

	for (size_t i = 0; i < K3_ARRAY_LEN(ends); i++) {
		size_t m = strlen(ends[i].end);

		if (n > m && !strcmp(file + n - m, ends[i].end))
			return ends[i].packing;
	}
	return LAYOUT_PLAIN;
}

struct pack {
	struct layout *l;
	struct encode to;
	struct k3_cancel *cancel;
	uint8_t *piece;
};

static int put_text(struct pack *p, const char *name, const void *text, size_t n, struct k3_err *e)
{
	return tarout_file(&p->to, name, n, e) || encode_write(&p->to, text, n, e) ||
			       tarout_pad(&p->to, n, e)
		       ? -1
		       : 0;
}

static int put_blob(struct pack *p, const struct oci_desc *d, struct k3_err *e)
{
	char name[LAYOUT_NAME_MAX];
	K3_AUTO_FD int fd = -1;
	uint64_t left = d->size;

	layout_blob_name(&d->digest, name);
	if (layout_open_blob(p->l, d, &fd, e) || tarout_file(&p->to, name, d->size, e))
		return -1;
	while (left) {
		ssize_t n = read(fd, p->piece, left < PIECE ? (size_t)left : PIECE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return k3_fail_sys(e, errno, "cannot read %s/%s", p->l->path, name);
		if (!n)
			return k3_fail(e, K3_IO, "%s/%s has become shorter", p->l->path, name);
		if (encode_write(&p->to, p->piece, (size_t)n, e) ||
		    (p->cancel && k3_cancel_check(p->cancel, e)))
			return -1;
		left -= (uint64_t)n;
	}
	return tarout_pad(&p->to, d->size, e);
}

static int by_digest(const void *a, const void *b)
{
	const struct oci_digest *x = &(*(const struct oci_desc *const *)a)->digest;
	const struct oci_digest *y = &(*(const struct oci_desc *const *)b)->digest;

	return x->alg != y->alg ? (x->alg < y->alg ? -1 : 1)
				: memcmp(x->hash, y->hash, sizeof(x->hash));
}

static int put_blobs(struct pack *p, const struct oci_desc **blobs, size_t n, struct k3_err *e)
{
	static const char *const dirs[] = {
		[K3_SHA256] = "blobs/sha256", [K3_SHA512] = "blobs/sha512"
	};

	qsort(blobs, n, sizeof(*blobs), by_digest);
	if (tarout_dir(&p->to, "blobs", e))
		return -1;
	for (size_t i = 0; i < n; i++) {
		const struct oci_digest *d = &blobs[i]->digest;

		if (i && oci_digest_eq(d, &blobs[i - 1]->digest))
			continue;
		if ((!i || d->alg != blobs[i - 1]->digest.alg) &&
		    tarout_dir(&p->to, dirs[d->alg], e))
			return -1;
		if (put_blob(p, blobs[i], e))
			return -1;
	}
	return tarout_end(&p->to, e);
}

static int sync_parent(const char *file, struct k3_err *e)
{
	K3_AUTO_FREE char *dir = k3_xstrdup(file);
	char *slash = strrchr(dir, '/');
	K3_AUTO_FD int fd = -1;

	if (slash)
		slash[slash == dir] = '\0';
	return k3_open_dir(AT_FDCWD, slash ? dir : ".", &fd, e) || k3_fsync(fd, file, e) ? -1 : 0;
}

static int pack_into(struct pack *p, int *fd, const struct layout_image *images, size_t n,
		     const struct oci_desc **blobs, size_t nblobs, const char *file,
		     struct k3_err *e)
{
	const struct k3_buf none = { 0 };
	K3_AUTO_BUF struct k3_buf index = K3_BUF(OCI_DOCUMENT_MAX);

	if (layout_index(&none, images, n, &index, e) ||
	    put_text(p, "oci-layout", layout_marker, strlen(layout_marker), e) ||
	    put_text(p, "index.json", index.p, index.len, e) || put_blobs(p, blobs, nblobs, e) ||
	    encode_end(&p->to, e))
		return -1;
	if (k3_fsync(*fd, file, e) || k3_close(fd, file, e))
		return -1;
	if (renameat(p->l->dir, ASIDE, AT_FDCWD, file))
		return k3_fail_sys(e, errno, "cannot rename to %s", file);
	return sync_parent(file, e);
}

int layout_pack(struct layout *l, const struct layout_image *images, size_t n,
		const struct oci_desc **blobs, size_t nblobs, const char *file,
		enum layout_packing packing, struct k3_cancel *cancel, struct k3_err *e)
{
	K3_AUTO_FREE uint8_t *piece = k3_xcalloc(1, PIECE);
	struct pack p = { .l = l, .cancel = cancel, .piece = piece };
	K3_AUTO_FD int fd = openat(l->dir, ASIDE,
				   O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd < 0)
		return k3_fail_sys(e, errno, "cannot make %s/" ASIDE, l->path);
	int rc = encode_open(&p.to, packing, fd, file, e);

	if (!rc)
		rc = pack_into(&p, &fd, images, n, blobs, nblobs, file, e);
	encode_release(&p.to);
	if (rc)
		unlinkat(l->dir, ASIDE, 0);
	return rc;
}
