/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/findings.h"
#include "cli/progress.h"
#include "cli/registry_flags.h"

#define JSON_MAX (256u << 20)

struct settings {
	const char *root, *ns, *platform, *config_file, *output, *jobs, *progress;
	bool no_sync, quiet;
	enum progress_mode shown;
	struct registry_flags registry;
};

static const char about[] =
	"\n"
	"REF is a name as preload takes it, a digest, or an image ID or the start of one.  Each "
	"image is checked as by verify --deep.  Blobs that are damaged come from the registry that "
	"its names tell, by digest; trees are made anew from blobs, without network when these are "
	"whole.  Then it is checked again.\n"
	"\n"
	"The containerd or k3s that owns the root must be stopped.\n"
	"\n"
	"Exit status:\n"
	"  0    all is whole in the end\n"
	"  3    a REF is not there\n"
	"  10   some damage is left\n"
	"\n"
	"Examples:\n"
	"  k3simg repair nginx:alpine\n";

static size_t damage_left(const struct pl_repaired *r)
{
	return r->after.nimages ? r->after.damage : r->before.damage;
}

/* ---- results ---- */

static void print_text(const struct settings *s, const char *ref, const struct pl_repaired *r,
		       struct progress *p)
{
	const struct pl_report *left = r->after.nimages ? &r->after : &r->before;
	const char *name = left->nimages ? left->images[0].name : ref;

	findings_print(&r->before, s->quiet);
	if (!r->before.damage) {
		printf("%s: whole\n", name);
		return;
	}
	if (!left->damage) {
		printf("%s: mended, %zu finding%s\n", name, r->before.damage,
		       r->before.damage == 1 ? "" : "s");
		return;
	}
	/* What is left is said again: some of it may have come to light only now. */
	printf("%s: not mended%s\n", name, left == &r->before ? "" : ", what is left:");
	if (left != &r->before)
		findings_print(left, true);
	if (r->failed)
		progress_error(p, name, &r->err);
}

static void json_image(struct k3_jw *w, const char *ref, const struct pl_repaired *r)
{
	const struct pl_report *left = r->after.nimages ? &r->after : &r->before;

	k3_jw_obj(w, NULL);
	k3_jw_str(w, "name", left->nimages ? left->images[0].name : ref);
	k3_jw_str(w, "status", !r->before.damage ? "whole" : left->damage ? "failed" : "mended");
	findings_json(w, "findings", &r->before);
	findings_json(w, "left", left);
	if (left->damage && r->failed) {
		k3_jw_obj(w, "error");
		k3_jw_str(w, "code", k3_code_name(r->err.code));
		k3_jw_str(w, "message", r->err.msg);
		k3_jw_str(w, "hint", r->err.hint[0] ? r->err.hint : NULL);
		k3_jw_close_obj(w);
	}
	k3_jw_close_obj(w);
}

/* ---- the run ---- */

/* Who listens to the runs that mend an image. */
struct listener {
	struct progress *progress;
	size_t image;
};

/* Each run is for one image, asked for at each place that may have it. */
static void on_event(void *arg, const struct pl_event *ev)
{
	const struct listener *to = arg;
	struct pl_event mine = *ev;

	mine.image = to->image;
	switch (ev->kind) {
	case PL_EV_LAYER:
		if (ev->shared)
			return;
		break;
	case PL_EV_WHOLE:
	case PL_EV_FAILED:
	case PL_EV_LOSS:
		return;
	default:
		break;
	}
	progress_event(to->progress, &mine);
}

static void tell_end(const struct listener *to, int rc, const struct pl_repaired *r,
		     const struct k3_err *e)
{
	bool bad = rc || (damage_left(r) && r->failed);

	progress_event(to->progress, &(struct pl_event){ .kind = bad ? PL_EV_FAILED : PL_EV_WHOLE,
							 .image = to->image,
							 .err = rc ? e : &r->err });
	progress_pause(to->progress);
}

/* One image after the other: what one mends of a shared layer the next finds whole. */
static int repair_all(const struct settings *s, const struct pl_opts *o, const struct words *refs,
		      const struct cli *c, struct progress *p, struct k3_jw *w, int *status)
{
	for (size_t i = 0; i < refs->n; i++) {
		__attribute__((cleanup(pl_repaired_release))) struct pl_repaired r = { 0 };
		struct listener to = { p, i };
		struct pl_opts opts = *o;
		struct k3_err e;

		opts.arg = &to;
		int rc = pl_repair(&opts, refs->items[i], c->cancel, progress_status, p, &r, &e);

		tell_end(&to, rc, &r, &e);
		if (rc) {
			*status = progress_error(p, NULL, &e);
			/* Others may be there; a store that cannot be used will not change. */
			if (e.code != K3_NOTFOUND)
				return -1;
			continue;
		}
		if (w)
			json_image(w, refs->items[i], &r);
		else
			print_text(s, refs->items[i], &r, p);
		if (damage_left(&r) && !*status)
			*status = CLI_FINDINGS_EXIT;
	}
	return 0;
}

