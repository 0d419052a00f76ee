/* SPDX-License-Identifier: Apache-2.0 */
/* index.json of an OCI layout -> images and their names, as containerd's import finds them. */
#include <string.h>

#include "archive/state.h"
#include "base/json.h"
#include "base/mem.h"

#define WHOLE_NAME "io.containerd.image.name"
#define REF_NAME "org.opencontainers.image.ref.name"

/* CRI also records an image under "sha256:<its ID>", and an export of all names has that too. */
static bool is_id(const char *name)
{
	struct oci_digest unused;
	struct k3_err ignored;

	return !oci_digest_parse(name, &unused, &ignored);
}

static const char *annotation(const struct k3_json *entry, const char *key)
{
	const char *v = k3_json_str(k3_json_get(k3_json_get(entry, "annotations"), key));

	return v && *v ? v : NULL;
}

static int add(struct archive *a, const struct oci_entry *en, const struct k3_json *v,
	       struct k3_err *e)
{
	struct archive_image im = { .target = en->desc,
				    .platform = en->platform,
				    .has_platform = en->has_platform };
	const char *name = annotation(v, WHOLE_NAME), *ref = annotation(v, REF_NAME);

	/* A reference name may be a whole one or only the tag: ctr tells them apart so. */
	if (!name && ref && strpbrk(ref, "/:@"))
		name = ref;
	if (name && is_id(name))
		return archive_add_image(a, NULL, NULL, &im, e);
	return archive_add_image(a, name, name ? NULL : ref, &im, e);
}

static bool has_name(const struct archive_image *im)
{
	return im->name || im->tag;
}

static bool named_elsewhere(const struct archive *a, const struct archive_image *im)
{
	for (size_t k = 0; k < a->nimages; k++)
		if (has_name(&a->images[k]) &&
		    oci_digest_eq(&a->images[k].target.digest, &im->target.digest))
			return true;
	return false;
}

/* An entry without a name says nothing new of an image that has one. */
static void drop_nameless(struct archive *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->nimages; i++) {
		const struct archive_image im = a->images[i];

		if (!has_name(&im) && named_elsewhere(a, &im))
			continue;
		/* What moves down is looked at from its new place, and no longer here. */
		a->images[i] = (struct archive_image){ 0 };
		a->images[n++] = im;
	}
	a->nimages = n;
}

static int read_entries(struct archive *a, const struct k3_buf *text, struct k3_err *e)
{
	__attribute__((cleanup(oci_index_release))) struct oci_index ix = { 0 };
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	const char *why = NULL;

	if (oci_index_parse(text->p, text->len, &ix, e) ||
	    k3_json_parse(text->p, text->len, &doc, e))
		return k3_wrap(e, "%s: index.json", a->what);
	const struct k3_json *list = k3_json_get(k3_json_root(doc), "manifests");

	for (size_t i = 0; i < ix.count; i++) {
		const struct oci_entry *en = &ix.entries[i];

		if (en->attestation)
			continue;
		if (en->unusable[0] ||
		    (!oci_media_is_index(en->desc.media) && !oci_media_is_manifest(en->desc.media)))
			why = en->unusable[0] ? en->unusable : en->desc.media_text;
		else if (add(a, en, k3_json_at(list, i), e))
			return -1;
	}
	if (!a->nimages && why)
		return k3_fail(e, K3_UNSUPPORTED,
			       "%s: index.json has no image that can be used: %s", a->what, why);
	drop_nameless(a);
	return 0;
}

int index_read(struct archive *a, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(OCI_DOCUMENT_MAX);
	AUTO_SPAN struct span s = { 0 };
	bool found;

	if (span_find(a, "index.json", &found, &s, e))
		return -1;
	if (!found) {
		k3_fail(e, K3_FORMAT, "%s: it has no index.json", a->what);
		return k3_hint(e, ARCHIVE_HINT_DAMAGED);
	}
	return span_text(a, &s, &text, e) || read_entries(a, &text, e) ? -1 : 0;
}
