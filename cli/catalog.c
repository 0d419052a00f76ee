/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define PREFIX_MIN 4  /* hex digits that name an image by the start of its ID */
#define NEAR_SHOWN 3u /* names in a hint */
#define CANDIDATES_SHOWN 4u

void catalog_rows(struct catalog_where *where, struct opt rows[CATALOG_ROWS])
{
	where->ns = "k8s.io";
	rows[0] = (struct opt){ "root",
				0,
				OPT_STR,
				"DIR",
				"containerd's root (default: the one of k3s if\nk3s is installed, "
				"else containerd's)",
				&where->root };
	rows[1] = (struct opt){
		"namespace", 'n', OPT_STR, "NAME", "containerd namespace (default: k8s.io)",
		&where->ns
	};
	rows[2] = (struct opt){ 0 };
}

char *catalog_choose_root(const struct catalog_where *where)
{
	return where->root ? k3_xstrdup(where->root) : imp_default_root();
}

/* ---- records to images --------------------------------------------------------------- */

struct record {
	struct oci_desc target;
	char *name;
	bool pinned, managed;
	int64_t created;
	size_t order;
};

struct records {
	struct record *v;
	size_t n, cap;
};

/* An image under the order of its first record. */
struct placed {
	struct catalog_image image;
	size_t order;
};

static int add_record(void *arg, const struct imp_record *r, struct k3_err *e)
{
	struct records *all = arg;

	(void)e;
	all->v = k3_xgrow(all->v, all->n, &all->cap, sizeof(*all->v));
	all->v[all->n] = (struct record){ r->target,  k3_xstrdup(r->name), r->pinned,
					  r->managed, r->created,          all->n };
	all->n++;
	return 0;
}

static int by_target(const void *a, const void *b)
{
	const struct record *x = a, *y = b;
	int order = memcmp(&x->target.digest, &y->target.digest, sizeof(x->target.digest));

	return order ? order : (x->order > y->order) - (x->order < y->order);
}

static int by_order(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	return (x->order > y->order) - (x->order < y->order);
}

/* Records of one target lie side by side; takes their names. */
static size_t group(struct records *all, struct placed *out)
{
	size_t n = 0;

	for (size_t k = 0, end; k < all->n; k = end) {
		const struct record *first = &all->v[k];
		struct catalog_image *im = &out[n].image;

		out[n++].order = first->order;
		*im = (struct catalog_image){ .target = first->target, .created = first->created };
		for (end = k; end < all->n &&
			      oci_digest_eq(&all->v[end].target.digest, &first->target.digest);
		     end++) {
			im->pinned = im->pinned || all->v[end].pinned;
			im->managed = im->managed || all->v[end].managed;
		}
		im->names = k3_xcalloc(end - k, sizeof(char *));
		for (; im->nnames < end - k; im->nnames++)
			im->names[im->nnames] = all->v[k + im->nnames].name;
	}
	return n;
}

static void group_all(struct catalog *c, struct records *all)
{
	K3_AUTO_FREE struct placed *found = k3_xcalloc(all->n, sizeof(*found));

	if (all->n)
		qsort(all->v, all->n, sizeof(*all->v), by_target);
	c->n = group(all, found);
	if (c->n)
		qsort(found, c->n, sizeof(*found), by_order);
	c->v = k3_xcalloc(c->n, sizeof(*c->v));
	for (size_t k = 0; k < c->n; k++)
		c->v[k] = found[k].image;
}

int catalog_open(const struct catalog_where *where, struct k3_cancel *cancel, struct catalog *out,
		 struct k3_err *e)
{
	struct imp_opts io = { .root = where->root, .ns = where->ns, .cancel = cancel };
	struct records all = { 0 };

	*out = (struct catalog){ .root = where->root, .ns = where->ns };
	int rc = imp_open(&io, &out->imp, e) || imp_view_open(out->imp, &out->view, e) ||
				 imp_view_images(out->view, add_record, &all, e)
			 ? -1
			 : 0;

