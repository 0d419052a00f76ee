/* SPDX-License-Identifier: Apache-2.0 */
/* An image's records, labels, names, documents and files. */
#include "importer/check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "importer/labels.h"
#include "importer/root.h"

#define TEXT_MAX 512

/* ---- telling ------------------------------------------------------------------------- */

const char *imp_trouble_name(enum imp_trouble kind)
{
	static const char *const names[] = {
		[IMP_DATABASE] = "database", [IMP_IMAGE] = "image", [IMP_NAME] = "name",
		[IMP_BLOB] = "blob",         [IMP_LABEL] = "label", [IMP_SNAPSHOT] = "snapshot",
		[IMP_TREE] = "tree",         [IMP_NOTE] = "note",   [IMP_LEFTOVER] = "leftover",
	};

	return names[kind];
}

static int tell(struct check *c, const struct imp_finding *f, struct k3_err *e)
{
	return c->sink->fn(c->sink->arg, f, e);
}

int check_tell(struct check *c, enum imp_trouble kind, const struct oci_digest *d, const char *path,
	       struct k3_err *e, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return tell(c,
		    &(struct imp_finding){ .kind = kind, .path = path, .text = text, .digest = d },
		    e);
}

char *check_record_path(const char *ns, const char *what, const char *key)
{
	return k3_xasprintf("meta.db/v1/%s/%s/%s", ns, what, key);
}

char *imp_blob_name(const struct oci_digest *d)
{
	char path[IMP_PATH_MAX];

	imp_blob_path(d, path);
	return k3_xstrdup(path);
}

char *imp_snapshot_name(uint64_t id)
{
	char path[IMP_PATH_MAX];

	imp_snapshot_path(id, path);
	return k3_xstrdup(path);
}

void imp_checked_release(struct imp_checked *c)
{
	for (size_t k = 0; k < c->n; k++)
		oci_image_release(&c->variants[k].img);
	free(c->variants);
	free(c->layers);
	*c = (struct imp_checked){ 0 };
}

static int note(struct check *c, const char *path, const char *text, struct k3_err *e)
{
	c->out->noted = true;
	return check_tell(c, IMP_NOTE, NULL, path, e, "%s", text);
}

/* ---- labels -------------------------------------------------------------------------- */

int check_refers(struct bolt_bucket *rec, const char *prefix, const char *value, bool *yes,
		 struct k3_err *e)
{
	struct bolt_iter it = { 0 };
	struct bolt_bucket *labels;
	struct bolt_item item;
	size_t n = strlen(prefix);
	bool more = true;

	*yes = false;
	if (imp_sub(rec, BOLT_STR("labels"), &labels, e))
		return -1;
	while (labels && !*yes) {
		if (bolt_next(labels, &it, &item, &more, e))
			return -1;
		if (!more)
			break;
		const char *key = item.key.p;

		if (item.is_bucket || item.key.n < n || memcmp(key, prefix, n) != 0)
			continue;
		if (item.key.n == n || key[n] == '.' || key[n] == '/')
			*yes = imp_val_eq(item.val, BOLT_STR(value));
	}
	return 0;
}

static int get_label(struct bolt_bucket *rec, const char *key, struct bolt_val *out,
		     struct k3_err *e)
{
	struct bolt_bucket *labels;

	*out = (struct bolt_val){ 0 };
	if (imp_sub(rec, BOLT_STR("labels"), &labels, e))
		return -1;
	return labels ? bolt_get(labels, BOLT_STR(key), out, e) : 0;
}

static bool starts(struct bolt_val v, const char *prefix)
{
	size_t n = strlen(prefix);

	return v.n > n && !memcmp(v.p, prefix, n);
}

