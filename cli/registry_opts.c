/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/registry_opts.h"

#include "cli/cli.h"

#define RETRIES_MAX 100u
#define TIMEOUT_MIN_MS 1000u
#define TIMEOUT_MAX_MS 86400000u

void registry_opts_rows(struct registry_opts *r, struct opt rows[REGISTRY_ROWS])
{
	const struct opt all[REGISTRY_ROWS] = {
		{ "plain-http", 0, OPT_FLAG, NULL, "talk HTTP without TLS to every registry",
		  &r->plain_http },
		{ "creds", 0, OPT_STR, "USER[:PASSWORD]", "credentials for every registry",
		  &r->creds },
		{ "authfile", 0, OPT_STR, "FILE",
		  "credentials (default: $REGISTRY_AUTH_FILE, then\ndocker's config.json)",
		  &r->auth_file },
		{ "ca-file", 0, OPT_STR, "FILE", "also trust the authorities in this PEM file",
		  &r->ca_file },
		{ "retries", 0, OPT_STR, "N",
		  "try a request that failed again so often (default:\n4, and 1 while the host is "
		  "not there at all)",
		  &r->retries },
		{ "timeout", 0, OPT_STR, "TIME",
		  "give up a request that gets nowhere for so long,\nall its tries together "
		  "(default: 60s)",
		  &r->timeout },
		{ 0 },
	};

	for (size_t i = 0; i < REGISTRY_ROWS; i++)
		rows[i] = all[i];
}

int registry_opts_choose(const struct registry_opts *r, struct fetch_opts *out, struct k3_err *e)
{
	unsigned retries = 0;

	out->plain_http = r->plain_http;
	out->creds = r->creds;
	out->auth_file = r->auth_file;
	out->ca_file = r->ca_file;
	out->user_agent = "k3simg/" K3_VERSION;
	if (r->retries && cli_parse_count("retries", r->retries, 0, RETRIES_MAX, &retries, e))
		return -1;
	if (r->retries)
		out->attempts = retries + 1;
	return r->timeout ? cli_parse_time("timeout", r->timeout, TIMEOUT_MIN_MS, TIMEOUT_MAX_MS,
					   &out->timeout_ms, e)
			  : 0;
}
