/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/change.h"
#include "cli/results.h"

static const char about[] =
	"\n"
	"REF is a name as preload takes it, a digest, or an image ID or the start of one.\n"
	"A name of several only goes itself; with the last tag of a repository goes its name by\n"
	"digest, and with the last name the image: its blobs and snapshots, as far as nothing\n"
	"else in any namespace needs them. A digest or an ID means all names.\n"
	"The pause image is refused without --force, and always one that a container uses.\n"
	"Works while containerd or k3s runs, too: then it is asked to do it.\n"
	"\n"
	"Examples:\n"
	"  k3simg rm nginx:1.27\n"
	"  k3simg rm 3b25b682ea82              all of its names\n"
	"  k3simg rm --keep-content app:v1     for a preload that brings most of it again\n";

/* What becomes of an image. */
struct leaving {
	struct catalog_image *im;
	bool *drop;        /* of each name */
	bool asked, whole; /* some name goes; all do */
	bool failed;
	struct k3_err err;
};

struct removing {
	struct change *c;
	struct leaving *v; /* beside the catalog's images */
	bool force, keep_content;
	const struct words *words;
	struct k3_err *missing; /* of each word; code K3_OK: it was found */
	struct imp_edit *edits;
	size_t nedits, cap;
	struct imp_removal gone;
};

static void removing_release(struct removing *r)
{
	for (size_t k = 0; r->v && k < r->c->cat.n; k++)
		free(r->v[k].drop);
	free(r->v);
	free(r->missing);
	free(r->edits);
	imp_removal_release(&r->gone);
}

/* ---- which names ---------------------------------------------------------------------------- */

/* "host/path" of a name with a tag or a digest: how many bytes of it. */
static size_t repo_len(const char *name)
{
	const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;

	return (size_t)(base - name) + strcspn(base, ":@");
}

static bool same_repo(const char *a, const char *b)
{
	return repo_len(a) == repo_len(b) && !strncmp(a, b, repo_len(a));
}

static void mark(struct leaving *l, const char *name)
{
	for (size_t k = 0; k < l->im->nnames; k++)
		if (!name || !strcmp(l->im->names[k], name))
			l->asked = l->drop[k] = true;
}

static void mark_word(struct removing *r, size_t w)
{
	struct catalog *cat = &r->c->cat;
	struct catalog_image *im;
	const char *name;

	if (catalog_find(cat, r->words->items[w], &im, &r->missing[w]))
		return;
	r->missing[w].code = K3_OK;
	name = change_name_of(im, r->words->items[w]);
	for (size_t k = 0; k < cat->n; k++)
		if (name ? &cat->v[k] == im : change_same_id(im, &cat->v[k]))
			mark(&r->v[k], name);
}

/* Whether a name of this kind is left, in this repository if there is one. */
static bool is_left(const struct leaving *l, const char *repo, bool only_tags)
{
	for (size_t k = 0; k < l->im->nnames; k++) {
		const char *name = l->im->names[k];

		if (!l->drop[k] && !catalog_is_id(name) && (!only_tags || catalog_is_tag(name)) &&
		    (!repo || same_repo(name, repo)))
			return true;
	}
	return false;
}

/* The names that a preload has made along with those that go. */
static void mark_companions(struct leaving *l)
{
	const struct catalog_image *im = l->im;

	for (size_t k = 0; k < im->nnames; k++) {
		if (!l->drop[k] || !catalog_is_tag(im->names[k]) || is_left(l, im->names[k], true))
			continue;
		for (size_t i = 0; i < im->nnames; i++)
			if (strchr(im->names[i], '@') && same_repo(im->names[i], im->names[k]))
				l->drop[i] = true;
	}
	if (!is_left(l, NULL, false))
		mark(l, NULL);
	l->whole = true;
	for (size_t k = 0; k < im->nnames; k++)
		l->whole = l->whole && l->drop[k];
}

/* ---- whether they may ----------------------------------------------------------------------- */

