/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration below another directory than /, for tests. */
#ifndef K3_IMPORTER_CONFIG_H
#define K3_IMPORTER_CONFIG_H

#include "importer/importer.h"

/* As imp_default_root and imp_config_load; well-known paths are looked up below sysroot (""). */
char *imp_default_root_at(const char *sysroot);
K3_MUST int imp_config_load_at(const char *sysroot, const char *root, const char *file,
			       struct imp_config *out, struct k3_err *e);

#endif
