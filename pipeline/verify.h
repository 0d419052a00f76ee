/* SPDX-License-Identifier: Apache-2.0 */
/* What verify.c and deep.c share. */
#ifndef K3_PIPELINE_VERIFY_H
#define K3_PIPELINE_VERIFY_H

#include "importer/importer.h"
#include "pipeline/pipeline.h"

/* One image under check. */
struct subject {
	char *name;
	char **names; /* in name order */
	size_t nnames, names_cap;
	struct oci_desc target;
	bool managed, chosen;
	size_t seen; /* its place in the report */
	struct imp_checked checked;
};

/* Findings of the report by their path: places in it plus 1, chained; 0 ends. */
struct told {
	size_t *heads, *next;
	size_t cap, n; /* heads, a power of two; findings taken up */
};

struct verify {
	const struct pl_verify_opts *o;
	struct k3_cancel *stop;
	struct pl_report *out;
	struct imp *imp;
	struct imp_view *view;
	bool stale; /* containerd has changed its databases since they were looked at */
	struct subject *subjects;
	size_t n, cap;
	struct subject *current; /* whose findings come; NULL = the store's */
	struct told told;
};

/* An imp_finding_fn; arg is the struct verify. */
int verify_take(void *arg, const struct imp_finding *f, struct k3_err *e);
void verify_progress(const struct verify *v, const char *fmt, ...) K3_PRINTF(2, 3);
/* deep.c: hashes the layers of the chosen images and compares their snapshots. */
K3_MUST int verify_deep(struct verify *v, struct k3_err *e);

#endif
