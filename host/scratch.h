/* SPDX-License-Identifier: Apache-2.0 */
/* A directory to try things in, gone afterwards. */
#ifndef K3_HOST_SCRATCH_H
#define K3_HOST_SCRATCH_H

#include "base/err.h"

struct scratch {
	int at; /* borrowed: the directory that it is in */
	int fd;
	char name[40]; /* "" = there is none */
};
#define SCRATCH ((struct scratch){ .at = -1, .fd = -1 })

/* Makes a directory with a name that no other run has, mode 0700. */
K3_MUST int scratch_make(int at, struct scratch *out, struct k3_err *e);
K3_MUST int scratch_remove(struct scratch *s, struct k3_err *e);
void scratch_drop(struct scratch *s); /* failure paths: the same without a word */
#define AUTO_SCRATCH __attribute__((cleanup(scratch_drop)))

#endif
