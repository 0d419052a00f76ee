/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/blob.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "fetch/request.h"
#include "fetch/retry.h"

struct blob {
	const struct oci_desc *d;
	struct outcome o; /* of the running or last request */
	char text[OCI_DIGEST_TEXT_MAX];
	struct k3_hash *hash;
	fetch_data_fn *fn;
	void *arg;
	bool fn_failed;
	bool no_range;  /* the registry refused a range: take the whole again */
	uint64_t asked; /* first byte of the running request */
	uint64_t got;   /* bytes handed on, in order */
	uint64_t skip;  /* known bytes at the start of the running answer */
};

static bool take_number(const char **p, uint64_t *out)
{
	uint64_t v = 0;

	if (**p < '0' || **p > '9')
		return false;
	for (; **p >= '0' && **p <= '9'; (*p)++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(**p - '0'), &v))
			return false;
	*out = v;
	return true;
}

bool blob_range_parse(const char *s, struct blob_range *out)
{
	if (strncasecmp(s, "bytes", 5) != 0 || s[5] != ' ')
		return false;
	s += 5 + strspn(s + 5, " ");
	if (!take_number(&s, &out->first) || *s++ != '-' || !take_number(&s, &out->last) ||
	    *s++ != '/')
		return false;
	if (*s == '*') {
		out->total = UINT64_MAX;
		s++;
	} else if (!take_number(&s, &out->total)) {
		return false;
	}
	return !*s && out->first <= out->last && out->last < out->total;
}

static int fail_size(const struct blob *b, uint64_t size, struct k3_err *e)
{
	return k3_fail(e, K3_DIGEST,
		       "%s: size differs: the descriptor says %llu bytes, the registry has %llu",
		       b->o.origin, (unsigned long long)b->d->size, (unsigned long long)size);
}

static int check_range(const struct blob *b, const struct http_head *h, struct k3_err *e)
{
	const char *text = http_field(h, "Content-Range", 0);
	struct blob_range r;

	if (!b->asked || !text || !blob_range_parse(text, &r) || r.first != b->asked)
		return k3_fail(e, K3_PROTO,
			       "%s: asked for bytes from %llu, got Content-Range \"%s\"",
			       b->o.origin, (unsigned long long)b->asked, text ? text : "");
	if (r.total != UINT64_MAX && r.total != b->d->size)
		return fail_size(b, r.total, e);
	return r.last < b->d->size ? 0 : fail_size(b, r.last + 1, e);
}

static int on_head(void *arg, const struct http_head *h, struct k3_err *e)
{
	struct blob *b = arg;

	b->skip = 0;
	if (request_refuse_html(&b->o, h, e))
		return -1;
	if (h->status == 206)
		return check_range(b, h, e);
	if (h->status != 200)
		return k3_fail(e, K3_PROTO, "%s: HTTP %u instead of a blob", b->o.origin,
			       h->status);
	b->skip = b->got;
	return h->has_length && h->length != b->d->size ? fail_size(b, h->length, e) : 0;
}

static int on_data(void *arg, const void *p, size_t n, struct k3_err *e)
{
	struct blob *b = arg;
	size_t known = n < b->skip ? n : (size_t)b->skip;

	b->skip -= known;
	p = (const uint8_t *)p + known;
	n -= known;
	if (!n)
		return 0;
	if (n > b->d->size - b->got)
		return k3_fail(e, K3_DIGEST, "%s: larger than the %llu bytes its descriptor says",
			       b->o.origin, (unsigned long long)b->d->size);
	if (b->fn(b->arg, p, n, e)) {
		b->fn_failed = true;
		return -1;
	}
	k3_hash_add(b->hash, p, n);
	b->got += n;
	return 0;
}

/* One request: 0 = all bytes are there. */
static int try_blob(struct fetch_session *s, const struct oci_ref *r, struct blob *b,
		    const char *path, const char *what, struct k3_err *e)
{
	b->asked = b->no_range ? 0 : b->got;
	const struct request q = {
		.path = path,
		.what = what,
		.range_from = b->asked,
		.on_head = on_head,
		.on_data = on_data,
		.arg = b,
	};

	if (request_try(s, r, &q, &b->o, e)) {
		if (b->fn_failed)
			return -1;
		/* a connection that dies behind the last byte has done its work */
		if (e->code == K3_NET && b->got == b->d->size)
			return 0;
		if (b->o.status == 416 && b->asked) {
			b->no_range = true;
			e->retry = true;
		}
		return -1;
	}
	if (b->got == b->d->size)
		return 0;
	k3_fail(e, K3_DIGEST, "%s: ended after %llu of %llu bytes", b->o.origin,
		(unsigned long long)b->got, (unsigned long long)b->d->size);
	e->retry = true;
	return -1;
}

static int verify(struct blob *b, struct k3_err *e)
{
	char got_text[OCI_DIGEST_TEXT_MAX];
	struct oci_digest got;

	oci_digest_final(b->hash, b->d->digest.alg, &got);
	if (oci_digest_eq(&got, &b->d->digest))
		return 0;
	oci_digest_format(&got, got_text);
	return k3_fail(e, K3_DIGEST, "%s%sdigest differs: expected %s, got %s", b->o.origin,
		       b->o.origin[0] ? ": " : "", b->text, got_text);
}

int fetch_blob(struct fetch_session *s, const struct oci_ref *r, const struct oci_desc *d,
	       uint64_t have, struct k3_hash *hash, fetch_data_fn *fn, void *arg, struct k3_err *e)
{
	struct blob b = { .d = d, .hash = hash, .fn = fn, .arg = arg, .got = have };

	if (have > d->size)
		return k3_fail(e, K3_BUG, "%llu bytes of a blob of %llu are there",
			       (unsigned long long)have, (unsigned long long)d->size);
	oci_digest_format(&d->digest, b.text);
	K3_AUTO_FREE char *path = k3_xasprintf("blobs/%s", b.text);
	K3_AUTO_FREE char *what = k3_xasprintf("blob %s", b.text);
	struct retry again = { .s = s, .what = what };

	while (b.got < d->size) {
		uint64_t before = b.got;

		if (!try_blob(s, r, &b, path, what, e))
			break;
		if (b.got > before)
			retry_progress(&again);
		if (b.fn_failed || retry_wait(&again, e))
			return -1;
	}
	return verify(&b, e);
}
