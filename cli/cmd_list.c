/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "importer/importer.h"

#define JSON_MAX (64u << 20)

static const char about[] = "\n"
			    "Works while containerd or k3s runs, too.\n"
			    "\n"
			    "Examples:\n"
			    "  k3simg list\n"
			    "  k3simg list -o json\n";

/* An image: all names with one target. */
struct listed {
	struct oci_desc target;
	struct words names; /* owned texts */
	bool pinned, managed;
	int64_t created;
	/* read from the documents; whole = false when some are missing */
	bool whole, unpacked;
	struct oci_platform platform;
	struct oci_digest id, chain;
	size_t layers;
	uint64_t size;
};

struct listing {
	struct imp *imp;
	struct imp_view *view;
	struct listed *images;
	size_t n, cap;
};

static void listing_release(struct listing *l)
{
	for (size_t i = 0; i < l->n; i++) {
		for (size_t k = 0; k < l->images[i].names.n; k++)
			free((void *)(uintptr_t)l->images[i].names.items[k]);
		words_release(&l->images[i].names);
	}
	free(l->images);
	imp_view_close(l->view);
	imp_close(l->imp, true);
}

static int get(void *arg, const struct oci_desc *want, bool config, struct k3_buf *raw,
	       struct oci_desc *got, struct k3_err *e)
{
	(void)config;
	*got = *want;
	return imp_read_document(arg, want, raw, e);
}

/* Fills what only the documents tell; an image that lacks some is listed all the same. */
static int read_documents(const struct listing *l, struct listed *im, struct k3_err *e)
{
	__attribute__((cleanup(oci_resolved_release))) struct oci_resolved found = { 0 };
	K3_AUTO_BUF struct k3_buf body = K3_BUF(OCI_DOCUMENT_MAX);
	struct oci_platform host;
	struct k3_err why;
	uint64_t id;

	oci_platform_host(&host);
	if (imp_read_document(l->imp, &im->target, &body, &why) ||
	    oci_resolve(&im->target, &body, &host, get, l->imp, &found, &why))
		return 0;
	const struct oci_image *img = &found.image;

	im->whole = true;
	im->platform = img->platform;
	im->id = img->config.digest;
	im->layers = img->nlayers;
	im->size = oci_image_layer_bytes(img) + img->config.size;
	for (size_t i = 0; i < found.ndocs; i++)
		im->size += found.docs[i].desc.size;
	if (!img->nlayers) {
		im->unpacked = true;
		return 0;
	}
	return imp_view_chain(l->view, &img->layers[img->nlayers - 1].chain_id, &id, &im->unpacked,
			      e);
}

/* Records come in name order; those of one image are gathered by their target. */
static int add_record(void *arg, const struct imp_record *r, struct k3_err *e)
{
	struct listing *l = arg;
	struct listed *im = NULL;

	(void)e;
	for (size_t i = 0; i < l->n && !im; i++)
		if (oci_digest_eq(&l->images[i].target.digest, &r->target.digest))
			im = &l->images[i];
	if (!im) {
		l->images = k3_xgrow(l->images, l->n, &l->cap, sizeof(*l->images));
		im = &l->images[l->n++];
		*im = (struct listed){ .target = r->target, .created = r->created };
	}
	words_add(&im->names, k3_xstrdup(r->name));
	im->pinned = im->pinned || r->pinned;
	im->managed = im->managed || r->managed;
	return 0;
}

/* ---- output ---- */

static bool is_id(const char *name)
{
	struct oci_digest d;
	struct k3_err e;

	return !oci_digest_parse(name, &d, &e);
}

/* "host/repo" and "tag" of a tagged name; false for digest names and ids. */
static bool split_tag(const char *name, char *repo, size_t size, const char **tag)
{
	const char *slash = strrchr(name, '/');
	const char *colon = strchr(slash ? slash : name, ':');

	if (is_id(name) || strchr(name, '@') || !colon)
		return false;
	snprintf(repo, size, "%.*s", (int)(colon - name), name);
	*tag = colon + 1;
	return true;
}

struct row {
	char image[OCI_REF_MAX], tag[OCI_TAG_MAX + 1], id[16], platform[48], size[16];
	const char *pinned, *unpacked;
};

static void fill_row(const struct listed *im, struct row *row)
{
	char text[OCI_DIGEST_TEXT_MAX];

	*row = (struct row){ .id = "-", .platform = "-", .size = "-" };
	if (im->whole) {
		oci_digest_format(&im->id, text);
		snprintf(row->id, sizeof(row->id), "%.13s", strchr(text, ':') + 1);
		oci_platform_format(&im->platform, row->platform, sizeof(row->platform));
		cli_size(im->size, row->size, sizeof(row->size));
	}
	row->pinned = im->pinned ? "yes" : "no";
	row->unpacked = im->unpacked ? "yes" : "no";
}

