/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bundle/bundle.h"
#include "cli/bundle.h"
#include "cli/losses.h"
#include "cli/progress.h"
#include "cli/results.h"
#include "cli/store.h"

struct settings {
	const char *root, *ns, *mode, *address, *platform, *snapshots, *pause, *config_file;
	const char *digest, *jobs, *output, *on_loss, *progress;
	bool pin, no_sync, quiet, verbose;
	enum progress_mode shown;
};

static const char about[] = "\n"
			    "FILE is what k3simg bundle create has written; - is standard input, "
			    "read once.  All images are put in place, or none.\n"
			    "\n"
			    "Every byte is verified by the digests of the images, so that a name "
			    "with a digest is what it says; what a tag means is the bundle's word, "
			    "as it would be the registry's: --digest pins that, too.\n"
			    "\n"
			    "Examples:\n"
			    "  k3simg bundle apply web.bundle\n"
			    "  curl -sf https://files.example/web.bundle | k3simg bundle apply -\n";

static void release_bundle(struct bundle **b)
{
	bundle_free(*b);
}

static int choose_options(const struct settings *s, struct pl_opts *o, struct k3_err *e)
{
	*o = (struct pl_opts){
		.root = s->root,
		.ns = s->ns,
		.mode = store_mode(s->mode),
		.snapshots = store_snapshots(s->snapshots),
		.pin = s->pin,
		.no_sync = s->no_sync,
		.limits = unpack_limits_default,
	};
	if (losses_policy(s->on_loss, o->on_loss, e))
		return -1;
	return s->jobs ? cli_parse_count("jobs", s->jobs, 1, PL_JOBS_MAX, &o->jobs, e) : 0;
}

static int open_bundle(const struct settings *s, const char *file, const struct cli *c,
		       struct bundle **out, struct k3_err *e)
{
	struct oci_digest digest;
	struct bundle_opts o = { .path = file, .cancel = c->cancel };

	if (s->digest && oci_digest_parse(s->digest, &digest, e)) {
		e->code = K3_USAGE;
		return k3_wrap(e, "--digest");
	}
	if (s->digest)
		o.digest = &digest;
	return bundle_open(&o, out, e);
}

/* Images that this machine, or the one named, cannot run are a mistake. */
static int check_platform(const struct settings *s, const struct oci_platform *have,
			  struct k3_err *e)
{
	char w[3 * OCI_PLATFORM_PART_MAX + 3], h[3 * OCI_PLATFORM_PART_MAX + 3];
	struct oci_platform want;

	if (!s->platform)
		oci_platform_host(&want);
	else if (oci_platform_parse(s->platform, &want, e))
		return -1;
	if (oci_platform_rank(&want, have) >= 0)
		return 0;
	oci_platform_format(&want, w, sizeof(w));
	oci_platform_format(have, h, sizeof(h));
	k3_fail(e, K3_PLATFORM, "the bundle is for %s, not for %s", h, w);
	return k3_hint(e, "--platform %s applies it all the same", h);
}

/* kubelet looks the pause image up under the literal text of the configuration. */
static int name_pause(const struct settings *s, struct imp_config *config,
		      const struct bundle_doc *doc, struct pl_request *reqs, struct k3_err *e)
{
	const char *text = store_pause(s->pause, config);
	bool found = false;
	struct oci_ref ref;

	if (!text)
		return 0;
	if (oci_ref_parse(text, &ref, e))
		return k3_wrap(e, "pause image");
	K3_AUTO_FREE char *full = oci_ref_full(&ref), *name = oci_ref_name(&ref);

	oci_ref_release(&ref);
	for (size_t i = 0; i < doc->nimages; i++) {
		if (strcmp(doc->images[i].name, full) != 0)
			continue;
		found = true;
		if (strcmp(name, text) != 0)
			reqs[i].literal_name = text;
	}
	if (!found && !s->quiet)
		fprintf(stderr, "note: the pause image, %s, is not in the bundle\n", text);
	return 0;
}