int imp_view_sources(struct imp_view *v, const struct oci_digest *d, char ***out, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];
	struct bolt_bucket *rec = NULL, *labels = NULL;
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true;
	size_t n = 0, cap = 0;
	char **list = k3_xgrow(NULL, 0, &cap, sizeof(char *));

	*out = list;
	list[0] = NULL;
	oci_digest_format(d, text);
	if ((v->blobs && imp_sub(v->blobs, BOLT_STR(text), &rec, e)) ||
	    (rec && imp_sub(rec, BOLT_STR("labels"), &labels, e)))
		return -1;
	while (labels) {
		size_t skip = strlen(IMP_LABEL_SOURCE);

		if (bolt_next(labels, &it, &item, &more, e))
			return -1;
		if (!more)
			break;
		if (item.is_bucket || !starts(item.key, IMP_LABEL_SOURCE))
			continue;
		K3_AUTO_FREE char *repos = k3_xstrndup(item.val.p, item.val.n);
		char *save = NULL;

		for (char *r = strtok_r(repos, ",", &save); r; r = strtok_r(NULL, ",", &save)) {
			*out = list = k3_xgrow(list, n + 1, &cap, sizeof(char *));
			list[n++] = k3_xasprintf("%.*s/%s", (int)(item.key.n - skip),
						 (const char *)item.key.p + skip, r);
			list[n] = NULL;
		}
	}
	return 0;
}

/* ---- blobs --------------------------------------------------------------------------- */

/* What the store has of one blob. */
struct blob_state {
	struct bolt_bucket *rec;
	bool file, whole; /* there; of the right size, with a record that says so */
	char text[OCI_DIGEST_TEXT_MAX];
};

static int find_blob(struct check *c, const struct oci_desc *d, struct blob_state *b,
		     struct stat *st, struct k3_err *e)
{
	char path[IMP_PATH_MAX];

	*b = (struct blob_state){ 0 };
	oci_digest_format(&d->digest, b->text);
	if (c->v->blobs && imp_sub(c->v->blobs, BOLT_STR(b->text), &b->rec, e))
		return -1;
	imp_blob_path(&d->digest, path);
	b->file = !fstatat(c->v->i->rootfd, path, st, AT_SYMLINK_NOFOLLOW);
	return 0;
}

static int check_record(struct check *c, const struct oci_desc *d, const struct blob_state *b,
			bool fits, bool *good, struct k3_err *e)
{
	K3_AUTO_FREE char *path = check_record_path(c->v->i->ns, "content/blob", b->text);
	struct imp_finding f = {
		.kind = IMP_BLOB, .path = path, .digest = &d->digest, .unrecorded = fits
	};
	struct bolt_val val;
	char text[TEXT_MAX];
	int64_t size;

	*good = false;
	if (!b->rec) {
		f.text = "there is no such record";
		return tell(c, &f, e);
	}
	if (bolt_get(b->rec, BOLT_STR("size"), &val, e))
		return -1;
	*good = imp_get_varint(val, &size) && (uint64_t)size == d->size;
	if (*good)
		return 0;
	snprintf(text, sizeof(text), "the record's size is not %" PRIu64, d->size);
	f.text = text;
	return tell(c, &f, e);
}

/* A blob that must be there. */
static int check_blob(struct check *c, const struct oci_desc *d, struct blob_state *b,
		      struct k3_err *e)
{
	char path[IMP_PATH_MAX];
	bool fits, recorded;
	struct stat st;

	if (find_blob(c, d, b, &st, e))
		return -1;
	fits = b->file && S_ISREG(st.st_mode) && (uint64_t)st.st_size == d->size;
	if (check_record(c, d, b, fits, &recorded, e))
		return -1;
	b->whole = fits && recorded;
	if (fits)
		return 0;
	imp_blob_path(&d->digest, path);
	if (!b->file)
		return check_tell(c, IMP_BLOB, &d->digest, path, e, "the file is missing");
	if (!S_ISREG(st.st_mode))
		return check_tell(c, IMP_BLOB, &d->digest, path, e, "is no regular file");
	return check_tell(c, IMP_BLOB, &d->digest, path, e, "has %lld bytes instead of %" PRIu64,
			  (long long)st.st_size, d->size);
}

/* Reads and hashes a document; *body stays empty when it is not there or not right. */
static int read_document(struct check *c, const struct oci_desc *d, struct k3_buf *body, bool *good,
			 struct k3_err *e)
{
	char path[IMP_PATH_MAX];
	struct k3_err why;

