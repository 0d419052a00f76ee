/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/catalog.h"
#include "cli/cli.h"
#include "cli/registry_flags.h"
#include "cli/results.h"
#include "cli/table.h"
#include "cli/wanted.h"
#include "pipeline/pipeline.h"

#define JSON_MAX (64u << 20)

struct settings {
	struct catalog_where where;
	const char *platform, *output, *name;
	bool quiet, verbose;
	struct words lists, manifests;
	struct registry_flags registry;
};

/* ---- text ---------------------------------------------------------------------------- */

static void size_cell(struct table *t, uint64_t bytes)
{
	char text[16];

	cli_size(bytes, text, sizeof(text));
	table_cell(t, "%s", text);
}

static void print_images(const struct wanted *w, const struct pl_result *res)
{
	static const char *const heads[] = { "IMAGE", "PLATFORM", ">LAYERS", ">SIZE", ">TO FETCH" };
	__attribute__((cleanup(table_release))) struct table t = { 0 };

	table_begin(&t, heads, K3_ARRAY_LEN(heads));
	for (size_t i = 0; i < w->n; i++) {
		char platform[3 * OCI_PLATFORM_PART_MAX + 3];

		if (res[i].rc)
			continue;
		oci_platform_format(&res[i].platform, platform, sizeof(platform));
		table_row(&t);
		table_cell(&t, "%s", w->names[i]);
		table_cell(&t, "%s", platform);
		table_cell(&t, "%zu", res[i].layers);
		size_cell(&t, res[i].compressed);
		size_cell(&t, res[i].fetched);
	}
	table_print(&t);
}

static void print_fetch(const struct pl_forecast *f)
{
	char all[16], part[16];

	cli_size(f->fetch_bytes, all, sizeof(all));
	printf("\nTo fetch: %s in %zu blob%s", all, f->fetch_blobs, f->fetch_blobs == 1 ? "" : "s");
	cli_size(f->archive_bytes, part, sizeof(part));
	if (f->archive_bytes)
		printf(", %s of it from archives", part);
	cli_size(f->stored_bytes, part, sizeof(part));
	printf("; %s in %zu %s in the store already\n\n", part, f->stored_blobs,
	       f->stored_blobs == 1 ? "is" : "are");
}

static void cost_row(struct table *t, const char *name, const struct pl_cost *c)
{
	table_row(t);
	table_cell(t, "%s", name);
	table_cell(t, "%zu", c->trees);
	size_cell(t, c->bytes.likely);
	size_cell(t, c->bytes.low);
	size_cell(t, c->bytes.high);
	table_cell(t, "%" PRIu64, c->inodes.likely);
	table_cell(t, "%" PRIu64, c->inodes.low);
	table_cell(t, "%" PRIu64, c->inodes.high);
}

static void print_cost(const struct pl_forecast *f)
{
	static const char *const heads[] = { "ON DISK", ">TREES",  ">BYTES", ">FROM",
					     ">TO",     ">INODES", ">FROM",  ">TO" };
	const struct pl_range blobs = { f->blob_bytes, f->blob_bytes, f->blob_bytes };
	const struct pl_range files = { f->fetch_blobs, f->fetch_blobs, f->fetch_blobs };
	const struct pl_cost stored = { 0, blobs, files };
	__attribute__((cleanup(table_release))) struct table t = { 0 };

	table_begin(&t, heads, K3_ARRAY_LEN(heads));
	cost_row(&t, "blobs, in any case", &stored);
	cost_row(&t, "trees, --snapshots flat", &f->flat);
	cost_row(&t, "trees, --snapshots chain", &f->chain);
	cost_row(&t, "trees, containerd's own", &f->native);
	table_print(&t);
}

static void print_honest(const struct pl_forecast *f)
{
	size_t n = f->layers.plain + f->layers.told + f->layers.guessed;

	if (!n)
		return;
	printf("\nWhat trees take is an estimate: manifests tell compressed sizes only. ");
	if (f->layers.guessed == n)
		printf("No layer is\nhere yet");
	else
		printf("Of %zu\nlayers %zu tell their size, not compressed or by their ends", n,
		       n - f->layers.guessed);
	if (f->layers.guessed)
		printf("; %zu count%s as 2.8 times their\nbytes, in a range of 1.3 to 5.3",
		       f->layers.guessed, f->layers.guessed == 1 ? "s" : "");
	printf(". Inodes are guessed from bytes.\n");
}

/* ---- JSON ---------------------------------------------------------------------------- */

