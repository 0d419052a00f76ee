/* SPDX-License-Identifier: Apache-2.0 */
/* What config.toml says of CRI's runtime, network and pulls. */
#ifndef K3_IMPORTER_CRI_CONFIG_H
#define K3_IMPORTER_CRI_CONFIG_H

#include "base/toml.h"
#include "importer/importer.h"

/* Takes over what one file says; files that come later have the last word. */
void imp_cri_take(struct imp_cri *c, const struct k3_toml *root, int64_t version);
/* Fills in what containerd (agent = NULL) or k3s takes when nothing is said. */
void imp_cri_defaults(struct imp_cri *c, const char *agent);
void imp_cri_release(struct imp_cri *c);

#endif
