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

struct kube_visitor {
	/* An image as it is written, in document order; not checked, perhaps more than once. */
	int (*image)(void *arg, const char *image, unsigned line, struct k3_err *e);
	void (*note)(void *arg, const struct kube_note *note);
	void *arg;
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
