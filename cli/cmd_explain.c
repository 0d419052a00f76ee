/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/yaml.h"
#include "cli/cli.h"
#include "explain/explain.h"

#define HELP_MAX (64u << 10)
#define JSON_MAX (64u << 20) /* manifests of a whole cluster */
#define STOPPED_EXIT 10      /* something would not start */

struct settings {
	struct explain_opts o;
	const char *output;
	bool quiet;
};

/* Arguments and the texts of those that are manifests. */
struct subjects {
	struct explain_subject *v;
	struct k3_buf *texts;
	size_t n;
};

/* The causes follow. */
static const char about[] =
	"\n"
	"IMAGE is a reference.  A file that is there, a name that ends with .yaml, .yml or .json, "
	"and - (standard input) are manifests of Kubernetes, of whose pods each container is "
	"explained with its pull policy, command, user and what else the pod says.  No network is "
	"used and nothing is changed; works while containerd or k3s runs, too.  Each cause is "
	"shown "
	"with the one command that mends it.\n"
	"\n"
	"Exit status:\n"
	"  0    all would start\n"
	"  10   something stops one of them\n"
	"\n"
	"Examples:\n"
	"  k3simg explain nginx:alpine              an image of this machine\n"
	"  k3simg explain deployment.yaml           each container of a workload\n"
	"  helm template ./chart | k3simg explain - what a chart would run\n"
	"  k3simg explain -q -o json pods.yaml      for programs, only what stops pods\n"
	"\n"
	"Causes:\n";

static void subjects_release(struct subjects *s)
{
	for (size_t k = 0; k < s->n; k++)
		k3_buf_release(&s->texts[k]);
	free(s->texts);
	free(s->v);
}

/* ---- what is to be explained ---------------------------------------------------------------- */

static bool is_manifest(const char *word)
{
	static const char *const ends[] = { ".yaml", ".yml", ".json" };
	size_t n = strlen(word);
	struct stat st;

	if (!strcmp(word, "-") || (!stat(word, &st) && S_ISREG(st.st_mode)))
		return true;
	for (size_t k = 0; k < K3_ARRAY_LEN(ends); k++) {
		size_t end = strlen(ends[k]);

		if (n > end && !strcmp(word + n - end, ends[k]))
			return true;
	}
	return false;
}

static int read_stdin(struct k3_buf *text, struct k3_err *e)
{
	uint8_t chunk[4096];
	ssize_t n;

	while ((n = read(STDIN_FILENO, chunk, sizeof(chunk))) > 0)
		if (k3_buf_add(text, chunk, (size_t)n, e))
			return k3_wrap(e, "standard input");
	return n < 0 ? k3_fail_sys(e, errno, "cannot read standard input") : 0;
}

static int read_manifest(const char *word, struct k3_buf *text, struct explain_subject *out,
			 struct k3_err *e)
{
	bool std = !strcmp(word, "-");

	if (std ? read_stdin(text, e) : k3_read_file(AT_FDCWD, word, text, e)) {
		/* A mistake on the command line, not an image that is missing. */
		if (e->code == K3_NOTFOUND)
			e->code = K3_USAGE;
		return -1;
	}
	if (k3_buf_reserve(text, 0, e))
		return -1;
	*out = (struct explain_subject){ .file = std ? NULL : word,
					 .text = (const char *)text->p,
					 .n = text->len };
	return 0;
}

static int gather(const struct words *args, struct subjects *out, struct k3_err *e)
{
	bool std = false;

	out->v = k3_xcalloc(args->n, sizeof(*out->v));
	out->texts = k3_xcalloc(args->n, sizeof(*out->texts));
	if (!args->n) {
		k3_fail(e, K3_USAGE, "nothing to explain");
		return k3_hint(e,
			       "name an image, or a file with pods: k3simg explain nginx:alpine");
	}
	for (size_t k = 0; k < args->n; k++) {
		const char *word = args->items[k];

		out->texts[out->n++] = K3_BUF(K3_YAML_SIZE_MAX);
		if (!strcmp(word, "-")) {
			if (std)
				return k3_fail(e, K3_USAGE,
					       "standard input (-) can be read only once");
			std = true;
		}
		if (!*word)
			return k3_fail(e, K3_USAGE, "an empty word is no image");
		if (!is_manifest(word))
			out->v[k].image = word;
		else if (read_manifest(word, &out->texts[k], &out->v[k], e))
			return -1;
	}
	return 0;
}