static int refuse_used(const struct imp_user *u, struct k3_err *e)
{
	char ns[80], id[80];

	k3_escape(ns, sizeof(ns), u->ns);
	k3_escape(id, sizeof(id), u->id);
	k3_fail(e, K3_BUSY, "container %.13s of namespace %s uses it", id, ns);
	return !strcmp(ns, "k8s.io")
		       ? k3_hint(e, "remove its pod first: kubectl, or crictl rmp")
		       : k3_hint(e, "remove it first: ctr -n %s containers rm %s", ns, id);
}

/* Whether the name by which containerd asks for the pause image goes. */
static bool takes_pause(const struct removing *r, const struct leaving *l)
{
	K3_AUTO_FREE char *full = NULL;
	struct k3_err ignored;
	struct oci_ref ref;

	if (!r->c->pause || oci_ref_parse(r->c->pause, &ref, &ignored))
		return false;
	full = oci_ref_name(&ref);
	oci_ref_release(&ref);
	for (size_t k = 0; k < l->im->nnames; k++)
		if (l->drop[k] &&
		    (!strcmp(l->im->names[k], full) || !strcmp(l->im->names[k], r->c->pause)))
			return true;
	return false;
}

/* Fills l->err when it must stay. */
static int check(const struct removing *r, struct imp_view *v, struct leaving *l, struct k3_err *e)
{
	__attribute__((cleanup(imp_user_release))) struct imp_user user = { 0 };
	const struct catalog_image *im = l->im;
	bool used = false;

	if (!r->force && takes_pause(r, l)) {
		k3_fail(&l->err, K3_STORE, "it is the pause image, with which every pod begins");
		k3_hint(&l->err, "--force removes it all the same");
		l->failed = true;
		return 0;
	}
	if (!l->whole)
		return 0;
	if (imp_view_user(v, &im->target.digest, im->whole && im->layers ? &im->chain : NULL, &user,
			  &used, e))
		return -1;
	if (used) {
		refuse_used(&user, &l->err);
		l->failed = true;
	}
	return 0;
}

static int check_all(struct removing *r, struct k3_err *e)
{
	struct imp_view *v;
	int rc = 0;

	if (imp_view_open(r->c->imp, &v, e))
		return -1;
	for (size_t k = 0; !rc && k < r->c->cat.n; k++)
		if (r->v[k].asked)
			rc = check(r, v, &r->v[k], e);
	imp_view_close(v);
	return rc;
}

/* ---- changes -------------------------------------------------------------------------------- */

/* Another image with this ID that stays, under another target. */
static const struct catalog_image *heir(const struct removing *r, const struct catalog_image *im)
{
	for (size_t k = 0; k < r->c->cat.n; k++) {
		const struct leaving *l = &r->v[k];

		if (l->im != im && change_same_id(l->im, im) &&
		    !(l->asked && l->whole && !l->failed))
			return l->im;
	}
	return NULL;
}

static void add_edits(struct removing *r, const struct leaving *l)
{
	const struct catalog_image *im = l->im, *next = l->whole ? heir(r, im) : NULL;

	for (size_t k = 0; k < im->nnames; k++) {
		struct imp_edit edit = { .kind = IMP_EDIT_DROP,
					 .name = im->names[k],
					 .had = true,
					 .had_target = im->target.digest };

		if (!l->drop[k])
			continue;
		/* The name of an ID that two targets have goes over to the other one. */
		if (next && catalog_is_id(im->names[k])) {
			edit.kind = IMP_EDIT_SET;
			edit.target = next->target;
			edit.pin = next->pinned;
		}
		r->edits = k3_xgrow(r->edits, r->nedits, &r->cap, sizeof(*r->edits));
		r->edits[r->nedits++] = edit;
	}
}

static int look_ahead(struct removing *r, struct k3_err *e)
{
	struct imp_view *v;
	int rc;

	if (imp_view_open(r->c->imp, &v, e))
		return -1;
	rc = imp_plan_removal(v, r->edits, r->nedits, &r->gone, e);
	imp_view_close(v);
	return rc;
}

