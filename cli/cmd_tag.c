/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/change.h"

static const char about[] =
	"\n"
	"SOURCE is a name as preload takes it, a digest, or an image ID or the start of one.\n"
	"TARGET is a new name of it, by which pods may then ask for it; it is pinned if the image\n"
	"is. A name that another image has is not moved without --force.\n"
	"Works while containerd or k3s runs, too: then it is asked to do it.\n"
	"\n"
	"Examples:\n"
	"  k3simg tag nginx:1.27 registry.local/web:stable\n"
	"  k3simg tag 3b25b682ea82 app:latest app:v2\n"
	"  k3simg tag --force app:v3 app:latest        move the name\n";

struct tagging {
	struct change *c;
	const struct catalog_image *source;
	char **names;
	struct imp_edit *edits;
	size_t n;
	bool force;
};

static void tagging_release(struct tagging *t)
{
	for (size_t k = 0; k < t->n; k++)
		free(t->names[k]);
	free(t->names);
	free(t->edits);
}

/* The name that kubelet asks for.  The caller's. */
static int target_name(const char *text, char **out, struct k3_err *e)
{
	struct oci_ref ref;

	if (oci_ref_parse(text, &ref, e))
		return -1;
	bool digest = ref.has_digest;

	*out = digest ? NULL : oci_ref_name(&ref);
	oci_ref_release(&ref);
	if (!digest)
		return 0;
	k3_fail(e, K3_USAGE, "%s: a new name has no digest", text);
	return k3_hint(e, "name a tag: an image has the digest that it has");
}

static int add_target(struct tagging *t, const char *text, struct k3_err *e)
{
	K3_AUTO_FREE char *name = NULL;
	const struct catalog_image *im = t->source, *old;

	if (target_name(text, &name, e))
		return -1;
	for (size_t k = 0; k < t->n; k++)
		if (!strcmp(t->names[k], name))
			return 0;
	old = change_named(t->c, name);
	if (old && old != im && !t->force) {
		k3_fail(e, K3_STORE, "%s is the name of another image", name);
		return k3_hint(e, "--force moves it to this one");
	}
	struct imp_edit edit = { .kind = IMP_EDIT_SET,
				 .had = old,
				 .target = im->target,
				 .pin = im->pinned,
				 .like = catalog_name(im) };

	if (old)
		edit.had_target = old->target.digest;
	t->names[t->n] = K3_STEAL(name);
	edit.name = t->names[t->n];
	t->edits[t->n++] = edit;
	return 0;
}

static const char *status_of(const struct imp_edit *edit)
{
	if (edit->had && !oci_digest_eq(&edit->had_target, &edit->target.digest))
		return "moved";
	return edit->had ? edit->changed ? "updated" : "up-to-date" : "added";
}

static int print_json(const struct tagging *t)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(CHANGE_JSON_MAX);
	struct k3_jw w = K3_JW(&out);
	char digest[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(&t->source->target.digest, digest);
	change_json_begin(t->c, &w, t->c->where.ns);
	k3_jw_str(&w, "digest", digest);
	k3_jw_arr(&w, "names");
	for (size_t k = 0; k < t->n; k++) {
		k3_jw_obj(&w, NULL);
		k3_jw_str(&w, "name", t->names[k]);
		k3_jw_str(&w, "status", status_of(&t->edits[k]));
		k3_jw_close_obj(&w);
	}
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

static void print_text(const struct tagging *t)
{
	char digest[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(&t->source->target.digest, digest);
	for (size_t k = 0; k < t->n; k++)
		printf("%s  %.19s  %s\n", t->names[k], digest,
		       !strcmp(status_of(&t->edits[k]), "up-to-date") ? "up to date"
								      : status_of(&t->edits[k]));
}

static int tag(struct change *c, const struct words *args, bool force, struct k3_cancel *cancel)
{
	__attribute__((cleanup(tagging_release))) struct tagging t = { .c = c, .force = force };
	struct catalog_image *source;
	struct k3_err e;

	if (change_open(c, cancel, &e) || catalog_find(&c->cat, args->items[0], &source, &e))
		return cli_error(&e);
	t.source = source;
	t.names = k3_xcalloc(args->n, sizeof(char *));
	t.edits = k3_xcalloc(args->n, sizeof(*t.edits));
	for (size_t k = 1; k < args->n; k++)
		if (add_target(&t, args->items[k], &e))
			return cli_error(&e);
	if (imp_edit(c->imp, t.edits, t.n, &e))
		return cli_error(&e);
	if (change_is_json(c))
		return cli_finish(print_json(&t));
	print_text(&t);
	return cli_finish(0);
}

int cmd_tag(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	__attribute__((cleanup(change_close))) struct change ch = { 0 };
	struct words args = { 0 };
	struct opt rows[CHANGE_ROWS];
	bool help, force = false;
	struct k3_err e;
	int status;
	const struct opt opts[] = {
		{ "force", 0, OPT_FLAG, NULL, "move a name that another image has", &force },
		{ .kind = OPT_ROWS, .dest = rows },
		{ 0 },
	};

	change_rows(&ch, rows);
	if (opts_parse(opts, argc, argv, &args, &help, &e)) {
		status = cli_error(&e);
	} else if (help) {
		cli_help(cmd, about, opts);
		status = cli_finish(0);
	} else if (args.n < 2) {
		k3_fail(&e, K3_USAGE, "tag takes an image and new names of it");
		k3_hint(&e, "k3simg tag SOURCE TARGET...");
		status = cli_error(&e);
	} else {
		status = tag(&ch, &args, force, c->cancel);
	}
	words_release(&args);
	return status;
}
