/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "cli/cli.h"

int cli_error(const struct k3_err *e)
{
	fprintf(stderr, "k3simg: error: %s\n", e->msg);
	if (e->hint[0])
		fprintf(stderr, "hint: %s\n", e->hint);
	return k3_exit_status(e->code);
}

void cli_image_error(const char *image, const struct k3_err *e)
{
	struct k3_err named = *e;

	k3_wrap(&named, "%s", image);
	cli_error(&named);
}

int cli_put_json(struct k3_jw *w)
{
	struct k3_err e;

	if (k3_jw_end(w, &e))
		return cli_error(&e);
	return fwrite(w->out->p, 1, w->out->len, stdout) == w->out->len ? 0 : 1;
}

int cli_finish(int status)
{
	struct k3_err e;

	if (!fflush(stdout) && !ferror(stdout))
		return status;
	k3_fail_sys(&e, errno, "cannot write to standard output");
	cli_error(&e);
	return status ? status : 1;
}

char *cli_safe(const char *s)
{
	size_t size = 4 * strlen(s) + 1;
	char *out = k3_xcalloc(1, size);

	k3_escape(out, size, s);
	return out;
}

void cli_size(uint64_t bytes, char *out, size_t size)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 999.5 && u + 1 < K3_ARRAY_LEN(units)) {
		v /= 1000;
		u++;
	}
	snprintf(out, size, u && v < 99.95 ? "%.1f%s" : "%.0f%s", v, units[u]);
}

bool cli_time(int64_t seconds, char out[CLI_TIME_MAX])
{
	time_t when = (time_t)seconds;
	struct tm tm;

	out[0] = '\0';
	if (seconds && gmtime_r(&when, &tm))
		strftime(out, CLI_TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return *out;
}

void cli_duration(uint64_t ms, char *out, size_t size)
{
	if (ms < 1000)
		snprintf(out, size, "%" PRIu64 "ms", ms);
	else if (ms < 100000)
		snprintf(out, size, "%.1fs", (double)ms / 1000);
	else
		snprintf(out, size, "%" PRIu64 "m%02" PRIu64 "s", ms / 60000, ms / 1000 % 60);
}
