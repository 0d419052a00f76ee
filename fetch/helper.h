/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process of a credential helper: the only other program that is ever started.  It gets
 * no shell, none of our files, a process group of its own, and what it says on standard error
 * goes nowhere: it could be a secret.
 */
#ifndef K3_FETCH_HELPER_H
#define K3_FETCH_HELPER_H

#include "base/buf.h"
#include "base/thread.h"

#define HELPER_PREFIX "docker-credential-"
#define HELPER_NAME_MAX 64 /* bytes of the name behind the prefix */
/* A secret of BASE64_SECRET_MAX bytes with its name, user and escapes. */
#define HELPER_ANSWER_MAX (128u << 10)
/* Some ask a cloud first; who needs longer would hold a whole run. */
#define HELPER_TIME_MS 30000u

/* Letters, digits and "._-", neither "." nor "-" first: no path, no option. */
bool helper_name_ok(const char *name);

struct helper_call {
	const char *name;  /* docker-credential-<name>, looked up in the directories of PATH */
	const char *verb;  /* its only argument */
	const void *input; /* on its standard input; never in an argument */
	size_t len;
	unsigned limit_ms; /* 0 = HELPER_TIME_MS */
	struct k3_cancel *cancel;
};

/*
 * Runs it to its end and takes what it prints into *out (emptied first; at most out->max, without
 * a copy of it left elsewhere).  *status: its exit status.  Relative directories of PATH do not
 * count.  K3_AUTH when it is missing, cannot be started, is ended by a signal, prints too much
 * or takes too long, and the cancel reason within some 100 ms; in the last three cases the whole
 * process group is killed.  Blocks; mt.
 */
K3_MUST int helper_run(const struct helper_call *h, struct k3_buf *out, int *status,
		       struct k3_err *e);

#endif
