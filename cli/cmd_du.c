/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/catalog.h"
#include "cli/cli.h"
#include "cli/table.h"

#define JSON_MAX (64u << 20)

/* Bytes on disk that an image uses; one that several use is in the sums of each. */
struct figures {
	uint64_t blobs, trees;
	uint64_t shared, exclusive; /* of both, with others and for itself alone */
};

struct group {
	size_t count;
	uint64_t bytes, shared, reclaimable;
};

/* Who uses something: for each thing, its number and an image. */
struct use {
	size_t thing, image;
};

struct uses {
	struct use *v;
	size_t n, cap;
};

struct du {
	struct catalog c;
	struct imp_disk disk;
	struct uses trees, blobs; /* sorted by thing */
	struct figures *images;   /* as catalog.v */
	size_t *stamp;            /* of each image: the last thing it was counted for, plus 1 */
	size_t things;
	struct group blob, tree, container, database, staging, rest;
};

static void du_release(struct du *d)
{
	catalog_close(&d->c);
	imp_disk_release(&d->disk);
	free(d->trees.v);
	free(d->blobs.v);
	free(d->images);
	free(d->stamp);
}

/* ---- who uses what ------------------------------------------------------------------- */

/* Trees of our namespace by their chain. */
struct chain {
	struct oci_digest chain;
	size_t tree;
};

static int chain_cmp(const void *a, const void *b)
{
	const struct chain *x = a, *y = b;

	return memcmp(&x->chain, &y->chain, sizeof(x->chain));
}

static int use_cmp(const void *a, const void *b)
{
	const struct use *x = a, *y = b;

	return (x->thing > y->thing) - (x->thing < y->thing);
}

static void add_use(struct uses *u, size_t thing, size_t image)
{
	u->v = k3_xgrow(u->v, u->n, &u->cap, sizeof(*u->v));
	u->v[u->n++] = (struct use){ thing, image };
}

static struct chain *sort_chains(const struct imp_disk *disk, size_t *n)
{
	struct chain *v = k3_xcalloc(disk->ntrees, sizeof(*v));

	*n = 0;
	for (size_t k = 0; k < disk->ntrees; k++)
		if (disk->trees[k].ours)
			v[(*n)++] = (struct chain){ disk->trees[k].chain, k };
	if (*n)
		qsort(v, *n, sizeof(*v), chain_cmp);
	return v;
}

/* All that images refer to, before the databases are let go: parts[k] of the k-th image. */
static int gather(struct du *d, struct catalog_parts *parts, struct k3_err *e)
{
	for (size_t k = 0; k < d->c.n; k++)
		if (catalog_read(&d->c, &d->c.v[k], e))
			return -1;
		else
			catalog_parts(&d->c, &d->c.v[k], &parts[k]);
	return 0;
}

static void attribute(struct du *d, const struct catalog_parts *parts)
{
	size_t n;
	K3_AUTO_FREE struct chain *chains = sort_chains(&d->disk, &n);

	for (size_t im = 0; im < d->c.n; im++) {
		for (size_t k = 0; k < parts[im].nchains; k++) {
			const struct chain want = { .chain = parts[im].chains[k] };
			const struct chain *c =
				n ? bsearch(&want, chains, n, sizeof(want), chain_cmp) : NULL;

			if (c)
				add_use(&d->trees, c->tree, im);
		}
		for (size_t k = 0; k < parts[im].nblobs; k++) {
			const struct imp_disk_blob *b = imp_disk_blob(&d->disk,
								      &parts[im].blobs[k]);

			if (b)
				add_use(&d->blobs, (size_t)(b - d->disk.blobs), im);
		}
	}
	if (d->trees.n)
		qsort(d->trees.v, d->trees.n, sizeof(*d->trees.v), use_cmp);
	if (d->blobs.n)
		qsort(d->blobs.v, d->blobs.n, sizeof(*d->blobs.v), use_cmp);
}

