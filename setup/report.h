/* SPDX-License-Identifier: Apache-2.0 */
/* What was done. */
#ifndef K3_SETUP_REPORT_H
#define K3_SETUP_REPORT_H

#include "setup/setup.h"

void report_add(struct setup_report *r, const char *path, enum setup_action a, bool backup);

#endif
