/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/help.h"
#include "cli/registry_flags.h"

#define JSON_MAX (4u << 20)
#define SHOWN_MAX 512

struct settings {
	const char *root, *config_file, *output;
	struct registry_flags registry;
};

static const char about[] =
	"\n"
	"Shows where a preload would ask for REF, in order, and which file and line decided it.  "
	"Secrets are not shown, nothing is asked of any registry.\n"
	"\n"
	"Examples:\n"
	"  k3simg config show nginx:alpine\n"
	"  k3simg config show --hosts-dir /etc/containerd/certs.d registry.example/app\n";

/* What is shown of one endpoint. */
struct shown {
	const struct registry_endpoint *ep;
	char *repo;
	bool has_auth;
	struct registry_auth auth;
};

/* ---- text ---- */

static void put(const char *label, const char *text)
{
	char safe[SHOWN_MAX];

	k3_escape(safe, sizeof(safe), text);
	printf("     %s%s\n", label, safe);
}

static char *place(const struct registry_from *f)
{
	char line[32] = "";

	if (!f->file)
		return k3_xstrdup("default");
	if (f->line)
		snprintf(line, sizeof(line), ":%u", f->line);
	return k3_xasprintf("%s%s%s%s", f->file, line, f->entry ? " " : "",
			    f->entry ? f->entry : "");
}

static void put_place(const char *label, const struct registry_from *f)
{
	K3_AUTO_FREE char *text = place(f);

	put(label, text);
}

static void print_tls(const struct registry_endpoint *ep)
{
	if (!ep->tls_from.file)
		return;
	for (size_t i = 0; i < ep->ca.n; i++)
		put("trusts also: ", ep->ca.items[i]);
	if (ep->cert)
		put("client certificate: ", ep->cert);
	if (ep->key)
		put("its key: ", ep->key);
	if (ep->skip_verify)
		put("certificate: ", "not verified");
	put_place("TLS decided by: ", &ep->tls_from);
}

static const char *kind(const struct registry_endpoint *ep)
{
	return ep->mirror ? "mirror" : "registry itself";
}

static void print_endpoint(size_t i, const struct shown *s, const struct oci_ref *ref)
{
	const struct registry_endpoint *ep = s->ep;
	char url[SHOWN_MAX];

	k3_escape(url, sizeof(url), ep->url);
	printf(" %2zu. %s (%s;%s%s)\n", i + 1, url, kind(ep),
	       ep->caps & REGISTRY_PULL ? " pull" : "",
	       ep->caps & REGISTRY_RESOLVE ? " resolve" : "");
	put_place("decided by: ", &ep->from);
	if (strcmp(s->repo, ref->repo) != 0)
		put("repository there: ", s->repo);
	print_tls(ep);
	for (size_t k = 0; k < ep->headers.n; k++) {
		K3_AUTO_FREE char *name = k3_xstrndup(ep->headers.items[k],
						      strcspn(ep->headers.items[k], ":"));

		put("header: ", name);
	}
	if (s->has_auth) {
		put("credentials: ", s->auth.user ? s->auth.user : "(an encoded pair or token)");
		put_place("credentials from: ", s->auth.from);
	}
}

/* ---- json ---- */

static void json_from(struct k3_jw *w, const char *key, const struct registry_from *f)
{
	k3_jw_obj(w, key);
	k3_jw_str(w, "file", f->file);
	k3_jw_u64(w, "line", f->line);
	k3_jw_str(w, "entry", f->entry);
	k3_jw_close_obj(w);
}

static void json_endpoint(struct k3_jw *w, const struct shown *s)
{
	const struct registry_endpoint *ep = s->ep;

	k3_jw_obj(w, NULL);
	k3_jw_str(w, "url", ep->url);
	k3_jw_str(w, "host", ep->host);
	k3_jw_bool(w, "mirror", ep->mirror);
	k3_jw_bool(w, "pull", ep->caps & REGISTRY_PULL);
	k3_jw_bool(w, "resolve", ep->caps & REGISTRY_RESOLVE);
	k3_jw_str(w, "repository", s->repo);
	json_from(w, "decidedBy", &ep->from);
	k3_jw_obj(w, "tls");
	k3_jw_bool(w, "verify", !ep->skip_verify);
	k3_jw_arr(w, "ca");
	for (size_t i = 0; i < ep->ca.n; i++)
		k3_jw_str(w, NULL, ep->ca.items[i]);
	k3_jw_close_arr(w);
	k3_jw_str(w, "clientCertificate", ep->cert);
	k3_jw_str(w, "clientKey", ep->key);
	json_from(w, "decidedBy", &ep->tls_from);
	k3_jw_close_obj(w);
	k3_jw_arr(w, "headers");
	for (size_t i = 0; i < ep->headers.n; i++) {
		K3_AUTO_FREE char *name = k3_xstrndup(ep->headers.items[i],
						      strcspn(ep->headers.items[i], ":"));

		k3_jw_str(w, NULL, name);
	}
	k3_jw_close_arr(w);
	if (s->has_auth) {
		k3_jw_obj(w, "credentials");
		k3_jw_str(w, "user", s->auth.user);
		json_from(w, "decidedBy", s->auth.from);
		k3_jw_close_obj(w);
	}
	k3_jw_close_obj(w);
}

