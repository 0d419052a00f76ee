/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/catalog.h"
#include "cli/cli.h"
#include "cli/inspect.h"

static int load_layers(struct inspected *x, struct k3_err *e)
{
	const struct oci_image *img = &x->found.image;

	x->layers = k3_xcalloc(img->nlayers, sizeof(*x->layers));
	for (; x->nlayers < img->nlayers; x->nlayers++) {
		const struct oci_layer *from = &img->layers[x->nlayers];
		struct inspected_layer *l = &x->layers[x->nlayers];

		if (imp_view_blob(x->c->view, &from->blob, &l->stored, e) ||
		    imp_view_snapshot_info(x->c->view, &from->chain_id, &l->snapshot,
					   &l->has_snapshot, e))
			return -1;
	}
	return 0;
}

static int take_loss(void *arg, const struct imp_loss *loss, struct k3_err *e)
{
	struct inspected *x = arg;

	(void)e;
	x->losses = k3_xgrow(x->losses, x->nlosses, &x->losses_cap, sizeof(*x->losses));
	x->losses[x->nlosses++] =
		(struct inspected_loss){ k3_xstrdup(loss->kind), k3_xstrdup(loss->path),
					 k3_xstrdup(loss->what), k3_xstrdup(loss->why) };
	return 0;
}

/* What was written down and cannot be read is no reason to show nothing. */
static int load_losses(struct inspected *x, struct k3_err *e)
{
	struct k3_err why = { 0 };

	if (!x->im->layers ||
	    !imp_view_losses(x->c->view, &x->im->chain, take_loss, x, &x->total_losses, &why))
		return 0;
	if (why.code != K3_FORMAT && why.code != K3_LIMIT && why.code != K3_IO) {
		*e = why;
		return -1;
	}
	fprintf(stderr, "warning: what was lost is not known: %s\n", why.msg);
	return 0;
}

static int load(struct inspected *x, struct k3_err *e)
{
	struct k3_err why;

	if (catalog_read(x->c, x->im, e))
		return -1;
	if (!x->im->whole)
		return 0;
	/* It was just there: whoever has removed it meanwhile has made it incomplete. */
	x->whole = !catalog_resolve(x->c, x->im, &x->found, &why);
	return x->whole && (load_layers(x, e) || load_losses(x, e)) ? -1 : 0;
}

static void inspected_release(struct inspected *x)
{
	for (size_t k = 0; k < x->nlayers; k++)
		imp_snapshot_info_release(&x->layers[k].snapshot);
	for (size_t k = 0; k < x->nlosses; k++) {
		free(x->losses[k].kind);
		free(x->losses[k].path);
		free(x->losses[k].what);
		free(x->losses[k].why);
	}
	free(x->losses);
	free(x->layers);
	oci_resolved_release(&x->found);
}

struct settings {
	struct catalog_where where;
	const char *output;
	bool losses;
};

/* One image at a time: documents may be large. */
static int inspect_one(const struct settings *s, struct catalog *c, struct catalog_image *im,
		       struct k3_jw *w, struct k3_err *e)
{
	__attribute__((cleanup(inspected_release))) struct inspected x = { .c = c, .im = im };

	if (load(&x, e))
		return -1;
	if (!strcmp(s->output, "json"))
		return inspect_json(&x, w, e);
	if (!s->losses)
		return inspect_text(&x, e);
	inspect_losses(&x);
	return 0;
}

static int inspect(const struct settings *s, const struct words *refs, const struct cli *cli)
{
	__attribute__((cleanup(catalog_close))) struct catalog c = { 0 };
	K3_AUTO_BUF struct k3_buf out = K3_BUF(INSPECT_JSON_MAX);
	K3_AUTO_FREE struct catalog_image **chosen = NULL;
	struct k3_jw w = K3_JW(&out);
	struct k3_err e;
	size_t n;

	if (catalog_open(&s->where, cli->cancel, &c, &e) ||
	    catalog_choose(&c, refs, &chosen, &n, &e))
		return cli_error(&e);
	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "root", c.root);
	k3_jw_str(&w, "namespace", c.ns);
	k3_jw_arr(&w, "images");
	for (size_t k = 0; k < n; k++) {
		if (k && !strcmp(s->output, "text") && !s->losses)
			printf("\n");
		if (k3_cancel_check(cli->cancel, &e) || inspect_one(s, &c, chosen[k], &w, &e))
			return cli_error(&e);
	}
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	return cli_finish(!strcmp(s->output, "json") ? cli_put_json(&w) : 0);
}

static const char about[] =
	"\n"
	"REF is a name, short (nginx:alpine) or in full, name@digest, a digest, or an image ID or\n"
	"the start of it.  Works while containerd or k3s runs, too.\n"
	"\nExamples:\n"
	"  k3simg inspect nginx:alpine           what is known of an image\n"
	"  k3simg inspect --losses nginx:alpine  what of it the file system refused\n"
	"  k3simg inspect -o json 1a2b3c4d | jq '.images[0].config'\n";

int cmd_inspect(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	__attribute__((cleanup(words_release))) struct words args = { 0 };
	struct settings s = { .output = "text" };
	struct opt where[CATALOG_ROWS];
	struct k3_err e;
	bool help;
	const struct opt opts[] = {
		{ "losses", 0, OPT_FLAG, NULL,
		  "only what the file system refused of the image when\nit was preloaded, by path",
		  &s.losses },
		{ .kind = OPT_ROWS, .dest = where },
		{ "output", 'o', OPT_CHOICE, "text|json",
		  "how it is shown (default: text); json has all of it", &s.output },
		{ 0 },
	};

	catalog_rows(&s.where, where);
	if (opts_parse(opts, argc, argv, &args, &help, &e))
		return cli_error(&e);
	if (help) {
		cli_help(cmd, about, opts);
		return cli_finish(0);
	}
	if (!args.n) {
		k3_fail(&e, K3_USAGE, "no image was named");
		k3_hint(&e, "k3simg inspect nginx:alpine; \"k3simg list\" shows what is there");
		return cli_error(&e);
	}
	K3_AUTO_FREE char *root = catalog_choose_root(&s.where);

	s.where.root = root;
	return inspect(&s, &args, c);
}
