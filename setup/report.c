/* SPDX-License-Identifier: Apache-2.0 */
#include "setup/report.h"

#include <stdlib.h>

#include "base/mem.h"

void report_add(struct setup_report *r, const char *path, enum setup_action a, bool backup)
{
	r->items = k3_xgrow(r->items, r->n, &r->cap, sizeof(*r->items));
	r->items[r->n++] = (struct setup_done){ k3_xstrdup(path), a, backup };
	r->refused += a == SETUP_REFUSED;
	r->changed += a == SETUP_CREATED || a == SETUP_REPLACED || a == SETUP_REMOVED ||
		      a == SETUP_RESTORED;
}

void setup_report_release(struct setup_report *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->items[i].path);
	free(r->items);
	k3_buf_release(&r->diff);
	*r = (struct setup_report){ 0 };
}

const char *setup_action_name(enum setup_action a)
{
	static const char *const names[] = {
		[SETUP_SAME] = "same",         [SETUP_CREATED] = "created",
		[SETUP_REPLACED] = "replaced", [SETUP_KEPT] = "kept",
		[SETUP_REFUSED] = "refused",   [SETUP_REMOVED] = "removed",
		[SETUP_RESTORED] = "restored",
	};

	return names[a];
}
