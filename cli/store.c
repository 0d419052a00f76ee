/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int store_parse_mode(const char *text, enum imp_mode *out, struct k3_err *e)
{
	*out = IMP_AUTO;
	if (!strcmp(text, "live"))
		*out = IMP_LIVE;
	else if (!strcmp(text, "offline"))
		*out = IMP_OFFLINE;
	else if (strcmp(text, "auto") != 0)
		return k3_fail(e, K3_USAGE, "--mode is auto, live or offline, not \"%s\"", text);
	return 0;
}

int store_parse_snapshots(const char *text, enum pl_snapshots *out, struct k3_err *e)
{
	*out = PL_FLAT;
	if (!strcmp(text, "chain"))
		*out = PL_CHAIN;
	else if (strcmp(text, "flat") != 0)
		return k3_fail(e, K3_USAGE, "--snapshots is flat or chain, not \"%s\"", text);
	return 0;
}

const char *store_address(const char *named, const struct imp_config *config)
{
	const char *env = getenv("CONTAINERD_ADDRESS");

	return named ? named : env && *env ? env : config->address;
}

/* Trees of one snapshotter are of no use to another. */
void store_warn_snapshotter(const struct imp_config *c)
{
	const char *name = c->snapshotter ? c->snapshotter : "overlayfs";

	if (c->file && strcmp(name, IMP_SNAPSHOTTER) != 0)
		fprintf(stderr,
			"warning: %s: CRI's snapshotter is \"%s\"%s and will not use these trees; "
			"set it to \"" IMP_SNAPSHOTTER "\"\n",
			c->file, name, c->snapshotter ? "" : " by default");
}
