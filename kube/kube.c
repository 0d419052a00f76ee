/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/parse.h"

#include <string.h>

#include "base/mem.h"

#define DEPTH_MAX 8u /* lists inside of lists; the API server makes none */

struct walk {
	const struct kube_visitor *v;
	unsigned visits;
	struct k3_err *err;
	/* Of the object that is looked at. */
	const char *kind, *object;
	const struct k3_yaml *spec;
};

/* ---- typed members ------------------------------------------------------------------------- */

static bool is_null(const struct k3_yaml *v)
{
	return !v || (k3_yaml_is(v, K3_YAML_SCALAR) && !k3_yaml_str(v));
}

int kube_member(const struct k3_yaml *obj, const char *key, enum k3_yaml_kind kind,
		const struct k3_yaml **out, struct k3_err *e)
{
	static const char *const names[] = { [K3_YAML_MAPPING] = "mapping",
					     [K3_YAML_SEQUENCE] = "list",
					     [K3_YAML_SCALAR] = "string" };
	const struct k3_yaml *v = k3_yaml_get(obj, key);

	*out = NULL;
	if (is_null(v))
		return 0;
	if (!k3_yaml_is(v, kind))
		return k3_fail(e, K3_FORMAT, "line %u: %s is no %s", k3_yaml_line(v), key,
			       names[kind]);
	*out = v;
	return 0;
}

static int member(struct walk *w, const struct k3_yaml *obj, const char *key,
		  enum k3_yaml_kind kind, const struct k3_yaml **out)
{
	return kube_member(obj, key, kind, out, w->err);
}

/* Follows mappings; *out = NULL when one of them is absent. */
static int descend(struct walk *w, const struct k3_yaml *obj, const char *const *path,
		   const struct k3_yaml **out)
{
	for (*out = obj; *path && *out; path++)
		if (member(w, *out, *path, K3_YAML_MAPPING, out))
			return -1;
	return 0;
}

static const char *text_of(const struct k3_yaml *v)
{
	const char *s = k3_yaml_str(v);

	return s ? s : "";
}

static int visit(struct walk *w, const struct k3_yaml *v)
{
	if (++w->visits > KUBE_VISITS_MAX)
		return k3_fail(w->err, K3_LIMIT,
			       "line %u: more than the limit of %u objects and containers",
			       k3_yaml_line(v), KUBE_VISITS_MAX);
	return 0;
}

/* ---- pods ---------------------------------------------------------------------------------- */

/* c: the container or volume that has it. */
static int take_image(struct walk *w, const struct k3_yaml *image, const struct k3_yaml *c,
		      enum kube_role role)
{
	unsigned line = k3_yaml_line(image);
	struct kube_facts f = { .c = { .role = role,
				       .kind = w->kind,
				       .object = w->object,
				       .image = { k3_yaml_str(image), line } } };

	if (w->v->image && w->v->image(w->v->arg, k3_yaml_str(image), line, w->err))
		return k3_wrap(w->err, "line %u", line);
	if (!w->v->container)
		return 0;
	if (kube_read_facts(w->spec, c, &f, w->err))
		return -1;
	return w->v->container(w->v->arg, &f.c, w->err) ? k3_wrap(w->err, "line %u", line) : 0;
}

static int container(struct walk *w, const struct k3_yaml *c, enum kube_role role)
{
	const struct k3_yaml *image;

	if (!k3_yaml_is(c, K3_YAML_MAPPING))
		return k3_fail(w->err, K3_FORMAT, "line %u: a container that is no mapping",
			       k3_yaml_line(c));
	if (member(w, c, "image", K3_YAML_SCALAR, &image))
		return -1;
	if (*text_of(image))
		return take_image(w, image, c, role);
	w->v->note(w->v->arg, &(struct kube_note){ .kind = KUBE_NO_IMAGE,
						   .line = k3_yaml_line(c),
						   .what = "",
						   .group = "",
						   .name = text_of(k3_yaml_get(c, "name")) });
	return 0;
}

