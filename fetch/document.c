/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "fetch/answer.h"
#include "fetch/request.h"
#include "fetch/route.h"

#define ACCEPT                                                                                     \
	"application/vnd.oci.image.index.v1+json, "                                                \
	"application/vnd.oci.image.manifest.v1+json, "                                             \
	"application/vnd.docker.distribution.manifest.list.v2+json, "                              \
	"application/vnd.docker.distribution.manifest.v2+json"

struct document {
	struct fetch_session *s;
	const struct oci_ref *r;
	const struct oci_desc *want;  /* or NULL */
	const struct oci_digest *pin; /* what it must hash to, or NULL */
	char *name;                   /* "host/repo:tag" or "host/repo@digest" */
	char *path;
	struct k3_buf *raw;
	struct outcome o;              /* of the running or last request */
	char type[OCI_MEDIA_TEXT_MAX]; /* Content-Type without parameters, or "" */
	bool has_header_digest;
	struct oci_digest header_digest; /* Docker-Content-Digest */
	bool encoded;                    /* it has a Content-Encoding */
};

static void init(struct document *d, struct fetch_session *s, const struct oci_ref *r,
		 const struct oci_desc *want)
{
	char text[OCI_DIGEST_TEXT_MAX];

	*d = (struct document){ .s = s, .r = r, .want = want };
	if (want)
		d->pin = &want->digest;
	else if (r->has_digest)
		d->pin = &r->digest;
	if (d->pin) {
		oci_digest_format(d->pin, text);
		d->name = oci_ref_with_digest(r, d->pin);
		d->path = k3_xasprintf("manifests/%s", text);
	} else {
		d->name = oci_ref_full(r);
		d->path = k3_xasprintf("manifests/%s", r->tag ? r->tag : "latest");
	}
}

static void release(struct document *d)
{
	k3_freep(&d->name);
	k3_freep(&d->path);
}

#define AUTO_DOCUMENT __attribute__((cleanup(release)))

/* Keeps what the header says; it is judged when the body is there. */
static void read_head(struct document *d, const struct http_head *h)
{
	const char *type = http_field(h, "Content-Type", 0);
	const char *digest = http_field(h, "Docker-Content-Digest", 0);
	struct k3_err ignored;

	d->encoded = exchange_encoded(h);
	size_t n = type ? strcspn(type, "; \t,") : 0;

	if (n >= sizeof(d->type))
		n = 0;
	if (n)
		memcpy(d->type, type, n);
	d->type[n] = '\0';
	d->has_header_digest = digest && !oci_digest_parse(digest, &d->header_digest, &ignored);
}

static int fail_larger(const struct document *d, struct k3_err *e)
{
	if (d->want && d->want->size <= d->raw->max) {
		k3_fail(e, K3_DIGEST, "%s is larger than the %llu bytes of its descriptor", d->name,
			(unsigned long long)d->want->size);
		return k3_hint(e, d->encoded ? EXCHANGE_HINT_ENCODED : EXCHANGE_HINT_BYTES);
	}
	return k3_fail(e, K3_LIMIT, "%s is larger than the limit of %zu bytes for a manifest",
		       d->name, d->raw->max);
}

static uint64_t most(const struct document *d)
{
	return d->want && d->want->size < d->raw->max ? d->want->size : d->raw->max;
}

static int fail_status(const struct document *d, unsigned status, struct k3_err *e)
{
	k3_fail(e, K3_PROTO, "%s: HTTP %u instead of a manifest", d->o.origin, status);
	return k3_hint(e, EXCHANGE_HINT_SETUP);
}

static int on_head(void *arg, const struct http_head *h, struct k3_err *e)
{
	struct document *d = arg;

	k3_buf_reset(d->raw);
	read_head(d, h);
	if (request_refuse_html(&d->o, h, e))
		return -1;
	if (h->status != 200)
		return fail_status(d, h->status, e);
	return h->has_length && h->length > most(d) ? fail_larger(d, e) : 0;
}

static int on_data(void *arg, const void *p, size_t n, struct k3_err *e)
{
	struct document *d = arg;

	if (n > most(d) - d->raw->len)
		return fail_larger(d, e);
	return k3_buf_add(d->raw, p, n, e);
}

/* ---- judging the body ------------------------------------------------------------------ */

