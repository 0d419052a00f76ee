/* SPDX-License-Identifier: Apache-2.0 */
/* When to try again: exponential back-off with jitter, Retry-After, a limit of attempts. */
#ifndef K3_FETCH_RETRY_H
#define K3_FETCH_RETRY_H

#include "fetch/session.h"

/*
 * Tries at a host that refuses or is unknown: a run started before the network is up gets
 * a second chance, somebody who mistyped a name does not wait for it.
 */
#define RETRY_UNREACHABLE 2u

struct retry {
	struct fetch_session *s;
	const char *what; /* for on_retry */
	unsigned failed;  /* tries since the last progress */
	bool reached;     /* the host has been heard of */
};

/* Called after a failed try with its error: 0 = waited, try again; -1 = give up with *e. */
K3_MUST int retry_wait(struct retry *r, struct k3_err *e);
/* The transfer got further: it starts anew with its attempts. */
void retry_progress(struct retry *r);

/* Milliseconds of a Retry-After (seconds or date) at the time `now`; 0 when it is neither. */
uint64_t retry_after_ms(const char *value, time_t now);

#endif
