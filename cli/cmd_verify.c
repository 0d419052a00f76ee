/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/findings.h"
#include "cli/start.h"

#define JSON_MAX (256u << 20)

struct settings {
	const char *root, *ns, *platform, *output, *jobs;
	bool deep, quiet;
};

static const char about[] =
	"\n"
	"REF is a name as preload takes it, a digest, or an image ID or the start of one.  Without "
	"REF: all images of the namespace, and the store around them.  Findings go to standard "
	"output, a line each: IMAGE: PATH: WHAT IS WRONG.  Works while the containerd or k3s that "
	"has the root runs, too.\n"
	"\n"
	"With --start REF the running containerd or k3s is asked to start the image instead: a pod "
	"with one container, without any pull, in the network of the host, with COMMAND or what "
	"the image says.  It passes when it runs for --run-for or ends with 0.  Everything is "
	"removed again; other pods are not touched.\n"
	"\n"
	"Exit status:\n"
	"  0    all is whole; the image starts\n"
	"  3    a REF is not there\n"
	"  10   there are findings; the image does not start\n"
	"\n"
	"Examples:\n"
	"  k3simg verify\n"
	"  k3simg verify --deep nginx:alpine\n"
	"  k3simg verify --start busybox -- sh -c 'echo hello'\n";

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

static void print_summary(const struct settings *s, const struct pl_report *r)
{
	size_t unpacked = 0, leftovers = findings_count(r, IMP_LEFTOVER);
	char size[16];

	for (size_t i = 0; i < r->nimages; i++)
		unpacked += r->images[i].unpacked;
	fprintf(stderr, "%zu image%s, %zu unpacked", r->nimages, plural(r->nimages), unpacked);
	if (s->deep) {
		cli_size(r->bytes, size, sizeof(size));
		fprintf(stderr, "; %zu layer%s (%s) hashed, %zu snapshot%s compared",
			(size_t)r->blobs, plural((size_t)r->blobs), size, r->trees,
			plural(r->trees));
	}
	if (r->skipped_trees)
		fprintf(stderr, ", %zu image%s not", r->skipped_trees, plural(r->skipped_trees));
	if (leftovers)
		fprintf(stderr, "; %zu leftover%s", leftovers, plural(leftovers));
	/* What was not read is not said to be right. */
	if (r->damage)
		fprintf(stderr, "; %zu finding%s\n", r->damage, plural(r->damage));
	else if (s->deep)
		fprintf(stderr, "; all is whole\n");
	else
		fprintf(stderr, "; no damage (bytes of layers and trees: --deep)\n");
	for (size_t i = 0; i < r->nimages; i++)
		if (r->images[i].findings) {
			fprintf(stderr, "hint: \"k3simg repair\" with an image's name makes anew "
					"what is damaged of it\n");
			break;
		}
}

static void json_image(struct k3_jw *w, const struct pl_seen *im)
{
	char text[OCI_DIGEST_TEXT_MAX];

	k3_jw_obj(w, NULL);
	k3_jw_str(w, "name", im->name);
	oci_digest_format(&im->target, text);
	k3_jw_str(w, "digest", text);
	k3_jw_bool(w, "unpacked", im->unpacked);
	k3_jw_bool(w, "complete", im->complete);
	k3_jw_u64(w, "findings", im->findings);
	k3_jw_close_obj(w);
}

static int print_json(const struct settings *s, const struct pl_report *r)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	struct k3_jw w = K3_JW(&out);

	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "root", s->root);
	k3_jw_str(&w, "namespace", s->ns);
	k3_jw_bool(&w, "deep", s->deep);
	k3_jw_arr(&w, "images");
	for (size_t i = 0; i < r->nimages; i++)
		json_image(&w, &r->images[i]);
	k3_jw_close_arr(&w);
	findings_json(&w, "findings", r);
	k3_jw_obj(&w, "counts");
	k3_jw_u64(&w, "images", r->nimages);
	k3_jw_u64(&w, "findings", r->damage);
	k3_jw_u64(&w, "leftovers", findings_count(r, IMP_LEFTOVER));
	k3_jw_u64(&w, "notes", findings_count(r, IMP_NOTE));
	k3_jw_u64(&w, "layersHashed", r->blobs);
	k3_jw_u64(&w, "bytesHashed", r->bytes);
	k3_jw_u64(&w, "snapshotsCompared", r->trees);
	k3_jw_u64(&w, "imagesNotCompared", r->skipped_trees);
	k3_jw_close_obj(&w);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