static void json_range(struct k3_jw *w, const char *key, const struct pl_range *r)
{
	k3_jw_obj(w, key);
	k3_jw_u64(w, "likely", r->likely);
	k3_jw_u64(w, "low", r->low);
	k3_jw_u64(w, "high", r->high);
	k3_jw_close_obj(w);
}

static void json_cost(struct k3_jw *w, const char *key, const struct pl_cost *c)
{
	k3_jw_obj(w, key);
	k3_jw_u64(w, "trees", c->trees);
	json_range(w, "bytes", &c->bytes);
	json_range(w, "inodes", &c->inodes);
	k3_jw_close_obj(w);
}

static void json_image(struct k3_jw *w, const char *name, const struct pl_result *r)
{
	char text[OCI_DIGEST_TEXT_MAX];

	k3_jw_obj(w, NULL);
	k3_jw_str(w, "name", name);
	if (r->rc) {
		k3_jw_str(w, "status", "failed");
		results_json_error(w, &r->err);
		k3_jw_close_obj(w);
		return;
	}
	k3_jw_str(w, "status", "resolved");
	oci_digest_format(&r->target, text);
	k3_jw_str(w, "digest", text);
	oci_digest_format(&r->config, text);
	k3_jw_str(w, "id", text);
	oci_platform_format(&r->platform, text, sizeof(text));
	k3_jw_str(w, "platform", text);
	k3_jw_u64(w, "layers", r->layers);
	k3_jw_u64(w, "compressedBytes", r->compressed);
	k3_jw_u64(w, "fetchBytes", r->fetched);
	k3_jw_close_obj(w);
}

static int print_json(const struct settings *s, const struct wanted *want,
		      const struct pl_result *res, const struct pl_forecast *f)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	struct k3_jw w = K3_JW(&out);

	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "root", s->where.root);
	k3_jw_str(&w, "namespace", s->where.ns);
	k3_jw_bool(&w, "rootExists", !f->no_root);
	k3_jw_obj(&w, "fetch");
	k3_jw_u64(&w, "blobs", f->fetch_blobs);
	k3_jw_u64(&w, "bytes", f->fetch_bytes);
	k3_jw_u64(&w, "fromArchivesBytes", f->archive_bytes);
	k3_jw_u64(&w, "storedBlobs", f->stored_blobs);
	k3_jw_u64(&w, "storedBytes", f->stored_bytes);
	k3_jw_close_obj(&w);
	k3_jw_obj(&w, "disk");
	k3_jw_u64(&w, "blobBytes", f->blob_bytes);
	k3_jw_bool(&w, "treesAreEstimates", true);
	json_cost(&w, "flat", &f->flat);
	json_cost(&w, "chain", &f->chain);
	json_cost(&w, "containerdNative", &f->native);
	k3_jw_close_obj(&w);
	k3_jw_obj(&w, "layers");
	k3_jw_u64(&w, "uncompressed", f->layers.plain);
	k3_jw_u64(&w, "toldByTheirEnds", f->layers.told);
	k3_jw_u64(&w, "guessed", f->layers.guessed);
	k3_jw_close_obj(&w);
	k3_jw_arr(&w, "images");
	for (size_t i = 0; i < want->n; i++)
		json_image(&w, want->names[i], &res[i]);
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

/* ---- the command --------------------------------------------------------------------- */

static void tell(void *arg, const struct pl_event *ev)
{
	const struct settings *s = arg;

	if (!s->quiet && (ev->kind == PL_EV_RETRY || ev->kind == PL_EV_NOTICE)) {
		K3_AUTO_FREE char *safe = cli_safe(ev->text);

		fprintf(stderr, "%s\n", safe);
	}
}

static int plan(struct settings *s, const struct pl_opts *opts, const struct wanted *w,
		const struct cli *cli)
{
	K3_AUTO_FREE struct pl_result *res = k3_xcalloc(w->n, sizeof(*res));
	struct pl_opts o = *opts;
	struct pl_forecast f;
	struct k3_err e;

	o.event = tell;
	o.arg = s;
	if (pl_forecast(&o, w->reqs, w->n, cli->cancel, res, &f, &e))
		return cli_error(&e);
	const struct results out = { .names = (const char *const *)w->names,
				     .res = res,
				     .n = w->n };

	for (size_t i = 0; i < w->n; i++)
		if (res[i].rc)
			cli_image_error(w->names[i], &res[i].err);
	if (f.no_root && !s->quiet)
		fprintf(stderr, "%s is not there yet: everything counts as missing\n",
			s->where.root);
	if (!strcmp(s->output, "json")) {
		if (print_json(s, w, res, &f))
			return cli_finish(1);
	} else if (results_whole(&out)) {
		print_images(w, res);
		print_fetch(&f);
		print_cost(&f);
		print_honest(&f);
	}
	return cli_finish(results_status(&out, w->n));
}

