/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/start.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/findings.h"
#include "cri/cri.h"
#include "importer/importer.h"
#include "oci/oci.h"

#define RUN_FOR_MS 1000u
#define RUN_FOR_MAX_MS 3600000u
#define STEP_MS 30000u
#define STEP_MIN_MS 1000u
#define STEP_MAX_MS 3600000u
#define JSON_MAX (1u << 20)
#define LINES 10      /* shown of the end of the output */
#define LINE_MAX 1024 /* bytes shown of a line, escaped */

/* ---- which containerd --------------------------------------------------------------- */

struct target {
	char *address;
	char *pause; /* as configured, or NULL */
};

static void target_release(struct target *t)
{
	free(t->address);
	free(t->pause);
}

static const char *default_address(const struct imp_config *config)
{
	const char *env = getenv("CONTAINERD_ADDRESS");

	return env && *env ? env : config->address;
}

static int find_target(const struct start_settings *s, struct target *out, struct k3_err *e)
{
	K3_AUTO_FREE char *root = s->root ? k3_xstrdup(s->root) : imp_default_root();
	__attribute__((cleanup(imp_config_release))) struct imp_config config = { 0 };

	if (imp_config_load(root, s->config, &config, e))
		return -1;
	out->address = k3_xstrdup(s->address ? s->address : default_address(&config));
	/* The configuration of another containerd than the one asked says nothing. */
	if (!config.pause_default && (s->config || s->root || !s->address))
		out->pause = k3_xstrdup(config.pause);
	return 0;
}

/* ---- output ------------------------------------------------------------------------- */

static void print_step(void *arg, enum cri_step step, uint64_t ms)
{
	char time[16];

	(void)arg;
	cli_duration(ms, time, sizeof(time));
	fprintf(stderr, "%-8s %s\n", cri_step_name(step), time);
}

/* Until the container had been started. */
static uint64_t start_ms(const struct cri_started *r)
{
	uint64_t ms = 0;

	for (unsigned i = 0; i <= CRI_STEP_START; i++)
		ms += r->step_ms[i];
	return ms;
}

/* The last lines of a text. */
static const char *tail(const char *text, unsigned lines)
{
	const char *p = text + strlen(text);

	if (p > text && p[-1] == '\n')
		p--;
	for (; p > text; p--)
		if (p[-1] == '\n' && !--lines)
			break;
	return p;
}

static void print_output(const char *log)
{
	if (!log) {
		fprintf(stderr, "it wrote nothing\n");
		return;
	}
	fprintf(stderr, "the end of its output:\n");
	for (const char *line = tail(log, LINES); *line;) {
		size_t n = strcspn(line, "\n");
		K3_AUTO_FREE char *raw = k3_xstrndup(line, n);
		char text[LINE_MAX];

		k3_escape(text, sizeof(text), raw);
		fprintf(stderr, "    %s\n", text);
		line += n + (line[n] == '\n');
	}
}

static void print_failure(const char *ref, const struct cri_started *r)
{
	struct k3_err e;

	k3_fail(&e, K3_STORE, "%s does not start: %s", ref, cri_cause_text(r->cause));
	if (r->cause == CRI_CAUSE_EXITED)
		k3_fail(&e, K3_STORE, "%s does not start: %s: status %d", ref,
			cri_cause_text(r->cause), r->exit_code);
	fprintf(stderr, "k3simg: error: %s\n", e.msg);
	if (r->message)
		fprintf(stderr, "containerd says: %s\n", r->message);
	if (r->any && r->reached >= CRI_STEP_START)
		print_output(r->log);
	fprintf(stderr, "hint: %s\n", cri_cause_hint(r->cause));
}

static void print_success(const char *ref, const struct cri_started *r)
{
	char started[16], ran[16];

	cli_duration(start_ms(r), started, sizeof(started));
	cli_duration(r->step_ms[CRI_STEP_RUNNING], ran, sizeof(ran));
	if (r->exited)
		printf("%s started in %s and ended with 0\n", ref, started);
	else
		printf("%s started in %s and ran for %s\n", ref, started, ran);
	if (r->cut)
		fprintf(stderr, "k3simg: warning: somebody else ended the pod then: a kubelet does "
				"so with pods that it does not know\n");
}

