/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/registry_flags.h"

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/password.h"

#define RETRIES_MAX 100u
#define TIMEOUT_MIN_MS 1000u
#define TIMEOUT_MAX_MS 86400000u

void registry_flags_rows(struct registry_flags *r, struct opt rows[REGISTRY_ROWS])
{
	r->tls_verify = true;
	const struct opt all[REGISTRY_ROWS] = {
		{ "plain-http", 0, OPT_FLAG, NULL, "talk HTTP without TLS to every registry",
		  &r->plain_http },
		{ "creds", 0, OPT_STR, "USER[:PASSWORD]",
		  "credentials for every registry; without a password\non a terminal, that is "
		  "asked for",
		  &r->creds },
		{ "password-stdin", 0, OPT_FLAG, NULL,
		  "read the password for --creds USER from standard\ninput", &r->password_stdin },
		{ "authfile", 0, OPT_STR, "FILE",
		  "credentials (default: $REGISTRY_AUTH_FILE, then\ndocker's config.json)",
		  &r->auth_file },
		{ "ca-file", 0, OPT_STR, "FILE", "also trust the authorities in this PEM file",
		  &r->ca_file },
		{ "tls-verify", 0, OPT_BOOL, NULL, "=false: a registry need not prove who it is",
		  &r->tls_verify },
		{ "hosts-dir", 0, OPT_STR, "DIR",
		  "mirrors and TLS of registries: DIR/HOST/hosts.toml\n(default: those of the "
		  "root's "
		  "k3s or containerd)",
		  &r->hosts_dir },
		{ "registries", 0, OPT_STR, "FILE",
		  "the same as k3s's registries.yaml (default: the\none in /etc/rancher)",
		  &r->registries },
		{ "debug-http", 0, OPT_FLAG, NULL, "show requests and answers, without secrets",
		  &r->debug_http },
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

int registry_flags_complete(struct registry_flags *r, const char *stdin_taken, struct k3_cancel *c,
			    struct k3_err *e)
{
	if (password_complete(r->creds, r->password_stdin, stdin_taken, c, &r->complete, e))
		return -1;
	r->creds = r->complete;
	return 0;
}

int registry_flags_configure(struct registry_flags *r, const struct imp_config *config,
			     struct fetch_opts *out, struct k3_err *e)
{
	__attribute__((cleanup(imp_config_release))) struct imp_config other = { 0 };

	if (!config) {
		K3_AUTO_FREE char *root = imp_default_root();

		if (imp_config_load(root, NULL, &other, e))
			return -1;
		config = &other;
	}
	const struct registry_opts o = {
		.hosts_dir = r->hosts_dir,
		.registries = r->registries,
		.k3s_agent = config->agent,
		.mirrors_only = config->mirrors_only,
		.config_files = (const char *const *)config->files,
		.nconfig_files = config->nfiles,
	};

	out->registry = r->registry = registry_new(&o);
	return 0;
}

void registry_flags_release(struct registry_flags *r)
{
	registry_free(r->registry);
	r->registry = NULL;
	password_forget(&r->complete);
}

/* For those who show no progress; the pipeline has a place for it there. */
static void on_notice(void *arg, const char *text)
{
	char safe[K3_ERR_MSG_MAX];

	(void)arg;
	k3_escape(safe, sizeof(safe), text);
	fprintf(stderr, "warning: %s\n", safe);
}

/* One call is one write, so that threads do not mix their lines. */
static void on_trace(void *arg, const char *lines)
{
	(void)arg;
	fputs(lines, stderr);
}

int registry_flags_choose(const struct registry_flags *r, struct fetch_opts *out, struct k3_err *e)
{
	unsigned retries = 0;

	out->plain_http = r->plain_http;
	out->creds = r->creds;
	out->auth_file = r->auth_file;
	out->ca_file = r->ca_file;
	out->user_agent = "k3simg/" K3_VERSION;
	out->insecure = !r->tls_verify;
	out->on_notice = on_notice;
	out->on_trace = r->debug_http ? on_trace : NULL;
	if (r->retries && cli_parse_count("retries", r->retries, 0, RETRIES_MAX, &retries, e))
		return -1;
	if (r->retries)
		out->attempts = retries + 1;
	return r->timeout ? cli_parse_time("timeout", r->timeout, TIMEOUT_MIN_MS, TIMEOUT_MAX_MS,
					   &out->timeout_ms, e)
			  : 0;
}
