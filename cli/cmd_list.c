/* SPDX-License-Identifier: Apache-2.0 */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/catalog.h"
#include "cli/cli.h"
#include "cli/table.h"

#define JSON_MAX (64u << 20)

enum filter_kind {
	FILTER_DANGLING,
	FILTER_PINNED,
	FILTER_UNPACKED,
	FILTER_COMPLETE,
	FILTER_PLATFORM
};

static const char *const filter_names[] = {
	[FILTER_DANGLING] = "dangling", [FILTER_PINNED] = "pinned",
	[FILTER_UNPACKED] = "unpacked", [FILTER_COMPLETE] = "complete",
	[FILTER_PLATFORM] = "platform",
};

struct filter {
	enum filter_kind kind;
	bool wanted;
	struct oci_platform platform;
};

/* Names that are meant by a word. */
struct pattern {
	const char *glob; /* with * or ?, else NULL */
	char *name;       /* a whole name, or a repository when `any_tag` */
	bool any_tag;
};

struct settings {
	struct catalog_where where;
	const char *output;
	bool digests, no_trunc, quiet;
	struct words filter_words;
	struct filter *filters;
	size_t nfilters;
	struct pattern *patterns;
	size_t npatterns;
};

/* ---- which images -------------------------------------------------------------------- */

static int parse_filter(const char *word, struct filter *f, struct k3_err *e)
{
	size_t n = strcspn(word, "=");
	const char *value = word[n] ? word + n + 1 : NULL;

	for (size_t k = 0; k < K3_ARRAY_LEN(filter_names); k++) {
		if (strlen(filter_names[k]) != n || strncmp(word, filter_names[k], n) != 0)
			continue;
		*f = (struct filter){ .kind = (enum filter_kind)k, .wanted = true };
		if (k == FILTER_PLATFORM)
			return value ? oci_platform_parse(value, &f->platform, e)
				     : k3_fail(e, K3_USAGE,
					       "--filter platform=OS/ARCH has a value");
		if (!value || !strcmp(value, "true"))
			return 0;
		f->wanted = false;
		if (!strcmp(value, "false"))
			return 0;
		return k3_fail(e, K3_USAGE, "--filter %s is true or false, not \"%s\"",
			       filter_names[k], value);
	}
	k3_fail(e, K3_USAGE, "--filter: \"%.*s\" is no filter", (int)n, word);
	return k3_hint(e, "dangling, pinned, unpacked, complete (=true or =false), or "
			  "platform=OS/ARCH");
}

static int parse_pattern(const char *word, struct pattern *p, struct k3_err *e)
{
	const char *slash = strrchr(word, '/');
	struct oci_ref ref;

	*p = (struct pattern){ 0 };
	if (strpbrk(word, "*?")) {
		p->glob = word;
		return 0;
	}
	if (oci_ref_parse(word, &ref, e))
		return k3_hint(e, "a name, a repository, or a pattern: 'registry.k8s.io/*'");
	p->any_tag = !strchr(slash ? slash : word, ':') && !strchr(word, '@');
	p->name = p->any_tag ? k3_xasprintf("%s/%s", ref.host, ref.repo) : oci_ref_name(&ref);
	oci_ref_release(&ref);
	return 0;
}

/* What docker calls nginx has a long name here, and both are how people write it. */
static const char *familiar(const char *name)
{
	static const char *const left_out[] = { "docker.io/library/", "docker.io/" };

	for (size_t k = 0; k < K3_ARRAY_LEN(left_out); k++)
		if (!strncmp(name, left_out[k], strlen(left_out[k])))
			return name + strlen(left_out[k]);
	return name;
}

static bool is_meant_by(const char *name, const struct pattern *p)
{
	size_t n = p->name ? strlen(p->name) : 0;

	if (p->glob)
		return !fnmatch(p->glob, name, 0) || !fnmatch(p->glob, familiar(name), 0);
	if (!p->any_tag)
		return !strcmp(name, p->name);
	return !strncmp(name, p->name, n) && (name[n] == ':' || name[n] == '@');
}

