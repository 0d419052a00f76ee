/* SPDX-License-Identifier: Apache-2.0 */
/* Options of the commands that put images into a containerd root. */
#ifndef K3_CLI_STORE_H
#define K3_CLI_STORE_H

#include "importer/importer.h"
#include "pipeline/pipeline.h"

/* Of words that OPT_CHOICE has let through: auto|live|offline, flat|chain. */
enum imp_mode store_mode(const char *text);
enum pl_snapshots store_snapshots(const char *text);
/* The socket: the one named, or NULL and then as every tool of containerd looks for it. */
const char *store_address(const char *named, const struct imp_config *config);
/*
 * What --pause means: NULL for "none"; for "auto" the one of the configuration, or of the
 * containerd of this machine, with a warning when CRI is configured to use another snapshotter than
 * ours. Lives as long as both arguments.
 */
const char *store_pause(const char *word, struct imp_config *config);

#endif
