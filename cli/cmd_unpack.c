/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/registry_flags.h"
#include "cli/sources.h"
#include "cli/wanted.h"
#include "pipeline/pipeline.h"

#define JSON_MAX (64u << 10)
#define LOSSES_SHOWN 10u /* without -v */
#define REGISTRY "docker://"

struct settings {
	const char *platform, *output, *progress;
	bool quiet, verbose;
	enum progress_mode shown;
	struct registry_flags registry;
};

/* Who listens to the run. */
struct listener {
	struct progress *progress;
	bool verbose;
	uint64_t losses; /* told so far */
};

static const char about[] =
	"\n"
	"SOURCE is an image as for \"k3simg preload\": a registry name, oci:DIR[:NAME], "
	"oci-archive:FILE[:NAME] or docker-archive:FILE[:NAME].  DIR must be empty or not there.  "
	"No containerd is needed.\n"
	"\n"
	"Examples:\n"
	"  k3simg unpack nginx:alpine /srv/rootfs\n"
	"  k3simg unpack oci-archive:nginx.tar.zst rootfs\n";

static void on_event(void *arg, const struct pl_event *ev)
{
	const struct listener *to = arg;

	progress_event(to->progress, ev);
}

static void on_loss(void *arg, const char *text)
{
	struct listener *to = arg;

	if (to->losses++ < LOSSES_SHOWN || to->verbose)
		progress_warning(to->progress, NULL, text);
}

/* The one image that the word chooses. */
static int choose(struct sources *src, const char *word, const struct sources_opts *o,
		  struct pl_request *q, struct k3_err *e)
{
	if (sources_add(src, word, o, e))
		return -1;
	for (size_t i = 1; i < src->n; i++) {
		if (oci_digest_eq(&src->v[i].image->target.digest, &src->v[0].image->target.digest))
			continue;
		const char *name = src->v[0].image->name;

		k3_fail(e, K3_USAGE, "%s holds several images", archive_name(src->v[0].from));
		return k3_hint(e, "choose one: %.100s:%.60s", word, name ? name : "@0");
	}
	q->from = src->v[0].from;
	q->target = &src->v[0].image->target;
	return 0;
}

static int find_source(struct sources *src, const char *word, const struct sources_opts *o,
		       struct pl_request *q, struct k3_err *e)
{
	if (sources_is_archive(word))
		return choose(src, word, o, q, e);
	if (sources_check_transport(word, e))
		return -1;
	if (!strncmp(word, REGISTRY, strlen(REGISTRY)))
		word += strlen(REGISTRY);
	return oci_ref_parse(word, &q->ref, e);
}

static int print_json(const char *source, const char *dir, const struct pl_unpacked *r, uint64_t ms)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	char text[OCI_DIGEST_TEXT_MAX];
	struct k3_jw w = K3_JW(&out);

	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "source", source);
	k3_jw_str(&w, "directory", dir);
	oci_digest_format(&r->target, text);
	k3_jw_str(&w, "digest", text);
	oci_digest_format(&r->config, text);
	k3_jw_str(&w, "id", text);
	oci_platform_format(&r->platform, text, sizeof(text));
	k3_jw_str(&w, "platform", text);
	k3_jw_u64(&w, "layers", r->layers);
	k3_jw_u64(&w, "compressedBytes", r->compressed);
	k3_jw_u64(&w, "unpackedBytes", r->bytes);
	k3_jw_u64(&w, "entries", r->entries);
	k3_jw_u64(&w, "losses", r->losses);
	k3_jw_u64(&w, "milliseconds", ms);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

static void print_text(const char *dir, const struct pl_unpacked *r, uint64_t ms)
{
	char digest[OCI_DIGEST_TEXT_MAX], platform[3 * OCI_PLATFORM_PART_MAX + 3];
	char size[16], time[16];

	oci_digest_format(&r->target, digest);
	oci_platform_format(&r->platform, platform, sizeof(platform));
	cli_size(r->bytes, size, sizeof(size));
	cli_duration(ms, time, sizeof(time));
	printf("%s  %s  %.19s  %zu layer%s  %llu entries  %s  %s\n", dir, platform, digest,
	       r->layers, r->layers == 1 ? "" : "s", (unsigned long long)r->entries, size, time);
}