static bool is_meant(const struct settings *s, const char *name)
{
	for (size_t k = 0; k < s->npatterns; k++)
		if (is_meant_by(name, &s->patterns[k]))
			return true;
	return !s->npatterns;
}

static bool is_dangling(const struct catalog_image *im)
{
	for (size_t k = 0; k < im->nnames; k++)
		if (catalog_is_tag(im->names[k]))
			return false;
	return true;
}

static bool passes(const struct catalog_image *im, const struct filter *f)
{
	switch (f->kind) {
	case FILTER_DANGLING:
		return is_dangling(im) == f->wanted;
	case FILTER_PINNED:
		return im->pinned == f->wanted;
	case FILTER_UNPACKED:
		return im->unpacked == f->wanted;
	case FILTER_COMPLETE:
		return im->whole == f->wanted;
	case FILTER_PLATFORM:
		return im->whole && oci_platform_rank(&f->platform, &im->platform) == 0;
	}
	return false;
}

static bool is_shown(const struct settings *s, const struct catalog_image *im)
{
	bool named = false;

	for (size_t k = 0; k < im->nnames && !named; k++)
		named = is_meant(s, im->names[k]);
	for (size_t k = 0; named && k < s->nfilters; k++)
		named = passes(im, &s->filters[k]);
	return named;
}

/* ---- table --------------------------------------------------------------------------- */

/* "host/repo" and "tag" of a tagged name; false for digest names and IDs. */
static bool split_tag(const char *name, size_t *repo, const char **tag)
{
	const char *slash = strrchr(name, '/');
	const char *colon = strrchr(slash ? slash : name, ':');

	if (!catalog_is_tag(name) || !colon)
		return false;
	*repo = (size_t)(colon - name);
	*tag = colon + 1;
	return true;
}

static void add_cells(const struct settings *s, const struct catalog_image *im, struct table *t)
{
	bool wide = !strcmp(s->output, "wide");
	char text[OCI_DIGEST_TEXT_MAX], platform[3 * OCI_PLATFORM_PART_MAX + 3] = "-";
	char size[16] = "-", when[CLI_TIME_MAX];

	oci_digest_format(&im->target.digest, text);
	if (s->digests || wide)
		table_cell(t, "%s", text);
	if (im->whole) {
		oci_digest_format(&im->id, text);
		oci_platform_format(&im->platform, platform, sizeof(platform));
		cli_size(im->size, size, sizeof(size));
	}
	if (!im->whole)
		table_cell(t, "-");
	else if (s->no_trunc)
		table_cell(t, "%s", text);
	else
		table_cell(t, "%.13s", strchr(text, ':') + 1);
	table_cell(t, "%s", platform);
	table_cell(t, "%s", size);
	table_cell(t, "%s", im->pinned ? "yes" : "no");
	table_cell(t, "%s", im->unpacked ? "yes" : "no");
	if (!wide)
		return;
	if (im->whole)
		table_cell(t, "%zu", im->layers);
	else
		table_cell(t, "-");
	if (im->snapshot)
		table_cell(t, "%llu", (unsigned long long)im->snapshot);
	else
		table_cell(t, "-");
	table_cell(t, "%s", cli_time(im->created, when) ? when : "-");
}

/* A row for every tagged name; for an image without one a row for its first digest name. */
static void add_rows(const struct settings *s, const struct catalog_image *im, struct table *t)
{
	size_t rows = 0, repo;
	const char *tag;

	for (size_t k = 0; k < im->nnames; k++) {
		if (!split_tag(im->names[k], &repo, &tag) || !is_meant(s, im->names[k]))
			continue;
		table_row(t);
		table_cell(t, "%.*s", (int)repo, im->names[k]);
		table_cell(t, "%s", tag);
		add_cells(s, im, t);
		rows++;
	}
	if (rows)
		return;
	const char *name = catalog_name(im);

	table_row(t);
	table_cell(t, "%.*s", (int)strcspn(name, "@"), name);
	table_cell(t, "<none>");
	add_cells(s, im, t);
}