/* *e, if that is -1, is what kept some of it. */
static int remove_all(struct removing *r, struct k3_cancel *cancel, struct k3_err *e)
{
	struct k3_err why;
	int rc;

	for (size_t k = 0; k < r->c->cat.n; k++)
		if (r->v[k].asked && !r->v[k].failed)
			add_edits(r, &r->v[k]);
	if (!r->nedits)
		return 0;
	if (!r->keep_content && look_ahead(r, e))
		return -1;
	imp_measure(r->c->imp, &r->gone, cancel);
	if (k3_cancel_check(cancel, e))
		return -1;
	rc = imp_remove(r->c->imp, r->edits, r->nedits, r->keep_content, &r->gone, e);
	if (imp_confirm(r->c->imp, &r->gone, rc ? &why : e))
		return -1;
	return rc;
}

/* ---- results -------------------------------------------------------------------------------- */

static bool is_gone(const struct removing *r, const char *name)
{
	for (size_t k = 0; k < r->gone.n; k++)
		if (r->gone.v[k].kind == IMP_ITEM_IMAGE && r->gone.v[k].gone &&
		    !strcmp(r->gone.v[k].key, name))
			return true;
	return false;
}

static void image_id(const struct catalog_image *im, char out[OCI_DIGEST_TEXT_MAX])
{
	oci_digest_format(im->whole ? &im->id : &im->target.digest, out);
}

static void print_text(const struct removing *r, bool quiet)
{
	char id[OCI_DIGEST_TEXT_MAX], size[16];
	bool content = false;

	for (size_t k = 0; k < r->c->cat.n; k++) {
		const struct leaving *l = &r->v[k];
		size_t n = 0;

		if (!l->asked || l->failed)
			continue;
		for (size_t i = 0; i < l->im->nnames; i++) {
			K3_AUTO_FREE char *name = cli_safe(l->im->names[i]);

			if (!l->drop[i] || !is_gone(r, l->im->names[i]))
				continue;
			n++;
			if (!catalog_is_id(l->im->names[i]))
				printf("Untagged: %s\n", name);
		}
		image_id(l->im, id);
		if (l->whole && n)
			printf("Deleted: %s\n", id);
	}
	for (size_t k = 0; k < r->gone.n; k++)
		content = content || (r->gone.v[k].gone && r->gone.v[k].kind != IMP_ITEM_IMAGE);
	if (quiet || !content)
		return;
	cli_size(r->gone.bytes, size, sizeof(size));
	fprintf(stderr, "%s freed\n", size);
}

static void json_image(const struct removing *r, const struct leaving *l, struct k3_jw *w)
{
	K3_AUTO_FREE char *name = cli_safe(catalog_name(l->im));
	char text[OCI_DIGEST_TEXT_MAX];

	k3_jw_obj(w, NULL);
	k3_jw_str(w, "name", name);
	oci_digest_format(&l->im->target.digest, text);
	k3_jw_str(w, "digest", text);
	image_id(l->im, text);
	k3_jw_str(w, "id", text);
	k3_jw_str(w, "status", l->failed ? "failed" : l->whole ? "removed" : "untagged");
	k3_jw_arr(w, "untagged");
	for (size_t i = 0; i < l->im->nnames; i++) {
		K3_AUTO_FREE char *old = cli_safe(l->im->names[i]);

		if (l->drop[i] && is_gone(r, l->im->names[i]))
			k3_jw_str(w, NULL, old);
	}
	k3_jw_close_arr(w);
	if (l->failed)
		results_json_error(w, &l->err);
	k3_jw_close_obj(w);
}

static int print_json(const struct removing *r)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(CHANGE_JSON_MAX);
	struct k3_jw w = K3_JW(&out);

	change_json_begin(r->c, &w, r->c->where.ns);
	k3_jw_arr(&w, "images");
	for (size_t k = 0; k < r->c->cat.n; k++)
		if (r->v[k].asked)
			json_image(r, &r->v[k], &w);
	for (size_t k = 0; k < r->words->n; k++) {
		if (!r->missing[k].code)
			continue;
		K3_AUTO_FREE char *word = cli_safe(r->words->items[k]);

		k3_jw_obj(&w, NULL);
		k3_jw_str(&w, "name", word);
		k3_jw_str(&w, "status", "failed");
		results_json_error(&w, &r->missing[k]);
		k3_jw_close_obj(&w);
	}
	k3_jw_close_arr(&w);
	change_json_items(&w, "removed", &r->gone, false);
	k3_jw_u64(&w, "freedBytes", r->gone.bytes);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

