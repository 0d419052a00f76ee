/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/catalog.h"
#include "cli/cli.h"

#define JSON_MAX (64u << 20)

/* A chain ID, once over all images: the layer on its top, and where the images branch. */
struct node {
	struct oci_layer layer;
	struct node *parent, *children, *last_child, *sibling;
	struct node *next; /* all nodes, parents first */
	size_t images;     /* of the store that stand on it or above */
	size_t *ends;      /* images that end here */
	size_t nends, ends_cap;
	bool shown; /* an image that is asked for needs it */
	bool stored, has_snapshot;
	struct imp_snapshot_info snapshot;
};

struct tree {
	struct catalog c;
	struct oci_map map;
	struct node top; /* of no layer: its children are bottom layers */
	struct node *nodes, **last;
	bool *chosen;  /* as catalog.v */
	bool *in_tree; /* its documents are there */
};

static void tree_release(struct tree *t)
{
	for (struct node *n = t->nodes, *next; n; n = next) {
		next = n->next;
		imp_snapshot_info_release(&n->snapshot);
		free(n->ends);
		free(n);
	}
	free(t->top.ends);
	free(t->chosen);
	free(t->in_tree);
	oci_map_release(&t->map);
	catalog_close(&t->c);
}

/* ---- what stands on what ------------------------------------------------------------- */

static int node_for(struct tree *t, const struct oci_layer *l, struct node *parent,
		    struct node **out, struct k3_err *e)
{
	struct node *n = oci_map_get(&t->map, &l->chain_id);

	*out = n;
	if (n)
		return 0;
	n = k3_xcalloc(1, sizeof(*n));
	n->layer = *l;
	n->parent = parent;
	if (parent->last_child)
		parent->last_child->sibling = n;
	else
		parent->children = n;
	parent->last_child = n;
	*t->last = n;
	t->last = &n->next;
	oci_map_put(&t->map, &n->layer.chain_id, n);
	*out = n;
	return imp_view_blob(t->c.view, &l->blob, &n->stored, e) ||
			       imp_view_snapshot_info(t->c.view, &l->chain_id, &n->snapshot,
						      &n->has_snapshot, e)
		       ? -1
		       : 0;
}

static int add_image(struct tree *t, size_t i, struct k3_err *e)
{
	__attribute__((cleanup(oci_resolved_release))) struct oci_resolved found = { 0 };
	struct node *n = &t->top;
	struct k3_err why;

	/* What lacks documents has no layers that are known. */
	if (catalog_resolve(&t->c, &t->c.v[i], &found, &why))
		return 0;
	t->in_tree[i] = true;
	for (size_t k = 0; k < found.image.nlayers; k++) {
		if (node_for(t, &found.image.layers[k], n, &n, e))
			return -1;
		n->images++;
		n->shown = n->shown || t->chosen[i];
	}
	n->ends = k3_xgrow(n->ends, n->nends, &n->ends_cap, sizeof(*n->ends));
	n->ends[n->nends++] = i;
	return 0;
}

static int load(struct tree *t, struct k3_err *e)
{
	t->last = &t->nodes;
	t->in_tree = k3_xcalloc(t->c.n, sizeof(*t->in_tree));
	for (size_t i = 0; i < t->c.n; i++)
		if (catalog_read(&t->c, &t->c.v[i], e) || add_image(t, i, e))
			return -1;
	return 0;
}

/* ---- drawing ------------------------------------------------------------------------- */

struct strokes {
	const char *branch, *last, *pipe, *blank;
};

static const struct strokes utf8 = { "├── ", "└── ", "│   ", "    " };
static const struct strokes ascii = { "|-- ", "`-- ", "|   ", "    " };

struct drawing {
	const struct tree *t;
	const struct strokes *s;
	bool every_layer, no_trunc;
	struct k3_buf prefix; /* what stands in front of the lines of a level */
};

/* The locale decides, not the program's: the terminal is the user's. */
static const struct strokes *choose_strokes(void)
{
	locale_t user = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
	bool is_utf8 = user && !strcmp(nl_langinfo_l(CODESET, user), "UTF-8");

	if (user)
		freelocale(user);
	return is_utf8 ? &utf8 : &ascii;
}

static bool is_plain(const struct node *n)
{
	return !n->nends && n->children == n->last_child;
}

/* The next child that is shown. */
static struct node *shown(struct node *n)
{
	while (n && !n->shown)
		n = n->sibling;
	return n;
}

static size_t count_shown_ends(const struct drawing *d, const struct node *n)
{
	size_t count = 0;

	for (size_t k = 0; k < n->nends; k++)
		count += d->t->chosen[n->ends[k]];
	return count;
}

