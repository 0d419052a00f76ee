/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/labels.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "importer/schema.h"

size_t imp_image_blobs(const struct imp_image *im)
{
	return im->ndocs + 1 + im->img->nlayers;
}

const struct oci_desc *imp_image_blob(const struct imp_image *im, size_t k)
{
	if (k < im->ndocs)
		return &im->docs[k].desc;
	if (k == im->ndocs)
		return &im->img->config;
	return &im->img->layers[k - im->ndocs - 1].blob;
}

/* Takes key and value. */
static void add(struct imp_labels *l, char *key, char *value, bool merge)
{
	l->v = k3_xgrow(l->v, l->n, &l->cap, sizeof(*l->v));
	l->v[l->n++] = (struct imp_label){ key, value, merge };
}

static char *digest_text(const struct oci_digest *d)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(d, text);
	return k3_xstrdup(text);
}

/* How many children of each kind a document has had so far. */
struct counts {
	unsigned manifests, configs, layers, others;
};

/* core/images ChildGCLabels and SetChildrenMappedLabels. */
static void add_child(struct imp_labels *l, struct counts *c, const struct oci_desc *child)
{
	enum oci_media m = child->media;
	char *key;

	if (oci_media_is_manifest(m))
		key = k3_xasprintf(IMP_LABEL_GC_CONTENT "m.%u", c->manifests++);
	else if (oci_media_is_layer(m))
		key = k3_xasprintf(IMP_LABEL_GC_CONTENT "l.%u", c->layers++);
	else if (m != OCI_MEDIA_CONFIG && m != OCI_MEDIA_DOCKER_CONFIG)
		key = k3_xasprintf(IMP_LABEL_GC_CONTENT "%u", c->others++);
	else if (c->configs++ == 0)
		key = k3_xstrdup(IMP_LABEL_GC_CONTENT "config");
	else
		key = k3_xasprintf(IMP_LABEL_GC_CONTENT "config%u", c->configs - 1);
	add(l, key, digest_text(&child->digest), false);
}

static int index_children(const struct oci_doc *doc, struct imp_labels *l, struct k3_err *e)
{
	struct oci_index ix = { 0 };
	struct counts c = { 0 };

	if (oci_index_parse(doc->body.p, doc->body.len, &ix, e))
		return -1;
	for (size_t i = 0; i < ix.count; i++)
		add_child(l, &c, &ix.entries[i].desc);
	oci_index_release(&ix);
	return 0;
}

static void manifest_children(const struct oci_image *img, struct imp_labels *l)
{
	struct counts c = { 0 };

	add_child(l, &c, &img->config);
	for (size_t i = 0; i < img->nlayers; i++)
		add_child(l, &c, &img->layers[i].blob);
}

/* The label that names the repository, under the host without its port (Go's URL.Hostname). */
static void add_source(struct imp_labels *l, const struct oci_ref *ref)
{
	const char *host = ref->host;
	size_t n = strcspn(host, ":");

	if (*host == '[')
		n = strcspn(++host, "]");
	add(l, k3_xasprintf(IMP_LABEL_SOURCE "%.*s", (int)n, host), k3_xstrdup(ref->repo), true);
}

int imp_labels_of(const struct imp_image *im, size_t k, struct imp_labels *l, struct k3_err *e)
{
	const struct oci_image *img = im->img;

	if (!im->from_archive)
		add_source(l, im->ref);
	if (k + 1 < im->ndocs)
		return index_children(&im->docs[k], l, e);
	if (k + 1 == im->ndocs)
		manifest_children(img, l);
	else if (k > im->ndocs)
		add(l, k3_xstrdup(IMP_LABEL_UNCOMPRESSED),
		    digest_text(&img->layers[k - im->ndocs - 1].diff_id), false);
	else if (img->nlayers)
		add(l, k3_xstrdup(IMP_LABEL_GC_SNAPSHOT),
		    digest_text(&img->layers[img->nlayers - 1].chain_id), false);
	return 0;
}

void imp_labels_keep(const struct imp_image *im, size_t k, struct imp_labels *l)
{
	/* core/metadata/gc.go: what follows a slash only makes the key another one. */
	add(l, k3_xasprintf(IMP_LABEL_GC_SNAPSHOT "/%zu", k),
	    digest_text(&im->img->layers[k].chain_id), false);
}

void imp_labels_release(struct imp_labels *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].key);
		free(l->v[i].value);
	}
	free(l->v);
	*l = (struct imp_labels){ 0 };
}

char *imp_list_add(const char *old, size_t n, const char *entry)
{
	size_t len = strlen(entry), before = 0;

	for (size_t at = 0; at < n;) {
		const char *comma = memchr(old + at, ',', n - at);
		size_t part = comma ? (size_t)(comma - old) - at : n - at;
		size_t both = part < len ? part : len;
		int order = memcmp(old + at, entry, both);

		if (order == 0 && part == len)
			return NULL;
		at += part + 1;
		if (order < 0 || (order == 0 && part < len))
			before = at < n ? at : n;
	}
	if (before >= n)
		return k3_xasprintf("%.*s%s%s", (int)n, old, n ? "," : "", entry);
	return k3_xasprintf("%.*s%s,%.*s", (int)before, old, entry, (int)(n - before),
			    old + before);
}