	group_all(out, &all);
	free(all.v);
	return rc;
}

void catalog_unlock(struct catalog *c)
{
	imp_view_close(c->view);
	c->view = NULL;
}

void catalog_close(struct catalog *c)
{
	for (size_t i = 0; i < c->n; i++) {
		for (size_t k = 0; k < c->v[i].nnames; k++)
			free(c->v[i].names[k]);
		free(c->v[i].names);
	}
	free(c->v);
	catalog_unlock(c);
	imp_close(c->imp, true);
	*c = (struct catalog){ 0 };
}

/* ---- documents ----------------------------------------------------------------------- */

static int get(void *arg, const struct oci_desc *want, bool config, struct k3_buf *raw,
	       struct oci_desc *got, struct k3_err *e)
{
	(void)config;
	*got = *want;
	return imp_read_document(arg, want, raw, e);
}

static int resolve_for(const struct catalog *c, const struct catalog_image *im,
		       const struct oci_platform *want, struct oci_resolved *found,
		       struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf body = K3_BUF(OCI_DOCUMENT_MAX);

	oci_resolved_release(found);
	*found = (struct oci_resolved){ 0 };
	return imp_read_document(c->imp, &im->target, &body, e) ||
			       oci_resolve(&im->target, &body, want, get, c->imp, found, e)
		       ? -1
		       : 0;
}

/* Another machine's image may have been asked for. */
static int resolve_other(const struct catalog *c, const struct catalog_image *im,
			 struct oci_resolved *found)
{
	__attribute__((cleanup(oci_index_release))) struct oci_index ix = { 0 };
	K3_AUTO_BUF struct k3_buf body = K3_BUF(OCI_DOCUMENT_MAX);
	struct k3_err why;

	if (!oci_media_is_index(im->target.media) ||
	    imp_read_document(c->imp, &im->target, &body, &why) ||
	    oci_index_parse(body.p, body.len, &ix, &why))
		return -1;
	for (size_t k = 0; k < ix.count; k++)
		if (ix.entries[k].has_platform && !ix.entries[k].attestation &&
		    !resolve_for(c, im, &ix.entries[k].platform, found, &why))
			return 0;
	return -1;
}

int catalog_resolve(const struct catalog *c, const struct catalog_image *im,
		    struct oci_resolved *found, struct k3_err *e)
{
	struct oci_platform host;

	oci_platform_host(&host);
	if (!resolve_for(c, im, &host, found, e))
		return 0;
	return resolve_other(c, im, found);
}

int catalog_read(const struct catalog *c, struct catalog_image *im, struct k3_err *e)
{
	__attribute__((cleanup(oci_resolved_release))) struct oci_resolved found = { 0 };
	struct k3_err why;

	if (im->read)
		return 0;
	im->read = true;
	if (catalog_resolve(c, im, &found, &why))
		return 0;
	const struct oci_image *img = &found.image;

	im->whole = true;
	im->platform = img->platform;
	im->id = img->config.digest;
	im->layers = img->nlayers;
	im->size = oci_image_layer_bytes(img) + img->config.size;
	for (size_t i = 0; i < found.ndocs; i++)
		im->size += found.docs[i].desc.size;
	if (!img->nlayers) {
		im->unpacked = true;
		return 0;
	}
	im->chain = img->layers[img->nlayers - 1].chain_id;
	return imp_view_chain(c->view, &im->chain, &im->snapshot, &im->unpacked, e);
}

int catalog_read_all(struct catalog *c, struct k3_err *e)
{
	for (size_t i = 0; i < c->n; i++)
		if (catalog_read(c, &c->v[i], e))
			return -1;
	return 0;
}

/* ---- names --------------------------------------------------------------------------- */

bool catalog_is_id(const char *name)
{
	struct oci_digest d;
	struct k3_err e;

	return !oci_digest_parse(name, &d, &e);
}

bool catalog_is_tag(const char *name)
{
	return !strchr(name, '@') && !catalog_is_id(name);
}

