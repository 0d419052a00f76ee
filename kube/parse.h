/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kube/: members of objects, and the facts of one container. */
#ifndef K3_KUBE_PARSE_H
#define K3_KUBE_PARSE_H

#include "base/yaml.h"
#include "kube/kube.h"

/* A container with the room for what it lends. */
struct kube_facts {
	struct kube_container c;
	struct kube_text command[KUBE_WORDS_MAX], args[KUBE_WORDS_MAX], mounts[KUBE_MOUNTS_MAX];
};

/* A member that must be of this kind; *out = NULL when it is absent or null.  K3_FORMAT. */
K3_MUST int kube_member(const struct k3_yaml *obj, const char *key, enum k3_yaml_kind kind,
			const struct k3_yaml **out, struct k3_err *e);
/*
 * Fills in what the pod spec and the container (or volume) say; role and image are there
 * already.  K3_FORMAT, K3_LIMIT.
 */
K3_MUST int kube_read_facts(const struct k3_yaml *spec, const struct k3_yaml *c,
			    struct kube_facts *out, struct k3_err *e);

#endif
