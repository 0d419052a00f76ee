/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/losses.h"
#include "cli/progress.h"
#include "cli/registry_opts.h"
#include "cli/wanted.h"
#include "importer/importer.h"
#include "pipeline/pipeline.h"

#define JSON_MAX (64u << 20) /* of the results: some 100,000 images */

/* What the words of the command line say. */
struct settings {
	const char *root, *ns, *platform, *snapshots, *pause, *config_file, *output, *jobs;
	const char *chunk_size, *mode, *address, *name, *on_loss;
	bool pin, no_sync, quiet, verbose;
	struct words lists, manifests;
	struct registry_opts registry;
};

static const char about[] =
	"\n"
	"REF is a registry name: nginx, nginx:1.27, ghcr.io/org/app:v1, host:5000/app@sha256:...\n"
	"or a source: oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], where\n"
	"FILE may be compressed by gzip or zstd, or - for standard input.\n"
	"While the containerd or k3s that has the root runs, it is asked to do the writing.\n";

/* Trees of one snapshotter are of no use to another. */
static void check_snapshotter(const struct imp_config *c)
{
	const char *name = c->snapshotter ? c->snapshotter : "overlayfs";

	if (c->file && strcmp(name, IMP_SNAPSHOTTER) != 0)
		fprintf(stderr,
			"warning: %s: CRI's snapshotter is \"%s\"%s and will not use these trees; "
			"set it to \"" IMP_SNAPSHOTTER "\"\n",
			c->file, name, c->snapshotter ? "" : " by default");
}

/*
 * The pause image: kubelet looks it up under the literal text of the configuration, which
 * *literal is if that is no normalised name; the caller's.
 */
static int want_pause(struct wanted *w, const struct settings *s, const struct imp_config *config,
		      char **literal, struct k3_err *e)
{
	bool automatic = !strcmp(s->pause, "auto");
	const char *text = automatic ? config->pause : s->pause;
	size_t index;

	if (!strcmp(text, "none"))
		return 0;
	if (automatic)
		check_snapshotter(config);
	if (wanted_add(w, text, &index, e))
		return k3_wrap(e, "pause image");
	K3_AUTO_FREE char *name = oci_ref_name(&w->reqs[index].ref);

	if (strcmp(name, text) != 0) {
		*literal = k3_xstrdup(text);
		w->reqs[index].literal_name = *literal;
	}
	if (automatic && !s->quiet)
		fprintf(stderr, "pause image: %s (%s)\n", text,
			!config->pause_default ? config->file
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
		.pin = s->pin,
		.no_sync = s->no_sync,
		.chunk_size = PL_CHUNK_DEFAULT,
		.limits = unpack_limits_default,
		.fetch.cancel = c->cancel,
	};
	if (!strcmp(s->mode, "live"))
		o->mode = IMP_LIVE;
	else if (!strcmp(s->mode, "offline"))
		o->mode = IMP_OFFLINE;
	else if (strcmp(s->mode, "auto") != 0)
		return k3_fail(e, K3_USAGE, "--mode is auto, live or offline, not \"%s\"", s->mode);
	if (!strcmp(s->snapshots, "chain"))
		o->snapshots = PL_CHAIN;
	else if (strcmp(s->snapshots, "flat") != 0)
		return k3_fail(e, K3_USAGE, "--snapshots is flat or chain, not \"%s\"",
			       s->snapshots);
	if (strcmp(s->output, "text") != 0 && strcmp(s->output, "json") != 0)
		return k3_fail(e, K3_USAGE, "--output is text or json, not \"%s\"", s->output);
	if (choose_numbers(s, o, e) || registry_opts_choose(&s->registry, &o->fetch, e) ||
	    losses_policy(s->on_loss, o->on_loss, e))
		return -1;
	if (!s->platform) {
		oci_platform_host(&o->platform);
		return 0;
	}
	return oci_platform_parse(s->platform, &o->platform, e);
}

/* ---- results ---- */

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
		oci_platform_format(&r->platform, platform, sizeof(platform));
		cli_size(r->compressed, size, sizeof(size));
		cli_duration(r->ms, time, sizeof(time));
		/* 19 bytes: the algorithm and twelve digits, as crictl shows them */
		printf("%s  %s  %.19s  %zu layer%s  %s  %s%s%s%s  %s\n", w->names[i], platform,
		       digest, r->layers, r->layers == 1 ? "" : "s", size, s->snapshots,
		       s->pin ? "  pinned" : "", r->live ? "  live" : "",
		       r->changed ? "" : "  up to date", time);
	}
}

static void json_image(struct k3_jw *w, const char *name, const struct pl_result *r,
		       const struct losses *losses, size_t i)
{
	char text[OCI_DIGEST_TEXT_MAX];

	k3_jw_obj(w, NULL);
	k3_jw_str(w, "name", name);
	k3_jw_str(w, "status", r->rc ? "failed" : r->changed ? "imported" : "up-to-date");
	if (r->rc) {
		k3_jw_obj(w, "error");
		k3_jw_str(w, "code", k3_code_name(r->err.code));
		k3_jw_str(w, "message", r->err.msg);
		k3_jw_str(w, "hint", r->err.hint[0] ? r->err.hint : NULL);
		k3_jw_close_obj(w);
		k3_jw_close_obj(w);
		return;
	}
	oci_digest_format(&r->target, text);
	k3_jw_str(w, "digest", text);
	oci_digest_format(&r->config, text);
	k3_jw_str(w, "id", text);
	oci_platform_format(&r->platform, text, sizeof(text));
	k3_jw_str(w, "platform", text);
	k3_jw_str(w, "mode", r->live ? "live" : "offline");
	k3_jw_u64(w, "layers", r->layers);
	k3_jw_u64(w, "compressedBytes", r->compressed);
	k3_jw_u64(w, "fetchedBytes", r->fetched);
	k3_jw_u64(w, "treeBytes", r->tree_bytes);
	losses_json(losses, i, w);
	k3_jw_u64(w, "milliseconds", r->ms);
	k3_jw_close_obj(w);
}

