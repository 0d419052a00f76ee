/* SPDX-License-Identifier: Apache-2.0 */
/* Documents and layers by digest, verified while they are read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/state.h"
#include "base/mem.h"

static int by_digest(const void *key, const void *item)
{
	return memcmp(key, item, sizeof(struct oci_digest));
}

static const struct entry *find_known(const struct archive *a, const struct oci_digest *d)
{
	const struct known *k =
		a->nknown ? bsearch(d, a->known, a->nknown, sizeof(*a->known), by_digest) : NULL;

	return k ? k->entry : NULL;
}

static int lacks(const struct archive *a, const char *digest, struct k3_err *e)
{
	k3_fail(e, K3_NOTFOUND, "%s: it lacks the blob %s", a->what, digest);
	return k3_hint(e, "it was cut, or made for another platform");
}

static int wrong_size(const struct archive *a, const struct span *s, const struct oci_desc *d,
		      struct k3_err *e)
{
	return k3_fail(e, K3_DIGEST, "%s: %s has %llu bytes, its descriptor says %llu", a->what,
		       s->name, (unsigned long long)s->size, (unsigned long long)d->size);
}

/* The file of a blob, of the size that is wanted; a size of 0 is one not known yet. */
static int find_blob(const struct archive *a, const struct oci_desc *d, struct span *out,
		     struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX], name[OCI_DIGEST_TEXT_MAX + sizeof("blobs/")];
	bool found = true;

	oci_digest_format(&d->digest, text);
	if (a->docker) {
		const struct entry *en = find_known(a, &d->digest);

		found = en != NULL;
		if (found)
			span_of(a, en, out);
	} else {
		snprintf(name, sizeof(name), "blobs/%s", text);
		*strchr(name, ':') = '/';
		if (span_find(a, name, &found, out, e))
			return -1;
	}
	if (!found)
		return lacks(a, text, e);
	if (!d->size || out->size == d->size)
		return 0;
	wrong_size(a, out, d, e);
	span_release(out);
	return -1;
}

static int wrong_digest(const struct archive *a, const char *name, const struct oci_digest *want,
			const struct oci_digest *got, struct k3_err *e)
{
	char w[OCI_DIGEST_TEXT_MAX], g[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(want, w);
	oci_digest_format(got, g);
	k3_fail(e, K3_DIGEST, "%s: %s: digest differs: expected %s, got %s", a->what, name, w, g);
	return k3_hint(e, ARCHIVE_HINT_DAMAGED);
}

static const struct made *find_made(const struct archive *a, const struct oci_digest *d)
{
	for (size_t i = 0; i < a->nmade; i++)
		if (oci_digest_eq(&a->made[i].digest, d))
			return &a->made[i];
	return NULL;
}

int archive_document(struct archive *a, const struct oci_desc *want, struct k3_buf *raw,
		     struct k3_err *e)
{
	const struct made *made = find_made(a, &want->digest);
	AUTO_SPAN struct span s = { 0 };
	size_t before = raw->len;
	struct oci_digest got;

	if (made)
		return k3_buf_add(raw, made->body.p, made->body.len, e);
	if (find_blob(a, want, &s, e) || span_text(a, &s, raw, e))
		return -1;
	oci_digest_of(want->digest.alg, raw->p + before, raw->len - before, &got);
	if (oci_digest_eq(&got, &want->digest))
		return 0;
	raw->len = before;
	return wrong_digest(a, s.name, &want->digest, &got, e);
}

/* ---- layers ------------------------------------------------------------------------- */

struct archive_reader {
	struct archive *a;
	struct oci_desc desc;
	struct span span;
	uint64_t at;
	struct k3_hash *hash;
	bool own_hash, done;
	uint8_t piece[ARCHIVE_PIECE];
};

static int reader_open(struct archive *a, const struct oci_desc *d, struct k3_hash *hash,
		       struct archive_reader **out, struct k3_err *e)
{
	struct span s = { 0 };

	if (find_blob(a, d, &s, e))
		return -1;
	struct archive_reader *r = k3_xcalloc(1, sizeof(*r));

	r->a = a;
	r->desc = *d;
	r->span = s;
	r->own_hash = !hash;
	r->hash = hash ? hash : k3_hash_new(d->digest.alg);
	*out = r;
	return 0;
}

int archive_reader_open(struct archive *a, const struct oci_desc *d, struct archive_reader **out,
			struct k3_err *e)
{
	return reader_open(a, d, NULL, out, e);
}

void archive_reader_freep(struct archive_reader **r)
{
	if (!*r)
		return;
	span_release(&(*r)->span);
	if ((*r)->own_hash)
		k3_hash_free((*r)->hash);
	free(*r);
	*r = NULL;
}

static int verify(struct archive_reader *r, struct k3_err *e)
{
	struct oci_digest got;

	oci_digest_final(r->hash, r->desc.digest.alg, &got);
	r->done = true;
	if (oci_digest_eq(&got, &r->desc.digest))
		return 0;
	return wrong_digest(r->a, r->span.name, &r->desc.digest, &got, e);
}

/* The next piece, not hashed yet; *n = 0 behind the last. */
static int read_piece(struct archive_reader *r, size_t *n, struct k3_err *e)
{
	uint64_t left = r->span.size - r->at;

	*n = left < ARCHIVE_PIECE ? (size_t)left : ARCHIVE_PIECE;
	if (k3_cancel_check(r->a->cancel, e) ||
	    (*n && span_read(r->a, &r->span, r->at, r->piece, *n, e)))
		return -1;
	r->at += *n;
	return 0;
}

int archive_reader_next(void *arg, const uint8_t **p, size_t *n, struct k3_err *e)
{
	struct archive_reader *r = arg;

	*n = 0;
	if (r->done)
		return 0;
	if (read_piece(r, n, e))
		return -1;
	if (!*n)
		return verify(r, e);
	k3_hash_add(r->hash, r->piece, *n);
	*p = r->piece;
	return 0;
}

int archive_blob(struct archive *a, const struct oci_desc *d, uint64_t have, struct k3_hash *hash,
		 archive_data_fn *fn, void *arg, struct k3_err *e)
{
	__attribute__((cleanup(archive_reader_freep))) struct archive_reader *r = NULL;
	size_t n;

	if (reader_open(a, d, hash, &r, e))
		return -1;
	if (have > r->span.size)
		return k3_fail(e, K3_BUG, "%llu bytes of a blob of %llu are there",
			       (unsigned long long)have, (unsigned long long)r->span.size);
	r->at = have;
	for (;;) {
		if (read_piece(r, &n, e))
			return -1;
		if (!n)
			return verify(r, e);
		/* The hash holds exactly what fn has taken. */
		if (fn(arg, r->piece, n, e))
			return -1;
		k3_hash_add(hash, r->piece, n);
	}
}
