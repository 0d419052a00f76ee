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

/*
 * Makes the lease under which all is done, once, and by it sure that this containerd has our root.
 */
K3_MUST int imp_live_begin(struct imp *i, struct k3_err *e);
/* Says through whom it went wrong.  Returns -1. */
int imp_live_through(struct imp *i, struct k3_err *e);
/*
 * Whether there is anything of CRI to wait for: our namespace is the one it looks at, and this
 * containerd has it; it is ready then.
 */
K3_MUST int imp_live_has_cri(struct imp *i, bool *has, struct k3_err *e);
/* containerd tells of pins since 1.6.22, 1.7.3 and 2.0. */
bool imp_live_tells_pinned(struct imp *i);
/* CRI learns of images by events, one after the other. */
#define IMP_CRI_KNOWS_MS 10000u
#define IMP_CRI_POLL_MS 10u
#define IMP_CRI_POLL_MAX_MS 200u

#endif