const char *catalog_name(const struct catalog_image *im)
{
	const char *best = im->names[0];

	for (size_t k = 0; k < im->nnames; k++) {
		if (catalog_is_tag(im->names[k]))
			return im->names[k];
		if (catalog_is_id(best))
			best = im->names[k];
	}
	return best;
}

/* ---- what a word means --------------------------------------------------------------- */

static struct catalog_image *find_name(struct catalog *c, const char *name)
{
	for (size_t i = 0; i < c->n; i++)
		for (size_t k = 0; k < c->v[i].nnames; k++)
			if (!strcmp(c->v[i].names[k], name))
				return &c->v[i];
	return NULL;
}

/* Whether one of its names is of this repository, "host/path". */
static bool is_of(const struct catalog_image *im, const char *repo)
{
	size_t n = strlen(repo);

	for (size_t k = 0; k < im->nnames; k++)
		if (!strncmp(im->names[k], repo, n) &&
		    (im->names[k][n] == ':' || im->names[k][n] == '@'))
			return true;
	return false;
}

/* What was pulled by its tag has no record of its digest where CRI did not pull it. */
static struct catalog_image *find_reference(struct catalog *c, const struct oci_ref *ref)
{
	K3_AUTO_FREE char *name = oci_ref_name(ref);
	K3_AUTO_FREE char *repo = k3_xasprintf("%s/%s", ref->host, ref->repo);
	struct catalog_image *im = find_name(c, name);

	for (size_t i = 0; !im && ref->has_digest && i < c->n; i++)
		if (oci_digest_eq(&c->v[i].target.digest, &ref->digest) && is_of(&c->v[i], repo))
			im = &c->v[i];
	return im;
}

static bool begins(const struct oci_digest *d, const char *hex)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(d, text);
	return !strncmp(strchr(text, ':') + 1, hex, strlen(hex));
}

static bool has_prefix(const struct catalog_image *im, const char *hex)
{
	if (begins(&im->target.digest, hex) || (im->whole && begins(&im->id, hex)))
		return true;
	for (size_t k = 0; k < im->nnames; k++)
		if (catalog_is_id(im->names[k]) &&
		    !strncmp(strchr(im->names[k], ':') + 1, hex, strlen(hex)))
			return true;
	return false;
}

/* One ID under two targets is one image to whoever asks by the ID. */
static bool is_other(const struct catalog_image *a, const struct catalog_image *b)
{
	return !a->whole || !b->whole || !oci_digest_eq(&a->id, &b->id);
}

static int ambiguous(const struct catalog *c, const char *hex, struct k3_err *e)
{
	char list[400];
	size_t used = 0, shown = 0, n = 0;

	list[0] = '\0';
	for (size_t i = 0; i < c->n; i++) {
		const struct catalog_image *im = &c->v[i];
		char text[OCI_DIGEST_TEXT_MAX];

		if (!has_prefix(im, hex) || n++ >= CANDIDATES_SHOWN || used >= sizeof(list))
			continue;
		oci_digest_format(im->whole ? &im->id : &im->target.digest, text);
		int len = snprintf(list + used, sizeof(list) - used, "%s%.12s (%.60s)",
				   shown++ ? ", " : "", strchr(text, ':') + 1, catalog_name(im));

		used += len > 0 ? (size_t)len : 0;
	}
	k3_fail(e, K3_USAGE, "\"%s\" is the start of %zu image IDs: %s%s", hex, n, list,
		n > shown ? ", ..." : "");
	return k3_hint(e, "give more digits of the ID, or a name");
}

/* *out = NULL and success when no image has such an ID. */
static int find_prefix(struct catalog *c, const char *word, struct catalog_image **out,
		       struct k3_err *e)
{
	const char *hex = strncmp(word, "sha256:", 7) != 0 ? word : word + 7;
	struct catalog_image *found = NULL;

