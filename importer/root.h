/* SPDX-License-Identifier: Apache-2.0 */
/* The root directory: paths, directories, journal of a commit that was cut off. */
#ifndef K3_IMPORTER_ROOT_H
#define K3_IMPORTER_ROOT_H

#include <dirent.h>

#include "importer/imp.h"

#define IMP_PATH_MAX 320 /* any of our paths below the root */

/* "io.containerd.content.v1.content/blobs/<alg>/<hex>" */
void imp_blob_path(const struct oci_digest *d, char out[IMP_PATH_MAX]);
void imp_snapshot_path(uint64_t id, char out[IMP_PATH_MAX]);
/* "<alg>-<hex>": the name of a blob or tree in staging */
void imp_stage_name(const struct oci_digest *d, char out[IMP_PATH_MAX]);
/*
 * Makes the directory `path` below the root (modes: table in docs/importer.md) with its
 * parents, and flushes the directories that got a new entry.
 */
K3_MUST int imp_make_dirs(struct imp *i, const char *path, struct k3_err *e);
/* Flushes a directory below the root. */
K3_MUST int imp_sync_dir(struct imp *i, const char *path, struct k3_err *e);

/* Opens a directory below the root to read its names.  NULL and success when there is none. */
K3_MUST int imp_list_open(struct imp *i, const char *path, DIR **out, struct k3_err *e);
const char *imp_list_next(DIR *d); /* lives until the next call; NULL at the end, and of NULL */
void imp_list_close(DIR **d);
#define IMP_AUTO_LIST __attribute__((cleanup(imp_list_close)))
/* A number as the directory of a snapshot is called. */
bool imp_is_number(const char *name, uint64_t *n);

#endif