	*good = !imp_read_document(c->v->i, d, body, &why);
	if (*good || why.code == K3_NOTFOUND)
		return 0;
	imp_blob_path(&d->digest, path);
	if (why.code != K3_DIGEST)
		return check_tell(c, IMP_BLOB, &d->digest, path, e, "cannot be read: %s", why.msg);
	struct stat st;

	/* One of the wrong size has been told already. */
	if (!fstatat(c->v->i->rootfd, path, &st, 0) && (uint64_t)st.st_size != d->size)
		return 0;
	return check_tell(c, IMP_BLOB, &d->digest, path, e, "the bytes have another digest");
}

/* The label by which `rec` keeps a child that the store has. */
static int check_child_label(struct check *c, const struct blob_state *holder,
			     const struct oci_desc *child, const char *key, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];
	bool refers;

	if (!holder->rec)
		return 0;
	oci_digest_format(&child->digest, text);
	if (check_refers(holder->rec, CHECK_GC_CONTENT, text, &refers, e))
		return -1;
	if (refers)
		return 0;
	K3_AUTO_FREE char *path = check_record_path(c->v->i->ns, "content/blob", holder->text);

	return check_tell(c, IMP_LABEL, NULL, path, e,
			  "no label " CHECK_GC_CONTENT
			  ".%s for %s: containerd will delete that blob",
			  key, text);
}

/* ---- layers -------------------------------------------------------------------------- */

static bool add_layer(struct imp_checked *out, const struct oci_desc *d)
{
	for (size_t k = 0; k < out->nlayers; k++)
		if (oci_digest_eq(&out->layers[k].digest, &d->digest))
			return false;
	out->layers = k3_xgrow(out->layers, out->nlayers, &out->layers_cap, sizeof(*out->layers));
	out->layers[out->nlayers++] = *d;
	return true;
}

static int check_diff_id(struct check *c, const struct oci_layer *l, const struct blob_state *b,
			 struct k3_err *e)
{
	char want[OCI_DIGEST_TEXT_MAX];
	struct bolt_val val;

	if (!b->rec)
		return 0;
	if (get_label(b->rec, IMP_LABEL_UNCOMPRESSED, &val, e))
		return -1;
	oci_digest_format(&l->diff_id, want);
	/* containerd sets it when it unpacks the blob, and not before. */
	if (!val.p || imp_val_eq(val, BOLT_STR(want)))
		return 0;
	K3_AUTO_FREE char *path = check_record_path(c->v->i->ns, "content/blob", b->text);

	return check_tell(c, IMP_LABEL, NULL, path, e, "label " IMP_LABEL_UNCOMPRESSED " is not %s",
			  want);
}

/* How many layers the manifest's record keeps. */
static int count_kept(const struct blob_state *manifest, const struct oci_image *img, size_t *kept,
		      struct k3_err *e)
{
	*kept = 0;
	for (size_t k = 0; manifest->rec && k < img->nlayers; k++) {
		char text[OCI_DIGEST_TEXT_MAX];
		bool refers;

		oci_digest_format(&img->layers[k].blob.digest, text);
		if (check_refers(manifest->rec, CHECK_GC_CONTENT, text, &refers, e))
			return -1;
		*kept += refers;
	}
	return 0;
}

/*
 * A layer of which there is neither record nor file.  containerd does not fetch one whose
 * snapshot it has, and deletes those that it has unpacked when it is told to.
 */
static int check_absent(struct check *c, const struct imp_variant *va, size_t k, bool kept,
			const struct blob_state *b, struct k3_err *e)
{
	K3_AUTO_FREE char *path = check_record_path(c->v->i->ns, "content/blob", b->text);
	const struct oci_layer *l = &va->img.layers[k];
	char chain[OCI_DIGEST_TEXT_MAX];
	struct bolt_bucket *rec = NULL;

	oci_digest_format(&l->chain_id, chain);
	if (c->v->chains && imp_sub(c->v->chains, BOLT_STR(chain), &rec, e))
		return -1;
	if (!va->wanted || (va->unpacked && (rec || !kept)))
		return note(c, path, "the layer is not in the store", e);
	return check_tell(c, IMP_BLOB, &l->blob.digest, path, e, "there is no such record");
}

