/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer that is not the wanted one means. */
#ifndef K3_FETCH_ANSWER_H
#define K3_FETCH_ANSWER_H

#include "fetch/exchange.h"

/*
 * Fills *e from the status and the registry's own words in s->note.  `what` names the
 * thing asked for in a 404; `secret` (or NULL) keeps those words out of the message when
 * they repeat it.  401, 403 K3_AUTH; 404, 410 K3_NOTFOUND; 408, 425, 429, 5xx K3_NET with
 * e->retry and s->retry_after_ms; others K3_PROTO.  Returns -1.
 */
int answer_fail(struct fetch_session *s, const struct outcome *o, const char *what,
		const char *secret, struct k3_err *e);

#endif
