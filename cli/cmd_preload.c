/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/losses.h"
#include "cli/progress.h"
#include "cli/registry_flags.h"
#include "cli/results.h"
#include "cli/store.h"
#include "cli/wanted.h"
#include "importer/importer.h"
#include "pipeline/pipeline.h"

/* What the words of the command line say. */
struct settings {
	const char *root, *ns, *platform, *snapshots, *pause, *config_file, *output, *jobs;
	const char *chunk_size, *mode, *address, *name, *on_loss, *progress;
	bool pin, no_sync, quiet, verbose;
	enum progress_mode shown;
	struct words lists, manifests;
	struct registry_flags registry;
};

static const char about[] =
	"\n"
	"REF is a registry name: nginx, nginx:1.27, ghcr.io/org/app:v1, host:5000/app@sha256:... "
	"or a source: oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], where "
	"FILE may be compressed by gzip or zstd, or - for standard input.\n"
	"\n"
	"While the containerd or k3s that has the root runs, it is asked to do the writing.\n"
	"\n"
	"Examples:\n"
	"  k3simg preload nginx:alpine redis:7\n"
	"  k3simg preload --root /srv/root -f images.list\n"
	"  k3simg preload --from-manifest deployment.yaml\n"
	"  k3simg preload docker-archive:k3s-airgap-images-amd64.tar.zst\n";

/*
 * The pause image: kubelet looks it up under the literal text of the configuration, which
 * *literal is if that is no normalised name; the caller's.
 */
static int want_pause(struct wanted *w, const struct settings *s, struct imp_config *config,
		      char **literal, struct k3_err *e)
{
	const char *text = store_pause(s->pause, config);
	size_t index;

	if (!text)
		return 0;
	if (wanted_add(w, text, &index, e))
		return k3_wrap(e, "pause image");
	K3_AUTO_FREE char *name = oci_ref_name(&w->reqs[index].ref);

	if (strcmp(name, text) != 0) {
		*literal = k3_xstrdup(text);
		w->reqs[index].literal_name = *literal;
	}
	if (text == config->pause && !s->quiet)
		fprintf(stderr, "pause image: %s (%s)\n", text,
			config->pause_program    ? config->pause_program
			: !config->pause_default ? config->file
						 : "default; --pause names another one");
	return 0;
}

static int choose_numbers(const struct settings *s, struct pl_opts *o, struct k3_err *e)
{
	if (s->jobs && cli_parse_count("jobs", s->jobs, 1, PL_JOBS_MAX, &o->jobs, e))
		return k3_hint(e, "1 does one thing after the other; by default one per CPU");
	if (s->chunk_size && cli_parse_size("chunk-size", s->chunk_size, &o->chunk_size, e))
		return -1;
	if (!o->chunk_size || o->chunk_size >= PL_CHUNK_MIN)
		return 0;
	k3_fail(e, K3_USAGE, "--chunk-size %s is too small", s->chunk_size);
	return k3_hint(e, "at least 1MiB, or 0 to fetch every layer in one piece");
}

static int choose_options(const struct settings *s, const struct cli *c, struct pl_opts *o,
			  struct k3_err *e)
{
	*o = (struct pl_opts){
		.root = s->root,
		.ns = s->ns,
		.mode = store_mode(s->mode),
		.snapshots = store_snapshots(s->snapshots),
		.pin = s->pin,
		.no_sync = s->no_sync,
		.chunk_size = PL_CHUNK_DEFAULT,
		.limits = unpack_limits_default,
		.fetch.cancel = c->cancel,
	};
	if (choose_numbers(s, o, e) || registry_flags_choose(&s->registry, &o->fetch, e) ||
	    losses_policy(s->on_loss, o->on_loss, e))
		return -1;
	if (!s->platform) {
		oci_platform_host(&o->platform);
		return 0;
	}
	return oci_platform_parse(s->platform, &o->platform, e);
}