static int print_json(const struct oci_ref *ref, const struct shown *all, size_t n,
		      const struct registry *r)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	K3_AUTO_FREE char *name = oci_ref_full(ref);
	struct k3_jw w = K3_JW(&out);
	const char *text;

	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "name", name);
	k3_jw_str(&w, "registry", ref->host);
	k3_jw_arr(&w, "endpoints");
	for (size_t i = 0; i < n; i++)
		json_endpoint(&w, &all[i]);
	k3_jw_close_arr(&w);
	k3_jw_arr(&w, "warnings");
	for (size_t i = 0; (text = registry_warning(r, i)) != NULL; i++)
		k3_jw_str(&w, NULL, text);
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

/* ---- the command ---- */

static void print_text(const struct oci_ref *ref, const struct shown *all, size_t n)
{
	K3_AUTO_FREE char *name = oci_ref_full(ref);

	printf("%s\n", name);
	for (size_t i = 0; i < n; i++)
		print_endpoint(i, &all[i], ref);
}

static int show_host(const struct settings *s, const struct oci_ref *ref, struct registry *r,
		     struct k3_err *e)
{
	struct shown all[REGISTRY_ENDPOINTS_MAX] = { 0 };
	const struct registry_host *h;
	const char *text;
	int rc = 0;

	if (registry_find(r, ref->host, &h, e))
		return -1;
	for (size_t i = 0; !rc && i < h->n; i++) {
		all[i].ep = &h->endpoints[i];
		all[i].has_auth = registry_auth(r, h->endpoints[i].host, &all[i].auth);
		rc = registry_rewrite(&h->endpoints[i], ref->repo, &all[i].repo, e);
	}
	for (size_t i = 0; (text = registry_warning(r, i)) != NULL; i++) {
		char safe[SHOWN_MAX];

		k3_escape(safe, sizeof(safe), text);
		fprintf(stderr, "warning: %s\n", safe);
	}
	if (!rc && !strcmp(s->output, "json"))
		rc = print_json(ref, all, h->n, r) ? k3_fail(e, K3_IO, "cannot write the result")
						   : 0;
	else if (!rc)
		print_text(ref, all, h->n);
	for (size_t i = 0; i < h->n; i++)
		free(all[i].repo);
	return rc;
}

static int show(struct settings *s, const struct words *args, struct k3_err *e)
{
	__attribute__((cleanup(imp_config_release))) struct imp_config config = { 0 };
	__attribute__((cleanup(oci_ref_release))) struct oci_ref ref = { 0 };
	struct fetch_opts unused;
	K3_AUTO_FREE char *root = s->root ? k3_xstrdup(s->root) : imp_default_root();

	if (args->n != 1) {
		k3_fail(e, K3_USAGE, "config show takes one reference");
		return k3_hint(e, "k3simg config show nginx:alpine");
	}
	if (oci_ref_parse(args->items[0], &ref, e) ||
	    imp_config_load(root, s->config_file, &config, e))
		return -1;
	return registry_flags_configure(&s->registry, &config, &unused, e) ||
			       show_host(s, &ref, s->registry.registry, e)
		       ? -1
		       : 0;
}

static int config_show(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	struct settings s = { .output = "text" };
	struct words args = { 0 };
	struct k3_err e;
	bool help;
	const struct opt opts[] = {
		{ "root", 0, OPT_STR, "DIR",
		  "containerd's root (default: the one of k3s if\nk3s is installed, else "
		  "containerd's)",
		  &s.root },
		{ "containerd-config", 0, OPT_STR, "FILE", "configuration of that root",
		  &s.config_file },
		{ "hosts-dir", 0, OPT_STR, "DIR", "as for preload", &s.registry.hosts_dir },
		{ "registries", 0, OPT_STR, "FILE", "as for preload", &s.registry.registries },
		{ "output", 'o', OPT_CHOICE, "text|json", "how it is printed (default: text)",
		  &s.output },
		{ 0 },
	};
	int status;

	(void)c;
	if (opts_parse(opts, argc, argv, &args, &help, &e)) {
		status = cli_error(&e);
	} else if (help) {
		cli_help(cmd, about, opts);
		status = cli_finish(0);
	} else {
		status = show(&s, &args, &e) ? cli_finish(cli_error(&e)) : cli_finish(0);
	}
	words_release(&args);
	registry_flags_release(&s.registry);
	return status;
}

int cmd_config(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	static const struct command subcommands[] = {
		{ "config show", NULL, "[OPTIONS] REF",
		  "Show which files decide how a registry is asked", .run = config_show },
	};

	return cli_group(c, cmd, subcommands, K3_ARRAY_LEN(subcommands), argc, argv);
}
