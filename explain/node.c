/* SPDX-License-Identifier: Apache-2.0 */
/* The node: what doctor/ gathers of it, and the names that its store has. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "explain/facts.h"

#define NAMESPACE "k8s.io" /* CRI's, which is what a kubelet sees */

static struct explain_name *add_name(struct explain_node *n, const char *name)
{
	n->names = k3_xgrow(n->names, n->n, &n->cap, sizeof(*n->names));
	n->names[n->n] = (struct explain_name){ .name = k3_xstrdup(name) };
	return &n->names[n->n++];
}

static int take_record(void *arg, const struct imp_record *r, struct k3_err *e)
{
	struct explain_name *to = add_name(arg, r->name);

	(void)e;
	to->target = r->target;
	to->managed = r->managed;
	to->pinned = r->pinned;
	return 0;
}

/* A record that cannot be read is a fact of its image. */
static int take_trouble(void *arg, const struct imp_finding *f, struct k3_err *e)
{
	static const char before[] = "meta.db/v1/" NAMESPACE "/images/";
	struct explain_name *to;

	(void)e;
	if (strncmp(f->path, before, strlen(before)) != 0)
		return 0;
	to = add_name(arg, f->path + strlen(before));
	to->trouble = k3_xstrdup(f->text);
	return 0;
}

static int open_store(const struct explain_opts *o, struct explain_node *n, struct k3_err *e)
{
	struct imp_opts io = { .root = n->d.root, .ns = NAMESPACE, .cancel = o->cancel };
	const struct imp_sink sink = { .fn = take_trouble, .arg = n };

	if (imp_open(&io, &n->imp, e))
		return -1;
	if (imp_view_open(n->imp, &n->view, e))
		return -1;
	return imp_check_records(n->view, take_record, n, &sink, e);
}

static void close_store(struct explain_node *n)
{
	imp_view_close(n->view);
	if (n->imp)
		imp_close(n->imp, true);
	n->view = NULL;
	n->imp = NULL;
}

int explain_node_open(const struct explain_opts *o, struct explain_node *out, struct k3_err *e)
{
	const struct doctor_opts of = { .root = o->root,
					.config = o->config,
					.sysroot = o->sysroot,
					.cancel = o->cancel,
					.no_probe = true };
	K3_AUTO_FREE char *root = imp_default_root();
	struct k3_err why;

	*out = (struct explain_node){ 0 };
	if (doctor_gather(&of, &out->d, e))
		return -1;
	out->default_root = !*out->d.sysroot && !strcmp(root, out->d.root);
	oci_platform_host(&out->platform);
	if (out->d.store != DOCTOR_STORE_OFFLINE && out->d.store != DOCTOR_STORE_LIVE)
		return 0;
	if (!open_store(o, out, &why))
		return 0;
	if (why.code == K3_CANCELLED || why.code == K3_BUSY) {
		*e = why;
		explain_node_close(out);
		return -1;
	}
	close_store(out);
	out->d.store = DOCTOR_STORE_BROKEN;
	free(out->d.store_trouble);
	out->d.store_trouble = k3_xstrdup(why.msg);
	return 0;
}

void explain_node_close(struct explain_node *n)
{
	close_store(n);
	for (size_t k = 0; k < n->n; k++) {
		free(n->names[k].name);
		free(n->names[k].trouble);
	}
	free(n->names);
	doctor_facts_release(&n->d);
	*n = (struct explain_node){ 0 };
}

const char *explain_snapshotter(const struct explain_node *n)
{
	const struct doctor_facts *d = &n->d;

	if (!d->config_read || !d->config.file)
		return NULL;
	/* k3s renders its configuration anew when it starts. */
	if (d->config.kind == IMP_ROOT_K3S && d->host.k3s.snapshotter)
		return d->host.k3s.snapshotter;
	return d->config.snapshotter ? d->config.snapshotter : "overlayfs";
}
