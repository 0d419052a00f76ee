/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/registry_flags.h"
#include "cli/results.h"
#include "cli/wanted.h"
#include "pipeline/pipeline.h"

#define JSON_MAX (64u << 20) /* of the results: some 100,000 images */

/* What the words of the command line say. */
struct settings {
	const char *to, *name, *platform, *connections, *output, *progress;
	bool all_platforms, quiet, verbose;
	enum progress_mode shown;
	struct words lists, manifests;
	struct registry_flags registry;
};

static const char about[] =
	"\n"
	"--to oci:DIR is an image layout that is made or added to, --to oci-archive:FILE one in a "
	"tar, compressed as its name says (.gz, .zst), for skopeo, ctr images import and k3s "
	"(agent/images).\n"
	"\n"
	"REF is what preload takes, a registry name or an archive; digests stay as they are there. "
	" Of a multi-platform image the index stays whole and the blobs of one platform come.  An "
	"interrupted run is gone on with by the same command, and what a layout has is not fetched "
	"again.  No containerd is needed.\n"
	"\n"
	"Examples:\n"
	"  k3simg fetch nginx:alpine --to oci-archive:nginx.tar\n"
	"  k3simg fetch -f images.list --to oci:layout --all-platforms\n";

/* "oci:DIR[:TAG]" or "oci-archive:FILE[:TAG]", as skopeo reads them; *path is the caller's. */
static int choose_target(const struct settings *s, struct pl_save_opts *o, char **path,
			 struct k3_err *e)
{
	static const char dir[] = "oci:", file[] = "oci-archive:";

	if (!s->to) {
		k3_fail(e, K3_USAGE, "--to is missing");
		return k3_hint(e, "--to oci:DIR, or --to oci-archive:FILE.tar");
	}
	o->archive = !strncmp(s->to, file, strlen(file));
	if (!o->archive && strncmp(s->to, dir, strlen(dir)) != 0) {
		k3_fail(e, K3_USAGE, "--to %s names no place that can be written to", s->to);
		return k3_hint(e, "--to oci:DIR, or --to oci-archive:FILE.tar");
	}
	*path = k3_xstrdup(s->to + strlen(o->archive ? file : dir));
	char *colon = strchr(*path, ':');

	if (colon) {
		*colon = '\0';
		o->tag = colon + 1;
	}
	if (!**path || (o->tag && !*o->tag))
		return k3_fail(e, K3_USAGE, "--to %s: a name is missing", s->to);
	o->path = *path;
	return 0;
}

static int choose_options(const struct settings *s, struct pl_save_opts *o, struct k3_err *e)
{
	o->all_platforms = s->all_platforms;
	if (s->all_platforms && s->platform)
		return k3_fail(e, K3_USAGE, "--platform and --all-platforms exclude each other");
	if (s->connections &&
	    cli_parse_count("connections", s->connections, 1, PL_TRANSFERS_MAX, &o->connections, e))
		return -1;
	if (registry_flags_choose(&s->registry, &o->fetch, e))
		return -1;
	oci_platform_host(&o->platform);
	return s->platform ? oci_platform_parse(s->platform, &o->platform, e) : 0;
}

/* ---- results ---- */

static void platform_text(const struct settings *s, const struct pl_result *r, char *out,
			  size_t size)
{
	if (s->all_platforms)
		snprintf(out, size, "all");
	else
		oci_platform_format(&r->platform, out, size);
}

static void print_text(const struct settings *s, const struct wanted *w,
		       const struct pl_result *res)
{
	for (size_t i = 0; i < w->n; i++) {
		const struct pl_result *r = &res[i];
		char digest[OCI_DIGEST_TEXT_MAX], platform[3 * OCI_PLATFORM_PART_MAX + 3];
		char size[16], time[16];

		if (r->rc)
			continue;
		oci_digest_format(&r->target, digest);
		platform_text(s, r, platform, sizeof(platform));
		cli_size(r->compressed, size, sizeof(size));
		cli_duration(r->ms, time, sizeof(time));
		/* 19 bytes: the algorithm and twelve digits, as crictl shows them */
		printf("%s  %s  %.19s  %zu blob%s  %s%s  %s\n", w->names[i], platform, digest,
		       r->layers, r->layers == 1 ? "" : "s", size, r->changed ? "" : "  up to date",
		       time);
	}
}

static void json_image(const struct settings *s, struct k3_jw *w, const char *name,
		       const struct pl_result *r)
{
	char text[OCI_DIGEST_TEXT_MAX];

	k3_jw_obj(w, NULL);
	k3_jw_str(w, "name", name);
	k3_jw_str(w, "status", r->rc ? "failed" : r->changed ? "fetched" : "up-to-date");
	if (r->rc) {
		results_json_error(w, &r->err);
		k3_jw_close_obj(w);
		return;
	}
	oci_digest_format(&r->target, text);
	k3_jw_str(w, "digest", text);
	platform_text(s, r, text, sizeof(text));
	k3_jw_str(w, "platform", text);
	k3_jw_u64(w, "blobs", r->layers);
	k3_jw_u64(w, "compressedBytes", r->compressed);
	k3_jw_u64(w, "fetchedBytes", r->fetched);
	k3_jw_u64(w, "milliseconds", r->ms);
	k3_jw_close_obj(w);
}

static int print_json(const struct settings *s, const struct wanted *wanted,
		      const struct pl_result *res)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	struct k3_jw w = K3_JW(&out);

	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "to", s->to);
	k3_jw_arr(&w, "images");
	for (size_t i = 0; i < wanted->n; i++)
		json_image(s, &w, wanted->names[i], &res[i]);
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