static int check_layers(struct check *c, const struct imp_variant *va,
			const struct blob_state *manifest, const char *manifest_path,
			struct k3_err *e)
{
	const struct oci_image *img = &va->img;
	struct blob_state b;
	struct stat st;
	bool discarded;
	size_t kept;

	if (count_kept(manifest, img, &kept, e))
		return -1;
	/* discard_unpacked_layers: left to the collector on purpose. */
	discarded = img->nlayers && !kept && va->unpacked;
	if (discarded && note(c, manifest_path, "its layers are left to the collector", e))
		return -1;
	for (size_t k = 0; k < img->nlayers; k++) {
		const struct oci_desc *d = &img->layers[k].blob;
		char key[32];

		if (find_blob(c, d, &b, &st, e))
			return -1;
		if (!b.rec && !b.file) {
			if (check_absent(c, va, k, !discarded, &b, e))
				return -1;
			continue;
		}
		snprintf(key, sizeof(key), "l.%zu", k);
		bool fits = b.file && S_ISREG(st.st_mode) && (uint64_t)st.st_size == d->size;

		if (fits ? !add_layer(c->out, d) : false)
			continue;
		if (check_blob(c, d, &b, e) || check_diff_id(c, &img->layers[k], &b, e) ||
		    (!discarded && check_child_label(c, manifest, d, key, e)))
			return -1;
	}
	return 0;
}

/* Whether this document has not been looked at yet. */
static bool is_new(struct check *c, const struct oci_digest *d)
{
	struct imp_digests *seen = &c->seen;

	for (size_t k = 0; k < seen->n; k++)
		if (oci_digest_eq(&seen->v[k], d))
			return false;
	seen->v = k3_xgrow(seen->v, seen->n, &seen->cap, sizeof(*seen->v));
	seen->v[seen->n++] = *d;
	return true;
}

/* ---- manifests and indexes ------------------------------------------------------------ */

static int check_config(struct check *c, struct imp_variant *va, const struct k3_buf *manifest,
			const struct oci_desc *config, struct blob_state *b, bool *good,
			struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf body = K3_BUF(OCI_DOCUMENT_MAX);
	char path[IMP_PATH_MAX];
	struct k3_err why;

	*good = false;
	if (check_blob(c, config, b, e) || read_document(c, config, &body, good, e))
		return -1;
	if (!*good)
		return 0;
	*good = !oci_image_parse(manifest->p, manifest->len, body.p, body.len, &va->img, &why);
	if (*good)
		return 0;
	imp_blob_path(&config->digest, path);
	return check_tell(c, IMP_IMAGE, NULL, path, e, "%s", why.msg);
}

static int check_variant(struct check *c, const struct k3_buf *body, const struct oci_desc *config,
			 const struct blob_state *manifest, struct k3_err *e)
{
	K3_AUTO_FREE char *path = check_record_path(c->v->i->ns, "content/blob", manifest->text);
	struct imp_variant va = { .wanted = true };
	char top[OCI_DIGEST_TEXT_MAX] = "";
	struct blob_state b;
	bool good, labelled = false;

	if (check_child_label(c, manifest, config, "config", e) ||
	    check_config(c, &va, body, config, &b, &good, e))
		return -1;
	if (!good)
		return 0;
	va.wanted = !va.img.platform.os[0] || !va.img.platform.arch[0] ||
		    oci_platform_rank(c->want, &va.img.platform) >= 0;
	/* The list owns it, whatever happens from here on. */
	c->out->variants = k3_xgrow(c->out->variants, c->out->n, &c->out->cap,
				    sizeof(*c->out->variants));
	c->out->variants[c->out->n++] = va;
	struct imp_variant *kept = &c->out->variants[c->out->n - 1];

	if (kept->img.nlayers)
		oci_digest_format(&kept->img.layers[kept->img.nlayers - 1].chain_id, top);
	if (*top && b.rec && check_refers(b.rec, IMP_LABEL_GC_SNAPSHOT, top, &labelled, e))
		return -1;
	K3_AUTO_FREE char *holder = check_record_path(c->v->i->ns, "content/blob", b.text);

	return check_snapshots(c, kept, labelled, holder, e) ||
			       check_layers(c, kept, manifest, path, e)
		       ? -1
		       : 0;
}

