/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/blob.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "fetch/request.h"
#include "fetch/route.h"

/* After so many failures in a row a registry is asked without a range. */
#define RANGE_FAILURES 3u

struct blob {
	const struct oci_desc *d;
	struct outcome o; /* of the running or last request */
	struct route to;  /* whom it asks */
	uint64_t sources; /* who sent bytes, by id */
	char text[OCI_DIGEST_TEXT_MAX];
	struct k3_hash *hash;    /* NULL for a part */
	struct fetch_part *part; /* NULL for all the rest of the blob */
	fetch_data_fn *fn;
	void *arg;
	bool fn_failed;
	bool no_range;     /* the registry refused a range: take the whole again */
	uint64_t asked;    /* first byte of the running request */
	uint64_t got;      /* first byte not handed on yet */
	uint64_t end;      /* first byte not wanted */
	uint64_t promised; /* first byte behind the running answer */
	uint64_t skip;     /* known bytes at the start of the running answer */
	uint64_t mark;     /* how far it had come when that last counted as progress */
	unsigned pieces;   /* ranges answered in shorter pieces since then */
	bool wrong_range;  /* the running answer is of another range than asked for */
	bool encoded;      /* the running answer has a Content-Encoding */
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

/* The other parts were of something else: ETags of two hosts may differ, those of one not. */
static bool another_content(struct blob *b, const struct http_head *h)
{
	const char *etag = http_field(h, "ETag", 0);
	char tag[FETCH_TAG_MAX];
	size_t host = strlen(b->o.origin) + 1;

	/* A weak one does not promise equal bytes. */
	if (!etag || *etag != '"')
		return false;
	int n = snprintf(tag, sizeof(tag), "%s %s", b->o.origin, etag);

	if (n < 0 || (size_t)n >= sizeof(tag))
		return false;
	bool other = !strncmp(b->part->tag, tag, host) && strcmp(b->part->tag, tag) != 0;

	if (!other)
		memcpy(b->part->tag, tag, (size_t)n + 1);
	return other;
}

static bool has_range(const struct blob *b)
{
	return b->asked || b->end < b->d->size;
}

static int check_range(struct blob *b, const struct http_head *h, struct k3_err *e)
{
	const char *text = http_field(h, "Content-Range", 0);
	struct blob_range r;

	b->wrong_range = !has_range(b) || !text || !blob_range_parse(text, &r) ||
			 r.first != b->asked;
	if (b->wrong_range)
		return k3_fail(e, K3_PROTO,
			       "%s: asked for bytes from %llu, got Content-Range \"%s\"",
			       b->o.origin, (unsigned long long)b->asked, text ? text : "");
	if (r.total != UINT64_MAX && r.total != b->d->size)
		return fail_size(b, r.total, e);
	if (r.last >= b->d->size)
		return fail_size(b, r.last + 1, e);
	if (r.last >= b->end)
		return k3_fail(e, K3_PROTO, "%s: asked for %llu bytes, got Content-Range \"%s\"",
			       b->o.origin, (unsigned long long)(b->end - b->asked), text);
	b->promised = r.last + 1;
	if (b->part && another_content(b, h))
		return k3_fail(e, K3_PROTO, "%s: the blob was changed between two parts of it",
			       b->o.origin);
	return 0;
}

/* The whole is sent.  A part that may not take it stops before its first byte. */
static int take_whole(struct blob *b, const struct http_head *h, struct k3_err *e)
{
	if (b->part && !b->part->whole_too)
		return k3_fail(e, K3_PROTO, "%s: sends the whole instead of a range", b->o.origin);
	b->skip = b->got;
	b->end = b->promised = b->d->size;
	if (b->part)
		b->part->whole = true;
	return h->has_length && h->length != b->d->size ? fail_size(b, h->length, e) : 0;
}

static void hint_bytes(const struct blob *b, struct k3_err *e)
{
	if (b->encoded)
		k3_hint(e, EXCHANGE_HINT_ENCODED);
	else
		k3_hint(e, e->code == K3_DIGEST ? EXCHANGE_HINT_BYTES : EXCHANGE_HINT_SETUP);
}

static int on_head(void *arg, const struct http_head *h, struct k3_err *e)
{
	struct blob *b = arg;
	int rc;

	b->skip = 0;
	/* Storage that serves what it was given may say so of a layer, whose bytes are right. */
	b->encoded = exchange_encoded(h);
	if (request_refuse_html(&b->o, h, e))
		return -1;
	if (h->status == 206)
		rc = check_range(b, h, e);
	else if (h->status == 200)
		rc = take_whole(b, h, e);
	else
		rc = k3_fail(e, K3_PROTO, "%s: HTTP %u instead of a blob", b->o.origin, h->status);
	if (rc && b->part && !b->part->whole)
		b->part->refused = true;
	if (rc)
		hint_bytes(b, e);
	return rc;
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
	if (n > b->promised - b->got) {
		if (b->part && !b->part->whole)
			b->part->refused = true;
		k3_fail(e, b->promised == b->d->size ? K3_DIGEST : K3_PROTO,
			"%s: larger than the %llu bytes its %s says", b->o.origin,
			(unsigned long long)(b->promised - b->asked),
			b->promised == b->d->size ? "descriptor" : "Content-Range");
		hint_bytes(b, e);
		return -1;
	}
	if (b->fn(b->arg, p, n, e)) {
		b->fn_failed = true;
		return -1;
	}
	if (b->hash)
		k3_hash_add(b->hash, p, n);
	if (b->to.ep->id < ENDPOINTS_TOLD_APART)
		b->sources |= 1ull << b->to.ep->id;
	b->got += n;
	return 0;
}

/* Statuses by which ranges alone may be refused; 404 and 401 are about the blob. */
static bool refuses_range(unsigned status)
{
	return status == 400 || status == 403 || status == 405 || status == 406 || status == 412 ||
	       status == 416 || status == 501;
}

/* A range that was answered in part is gone on with at once, but not byte by byte. */
static int count_piece(struct blob *b, struct k3_err *e)
{
	if (++b->pieces <= FETCH_SHORT_RANGES_MAX)
		return 0;
	if (b->part)
		b->part->refused = true;
	k3_fail(e, K3_PROTO, "%s: answers a range in too many pieces: %llu of %llu bytes in %u",
		b->o.origin, (unsigned long long)(b->got - b->mark),
		(unsigned long long)(b->end - b->mark), b->pieces);
	return k3_hint(e, EXCHANGE_HINT_SETUP);
}

/* One request: 0 = it brought all it promised. */
static int try_blob(struct blob *b, const char *path, const char *what, struct k3_err *e)
{
	uint64_t before = b->got;

	b->asked = b->no_range ? 0 : b->got;
	b->promised = 0;
	b->wrong_range = false;
	const struct request q = {
		.path = path,
		.what = what,
		.range_from = b->asked,
		.range_to = b->end < b->d->size ? b->end - 1 : 0,
		.on_head = on_head,
		.on_data = on_data,
		.arg = b,
	};

	if (request_try(&b->to, &q, &b->o, e)) {
		if (b->fn_failed)
			return -1;
		/* a connection that dies behind the last byte has done its work */
		if (e->code == K3_NET && b->got == b->end)
			return 0;
		/* One that cannot do ranges well may be able to send the whole. */
		if (b->asked && !b->part &&
		    (refuses_range(b->o.status) || (b->wrong_range && e->code == K3_PROTO))) {
			b->no_range = true;
			e->retry = true;
		}
		return -1;
	}
	if (b->got == b->end)
		return 0;
	if (b->got > before && b->got == b->promised)
		return count_piece(b, e);
	k3_fail(e, K3_DIGEST, "%s: ended after %llu of %llu bytes", b->o.origin,
		(unsigned long long)b->got, (unsigned long long)b->d->size);
	e->retry = true;
	return -1;
}

/* Whether ranges are what failed for good: an answer, but for what would fail without, too. */
static bool part_refused(const struct blob *b, const struct k3_err *e)
{
	return b->part && !b->fn_failed && b->o.status >= 400 && b->o.status != 401 &&
	       e->code != K3_CANCELLED;
}

static void count_progress(struct blob *b)
{
	if (b->got - b->mark < FETCH_PROGRESS_MIN)
		return;
	b->mark = b->got;
	b->pieces = 0;
	retry_progress(&b->to.again);
}

/*
 * Bytes that came from an endpoint and are wrong cannot be mended by the next one.  When it only
 * announced them, they did not come.
 */
static bool is_spoilt(const struct blob *b, const struct k3_err *e)
{
	return e->code == K3_DIGEST && !e->retry && b->to.ep->id < ENDPOINTS_TOLD_APART &&
	       (b->sources >> b->to.ep->id & 1);
}

/* 0 = b->to is at whoever is to be asked now. */
static int move_on(struct blob *b, bool other_way, struct k3_err *e)
{
	/* The same one may send the whole; another one knows nothing of that. */
	if (other_way)
		return retry_wait(&b->to.again, e);
	if (e->code == K3_DIGEST && !e->retry)
		return route_useless(&b->to, e);
	return route_failed(&b->to, e);
}

/* One answer tells whether ranges are liked at all; its pause has been obeyed. */
static void judge_ranges(const struct fetch_session *s, struct blob *b, uint64_t first,
			 bool refused, bool over)
{
	if (refused && !k3_cancelled(s->f->o.cancel) &&
	    (over || (b->part->whole_too && b->got == first)))
		b->part->refused = true;
	if (!over && b->asked && !b->part && b->to.again.failed >= RANGE_FAILURES &&
	    b->o.status >= 500)
		b->no_range = true;
}

/* After a failed try: 0 = go on, with whoever b->to is at now. */
static int after_failure(struct fetch_session *s, struct blob *b, uint64_t first, bool no_range,
			 struct k3_err *e)
{
	bool refused = part_refused(b, e);
	const struct endpoint *asked = b->to.ep;