static int print_json(const char *ref, const char *address, const struct cri_started *r)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	struct k3_jw w = K3_JW(&out);

	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "reference", ref);
	k3_jw_str(&w, "address", address);
	k3_jw_bool(&w, "started", r->ok);
	k3_jw_str(&w, "cause", r->ok ? NULL : cri_cause_name(r->cause));
	k3_jw_str(&w, "text", r->ok ? NULL : cri_cause_text(r->cause));
	k3_jw_str(&w, "message", r->message);
	k3_jw_u64(&w, "startMs", start_ms(r));
	k3_jw_arr(&w, "steps");
	for (unsigned i = 0; i < CRI_STEPS; i++) {
		if (!r->step_ms[i])
			continue;
		k3_jw_obj(&w, NULL);
		k3_jw_str(&w, "name", cri_step_name((enum cri_step)i));
		k3_jw_u64(&w, "ms", r->step_ms[i]);
		k3_jw_close_obj(&w);
	}
	k3_jw_close_arr(&w);
	k3_jw_bool(&w, "exited", r->exited);
	if (r->exited)
		k3_jw_u64(&w, "exitCode", (uint64_t)(unsigned)r->exit_code);
	k3_jw_bool(&w, "endedByOthers", r->cut);
	k3_jw_str(&w, "output", r->log);
	k3_jw_str(&w, "left", r->left);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

static void warn_left(const struct cri_started *r)
{
	if (r->left)
		fprintf(stderr, "k3simg: warning: not removed: %s\n", r->left);
}

/* ---- together ----------------------------------------------------------------------- */

static int try_it(struct cri_start_opts *o, const char *address, const struct cli *c,
		  struct cri_started *r, struct k3_err *e)
{
	struct grpc *g;
	int rc;

	if (grpc_new(address, c->cancel, &g, e))
		return -1;
	rc = cri_start(g, o, r, e);
	grpc_free(g);
	return rc ? k3_wrap(e, "containerd at %s", address) : 0;
}

/* As containerd's record has it; NULL when it is no name. */
static char *record_name(const char *text)
{
	struct oci_ref ref;
	struct k3_err ignored;

	if (oci_ref_parse(text, &ref, &ignored))
		return NULL;
	char *name = oci_ref_name(&ref);

	oci_ref_release(&ref);
	return name;
}

static int options(const struct start_settings *s, const struct words *args,
		   struct cri_start_opts *o, struct k3_err *e)
{
	if (args->before != 1) {
		k3_fail(e, K3_USAGE, "--start takes one image, not %zu", args->before);
		return k3_hint(e, "k3simg verify --start REF [-- COMMAND...]");
	}
	o->ref = args->items[0];
	o->command = args->items + 1;
	o->ncommand = args->n - 1;
	if (s->run_for && cli_parse_time("run-for", s->run_for, 0, RUN_FOR_MAX_MS, &o->run_ms, e))
		return -1;
	return s->timeout ? cli_parse_time("timeout", s->timeout, STEP_MIN_MS, STEP_MAX_MS,
					   &o->timeout_ms, e)
			  : 0;
}

int start_image(const struct start_settings *s, const struct words *args, const struct cli *c)
{
	__attribute__((cleanup(cri_started_release))) struct cri_started r = { 0 };
	__attribute__((cleanup(target_release))) struct target target = { 0 };
	K3_AUTO_FREE char *name = args->n ? record_name(args->items[0]) : NULL;
	struct cri_start_opts o = {
		.name = name,
		.pod_network = s->pod_network,
		.run_ms = RUN_FOR_MS,
		.timeout_ms = STEP_MS,
		.cancel = c->cancel,
		.on_step = s->quiet ? NULL : print_step,
	};
	bool json = !strcmp(s->output, "json");
	struct k3_err e;
	int rc;

	if (options(s, args, &o, &e) || find_target(s, &target, &e))
		return cli_error(&e);
	o.pause = target.pause;
	rc = try_it(&o, target.address, c, &r, &e);
	warn_left(&r);
	if (rc)
		return cli_error(&e);
	if (json && print_json(o.ref, target.address, &r))
		return cli_finish(1);
	if (!r.ok)
		print_failure(o.ref, &r);
	else if (!json)
		print_success(o.ref, &r);
	if (!r.ok)
		return cli_finish(CLI_FINDINGS_EXIT);
	return cli_finish(r.left ? 1 : 0);
}