static int run(const struct settings *s, const struct pl_opts *opts, const struct pl_request *reqs,
	       const char *const *names, size_t n, struct k3_cancel *cancel)
{
	K3_AUTO_FREE struct pl_result *res = k3_xcalloc(n, sizeof(*res));
	PROGRESS_AUTO_FREE struct progress *p = progress_start(s->shown, PROGRESS_APPLY, s->verbose,
							       opts->jobs, names, n);
	struct pl_opts o = *opts;
	uint64_t start = k3_now_ms();
	struct k3_err e;
	char time[16];

	struct listeners to = { p, losses_new(n) };

	o.event = losses_listen;
	o.arg = &to;
	int rc = pl_run(&o, reqs, n, cancel, res, &e);

	progress_end(p);
	if (rc)
		progress_error(p, NULL, &e);
	for (size_t i = 0; !rc && i < n; i++)
		losses_warn(to.losses, p, i, names[i], s->verbose);
	const struct results out = {
		.names = names,
		.res = res,
		.losses = to.losses,
		.n = n,
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
	cli_duration(k3_now_ms() - start, time, sizeof(time));
	if (!rc && !s->quiet && n > 1)
		fprintf(stderr, "%zu images in %s\n", n, time);
	return progress_finish(p, cli_finish(rc ? k3_exit_status(e.code) : 0));
}

static int apply(struct settings *s, const struct words *args, const struct cli *c)
{
	__attribute__((cleanup(imp_config_release))) struct imp_config config = { 0 };
	__attribute__((cleanup(release_bundle))) struct bundle *b = NULL;
	K3_AUTO_FREE struct pl_request *reqs = NULL;
	K3_AUTO_FREE const char **names = NULL;
	const struct bundle_doc *doc;
	struct pl_opts o;
	struct k3_err e;

	if (args->n != 1) {
		k3_fail(&e, K3_USAGE, args->n ? "one bundle at a time" : "no bundle was named");
		k3_hint(&e, "k3simg bundle apply FILE, or - for standard input");
		return cli_error(&e);
	}
	if (progress_choose(s->progress, s->quiet, false, &s->shown, &e))
		return cli_error(&e);
	/* Lines for people are no events. */
	s->quiet = s->quiet || s->shown == PROGRESS_JSON;
	if (choose_options(s, &o, &e) || imp_config_load(s->root, s->config_file, &config, &e) ||
	    open_bundle(s, args->items[0], c, &b, &e))
		return cli_error(&e);
	doc = bundle_doc(b);
	reqs = k3_xcalloc(doc->nimages, sizeof(*reqs));
	names = k3_xcalloc(doc->nimages, sizeof(*names));
	for (size_t i = 0; i < doc->nimages; i++) {
		reqs[i].ref = doc->images[i].ref;
		reqs[i].target = &doc->images[i].target;
		names[i] = doc->images[i].name;
	}
	if (check_platform(s, &doc->platform, &e) || name_pause(s, &config, doc, reqs, &e))
		return cli_error(&e);
	o.bundle = b;
	o.platform = doc->platform;
	o.address = store_address(s->address, &config);
	return run(s, &o, reqs, names, doc->nimages, c->cancel);
}

int bundle_apply(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	struct settings s = { .ns = "k8s.io",
			      .mode = "auto",
			      .snapshots = "flat",
			      .pause = "auto",
			      .output = "text",
			      .pin = true };
	struct words args = { 0 };
	struct k3_err e;
	bool help;
	struct opt losses[LOSSES_ROWS], progress[PROGRESS_ROWS];
	const struct opt opts[] = {
		{ "digest", 0, OPT_STR, "DIGEST",
		  "of the bundle, as create and inspect tell it:\nrefuse any other", &s.digest },
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
		{ "platform", 0, OPT_STR, "OS/ARCH[/VARIANT]",
		  "that the images must run on (default: this\nmachine's)", &s.platform },
		{ "snapshots", 0, OPT_CHOICE, "flat|chain",
		  "flat (default): one tree per image, least disk\n"
		  "chain: every layer, for nodes that pull again",
		  &s.snapshots },
		{ "pause", 0, OPT_STR, "auto|REF|none",
		  "which image of the bundle is the pause image: as\nthe root's configuration says "
		  "(default), this one,\nor none",
		  &s.pause },
		{ "containerd-config", 0, OPT_STR, "FILE",
		  "configuration to read the pause image from", &s.config_file },
		{ "no-pin", 0, OPT_UNSET, NULL, "leave the images to the kubelet's image GC",
		  &s.pin },
		{ "jobs", 'j', OPT_STR, "N",
		  "trees built side by side (default: one per CPU, 2\nto 16); 1: everything one "
		  "after the other",
		  &s.jobs },
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
	int status;

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
		status = apply(&s, &args, c);
	}
	words_release(&args);
	return status;
}
