/* SPDX-License-Identifier: Apache-2.0 */
/* What became of each image: how commands that bring some say it. */
#ifndef K3_CLI_RESULTS_H
#define K3_CLI_RESULTS_H

#include "base/json.h"
#include "pipeline/pipeline.h"

/*
 * 0, the exit status of the first failure when nothing that was asked for is in place, else
 * CLI_PARTIAL_EXIT.  asked: the first so many were named by the user, the others came along.
 */
int results_status(const struct pl_result *res, size_t n, size_t asked);
size_t results_whole(const struct pl_result *res, size_t n);
/* The member "error". */
void results_json_error(struct k3_jw *w, const struct k3_err *e);

#endif