static int check_digest(const struct document *d, struct oci_digest *got, struct k3_err *e)
{
	enum k3_hash_alg alg = K3_SHA256;
	char want[OCI_DIGEST_TEXT_MAX], have[OCI_DIGEST_TEXT_MAX];
	struct oci_digest other;

	if (d->pin)
		alg = d->pin->alg;
	else if (d->has_header_digest)
		alg = d->header_digest.alg;
	oci_digest_of(alg, d->raw->p, d->raw->len, got);
	oci_digest_format(got, have);
	if (d->pin && !oci_digest_eq(d->pin, got)) {
		oci_digest_format(d->pin, want);
		return k3_fail(e, K3_DIGEST, "manifest digest differs: expected %s, got %s", want,
			       have);
	}
	if (!d->has_header_digest)
		return 0;
	oci_digest_of(d->header_digest.alg, d->raw->p, d->raw->len, &other);
	if (oci_digest_eq(&d->header_digest, &other))
		return 0;
	oci_digest_format(&d->header_digest, want);
	oci_digest_format(&other, have);
	return k3_fail(e, K3_DIGEST, "manifest digest differs: the registry announces %s, got %s",
		       want, have);
}

/* Does the Content-Type say no more than "some bytes"? */
static bool is_vague(const char *type)
{
	static const char *const vague[] = { "", "application/json", "application/octet-stream",
					     "binary/octet-stream", "text/plain" };

	for (size_t i = 0; i < K3_ARRAY_LEN(vague); i++)
		if (!strcasecmp(type, vague[i]))
			return true;
	return false;
}

static int check_kind(const struct document *d, enum oci_media m, const char *text,
		      struct k3_err *e)
{
	if (m == OCI_MEDIA_DOCKER_SCHEMA1) {
		k3_fail(e, K3_UNSUPPORTED,
			"%s is a docker schema 1 manifest, a format given up in "
			"2019",
			d->name);
		return k3_hint(e, "push the image again with a current tool");
	}
	if (!oci_media_is_index(m) && !oci_media_is_manifest(m))
		return k3_fail(e, K3_UNSUPPORTED,
			       "%s is neither an image manifest nor an index%s%s", d->name,
			       *text ? " but " : "", text);
	if (d->want && ((oci_media_is_index(d->want->media) && oci_media_is_manifest(m)) ||
			(oci_media_is_manifest(d->want->media) && oci_media_is_index(m))))
		return k3_fail(e, K3_PROTO, "its descriptor says %s and the document is %s",
			       d->want->media_text, text);
	return 0;
}

/*
 * The usual text of a known kind: containerd compares case, and what a document writes behind
 * the type (parameters, any bytes) must not get into a record.
 */
static void set_media_name(struct oci_desc *got)
{
	snprintf(got->media_text, sizeof(got->media_text), "%s", oci_media_name(got->media));
}

/* The media type: Content-Type and the document must not contradict each other. */
static int find_media(const struct document *d, struct oci_desc *got, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	enum oci_media said = oci_media_parse(d->type);

	if (k3_json_parse(d->raw->p ? (const void *)d->raw->p : "", d->raw->len, &doc, e))
		return k3_wrap(e, "manifest");
	const struct k3_json *root = k3_json_root(doc);
	const char *inside = k3_json_str(k3_json_get(root, "mediaType"));

	if (!k3_json_is_obj(root))
		return k3_fail(e, K3_FORMAT, "manifest: not a JSON object");
	got->media = oci_document_kind(d->raw->p, d->raw->len);
	if (!is_vague(d->type)) {
		if (inside && (oci_media_parse(inside) != said ||
			       (said == OCI_MEDIA_UNKNOWN && strcasecmp(inside, d->type) != 0)))
			return k3_fail(e, K3_PROTO, "Content-Type is %s and the document says %s",
				       d->type, inside);
		got->media = said;
		inside = d->type;
	}
	if (inside && strlen(inside) < sizeof(got->media_text))
		memcpy(got->media_text, inside, strlen(inside) + 1);
	if (check_kind(d, got->media, got->media_text, e))
		return -1;
	set_media_name(got);
	return 0;
}

static int judge(const struct document *d, struct oci_desc *got, struct k3_err *e)
{
	*got = (struct oci_desc){ .size = d->raw->len };
	if (d->want && d->raw->len != d->want->size)
		return k3_fail(e, K3_DIGEST, "manifest of %zu bytes, expected %llu", d->raw->len,
			       (unsigned long long)d->want->size);
	if (check_digest(d, &got->digest, e))
		return -1;
	return find_media(d, got, e);
}

