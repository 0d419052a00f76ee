/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/results.h"

#include "cli/cli.h"

int results_status(const struct pl_result *res, size_t n, size_t asked)
{
	size_t failed = 0, failed_asked = 0;
	const struct pl_result *first = NULL;

	for (size_t i = 0; i < n; i++) {
		if (!res[i].rc)
			continue;
		failed++;
		failed_asked += i < asked;
		if (!first)
			first = &res[i];
	}
	if (!failed)
		return 0;
	return failed_asked == asked ? k3_exit_status(first->err.code) : CLI_PARTIAL_EXIT;
}

size_t results_whole(const struct pl_result *res, size_t n)
{
	size_t whole = 0;

	for (size_t i = 0; i < n; i++)
		whole += !res[i].rc;
	return whole;
}

void results_json_error(struct k3_jw *w, const struct k3_err *e)
{
	k3_jw_obj(w, "error");
	k3_jw_str(w, "code", k3_code_name(e->code));
	k3_jw_str(w, "message", e->msg);
	k3_jw_str(w, "hint", e->hint[0] ? e->hint : NULL);
	k3_jw_close_obj(w);
}
