/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/source.h"

#include <string.h>

int source_session(const struct source_link *l, struct fetch_session **out, struct k3_err *e)
{
	if (!*l->session && fetch_session_new(l->fetch, l->session, e))
		return -1;
	*out = *l->session;
	return 0;
}

static int check_pin(const struct pl_request *q, struct k3_err *e)
{
	char want[OCI_DIGEST_TEXT_MAX], have[OCI_DIGEST_TEXT_MAX];

	if (!q->ref.has_digest || oci_digest_eq(&q->ref.digest, &q->target->digest))
		return 0;
	oci_digest_format(&q->ref.digest, want);
	oci_digest_format(&q->target->digest, have);
	return k3_fail(e, K3_DIGEST, "%s: the name asks for %s, the image in it is %s",
		       archive_name(q->from), want, have);
}

int source_target(const struct source_link *l, const struct pl_request *q, struct oci_desc *got,
		  struct k3_err *e)
{
	struct fetch_session *s;

	if (q->from) {
		*got = *q->target;
		return check_pin(q, e);
	}
	return source_session(l, &s, e) || fetch_resolve(s, &q->ref, got, e) ? -1 : 0;
}

static int to_buf(void *arg, const void *p, size_t n, struct k3_err *e)
{
	return k3_buf_add(arg, p, n, e);
}

int source_document(const struct source_link *l, const struct pl_request *q,
		    const struct oci_desc *want, bool config, struct k3_buf *raw,
		    struct oci_desc *got, struct k3_err *e)
{
	struct fetch_session *s;

	if (q->from) {
		*got = *want;
		return archive_document(q->from, want, raw, e);
	}
	if (source_session(l, &s, e))
		return -1;
	if (!config)
		return fetch_document(s, &q->ref, want, raw, got, e);
	K3_AUTO_HASH struct k3_hash *hash = k3_hash_new(want->digest.alg);

	*got = *want;
	return fetch_blob(s, &q->ref, want, 0, hash, to_buf, raw, e);
}

int source_blob(const struct source_link *l, const struct pl_request *q, const struct oci_desc *d,
		uint64_t have, struct k3_hash *hash, fetch_data_fn *fn, void *arg, struct k3_err *e)
{
	struct fetch_session *s;

	if (q->from)
		return archive_blob(q->from, d, have, hash, fn, arg, e);
	if (source_session(l, &s, e))
		return -1;
	return fetch_blob(s, &q->ref, d, have, hash, fn, arg, e);
}

bool source_same(const struct pl_request *a, const struct pl_request *b)
{
	if (a->from || b->from)
		return a->from == b->from;
	return !strcmp(a->ref.host, b->ref.host) && !strcmp(a->ref.repo, b->ref.repo);
}

bool source_worth_another(const struct k3_err *e)
{
	return e->code == K3_NOTFOUND || e->code == K3_AUTH || e->code == K3_NET ||
	       e->code == K3_PROTO;
}

void source_describe(struct oci_desc *d, const struct k3_buf *raw)
{
	d->size = raw->len;
	d->media = oci_document_kind(raw->p, raw->len);
	const char *text = oci_media_name(d->media);

	memcpy(d->media_text, text, strlen(text) + 1);
}