static void put(const struct drawing *d, bool last)
{
	printf("%s%s", d->prefix.p ? (const char *)d->prefix.p : "",
	       last ? d->s->last : d->s->branch);
}

static void put_image(const struct drawing *d, size_t image)
{
	const struct catalog_image *im = &d->t->c.v[image];
	size_t tags = 0;

	for (size_t k = 0; k < im->nnames; k++) {
		K3_AUTO_FREE char *safe = cli_safe(im->names[k]);

		if (catalog_is_tag(im->names[k]))
			printf("%s%s", tags++ ? ", " : "", safe);
	}
	if (!tags) {
		K3_AUTO_FREE char *safe = cli_safe(catalog_name(im));

		printf("%s", safe);
	}
	printf("%s%s\n", im->pinned ? "  pinned" : "", im->unpacked ? "" : "  not unpacked");
}

/* One layer, or a run of them that nothing branches off: from `low` up to n. */
static void put_layers(const struct drawing *d, const struct node *n, size_t layers, uint64_t bytes)
{
	char text[OCI_DIGEST_TEXT_MAX], size[16];

	if (layers > 1)
		printf("%zu layers to ", layers);
	oci_digest_format(&n->layer.blob.digest, text);
	cli_size(bytes, size, sizeof(size));
	printf(d->no_trunc ? "%s  %s%s" : "%.19s  %s%s", text, size, n->stored ? "" : "  no blob");
	if (n->has_snapshot) {
		cli_size(n->snapshot.bytes, size, sizeof(size));
		printf("  snapshot %" PRIu64 " (%s)", n->snapshot.id, size);
	}
	if (n->images > 1)
		printf("  shared by %zu images", n->images);
	printf("\n");
}

/* Returns the top of the run that begins with n. */
static struct node *put_run(const struct drawing *d, struct node *n)
{
	uint64_t bytes = n->layer.blob.size;
	size_t layers = 1;

	while (!d->every_layer && is_plain(n) && shown(n->children) && !n->has_snapshot &&
	       n->stored == n->children->stored && n->images == n->children->images) {
		n = n->children;
		bytes += n->layer.blob.size;
		layers++;
	}
	put_layers(d, n, layers, bytes);
	return n;
}

/* What is still to be drawn of the nodes on the way down. */
struct level {
	struct node *next; /* child to be drawn */
	size_t prefix;     /* length of the prefix of this level */
};

static void put_ends(const struct drawing *d, const struct node *n, bool more)
{
	size_t left = count_shown_ends(d, n);

	for (size_t k = 0; k < n->nends; k++) {
		if (!d->t->chosen[n->ends[k]])
			continue;
		left--;
		put(d, !left && !more);
		put_image(d, n->ends[k]);
	}
}

/* Depth first; an image may have as many levels as layers, so there is no recursion. */
static int draw(struct drawing *d, struct k3_err *e)
{
	K3_AUTO_FREE struct level *levels = NULL;
	size_t depth = 0, cap = 0;
	struct node *n = (struct node *)(uintptr_t)&d->t->top;

	for (;;) {
		levels = k3_xgrow(levels, depth, &cap, sizeof(*levels));
		levels[depth++] = (struct level){ shown(n->children), d->prefix.len };
		put_ends(d, n, levels[depth - 1].next);
		while (depth && !levels[depth - 1].next)
			depth--;
		if (!depth)
			return 0;
		struct level *l = &levels[depth - 1];

		d->prefix.len = l->prefix;
		if (d->prefix.p)
			d->prefix.p[l->prefix] = 0;
		n = l->next;
		l->next = shown(n->sibling);
		put(d, !l->next);
		n = put_run(d, n);
		if (k3_buf_addf(&d->prefix, e, "%s", l->next ? d->s->pipe : d->s->blank))
			return -1;
	}
}

static int print_text(const struct tree *t, bool every_layer, bool no_trunc)
{
	struct drawing d = { .t = t,
			     .s = choose_strokes(),
			     .every_layer = every_layer,
			     .no_trunc = no_trunc,
			     .prefix = K3_BUF(OCI_LAYERS_MAX * 8) };
	struct k3_err e;
	K3_AUTO_FREE char *root = cli_safe(t->c.root);

	printf("%s\n", root);
	int rc = draw(&d, &e);

	k3_buf_release(&d.prefix);
	for (size_t i = 0; !rc && i < t->c.n; i++) {
		K3_AUTO_FREE char *name = cli_safe(catalog_name(&t->c.v[i]));

		if (t->chosen[i] && !t->in_tree[i])
			fprintf(stderr, "warning: %s lacks documents: its layers are not known\n",
				name);
	}
	return rc ? cli_error(&e) : 0;
}

/* ---- JSON ---------------------------------------------------------------------------- */

