/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod says of one of its containers beyond the image. */
#include <string.h>

#include "base/mem.h"
#include "kube/parse.h"

static int text_member(const struct k3_yaml *obj, const char *key, struct kube_text *out,
		       struct k3_err *e)
{
	const struct k3_yaml *v;

	if (kube_member(obj, key, K3_YAML_SCALAR, &v, e))
		return -1;
	if (v)
		*out = (struct kube_text){ k3_yaml_str(v), k3_yaml_line(v) };
	return 0;
}

/* The texts of a list, or of one member of each of its elements. */
static int words_member(const struct k3_yaml *obj, const char *key, const char *inner,
			struct kube_text *room, size_t max, struct kube_words *out,
			struct k3_err *e)
{
	const struct k3_yaml *list;

	if (kube_member(obj, key, K3_YAML_SEQUENCE, &list, e))
		return -1;
	*out = (struct kube_words){ .v = room, .set = list };
	if (k3_yaml_len(list) > max)
		return k3_fail(e, K3_LIMIT, "line %u: %s has more than the limit of %zu entries",
			       k3_yaml_line(list), key, max);
	for (size_t i = 0; i < k3_yaml_len(list); i++) {
		const struct k3_yaml *at = k3_yaml_at(list, i);
		const struct k3_yaml *v = inner ? k3_yaml_get(at, inner) : at;

		if (!k3_yaml_is(v, K3_YAML_SCALAR))
			return k3_fail(e, K3_FORMAT, "line %u: an entry of %s that is no string",
				       k3_yaml_line(at), key);
		room[out->n++] = (struct kube_text){ k3_yaml_str(v) ? k3_yaml_str(v) : "",
						     k3_yaml_line(v) };
	}
	return 0;
}

static int read_path(const struct k3_yaml *c, struct kube_text *out, struct k3_err *e)
{
	const struct k3_yaml *env, *value;

	if (kube_member(c, "env", K3_YAML_SEQUENCE, &env, e))
		return -1;
	for (size_t i = 0; i < k3_yaml_len(env); i++) {
		const struct k3_yaml *one = k3_yaml_at(env, i);
		const char *name = k3_yaml_str(k3_yaml_get(one, "name"));

		if (!name || strcmp(name, "PATH") != 0)
			continue;
		if (kube_member(one, "value", K3_YAML_SCALAR, &value, e))
			return -1;
		/* Without a value it is empty, unless valueFrom takes it from elsewhere. */
		*out = (struct kube_text){ value ? k3_yaml_str(value) : NULL, k3_yaml_line(one) };
		if (!value && !k3_yaml_get(one, "valueFrom"))
			out->s = "";
	}
	return 0;
}

static int read_security(const struct k3_yaml *of, struct kube_container *c, unsigned *line,
			 struct k3_err *e)
{
	const struct k3_yaml *security, *v;
	bool yes;

	if (kube_member(of, "securityContext", K3_YAML_MAPPING, &security, e) ||
	    text_member(security, "runAsUser", &c->user, e) ||
	    kube_member(security, "runAsNonRoot", K3_YAML_SCALAR, &v, e))
		return -1;
	*line = k3_yaml_line(security);
	if (!v)
		return 0;
	if (!k3_yaml_bool(v, &yes))
		return k3_fail(e, K3_FORMAT, "line %u: runAsNonRoot is neither true nor false",
			       k3_yaml_line(v));
	c->non_root = yes ? KUBE_YES : KUBE_NO;
	return 0;
}

/* nodeSelector, in today's names and those of before 1.14; spec.os counts only without them. */
static int read_node(const struct k3_yaml *spec, struct kube_container *c, struct k3_err *e)
{
	const struct k3_yaml *selector, *os, *secrets;

	if (kube_member(spec, "nodeSelector", K3_YAML_MAPPING, &selector, e) ||
	    kube_member(spec, "os", K3_YAML_MAPPING, &os, e) ||
	    kube_member(spec, "imagePullSecrets", K3_YAML_SEQUENCE, &secrets, e) ||
	    text_member(os, "name", &c->node_os, e) ||
	    text_member(selector, "beta.kubernetes.io/os", &c->node_os, e) ||
	    text_member(selector, "kubernetes.io/os", &c->node_os, e) ||
	    text_member(selector, "beta.kubernetes.io/arch", &c->node_arch, e) ||
	    text_member(selector, "kubernetes.io/arch", &c->node_arch, e))
		return -1;
	c->pull_secrets = k3_yaml_len(secrets);
	return text_member(spec, "runtimeClassName", &c->runtime_class, e);
}

int kube_read_facts(const struct k3_yaml *spec, const struct k3_yaml *of, struct kube_facts *out,
		    struct k3_err *e)
{
	struct kube_container *c = &out->c;
	const char *name = k3_yaml_str(k3_yaml_get(of, "name"));
	unsigned ignored;

	c->name = name ? name : "";
	if (read_node(spec, c, e))
		return -1;
	if (c->role == KUBE_VOLUME)
		return text_member(k3_yaml_get(of, "image"), "pullPolicy", &c->pull_policy, e);
	if (read_security(spec, c, &ignored, e) || read_security(of, c, &c->security_line, e) ||
	    text_member(of, "imagePullPolicy", &c->pull_policy, e) ||
	    text_member(of, "workingDir", &c->workdir, e) || read_path(of, &c->path, e))
		return -1;
	return words_member(of, "command", NULL, out->command, KUBE_WORDS_MAX, &c->command, e) ||
			       words_member(of, "args", NULL, out->args, KUBE_WORDS_MAX, &c->args,
					    e) ||
			       words_member(of, "volumeMounts", "mountPath", out->mounts,
					    KUBE_MOUNTS_MAX, &c->mounts, e)
		       ? -1
		       : 0;
}
