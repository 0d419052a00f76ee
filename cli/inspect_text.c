/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/inspect.h"
#include "cli/table.h"

#define LOSSES_SHOWN 5u /* in the overview; --losses shows all */

/* "  Label:      value"; further lines of one label have none. */
static void line(const char *label, const char *fmt, ...) K3_PRINTF(2, 3);

static void line(const char *label, const char *fmt, ...)
{
	K3_AUTO_FREE char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = k3_xstrdup("");
	va_end(ap);
	K3_AUTO_FREE char *safe = cli_safe(text);

	printf("  %-13s %s\n", label, safe);
}

/* ---- the config ---------------------------------------------------------------------- */

/* The words of a command, as a shell would take them apart. */
static void command_line(const char *label, const struct k3_json *words)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(OCI_DOCUMENT_MAX);
	struct k3_err full;

	for (size_t k = 0; k < k3_json_len(words); k++) {
		const char *word = k3_json_str(k3_json_at(words, k));
		bool plain = word && *word && !strpbrk(word, " \t\n'\"\\$&|;<>*?(){}");

		if (k3_buf_addf(&text, &full, plain ? "%s%s" : "%s'%s'", k ? " " : "",
				word ? word : ""))
			return;
	}
	if (text.len)
		line(label, "%s", (const char *)text.p);
}

static bool member_line(void *arg, const char *key, const struct k3_json *v)
{
	const char **label = arg;
	const char *value = k3_json_str(v);

	line(*label, value ? "%s=%s" : "%s", key, value);
	*label = "";
	return true;
}

static void one_text(const char *label, const struct k3_json *v)
{
	const char *text = k3_json_str(v);

	if (text && *text)
		line(label, "%s", text);
}

static int config(const struct inspected *x, struct k3_err *e)
{
	static const struct {
		const char *key, *label;
	} maps[] = { { "ExposedPorts", "Ports:" },
		     { "Volumes", "Volumes:" },
		     { "Labels", "Labels:" } };
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;

	if (k3_json_parse(x->found.config.p, x->found.config.len, &doc, e))
		return k3_wrap(e, "config");
	const struct k3_json *top = k3_json_root(doc), *c = k3_json_get(top, "config");
	const struct k3_json *env = k3_json_get(c, "Env");

	one_text("Built:", k3_json_get(top, "created"));
	command_line("Entrypoint:", k3_json_get(c, "Entrypoint"));
	command_line("Command:", k3_json_get(c, "Cmd"));
	one_text("User:", k3_json_get(c, "User"));
	one_text("Directory:", k3_json_get(c, "WorkingDir"));
	for (size_t k = 0; k < k3_json_len(env); k++)
		one_text(k ? "" : "Environment:", k3_json_at(env, k));
	for (size_t k = 0; k < K3_ARRAY_LEN(maps); k++) {
		const char *label = maps[k].label;

		k3_json_each(k3_json_get(c, maps[k].key), member_line, &label);
	}
	return 0;
}

/* ---- layers -------------------------------------------------------------------------- */

static void layers(const struct inspected *x)
{
	static const char *const heads[] = { ">#",        "LAYER", ">SIZE",    "BLOB",   "CHAIN ID",
					     ">SNAPSHOT", "STATE", ">ON DISK", ">INODES" };
	__attribute__((cleanup(table_release))) struct table t = { 0 };

	table_begin(&t, heads, K3_ARRAY_LEN(heads));
	for (size_t k = 0; k < x->nlayers; k++) {
		const struct oci_layer *l = &x->found.image.layers[k];
		const struct inspected_layer *have = &x->layers[k];
		char text[OCI_DIGEST_TEXT_MAX], size[16];

		table_row(&t);
		table_cell(&t, "%zu", k + 1);
		oci_digest_format(&l->blob.digest, text);
		table_cell(&t, "%.19s", text);
		cli_size(l->blob.size, size, sizeof(size));
		table_cell(&t, "%s", size);
		table_cell(&t, "%s", have->stored ? "yes" : "no");
		oci_digest_format(&l->chain_id, text);
		table_cell(&t, "%.19s", text);
		if (!have->has_snapshot) {
			for (unsigned i = 0; i < 4; i++)
				table_cell(&t, "-");
			continue;
		}
		table_cell(&t, "%" PRIu64, have->snapshot.id);
		table_cell(&t, "%s",
			   have->snapshot.directory ? imp_kind_name(have->snapshot.kind)
						    : "no directory");
		cli_size(have->snapshot.bytes, size, sizeof(size));
		table_cell(&t, "%s", size);
		table_cell(&t, "%" PRIu64, have->snapshot.inodes);
	}
	table_print(&t);
}

