/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/toml.h"
#include "cli/cli.h"
#include "importer/importer.h"
#include "oci/oci.h"
#include "setup/setup.h"

#define JSON_MAX (32u << 20)
#define REFUSED_EXIT 1
#define CONFIG_FILE "/etc/containerd/config.toml"

struct settings {
	const char *prefix, *root, *version, *runtime, *pause, *output;
	bool dry_run, undo, k3s, containerd, force;
};

/* What the options borrow. */
struct strings {
	char *prefix, *root, *exe, *pause;
	char platform[64];
};

static const char about[] =
	"\n"
	"Writes, below --prefix, what this machine needs so that preloaded pods start without a "
	"network, with stock binaries: the configuration of containerd (or the template and "
	"config.yaml.d of k3s) with the native snapshotter, a CNI configuration and plugin, and a "
	"front before the OCI runtime that leaves out what the machine lacks (gVisor: cgroups and "
	"more).\n"
	"\n"
	"What was there is kept as FILE.k3simg-backup.  A file that somebody else wrote is not "
	"touched without --force, and then nothing else is either.  Running it again changes "
	"nothing.  containerd or k3s reads the files when it starts.\n"
	"\n"
	"Exit status:\n"
	"  0    all is in place\n"
	"  1    --undo has left what was changed since\n"
	"  2    a file that somebody else wrote is in the way, nothing was written\n"
	"  3    --undo: there is nothing of setup\n"
	"\n"
	"Examples:\n"
	"  k3simg setup --dry-run\n"
	"  k3simg setup\n"
	"  k3simg setup --undo\n";

/* ---- results ---- */

static const char *summary(const struct settings *s, const struct setup_report *r)
{
	if (s->dry_run)
		return r->changed || r->refused ? "nothing was changed (--dry-run)"
						: "nothing to do: all is in place";
	if (!r->changed)
		return r->refused ? "nothing was changed" : "nothing to do: all is in place";
	return s->undo ? "taken back" : "in place: containerd or k3s reads it when it starts";
}

static void print_text(const struct settings *s, const struct setup_report *r)
{
	if (s->dry_run && r->diff.len)
		fwrite(r->diff.p, 1, r->diff.len, stdout);
	for (size_t i = 0; i < r->n; i++) {
		const struct setup_done *d = &r->items[i];

		if (d->action == SETUP_SAME)
			continue;
		/* a diff is to be piped on as it is */
		fprintf(s->dry_run && !s->undo ? stderr : stdout, "%-8s  %s%s\n",
			setup_action_name(d->action), d->path,
			d->backup && d->action != SETUP_RESTORED ? " (" SETUP_BACKUP ")" : "");
	}
	fprintf(s->dry_run ? stderr : stdout, "%s\n", summary(s, r));
}

static int print_json(const struct settings *s, const struct setup_opts *o,
		      const struct setup_report *r)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	struct k3_jw w = K3_JW(&out);

	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "prefix", *o->prefix ? o->prefix : "/");
	k3_jw_str(&w, "target", o->target == SETUP_K3S ? "k3s" : "containerd");
	k3_jw_bool(&w, "dryRun", s->dry_run);
	k3_jw_u64(&w, "changed", r->changed);
	k3_jw_u64(&w, "refused", r->refused);
	k3_jw_arr(&w, "files");
	for (size_t i = 0; i < r->n; i++) {
		k3_jw_obj(&w, NULL);
		k3_jw_str(&w, "path", r->items[i].path);
		k3_jw_str(&w, "action", setup_action_name(r->items[i].action));
		k3_jw_bool(&w, "backup", r->items[i].backup);
		k3_jw_close_obj(&w);
	}
	k3_jw_close_arr(&w);
	if (r->diff.len)
		k3_jw_str(&w, "diff", (const char *)r->diff.p);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

/* ---- options ---- */

static char *own_path(struct k3_err *e)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path));

	if (n > 0 && n < (ssize_t)sizeof(path))
		return k3_xstrndup(path, (size_t)n);
	k3_fail_sys(e, n < 0 ? errno : ENAMETOOLONG, "cannot read /proc/self/exe");
	return NULL;
}

/* Absolute, without "." and slashes at its end; "" is the root directory. */
static int choose_prefix(const struct settings *s, struct strings *own, struct k3_err *e)
{
	char real[PATH_MAX];

	if (!s->prefix || !strcmp(s->prefix, "/")) {
		own->prefix = k3_xstrdup("");
		return 0;
	}
	if (!s->dry_run && !s->undo && k3_make_dirs(s->prefix, 0755, e))
		return -1;
	if (!realpath(s->prefix, real))
		return k3_fail_sys(e, errno, "cannot look at the prefix %s", s->prefix);
	own->prefix = k3_xstrdup(strcmp(real, "/") != 0 ? real : "");
	return 0;
}

static void choose_target(const struct settings *s, struct strings *own, struct setup_opts *o)
{
	static const char k3s[] = "/agent/containerd";
	K3_AUTO_FREE char *found = *own->prefix ? NULL : imp_default_root();
	size_t n = found ? strlen(found) : 0;
	bool is_k3s = n > sizeof(k3s) && !strcmp(found + n - (sizeof(k3s) - 1), k3s);

	o->target = s->k3s || (is_k3s && !s->containerd) ? SETUP_K3S : SETUP_CONTAINERD;
	if (s->root)
		own->root = k3_xstrdup(s->root);
	else if (found && is_k3s == (o->target == SETUP_K3S))
		own->root = K3_STEAL(found);
	else
		own->root = k3_xasprintf("%s%s", own->prefix,
					 o->target == SETUP_K3S
						 ? "/var/lib/rancher/k3s/agent/containerd"
						 : "/var/lib/containerd");
}

