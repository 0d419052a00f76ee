/* SPDX-License-Identifier: Apache-2.0 */
/* Causes out of what containerd and runc say. */
#ifndef K3_CRI_CAUSE_H
#define K3_CRI_CAUSE_H

#include "cri/cri.h"

/* Of a call that failed in this step, by the message of its status. */
enum cri_cause cri_cause_of_error(enum cri_step step, const char *message);
/* Of a container that ended with this status, by the end of its output (may be NULL). */
enum cri_cause cri_cause_of_exit(int code, const char *log);

#endif