static int fetch(const struct settings *s, const struct pl_save_opts *opts, const struct wanted *w,
		 struct k3_cancel *cancel)
{
	K3_AUTO_FREE struct pl_result *res = k3_xcalloc(w->n, sizeof(*res));
	PROGRESS_AUTO_FREE struct progress *p = progress_start(s->shown, PROGRESS_FETCH, s->verbose,
							       opts->connections,
							       (const char *const *)w->names, w->n);
	struct pl_save_opts o = *opts;
	struct k3_err e;

	o.event = progress_event;
	o.arg = p;
	int rc = pl_save(&o, w->reqs, w->n, cancel, res, &e);

	progress_end(p);
	/* When nothing was written there is one cause, whatever the images say. */
	if (rc)
		progress_error(p, NULL, &e);
	for (size_t i = 0; !rc && i < w->n; i++)
		if (res[i].rc)
			progress_error(p, w->names[i], &res[i].err);
	if (!strcmp(s->output, "json")) {
		if (print_json(s, w, res))
			return progress_finish(p, cli_finish(1));
	} else if (!rc) {
		print_text(s, w, res);
	}
	const struct results out = { .res = res, .n = w->n };

	return progress_finish(
		p, cli_finish(rc ? k3_exit_status(e.code) : results_status(&out, w->n)));
}

static int prepare(struct settings *s, const struct words *args, const struct cli *c)
{
	struct k3_err e;

	if (progress_choose(s->progress, s->quiet, s->registry.debug_http, &s->shown, &e))
		return cli_error(&e);
	/* Lines for people are no events. */
	s->quiet = s->quiet || s->shown == PROGRESS_JSON;
	struct sources_opts archives = { .name = s->name,
					 .limits = unpack_limits_default,
					 .cancel = c->cancel };
	const struct wanted_from from = { args,     &s->lists,  &s->manifests,
					  s->quiet, s->verbose, &archives };
	__attribute__((cleanup(wanted_release))) struct wanted w = { 0 };
	K3_AUTO_FREE char *path = NULL, *spool_dir = NULL;
	struct pl_save_opts o = { 0 };

	if (choose_target(s, &o, &path, &e) ||
	    registry_flags_complete(&s->registry, wanted_stdin(&from), c->cancel, &e) ||
	    choose_options(s, &o, &e))
		return cli_error(&e);
	archives.spool_dir = spool_dir = sources_spool_dir(path);
	archives.platform = o.platform;
	if (registry_flags_configure(&s->registry, NULL, &o.fetch, &e) ||
	    wanted_gather(&w, &from, &e))
		return cli_error(&e);
	if (!w.n) {
		k3_fail(&e, K3_USAGE, "no image was named");
		k3_hint(&e, "k3simg fetch nginx:alpine --to ..., -f LIST or --from-manifest FILE");
		return cli_error(&e);
	}
	if (o.tag && w.n > 1) {
		k3_fail(&e, K3_USAGE, "--to %s: \"%s\" can name one image, not %zu", s->to, o.tag,
			w.n);
		k3_hint(&e, "without it each is called by its own tag");
		return cli_error(&e);
	}
	return fetch(s, &o, &w, c->cancel);
}

int cmd_fetch(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	struct settings s = { .output = "text" };
	struct words args = { 0 };
	struct opt wanted[WANTED_ROWS], registry[REGISTRY_ROWS], progress[PROGRESS_ROWS];
	struct k3_err e;
	bool help;
	const struct opt opts[] = {
		{ "to", 0, OPT_STR, "oci:DIR|oci-archive:FILE",
		  "where to: a layout or a tar; :TAG behind it names the only image", &s.to },
		{ .kind = OPT_ROWS, .dest = wanted },
		{ "name", 0, OPT_STR, "NAME",
		  "the name of an image that an archive gives none, or\nonly a tag; of the only "
		  "image, whatever its name",
		  &s.name },
		{ "platform", 0, OPT_STR, "OS/ARCH[/VARIANT]", "default: this machine's",
		  &s.platform },
		{ "all-platforms", 0, OPT_FLAG, NULL, "everything that an index names",
		  &s.all_platforms },
		{ .kind = OPT_ROWS, .dest = registry },
		{ "connections", 'j', OPT_STR, "N",
		  "blobs fetched side by side, 1 to 8 (default: one\nper CPU, at least 4)",
		  &s.connections },
		{ "output", 'o', OPT_CHOICE, "text|json", "how results are printed (default: text)",
		  &s.output },
		{ .kind = OPT_ROWS, .dest = progress },
		{ "quiet", 'q', OPT_FLAG, NULL, "no progress, only results, warnings and errors",
		  &s.quiet },
		{ "verbose", 'v', OPT_FLAG, NULL, "every warning", &s.verbose },
		{ 0 },
	};
	int status;

	wanted_opts(&s.lists, &s.manifests, wanted);
	registry_flags_rows(&s.registry, registry);
	progress_rows(&s.progress, progress);
	if (opts_parse(opts, argc, argv, &args, &help, &e)) {
		status = cli_error(&e);
	} else if (help) {
		cli_help(cmd, about, opts);
		status = cli_finish(0);
	} else {
		status = prepare(&s, &args, c);
	}
	words_release(&args);
	words_release(&s.lists);
	words_release(&s.manifests);
	registry_flags_release(&s.registry);
	return status;
}
