/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/answer.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/help.h"
#include "cli/sources.h"
#include "importer/importer.h"

#define WORD_MAX 64 /* of a value or a metavariable; longer ones are no candidates */

struct asked {
	const struct command *cmd;
	const char *text;
	const struct opt *opts;
	const char *const *words; /* before the one that is being written */
	size_t n;
	const char *cur;  /* what of it a candidate must begin with */
	char *prefix;     /* what goes before, as "--mode="; ours */
	bool only_values; /* behind "--" */
};

/* ---- candidates ----------------------------------------------------------------------------- */

static bool begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

/* remark: its first line counts. */
static void offer(const struct asked *a, const char *word, const char *remark)
{
	if (begins(word, a->cur))
		printf("%s%s\t%.*s\n", a->prefix, word, (int)strcspn(remark, "\n"), remark);
}

void answer_commands(const struct command *all, size_t n, const char *cur)
{
	for (size_t i = 0; i < n; i++) {
		const char *blank = strrchr(all[i].name, ' ');
		const char *word = blank ? blank + 1 : all[i].name;

		if (begins(word, cur))
			printf("%s\t%s\n", word, all[i].summary);
	}
}

static void offer_files(const struct asked *a, const char *what)
{
	printf(":%s %s\n", what, a->prefix);
}

static void offer_options(const struct asked *a)
{
	struct opts_walk w = { .at = a->opts };
	char word[WORD_MAX];

	for (const struct opt *o; (o = opts_next(&w));) {
		snprintf(word, sizeof(word), "--%s", o->name);
		offer(a, word, o->help);
		if (o->letter && a->cur[0] == '-' && a->cur[1] != '-') {
			snprintf(word, sizeof(word), "-%c", o->letter);
			offer(a, word, o->help);
		}
	}
	offer(a, "--help", "this text");
}

/* ---- images --------------------------------------------------------------------------------- */

/* Names of a store are any bytes: what is no reference does not get into a command line. */
static bool is_plain(const char *name)
{
	struct oci_ref ref;
	struct k3_err ignored;

	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("./:_-@", *p))
			return false;
	if (!strncmp(name, "sha256:", 7) || oci_ref_parse(name, &ref, &ignored))
		return false;
	oci_ref_release(&ref);
	return true;
}

/* As people write it: without the host and folder that are meant anyway. */
static int offer_image(void *arg, const struct imp_record *r, struct k3_err *e)
{
	static const char *const usual[] = { "docker.io/library/", "docker.io/", "" };
	const struct asked *a = arg;

	(void)e;
	if (!is_plain(r->name) || (strchr(r->name, '@') && !strchr(a->cur, '@')))
		return 0;
	for (size_t i = 0; i < K3_ARRAY_LEN(usual); i++) {
		const char *word = r->name + strlen(usual[i]);

		if (!begins(r->name, usual[i]) || !begins(word, a->cur))
			continue;
		offer(a, word, "");
		break;
	}
	return 0;
}

/* The value that the words before give an option, or its default. */
static const char *value_of(const struct asked *a, const char *name)
{
	const struct opt *o = opts_find(a->opts, name, strlen(name));

	return o && o->kind == OPT_STR ? *(const char **)o->dest : NULL;
}

/* Of the root that the words before name; without a store there are none. */
static void offer_images(const struct asked *a)
{
	const char *root = value_of(a, "root"), *ns = value_of(a, "namespace");
	K3_AUTO_FREE char *where = root ? k3_xstrdup(root) : imp_default_root();
	struct imp_opts o = { .root = where, .ns = ns ? ns : "k8s.io" };
	struct imp_view *view = NULL;
	struct imp *imp = NULL;
	struct k3_err e;
	struct asked at = *a;

	if (!imp_open(&o, &imp, &e) && !imp_view_open(imp, &view, &e) &&
	    imp_view_images(view, offer_image, &at, &e))
		e.hint[0] = '\0'; /* who completes a word wants no messages */
	imp_view_close(view);
	imp_close(imp, true);
}

/* ---- values --------------------------------------------------------------------------------- */

