/* SPDX-License-Identifier: Apache-2.0 */
/* From a target document over indexes to the platform's manifest and config. */
#include <stdlib.h>

#include "base/mem.h"
#include "oci/oci.h"

struct walk {
	const struct oci_platform *want;
	oci_get_fn *get;
	void *arg;
	struct oci_resolved *out;
	unsigned lookups;
};

static int no_platform(const struct walk *w, const char *offers, struct k3_err *e)
{
	char want[3 * OCI_PLATFORM_PART_MAX + 3];

	oci_platform_format(w->want, want, sizeof(want));
	k3_fail(e, K3_PLATFORM, "no image for platform %s; there is: %s", want,
		*offers ? offers : "nothing");
	return k3_hint(e, "choose one of them with --platform");
}

static int look_up(struct walk *w, const struct oci_desc *want, bool config, struct k3_buf *raw,
		   struct oci_desc *got, struct k3_err *e)
{
	if (w->lookups++ == OCI_LOOKUPS_MAX)
		return k3_fail(e, K3_LIMIT, "more than %u documents had to be read",
			       OCI_LOOKUPS_MAX);
	if (want->size > OCI_DOCUMENT_MAX)
		return k3_fail(e, K3_LIMIT, "a document of %llu bytes; the limit is %u",
			       (unsigned long long)want->size, OCI_DOCUMENT_MAX);
	return w->get(w->arg, want, config, raw, got, e);
}

/* Takes back the documents above the first n, and what was read of the image. */
static void forget(struct oci_resolved *res, size_t n)
{
	while (res->ndocs > n)
		k3_buf_release(&res->docs[--res->ndocs].body);
	k3_buf_release(&res->config);
	oci_image_release(&res->image);
	res->image = (struct oci_image){ 0 };
}

/* An image whose index entry does not say its platform says it in the config only. */
static int check_platform(const struct walk *w, struct k3_err *e)
{
	const struct oci_platform *have = &w->out->image.platform;
	char offers[3 * OCI_PLATFORM_PART_MAX + 3];

	if (!have->os[0] || !have->arch[0] || oci_platform_rank(w->want, have) >= 0)
		return 0;
	oci_platform_format(have, offers, sizeof(offers));
	return no_platform(w, offers, e);
}

static int read_image(struct walk *w, const struct oci_doc *doc, bool check, struct k3_err *e)
{
	struct oci_resolved *res = w->out;
	struct oci_desc want, got;

	if (oci_manifest_config(doc->body.p, doc->body.len, &want, e))
		return k3_wrap(e, "manifest");
	res->config = K3_BUF(OCI_DOCUMENT_MAX);
	if (look_up(w, &want, true, &res->config, &got, e))
		return k3_wrap(e, "config");
	if (oci_image_parse(doc->body.p, doc->body.len, res->config.p, res->config.len, &res->image,
			    e))
		return -1;
	return check ? check_platform(w, e) : 0;
}

static int enter(struct walk *w, const struct oci_desc *desc, struct k3_buf *body, bool check,
		 struct k3_err *e);

/* Recursion is as deep as indexes are nested: OCI_DOCS_MAX at most. */
static int enter_index(struct walk *w, const struct oci_doc *doc, struct k3_err *e)
{
	__attribute__((cleanup(oci_index_release))) struct oci_index ix = { 0 };
	size_t n = 0, level = w->out->ndocs;
	char offers[256];

	if (oci_index_parse(doc->body.p, doc->body.len, &ix, e))
		return -1;
	K3_AUTO_FREE size_t *order = k3_xcalloc(ix.count, sizeof(*order));

	oci_index_rank(&ix, w->want, order, &n);
	for (size_t i = 0; i < n; i++) {
		const struct oci_entry *entry = &ix.entries[order[i]];
		K3_AUTO_BUF struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
		struct oci_desc got;

		if (look_up(w, &entry->desc, false, &raw, &got, e))
			return -1;
		if (!enter(w, &got, &raw, !entry->has_platform, e))
			return 0;
		if (e->code != K3_PLATFORM)
			return -1;
		forget(w->out, level);
	}
	const struct oci_entry *blocked = oci_index_blocked(&ix, w->want);

	if (blocked)
		return k3_fail(e, K3_UNSUPPORTED, "the index entry for this platform: %s",
			       blocked->unusable);
	oci_index_offers(&ix, offers, sizeof(offers));
	return no_platform(w, offers, e);
}

static int enter(struct walk *w, const struct oci_desc *desc, struct k3_buf *body, bool check,
		 struct k3_err *e)
{
	struct oci_resolved *res = w->out;
	bool index = oci_media_is_index(desc->media);

	if (!index && !oci_media_is_manifest(desc->media))
		return k3_fail(e, K3_UNSUPPORTED, "media type \"%s\" is no image manifest or index",
			       desc->media_text);
	if (res->ndocs == OCI_DOCS_MAX)
		return k3_fail(e, K3_LIMIT, "more than %u indexes inside one another",
			       OCI_INDEX_DEPTH_MAX);
	struct oci_doc *doc = &res->docs[res->ndocs++];

	*doc = (struct oci_doc){ *desc, k3_buf_steal(body) };
	return index ? enter_index(w, doc, e) : read_image(w, doc, check, e);
}

int oci_resolve(const struct oci_desc *target, struct k3_buf *body, const struct oci_platform *want,
		oci_get_fn *get, void *arg, struct oci_resolved *out, struct k3_err *e)
{
	struct walk w = { .want = want, .get = get, .arg = arg, .out = out };

	*out = (struct oci_resolved){ 0 };
	return enter(&w, target, body, true, e);
}

void oci_resolved_release(struct oci_resolved *res)
{
	forget(res, 0);
}
