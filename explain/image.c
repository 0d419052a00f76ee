/* SPDX-License-Identifier: Apache-2.0 */
/* An image as the store has it: record, documents, layers, snapshots. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "explain/facts.h"

/* ---- documents ------------------------------------------------------------------------------ */

/* A document as containerd reads it: one without a record is not there for its namespace. */
static int get(void *arg, const struct oci_desc *want, bool config, struct k3_buf *raw,
	       struct oci_desc *got, struct k3_err *e)
{
	const struct explain_node *n = arg;
	char text[OCI_DIGEST_TEXT_MAX];
	bool have;

	*got = *want;
	oci_digest_format(&want->digest, text);
	if (imp_view_blob(n->view, want, &have, e))
		return -1;
	if (!have)
		return k3_fail(e, K3_NOTFOUND, "the %s %s is not in the store",
			       config                            ? "config"
			       : oci_media_is_index(want->media) ? "index"
								 : "manifest",
			       text);
	return imp_read_document(n->imp, want, raw, e);
}

/*
 * An index whose manifest for the node is not there: the platforms of those that are, if it has
 * any.  An image was then stored for another machine on purpose.
 */
static char *stored_platforms(const struct explain_node *n, const struct k3_buf *body)
{
	__attribute__((cleanup(oci_index_release))) struct oci_index ix = { 0 };
	struct k3_err ignored;
	char *list = NULL;

	if (oci_index_parse(body->p, body->len, &ix, &ignored))
		return NULL;
	for (size_t k = 0; k < ix.count; k++) {
		const struct oci_entry *entry = &ix.entries[k];
		char platform[3 * OCI_PLATFORM_PART_MAX + 3];
		char *before = list;
		bool have = false;

		if (entry->attestation || entry->unusable[0] || !entry->has_platform ||
		    imp_view_blob(n->view, &entry->desc, &have, &ignored) || !have)
			continue;
		oci_platform_format(&entry->platform, platform, sizeof(platform));
		list = before ? k3_xasprintf("%s, %s", before, platform) : k3_xstrdup(platform);
		free(before);
	}
	return list;
}

static void take_document_error(struct explain_image *x, const struct k3_err *why)
{
	const char *offers = strstr(why->msg, "there is: ");

	if (why->code == K3_PLATFORM) {
		x->offers = k3_xstrdup(offers ? offers + strlen("there is: ") : "others");
		return;
	}
	x->document_trouble = k3_xstrdup(why->msg);
	x->document_missing = why->code == K3_NOTFOUND;
}

static int read_documents(const struct explain_node *n, struct explain_image *x,
			  struct oci_resolved *res, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf body = K3_BUF(OCI_DOCUMENT_MAX);
	struct oci_desc got;
	struct k3_err why;
	void *arg = (void *)(uintptr_t)n;

	if (!get(arg, &x->target, false, &body, &got, &why) &&
	    !oci_resolve(&x->target, &body, &n->platform, get, arg, res, &why) &&
	    !oci_process_parse(res->config.p, res->config.len, &x->process, &why)) {
		x->read = true;
		x->platform = res->image.platform;
		x->rank = x->platform.os[0] && x->platform.arch[0]
				  ? oci_platform_rank(&n->platform, &x->platform)
				  : 0;
		return 0;
	}
	if (why.code == K3_CANCELLED || why.code == K3_STORE || why.code == K3_NOMEM) {
		*e = why;
		return -1;
	}
	if (why.code == K3_NOTFOUND && oci_media_is_index(x->target.media) && res->ndocs)
		x->offers = stored_platforms(n, &res->docs[0].body);
	if (!x->offers)
		take_document_error(x, &why);
	return 0;
}

/* ---- layers and snapshots ------------------------------------------------------------------- */

struct seen {
	const char *configured;
	struct explain_image *x;
	bool native;
};

