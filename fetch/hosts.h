/* SPDX-License-Identifier: Apache-2.0 */
/* What a run has learnt about its registries: mt, by the run's monitor.  Names as in a reference.
 */
#ifndef K3_FETCH_HOSTS_H
#define K3_FETCH_HOSTS_H

#include "fetch/session.h"

/* Is it talked to without TLS: --plain-http, or found out at a loopback address? */
bool hosts_plain(struct fetch *f, const char *name);
void hosts_set_plain(struct fetch *f, const char *name);

/* It has answered something. */
void hosts_set_heard(struct fetch *f, const char *name);

/*
 * A request has waited for it as long as a request may, with this error.  If nobody has heard of
 * it in this run, those that begin later fail at once: a dead registry with many images costs
 * the time limit once, not once for each image.
 */
void hosts_give_up(struct fetch *f, const char *name, const struct k3_err *why);
/* 0, or -1 with the error it was given up with. */
K3_MUST int hosts_check(struct fetch *f, const char *name, struct k3_err *e);

void hosts_free(struct fetch *f);

#endif
