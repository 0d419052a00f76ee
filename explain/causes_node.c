/* SPDX-License-Identifier: Apache-2.0 */
/* What stops every pod of the node, as doctor/ finds it; what a pod asks of the node. */
#include <string.h>

#include "base/mem.h"
#include "explain/finding.h"

/*
 * A finding of doctor's: its command, or else that of `k3simg setup` or an editor, for a fix of
 * explain's is one command.
 */
static void take_over(const struct explain_facts *f, struct explain_finding *out, const char *id)
{
	const struct doctor_check *check = doctor_find(id);
	__attribute__((cleanup(doctor_finding_release))) struct doctor_finding found = { 0 };

	check->fn(&f->node->d, &found);
	if (found.state < DOCTOR_WARNING)
		return;
	explain_say(out, found.state == DOCTOR_ERROR ? EXPLAIN_STOPS : EXPLAIN_WARNS, "%s",
		    found.text);
	if (found.fix.command) {
		explain_run_this(out, "%s", found.fix.command);
	} else if (check->setup) {
		explain_fix_setup(f, out);
	} else {
		K3_AUTO_FREE char *file = doctor_quote(found.fix.file ? found.fix.file : "");

		explain_run_this(out, "${EDITOR:-vi} %s   # %s", file,
				 found.fix.lines ? found.fix.lines : "");
	}
}

void explain_root(const struct explain_facts *f, struct explain_finding *out)
{
	take_over(f, out, "root");
	/* Not made yet, where it has to be: each image is missing then, and says how to get it. */
	if (f->node->d.store == DOCTOR_STORE_ABSENT && out->state < EXPLAIN_STOPS) {
		explain_finding_release(out);
		return;
	}
	/* Without a store there are no images: a warning of doctor's stops every pod. */
	if (!f->node->view && out->state < EXPLAIN_STOPS)
		explain_say(out, EXPLAIN_STOPS, "%s",
			    f->node->d.store_trouble ? f->node->d.store_trouble
						     : "there is no store");
	if (!out->fix && out->state)
		explain_run_this(out, "k3simg doctor root");
}

void explain_config(const struct explain_facts *f, struct explain_finding *out)
{
	take_over(f, out, "config");
}

void explain_snapshotter_set(const struct explain_facts *f, struct explain_finding *out)
{
	if (!explain_snapshotter(f->node))
		return;
	take_over(f, out, "snapshotter");
	if (out->state)
		explain_fix_snapshotter(f, out);
}

void explain_pause(const struct explain_facts *f, struct explain_finding *out)
{
	take_over(f, out, "pause");
}

/* ---- what a pod asks of the node ------------------------------------------------------------ */

/* Runtimes that have a shim of their own; others are run by runc's. */
static const char *runtime_type(const char *name)
{
	static const char *const own[][2] = { { "kata", "io.containerd.kata.v2" },
					      { "runsc", "io.containerd.runsc.v1" },
					      { "gvisor", "io.containerd.runsc.v1" },
					      { "wasmtime", "io.containerd.wasmtime.v1" },
					      { "spin", "io.containerd.spin.v2" } };

	for (size_t k = 0; k < K3_ARRAY_LEN(own); k++)
		if (!strcmp(own[k][0], name))
			return own[k][1];
	return NULL;
}

void explain_runtime_class(const struct explain_facts *f, struct explain_finding *out)
{
	const struct imp_cri *c = &f->node->d.config.cri;
	const char *name = f->pod->runtime_class.s;
	const char *type;

	if (!name || !*name || !f->node->d.config_read || !f->node->d.config.file)
		return;
	for (size_t k = 0; k < c->nruntimes; k++)
		if (!strcmp(c->runtimes[k].name, name))
			return;
	/* containerd has this one without being told. */
	if (!strcmp(name, "runc"))
		return;
	type = runtime_type(name);
	explain_say(out, EXPLAIN_STOPS,
		    "runtimeClassName is \"%s\", and %s has no runtime of that name%s%s%s", name,
		    f->node->d.config.file, type ? " (it would be " : "", type ? type : "",
		    type ? ")" : "");
	explain_fix_replace(f, out, f->pod->runtime_class.line, name, "null", true);
}

static void selector(const struct explain_facts *f, struct explain_finding *out,
		     const struct kube_text *asked, const char *have, const char *what)
{
	if (!asked->s || !strcmp(asked->s, have))
		return;
	explain_say(out, EXPLAIN_STOPS, "the pod wants a node of %s \"%s\", and this one has %s",
		    what, asked->s, have);
	explain_fix_replace(f, out, asked->line, asked->s, have, false);
}

void explain_node_os(const struct explain_facts *f, struct explain_finding *out)
{
	selector(f, out, &f->pod->node_os, f->node->platform.os, "system");
}

void explain_node_arch(const struct explain_facts *f, struct explain_finding *out)
{
	selector(f, out, &f->pod->node_arch, f->node->platform.arch, "architecture");
}

void explain_pull_secrets(const struct explain_facts *f, struct explain_finding *out)
{
	if (f->pod->pull_secrets)
		explain_say(out, EXPLAIN_NOTE,
			    "imagePullSecrets play no part: what is stored is not pulled");
}

void explain_volume(const struct explain_facts *f, struct explain_finding *out)
{
	if (f->in_volume)
		explain_say(out, EXPLAIN_NOTE,
			    "\"%s\" may come from a volume of the pod: it was not looked for",
			    f->word);
}