/* ---- output --------------------------------------------------------------------------------- */

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

static void print_causes(const struct settings *s, const struct explain_cause *causes, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		const struct explain_cause *c = &causes[k];
		K3_AUTO_FREE char *text = cli_safe(c->found.text);
		K3_AUTO_FREE char *fix = cli_safe(c->found.fix ? c->found.fix : "");

		if (s->quiet && c->found.state < EXPLAIN_STOPS)
			continue;
		printf("  %-5s  %-16s  %s\n", explain_state_name(c->found.state), c->check->id,
		       text);
		if (c->found.state > EXPLAIN_NOTE)
			printf("         why:  %s\n", c->check->why);
		if (*fix)
			printf("         fix:  %s\n", fix);
	}
}

/* "Deployment web, container app" */
static void print_place(const struct explain_container *c)
{
	K3_AUTO_FREE char *kind = cli_safe(c->kind);
	K3_AUTO_FREE char *object = cli_safe(c->object);
	K3_AUTO_FREE char *name = cli_safe(c->name);

	if (*c->kind)
		printf(" (%s%s%s, %s%s%s)", kind, *object ? " " : "", object, c->role,
		       *name ? " " : "", name);
}

static void print_container(const struct settings *s, const struct explain_report *r,
			    const struct explain_container *c)
{
	K3_AUTO_FREE char *image = cli_safe(c->image);
	size_t stops = c->stops + r->stops;

	printf("%s", image);
	print_place(c);
	if (stops)
		printf(": would not start: %zu cause%s", stops, plural(stops));
	else
		printf(": would start");
	if (!stops && c->warns)
		printf(", with %zu warning%s", c->warns, plural(c->warns));
	if (c->stops != stops)
		printf(" (%zu of the node)", r->stops);
	printf("\n");
	if (c->asked && strcmp(c->asked, c->image) != 0 && !s->quiet) {
		K3_AUTO_FREE char *asked = cli_safe(c->asked);

		printf("  the kubelet asks for %s\n", asked);
	}
	print_causes(s, c->causes, c->n);
}

static void print_text(const struct settings *s, const struct explain_report *r)
{
	if (r->stops)
		printf("this node: no pod would start: %zu cause%s\n", r->stops, plural(r->stops));
	else if (r->warns && !s->quiet)
		printf("this node: %zu warning%s\n", r->warns, plural(r->warns));
	print_causes(s, r->causes, r->n);
	for (size_t k = 0; k < r->ncontainers; k++)
		print_container(s, r, &r->containers[k]);
}

static void json_text(struct k3_jw *w, const char *key, const char *text)
{
	K3_AUTO_FREE char *shown = text ? cli_safe(text) : NULL;

	k3_jw_str(w, key, shown);
}

static void json_causes(const struct settings *s, struct k3_jw *w,
			const struct explain_cause *causes, size_t n)
{
	k3_jw_arr(w, "causes");
	for (size_t k = 0; k < n; k++) {
		const struct explain_cause *c = &causes[k];

		if (s->quiet && c->found.state < EXPLAIN_STOPS)
			continue;
		k3_jw_obj(w, NULL);
		k3_jw_str(w, "id", c->check->id);
		k3_jw_str(w, "severity", explain_state_name(c->found.state));
		k3_jw_str(w, "title", c->check->title);
		json_text(w, "message", c->found.text);
		k3_jw_str(w, "why", c->check->why);
		json_text(w, "fix", c->found.fix);
		k3_jw_close_obj(w);
	}
	k3_jw_close_arr(w);
}