static int check_manifest(struct check *c, const struct oci_desc *d, const struct oci_entry *entry,
			  struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf body = K3_BUF(OCI_DOCUMENT_MAX);
	struct oci_desc config;
	struct blob_state b, of_config;
	char path[IMP_PATH_MAX];
	struct k3_err why;
	struct stat st;
	bool good;

	if (check_blob(c, d, &b, e) || read_document(c, d, &body, &good, e))
		return -1;
	if (!good)
		return 0;
	imp_blob_path(&d->digest, path);
	if (oci_manifest_config(body.p, body.len, &config, &why)) {
		/* An artifact beside the images is none of our business. */
		if (entry && why.code == K3_UNSUPPORTED)
			return 0;
		return check_tell(c, IMP_IMAGE, NULL, path, e, "%s", why.msg);
	}
	if (find_blob(c, &config, &of_config, &st, e))
		return -1;
	if (entry && entry->has_platform && !of_config.rec &&
	    oci_platform_rank(c->want, &entry->platform) < 0)
		return note(c, path, "is for another platform and not complete", e);
	return check_variant(c, &body, &config, &b, e);
}

/* An index and how deep it lies. */
struct level {
	const struct oci_desc *desc;
	unsigned depth;
	size_t manifests; /* of all levels, that the store has */
};

static int check_index(struct check *c, struct level *l, struct k3_err *e);

static int check_entry(struct check *c, struct level *l, const struct blob_state *holder,
		       const struct oci_entry *entry, const char *key, struct k3_err *e)
{
	struct blob_state b;
	struct stat st;

	if (entry->unusable[0])
		return 0;
	if (find_blob(c, &entry->desc, &b, &st, e))
		return -1;
	/* Of other platforms nothing need be here. */
	if (!b.rec)
		return 0;
	if (check_child_label(c, holder, &entry->desc, key, e))
		return -1;
	if (oci_media_is_index(entry->desc.media)) {
		struct level below = { &entry->desc, l->depth + 1, 0 };
		bool go = below.depth < OCI_INDEX_DEPTH_MAX && is_new(c, &entry->desc.digest);
		int rc = go ? check_index(c, &below, e) : 0;

		l->manifests += below.manifests;
		return rc;
	}
	if (entry->attestation || !oci_media_is_manifest(entry->desc.media))
		return check_blob(c, &entry->desc, &b, e);
	l->manifests++;
	return is_new(c, &entry->desc.digest) ? check_manifest(c, &entry->desc, entry, e) : 0;
}

/* The index is all that the store has: what should be there is this platform's manifest. */
static int tell_no_manifest(struct check *c, const struct oci_index *ix, const char *path,
			    struct k3_err *e)
{
	K3_AUTO_FREE size_t *order = k3_xcalloc(ix->count + 1, sizeof(*order));
	char text[OCI_DIGEST_TEXT_MAX];
	size_t n;

	oci_index_rank(ix, c->want, order, &n);
	if (!n)
		return note(c, path, "no image of this index is in the store", e);
	const struct oci_entry *best = &ix->entries[order[0]];

	oci_digest_format(&best->desc.digest, text);
	K3_AUTO_FREE char *record = check_record_path(c->v->i->ns, "content/blob", text);

	return check_tell(c, IMP_BLOB, &best->desc.digest, record, e, "there is no such record");
}

static int check_entries(struct check *c, struct level *l, const struct blob_state *holder,
			 const struct oci_index *ix, const char *path, struct k3_err *e)
{
	size_t manifests = 0, others = 0;
	char key[32];

	for (size_t k = 0; k < ix->count; k++) {
		if (oci_media_is_manifest(ix->entries[k].desc.media))
			snprintf(key, sizeof(key), "m.%zu", manifests++);
		else
			snprintf(key, sizeof(key), "%zu", others++);
		if (check_entry(c, l, holder, &ix->entries[k], key, e))
			return -1;
	}
	if (!l->manifests && !l->depth)
		return tell_no_manifest(c, ix, path, e);
	return 0;
}

