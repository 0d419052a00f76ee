/* SPDX-License-Identifier: Apache-2.0 */
/* What both ways of a commit begin with. */
#ifndef K3_IMPORTER_COMMIT_H
#define K3_IMPORTER_COMMIT_H

#include "importer/imp.h"

/* Makes the directories that are going to be written to, and flushes what is staged. */
K3_MUST int imp_flush(struct imp *i, struct k3_err *e);

#endif