static int repair(const struct settings *s, const struct pl_opts *o, const struct words *refs,
		  const struct cli *c)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	struct k3_jw w = K3_JW(&out);
	PROGRESS_AUTO_FREE struct progress *p = progress_start(s->shown, PROGRESS_REPAIR, false,
							       o->jobs, refs->items, refs->n);
	bool json = !strcmp(s->output, "json");
	int status = 0;

	if (json) {
		k3_jw_obj(&w, NULL);
		k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
		k3_jw_str(&w, "root", s->root);
		k3_jw_str(&w, "namespace", s->ns);
		k3_jw_arr(&w, "images");
	}
	int rc = repair_all(s, o, refs, c, p, json ? &w : NULL, &status);

	progress_end(p);
	if (json) {
		k3_jw_close_arr(&w);
		k3_jw_close_obj(&w);
		if (cli_put_json(&w))
			return progress_finish(p, cli_finish(1));
	}
	return progress_finish(p, cli_finish(rc && !status ? 1 : status));
}

static int choose_options(const struct settings *s, struct pl_opts *o, struct k3_err *e)
{
	*o = (struct pl_opts){
		.root = s->root,
		.ns = s->ns,
		.no_sync = s->no_sync,
		.chunk_size = PL_CHUNK_DEFAULT,
		.limits = unpack_limits_default,
		.event = on_event,
	};
	if (s->jobs && cli_parse_count("jobs", s->jobs, 1, PL_JOBS_MAX, &o->jobs, e))
		return -1;
	if (registry_flags_choose(&s->registry, &o->fetch, e))
		return -1;
	oci_platform_host(&o->platform);
	return s->platform ? oci_platform_parse(s->platform, &o->platform, e) : 0;
}

static int prepare(struct settings *s, const struct words *refs, const struct cli *c)
{
	K3_AUTO_FREE char *root = s->root ? k3_xstrdup(s->root) : imp_default_root();
	__attribute__((cleanup(imp_config_release))) struct imp_config config = { 0 };
	struct pl_opts o;
	struct k3_err e;

	s->root = root;
	if (progress_choose(s->progress, s->quiet, s->registry.debug_http, &s->shown, &e))
		return cli_error(&e);
	/* Lines for people are no events. */
	s->quiet = s->quiet || s->shown == PROGRESS_JSON;
	if (registry_flags_complete(&s->registry, NULL, c->cancel, &e) ||
	    choose_options(s, &o, &e) || imp_config_load(root, s->config_file, &config, &e) ||
	    registry_flags_configure(&s->registry, &config, &o.fetch, &e))
		return cli_error(&e);
	if (refs->n)
		return repair(s, &o, refs, c);
	k3_fail(&e, K3_USAGE, "no image was named");
	k3_hint(&e, "\"k3simg verify --deep\" tells which ones are damaged");
	return cli_error(&e);
}

int cmd_repair(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	struct settings s = { .ns = "k8s.io", .output = "text" };
	struct words args = { 0 };
	struct opt registry[REGISTRY_ROWS], progress[PROGRESS_ROWS];
	struct k3_err e;
	bool help;
	const struct opt opts[] = {
		{ "root", 0, OPT_STR, "DIR",
		  "containerd's root (default: the one of k3s if\nk3s is installed, else "
		  "containerd's)",
		  &s.root },
		{ "namespace", 'n', OPT_STR, "NAME", "containerd namespace (default: k8s.io)",
		  &s.ns },
		{ "platform", 0, OPT_STR, "OS/ARCH[/VARIANT]",
		  "of an image that the store does not tell it of\n(default: this machine's)",
		  &s.platform },
		{ "containerd-config", 0, OPT_STR, "FILE",
		  "configuration to read mirrors of registries from", &s.config_file },
		{ .kind = OPT_ROWS, .dest = registry },
		{ "jobs", 'j', OPT_STR, "N",
		  "layers hashed, trees built side by side (default:\none per CPU, 2 to 16)",
		  &s.jobs },
		{ "no-sync", 0, OPT_FLAG, NULL, "do not wait until all is on disk", &s.no_sync },
		{ "output", 'o', OPT_CHOICE, "text|json", "how results are printed (default: text)",
		  &s.output },
		{ .kind = OPT_ROWS, .dest = progress },
		{ "quiet", 'q', OPT_FLAG, NULL, "no progress, only results and errors", &s.quiet },
		{ 0 },
	};
	int status;

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
	registry_flags_release(&s.registry);
	return status;
}