static int take_snapshotter(void *arg, const char *name, struct k3_err *e)
{
	struct seen *s = arg;
	char *before = s->x->snapshotters;

	(void)e;
	s->native = s->native || !strcmp(name, IMP_SNAPSHOTTER);
	if (!strcmp(name, s->configured))
		s->x->for_configured = true;
	s->x->snapshotters = before ? k3_xasprintf("%s, %s", before, name) : k3_xstrdup(name);
	free(before);
	return 0;
}

static int look_at_layers(const struct explain_node *n, const struct oci_image *img,
			  struct explain_image *x, struct k3_err *e)
{
	x->layers = img->nlayers;
	for (size_t k = 0; k < img->nlayers; k++) {
		bool have;

		if (imp_view_blob(n->view, &img->layers[k].blob, &have, e))
			return -1;
		x->missing += !have;
	}
	return 0;
}

static int look_at_snapshots(const struct explain_node *n, const struct oci_image *img,
			     struct explain_image *x, struct k3_err *e)
{
	const struct oci_digest *top = &img->layers[img->nlayers - 1].chain_id;
	const char *configured = explain_snapshotter(n);
	struct seen s = { .configured = configured ? configured : IMP_SNAPSHOTTER, .x = x };
	struct k3_err why;
	uint64_t id = 0;

	if (imp_view_snapshotters(n->view, top, take_snapshotter, &s, e))
		return -1;
	if (imp_view_chain(n->view, top, &id, &x->unpacked, &why)) {
		x->snapshot_trouble = k3_xstrdup(why.msg);
		return 0;
	}
	if (x->unpacked) {
		K3_AUTO_FREE char *below = imp_snapshot_name(id);

		x->tree = k3_xasprintf("%s/%s", n->d.root, below);
	} else if (s.native) {
		x->snapshot_trouble = k3_xstrdup("its records or its directory are gone");
	}
	return 0;
}

/* ---- together ------------------------------------------------------------------------------- */

static void take_record(const struct explain_node *n, const char *name, struct explain_image *x)
{
	for (size_t k = 0; k < n->n; k++) {
		const struct explain_name *r = &n->names[k];

		if (strcmp(r->name, name) != 0)
			continue;
		if (r->trouble) {
			x->record_trouble = k3_xstrdup(r->trouble);
			return;
		}
		x->stored = true;
		x->target = r->target;
		x->managed = r->managed;
	}
	/* Any name of it will do. */
	for (size_t k = 0; k < n->n && x->stored; k++)
		if (!n->names[k].trouble &&
		    oci_digest_eq(&n->names[k].target.digest, &x->target.digest))
			x->pinned = x->pinned || n->names[k].pinned;
}

static int take_space(void *arg, const char *ns, struct k3_err *e)
{
	struct explain_image *x = arg;
	char *before = x->spaces;

	(void)e;
	x->spaces = before ? k3_xasprintf("%s, %s", before, ns) : k3_xstrdup(ns);
	free(before);
	return 0;
}

int explain_image_find(const struct explain_node *n, const struct oci_ref *ref, const char *name,
		       struct explain_image *x, struct k3_err *e)
{
	__attribute__((cleanup(oci_resolved_release))) struct oci_resolved res = { 0 };

	if (!n->view)
		return 0;
	take_record(n, name, x);
	if (x->record_trouble)
		return 0;
	if (!x->stored) {
		explain_find_near(n, ref, name, x);
		return imp_view_elsewhere(n->view, name, take_space, x, e);
	}
	if (read_documents(n, x, &res, e))
		return -1;
	if (!x->read)
		return 0;
	if (!res.image.nlayers) {
		x->unpacked = x->for_configured = true;
		return 0;
	}
	return look_at_layers(n, &res.image, x, e) || look_at_snapshots(n, &res.image, x, e) ? -1
											     : 0;
}

void explain_image_release(struct explain_image *x)
{
	free(x->record_trouble);
	free(x->near_name);
	free(x->near_list);
	free(x->spaces);
	free(x->document_trouble);
	free(x->offers);
	free(x->snapshot_trouble);
	free(x->snapshotters);
	free(x->tree);
	oci_process_release(&x->process);
	*x = (struct explain_image){ 0 };
}
