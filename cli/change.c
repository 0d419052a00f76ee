/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/change.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/store.h"

/* ---- options -------------------------------------------------------------------------------- */

static size_t more_rows(struct change *c, struct opt *rows)
{
	const struct opt more[] = {
		{ "mode", 0, OPT_CHOICE, "auto|live|offline",
		  "auto (default): live if containerd runs on the root\n"
		  "live: through its API\noffline: write its databases, while it is stopped",
		  &c->mode },
		{ "address", 'a', OPT_STR, "SOCKET",
		  "containerd's (default: $CONTAINERD_ADDRESS, then\nthe one of the root's "
		  "configuration)",
		  &c->address },
		{ "containerd-config", 0, OPT_STR, "FILE", "configuration to read the socket from",
		  &c->config_file },
		{ "output", 'o', OPT_CHOICE, "text|json",
		  "how the result is printed (default: text)", &c->output },
		{ "quiet", 'q', OPT_FLAG, NULL, "only results and errors", &c->quiet },
		{ 0 },
	};

	c->mode = "auto";
	c->output = "text";
	memcpy(rows, more, sizeof(more));
	return K3_ARRAY_LEN(more);
}

void change_rows(struct change *c, struct opt rows[CHANGE_ROWS])
{
	catalog_rows(&c->where, rows);
	more_rows(c, rows + CATALOG_ROWS - 1);
}

void change_rows_all(struct change *c, struct opt rows[CHANGE_ROWS])
{
	struct opt where[CATALOG_ROWS];

	catalog_rows(&c->where, where);
	rows[0] = where[0];
	more_rows(c, rows + 1);
}

bool change_is_json(const struct change *c)
{
	return !strcmp(c->output, "json");
}

/* ---- open, close ---------------------------------------------------------------------------- */

static void on_wait(void *arg)
{
	const struct change *c = arg;

	if (!c->quiet)
		fprintf(stderr, "waiting for another k3simg on %s\n", c->root);
}

void change_choose_root(struct change *c)
{
	c->root = catalog_choose_root(&c->where);
	c->where.root = c->root;
}

int change_open_root(struct change *c, bool write, struct k3_cancel *cancel, struct k3_err *e)
{
	__attribute__((cleanup(imp_config_release))) struct imp_config config = { 0 };
	struct imp_opts io = { .root = c->root,
			       .ns = c->where.ns,
			       .mode = store_mode(c->mode),
			       .write = write,
			       .cancel = cancel,
			       .on_wait = on_wait,
			       .arg = c };

	if (imp_config_load(c->root, c->config_file, &config, e))
		return -1;
	io.address = store_address(c->address, &config);
	/* Once: the root is opened to look, then to write. */
	if (c->want_pause && !c->pause) {
		imp_config_ask_program("", &config);
		c->pause = K3_STEAL(config.pause);
	}
	return imp_open(&io, &c->imp, e);
}

void change_close_root(struct change *c, bool keep_partial)
{
	imp_close(c->imp, keep_partial);
	c->imp = NULL;
}

int change_open(struct change *c, struct k3_cancel *cancel, struct k3_err *e)
{
	change_choose_root(c);
	/* To write, a root that is not there would be made. */
	if (change_open_root(c, false, cancel, e))
		return -1;
	change_close_root(c, true);
	if (change_open_root(c, true, cancel, e) || catalog_open(&c->where, cancel, &c->cat, e) ||
	    catalog_read_all(&c->cat, e))
		return -1;
	catalog_unlock(&c->cat);
	return 0;
}

void change_close(struct change *c)
{
	catalog_close(&c->cat);
	/* What a preload has fetched so far is not ours to take away. */
	change_close_root(c, true);
	free(c->root);
	free(c->pause);
	c->root = c->pause = NULL;
}

/* ---- names ---------------------------------------------------------------------------------- */

static const char *own_name(const struct catalog_image *im, const char *name)
{
	for (size_t k = 0; k < im->nnames; k++)
		if (!strcmp(im->names[k], name))
			return im->names[k];
	return NULL;
}

struct catalog_image *change_named(struct change *c, const char *name)
{
	for (size_t i = 0; i < c->cat.n; i++)
		if (own_name(&c->cat.v[i], name))
			return &c->cat.v[i];
	return NULL;
}

const char *change_name_of(const struct catalog_image *im, const char *word)
{
	const char *found = own_name(im, word);
	struct oci_ref ref;
	struct k3_err why;

	if (!found && !oci_ref_parse(word, &ref, &why)) {
		K3_AUTO_FREE char *name = oci_ref_name(&ref);

		oci_ref_release(&ref);
		found = own_name(im, name);
	}
	return found && !catalog_is_id(found) ? found : NULL;
}

bool change_same_id(const struct catalog_image *a, const struct catalog_image *b)
{
	return a == b || (a->whole && b->whole && oci_digest_eq(&a->id, &b->id));
}

/* ---- JSON ----------------------------------------------------------------------------------- */

void change_json_begin(const struct change *c, struct k3_jw *w, const char *ns)
{
	k3_jw_obj(w, NULL);
	k3_jw_u64(w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(w, "root", c->root);
	if (!ns)
		return;
	k3_jw_str(w, "namespace", ns);
	k3_jw_str(w, "mode", imp_is_live(c->imp) ? "live" : "offline");
}

void change_json_items(struct k3_jw *w, const char *key, const struct imp_removal *r, bool all)
{
	k3_jw_arr(w, key);
	for (size_t k = 0; k < r->n; k++) {
		const struct imp_item *it = &r->v[k];
		K3_AUTO_FREE char *path = cli_safe(it->path);
		K3_AUTO_FREE char *name = it->key ? cli_safe(it->key) : NULL;
		K3_AUTO_FREE char *ns = it->ns ? cli_safe(it->ns) : NULL;

		if (!all && !it->gone)
			continue;
		k3_jw_obj(w, NULL);
		k3_jw_str(w, "kind", imp_item_name(it->kind));
		k3_jw_bool(w, "record", it->record);
		k3_jw_str(w, "path", path);
		k3_jw_str(w, "namespace", ns);
		k3_jw_str(w, "key", name);
		k3_jw_u64(w, "bytes", it->bytes);
		k3_jw_bool(w, "removed", it->gone);
		k3_jw_close_obj(w);
	}
	k3_jw_close_arr(w);
}