	if (b->fn_failed || (b->part && b->part->refused && b->to.all->n == 1) || is_spoilt(b, e))
		return -1;
	int rest = move_on(b, b->no_range && !no_range, e);

	if (!rest && b->to.ep != asked) {
		b->no_range = false;
		if (b->part)
			b->part->refused = false;
		return 0;
	}
	judge_ranges(s, b, first, refused, rest != 0);
	return rest || (b->part && b->part->refused) ? -1 : 0;
}

/* Until b->end, which grows to the end of the blob when a part gets the whole. */
static int fetch_bytes(struct fetch_session *s, const struct oci_ref *r, struct blob *b,
		       struct k3_err *e)
{
	K3_AUTO_FREE char *path = k3_xasprintf("blobs/%s", b->text);
	K3_AUTO_FREE char *what = k3_xasprintf("blob %s", b->text);
	uint64_t first = b->got;

	if (b->got >= b->end)
		return 0;
	if (route_start(&b->to, s, r, REGISTRY_PULL, what, e))
		return -1;
	b->mark = b->got;
	while (b->got < b->end) {
		bool no_range = b->no_range;
		int rc = try_blob(b, path, what, e);

		count_progress(b);
		if (rc && after_failure(s, b, first, no_range, e))
			return -1;
	}
	route_done(&b->to);
	return 0;
}

static int fetch_all(struct fetch_session *s, const struct oci_ref *r, struct blob *b,
		     struct k3_err *e)
{
	int rc = fetch_bytes(s, r, b, e);

