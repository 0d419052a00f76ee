/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum imp_mode store_mode(const char *text)
{
	if (!strcmp(text, "auto"))
		return IMP_AUTO;
	return !strcmp(text, "live") ? IMP_LIVE : IMP_OFFLINE;
}

enum pl_snapshots store_snapshots(const char *text)
{
	return !strcmp(text, "chain") ? PL_CHAIN : PL_FLAT;
}

const char *store_address(const char *named, const struct imp_config *config)
{
	const char *env = getenv("CONTAINERD_ADDRESS");

	return named ? named : env && *env ? env : config->address;
}

/* Trees of one snapshotter are of no use to another. */
static void warn_snapshotter(const struct imp_config *c)
{
	const char *name = c->snapshotter ? c->snapshotter : "overlayfs";

	if (c->file && strcmp(name, IMP_SNAPSHOTTER) != 0)
		fprintf(stderr,
			"warning: %s: CRI's snapshotter is \"%s\"%s and will not use these trees; "
			"set it to \"" IMP_SNAPSHOTTER "\"\n",
			c->file, name, c->snapshotter ? "" : " by default");
}

const char *store_pause(const char *word, struct imp_config *config)
{
	if (strcmp(word, "auto") != 0)
		return strcmp(word, "none") != 0 ? word : NULL;
	warn_snapshotter(config);
	imp_config_ask_program("", config);
	return config->pause;
}