static void print_table(const struct settings *s, const struct catalog *c)
{
	static const char *const narrow[] = { "IMAGE", "TAG",    "IMAGE ID", "PLATFORM",
					      ">SIZE", "PINNED", "UNPACKED" };
	static const char *const more[] = { "IMAGE",    "TAG",       "DIGEST", "IMAGE ID",
					    "PLATFORM", ">SIZE",     "PINNED", "UNPACKED",
					    ">LAYERS",  ">SNAPSHOT", "CREATED" };
	bool wide = !strcmp(s->output, "wide");
	const char *const *heads = wide || s->digests ? more : narrow;
	size_t n = wide ? K3_ARRAY_LEN(more) : K3_ARRAY_LEN(narrow) + s->digests;
	__attribute__((cleanup(table_release))) struct table t = { 0 };

	table_begin(&t, heads, n);
	for (size_t i = 0; i < c->n; i++)
		if (is_shown(s, &c->v[i]))
			add_rows(s, &c->v[i], &t);
	table_print(&t);
}

/* ---- other forms --------------------------------------------------------------------- */

static void print_names(const struct settings *s, const struct catalog *c)
{
	for (size_t i = 0; i < c->n; i++)
		for (size_t k = 0; is_shown(s, &c->v[i]) && k < c->v[i].nnames; k++) {
			const char *name = c->v[i].names[k];

			K3_AUTO_FREE char *safe = cli_safe(name);

			if (!catalog_is_id(name) && is_meant(s, name))
				printf("%s\n", safe);
		}
}

/* Each once; an image that lacks its config is named by its target. */
static void print_ids(const struct settings *s, const struct catalog *c)
{
	K3_AUTO_FREE struct oci_digest *told = k3_xcalloc(c->n, sizeof(*told));
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct oci_digest *id = c->v[i].whole ? &c->v[i].id : &c->v[i].target.digest;
		char text[OCI_DIGEST_TEXT_MAX];
		bool again = false;

		if (!is_shown(s, &c->v[i]))
			continue;
		for (size_t k = 0; k < n && !again; k++)
			again = oci_digest_eq(&told[k], id);
		if (again)
			continue;
		told[n++] = *id;
		oci_digest_format(id, text);
		printf("%s\n", text);
	}
}

static void json_image(struct k3_jw *w, const struct catalog_image *im)
{
	char text[OCI_DIGEST_TEXT_MAX], when[CLI_TIME_MAX];

	k3_jw_obj(w, NULL);
	k3_jw_arr(w, "names");
	for (size_t i = 0; i < im->nnames; i++)
		k3_jw_str(w, NULL, im->names[i]);
	k3_jw_close_arr(w);
	oci_digest_format(&im->target.digest, text);
	k3_jw_str(w, "digest", text);
	k3_jw_str(w, "mediaType", im->target.media_text);
	k3_jw_bool(w, "pinned", im->pinned);
	k3_jw_bool(w, "managed", im->managed);
	k3_jw_bool(w, "unpacked", im->unpacked);
	k3_jw_bool(w, "complete", im->whole);
	if (cli_time(im->created, when))
		k3_jw_str(w, "createdAt", when);
	if (im->whole) {
		oci_digest_format(&im->id, text);
		k3_jw_str(w, "id", text);
		oci_platform_format(&im->platform, text, sizeof(text));
		k3_jw_str(w, "platform", text);
		k3_jw_u64(w, "layers", im->layers);
		k3_jw_u64(w, "size", im->size);
	}
	k3_jw_close_obj(w);
}

