/* SPDX-License-Identifier: Apache-2.0 */
/* When to try again: exponential back-off with jitter, Retry-After, limits of attempts and time. */
#ifndef K3_FETCH_RETRY_H
#define K3_FETCH_RETRY_H

#include "fetch/session.h"

struct retry {
	struct fetch_session *s;
	const char *host;  /* that is asked now */
	const char *what;  /* for on_retry */
	unsigned failed;   /* tries since the last progress */
	uint64_t since_ms; /* when that was */
	bool reached;      /* more was heard than that the host is not there */
};

void retry_start(struct retry *r, struct fetch_session *s, const char *what);
/* Called after a failed try with its error: 0 = waited, try again; -1 = give up with *e. */
K3_MUST int retry_wait(struct retry *r, struct k3_err *e);
/* All the time from now on, with the attempts that are left. */
void retry_extend(struct retry *r);
/* The transfer got further: it starts anew with its attempts and its time. */
void retry_progress(struct retry *r);

/* Milliseconds of a Retry-After (seconds or date) at the time `now`; 0 when it is neither. */
uint64_t retry_after_ms(const char *value, time_t now);

#endif