static void json_container(const struct settings *s, struct k3_jw *w,
			   const struct explain_report *r, const struct explain_container *c)
{
	k3_jw_obj(w, NULL);
	json_text(w, "image", c->image);
	json_text(w, "name", c->asked);
	k3_jw_bool(w, "wouldStart", !c->stops && !r->stops);
	if (*c->kind) {
		json_text(w, "file", c->file);
		k3_jw_u64(w, "line", c->line);
		json_text(w, "kind", c->kind);
		json_text(w, "object", c->object);
		k3_jw_str(w, "role", c->role);
		json_text(w, "container", c->name);
	}
	json_causes(s, w, c->causes, c->n);
	k3_jw_close_obj(w);
}

static int print_json(const struct settings *s, const struct explain_report *r)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	struct k3_jw w = K3_JW(&out);

	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	json_text(&w, "root", r->root);
	json_text(&w, "config", r->config);
	k3_jw_obj(&w, "node");
	k3_jw_str(&w, "platform", r->platform);
	json_causes(s, &w, r->causes, r->n);
	k3_jw_close_obj(&w);
	k3_jw_arr(&w, "containers");
	for (size_t k = 0; k < r->ncontainers; k++)
		json_container(s, &w, r, &r->containers[k]);
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

/* ---- the command ---------------------------------------------------------------------------- */

static int explain(const struct settings *s, const struct words *args)
{
	__attribute__((cleanup(explain_report_release))) struct explain_report r = { 0 };
	__attribute__((cleanup(subjects_release))) struct subjects subjects = { 0 };
	bool json = !strcmp(s->output, "json");
	struct k3_err e;
	size_t stops;

	if (gather(args, &subjects, &e) || explain_run(&s->o, subjects.v, subjects.n, &r, &e))
		return cli_error(&e);
	stops = r.stops;
	for (size_t k = 0; k < r.ncontainers; k++)
		stops += r.containers[k].stops;
	if (!json)
		print_text(s, &r);
	else if (print_json(s, &r))
		return cli_finish(1);
	return cli_finish(stops ? STOPPED_EXIT : 0);
}

static int help(const struct command *cmd, const struct opt *opts)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(HELP_MAX);
	const struct explain_check *all;
	struct k3_err e;
	size_t n;
	int rc;

	all = explain_checks(&n);
	rc = k3_buf_addf(&text, &e, "%s", about);
	for (size_t k = 0; !rc && k < n; k++)
		rc = k3_buf_addf(&text, &e, "  %-18s  %s (%s)\n", all[k].id, all[k].title,
				 explain_state_name(all[k].severity));
	if (rc)
		return cli_error(&e);
	cli_help(cmd, (const char *)text.p, opts);
	return 0;
}

int cmd_explain(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	struct settings s = { .output = "text", .o = { .cancel = c->cancel } };
	struct words args = { 0 };
	struct k3_err e;
	bool asked;
	int status;
	const struct opt opts[] = {
		{ "root", 0, OPT_STR, "DIR",
		  "containerd's root (default: the one of k3s if\nk3s is installed, else "
		  "containerd's)",
		  &s.o.root },
		{ "containerd-config", 0, OPT_STR, "FILE",
		  "the configuration (default: the one of the\nroot)", &s.o.config },
		{ "sysroot", 0, OPT_STR, "DIR", "look for the files of the machine below DIR",
		  &s.o.sysroot },
		{ "output", 'o', OPT_CHOICE, "text|json",
		  "how the result is printed (default: text)", &s.output },
		{ "quiet", 'q', OPT_FLAG, NULL, "only verdicts and what stops containers",
		  &s.quiet },
		{ 0 },
	};

	if (opts_parse(opts, argc, argv, &args, &asked, &e)) {
		status = cli_error(&e);
	} else if (asked) {
		status = cli_finish(help(cmd, opts));
	} else {
		status = explain(&s, &args);
	}
	words_release(&args);
	return status;
}
