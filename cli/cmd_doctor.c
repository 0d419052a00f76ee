/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "doctor/doctor.h"

#define JSON_MAX (4u << 20)
#define HELP_MAX (64u << 10)
#define TROUBLE_EXIT 10 /* something stops pods from starting */

struct settings {
	struct doctor_opts o;
	const char *output, *only;
	bool quiet;
};

/* A check that was asked for, and what it has found. */
struct result {
	const struct doctor_check *check;
	struct doctor_finding found;
};

struct results {
	struct result *v;
	size_t n;
};

static void results_release(struct results *r)
{
	for (size_t k = 0; k < r->n; k++)
		doctor_finding_release(&r->v[k].found);
	free(r->v);
}

/* ---- which checks --------------------------------------------------------------------------- */

static int unknown_check(const char *id, struct k3_err *e)
{
	const struct doctor_check *all, *near = NULL;
	size_t n, best = 4;

	all = doctor_checks(&n);
	for (size_t k = 0; k < n; k++) {
		size_t d = opts_distance(id, all[k].id);

		if (d < best) {
			best = d;
			near = &all[k];
		}
	}
	k3_fail(e, K3_USAGE, "no check is called \"%s\"", id);
	return near ? k3_hint(e, "did you mean \"%s\"?", near->id)
		    : k3_hint(e, "\"k3simg doctor --help\" lists them");
}

static int choose(const struct settings *s, const struct words *args, struct results *out,
		  struct k3_err *e)
{
	K3_AUTO_FREE char *list = k3_xstrdup(s->only ? s->only : "");
	const struct doctor_check *all;
	struct words ids = { 0 };
	char *save = NULL;
	size_t n;
	int rc = 0;

	for (size_t k = 0; k < args->n; k++)
		words_add(&ids, args->items[k]);
	for (char *id = strtok_r(list, ",", &save); id; id = strtok_r(NULL, ",", &save))
		words_add(&ids, id);
	for (size_t k = 0; k < ids.n && !rc; k++)
		if (!doctor_find(ids.items[k]))
			rc = unknown_check(ids.items[k], e);
	if (!rc && s->only && !ids.n)
		rc = k3_fail(e, K3_USAGE, "--only names no check");
	all = doctor_checks(&n);
	out->v = k3_xcalloc(n, sizeof(*out->v));
	for (size_t k = 0; k < n; k++) {
		bool wanted = !ids.n;

		for (size_t i = 0; i < ids.n; i++)
			wanted = wanted || !strcmp(ids.items[i], all[k].id);
		if (wanted)
			out->v[out->n++].check = &all[k];
	}
	words_release(&ids);
	return rc;
}

/* ---- output --------------------------------------------------------------------------------- */

/* Lines of a fix, each behind so many blanks. */
static void print_lines(const char *text, const char *indent)
{
	for (size_t n; *text; text += n + (text[n] == '\n')) {
		n = strcspn(text, "\n");
		K3_AUTO_FREE char *line = k3_xstrndup(text, n);
		K3_AUTO_FREE char *shown = cli_safe(line);

		printf("%s%s\n", indent, shown);
	}
}

static void print_fix(const struct result *r)
{
	const struct doctor_fix *f = &r->found.fix;

	if (!f->command && !f->file)
		return;
	printf("      fix:  ");
	if (r->check->setup)
		printf("k3simg setup, or:\n            ");
	if (f->command) {
		K3_AUTO_FREE char *shown = cli_safe(f->command);

		printf("%s\n", shown);
		if (f->file)
			printf("            ");
	}
	if (!f->file)
		return;
	K3_AUTO_FREE char *file = cli_safe(f->file);

	printf("%s %s:\n", f->head ? "write" : "in", file);
	if (f->head)
		print_lines(f->head, "              ");
	if (f->section)
		print_lines(f->section, "              ");
	print_lines(f->lines, "              ");
}

static void print_text(const struct settings *s, const struct results *all)
{
	static const char *const marks[] = { "ok", "skip", "note", "warn", "FAIL" };

	for (size_t k = 0; k < all->n; k++) {
		const struct result *r = &all->v[k];
		K3_AUTO_FREE char *text = cli_safe(r->found.text);
		bool trouble = r->found.state >= DOCTOR_WARNING;

		if (s->quiet && !trouble)
			continue;
		printf("%-4s  %-16s  %s\n", marks[r->found.state], r->check->id, text);
		if (trouble)
			printf("      why:  %s\n", r->check->why);
		if (r->found.state >= DOCTOR_NOTE)
			print_fix(r);
	}
}

static void json_fix(struct k3_jw *w, const struct result *r)
{
	const struct doctor_fix *f = &r->found.fix;

	k3_jw_obj(w, "fix");
	k3_jw_bool(w, "setup", r->check->setup);
	k3_jw_str(w, "command", f->command);
	k3_jw_str(w, "file", f->file);
	k3_jw_str(w, "head", f->head);
	k3_jw_str(w, "section", f->section);
	k3_jw_str(w, "lines", f->lines);
	k3_jw_close_obj(w);
}