static int preload(const struct settings *s, const struct pl_opts *opts, const struct wanted *w,
		   size_t asked, struct k3_cancel *cancel)
{
	K3_AUTO_FREE struct pl_result *res = k3_xcalloc(w->n, sizeof(*res));
	PROGRESS_AUTO_FREE struct progress *p = progress_start(s->shown, PROGRESS_PRELOAD,
							       s->verbose, opts->jobs,
							       (const char *const *)w->names, w->n);
	struct pl_opts o = *opts;
	struct k3_err e;
	uint64_t start = k3_now_ms();

	struct listeners to = { p, losses_new(w->n) };

	o.event = losses_listen;
	o.arg = &to;
	int rc = pl_run(&o, w->reqs, w->n, cancel, res, &e);

	progress_end(p);
	/* When nothing was committed there is one cause, whatever the images say. */
	if (rc)
		progress_error(p, NULL, &e);
	for (size_t i = 0; !rc && i < w->n; i++)
		if (res[i].rc)
			progress_error(p, w->names[i], &res[i].err);
		else
			losses_warn(to.losses, p, i, w->names[i], s->verbose);
	const struct results out = {
		.names = (const char *const *)w->names,
		.res = res,
		.losses = to.losses,
		.n = w->n,
		.root = s->root,
		.ns = s->ns,
		.snapshots = s->snapshots,
		.pinned = s->pin,
	};
	int printed = 0;

	if (!strcmp(s->output, "json"))
		printed = results_json(&out);
	else if (!rc)
		results_text(&out);
	losses_free(to.losses);
	if (printed)
		return progress_finish(p, cli_finish(1));
	char time[16];

	cli_duration(k3_now_ms() - start, time, sizeof(time));
	if (!rc && !s->quiet && w->n > 1)
		fprintf(stderr, "%zu of %zu images in %s\n", results_whole(&out), w->n, time);
	return progress_finish(
		p, cli_finish(rc ? k3_exit_status(e.code) : results_status(&out, asked)));
}

static int prepare(struct settings *s, const struct words *args, const struct cli *c)
{
	K3_AUTO_FREE char *spool_dir = sources_spool_dir(s->root);
	struct k3_err e;

	if (progress_choose(s->progress, s->quiet, s->registry.debug_http, &s->shown, &e))
		return cli_error(&e);
	/* Lines for people are no events. */
	s->quiet = s->quiet || s->shown == PROGRESS_JSON;
	struct sources_opts archives = { .spool_dir = spool_dir,
					 .name = s->name,
					 .limits = unpack_limits_default,
					 .cancel = c->cancel };
	const struct wanted_from from = { args,     &s->lists,  &s->manifests,
					  s->quiet, s->verbose, &archives };
	__attribute__((cleanup(wanted_release))) struct wanted w = { 0 };
	K3_AUTO_FREE char *literal = NULL;
	__attribute__((cleanup(imp_config_release))) struct imp_config config = { 0 };
	struct pl_opts o;

	if (registry_flags_complete(&s->registry, wanted_stdin(&from), c->cancel, &e) ||
	    choose_options(s, c, &o, &e))
		return cli_error(&e);
	if (!args->n && !s->lists.n && !s->manifests.n) {
		k3_fail(&e, K3_USAGE, "no image was named");
		k3_hint(&e, "k3simg preload nginx:alpine, -f LIST or --from-manifest FILE");
		return cli_error(&e);
	}
	archives.platform = o.platform;
	if (wanted_gather(&w, &from, &e))
		return cli_error(&e);
	size_t asked = w.n;

	if (imp_config_load(s->root, s->config_file, &config, &e) ||
	    want_pause(&w, s, &config, &literal, &e) ||
	    registry_flags_configure(&s->registry, &config, &o.fetch, &e))
		return cli_error(&e);
	o.address = store_address(s->address, &config);
	return w.n ? preload(s, &o, &w, asked ? asked : w.n, c->cancel) : 0;
}

