/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "fetch/fetch.h"

#define JSON_MAX (64u << 10)

struct settings {
	const char *auth_file, *output;
	bool all;
};

static const char about[] =
	"\n"
	"REGISTRY is named as for login.  Its credentials are removed from the auth file, and by "
	"the credential helper that this names for it.  Nothing is asked of the registry.\n"
	"\n"
	"Exit status:\n"
	"  0    removed\n"
	"  3    there are none\n"
	"\n"
	"Examples:\n"
	"  k3simg logout registry.example\n"
	"  k3simg logout --all\n";

static int print_json(const char *host, const struct fetch_login *l, size_t erased)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	struct k3_jw w = K3_JW(&out);

	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "registry", host);
	k3_jw_str(&w, "file", l->file);
	k3_jw_u64(&w, "removed", erased);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

static int logout(const struct settings *s, const char *host, const struct fetch_opts *o,
		  struct k3_err *e)
{
	__attribute__((cleanup(fetch_login_release))) struct fetch_login l = { 0 };
	size_t erased = 0;

	if (fetch_login_erase(o, host, &l, &erased, e))
		return -1;
	if (!erased && host)
		k3_fail(e, K3_NOTFOUND, "%s has no credentials for %s", l.file, host);
	if (l.other)
		fprintf(stderr, "warning: credentials for %s are left: %s\n", host, l.other);
	if (!strcmp(s->output, "json")) {
		if (print_json(host, &l, erased))
			return k3_fail(e, K3_IO, "cannot write to standard output");
	} else if (!host) {
		printf("Removed %zu login%s from %s\n", erased, erased == 1 ? "" : "s", l.file);
	} else if (erased) {
		printf("Logged out of %s: removed from %s\n", host, l.file);
	}
	return erased || !host ? 0 : -1;
}

static int prepare(const struct settings *s, const struct words *args, const struct cli *c)
{
	const struct fetch_opts o = { .auth_file = s->auth_file, .cancel = c->cancel };
	K3_AUTO_FREE char *host = NULL;
	struct k3_err e;

	if (args->n != (s->all ? 0 : 1)) {
		k3_fail(&e, K3_USAGE,
			s->all    ? "--all takes no registry"
			: args->n ? "one registry at a time"
				  : "no registry was named");
		k3_hint(&e, "k3simg logout HOST, or k3simg logout --all");
		return cli_error(&e);
	}
	if (!s->all && fetch_login_host(args->items[0], &host, &e))
		return cli_error(&e);
	int rc = logout(s, host, &o, &e);

	return cli_finish(rc ? cli_error(&e) : 0);
}

int cmd_logout(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	struct settings s = { .output = "text" };
	struct words args = { 0 };
	struct k3_err e;
	bool help;
	const struct opt opts[] = {
		{ "all", 0, OPT_FLAG, NULL, "of every registry that the file has", &s.all },
		{ "authfile", 0, OPT_STR, "FILE",
		  "as for login (default: $REGISTRY_AUTH_FILE, then\n"
		  "$DOCKER_CONFIG/config.json, ~/.docker/config.json)",
		  &s.auth_file },
		{ "output", 'o', OPT_CHOICE, "text|json", "how it is printed (default: text)",
		  &s.output },
		{ 0 },
	};
	int status;

	if (opts_parse(opts, argc, argv, &args, &help, &e)) {
		status = cli_error(&e);
	} else if (help) {
		cli_help(cmd, about, opts);
		status = cli_finish(0);
	} else {
		status = prepare(&s, &args, c);
	}
	words_release(&args);
	return status;
}