static int print_json(const struct doctor_facts *f, const struct results *all, size_t errors,
		      size_t warnings)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	struct k3_jw w = K3_JW(&out);

	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "root", f->root);
	k3_jw_str(&w, "address", f->address);
	k3_jw_str(&w, "config", f->config.file);
	k3_jw_str(&w, "kernel", f->host.release);
	k3_jw_u64(&w, "errors", errors);
	k3_jw_u64(&w, "warnings", warnings);
	k3_jw_arr(&w, "checks");
	for (size_t k = 0; k < all->n; k++) {
		const struct result *r = &all->v[k];
		K3_AUTO_FREE char *text = cli_safe(r->found.text);

		k3_jw_obj(&w, NULL);
		k3_jw_str(&w, "id", r->check->id);
		k3_jw_str(&w, "title", r->check->title);
		k3_jw_str(&w, "state", doctor_state_name(r->found.state));
		k3_jw_str(&w, "message", text);
		k3_jw_str(&w, "why", r->check->why);
		if (r->found.fix.command || r->found.fix.file)
			json_fix(&w, r);
		k3_jw_close_obj(&w);
	}
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

static void print_summary(size_t errors, size_t warnings)
{
	if (errors)
		fprintf(stderr, "%zu thing%s keep%s pods from starting; %zu warning%s\n", errors,
			errors == 1 ? "" : "s", errors == 1 ? "s" : "", warnings,
			warnings == 1 ? "" : "s");
	else
		fprintf(stderr, "nothing is seen that keeps pods from starting; %zu warning%s\n",
			warnings, warnings == 1 ? "" : "s");
}

/* The checks follow. */
static const char about[] =
	"\n"
	"Nothing is changed; the file system is tried in a directory of its own below the root, "
	"which is removed again.  A finding says why and how to put it right.\n"
	"\n"
	"Exit status:\n"
	"  0    pods can start\n"
	"  10   something keeps them from it\n"
	"\n"
	"Examples:\n"
	"  k3simg doctor\n"
	"  k3simg doctor pause cgroups\n"
	"\n"
	"Checks:\n";

/* ---- the command ---------------------------------------------------------------------------- */

static int doctor(struct settings *s, const struct words *args)
{
	__attribute__((cleanup(doctor_facts_release))) struct doctor_facts f = { 0 };
	__attribute__((cleanup(results_release))) struct results all = { 0 };
	bool json = !strcmp(s->output, "json");
	size_t errors = 0, warnings = 0;
	struct k3_err e;

	if (choose(s, args, &all, &e))
		return cli_error(&e);
	s->o.no_probe = true;
	for (size_t k = 0; k < all.n; k++)
		s->o.no_probe = s->o.no_probe && !all.v[k].check->probe;
	if (doctor_gather(&s->o, &f, &e))
		return cli_error(&e);
	for (size_t k = 0; k < all.n; k++) {
		struct result *r = &all.v[k];

		r->check->fn(&f, &r->found);
		errors += r->found.state == DOCTOR_ERROR;
		warnings += r->found.state == DOCTOR_WARNING;
	}
	if (!json)
		print_text(s, &all);
	else if (print_json(&f, &all, errors, warnings))
		return cli_finish(1);
	if (!s->quiet)
		print_summary(errors, warnings);
	return cli_finish(errors ? TROUBLE_EXIT : 0);
}

static int help(const struct command *cmd, const struct opt *opts)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(HELP_MAX);
	const struct doctor_check *all;
	struct k3_err e;
	size_t n;
	int rc;

	all = doctor_checks(&n);
	rc = k3_buf_addf(&text, &e, "%s", about);
	for (size_t k = 0; !rc && k < n; k++)
		rc = k3_buf_addf(&text, &e, "  %-16s  %s (%s)\n", all[k].id, all[k].title,
				 doctor_state_name(all[k].severity));
	if (rc)
		return cli_error(&e);
	cli_help(cmd, (const char *)text.p, opts);
	return 0;
}

int cmd_doctor(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	struct settings s = { .output = "text", .o = { .cancel = c->cancel } };
	struct words args = { 0 };
	struct k3_err e;
	bool asked;
	int status;
	const struct opt opts[] = {
		{ "only", 0, OPT_STR, "CHECK,...", "these checks, as if they were arguments",
		  &s.only },
		{ "root", 0, OPT_STR, "DIR",
		  "containerd's root (default: the one of k3s if\nk3s is installed, else "
		  "containerd's)",
		  &s.o.root },
		{ "address", 'a', OPT_STR, "SOCKET",
		  "containerd's (default: $CONTAINERD_ADDRESS,\nthen the one of the root's "
		  "configuration)",
		  &s.o.address },
		{ "containerd-config", 0, OPT_STR, "FILE",
		  "the configuration (default: the one of the\nroot)", &s.o.config },
		{ "sysroot", 0, OPT_STR, "DIR",
		  "look for the files of the machine below DIR, also\n/proc and /dev",
		  &s.o.sysroot },
		{ "output", 'o', OPT_CHOICE, "text|json", "how it is printed (default: text)",
		  &s.output },
		{ "quiet", 'q', OPT_FLAG, NULL, "only warnings and what stops pods", &s.quiet },
		{ 0 },
	};

	if (opts_parse(opts, argc, argv, &args, &asked, &e)) {
		status = cli_error(&e);
	} else if (asked) {
		status = cli_finish(help(cmd, opts));
	} else {
		if (!s.o.address && !s.o.sysroot)
			s.o.address = getenv("CONTAINERD_ADDRESS");
		status = doctor(&s, &args);
	}
	words_release(&args);
	return status;
}