static int check_index(struct check *c, struct level *l, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf body = K3_BUF(OCI_DOCUMENT_MAX);
	struct oci_index ix = { 0 };
	struct blob_state b;
	char path[IMP_PATH_MAX];
	struct k3_err why;
	bool good;
	int rc;

	if (check_blob(c, l->desc, &b, e) || read_document(c, l->desc, &body, &good, e))
		return -1;
	if (!good)
		return 0;
	imp_blob_path(&l->desc->digest, path);
	if (oci_index_parse(body.p, body.len, &ix, &why))
		return check_tell(c, IMP_IMAGE, NULL, path, e, "%s", why.msg);
	rc = check_entries(c, l, &b, &ix, path, e);
	oci_index_release(&ix);
	return rc;
}

/* ---- names --------------------------------------------------------------------------- */

static bool is_config_of(const struct imp_checked *out, const struct oci_digest *d)
{
	for (size_t k = 0; k < out->n; k++)
		if (oci_digest_eq(&out->variants[k].img.config.digest, d))
			return true;
	return false;
}

static int check_one_name(struct check *c, const struct imp_names *im, const char *name,
			  struct k3_err *e)
{
	const char *at = strrchr(name, '@');
	struct oci_digest d;
	struct k3_err why;

	if (oci_digest_parse(at ? at + 1 : name, &d, &why))
		return 0;
	/* Without a config that can be read nobody knows. */
	if (at ? oci_digest_eq(&d, &im->target.digest) : !c->out->n || is_config_of(c->out, &d))
		return 0;
	/* The target itself may be named so by who does not know CRI. */
	if (!at && oci_digest_eq(&d, &im->target.digest))
		return 0;
	K3_AUTO_FREE char *path = check_record_path(c->v->i->ns, "images", name);

	return check_tell(c, IMP_NAME, NULL, path, e, "the record leads to another image");
}

/* CRI adds the image's ID to a record that it finds without "managed", and never later. */
static int check_id(struct check *c, const struct imp_variant *va, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];
	struct bolt_bucket *rec = NULL;

	if (!va->wanted)
		return 0;
	oci_digest_format(&va->img.config.digest, text);
	if (c->v->images && imp_sub(c->v->images, BOLT_STR(text), &rec, e))
		return -1;
	if (rec)
		return 0;
	K3_AUTO_FREE char *path = check_record_path(c->v->i->ns, "images", text);

	return check_tell(c, IMP_NAME, NULL, path, e, "the name of the image's ID is missing");
}

static int check_names(struct check *c, const struct imp_names *im, struct k3_err *e)
{
	for (size_t k = 0; k < im->n; k++)
		if (check_one_name(c, im, im->v[k], e))
			return -1;
	for (size_t k = 0; im->managed && k < c->out->n; k++)
		if (check_id(c, &c->out->variants[k], e))
			return -1;
	return 0;
}

int imp_check_image(struct imp_view *v, const struct imp_names *im, const struct oci_platform *want,
		    struct imp_checked *out, const struct imp_sink *s, struct k3_err *e)
{
	struct check c = { .v = v, .sink = s, .want = want, .out = out };
	struct level top = { .desc = &im->target };
	int rc;

	if (oci_media_is_index(im->target.media)) {
		rc = check_index(&c, &top, e);
	} else if (oci_media_is_manifest(im->target.media)) {
		rc = check_manifest(&c, &im->target, NULL, e);
	} else {
		K3_AUTO_FREE char *path = check_record_path(v->i->ns, "images",
							    im->n ? im->v[0] : "");

		rc = check_tell(&c, IMP_IMAGE, NULL, path, e, "the target is no image, but \"%s\"",
				im->target.media_text);
	}
	rc = rc || check_names(&c, im, e) ? -1 : 0;
	imp_digests_release(&c.seen);
	return rc;
}