static int choose_options(struct settings *s, const struct words *args, struct pl_unpack_opts *o,
			  struct k3_err *e)
{
	*o = (struct pl_unpack_opts){
		.limits = unpack_limits_default,
		.event = on_event,
		.loss = on_loss,
	};
	if (registry_flags_choose(&s->registry, &o->fetch, e))
		return -1;
	oci_platform_host(&o->platform);
	if (s->platform && oci_platform_parse(s->platform, &o->platform, e))
		return -1;
	if (args->n == 2 && *args->items[1])
		return 0;
	k3_fail(e, K3_USAGE, "unpack takes an image and a directory");
	return k3_hint(e, "k3simg unpack nginx:alpine /srv/rootfs");
}

static int unpack(struct settings *s, const struct words *args, const struct cli *c)
{
	__attribute__((cleanup(sources_release))) struct sources src = { 0 };
	struct pl_unpack_opts o;
	struct pl_unpacked r = { 0 };
	struct pl_request q = { 0 };
	struct k3_err e;
	uint64_t start = k3_now_ms();

	const struct words none = { 0 };
	const struct wanted_from from = { .refs = args, .lists = &none, .manifests = &none };

	if (progress_choose(s->progress, s->quiet, s->registry.debug_http, &s->shown, &e) ||
	    registry_flags_complete(&s->registry, wanted_stdin(&from), c->cancel, &e) ||
	    choose_options(s, args, &o, &e) ||
	    registry_flags_configure(&s->registry, NULL, &o.fetch, &e))
		return cli_error(&e);
	const char *word = args->items[0], *dir = args->items[1];
	K3_AUTO_FREE char *spool_dir = sources_spool_dir(dir);
	const struct sources_opts so = { .spool_dir = spool_dir,
					 .platform = o.platform,
					 .limits = o.limits,
					 .cancel = c->cancel };
	if (find_source(&src, word, &so, &q, &e)) {
		oci_ref_release(&q.ref);
		return cli_error(&e);
	}
	PROGRESS_AUTO_FREE struct progress *p = progress_start(s->shown, PROGRESS_UNPACK,
							       s->verbose, 0, &word, 1);
	struct listener to = { .progress = p, .verbose = s->verbose };

	o.arg = &to;
	int rc = pl_unpack(&o, &q, dir, c->cancel, &r, &e);

	progress_end(p);
	oci_ref_release(&q.ref);
	if (rc)
		return progress_finish(p, progress_error(p, NULL, &e));
	if (to.losses > LOSSES_SHOWN && !s->verbose) {
		K3_AUTO_FREE char *text =
			k3_xasprintf("%llu more were refused; -v shows them",
				     (unsigned long long)(to.losses - LOSSES_SHOWN));

		progress_warning(p, NULL, text);
	}
	if (strcmp(s->output, "json") != 0)
		print_text(dir, &r, k3_now_ms() - start);
	else if (print_json(word, dir, &r, k3_now_ms() - start))
		return progress_finish(p, cli_finish(1));
	return progress_finish(p, cli_finish(0));
}

int cmd_unpack(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	struct settings s = { .output = "text" };
	struct words args = { 0 };
	struct opt registry[REGISTRY_ROWS], progress[PROGRESS_ROWS];
	struct k3_err e;
	bool help;
	const struct opt opts[] = {
		{ "platform", 0, OPT_STR, "OS/ARCH[/VARIANT]", "default: this machine's",
		  &s.platform },
		{ .kind = OPT_ROWS, .dest = registry },
		{ "output", 'o', OPT_CHOICE, "text|json", "how results are printed (default: text)",
		  &s.output },
		{ .kind = OPT_ROWS, .dest = progress },
		{ "quiet", 'q', OPT_FLAG, NULL, "no progress, only results, warnings and errors",
		  &s.quiet },
		{ "verbose", 'v', OPT_FLAG, NULL, "every warning", &s.verbose },
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
		status = unpack(&s, &args, c);
	}
	words_release(&args);
	registry_flags_release(&s.registry);
	return status;
}
