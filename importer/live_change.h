/* SPDX-License-Identifier: Apache-2.0 */
/* Changes and removals through the API of a containerd that runs. */
#ifndef K3_IMPORTER_LIVE_CHANGE_H
#define K3_IMPORTER_LIVE_CHANGE_H

#include "importer/imp.h"

/* imp_edit and imp_remove for a root whose databases containerd has. */
K3_MUST int imp_live_edit(struct imp *i, struct imp_edit *edits, size_t n, struct k3_err *e);
K3_MUST int imp_live_remove(struct imp *i, struct imp_edit *edits, size_t n, bool keep_content,
			    struct imp_removal *r, struct k3_err *e);

#endif
