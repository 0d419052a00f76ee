/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/change.h"

static const char about[] =
	"\n"
	"Removes what nothing refers to, in all namespaces and by the rules of containerd's own\n"
	"collector: records of blobs and snapshots, their files and directories; besides them "
	"files\n"
	"that no record has, and what an interrupted k3simg has left. No image is removed, and no\n"
	"other snapshotter is touched.\n"
	"A line for each: its size on disk, and its path below the root; \"-\" is a record.\n"
	"Works while containerd or k3s runs, too: then its collector is asked to run, and "
	"directories\n"
	"that this leaves lying are removed.\n"
	"\n"
	"Examples:\n"
	"  k3simg prune --dry-run      what would be removed; changes nothing\n"
	"  k3simg prune\n";

static size_t count(const struct imp_removal *r, bool all, uint64_t *bytes)
{
	size_t n = 0;

	*bytes = 0;
	for (size_t k = 0; k < r->n; k++) {
		if (!all && !r->v[k].gone)
			continue;
		n++;
		*bytes += r->v[k].bytes;
	}
	return n;
}

static void print_text(const struct change *c, const struct imp_removal *r, bool dry)
{
	char size[16];
	uint64_t bytes;

	for (size_t k = 0; k < r->n; k++) {
		const struct imp_item *it = &r->v[k];
		K3_AUTO_FREE char *path = cli_safe(it->path);

		if (!dry && !it->gone)
			continue;
		snprintf(size, sizeof(size), "-");
		if (!it->record)
			cli_size(it->bytes, size, sizeof(size));
		printf("%8s  %s\n", size, path);
	}
	if (c->quiet)
		return;
	size_t n = count(r, dry, &bytes);

	cli_size(bytes, size, sizeof(size));
	if (!n)
		fprintf(stderr, "nothing to remove\n");
	else if (dry)
		fprintf(stderr, "%s would be freed\n", size);
	else
		fprintf(stderr, "%s freed\n", size);
}

static int print_json(const struct change *c, const struct imp_removal *r, bool live, bool dry)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(CHANGE_JSON_MAX);
	struct k3_jw w = K3_JW(&out);
	uint64_t bytes;

	count(r, dry, &bytes);
	change_json_begin(c, &w, NULL);
	k3_jw_str(&w, "mode", live ? "live" : "offline");
	k3_jw_bool(&w, "dryRun", dry);
	change_json_items(&w, "items", r, dry);
	k3_jw_u64(&w, "bytes", bytes);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

/* What there is to remove, without changing anything. */
static int look(struct change *c, struct imp_removal *r, bool *live, struct k3_cancel *cancel,
		struct k3_err *e)
{
	struct imp_view *v;
	int rc;

	if (change_open_root(c, false, cancel, e) || imp_view_open(c->imp, &v, e))
		return -1;
	rc = imp_plan_removal(v, NULL, 0, r, e);
	*live = imp_view_is_copy(v);
	imp_view_close(v);
	if (!rc)
		imp_measure(c->imp, r, cancel);
	return rc || k3_cancel_check(cancel, e) ? -1 : 0;
}

static int remove_it(struct change *c, struct imp_removal *r, bool *live, struct k3_cancel *cancel,
		     struct k3_err *e)
{
	struct k3_err why;
	int rc;

	change_close_root(c, true);
	if (change_open_root(c, true, cancel, e))
		return -1;
	*live = imp_is_live(c->imp);
	rc = imp_remove(c->imp, NULL, 0, false, r, e);
	/* The staging directory goes with the handle. */
	change_close_root(c, false);
	if (change_open_root(c, false, cancel, rc ? &why : e) ||
	    imp_confirm(c->imp, r, rc ? &why : e))
		rc = -1;
	return rc;
}

static int prune(struct change *c, bool dry, struct k3_cancel *cancel)
{
	__attribute__((cleanup(imp_removal_release))) struct imp_removal r = { 0 };
	struct k3_err e;
	bool live;
	int rc = 0;

	change_choose_root(c);
	if (look(c, &r, &live, cancel, &e))
		return cli_error(&e);
	if (!dry && r.n)
		rc = remove_it(c, &r, &live, cancel, &e);
	if (!change_is_json(c))
		print_text(c, &r, dry);
	else if (print_json(c, &r, live, dry))
		return cli_finish(1);
	return cli_finish(rc ? cli_error(&e) : 0);
}

int cmd_prune(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	__attribute__((cleanup(change_close))) struct change ch = { 0 };
	struct words args = { 0 };
	struct opt rows[CHANGE_ROWS];
	bool help, dry = false;
	struct k3_err e;
	int status;
	const struct opt opts[] = {
		{ "dry-run", 0, OPT_FLAG, NULL, "only say what would be removed", &dry },
		{ .kind = OPT_ROWS, .dest = rows },
		{ 0 },
	};

	change_rows_all(&ch, rows);
	if (opts_parse(opts, argc, argv, &args, &help, &e)) {
		status = cli_error(&e);
	} else if (help) {
		cli_help(cmd, about, opts);
		status = cli_finish(0);
	} else if (args.n) {
		k3_fail(&e, K3_USAGE, "prune takes no arguments");
		k3_hint(&e, "\"k3simg rm\" removes an image");
		status = cli_error(&e);
	} else {
		status = prune(&ch, dry, c->cancel);
	}
	words_release(&args);
	return status;
}