/* What messages call it: a name that was to go. */
static const char *first_name(const struct leaving *l)
{
	for (size_t k = 0; k < l->im->nnames; k++)
		if (l->drop[k] && catalog_is_tag(l->im->names[k]))
			return l->im->names[k];
	return catalog_name(l->im);
}

/* Says what was not done; the exit status. */
static int report_failures(const struct removing *r)
{
	size_t failed = 0, done = 0;
	int status = 0;

	for (size_t k = 0; k < r->words->n; k++) {
		if (!r->missing[k].code)
			continue;
		status = cli_error(&r->missing[k]);
		failed++;
	}
	for (size_t k = 0; k < r->c->cat.n; k++) {
		const struct leaving *l = &r->v[k];

		if (!l->asked)
			continue;
		if (l->failed) {
			cli_image_error(first_name(l), &l->err);
			status = k3_exit_status(l->err.code);
			failed++;
		} else {
			done++;
		}
	}
	return failed && done ? CLI_PARTIAL_EXIT : status;
}

/* ---- together ------------------------------------------------------------------------------- */

static int rm(struct removing *r, struct k3_cancel *cancel)
{
	struct catalog *cat = &r->c->cat;
	struct k3_err e;
	int rc, status;

	r->c->want_pause = !r->force;
	if (change_open(r->c, cancel, &e))
		return cli_error(&e);
	r->missing = k3_xcalloc(r->words->n, sizeof(*r->missing));
	r->v = k3_xcalloc(cat->n, sizeof(*r->v));
	for (size_t k = 0; k < cat->n; k++) {
		r->v[k].im = &cat->v[k];
		r->v[k].drop = k3_xcalloc(cat->v[k].nnames, sizeof(bool));
	}
	for (size_t k = 0; k < r->words->n; k++)
		mark_word(r, k);
	for (size_t k = 0; k < cat->n; k++)
		if (r->v[k].asked)
			mark_companions(&r->v[k]);
	if (check_all(r, &e))
		return cli_error(&e);
	status = report_failures(r);
	rc = remove_all(r, cancel, &e);
	if (!change_is_json(r->c))
		print_text(r, r->c->quiet);
	else if (print_json(r))
		return cli_finish(1);
	return cli_finish(rc ? cli_error(&e) : status);
}

int cmd_rm(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	__attribute__((cleanup(change_close))) struct change ch = { 0 };
	__attribute__((cleanup(removing_release))) struct removing r = { .c = &ch };
	struct words args = { 0 };
	struct opt rows[CHANGE_ROWS];
	struct k3_err e;
	bool help;
	int status;
	const struct opt opts[] = {
		{ "force", 'f', OPT_FLAG, NULL, "also the pause image", &r.force },
		{ "keep-content", 0, OPT_FLAG, NULL,
		  "only the names: blobs and snapshots stay until a\ncontainerd starts, or a "
		  "\"k3simg prune\"",
		  &r.keep_content },
		{ .kind = OPT_ROWS, .dest = rows },
		{ 0 },
	};

	r.words = &args;
	change_rows(&ch, rows);
	if (opts_parse(opts, argc, argv, &args, &help, &e)) {
		status = cli_error(&e);
	} else if (help) {
		cli_help(cmd, about, opts);
		status = cli_finish(0);
	} else if (!args.n) {
		k3_fail(&e, K3_USAGE, "no image was named");
		k3_hint(&e, "k3simg rm REF...; \"k3simg list\" shows what is there");
		status = cli_error(&e);
	} else {
		status = rm(&r, c->cancel);
	}
	words_release(&args);
	return status;
}