/* "Checks:" of CHECK. */
static const char *find_section(const char *text, const char *metavariable)
{
	size_t n = strlen(metavariable);

	for (; text; text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL)
		if (!strncasecmp(text, metavariable, n) && begins(text + n, "s:\n"))
			return text + n + 3;
	return NULL;
}

/* "  TERM  remark": the terms of a section. */
static bool offer_section(const struct asked *a, const char *metavariable)
{
	const char *line = find_section(a->text, metavariable);
	char term[WORD_MAX];

	if (!line)
		return false;
	for (; begins(line, "  "); line += strcspn(line, "\n") + 1) {
		size_t len = strcspn(line + 2, " \n");
		const char *remark = line + 2 + len;

		if (len && len < sizeof(term)) {
			snprintf(term, sizeof(term), "%.*s", (int)len, line + 2);
			remark += strspn(remark, " ");
			offer(a, term, remark);
		}
		if (!line[strcspn(line, "\n")])
			break;
	}
	return true;
}

/* "oci:DIR": the transport, and files behind it. */
static void offer_transport(const struct asked *a, const char *what, const char *metavariable)
{
	K3_AUTO_FREE char *transport = k3_xstrndup(what, (size_t)(metavariable - what));
	K3_AUTO_FREE char *prefix = k3_xasprintf("%s%s", a->prefix, transport);
	struct asked behind = *a;

	behind.prefix = prefix;
	if (begins(a->cur, transport))
		offer_files(&behind, !strcmp(metavariable, "DIR") ? "dirs" : "files");
	else
		offer(a, transport, "");
}

/* One alternative of what the help calls a value: "json", "FILE", "oci:DIR", "CHECK". */
static void offer_value(const struct asked *a, const char *what)
{
	static const char *const files[] = { "FILE", "LIST", "PATH", "SOCKET", "SOURCE" };
	static const char *const images[] = { "REF", "IMAGE", "SOURCE", "TARGET" };
	const char *colon = strchr(what, ':');

	if (islower((unsigned char)*what) && colon && isupper((unsigned char)colon[1])) {
		offer_transport(a, what, colon + 1);
		return;
	}
	if (islower((unsigned char)*what) || isdigit((unsigned char)*what)) {
		offer(a, what, "");
		return;
	}
	if (!strcmp(what, "COMMAND") && !a->n) {
		size_t n;
		const struct command *all = cli_commands(&n);

		answer_commands(all, n, a->cur);
	}
	for (size_t i = 0; i < K3_ARRAY_LEN(images); i++)
		if (!strcmp(what, images[i]))
			offer_images(a);
	for (size_t i = 0; i < K3_ARRAY_LEN(files); i++)
		if (!strcmp(what, files[i]))
			offer_files(a, "files");
	if (strstr(what, ".yaml"))
		offer_files(a, "files");
	if (!strcmp(what, "DIR"))
		offer_files(a, "dirs");
	offer_section(a, what);
}

/* "[CLASS=]POLICY,..." and "[REF]..." have their alternatives between these. */
#define BETWEEN "|[] "

/* Adds those that are not there yet; their texts are the list's. */
static void split(const char *arg, struct words *out)
{
	for (size_t len; *arg; arg += len + strspn(arg + len, BETWEEN)) {
		char what[WORD_MAX];
		bool known = false;

		arg += strspn(arg, BETWEEN);
		len = strcspn(arg, BETWEEN);
		snprintf(what, sizeof(what), "%.*s", (int)len, arg);
		/* "REF..." and "CHECK,..." are a REF and a CHECK. */
		char *end = strstr(what, "...");

		if (end)
			*end = '\0';
		if (end && end > what && end[-1] == ',')
			end[-1] = '\0';
		for (size_t i = 0; i < out->n; i++)
			known = known || !strcmp(out->items[i], what);
		if (*what && !known)
			words_add(out, k3_xstrdup(what));
	}
}

static void offer_each(const struct asked *a, struct words *what)
{
	for (size_t i = 0; i < what->n; i++) {
		offer_value(a, what->items[i]);
		free((void *)(uintptr_t)what->items[i]);
	}
	words_release(what);
}

