/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/password.h"
#include "cli/registry_flags.h"
#include "fetch/fetch.h"

#define JSON_MAX (64u << 10)

struct settings {
	const char *user, *password, *output;
	bool from_stdin, get, quiet;
	struct registry_flags registry;
};

static const char about[] =
	"\n"
	"REGISTRY is HOST or HOST:PORT, as in front of an image's name; Docker Hub is docker.io.  "
	"The registry is asked whether it takes the credentials; only then they are stored, in the "
	"auth file, or by the credential helper that it names for the registry.\n"
	"\n"
	"Exit status:\n"
	"  0    stored; with --get-login: there is a user\n"
	"  4    refused, and nothing was changed; with --get-login: there is none\n"
	"\n"
	"Examples:\n"
	"  k3simg login registry.example\n"
	"  k3simg login -u me --password-stdin registry.example <secret.txt\n";

static int print_json(const struct settings *s, const char *host, const struct fetch_login *l,
		      bool checked)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	struct k3_jw w = K3_JW(&out);

	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "registry", host);
	k3_jw_str(&w, "user", l->user);
	if (s->get) {
		k3_jw_str(&w, "source", l->file);
	} else {
		k3_jw_bool(&w, "checked", checked);
		k3_jw_str(&w, "file", l->file);
		k3_jw_str(&w, "helper", l->helper);
	}
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

/* ---- the words ---- */

static int check_words(const struct settings *s, const struct words *args, struct k3_err *e)
{
	if (args->n != 1) {
		k3_fail(e, K3_USAGE, args->n ? "one registry at a time" : "no registry was named");
		return k3_hint(e, "k3simg login HOST, or k3simg login docker.io");
	}
	if (s->get && (s->user || s->password || s->from_stdin))
		return k3_fail(e, K3_USAGE, "--get-login takes no user and no password");
	if (s->password && s->from_stdin)
		return k3_fail(e, K3_USAGE, "--password and --password-stdin exclude each other");
	if (s->from_stdin && !s->user) {
		k3_fail(e, K3_USAGE, "--password-stdin needs the user");
		return k3_hint(e, "add -u USER");
	}
	if (s->user && (!*s->user || strchr(s->user, ':')))
		return k3_fail(e, K3_USAGE, "a user has a name, and no colon in it");
	return 0;
}

static int get_user(const struct settings *s, struct k3_cancel *c, char **out, struct k3_err *e)
{
	if (s->user) {
		*out = k3_xstrdup(s->user);
		return 0;
	}
	if (password_ask("User: ", false, c, out, e))
		return k3_hint(e, "give -u USER");
	if (!strchr(*out, ':'))
		return 0;
	return k3_fail(e, K3_USAGE, "a user has no colon in its name");
}

static int get_password(const struct settings *s, struct k3_cancel *c, char **out, struct k3_err *e)
{
	if (s->from_stdin)
		return password_read(c, out, e);
	if (!s->password) {
		if (password_ask("Password: ", true, c, out, e))
			return k3_hint(e, "give --password-stdin");
		return 0;
	}
	fprintf(stderr, "warning: --password is seen by every user of this machine while it runs; "
			"use --password-stdin\n");
	*out = k3_xstrdup(s->password);
	explicit_bzero((void *)(uintptr_t)s->password, strlen(s->password));
	return 0;
}

/* ---- the work ---- */

static int check(const struct fetch_opts *o, const char *host, bool *asked, struct k3_err *e)
{
	struct fetch_session *session;
	struct fetch *f;

	if (fetch_new(o, &f, e))
		return -1;
	int rc = fetch_session_new(f, &session, e);

	if (!rc) {
		rc = fetch_login_check(session, host, asked, e);
		fetch_session_free(session);
	}
	fetch_free(f);
	return rc;
}

