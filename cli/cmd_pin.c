/* SPDX-License-Identifier: Apache-2.0 */
/* pin and unpin. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/change.h"
#include "cli/results.h"

static const char about_pin[] =
	"\n"
	"REF is a name as preload takes it, a digest, or an image ID or the start of one.\n"
	"All names of the image get CRI's pin: the kubelet does not remove a pinned image when "
	"the\n"
	"disk is full, nor does \"k3simg rm\" without --force. preload pins what it brings.\n"
	"containerd tells the kubelet of pins since 1.6.22, 1.7.3 and 2.0.\n"
	"Works while containerd or k3s runs, too: then it is asked to do it.\n"
	"\n"
	"Examples:\n"
	"  k3simg pin nginx:1.27\n"
	"  k3simg pin -o json 3b25b682ea82\n";

static const char about_unpin[] =
	"\n"
	"REF is a name as preload takes it, a digest, or an image ID or the start of one.\n"
	"All names of the image lose CRI's pin: the kubelet may then remove it when nothing uses "
	"it\n"
	"and the disk is full, after which a pod needs a registry again.\n"
	"Works while containerd or k3s runs, too: then it is asked to do it.\n"
	"\n"
	"Examples:\n"
	"  k3simg unpin nginx:1.27\n"
	"  k3simg unpin nginx:1.27 && k3simg rm nginx:1.27\n";

/* What a word of the command line has come to. */
struct pinned {
	const char *word;
	const struct catalog_image *im; /* NULL: not found */
	struct k3_err err;
	size_t first, n; /* its edits */
};

struct pinning {
	struct change *c;
	enum imp_edit_kind kind;
	struct pinned *words;
	size_t nwords;
	struct imp_edit *edits;
	size_t n, cap;
};

static void pinning_release(struct pinning *p)
{
	free(p->words);
	free(p->edits);
}

static void add_edits(struct pinning *p, const struct catalog_image *im)
{
	for (size_t k = 0; k < im->nnames; k++) {
		bool again = false;

		for (size_t i = 0; i < p->n; i++)
			again = again || !strcmp(p->edits[i].name, im->names[k]);
		if (again)
			continue;
		p->edits = k3_xgrow(p->edits, p->n, &p->cap, sizeof(*p->edits));
		p->edits[p->n++] = (struct imp_edit){ .kind = p->kind,
						      .name = im->names[k],
						      .had = true,
						      .had_target = im->target.digest };
	}
}

/* CRI joins what has one ID, whatever index each name leads to. */
static void add_word(struct pinning *p, struct pinned *w)
{
	struct catalog *cat = &p->c->cat;
	struct catalog_image *im;

	if (catalog_find(cat, w->word, &im, &w->err))
		return;
	w->im = im;
	w->first = p->n;
	for (size_t k = 0; k < cat->n; k++)
		if (change_same_id(im, &cat->v[k]))
			add_edits(p, &cat->v[k]);
	w->n = p->n - w->first;
}

static const char *status_of(const struct pinning *p, const struct pinned *w)
{
	for (size_t k = 0; k < w->n; k++)
		if (p->edits[w->first + k].changed)
			return p->kind == IMP_EDIT_PIN ? "pinned" : "unpinned";
	return "up-to-date";
}

static void print_text(const struct pinning *p)
{
	for (size_t k = 0; k < p->nwords; k++) {
		const struct pinned *w = &p->words[k];

		if (!w->im)
			continue;
		K3_AUTO_FREE char *name = cli_safe(catalog_name(w->im));
		const char *status = status_of(p, w);

		printf("%s  %s\n", name, !strcmp(status, "up-to-date") ? "up to date" : status);
	}
}

static int print_json(const struct pinning *p)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(CHANGE_JSON_MAX);
	struct k3_jw w = K3_JW(&out);

	change_json_begin(p->c, &w, p->c->where.ns);
	k3_jw_bool(&w, "pinned", p->kind == IMP_EDIT_PIN);
	k3_jw_arr(&w, "images");
	for (size_t k = 0; k < p->nwords; k++) {
		const struct pinned *one = &p->words[k];
		K3_AUTO_FREE char *name = cli_safe(one->im ? catalog_name(one->im) : one->word);

		k3_jw_obj(&w, NULL);
		k3_jw_str(&w, "name", name);
		k3_jw_str(&w, "status", one->im ? status_of(p, one) : "failed");
		if (!one->im)
			results_json_error(&w, &one->err);
		k3_jw_close_obj(&w);
	}
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

static int pin(struct change *c, enum imp_edit_kind kind, const struct words *args,
	       struct k3_cancel *cancel)
{
	__attribute__((cleanup(pinning_release))) struct pinning p = { .c = c, .kind = kind };
	size_t missing = 0;
	struct k3_err e;
	int status = 0;

	if (change_open(c, cancel, &e))
		return cli_error(&e);
	p.words = k3_xcalloc(args->n, sizeof(*p.words));
	for (p.nwords = 0; p.nwords < args->n; p.nwords++) {
		p.words[p.nwords].word = args->items[p.nwords];
		add_word(&p, &p.words[p.nwords]);
	}
	for (size_t k = 0; k < p.nwords; k++) {
		if (p.words[k].im)
			continue;
		status = cli_error(&p.words[k].err);
		missing++;
	}
	if (p.n && imp_edit(c->imp, p.edits, p.n, &e))
		return cli_error(&e);
	if (missing && missing < p.nwords)
		status = CLI_PARTIAL_EXIT;
	if (!change_is_json(c))
		print_text(&p);
	else if (print_json(&p))
		return cli_finish(1);
	return cli_finish(status);
}

static int run(const struct cli *c, const struct command *cmd, int argc, char **argv,
	       enum imp_edit_kind kind)
{
	__attribute__((cleanup(change_close))) struct change ch = { 0 };
	struct words args = { 0 };
	struct opt rows[CHANGE_ROWS];
	struct k3_err e;
	bool help;
	int status;

	change_rows(&ch, rows);
	if (opts_parse(rows, argc, argv, &args, &help, &e)) {
		status = cli_error(&e);
	} else if (help) {
		cli_help(cmd, kind == IMP_EDIT_PIN ? about_pin : about_unpin, rows);
		status = cli_finish(0);
	} else if (!args.n) {
		k3_fail(&e, K3_USAGE, "no image was named");
		k3_hint(&e, "k3simg %s REF...", cmd->name);
		status = cli_error(&e);
	} else {
		status = pin(&ch, kind, &args, c->cancel);
	}
	words_release(&args);
	return status;
}

int cmd_pin(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	return run(c, cmd, argc, argv, IMP_EDIT_PIN);
}

int cmd_unpin(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	return run(c, cmd, argc, argv, IMP_EDIT_UNPIN);
}