	route_release(&b->to);
	s->sources = b->sources;
	return rc;
}

uint64_t fetch_sources(const struct fetch_session *s)
{
	return s->sources;
}

bool fetch_blame(struct fetch_session *s, uint64_t sources, const struct k3_err *why)
{
	return endpoints_blame(s->f, sources, why);
}

static int verify(struct blob *b, struct k3_err *e)
{
	char got_text[OCI_DIGEST_TEXT_MAX];
	struct oci_digest got;

	oci_digest_final(b->hash, b->d->digest.alg, &got);
	if (oci_digest_eq(&got, &b->d->digest))
		return 0;
	oci_digest_format(&got, got_text);
	k3_fail(e, K3_DIGEST, "%s%sdigest differs: expected %s, got %s", b->o.origin,
		b->o.origin[0] ? ": " : "", b->text, got_text);
	hint_bytes(b, e);
	return -1;
}

static int check_known(const struct oci_desc *d, uint64_t have, struct k3_err *e)
{
	if (have <= d->size)
		return 0;
	return k3_fail(e, K3_BUG, "%llu bytes of a blob of %llu are there",
		       (unsigned long long)have, (unsigned long long)d->size);
}

int fetch_blob(struct fetch_session *s, const struct oci_ref *r, const struct oci_desc *d,
	       uint64_t have, struct k3_hash *hash, fetch_data_fn *fn, void *arg, struct k3_err *e)
{
	struct blob b = { .d = d, .hash = hash, .fn = fn, .arg = arg, .got = have, .end = d->size };

	oci_digest_format(&d->digest, b.text);
	return check_known(d, have, e) || fetch_all(s, r, &b, e) || verify(&b, e) ? -1 : 0;
}

int fetch_blob_part(struct fetch_session *s, const struct oci_ref *r, const struct oci_desc *d,
		    struct fetch_part *p, fetch_data_fn *fn, void *arg, struct k3_err *e)
{
	struct blob b = { .d = d, .part = p, .fn = fn, .arg = arg, .got = p->at, .end = p->end };

	oci_digest_format(&d->digest, b.text);
	p->whole = p->refused = false;
	int rc = check_known(d, p->end, e) || fetch_all(s, r, &b, e) ? -1 : 0;

	p->at = b.got;
	return rc;
}
