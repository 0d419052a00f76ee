/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands share that change or take away images which are there: tag, pin, rm, prune. */
#ifndef K3_CLI_CHANGE_H
#define K3_CLI_CHANGE_H

#include "base/json.h"
#include "cli/catalog.h"
#include "cli/cli.h"

struct change {
	/* As the command line has it. */
	struct catalog_where where;
	const char *mode, *address, *config_file, *output;
	bool quiet;
	bool want_pause; /* set before: `pause` is needed */
	/* Since change_open. */
	struct imp *imp; /* may write, and keeps other k3simgs out */
	struct catalog cat;
	char *root, *pause; /* the pause image that containerd asks for, or NULL */
};

/* For an option table: root, namespace, mode, address, configuration, output, quiet. */
#define CHANGE_ROWS 8 /* with the one that ends them */
void change_rows(struct change *c, struct opt rows[CHANGE_ROWS]);
/* The same without a namespace: rows of what concerns all of them. */
void change_rows_all(struct change *c, struct opt rows[CHANGE_ROWS]);
bool change_is_json(const struct change *c);

/*
 * Opens the root for changes, waiting for another k3simg, and reads its images: what they are
 * called is decided upon then, and the databases are not locked any more.  K3_USAGE for words of
 * the command line, K3_NOTFOUND without such a root; the others of imp_open.
 */
K3_MUST int change_open(struct change *c, struct k3_cancel *cancel, struct k3_err *e);
/* Only which root it is. */
void change_choose_root(struct change *c);
/* Only the root, with its images not read; write: for changes. */
K3_MUST int change_open_root(struct change *c, bool write, struct k3_cancel *cancel,
			     struct k3_err *e);
/* For the next change_open_root. */
void change_close_root(struct change *c, bool keep_partial);
void change_close(struct change *c);

/* The image that has exactly this name, or NULL. */
struct catalog_image *change_named(struct change *c, const char *name);
/* The record's name that a word means, or NULL when it means an image by a digest or an ID. */
const char *change_name_of(const struct catalog_image *im, const char *word);
/* Whether both are one image to CRI: they have one ID. */
bool change_same_id(const struct catalog_image *a, const struct catalog_image *b);

/* Begins the document: schema version, root, and, unless ns is NULL, namespace and mode. */
void change_json_begin(const struct change *c, struct k3_jw *w, const char *ns);
/* Items that are gone, or all of them. */
void change_json_items(struct k3_jw *w, const char *key, const struct imp_removal *r, bool all);

#define CHANGE_JSON_MAX (256u << 20)

#endif