/* A row for every tagged name; for an image without one a row for its first digest name. */
static size_t rows_of(const struct listed *im, struct row **rows, size_t n, size_t *cap)
{
	const char *fallback = "", *tag;
	size_t before = n;

	for (size_t i = 0; i < im->names.n; i++) {
		const char *name = im->names.items[i];
		char repo[OCI_REF_MAX];

		if (!split_tag(name, repo, sizeof(repo), &tag)) {
			if (!*fallback || !is_id(name))
				fallback = name;
			continue;
		}
		*rows = k3_xgrow(*rows, n, cap, sizeof(**rows));
		fill_row(im, &(*rows)[n]);
		snprintf((*rows)[n].image, sizeof((*rows)[n].image), "%s", repo);
		snprintf((*rows)[n].tag, sizeof((*rows)[n].tag), "%s", tag);
		n++;
	}
	if (n > before)
		return n;
	*rows = k3_xgrow(*rows, n, cap, sizeof(**rows));
	fill_row(im, &(*rows)[n]);
	snprintf((*rows)[n].image, sizeof((*rows)[n].image), "%.*s", (int)strcspn(fallback, "@"),
		 fallback);
	snprintf((*rows)[n].tag, sizeof((*rows)[n].tag), "<none>");
	return n + 1;
}

static void print_table(const struct listing *l)
{
	K3_AUTO_FREE struct row *rows = NULL;
	size_t n = 0, cap = 0;
	int image = 5, tag = 3, platform = 8;

	for (size_t i = 0; i < l->n; i++)
		n = rows_of(&l->images[i], &rows, n, &cap);
	for (size_t i = 0; i < n; i++) {
		int len = (int)strlen(rows[i].image);

		image = len > image ? len : image;
		len = (int)strlen(rows[i].tag);
		tag = len > tag ? len : tag;
		len = (int)strlen(rows[i].platform);
		platform = len > platform ? len : platform;
	}
	printf("%-*s  %-*s  %-13s  %-*s  %7s  %-6s  %s\n", image, "IMAGE", tag, "TAG", "IMAGE ID",
	       platform, "PLATFORM", "SIZE", "PINNED", "UNPACKED");
	for (size_t i = 0; i < n; i++)
		printf("%-*s  %-*s  %-13s  %-*s  %7s  %-6s  %s\n", image, rows[i].image, tag,
		       rows[i].tag, rows[i].id, platform, rows[i].platform, rows[i].size,
		       rows[i].pinned, rows[i].unpacked);
}

static void print_names(const struct listing *l)
{
	for (size_t i = 0; i < l->n; i++)
		for (size_t k = 0; k < l->images[i].names.n; k++)
			if (!is_id(l->images[i].names.items[k]))
				printf("%s\n", l->images[i].names.items[k]);
}

static void json_listed(struct k3_jw *w, const struct listed *im)
{
	char text[OCI_DIGEST_TEXT_MAX], when[32];
	struct tm tm;
	time_t created = (time_t)im->created;

	k3_jw_obj(w, NULL);
	k3_jw_arr(w, "names");
	for (size_t i = 0; i < im->names.n; i++)
		k3_jw_str(w, NULL, im->names.items[i]);
	k3_jw_close_arr(w);
	oci_digest_format(&im->target.digest, text);
	k3_jw_str(w, "digest", text);
	k3_jw_str(w, "mediaType", im->target.media_text);
	k3_jw_bool(w, "pinned", im->pinned);
	k3_jw_bool(w, "managed", im->managed);
	k3_jw_bool(w, "unpacked", im->unpacked);
	k3_jw_bool(w, "complete", im->whole);
	if (im->created && gmtime_r(&created, &tm)) {
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
		k3_jw_str(w, "createdAt", when);
	}
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

static int print_json(const struct listing *l, const char *root, const char *ns)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	struct k3_jw w = K3_JW(&out);

	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "root", root);
	k3_jw_str(&w, "namespace", ns);
	k3_jw_arr(&w, "images");
	for (size_t i = 0; i < l->n; i++)
		json_listed(&w, &l->images[i]);
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

static int list(const struct cli *c, const char *root, const char *ns, const char *format)
{
	__attribute__((cleanup(listing_release))) struct listing l = { 0 };
	struct imp_opts io = { .root = root, .ns = ns, .cancel = c->cancel };
	struct k3_err e;

	if (imp_open(&io, &l.imp, &e) || imp_view_open(l.imp, &l.view, &e) ||
	    imp_view_images(l.view, add_record, &l, &e))
		return cli_error(&e);
	for (size_t i = 0; i < l.n; i++)
		if (read_documents(&l, &l.images[i], &e))
			return cli_error(&e);
	if (!strcmp(format, "json"))
		return cli_finish(print_json(&l, root, ns));
	if (!strcmp(format, "name"))
		print_names(&l);
	else
		print_table(&l);
	return cli_finish(0);
}

int cmd_list(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	const char *root = NULL, *ns = "k8s.io", *format = "table";
	struct words args = { 0 };
	struct k3_err e;
	bool help;
	const struct opt opts[] = {
		{ "root", 0, OPT_STR, "DIR",
		  "containerd's root (default: the one of k3s if\nk3s is installed, else "
		  "containerd's)",
		  &root },
		{ "namespace", 'n', OPT_STR, "NAME", "containerd namespace (default: k8s.io)",
		  &ns },
		{ "output", 'o', OPT_CHOICE, "table|json|name",
		  "how they are listed (default: table)", &format },
		{ 0 },
	};

	if (opts_parse(opts, argc, argv, &args, &help, &e)) {
		words_release(&args);
		return cli_error(&e);
	}
	size_t extra = args.n;

	words_release(&args);
	if (help) {
		cli_help(cmd, about, opts);
		return cli_finish(0);
	}
	if (extra) {
		k3_fail(&e, K3_USAGE, "list takes no arguments");
		return cli_error(&e);
	}
	K3_AUTO_FREE char *where = root ? k3_xstrdup(root) : imp_default_root();

	return list(c, where, ns, format);
}