static int choose_options(const struct settings *s, const struct cli *c, struct pl_opts *o,
			  struct k3_err *e)
{
	*o = (struct pl_opts){ .root = s->where.root,
			       .ns = s->where.ns,
			       .limits = unpack_limits_default,
			       .fetch.cancel = c->cancel };
	if (registry_flags_choose(&s->registry, &o->fetch, e))
		return -1;
	oci_platform_host(&o->platform);
	return s->platform ? oci_platform_parse(s->platform, &o->platform, e) : 0;
}

static int prepare(struct settings *s, const struct words *args, const struct cli *c)
{
	K3_AUTO_FREE char *spool_dir = sources_spool_dir(s->where.root);
	struct sources_opts archives = { .spool_dir = spool_dir,
					 .name = s->name,
					 .limits = unpack_limits_default,
					 .cancel = c->cancel };
	const struct wanted_from from = { args,     &s->lists,  &s->manifests,
					  s->quiet, s->verbose, &archives };
	__attribute__((cleanup(wanted_release))) struct wanted w = { 0 };
	__attribute__((cleanup(imp_config_release))) struct imp_config config = { 0 };
	struct pl_opts o;
	struct k3_err e;

	if (registry_flags_complete(&s->registry, wanted_stdin(&from), c->cancel, &e) ||
	    choose_options(s, c, &o, &e))
		return cli_error(&e);
	if (!args->n && !s->lists.n && !s->manifests.n) {
		k3_fail(&e, K3_USAGE, "no image was named");
		k3_hint(&e, "k3simg plan nginx:alpine, -f LIST or --from-manifest FILE");
		return cli_error(&e);
	}
	archives.platform = o.platform;
	if (wanted_gather(&w, &from, &e) || imp_config_load(s->where.root, NULL, &config, &e) ||
	    registry_flags_configure(&s->registry, &config, &o.fetch, &e))
		return cli_error(&e);
	return w.n ? plan(s, &o, &w, c) : 0;
}

static const char about[] =
	"\n"
	"REF is what preload takes: a registry name or a source (oci:DIR, oci-archive:FILE,\n"
	"docker-archive:FILE).  Only manifests are fetched, no layer, and nothing is written; "
	"what\n"
	"the store has is subtracted, and what images share counts once.  The pause image, which\n"
	"preload adds by itself, is not among them.\n"
	"\nExamples:\n"
	"  k3simg plan nginx:alpine redis:7     what these two would take\n"
	"  k3simg plan -f k3s-v1.33             the images of a k3s release\n"
	"  k3simg plan -o json nginx:alpine | jq .fetch.bytes\n";

int cmd_plan(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	struct settings s = { .output = "text" };
	struct words args = { 0 };
	struct opt wanted[WANTED_ROWS], where[CATALOG_ROWS], registry[REGISTRY_ROWS];
	struct k3_err e;
	bool help;
	const struct opt opts[] = {
		{ .kind = OPT_ROWS, .dest = wanted },
		{ "name", 0, OPT_STR, "NAME",
		  "the name of an image that an archive gives none, or\nonly a tag", &s.name },
		{ .kind = OPT_ROWS, .dest = where },
		{ "platform", 0, OPT_STR, "OS/ARCH[/VARIANT]", "default: this machine's",
		  &s.platform },
		{ .kind = OPT_ROWS, .dest = registry },
		{ "output", 'o', OPT_CHOICE, "text|json",
		  "how the result is printed (default: text)", &s.output },
		{ "quiet", 'q', OPT_FLAG, NULL, "only results and errors", &s.quiet },
		{ "verbose", 'v', OPT_FLAG, NULL, "every warning", &s.verbose },
		{ 0 },
	};
	int status = 0;

	wanted_opts(&s.lists, &s.manifests, wanted);
	catalog_rows(&s.where, where);
	registry_flags_rows(&s.registry, registry);
	if (opts_parse(opts, argc, argv, &args, &help, &e)) {
		status = cli_error(&e);
	} else if (help) {
		cli_help(cmd, about, opts);
		status = cli_finish(0);
	} else {
		K3_AUTO_FREE char *root = catalog_choose_root(&s.where);

		s.where.root = root;
		status = prepare(&s, &args, c);
	}
	words_release(&args);
	words_release(&s.lists);
	words_release(&s.manifests);
	registry_flags_release(&s.registry);
	return status;
}
