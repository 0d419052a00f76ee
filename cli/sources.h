/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images in archives, as the command line names them, in skopeo's words:
 *   oci:DIR[:REF]  oci-archive:FILE[:REF]  docker-archive:FILE[:REF]
 * REF is a name in the archive, its tag, "@N" for the N-th image from 0, or "@<digest>"; without
 * it, all images are meant.  FILE may be "-".
 */
#ifndef K3_CLI_SOURCES_H
#define K3_CLI_SOURCES_H

#include "archive/archive.h"

struct sources_opts {
	const char *spool_dir; /* for archives that cannot be read in place */
	const char *name;      /* --name, or NULL */
	struct oci_platform platform;
	struct unpack_limits limits;
	struct k3_cancel *cancel;
};

/* An image that was chosen. */
struct source {
	struct archive *from;
	const struct archive_image *image;
	char *name; /* as it will be called; after sources_name */
};

struct opened;

struct sources {
	struct opened *archives; /* each once, however often it is named */
	size_t narchives, cap_archives;
	struct source *v;
	size_t n, cap;
};

/* Whether a word names an archive; a word of another transport than we know does not. */
bool sources_is_archive(const char *word);
/* K3_USAGE for "docker-daemon:" and others of skopeo's transports that lead nowhere here. */
K3_MUST int sources_check_transport(const char *word, struct k3_err *e);
/* Opens what the word names, unless it is open, and chooses from it.  Errors as archive_open. */
K3_MUST int sources_add(struct sources *s, const char *word, const struct sources_opts *o,
			struct k3_err *e);
/*
 * Gives each chosen image its name: o->name, or its own.  K3_USAGE when one has none, saying what
 * there is, or when o->name does not suit.
 */
K3_MUST int sources_name(struct sources *s, const struct sources_opts *o, struct k3_err *e);
void sources_release(struct sources *s);

/* The nearest directory above `path`, itself included, that exists; the caller's. */
char *sources_spool_dir(const char *path);

#endif