static void offer_alternatives(const struct asked *a, const char *arg)
{
	struct words what = { 0 };

	split(arg, &what);
	offer_each(a, &what);
}

/* ---- which word it is ----------------------------------------------------------------------- */

/* The option whose value a word would be, if it is the next one. */
static const struct opt *wants_value(const struct opt *opts, const char *word)
{
	const struct opt *o = NULL;

	if (!strncmp(word, "--", 2)) {
		o = opts_find(opts, word + 2, strlen(word + 2));
		return o && opts_takes_value(o) ? o : NULL;
	}
	if (word[0] != '-')
		return NULL;
	for (const char *c = word + 1; *c; c++) {
		o = opts_find_letter(opts, *c);
		if (o && opts_takes_value(o))
			return c[1] ? NULL : o;
	}
	return NULL;
}

static const struct opt *option_before(struct asked *a)
{
	const struct opt *want = NULL;

	for (size_t i = 0; i < a->n; i++) {
		if (want)
			want = NULL;
		else if (!strcmp(a->words[i], "--"))
			a->only_values = true;
		else if (!a->only_values)
			want = wants_value(a->opts, a->words[i]);
	}
	return want;
}

/* What the synopsis says of arguments: without options and their values. */
static void offer_arguments(const struct asked *a)
{
	struct words what = { 0 };
	char word[WORD_MAX];
	bool skip = false;

	for (const char *p = a->cmd->args; *p; p += strspn(p, " ")) {
		size_t len = strcspn(p, " ");

		snprintf(word, sizeof(word), "%.*s", (int)len, p);
		p += len;
		const char *bare = word + strspn(word, "[");

		if (begins(bare, "--") && (!bare[2] || bare[2] == ']'))
			break; /* what is behind is a command's */
		if (bare[0] == '-' && bare[1])
			skip = wants_value(a->opts, bare) != NULL;
		else if (skip)
			skip = false;
		else if (!begins(word, "[OPTIONS]"))
			split(word, &what);
	}
	offer_each(a, &what);
}

/* The values of "--name=". */
static void offer_inline(const struct asked *a, const char *equals)
{
	const char *name = a->cur + 2;
	const struct opt *o = opts_find(a->opts, name, (size_t)(equals - name));
	K3_AUTO_FREE char *prefix = k3_xstrndup(a->cur, (size_t)(equals + 1 - a->cur));
	struct asked value = *a;

	value.prefix = prefix;
	value.cur = equals + 1;
	if (o && o->kind == OPT_BOOL)
		offer_alternatives(&value, "true|false");
	else if (o && o->arg)
		offer_alternatives(&value, o->arg);
}

/* Archives are named by a transport and a file. */
static bool offer_archive(const struct asked *a)
{
	if (!sources_is_archive(a->cur))
		return false;
	printf(":files %.*s\n", (int)(strchr(a->cur, ':') + 1 - a->cur), a->cur);
	return true;
}

void answer_words(const struct command *cmd, const char *text, const struct opt *opts)
{
	const struct help_request *h = cmd->help;
	static char none[] = "";
	struct asked a = {
		.cmd = cmd,
		.text = text,
		.opts = opts,
		.words = h->words,
		.n = h->n ? h->n - 1 : 0,
		.cur = h->n ? h->words[h->n - 1] : "",
		.prefix = none,
	};
	const struct opt *want = option_before(&a);
	const char *equals = strchr(a.cur, '=');
	struct words args = { 0 };
	struct k3_err ignored;
	bool help;

	/* For --root and --namespace; what does not parse yet keeps its default. */
	if (opts_parse(opts, (int)a.n, (char **)(uintptr_t)h->words, &args, &help, &ignored))
		ignored.hint[0] = '\0';
	words_release(&args);
	if (want)
		offer_alternatives(&a, want->arg);
	else if (!a.only_values && begins(a.cur, "--") && equals)
		offer_inline(&a, equals);
	else if (!a.only_values && a.cur[0] == '-')
		offer_options(&a);
	else if (a.only_values)
		offer_files(&a, "files");
	else if (!offer_archive(&a))
		offer_arguments(&a);
}