int cmd_preload(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	struct settings s = { .ns = "k8s.io",
			      .mode = "auto",
			      .snapshots = "flat",
			      .pause = "auto",
			      .output = "text",
			      .pin = true };
	struct words args = { 0 };
	struct opt wanted[WANTED_ROWS], registry[REGISTRY_ROWS], losses[LOSSES_ROWS];
	struct opt progress[PROGRESS_ROWS];
	struct k3_err e;
	bool help;
	const struct opt opts[] = {
		{ .kind = OPT_ROWS, .dest = wanted },
		{ "name", 0, OPT_STR, "NAME",
		  "the name of an image that an archive gives none, or\nonly a tag; of the only "
		  "image, whatever its name",
		  &s.name },
		{ "root", 0, OPT_STR, "DIR",
		  "containerd's root (default: the one of k3s if\nk3s is installed, else "
		  "containerd's)",
		  &s.root },
		{ "namespace", 'n', OPT_STR, "NAME", "containerd namespace (default: k8s.io)",
		  &s.ns },
		{ "mode", 0, OPT_CHOICE, "auto|live|offline",
		  "auto (default): live if containerd runs on the root\n"
		  "live: through its API\noffline: write its databases, while it is stopped",
		  &s.mode },
		{ "address", 'a', OPT_STR, "SOCKET",
		  "containerd's (default: $CONTAINERD_ADDRESS, then\nthe one of the root's "
		  "configuration)",
		  &s.address },
		{ "platform", 0, OPT_STR, "OS/ARCH[/VARIANT]", "default: this machine's",
		  &s.platform },
		{ "snapshots", 0, OPT_CHOICE, "flat|chain",
		  "flat (default): one tree per image, least disk\n"
		  "chain: every layer, for nodes that pull again",
		  &s.snapshots },
		{ "pause", 0, OPT_STR, "auto|REF|none",
		  "pause image: read from the root's configuration\n(default), this one, or none",
		  &s.pause },
		{ "containerd-config", 0, OPT_STR, "FILE",
		  "configuration to read the pause image from", &s.config_file },
		{ "no-pin", 0, OPT_UNSET, NULL, "leave the images to the kubelet's image GC",
		  &s.pin },
		{ .kind = OPT_ROWS, .dest = registry },
		{ "jobs", 'j', OPT_STR, "N",
		  "trees built side by side (default: one per CPU, 2\nto 16); 1: everything one "
		  "after the other",
		  &s.jobs },
		{ "chunk-size", 0, OPT_STR, "SIZE",
		  "fetch larger layers in parts of this size over\nseveral connections; 0 "
		  "(default): in one piece",
		  &s.chunk_size },
		{ "no-sync", 0, OPT_FLAG, NULL,
		  "do not wait until all is on disk: for machines that\nare thrown away, not for "
		  "nodes "
		  "that may lose power",
		  &s.no_sync },
		{ .kind = OPT_ROWS, .dest = losses },
		{ "output", 'o', OPT_CHOICE, "text|json", "how results are printed (default: text)",
		  &s.output },
		{ .kind = OPT_ROWS, .dest = progress },
		{ "quiet", 'q', OPT_FLAG, NULL, "no progress, only results, warnings and errors",
		  &s.quiet },
		{ "verbose", 'v', OPT_FLAG, NULL, "every warning", &s.verbose },
		{ 0 },
	};
	int status = 0;

	wanted_opts(&s.lists, &s.manifests, wanted);
	registry_flags_rows(&s.registry, registry);
	losses_opts(&s.on_loss, losses);
	progress_rows(&s.progress, progress);
	if (opts_parse(opts, argc, argv, &args, &help, &e)) {
		status = cli_error(&e);
	} else if (help) {
		cli_help(cmd, about, opts);
		status = cli_finish(0);
	} else {
		K3_AUTO_FREE char *root = s.root ? k3_xstrdup(s.root) : imp_default_root();

		s.root = root;
		status = prepare(&s, &args, c);
	}
	words_release(&args);
	words_release(&s.lists);
	words_release(&s.manifests);
	registry_flags_release(&s.registry);
	return status;
}