	*out = NULL;
	if (strlen(hex) < PREFIX_MIN || strspn(hex, "0123456789abcdef") != strlen(hex))
		return 0;
	if (catalog_read_all(c, e))
		return -1;
	for (size_t i = 0; i < c->n; i++) {
		if (!has_prefix(&c->v[i], hex))
			continue;
		if (found && is_other(found, &c->v[i]))
			return ambiguous(c, hex, e);
		if (!found)
			found = &c->v[i];
	}
	*out = found;
	return 0;
}

/* ---- what is not there --------------------------------------------------------------- */

struct near {
	const char *name;
	size_t score; /* 0 is nearest */
};

static const char *last_part(const char *repo)
{
	const char *slash = strrchr(repo, '/');

	return slash ? slash + 1 : repo;
}

/* How far a name is from the one asked for; false: too far for "did you mean". */
static bool measure(const struct oci_ref *asked, const char *name, size_t *score)
{
	struct oci_ref have;
	struct k3_err why;

	if (!catalog_is_tag(name) || oci_ref_parse(name, &have, &why))
		return false;
	const char *a = last_part(asked->repo), *b = last_part(have.repo);
	size_t apart = opts_distance(a, b);
	bool near = apart <= 2 && 2 * apart < strlen(a);

	*score = 100 * apart +
		 opts_distance(asked->tag ? asked->tag : "", have.tag ? have.tag : "");
	if (strcmp(asked->repo, have.repo) != 0 || strcmp(asked->host, have.host) != 0)
		*score += 50;
	oci_ref_release(&have);
	return near;
}

static void keep_nearest(struct near best[NEAR_SHOWN], const char *name, size_t score)
{
	size_t at = NEAR_SHOWN;

	while (at && (!best[at - 1].name || score < best[at - 1].score))
		at--;
	if (at == NEAR_SHOWN)
		return;
	memmove(&best[at + 1], &best[at], (NEAR_SHOWN - 1 - at) * sizeof(best[0]));
	best[at] = (struct near){ name, score };
}

static int not_found(const struct catalog *c, const char *word, const struct oci_ref *asked,
		     struct k3_err *e)
{
	struct near best[NEAR_SHOWN] = { 0 };
	char list[150];
	size_t used = 0, score;

	k3_fail(e, K3_NOTFOUND, "image %s is not in namespace %s of %s", word, c->ns, c->root);
	for (size_t i = 0; asked && i < c->n; i++)
		for (size_t k = 0; k < c->v[i].nnames; k++)
			if (measure(asked, c->v[i].names[k], &score))
				keep_nearest(best, c->v[i].names[k], score);
	for (size_t k = 0; k < NEAR_SHOWN && best[k].name; k++) {
		int len = snprintf(list + used, sizeof(list) - used, "%s%s", k ? ", " : "",
				   best[k].name);

		/* A name that is cut names nothing. */
		if (len < 0 || (size_t)len >= sizeof(list) - used)
			break;
		used += (size_t)len;
	}
	list[used] = '\0';
	return used ? k3_hint(e, "there is: %s", list)
		    : k3_hint(e, "\"k3simg list\" shows what is there");
}

int catalog_find(struct catalog *c, const char *word, struct catalog_image **out, struct k3_err *e)
{
	struct catalog_image *im = find_name(c, word);
	struct oci_ref ref;
	struct k3_err why;
	int rc = 0;
	bool parsed = !oci_ref_parse(word, &ref, &why);

	if (!im && parsed)
		im = find_reference(c, &ref);
	if (!im)
		rc = find_prefix(c, word, &im, e);
	if (!rc && !im)
		rc = not_found(c, word, parsed ? &ref : NULL, e);
	if (parsed)
		oci_ref_release(&ref);
	*out = im;
	return rc;
}

