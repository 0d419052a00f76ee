/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/bundle.h"
#include "cli/progress.h"
#include "cli/registry_flags.h"
#include "cli/wanted.h"
#include "pipeline/pipeline.h"

#define JSON_MAX (16u << 20)
/* In the working directory: the bundle until it is whole, and what was fetched. */
#define OUTPUT_NAME "bundle.tar"
#define FETCHED_NAME "fetched"

struct settings {
	const char *file, *format, *name, *platform, *jobs, *chunk_size, *progress;
	bool quiet, verbose;
	enum progress_mode shown;
	struct words lists, manifests;
	struct registry_flags registry;
};

/* Where it is made: beside the file, or for standard output in $TMPDIR. */
struct place {
	char *dir, *fetched;
	int dirfd, fd;
	bool to_stdout;
};

static const char about[] =
	"\n"
	"No containerd and no root is needed.  While it is made, what was fetched lies in "
	"FILE.work (with -o - in $TMPDIR); after an interruption the same command goes on with it. "
	" The same images give the same bytes.  The digest that is printed stands for the whole "
	"bundle.\n"
	"\n"
	"Examples:\n"
	"  k3simg bundle create -o web.bundle nginx:alpine redis:7\n"
	"  k3simg bundle create -o - -f images.list | ssh node k3simg bundle apply -\n";

static int choose_options(const struct settings *s, struct pl_opts *o, struct k3_err *e)
{
	*o = (struct pl_opts){
		.ns = "k8s.io",
		.chunk_size = PL_CHUNK_DEFAULT,
		.limits = unpack_limits_default,
	};
	if (s->jobs && cli_parse_count("jobs", s->jobs, 1, PL_JOBS_MAX, &o->jobs, e))
		return -1;
	if (s->chunk_size && cli_parse_size("chunk-size", s->chunk_size, &o->chunk_size, e))
		return -1;
	if (o->chunk_size && o->chunk_size < PL_CHUNK_MIN)
		return k3_fail(e, K3_USAGE, "--chunk-size %s is too small", s->chunk_size);
	if (registry_flags_choose(&s->registry, &o->fetch, e))
		return -1;
	if (s->platform)
		return oci_platform_parse(s->platform, &o->platform, e);
	oci_platform_host(&o->platform);
	return 0;
}

/* ---- where it is made ----------------------------------------------------------------------- */

static int make_temporary(struct place *p, struct k3_err *e)
{
	const char *tmp = getenv("TMPDIR");

	if (isatty(STDOUT_FILENO)) {
		k3_fail(e, K3_USAGE, "standard output is a terminal");
		return k3_hint(e, "-o FILE writes a file");
	}
	p->to_stdout = true;
	p->dir = k3_xasprintf("%s/k3simg-bundle.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (mkdtemp(p->dir))
		return 0;
	k3_fail_sys(e, errno, "cannot make a directory %s", p->dir);
	free(K3_STEAL(p->dir));
	return -1;
}

static int make_beside(struct place *p, const char *file, struct k3_err *e)
{
	struct stat st;

	if (!stat(file, &st) && !S_ISREG(st.st_mode)) {
		k3_fail(e, K3_USAGE, "%s is there and is no file", file);
		return k3_hint(e, "-o - writes to standard output");
	}
	p->dir = k3_xasprintf("%s.work", file);
	if (!mkdir(p->dir, 0700) || errno == EEXIST)
		return 0;
	k3_fail_sys(e, errno, "cannot make the directory %s", p->dir);
	free(K3_STEAL(p->dir));
	return -1;
}

static int place_make(struct place *p, const char *file, struct k3_err *e)
{
	*p = (struct place){ .dirfd = -1, .fd = -1 };
	if (!strcmp(file, "-") ? make_temporary(p, e) : make_beside(p, file, e))
		return -1;
	p->fetched = k3_xasprintf("%s/" FETCHED_NAME, p->dir);
	return k3_open_dir(AT_FDCWD, p->dir, &p->dirfd, e);
}

static int place_open(struct place *p, struct k3_err *e)
{
	if (p->to_stdout) {
		p->fd = STDOUT_FILENO;
		return 0;
	}
	p->fd = openat(p->dirfd, OUTPUT_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		       0644);
	return p->fd < 0 ? k3_fail_sys(e, errno, "cannot make %s/" OUTPUT_NAME, p->dir) : 0;
}

static int place_finish(struct place *p, const char *file, struct k3_err *e)
{
	if (p->to_stdout)
		return 0;
	if (k3_fsync(p->fd, file, e) || k3_close(&p->fd, file, e))
		return -1;
	if (renameat(p->dirfd, OUTPUT_NAME, AT_FDCWD, file))
		return k3_fail_sys(e, errno, "cannot rename the bundle to %s", file);
	return 0;
}

/* What may be gone on with stays. */
static void place_leave(struct place *p)
{
	if (p->fd >= 0 && !p->to_stdout)
		k3_closep(&p->fd);
	if (p->dirfd >= 0) {
		unlinkat(p->dirfd, OUTPUT_NAME, 0);
		unlinkat(p->dirfd, FETCHED_NAME, AT_REMOVEDIR);
	}
	k3_closep(&p->dirfd);
	if (p->to_stdout && p->dir) {
		struct k3_err ignored;

		if (k3_remove_tree(AT_FDCWD, p->dir, &ignored))
			fprintf(stderr, "warning: %s\n", ignored.msg);
	} else if (p->dir) {
		rmdir(p->dir);
	}
	free(p->fetched);
	free(p->dir);
}

/* ---- results -------------------------------------------------------------------------------- */

static int print_json(const struct settings *s, const struct wanted *w, const struct pl_result *res,
		      const struct oci_digest *digest)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	struct k3_jw j = K3_JW(&out);
	char text[OCI_DIGEST_TEXT_MAX];

	k3_jw_obj(&j, NULL);
	k3_jw_u64(&j, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&j, "file", s->file);
	oci_digest_format(digest, text);
	k3_jw_str(&j, "digest", text);
	k3_jw_arr(&j, "images");
	for (size_t i = 0; i < w->n; i++) {
		k3_jw_obj(&j, NULL);
		k3_jw_str(&j, "name", w->names[i]);
		oci_digest_format(&res[i].target, text);
		k3_jw_str(&j, "digest", text);
		k3_jw_u64(&j, "layers", res[i].layers);
		k3_jw_u64(&j, "compressedBytes", res[i].compressed);
		k3_jw_close_obj(&j);
	}
	k3_jw_close_arr(&j);
	k3_jw_close_obj(&j);
	return cli_put_json(&j);
}

