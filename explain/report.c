/* SPDX-License-Identifier: Apache-2.0 */
/* All subjects, container by container. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "explain/finding.h"

struct run {
	const struct explain_node *node;
	const struct explain_subject *subject;
	struct explain_report *out;
	size_t cap;
	size_t seen; /* containers of this subject */
};

/* ---- causes --------------------------------------------------------------------------------- */

/* All findings of the checks that are (or are not) of the node. */
static struct explain_cause *look(const struct explain_facts *f, bool node, size_t *n,
				  size_t *stops, size_t *warns)
{
	struct explain_cause *causes;
	const struct explain_check *all;
	size_t count;

	all = explain_checks(&count);
	causes = k3_xcalloc(count, sizeof(*causes));
	*n = *stops = *warns = 0;
	for (size_t k = 0; k < count; k++) {
		struct explain_finding found = { 0 };

		if (all[k].node != node)
			continue;
		all[k].fn(f, &found);
		*stops += found.state == EXPLAIN_STOPS;
		*warns += found.state == EXPLAIN_WARNS;
		if (found.state > EXPLAIN_OK)
			causes[(*n)++] = (struct explain_cause){ &all[k], found };
		else
			explain_finding_release(&found);
	}
	return causes;
}

static void release_causes(struct explain_cause *causes, size_t n)
{
	for (size_t k = 0; k < n; k++)
		explain_finding_release(&causes[k].found);
	free(causes);
}

/* ---- containers ----------------------------------------------------------------------------- */

static const char *role_name(const struct kube_container *c, bool manifest)
{
	static const char *const names[] = { [KUBE_INIT] = "init container",
					     [KUBE_MAIN] = "container",
					     [KUBE_EPHEMERAL] = "ephemeral container",
					     [KUBE_VOLUME] = "volume" };

	return manifest ? names[c->role] : "";
}

static int take_container(void *arg, const struct kube_container *c, struct k3_err *e)
{
	__attribute__((cleanup(explain_facts_release))) struct explain_facts f = { 0 };
	struct run *r = arg;
	struct explain_report *out = r->out;
	struct explain_container *to;

	if (explain_facts_gather(r->node, c, r->subject, &f, e))
		return -1;
	out->containers = k3_xgrow(out->containers, out->ncontainers, &r->cap,
				   sizeof(*out->containers));
	to = &out->containers[out->ncontainers++];
	*to = (struct explain_container){
		.image = k3_xstrdup(c->image.s),
		.asked = f.name ? k3_xstrdup(f.name) : NULL,
		.file = r->subject->file,
		.kind = k3_xstrdup(c->kind),
		.object = k3_xstrdup(c->object),
		.name = k3_xstrdup(c->name),
		.role = k3_xstrdup(role_name(c, f.manifest)),
		.line = c->image.line,
	};
	to->causes = look(&f, false, &to->n, &to->stops, &to->warns);
	r->seen++;
	return 0;
}

/* What runs no image may be anything. */
static void ignore_note(void *arg, const struct kube_note *note)
{
	(void)arg;
	(void)note;
}

static int explain_manifest(struct run *r, struct k3_err *e)
{
	const struct explain_subject *s = r->subject;
	const struct kube_visitor v = { .note = ignore_note,
					.container = take_container,
					.arg = r };
	const char *name = s->file ? s->file : "standard input";

	r->seen = 0;
	if (kube_images(s->text, s->n, &v, e))
		return k3_wrap(e, "%s", name);
	if (r->seen)
		return 0;
	k3_fail(e, K3_USAGE, "%s has no container of a pod", name);
	return k3_hint(e, "pods are looked for in workloads of Kubernetes; a chart is rendered "
			  "first: helm template");
}

/* ---- together ------------------------------------------------------------------------------- */

static int explain_all(const struct explain_node *node, const struct explain_subject *subjects,
		       size_t n, struct explain_report *out, struct k3_err *e)
{
	const struct explain_facts facts = { .node = node };
	struct run r = { .node = node, .out = out };

	oci_platform_format(&node->platform, out->platform, sizeof(out->platform));
	out->root = k3_xstrdup(node->d.root);
	out->config = node->d.config.file ? k3_xstrdup(node->d.config.file) : NULL;
	out->causes = look(&facts, true, &out->n, &out->stops, &out->warns);
	for (size_t k = 0; k < n; k++) {
		struct kube_container alone = { .role = KUBE_MAIN,
						.kind = "",
						.object = "",
						.name = "",
						.image = { subjects[k].image, 0 } };

		r.subject = &subjects[k];
		if (subjects[k].image ? take_container(&r, &alone, e) : explain_manifest(&r, e))
			return -1;
	}
	return 0;
}

int explain_run(const struct explain_opts *o, const struct explain_subject *subjects, size_t n,
		struct explain_report *out, struct k3_err *e)
{
	struct explain_node node;
	int rc;

	*out = (struct explain_report){ 0 };
	if (explain_node_open(o, &node, e))
		return -1;
	rc = explain_all(&node, subjects, n, out, e);
	explain_node_close(&node);
	if (rc)
		explain_report_release(out);
	return rc;
}

void explain_report_release(struct explain_report *r)
{
	for (size_t k = 0; k < r->ncontainers; k++) {
		struct explain_container *c = &r->containers[k];

		release_causes(c->causes, c->n);
		free(c->image);
		free(c->asked);
		free(c->kind);
		free(c->object);
		free(c->name);
		free(c->role);
	}
	free(r->containers);
	release_causes(r->causes, r->n);
	free(r->root);
	free(r->config);
	*r = (struct explain_report){ 0 };
}