int catalog_choose(struct catalog *c, const struct words *words, struct catalog_image ***out,
		   size_t *n, struct k3_err *e)
{
	size_t max = words->n ? words->n : c->n, used = 0;
	K3_AUTO_FREE struct catalog_image **v = k3_xcalloc(max, sizeof(struct catalog_image *));

	for (size_t k = 0; k < max; k++) {
		struct catalog_image *im = &c->v[words->n ? 0 : k];
		bool again = false;

		if (words->n && catalog_find(c, words->items[k], &im, e))
			return -1;
		for (size_t i = 0; words->n && i < used; i++)
			again = again || v[i] == im;
		if (!again)
			v[used++] = im;
	}
	*n = used;
	*out = K3_STEAL(v);
	return 0;
}

/* ---- all that an image refers to ----------------------------------------------------- */

static void add_digest(struct oci_digest **v, size_t *n, size_t *cap, const struct oci_digest *d)
{
	*v = k3_xgrow(*v, *n, cap, sizeof(**v));
	(*v)[(*n)++] = *d;
}

static void add_blob(struct catalog_parts *p, const struct oci_digest *d)
{
	add_digest(&p->blobs, &p->nblobs, &p->blobs_cap, d);
}

/* What is no image of layers, an attestation for one, has blobs all the same. */
static void add_manifest(const struct catalog *c, const struct k3_buf *raw, struct catalog_parts *p)
{
	__attribute__((cleanup(oci_image_release))) struct oci_image img = { 0 };
	K3_AUTO_BUF struct k3_buf config = K3_BUF(OCI_DOCUMENT_MAX);
	K3_AUTO_FREE struct oci_desc *blobs = NULL;
	struct oci_desc desc;
	struct k3_err why;
	size_t n;

	if (oci_manifest_blobs(raw->p, raw->len, &blobs, &n, &why))
		return;
	for (size_t k = 0; k < n; k++)
		add_blob(p, &blobs[k].digest);
	if (oci_manifest_config(raw->p, raw->len, &desc, &why) ||
	    imp_read_document(c->imp, &desc, &config, &why) ||
	    oci_image_parse(raw->p, raw->len, config.p, config.len, &img, &why))
		return;
	for (size_t k = 0; k < img.nlayers; k++)
		add_digest(&p->chains, &p->nchains, &p->chains_cap, &img.layers[k].chain_id);
}

/* Recursion is as deep as indexes are nested. */
static void add_document(const struct catalog *c, const struct oci_desc *d, unsigned depth,
			 struct catalog_parts *p)
{
	__attribute__((cleanup(oci_index_release))) struct oci_index ix = { 0 };
	K3_AUTO_BUF struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	struct k3_err why;

	if (d->size > OCI_DOCUMENT_MAX || imp_read_document(c->imp, d, &raw, &why))
		return;
	add_blob(p, &d->digest);
	if (oci_media_is_manifest(d->media))
		add_manifest(c, &raw, p);
	if (!oci_media_is_index(d->media) || depth == OCI_INDEX_DEPTH_MAX ||
	    oci_index_parse(raw.p, raw.len, &ix, &why))
		return;
	for (size_t k = 0; k < ix.count; k++)
		if (!ix.entries[k].unusable[0])
			add_document(c, &ix.entries[k].desc, depth + 1, p);
}

static int digest_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct oci_digest));
}

static size_t unique(struct oci_digest *v, size_t n)
{
	size_t used = 0;

	if (!n)
		return 0;
	qsort(v, n, sizeof(*v), digest_cmp);
	for (size_t k = 1; k < n; k++)
		if (digest_cmp(&v[used], &v[k]) != 0)
			v[++used] = v[k];
	return used + 1;
}

void catalog_parts(const struct catalog *c, const struct catalog_image *im,
		   struct catalog_parts *out)
{
	*out = (struct catalog_parts){ 0 };
	add_document(c, &im->target, 0, out);
	out->nblobs = unique(out->blobs, out->nblobs);
	out->nchains = unique(out->chains, out->nchains);
}

void catalog_parts_release(struct catalog_parts *p)
{
	free(p->blobs);
	free(p->chains);
	*p = (struct catalog_parts){ 0 };
}