static int report(const struct settings *s, const struct wanted *w, const struct pl_result *res,
		  const struct oci_digest *digest, bool to_stdout, struct progress *shown)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(digest, text);
	if (to_stdout)
		progress_result(shown, text);
	else if (!strcmp(s->format, "json"))
		return cli_finish(print_json(s, w, res, digest));
	else
		printf("%s  %s\n", text, s->file);
	return cli_finish(0);
}

static int create(const struct settings *s, const struct pl_opts *opts, const struct wanted *w,
		  struct k3_cancel *cancel)
{
	K3_AUTO_FREE struct pl_result *res = k3_xcalloc(w->n, sizeof(*res));
	__attribute__((cleanup(place_leave))) struct place p;
	struct pl_opts o = *opts;
	struct oci_digest digest;
	PROGRESS_AUTO_FREE struct progress *shown = NULL;
	struct k3_err e;

	if (place_make(&p, s->file, &e) || place_open(&p, &e))
		return cli_error(&e);
	shown = progress_start(s->shown, PROGRESS_CREATE, s->verbose, o.jobs,
			       (const char *const *)w->names, w->n);
	o.root = p.fetched;
	o.event = progress_event;
	o.arg = shown;
	int rc = pl_bundle_create(&o, w->reqs, w->n, p.fd,
				  p.to_stdout ? "standard output" : s->file, cancel, res, &digest,
				  &e);
	progress_end(shown);
	size_t failed = 0;

	for (size_t i = 0; rc && i < w->n; i++) {
		if (!res[i].rc)
			continue;
		progress_error(shown, w->names[i], &res[i].err);
		failed++;
	}
	if (rc && failed)
		return progress_finish(shown, cli_finish(k3_exit_status(e.code)));
	if (rc || place_finish(&p, s->file, &e))
		return progress_finish(shown, cli_finish(progress_error(shown, NULL, &e)));
	return progress_finish(shown, report(s, w, res, &digest, p.to_stdout, shown));
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
	K3_AUTO_FREE char *spool_dir = NULL;
	struct pl_opts o;

	if (!s->file) {
		k3_fail(&e, K3_USAGE, "no file to write was named");
		k3_hint(&e, "-o FILE, or -o - for standard output");
		return cli_error(&e);
	}
	if (registry_flags_complete(&s->registry, wanted_stdin(&from), c->cancel, &e) ||
	    choose_options(s, &o, &e))
		return cli_error(&e);
	archives.spool_dir = spool_dir = sources_spool_dir(s->file);
	archives.platform = o.platform;
	if (registry_flags_configure(&s->registry, NULL, &o.fetch, &e) ||
	    wanted_gather(&w, &from, &e))
		return cli_error(&e);
	if (!w.n) {
		k3_fail(&e, K3_USAGE, "no image was named");
		k3_hint(&e, "k3simg bundle create -o images.bundle nginx:alpine");
		return cli_error(&e);
	}
	return create(s, &o, &w, c->cancel);
}

int bundle_create(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	struct settings s = { .format = "text" };
	struct words args = { 0 };
	struct k3_err e;
	bool help;
	struct opt wanted[WANTED_ROWS], registry[REGISTRY_ROWS], progress[PROGRESS_ROWS];
	const struct opt opts[] = {
		{ "output", 'o', OPT_STR, "FILE", "the bundle; - is standard output", &s.file },
		{ .kind = OPT_ROWS, .dest = wanted },
		{ "name", 0, OPT_STR, "NAME",
		  "the name of an image that an archive gives none, or\nonly a tag; of the only "
		  "image, whatever its name",
		  &s.name },
		{ "platform", 0, OPT_STR, "OS/ARCH[/VARIANT]", "default: this machine's",
		  &s.platform },
		{ .kind = OPT_ROWS, .dest = registry },
		{ "jobs", 'j', OPT_STR, "N", "layers decompressed side by side", &s.jobs },
		{ "chunk-size", 0, OPT_STR, "SIZE",
		  "fetch larger layers in parts of this size over\nseveral connections; 0 "
		  "(default): in one piece",
		  &s.chunk_size },
		{ "format", 0, OPT_CHOICE, "text|json", "how the result is printed (default: text)",
		  &s.format },
		{ .kind = OPT_ROWS, .dest = progress },
		{ "quiet", 'q', OPT_FLAG, NULL, "no progress, only the result and errors",
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
