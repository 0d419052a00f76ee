/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of `k3simg bundle`; each as struct command's run. */
#ifndef K3_CLI_BUNDLE_H
#define K3_CLI_BUNDLE_H

#include "cli/cli.h"

int bundle_create(const struct cli *c, const struct command *cmd, int argc, char **argv);
int bundle_apply(const struct cli *c, const struct command *cmd, int argc, char **argv);
int bundle_inspect(const struct cli *c, const struct command *cmd, int argc, char **argv);

#endif