/* The first use of a thing, or the end. */
static size_t first_use(const struct uses *u, size_t thing)
{
	size_t low = 0, high = u->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (u->v[mid].thing < thing)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* ---- sums ---------------------------------------------------------------------------- */

/* Images that use one thing, each once; things are counted one after the other. */
struct users {
	size_t *v;
	size_t n;
};

static void add_users(struct du *d, const struct uses *u, size_t thing, struct users *out)
{
	for (size_t k = first_use(u, thing); k < u->n && u->v[k].thing == thing; k++) {
		size_t image = u->v[k].image;

		if (d->stamp[image] == d->things)
			continue;
		d->stamp[image] = d->things;
		out->v[out->n++] = image;
	}
}

static void give(struct du *d, const struct users *by, bool others, uint64_t bytes, bool tree)
{
	for (size_t k = 0; k < by->n; k++) {
		struct figures *f = &d->images[by->v[k]];

		*(tree ? &f->trees : &f->blobs) += bytes;
		*(by->n > 1 || others ? &f->shared : &f->exclusive) += bytes;
	}
}

static void sum_blobs(struct du *d, struct users *by)
{
	for (size_t k = 0; k < d->disk.nblobs; k++) {
		const struct imp_disk_blob *b = &d->disk.blobs[k];

		if (!b->bytes)
			continue;
		d->things++;
		by->n = 0;
		add_users(d, &d->blobs, k, by);
		give(d, by, false, b->bytes, false);
		d->blob.count++;
		d->blob.bytes += b->bytes;
		d->blob.shared += by->n > 1 ? b->bytes : 0;
		d->blob.reclaimable += by->n || b->kept ? 0 : b->bytes;
	}
	d->blob.bytes += d->disk.content;
}

static void sum_trees(struct du *d, struct users *by)
{
	for (size_t k = 0; k < d->disk.nshares; k++) {
		const struct imp_disk_share *s = &d->disk.shares[k];
		bool kept = false, container = true;
		size_t used = 0;

		d->things++;
		by->n = 0;
		for (size_t t = 0; t < s->n; t++) {
			const struct imp_disk_tree *tree = &d->disk.trees[s->trees[t]];
			size_t before = by->n, at = first_use(&d->trees, s->trees[t]);
			bool has_user = at < d->trees.n && d->trees.v[at].thing == s->trees[t];

			add_users(d, &d->trees, s->trees[t], by);
			used += by->n - before;
			kept = kept || (tree->kept && !has_user);
			container = container && imp_is_container(tree->kind);
		}
		struct group *g = container ? &d->container : &d->tree;

		give(d, by, kept, s->bytes, true);
		g->bytes += s->bytes;
		g->shared += used > 1 || (used && kept) ? s->bytes : 0;
		g->reclaimable += used || kept ? 0 : s->bytes;
	}
	for (size_t k = 0; k < d->disk.ntrees; k++)
		(imp_is_container(d->disk.trees[k].kind) ? &d->container : &d->tree)->count++;
}

static void sum(struct du *d)
{
	K3_AUTO_FREE size_t *users = k3_xcalloc(d->c.n, sizeof(*users));
	struct users by = { .v = users };

	d->images = k3_xcalloc(d->c.n, sizeof(*d->images));
	d->stamp = k3_xcalloc(d->c.n, sizeof(*d->stamp));
	sum_blobs(d, &by);
	sum_trees(d, &by);
	d->database.bytes = d->disk.databases;
	d->staging.bytes = d->disk.staging;
	d->staging.reclaimable = d->disk.staging_idle ? d->disk.staging : 0;
	d->rest.bytes = d->disk.rest;
}

static int load(struct du *d, const struct cli *cli, struct k3_err *e)
{
	struct catalog_parts *parts = k3_xcalloc(d->c.n, sizeof(*parts));
	int rc = gather(d, parts, e) || imp_disk_look(d->c.view, &d->disk, e) ? -1 : 0;

	/* Counting takes its time, and containerd may want to start. */
	catalog_unlock(&d->c);
	rc = rc || imp_disk_count(d->c.imp, &d->disk, cli->cancel, e) ? -1 : 0;
	if (!rc) {
		attribute(d, parts);
		sum(d);
	}
	for (size_t k = 0; k < d->c.n; k++)
		catalog_parts_release(&parts[k]);
	free(parts);
	return rc;
}

/* ---- output -------------------------------------------------------------------------- */

struct settings {
	struct catalog_where where;
	const char *output;
	bool bytes;
};

static void size_cell(const struct settings *s, struct table *t, uint64_t bytes)
{
	char text[16];

	if (s->bytes) {
		table_cell(t, "%" PRIu64, bytes);
		return;
	}
	cli_size(bytes, text, sizeof(text));
	table_cell(t, "%s", text);
}

struct row {
	const char *name, *key;
	const struct group *g;
	bool counted; /* how many there are means something */
};

#define ROWS 6

static void rows_of(const struct du *d, struct row out[ROWS])
{
	out[0] = (struct row){ "Blobs", "blobs", &d->blob, true };
	out[1] = (struct row){ "Trees", "trees", &d->tree, true };
	out[2] = (struct row){ "Containers", "containers", &d->container, true };
	out[3] = (struct row){ "Databases", "databases", &d->database, false };
	out[4] = (struct row){ "Staging", "staging", &d->staging, false };
	out[5] = (struct row){ "Other", "other", &d->rest, false };
}

static struct group total(const struct row rows[ROWS])
{
	struct group all = { 0 };

	for (size_t k = 0; k < ROWS; k++) {
		all.bytes += rows[k].g->bytes;
		all.shared += rows[k].g->shared;
		all.reclaimable += rows[k].g->reclaimable;
	}
	return all;
}

static void print_store(const struct settings *s, const struct du *d)
{
	static const char *const heads[] = { "TYPE", ">COUNT", ">SIZE", ">SHARED", ">RECLAIMABLE" };
	__attribute__((cleanup(table_release))) struct table t = { 0 };
	struct row rows[ROWS + 1];
	struct group all;

	rows_of(d, rows);
	all = total(rows);
	rows[ROWS] = (struct row){ "Total", NULL, &all, false };
	table_begin(&t, heads, K3_ARRAY_LEN(heads));
	for (size_t k = 0; k <= ROWS; k++) {
		table_row(&t);
		table_cell(&t, "%s", rows[k].name);
		if (rows[k].counted)
			table_cell(&t, "%zu", rows[k].g->count);
		else
			table_cell(&t, "-");
		size_cell(s, &t, rows[k].g->bytes);
		size_cell(s, &t, rows[k].g->shared);
		size_cell(s, &t, rows[k].g->reclaimable);
	}
	table_print(&t);
}

static void print_images(const struct settings *s, const struct du *d,
			 struct catalog_image *const *chosen, size_t n)
{
	static const char *const heads[] = { "IMAGE", ">BLOBS", ">TREES", ">SHARED", ">EXCLUSIVE" };
	__attribute__((cleanup(table_release))) struct table t = { 0 };

	table_begin(&t, heads, K3_ARRAY_LEN(heads));
	for (size_t k = 0; k < n; k++) {
		const struct figures *f = &d->images[chosen[k] - d->c.v];

		table_row(&t);
		table_cell(&t, "%s", catalog_name(chosen[k]));
		size_cell(s, &t, f->blobs);
		size_cell(s, &t, f->trees);
		size_cell(s, &t, f->shared);
		size_cell(s, &t, f->exclusive);
	}
	printf("\n");
	table_print(&t);
}

static void json_image(struct k3_jw *w, const struct catalog_image *im, const struct figures *f)
{
	char text[OCI_DIGEST_TEXT_MAX];

	k3_jw_obj(w, NULL);
	k3_jw_str(w, "name", catalog_name(im));
	oci_digest_format(&im->target.digest, text);
	k3_jw_str(w, "digest", text);
	if (im->whole) {
		oci_digest_format(&im->id, text);
		k3_jw_str(w, "id", text);
	}
	k3_jw_u64(w, "blobBytes", f->blobs);
	k3_jw_u64(w, "treeBytes", f->trees);
	k3_jw_u64(w, "sharedBytes", f->shared);
	k3_jw_u64(w, "exclusiveBytes", f->exclusive);
	k3_jw_close_obj(w);
}

static int print_json(const struct du *d, struct catalog_image *const *chosen, size_t n)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	struct k3_jw w = K3_JW(&out);
	struct row rows[ROWS];

	rows_of(d, rows);
	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "root", d->c.root);
	k3_jw_str(&w, "namespace", d->c.ns);
	k3_jw_u64(&w, "totalBytes", total(rows).bytes);
	k3_jw_u64(&w, "reclaimableBytes", total(rows).reclaimable);
	for (size_t k = 0; k < ROWS; k++) {
		k3_jw_obj(&w, rows[k].key);
		if (rows[k].counted)
			k3_jw_u64(&w, "count", rows[k].g->count);
		k3_jw_u64(&w, "bytes", rows[k].g->bytes);
		k3_jw_u64(&w, "sharedBytes", rows[k].g->shared);
		k3_jw_u64(&w, "reclaimableBytes", rows[k].g->reclaimable);
		k3_jw_close_obj(&w);
	}
	k3_jw_arr(&w, "images");
	for (size_t k = 0; k < n; k++)
		json_image(&w, chosen[k], &d->images[chosen[k] - d->c.v]);
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

