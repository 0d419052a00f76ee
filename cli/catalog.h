/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The images of a store as people see them: the records of one target are one image, and a word
 * of the command line means one of them.  Reads only, whether containerd runs or not.
 */
#ifndef K3_CLI_CATALOG_H
#define K3_CLI_CATALOG_H

#include "cli/opts.h"
#include "importer/importer.h"

/* Where to look. */
struct catalog_where {
	const char *root, *ns;
};

/* For an option table: --root and --namespace. */
#define CATALOG_ROWS 3 /* with the one that ends them */
void catalog_rows(struct catalog_where *where, struct opt rows[CATALOG_ROWS]);
/* The root that is meant, once the words are parsed.  Caller frees the result. */
char *catalog_choose_root(const struct catalog_where *where) __attribute__((returns_nonnull));

/* An image: all names of the namespace with one target. */
struct catalog_image {
	struct oci_desc target;
	char **names; /* in the order of the database, which is that of bytes */
	size_t nnames;
	bool pinned, managed; /* one of its records says so */
	int64_t created;      /* of its first record; 0 = not known */
	/* What its documents tell, once catalog_read has read them; whole = false: some are missing
	 */
	bool read, whole, unpacked;
	struct oci_platform platform;
	struct oci_digest id;    /* of its config */
	struct oci_digest chain; /* of its top layer, when it has any */
	uint64_t snapshot;       /* number of the top snapshot; 0 = not unpacked, or no layers */
	size_t layers;
	uint64_t size; /* bytes of all its blobs, as its documents say */
};

struct catalog {
	struct imp *imp;
	struct imp_view *view;
	const char *root, *ns;   /* borrowed */
	struct catalog_image *v; /* in the order of their first names */
	size_t n;
};

/*
 * Reads the image records.  The databases stay locked, as imp_view_open says, until
 * catalog_unlock or catalog_close.  Errors as imp_open and imp_view_open.
 */
K3_MUST int catalog_open(const struct catalog_where *where, struct k3_cancel *cancel,
			 struct catalog *out, struct k3_err *e);
/* For long work on what was read: nothing of the databases is looked at afterwards. */
void catalog_unlock(struct catalog *c);
void catalog_close(struct catalog *c); /* also what was never opened, zeroed */

/*
 * Documents of the platform that the store has: this machine's, or the first one of an index that
 * is there.  Fails as oci_resolve and imp_read_document; *found is to be released in any case.
 */
K3_MUST int catalog_resolve(const struct catalog *c, const struct catalog_image *im,
			    struct oci_resolved *found, struct k3_err *e);
/* Fills in what the documents tell, once; an image that lacks some of them is no error. */
K3_MUST int catalog_read(const struct catalog *c, struct catalog_image *im, struct k3_err *e);
K3_MUST int catalog_read_all(struct catalog *c, struct k3_err *e);

/*
 * The image that a word means: a name of a record, a name as it is written in short (nginx is
 * docker.io/library/nginx:latest), name@digest, the digest of the target, or the image ID or the
 * first digits of either, with or without "sha256:".
 * K3_NOTFOUND with the nearest names; K3_USAGE when digits are the start of several IDs.
 */
K3_MUST int catalog_find(struct catalog *c, const char *word, struct catalog_image **out,
			 struct k3_err *e);
/*
 * The images that words mean, each once and in the order of the words; all of them without a
 * word.  *out, of *n, is the caller's.
 */
K3_MUST int catalog_choose(struct catalog *c, const struct words *words,
			   struct catalog_image ***out, size_t *n, struct k3_err *e);

/* All that an image refers to, for every platform that the store has documents of; each once. */
struct catalog_parts {
	struct oci_digest *blobs;  /* documents too; some may not be there */
	struct oci_digest *chains; /* of every layer; few have a snapshot */
	size_t nblobs, nchains, blobs_cap, chains_cap;
};
void catalog_parts(const struct catalog *c, const struct catalog_image *im,
		   struct catalog_parts *out);
void catalog_parts_release(struct catalog_parts *p);

/* How messages call it: a tag, else name@digest, else its ID. */
const char *catalog_name(const struct catalog_image *im);
/* Whether a record's name is an image ID, which CRI also keeps among the names. */
bool catalog_is_id(const char *name);
/* Whether a record's name is that of a tag: neither an ID nor name@digest. */
bool catalog_is_tag(const char *name);

#endif