static int print_json(const struct settings *s, const struct wanted *wanted,
		      const struct pl_result *res, const struct losses *losses)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	struct k3_jw w = K3_JW(&out);

	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "root", s->root);
	k3_jw_str(&w, "namespace", s->ns);
	k3_jw_str(&w, "snapshots", s->snapshots);
	k3_jw_bool(&w, "pinned", s->pin);
	k3_jw_arr(&w, "images");
	for (size_t i = 0; i < wanted->n; i++)
		json_image(&w, wanted->names[i], &res[i], losses, i);
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

/*
 * 0, the code of the first failure when nothing that was asked for is in place, else 9.
 * asked: the requests before this index were named by the user, later ones are the pause image.
 */
static int status_of(const struct wanted *w, const struct pl_result *res, size_t asked)
{
	size_t failed = 0, failed_asked = 0;
	const struct pl_result *first = NULL;

	for (size_t i = 0; i < w->n; i++) {
		if (!res[i].rc)
			continue;
		failed++;
		failed_asked += i < asked;
		if (!first)
			first = &res[i];
	}
	if (!failed)
		return 0;
	return failed_asked == asked ? k3_exit_status(first->err.code) : CLI_PARTIAL_EXIT;
}

static size_t count_whole(const struct pl_result *res, size_t n)
{
	size_t whole = 0;

	for (size_t i = 0; i < n; i++)
		whole += !res[i].rc;
	return whole;
}

/* Who listens to a run. */
struct listeners {
	struct progress *progress;
	struct losses *losses;
};

static void tell(void *arg, const struct pl_event *ev)
{
	struct listeners *to = arg;

	losses_event(to->losses, ev);
	progress_event(to->progress, ev);
}

static int preload(const struct settings *s, const struct pl_opts *opts, const struct wanted *w,
		   size_t asked, struct k3_cancel *cancel)
{
	K3_AUTO_FREE struct pl_result *res = k3_xcalloc(w->n, sizeof(*res));
	struct progress *p = progress_new(s->quiet ? PROGRESS_NONE : PROGRESS_AUTO, s->verbose,
					  (const char *const *)w->names, w->n);
	struct pl_opts o = *opts;
	struct k3_err e;
	uint64_t start = k3_now_ms();

	struct listeners to = { p, losses_new(w->n) };

	o.event = tell;
	o.arg = &to;
	int rc = pl_run(&o, w->reqs, w->n, cancel, res, &e);

	progress_end(p);
	progress_free(p);
	/* When nothing was committed there is one cause, whatever the images say. */
	if (rc)
		cli_error(&e);
	for (size_t i = 0; !rc && i < w->n; i++)
		if (res[i].rc)
			cli_image_error(w->names[i], &res[i].err);
		else
			losses_warn(to.losses, i, w->names[i], s->verbose);
	int printed = 0;

	if (!strcmp(s->output, "json"))
		printed = print_json(s, w, res, to.losses);
	else if (!rc)
		print_text(s, w, res);
	losses_free(to.losses);
	if (printed)
		return cli_finish(1);
	char time[16];

	cli_duration(k3_now_ms() - start, time, sizeof(time));
	if (!rc && !s->quiet && w->n > 1)
		fprintf(stderr, "%zu of %zu images in %s\n", count_whole(res, w->n), w->n, time);
	return cli_finish(rc ? k3_exit_status(e.code) : status_of(w, res, asked));
}

/* The socket: named, or as every tool of containerd looks for it. */
static const char *choose_address(const struct settings *s, const struct imp_config *config)
{
	const char *env = getenv("CONTAINERD_ADDRESS");

	return s->address ? s->address : env && *env ? env : config->address;
}

static int prepare(const struct settings *s, const struct words *args, const struct cli *c)
{
	K3_AUTO_FREE char *spool_dir = sources_spool_dir(s->root);
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
	struct k3_err e;

	if (choose_options(s, c, &o, &e))
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
	    want_pause(&w, s, &config, &literal, &e))
		return cli_error(&e);
	o.address = choose_address(s, &config);
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
		{ "mode", 0, OPT_STR, "auto|live|offline",
		  "auto (default): live if containerd runs on the root\n"
		  "live: through its API\noffline: write its databases, while it is stopped",
		  &s.mode },
		{ "address", 'a', OPT_STR, "SOCKET",
		  "containerd's (default: $CONTAINERD_ADDRESS, then\nthe one of the root's "
		  "configuration)",
		  &s.address },
		{ "platform", 0, OPT_STR, "OS/ARCH[/VARIANT]", "default: this machine's",
		  &s.platform },
		{ "snapshots", 0, OPT_STR, "MODE",
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
		{ "output", 'o', OPT_STR, "FORMAT", "results as text (default) or json",
		  &s.output },
		{ "quiet", 'q', OPT_FLAG, NULL, "no progress, only results, warnings and errors",
		  &s.quiet },
		{ "verbose", 'v', OPT_FLAG, NULL, "every warning", &s.verbose },
		{ 0 },
	};
	int status = 0;

	wanted_opts(&s.lists, &s.manifests, wanted);
	registry_opts_rows(&s.registry, registry);
	losses_opts(&s.on_loss, losses);
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
	return status;
}