/* ---- losses -------------------------------------------------------------------------- */

static void loss_rows(const struct inspected *x, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		const struct inspected_loss *l = &x->losses[k];
		K3_AUTO_FREE char *path = cli_safe(l->path);
		K3_AUTO_FREE char *what = cli_safe(l->what);
		K3_AUTO_FREE char *kind = cli_safe(l->kind);
		K3_AUTO_FREE char *why = cli_safe(l->why);

		printf("    %-6s  %s  %s: %s\n", kind, path, what, why);
	}
}

void inspect_losses(const struct inspected *x)
{
	K3_AUTO_FREE char *name = cli_safe(catalog_name(x->im));

	if (!x->im->unpacked)
		printf("%s: is not unpacked\n", name);
	else if (!x->total_losses)
		printf("%s: the file system refused nothing that is known\n", name);
	else
		printf("%s: the file system refused %" PRIu64 ":\n", name, x->total_losses);
	loss_rows(x, x->nlosses);
	if (x->nlosses < x->total_losses)
		printf("  and %" PRIu64 " more, which were only counted\n",
		       x->total_losses - x->nlosses);
}

/* ---- all of it ----------------------------------------------------------------------- */

static void records(const struct inspected *x)
{
	const struct catalog_image *im = x->im;
	char digest[OCI_DIGEST_TEXT_MAX], text[CLI_TIME_MAX];
	const char *shown = catalog_name(im), *label = "Also named:";
	K3_AUTO_FREE char *safe = cli_safe(shown);

	printf("%s\n", safe);
	for (size_t k = 0; k < im->nnames; k++) {
		if (im->names[k] == shown || catalog_is_id(im->names[k]))
			continue;
		line(label, "%s", im->names[k]);
		label = "";
	}
	if (x->whole) {
		oci_digest_format(&im->id, digest);
		line("ID:", "%s", digest);
	}
	oci_digest_format(&im->target.digest, digest);
	line("Digest:", "%s", digest);
	line("Type:", "%s", im->target.media_text);
	if (x->whole) {
		oci_platform_format(&im->platform, digest, sizeof(digest));
		line("Platform:", "%s", digest);
	}
	line("Pinned:", "%s", im->pinned ? "yes" : "no");
	line("Known to CRI:", "%s", im->managed ? "yes" : "no");
	if (cli_time(im->created, text))
		line("In store:", "since %s", text);
}

static const struct imp_snapshot_info *top_snapshot(const struct inspected *x)
{
	const struct inspected_layer *top = x->nlayers ? &x->layers[x->nlayers - 1] : NULL;

	return top && top->has_snapshot ? &top->snapshot : NULL;
}

int inspect_text(const struct inspected *x, struct k3_err *e)
{
	const struct imp_snapshot_info *top = top_snapshot(x);
	char size[16];

	records(x);
	if (!x->whole) {
		line("Complete:", "no: documents of it are missing or damaged; \"k3simg verify\" "
				  "says which");
		return 0;
	}
	cli_size(x->im->size, size, sizeof(size));
	line("Size:", "%s, compressed, in %zu layer%s", size, x->nlayers,
	     x->nlayers == 1 ? "" : "s");
	line("Unpacked:", "%s", x->im->unpacked ? "yes" : "no");
	if (top) {
		K3_AUTO_FREE char *dir = imp_snapshot_name(top->id);

		line("Snapshot:", "%s", top->name);
		line("", "%s/%s", x->c->root, dir);
	}
	if (config(x, e))
		return -1;
	if (x->total_losses) {
		size_t n = x->nlosses < LOSSES_SHOWN ? x->nlosses : LOSSES_SHOWN;

		line("Losses:", "%" PRIu64 " refused by the file system%s", x->total_losses,
		     n < x->total_losses ? "; --losses shows all" : "");
		loss_rows(x, n);
	}
	if (x->nlayers)
		layers(x);
	return 0;
}
