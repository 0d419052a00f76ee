/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kubernetes manifests: the images that a cluster pulls for them.  Knows YAML, no cluster and no
 * registry.  Follows the API reference of Kubernetes 1.34 (PodSpec, PodTemplateSpec, lists).
 */
#ifndef K3_KUBE_KUBE_H
#define K3_KUBE_KUBE_H

#include "base/err.h"

/*
 * Objects and containers looked at in one stream, each as often as aliases lead to it: four times
 * what a cluster of the largest supported size (150,000 pods) has in pods.
 */
#define KUBE_VISITS_MAX 600000u

enum kube_note_kind {
	KUBE_UNKNOWN_KIND, /* of an API group that is not Kubernetes's own: it may run images */
	KUBE_HELM_CHART,   /* k3s's HelmChart and HelmChartConfig: images are known once rendered */
	KUBE_NO_IMAGE,     /* a container that names none */
};

/* Strings are borrowed for the length of the call. */
struct kube_note {
	enum kube_note_kind kind;
	unsigned line;     /* of the object or the container */
	const char *what;  /* kind of the object; "" where it is none */
	const char *group; /* and its apiVersion */
	const char *name;  /* of the object or container, or "" */
};

enum kube_role { KUBE_INIT, KUBE_MAIN, KUBE_EPHEMERAL, KUBE_VOLUME };

enum kube_setting { KUBE_UNSET, KUBE_NO, KUBE_YES };

/* A text as it is written, and where; NULL and 0 when there is none. */
struct kube_text {
	const char *s;
	unsigned line;
};

#define KUBE_WORDS_MAX 256u  /* of a command or its arguments that are handed out */
#define KUBE_MOUNTS_MAX 256u /* volumes of a container that are handed out */

struct kube_words {
	const struct kube_text *v;
	size_t n;
	bool set; /* written at all, if only as an empty list */
};

/*
 * A container, or an image that is mounted as a volume (only image, pull_policy, name and what
 * the pod says).  What a container says counts before what its pod says.  Strings are borrowed
 * for the length of the call.
 */
struct kube_container {
	enum kube_role role;
	const char *kind, *object; /* "Deployment" "web"; the name may be "" */
	const char *name;          /* of the container or volume, or "" */
	struct kube_text image, pull_policy;
	struct kube_words command, args;
	struct kube_text path; /* value of PATH in env; s = NULL with a line: of somewhere else */
	struct kube_text workdir;
	struct kube_words mounts;            /* paths at which volumes are mounted */
	struct kube_text user;               /* runAsUser */
	enum kube_setting non_root;          /* runAsNonRoot */
	unsigned security_line;              /* of the container's own securityContext, or 0 */
	struct kube_text runtime_class;      /* runtimeClassName */
	struct kube_text node_os, node_arch; /* of nodeSelector, or spec.os.name */
	bool pull_secrets;                   /* imagePullSecrets */
};

struct kube_visitor {
	/*
	 * An image as it is written, in document order; not checked, perhaps more than once.  May
	 * be NULL.
	 */
	int (*image)(void *arg, const char *image, unsigned line, struct k3_err *e);
	void (*note)(void *arg, const struct kube_note *note);
	void *arg;
	/*
	 * The same images with all that is said of them; may be NULL, and then nothing but images
	 * has to be of the right type.
	 */
	int (*container)(void *arg, const struct kube_container *c, struct k3_err *e);
};

/*
 * Reads YAML or JSON (n bytes): Pod, PodTemplate, ReplicationController, Deployment, ReplicaSet,
 * StatefulSet, DaemonSet, Job, CronJob, List and every ...List of them; in each pod containers,
 * initContainers, ephemeralContainers and image volumes.
 * K3_FORMAT "line N: …" for what is no YAML, no object of Kubernetes or has members of a wrong
 * type, K3_LIMIT, and what v->image returns, with "line N" in front.
 */
K3_MUST int kube_images(const void *text, size_t n, const struct kube_visitor *v, struct k3_err *e);

#endif