static int verify(const struct settings *s, const struct words *refs, const struct cli *c)
{
	__attribute__((cleanup(pl_report_release))) struct pl_report r = { 0 };
	struct pl_verify_opts o = {
		.root = s->root,
		.ns = s->ns,
		.deep = s->deep,
		.limits = unpack_limits_default,
		.progress = s->quiet ? NULL : findings_progress,
	};
	bool json = !strcmp(s->output, "json");
	struct k3_err e;

	if (s->jobs && cli_parse_count("jobs", s->jobs, 1, PL_JOBS_MAX, &o.jobs, &e))
		return cli_error(&e);
	oci_platform_host(&o.platform);
	if (s->platform && oci_platform_parse(s->platform, &o.platform, &e))
		return cli_error(&e);
	if (pl_verify(&o, refs->items, refs->n, c->cancel, &r, &e)) {
		/* What was found until then; a report in JSON is whole or there is none. */
		if (!json)
			findings_print(&r, s->quiet);
		return cli_error(&e);
	}
	if (json) {
		if (print_json(s, &r))
			return cli_finish(1);
	} else {
		findings_print(&r, s->quiet);
	}
	if (!s->quiet)
		print_summary(s, &r);
	return cli_finish(r.damage ? CLI_FINDINGS_EXIT : 0);
}

/* What --start does not look at is refused rather than ignored. */
static int start_one(const struct settings *s, struct start_settings *p, const struct words *args,
		     const struct cli *c)
{
	struct k3_err e;

	p->root = s->root;
	p->output = s->output;
	p->quiet = s->quiet;
	if (s->deep || s->platform || s->jobs)
		k3_fail(&e, K3_USAGE, "--start goes without --deep, --platform and --jobs");
	else if (strcmp(s->ns, "k8s.io") != 0)
		k3_fail(&e, K3_USAGE, "--start: Kubernetes looks at namespace k8s.io only");
	else
		return start_image(p, args, c);
	return cli_error(&e);
}

int cmd_verify(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	struct settings s = { .ns = "k8s.io", .output = "text" };
	struct start_settings p = { 0 };
	struct words args = { 0 };
	bool start = false;
	struct k3_err e;
	bool help;
	const struct opt opts[] = {
		{ "deep", 0, OPT_FLAG, NULL,
		  "also hash every layer and compare every snapshot\nwith what its layers make "
		  "(takes disk for one image)",
		  &s.deep },
		{ "root", 0, OPT_STR, "DIR",
		  "containerd's root (default: the one of k3s if\nk3s is installed, else "
		  "containerd's)",
		  &s.root },
		{ "namespace", 'n', OPT_STR, "NAME", "containerd namespace (default: k8s.io)",
		  &s.ns },
		{ "platform", 0, OPT_STR, "OS/ARCH[/VARIANT]",
		  "what must be complete of an image for several\n(default: this machine's)",
		  &s.platform },
		{ "jobs", 'j', OPT_STR, "N",
		  "layers hashed side by side (default: one per CPU,\n2 to 16)", &s.jobs },
		{ "start", 0, OPT_FLAG, NULL, "start REF in the running containerd", &start },
		{ "pod-network", 0, OPT_FLAG, NULL, "with --start: a network of its own, by CNI",
		  &p.pod_network },
		{ "address", 'a', OPT_STR, "SOCKET",
		  "with --start: containerd's (default:\n$CONTAINERD_ADDRESS, then the one of "
		  "the root's\nconfiguration)",
		  &p.address },
		{ "containerd-config", 0, OPT_STR, "FILE",
		  "with --start: the configuration that names the\npause image (default: the "
		  "one of the root)",
		  &p.config },
		{ "run-for", 0, OPT_STR, "TIME", "with --start: it must run so long (default: 1s)",
		  &p.run_for },
		{ "timeout", 0, OPT_STR, "TIME",
		  "with --start: give up a step after so long\n(default: 30s)", &p.timeout },
		{ "output", 'o', OPT_CHOICE, "text|json",
		  "how findings are printed (default: text)", &s.output },
		{ "quiet", 'q', OPT_FLAG, NULL, "only findings and errors", &s.quiet },
		{ 0 },
	};
	int status;

	if (opts_parse(opts, argc, argv, &args, &help, &e)) {
		status = cli_error(&e);
	} else if (help) {
		cli_help(cmd, about, opts);
		status = cli_finish(0);
	} else if (start) {
		status = start_one(&s, &p, &args, c);
	} else {
		K3_AUTO_FREE char *root = s.root ? k3_xstrdup(s.root) : imp_default_root();

		s.root = root;
		status = verify(&s, &args, c);
	}
	words_release(&args);
	return status;
}
