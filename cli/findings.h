/* SPDX-License-Identifier: Apache-2.0 */
/* What verify and repair print of a report. */
#ifndef K3_CLI_FINDINGS_H
#define K3_CLI_FINDINGS_H

#include "base/json.h"
#include "pipeline/pipeline.h"

#define CLI_FINDINGS_EXIT 10 /* damage was found, and (repair) some of it is left */

/* Damage as lines on stdout, "<image>: <path>: <what>"; the rest as warnings on stderr. */
void findings_print(const struct pl_report *r, bool quiet);
/* An array of all findings under this key. */
void findings_json(struct k3_jw *w, const char *key, const struct pl_report *r);
/* How many findings are of this kind. */
size_t findings_count(const struct pl_report *r, enum imp_trouble kind);
/* pl_verify_opts.progress: lines on stderr. */
void findings_progress(void *arg, const char *text);

#endif