static void json_digest(struct k3_jw *w, const char *key, const struct oci_digest *d)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(d, text);
	k3_jw_str(w, key, text);
}

static void json_node(struct k3_jw *w, const struct tree *t, const struct node *n)
{
	k3_jw_obj(w, NULL);
	json_digest(w, "chainID", &n->layer.chain_id);
	if (n->parent != &t->top)
		json_digest(w, "parent", &n->parent->layer.chain_id);
	else
		k3_jw_str(w, "parent", NULL);
	json_digest(w, "diffID", &n->layer.diff_id);
	json_digest(w, "digest", &n->layer.blob.digest);
	k3_jw_u64(w, "size", n->layer.blob.size);
	k3_jw_bool(w, "stored", n->stored);
	k3_jw_u64(w, "images", n->images);
	if (n->has_snapshot) {
		k3_jw_obj(w, "snapshot");
		k3_jw_u64(w, "id", n->snapshot.id);
		k3_jw_str(w, "kind", imp_kind_name(n->snapshot.kind));
		k3_jw_u64(w, "recordedBytes", n->snapshot.bytes);
		k3_jw_u64(w, "recordedInodes", n->snapshot.inodes);
		k3_jw_close_obj(w);
	} else {
		k3_jw_str(w, "snapshot", NULL);
	}
	k3_jw_close_obj(w);
}

static void json_image(struct k3_jw *w, const struct catalog_image *im)
{
	k3_jw_obj(w, NULL);
	k3_jw_arr(w, "names");
	for (size_t k = 0; k < im->nnames; k++)
		k3_jw_str(w, NULL, im->names[k]);
	k3_jw_close_arr(w);
	json_digest(w, "digest", &im->target.digest);
	k3_jw_bool(w, "complete", im->whole);
	k3_jw_bool(w, "unpacked", im->unpacked);
	if (im->whole)
		json_digest(w, "id", &im->id);
	if (im->layers)
		json_digest(w, "chainID", &im->chain);
	else
		k3_jw_str(w, "chainID", NULL);
	k3_jw_close_obj(w);
}

static int print_json(const struct tree *t)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	struct k3_jw w = K3_JW(&out);

	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "root", t->c.root);
	k3_jw_str(&w, "namespace", t->c.ns);
	k3_jw_arr(&w, "layers");
	for (const struct node *n = t->nodes; n; n = n->next)
		if (n->shown)
			json_node(&w, t, n);
	k3_jw_close_arr(&w);
	k3_jw_arr(&w, "images");
	for (size_t i = 0; i < t->c.n; i++)
		if (t->chosen[i])
			json_image(&w, &t->c.v[i]);
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

/* ---- the command --------------------------------------------------------------------- */

struct settings {
	struct catalog_where where;
	const char *output;
	bool every_layer, no_trunc;
};

static int tree(const struct settings *s, const struct words *refs, const struct cli *cli)
{
	__attribute__((cleanup(tree_release))) struct tree t = { 0 };
	K3_AUTO_FREE struct catalog_image **chosen = NULL;
	struct k3_err e;
	size_t n;

	if (catalog_open(&s->where, cli->cancel, &t.c, &e) ||
	    catalog_choose(&t.c, refs, &chosen, &n, &e))
		return cli_error(&e);
	t.chosen = k3_xcalloc(t.c.n, sizeof(*t.chosen));
	for (size_t k = 0; k < n; k++)
		t.chosen[chosen[k] - t.c.v] = true;
	if (load(&t, &e))
		return cli_error(&e);
	return cli_finish(!strcmp(s->output, "json") ? print_json(&t)
						     : print_text(&t, s->every_layer, s->no_trunc));
}

static const char about[] =
	"\n"
	"Images that begin with the same layers stand on one branch.  Layers that nothing "
	"branches\n"
	"off are one line; a snapshot is told with the layer on its top.  With REF, only the\n"
	"branches of those images are drawn.  Works while containerd or k3s runs, too.\n"
	"\nExamples:\n"
	"  k3simg tree                    all images\n"
	"  k3simg tree --layers nginx     every layer of one\n"
	"  k3simg tree -o json | jq '.layers[] | select(.images > 1)'\n";

int cmd_tree(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	__attribute__((cleanup(words_release))) struct words args = { 0 };
	struct settings s = { .output = "text" };
	struct opt where[CATALOG_ROWS];
	struct k3_err e;
	bool help;
	const struct opt opts[] = {
		{ "layers", 0, OPT_FLAG, NULL, "a line for every layer", &s.every_layer },
		{ "no-trunc", 0, OPT_FLAG, NULL, "whole digests", &s.no_trunc },
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
	return tree(&s, &args, c);
}