/* An image mounted as a volume (KEP-4639). */
static int volume(struct walk *w, const struct k3_yaml *v, enum kube_role role)
{
	const struct k3_yaml *source, *reference;

	if (!k3_yaml_is(v, K3_YAML_MAPPING))
		return k3_fail(w->err, K3_FORMAT, "line %u: a volume that is no mapping",
			       k3_yaml_line(v));
	if (member(w, v, "image", K3_YAML_MAPPING, &source) ||
	    member(w, source, "reference", K3_YAML_SCALAR, &reference))
		return -1;
	return *text_of(reference) ? take_image(w, reference, v, role) : 0;
}

static int pod(struct walk *w, const struct k3_yaml *spec)
{
	static const struct {
		const char *key;
		int (*take)(struct walk *w, const struct k3_yaml *v, enum kube_role role);
		enum kube_role role;
	} lists[] = { { "initContainers", container, KUBE_INIT },
		      { "containers", container, KUBE_MAIN },
		      { "ephemeralContainers", container, KUBE_EPHEMERAL },
		      { "volumes", volume, KUBE_VOLUME } };
	const struct k3_yaml *list;

	w->spec = spec;

	for (size_t i = 0; i < K3_ARRAY_LEN(lists); i++) {
		if (member(w, spec, lists[i].key, K3_YAML_SEQUENCE, &list))
			return -1;
		for (size_t j = 0; j < k3_yaml_len(list); j++)
			if (visit(w, k3_yaml_at(list, j)) ||
			    lists[i].take(w, k3_yaml_at(list, j), lists[i].role))
				return -1;
	}
	return 0;
}

/* ---- objects ------------------------------------------------------------------------------- */

/* Where the pod spec is. */
static const struct workload {
	const char *group, *kind; /* "" is the core group */
	const char *path[6];
} workloads[] = {
	{ "", "Pod", { "spec" } },
	{ "", "PodTemplate", { "template", "spec" } },
	{ "", "ReplicationController", { "spec", "template", "spec" } },
	{ "apps", "Deployment", { "spec", "template", "spec" } },
	{ "apps", "ReplicaSet", { "spec", "template", "spec" } },
	{ "apps", "StatefulSet", { "spec", "template", "spec" } },
	{ "apps", "DaemonSet", { "spec", "template", "spec" } },
	{ "batch", "Job", { "spec", "template", "spec" } },
	{ "batch", "CronJob", { "spec", "jobTemplate", "spec", "template", "spec" } },
	/* Before Kubernetes 1.16; such manifests are still around. */
	{ "extensions", "Deployment", { "spec", "template", "spec" } },
	{ "extensions", "ReplicaSet", { "spec", "template", "spec" } },
	{ "extensions", "DaemonSet", { "spec", "template", "spec" } },
};

/* Groups of Kubernetes itself: all that runs pods there is in the table above. */
static const char *const own_groups[] = {
	"",
	"admissionregistration.k8s.io",
	"apiextensions.k8s.io",
	"apiregistration.k8s.io",
	"apps",
	"authentication.k8s.io",
	"authorization.k8s.io",
	"autoscaling",
	"batch",
	"certificates.k8s.io",
	"coordination.k8s.io",
	"discovery.k8s.io",
	"events.k8s.io",
	"extensions",
	"flowcontrol.apiserver.k8s.io",
	"internal.apiserver.k8s.io",
	"networking.k8s.io",
	"node.k8s.io",
	"policy",
	"rbac.authorization.k8s.io",
	"resource.k8s.io",
	"scheduling.k8s.io",
	"storage.k8s.io",
	"storagemigration.k8s.io",
};

/* Whether an apiVersion ("apps/v1", "v1") is of this group. */
static bool in_group(const char *version, const char *group)
{
	size_t n = strlen(group);

	return n ? !strncmp(version, group, n) && version[n] == '/' : !strchr(version, '/');
}

static bool is_own(const char *version)
{
	for (size_t i = 0; i < K3_ARRAY_LEN(own_groups); i++)
		if (in_group(version, own_groups[i]))
			return true;
	return false;
}

/* kind is n bytes long. */
static const struct workload *find_workload(const char *version, const char *kind, size_t n)
{
	for (size_t i = 0; i < K3_ARRAY_LEN(workloads); i++) {
		const struct workload *l = &workloads[i];

		if (strlen(l->kind) == n && !strncmp(l->kind, kind, n) &&
		    in_group(version, l->group))
			return l;
	}
	return NULL;
}