static int print_json(const struct settings *s, const struct catalog *c)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	struct k3_jw w = K3_JW(&out);

	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "root", c->root);
	k3_jw_str(&w, "namespace", c->ns);
	k3_jw_arr(&w, "images");
	for (size_t i = 0; i < c->n; i++)
		if (is_shown(s, &c->v[i]))
			json_image(&w, &c->v[i]);
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

static int list(const struct settings *s, const struct cli *cli)
{
	__attribute__((cleanup(catalog_close))) struct catalog c = { 0 };
	struct k3_err e;

	if (catalog_open(&s->where, cli->cancel, &c, &e) || catalog_read_all(&c, &e))
		return cli_error(&e);
	if (!strcmp(s->output, "json"))
		return cli_finish(print_json(s, &c));
	if (s->quiet)
		print_ids(s, &c);
	else if (!strcmp(s->output, "name"))
		print_names(s, &c);
	else
		print_table(s, &c);
	return cli_finish(0);
}

/* ---- words --------------------------------------------------------------------------- */

static int parse_words(struct settings *s, const struct words *args, struct k3_err *e)
{
	s->filters = k3_xcalloc(s->filter_words.n, sizeof(*s->filters));
	for (; s->nfilters < s->filter_words.n; s->nfilters++)
		if (parse_filter(s->filter_words.items[s->nfilters], &s->filters[s->nfilters], e))
			return -1;
	s->patterns = k3_xcalloc(args->n, sizeof(*s->patterns));
	for (; s->npatterns < args->n; s->npatterns++)
		if (parse_pattern(args->items[s->npatterns], &s->patterns[s->npatterns], e))
			return -1;
	return 0;
}

static void settings_release(struct settings *s)
{
	for (size_t k = 0; k < s->npatterns; k++)
		free(s->patterns[k].name);
	free(s->patterns);
	free(s->filters);
	words_release(&s->filter_words);
}

static const char about[] =
	"\n"
	"NAME is a name as preload takes it (nginx:alpine), a repository (nginx: all its tags) or\n"
	"a pattern with * and ? ('registry.k8s.io/*').  Works while containerd or k3s runs, too.\n"
	"\nExamples:\n"
	"  k3simg list                          all images\n"
	"  k3simg list nginx                    all tags of one repository\n"
	"  k3simg list -o wide 'ghcr.io/*'      of one registry, with digests\n"
	"  k3simg list --filter unpacked=false  what a pod could not start from at once\n"
	"  k3simg list -q --filter dangling     IDs of images that have lost their tags\n";

int cmd_list(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	__attribute__((cleanup(settings_release))) struct settings s = { .output = "table" };
	__attribute__((cleanup(words_release))) struct words args = { 0 };
	struct opt where[CATALOG_ROWS];
	struct k3_err e;
	bool help;
	const struct opt opts[] = {
		{ "filter", 0, OPT_LIST, "FILTER",
		  "only images that are dangling (without a tag),\npinned, unpacked, complete "
		  "(each also =false), or\nplatform=OS/ARCH[/VARIANT]; all that are given",
		  &s.filter_words },
		{ "digests", 0, OPT_FLAG, NULL, "with the digests that the names lead to",
		  &s.digests },
		{ "no-trunc", 0, OPT_FLAG, NULL, "whole image IDs", &s.no_trunc },
		{ .kind = OPT_ROWS, .dest = where },
		{ "output", 'o', OPT_CHOICE, "table|wide|json|name",
		  "how they are listed (default: table)", &s.output },
		{ "quiet", 'q', OPT_FLAG, NULL, "only image IDs, whole and each once", &s.quiet },
		{ 0 },
	};

	catalog_rows(&s.where, where);
	if (opts_parse(opts, argc, argv, &args, &help, &e))
		return cli_error(&e);
	if (help) {
		cli_help(cmd, about, opts);
		return cli_finish(0);
	}
	if (parse_words(&s, &args, &e))
		return cli_error(&e);
	K3_AUTO_FREE char *root = catalog_choose_root(&s.where);

	s.where.root = root;
	return list(&s, c);
}