/* Of the configuration that is there; 2 when there is none: every containerd reads it. */
static unsigned version_there(const struct strings *own)
{
	K3_AUTO_FREE char *file = k3_xasprintf("%s" CONFIG_FILE, own->prefix);
	K3_AUTO_BUF struct k3_buf text = K3_BUF(K3_TOML_SIZE_MAX);
	K3_AUTO_TOML struct k3_toml_doc *doc = NULL;
	struct k3_err ignored;
	int64_t v;

	if (k3_read_file(AT_FDCWD, file, &text, &ignored) ||
	    k3_toml_parse(text.len ? (const void *)text.p : "", text.len, &doc, &ignored) ||
	    !k3_toml_int(k3_toml_get(k3_toml_root(doc), "version"), &v))
		return 2;
	return v >= 3 ? 3 : 2;
}

static int choose_pause(const struct settings *s, struct strings *own, struct setup_opts *o,
			struct k3_err *e)
{
	K3_AUTO_FREE char *file = k3_xasprintf("%s" CONFIG_FILE, own->prefix);
	__attribute__((cleanup(imp_config_release))) struct imp_config config = { 0 };

	o->pause = s->pause;
	if (s->pause || o->target == SETUP_K3S)
		return 0;
	if (imp_config_load(own->root, !access(file, F_OK) ? file : NULL, &config, e))
		return k3_hint(e, "--pause names the pause image");
	imp_config_ask_program(own->prefix, &config);
	own->pause = K3_STEAL(config.pause);
	o->pause = own->pause;
	return 0;
}

static int choose_options(const struct settings *s, struct strings *own, struct setup_opts *o,
			  struct k3_err *e)
{
	struct oci_platform host;

	*o = (struct setup_opts){ .runtime = s->runtime, .force = s->force, .dry_run = s->dry_run };
	if (s->k3s && s->containerd)
		return k3_fail(e, K3_USAGE, "--k3s and --containerd exclude each other");
	if (choose_prefix(s, own, e))
		return -1;
	o->prefix = own->prefix;
	choose_target(s, own, o);
	if (s->undo)
		return 0;
	if (s->version)
		o->version = s->version[0] == '3' ? 3 : 2;
	else
		o->version = o->target == SETUP_K3S ? 0 : version_there(own);
	own->exe = own_path(e);
	if (!own->exe || choose_pause(s, own, o, e))
		return -1;
	oci_platform_host(&host);
	oci_platform_format(&host, own->platform, sizeof(own->platform));
	o->root = own->root;
	o->exe = own->exe;
	o->platform = own->platform;
	host_read_container("", &o->facts);
	return 0;
}

static void strings_release(struct strings *own)
{
	free(own->prefix);
	free(own->root);
	free(own->exe);
	free(own->pause);
}

static int run(const struct settings *s)
{
	__attribute__((cleanup(strings_release))) struct strings own = { 0 };
	__attribute__((cleanup(setup_report_release))) struct setup_report r = { 0 };
	struct setup_opts o;
	struct k3_err e;

	if (choose_options(s, &own, &o, &e))
		return cli_error(&e);
	int rc = s->undo ? setup_undo(&o, &r, &e) : setup_apply(&o, &r, &e);
	int status = rc ? k3_exit_status(e.code) : s->undo && r.refused ? REFUSED_EXIT : 0;

	if (!rc || r.refused) {
		if (!strcmp(s->output, "json")) {
			if (print_json(s, &o, &r))
				status = 1;
		} else if (!rc) {
			print_text(s, &r);
		}
	}
	if (rc) {
		cli_error(&e);
	} else if (status) {
		k3_fail(&e, K3_USAGE, "what was changed since setup wrote it is left as it is");
		k3_hint(&e, "--undo --force takes that back, too");
		cli_error(&e);
	}
	return cli_finish(status);
}

int cmd_setup(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	struct settings s = { .output = "text" };
	struct words args = { 0 };
	struct k3_err e;
	bool help;
	const struct opt opts[] = {
		{ "prefix", 0, OPT_STR, "DIR",
		  "write below it, not below / (paths in the files name it)", &s.prefix },
		{ "k3s", 0, OPT_FLAG, NULL, "for k3s (default if it is installed)", &s.k3s },
		{ "containerd", 0, OPT_FLAG, NULL, "for a containerd of its own", &s.containerd },
		{ "root", 0, OPT_STR, "DIR", "containerd's root (default: as preload finds it)",
		  &s.root },
		{ "config-version", 0, OPT_CHOICE, "2|3",
		  "of containerd's configuration: 3 needs 2.x (default:\nas it is, else 2; for k3s "
		  "both)",
		  &s.version },
		{ "runtime", 0, OPT_STR, "crun|runc|PATH",
		  "the OCI runtime (default: crun, else runc)", &s.runtime },
		{ "pause", 0, OPT_STR, "REF", "the pause image (default: as configured)",
		  &s.pause },
		{ "dry-run", 0, OPT_FLAG, NULL, "only show what would change, as a diff",
		  &s.dry_run },
		{ "undo", 0, OPT_FLAG, NULL, "take back what setup wrote", &s.undo },
		{ "force", 0, OPT_FLAG, NULL, "also replace files that somebody else wrote",
		  &s.force },
		{ "output", 'o', OPT_CHOICE, "text|json", "how results are printed (default: text)",
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
	} else if (args.n) {
		k3_fail(&e, K3_USAGE, "setup takes options only, not \"%s\"", args.items[0]);
		status = cli_error(&e);
	} else {
		status = run(&s);
	}
	words_release(&args);
	return status;
}
