/* SPDX-License-Identifier: Apache-2.0 */
/* The store of a containerd that runs: the same records, made through its API. */
#ifndef K3_IMPORTER_LIVE_H
#define K3_IMPORTER_LIVE_H

#include "importer/imp.h"

/* Connects to the containerd at i->address.  K3_BUSY when none answers there. */
K3_MUST int imp_live_connect(struct imp *i, struct k3_err *e);
/*
 * imp_commit through the API.  *gone: it failed before anything was done, because containerd
 * does not answer any more.
 */
K3_MUST int imp_live_commit(struct imp *i, bool *gone, struct k3_err *e);

#endif