static int du(const struct settings *s, const struct words *refs, const struct cli *cli)
{
	__attribute__((cleanup(du_release))) struct du d = { 0 };
	K3_AUTO_FREE struct catalog_image **chosen = NULL;
	struct k3_err e;
	size_t n;

	if (catalog_open(&s->where, cli->cancel, &d.c, &e) ||
	    catalog_choose(&d.c, refs, &chosen, &n, &e) || load(&d, cli, &e))
		return cli_error(&e);
	if (!strcmp(s->output, "json"))
		return cli_finish(print_json(&d, chosen, n));
	print_store(s, &d);
	if (n)
		print_images(s, &d, chosen, n);
	return cli_finish(0);
}

static const char about[] =
	"\n"
	"Sizes are those of blocks on disk, as du counts them; what hard links share counts once.\n"
	"SHARED is used by several images, EXCLUSIVE goes with the image, RECLAIMABLE is what\n"
	"nothing refers to.  With REF, only those images are listed; the store is counted whole.\n"
	"Works while containerd or k3s runs, too.\n"
	"\nExamples:\n"
	"  k3simg du                     the store, and each image\n"
	"  k3simg du -b nginx:alpine     in bytes\n"
	"  k3simg du -o json | jq .reclaimableBytes\n";

int cmd_du(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	__attribute__((cleanup(words_release))) struct words args = { 0 };
	struct settings s = { .output = "text" };
	struct opt where[CATALOG_ROWS];
	struct k3_err e;
	bool help;
	const struct opt opts[] = {
		{ "bytes", 'b', OPT_FLAG, NULL, "whole numbers of bytes", &s.bytes },
		{ .kind = OPT_ROWS, .dest = where },
		{ "output", 'o', OPT_CHOICE, "text|json",
		  "how the result is printed (default: text)", &s.output },
		{ 0 },
	};

	catalog_rows(&s.where, where);
	if (opts_parse(opts, argc, argv, &args, &help, &e))
		return cli_error(&e);
	if (help) {
		cli_help(cmd, about, opts);
		return cli_finish(0);
	}
	K3_AUTO_FREE char *root = catalog_choose_root(&s.where);

	s.where.root = root;
	return du(&s, &args, c);
}