static void note_object(struct walk *w, const struct k3_yaml *obj, const char *version,
			const char *kind)
{
	bool chart = in_group(version, "helm.cattle.io") && !strncmp(kind, "HelmChart", 9);
	const struct k3_yaml *name = k3_yaml_get(k3_yaml_get(obj, "metadata"), "name");

	if (!is_own(version))
		w->v->note(w->v->arg,
			   &(struct kube_note){ .kind = chart ? KUBE_HELM_CHART : KUBE_UNKNOWN_KIND,
						.line = k3_yaml_line(obj),
						.what = kind,
						.group = version,
						.name = text_of(name) });
}

static int object(struct walk *w, const struct k3_yaml *obj, const char *version, const char *kind,
		  size_t kind_len, unsigned depth);

/* Lists that the API server answers with leave kind and version of their items to be guessed. */
static int items(struct walk *w, const struct k3_yaml *list, const char *version, const char *kind,
		 unsigned depth)
{
	size_t n = strlen(kind) - strlen("List");

	if (depth == DEPTH_MAX)
		return k3_fail(w->err, K3_LIMIT, "line %u: more than the limit of %u nested lists",
			       k3_yaml_line(list), DEPTH_MAX);
	for (size_t i = 0; i < k3_yaml_len(list); i++)
		if (object(w, k3_yaml_at(list, i), n ? version : "", n ? kind : "", n, depth + 1))
			return -1;
	return 0;
}

static bool is_list(const char *kind)
{
	size_t n = strlen(kind);

	return n >= 4 && !strcmp(kind + n - 4, "List");
}

static int no_object(struct walk *w, const struct k3_yaml *v, const char *why)
{
	k3_fail(w->err, K3_FORMAT, "line %u: no object of Kubernetes: %s", k3_yaml_line(v), why);
	return k3_hint(w->err,
		       "charts and kustomizations are rendered first: helm template, kubectl "
		       "kustomize");
}

/* version and kind (kind_len bytes) are what an item of a list need not say itself. */
static int object(struct walk *w, const struct k3_yaml *obj, const char *version, const char *kind,
		  size_t kind_len, unsigned depth)
{
	const struct k3_yaml *own_kind, *own_version, *part;

	if (!k3_yaml_is(obj, K3_YAML_MAPPING))
		return no_object(w, obj, "it is no mapping");
	if (visit(w, obj) || member(w, obj, "kind", K3_YAML_SCALAR, &own_kind) ||
	    member(w, obj, "apiVersion", K3_YAML_SCALAR, &own_version))
		return -1;
	if (own_kind) {
		kind = text_of(own_kind);
		kind_len = strlen(kind);
	}
	if (own_version)
		version = text_of(own_version);
	if (!kind_len)
		return no_object(w, obj, "it has no kind");
	if (!*version)
		return no_object(w, obj, "it has no apiVersion");

	const struct workload *l = find_workload(version, kind, kind_len);

	w->kind = l ? l->kind : "";
	w->object = text_of(k3_yaml_get(k3_yaml_get(obj, "metadata"), "name"));
	if (l)
		return descend(w, obj, l->path, &part) || pod(w, part) ? -1 : 0;
	if (own_kind && is_list(kind)) {
		if (member(w, obj, "items", K3_YAML_SEQUENCE, &part))
			return -1;
		if (part)
			return items(w, part, version, kind, depth);
	}
	K3_AUTO_FREE char *name = k3_xstrndup(kind, kind_len);

	note_object(w, obj, version, name);
	return 0;
}

int kube_images(const void *text, size_t n, const struct kube_visitor *v, struct k3_err *e)
{
	K3_AUTO_YAML struct k3_yaml_doc *doc = NULL;
	struct walk w = { .v = v, .err = e };

	if (k3_yaml_parse(text, n, &doc, e)) {
		if (memmem(text, n, "{{", 2))
			k3_hint(e, "a template is rendered first: helm template");
		return -1;
	}
	for (size_t i = 0; i < k3_yaml_docs(doc); i++)
		if (object(&w, k3_yaml_root(doc, i), "", "", 0, 0))
			return -1;
	return 0;
}