static void print_text(const char *host, const struct fetch_login *l, bool asked)
{
	if (!asked)
		fprintf(stderr,
			"warning: %s did not ask for credentials, so they could not be checked\n",
			host);
	if (l->helper)
		printf("Login succeeded; stored by %s, see %s\n", l->helper, l->file);
	else
		printf("Login succeeded; stored in %s\n", l->file);
	if (!l->helper)
		fprintf(stderr,
			"warning: the password is not encrypted there, only encoded; a credential "
			"helper (credsStore)\nwould keep it safe: "
			"https://docs.docker.com/go/credential-store/\n");
	if (l->other)
		fprintf(stderr, "warning: credentials of %s come first: %s\n", host, l->other);
}

static int login(const struct settings *s, const struct cli *c, const char *host,
		 struct fetch_opts *o, struct k3_err *e)
{
	__attribute__((cleanup(fetch_login_release))) struct fetch_login l = { 0 };
	PASSWORD_AUTO char *user = NULL;
	PASSWORD_AUTO char *password = NULL;
	PASSWORD_AUTO char *creds = NULL;
	bool asked = false;

	if (s->get) {
		if (fetch_login_find(o, host, &l, e))
			return -1;
	} else {
		if (get_user(s, c->cancel, &user, e) || get_password(s, c->cancel, &password, e))
			return -1;
		creds = k3_xasprintf("%s:%s", user, password);
		o->creds = creds;
		if (check(o, host, &asked, e) || fetch_login_store(o, host, user, password, &l, e))
			return -1;
	}
	if (!strcmp(s->output, "json")) {
		if (print_json(s, host, &l, asked))
			return k3_fail(e, K3_IO, "cannot write to standard output");
	} else if (s->get) {
		char shown[256];

		k3_escape(shown, sizeof(shown), l.user);
		printf("%s\n", shown);
	} else {
		print_text(host, &l, asked);
	}
	return 0;
}

static int prepare(struct settings *s, const struct words *args, const struct cli *c)
{
	struct fetch_opts o = { .cancel = c->cancel };
	K3_AUTO_FREE char *host = NULL;
	struct k3_err e;

	if (check_words(s, args, &e) || fetch_login_host(args->items[0], &host, &e) ||
	    registry_flags_choose(&s->registry, &o, &e) ||
	    registry_flags_configure(&s->registry, NULL, &o, &e))
		return cli_error(&e);
	return login(s, c, host, &o, &e) ? cli_error(&e) : cli_finish(0);
}

int cmd_login(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	struct settings s = { .output = "text", .registry.tls_verify = true };
	struct words args = { 0 };
	struct k3_err e;
	bool help;
	const struct opt opts[] = {
		{ "username", 'u', OPT_STR, "USER", "default: asked for on the terminal", &s.user },
		{ "password-stdin", 0, OPT_FLAG, NULL, "read the password from standard input",
		  &s.from_stdin },
		{ "password", 'p', OPT_STR, "PASSWORD",
		  "better not: others see it (default: asked for on\nthe terminal)", &s.password },
		{ "get-login", 0, OPT_FLAG, NULL,
		  "only say who is logged in, as a preload would find it", &s.get },
		{ "authfile", 0, OPT_STR, "FILE",
		  "store it there (default: $REGISTRY_AUTH_FILE, then\n"
		  "$DOCKER_CONFIG/config.json, ~/.docker/config.json)",
		  &s.registry.auth_file },
		{ "plain-http", 0, OPT_FLAG, NULL, "talk HTTP without TLS",
		  &s.registry.plain_http },
		{ "ca-file", 0, OPT_STR, "FILE", "also trust the authorities in this PEM file",
		  &s.registry.ca_file },
		{ "tls-verify", 0, OPT_BOOL, NULL, "=false: the registry need not prove who it is",
		  &s.registry.tls_verify },
		{ "hosts-dir", 0, OPT_STR, "DIR", "as for preload", &s.registry.hosts_dir },
		{ "registries", 0, OPT_STR, "FILE", "as for preload", &s.registry.registries },
		{ "timeout", 0, OPT_STR, "TIME", "give up after so long (default: 60s)",
		  &s.registry.timeout },
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
	registry_flags_release(&s.registry);
	return status;
}