static void hint_wrong(const struct document *d, struct k3_err *e)
{
	if (d->encoded)
		k3_hint(e, EXCHANGE_HINT_ENCODED);
	else if (e->code == K3_DIGEST)
		k3_hint(e, EXCHANGE_HINT_BYTES);
	else if (e->code == K3_PROTO)
		k3_hint(e, EXCHANGE_HINT_SETUP);
}

static int get_document(struct document *d, struct oci_desc *got, struct k3_err *e)
{
	const struct request q = {
		.path = d->path,
		.what = d->name,
		.accept = ACCEPT,
		.on_head = on_head,
		.on_data = on_data,
		.arg = d,
	};
	AUTO_ROUTE struct route to = { 0 };

	if (route_start(&to, d->s, d->r, d->pin ? REGISTRY_PULL : REGISTRY_RESOLVE, d->name, e))
		return -1;
	for (;;) {
		if (request_try(&to, &q, &d->o, e)) {
			if (route_failed(&to, e))
				return -1;
			continue;
		}
		if (!judge(d, got, e)) {
			route_done(&to);
			return 0;
		}
		hint_wrong(d, e);
		k3_wrap(e, "%s", d->o.origin);
		if (route_useless(&to, e))
			return -1;
	}
}

int fetch_document(struct fetch_session *s, const struct oci_ref *r, const struct oci_desc *want,
		   struct k3_buf *raw, struct oci_desc *got, struct k3_err *e)
{
	AUTO_DOCUMENT struct document d = { 0 };
	struct oci_desc found;

	init(&d, s, r, want);
	d.raw = raw;
	k3_buf_reset(raw);
	if (want && want->size > raw->max)
		return fail_larger(&d, e);
	if (get_document(&d, &found, e))
		return -1;
	*got = found;
	return 0;
}

/* ---- without the body ------------------------------------------------------------------ */

static int on_resolve_head(void *arg, const struct http_head *h, struct k3_err *e)
{
	struct document *d = arg;

	read_head(d, h);
	return request_refuse_html(&d->o, h, e);
}

/* *complete = false: the registry does not answer HEAD well, GET may do. */
static int head_document(struct document *d, struct oci_desc *got, bool *complete, struct k3_err *e)
{
	const struct request q = {
		.path = d->path,
		.what = d->name,
		.accept = ACCEPT,
		.head = true,
		.any_status = true,
		.on_head = on_resolve_head,
		.arg = d,
	};
	AUTO_ROUTE struct route to = { 0 };

	if (route_start(&to, d->s, d->r, REGISTRY_RESOLVE, d->name, e))
		return -1;
	for (;;) {
		int rc = request_try(&to, &q, &d->o, e);
		unsigned status = rc ? 0 : d->o.status;

		*complete = false;
		if (status == 400 || status == 405 || status == 501)
			return 0;
		if (!rc && status / 100 == 2)
			break;
		if (!rc)
			answer_fail(d->s, &d->o, d->name, NULL, e);
		if (route_failed(&to, e))
			return -1;
	}
	route_done(&to);
	*got = (struct oci_desc){ .media = oci_media_parse(d->type),
				  .digest = d->header_digest,
				  .size = d->o.head->length };
	memcpy(got->media_text, d->type, sizeof(d->type));
	*complete = d->has_header_digest && d->o.head->has_length && !is_vague(d->type);
	if (!*complete)
		return 0;
	if (check_kind(d, got->media, got->media_text, e))
		return -1;
	set_media_name(got);
	return 0;
}

int fetch_resolve(struct fetch_session *s, const struct oci_ref *r, struct oci_desc *got,
		  struct k3_err *e)
{
	AUTO_DOCUMENT struct document d = { 0 };
	K3_AUTO_BUF struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	struct oci_desc found;
	bool complete;

	if (r->has_digest) {
		*got = (struct oci_desc){ .digest = r->digest };
		return 0;
	}
	init(&d, s, r, NULL);
	d.raw = &raw;
	if (head_document(&d, &found, &complete, e) || (!complete && get_document(&d, &found, e)))
		return -1;
	*got = found;
	return 0;
}
