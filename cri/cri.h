/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Kubernetes container runtime interface of a running containerd: what it knows of an image,
 * and one pod with one container to see whether that image starts.
 *
 * runtime.v1 of k8s.io/cri-api (pkg/apis/runtime/v1/api.proto), whose numbers are the same in
 * containerd 1.6 to 2.3.  Nothing here pulls.
 *
 * Threads: everything belongs to the thread of its struct grpc.
 */
#ifndef K3_CRI_CRI_H
#define K3_CRI_CRI_H

#include <stdint.h>

#include "base/err.h"
#include "base/thread.h"
#include "grpc/grpc.h"

/* ---- images ------------------------------------------------------------------------------- */

/* What CRI knows of an image.  Strings are new memory; cri_image_release. */
struct cri_image {
	bool found;
	char *id;       /* "sha256:…", of the config */
	char *chain_id; /* of its top layer, "" for an image without layers or where not told */
	bool pinned;    /* containerd before 1.6.22 and 1.7.3 never says so */
};

/* ImageStatus of a name, a digest or an ID.  Not found is success with found = false. */
K3_MUST int cri_image_status(struct grpc *g, const char *ref, struct cri_image *out,
			     struct k3_err *e);
void cri_image_release(struct cri_image *im);

struct cri_version {
	char *runtime, *version; /* "containerd", "v2.1.9" or "2.1.9"; new memory */
};

/*
 * RuntimeService.Version.  K3_BUSY when CRI is not up yet; K3_UNSUPPORTED when this containerd
 * has no CRI of runtime.v1 (disabled, or older).
 */
K3_MUST int cri_version(struct grpc *g, struct cri_version *out, struct k3_err *e);
void cri_version_release(struct cri_version *v);
/* Waits until CRI answers, at most ms.  The error of the last try. */
K3_MUST int cri_wait_ready(struct grpc *g, unsigned ms, struct k3_cancel *cancel, struct k3_err *e);

/* ---- a pod -------------------------------------------------------------------------------- */

enum cri_step {
	CRI_STEP_IMAGE,   /* CRI knows the image */
	CRI_STEP_SANDBOX, /* the pod sandbox runs: pause image, network, cgroups */
	CRI_STEP_CREATE,  /* the container is made: its own copy of the tree */
	CRI_STEP_START,   /* it has been started */
	CRI_STEP_RUNNING, /* it has run for as long as was asked, or ended with 0 */
	CRI_STEP_REMOVED, /* container and sandbox are gone */
	CRI_STEPS
};
const char *cri_step_name(enum cri_step s); /* "image", "sandbox", …: for people and JSON */

/* Why an image did not start, as far as it can be told. */
enum cri_cause {
	CRI_CAUSE_NONE,
	CRI_CAUSE_NO_IMAGE,      /* containerd has no image of this name */
	CRI_CAUSE_PLATFORM,      /* it has an index, but CRI finds nothing in it for this machine */
	CRI_CAUSE_INCOMPLETE,    /* it has the image, but its manifest or config is not there */
	CRI_CAUSE_NOT_UNPACKED,  /* neither snapshot nor layers are there */
	CRI_CAUSE_NO_PAUSE,      /* the pause image is missing (and cannot be pulled) */
	CRI_CAUSE_NO_NETWORK,    /* no CNI configuration or plugin */
	CRI_CAUSE_NO_COMMAND,    /* neither entrypoint nor command */
	CRI_CAUSE_NO_ENTRYPOINT, /* the file is not there */
	CRI_CAUSE_NO_INTERPRETER, /* what the file needs to run is not there: "#!", ELF loader */
	CRI_CAUSE_EXEC_FORMAT,    /* built for another architecture, or no program */
	CRI_CAUSE_NO_PERMISSION,  /* the entrypoint is not executable */
	CRI_CAUSE_USER,           /* the user of the image is not in its /etc/passwd */
	CRI_CAUSE_RUNTIME,        /* the OCI runtime failed for another reason */
	CRI_CAUSE_EXITED,         /* it ended with another status than 0 */
	CRI_CAUSE_ENDED,          /* the pod ended before the container had been started */
	CRI_CAUSE_TIMEOUT,        /* a step took longer than allowed */
	CRI_CAUSE_OTHER,
	CRI_CAUSES
};
const char *cri_cause_name(enum cri_cause c); /* "no-pause-image", … for JSON */
/* One sentence for people and what to do about it. */
const char *cri_cause_text(enum cri_cause c);
const char *cri_cause_hint(enum cri_cause c);

struct cri_start_opts {
	const char *ref;            /* as in a pod's spec */
	const char *name;           /* of its record in containerd, normalised; NULL = ref */
	const char *const *command; /* instead of the image's entrypoint and command */
	size_t ncommand;            /* 0 = the image's own */
	const char *pause;          /* as configured: asked for when CRI does not tell; or NULL */
	bool pod_network;           /* a network of its own by CNI; else the host's */
	unsigned run_ms;            /* it must run for so long, unless it ends with 0 before */
	unsigned timeout_ms;        /* for each step; 0 = none */
	struct k3_cancel *cancel;   /* the pod is removed also when it is raised; may be NULL */
	/* Each step when it is done; may be NULL. */
	void (*on_step)(void *arg, enum cri_step s, uint64_t ms);
	void *arg;
};

#define CRI_LOG_MAX (16u << 10) /* bytes kept of the end of a container's log */

struct cri_started {
	bool ok;
	uint64_t step_ms[CRI_STEPS]; /* 0 = not reached */
	enum cri_step reached;       /* the last one that is done before the failure */
	bool any;                    /* one was done */
	enum cri_cause cause;
	char *message; /* what the runtime said, or NULL; escaped, long ones without their middle */
	bool exited;   /* the container has ended */
	int exit_code;
	/*
	 * ok, but the pod was ended by somebody else before run_ms were over: a kubelet ends pods
	 * that it does not know.
	 */
	bool cut;
	char *log;  /* end of its output, or NULL; unescaped */
	char *left; /* what could not be removed and why, or NULL; escaped */
};

/*
 * Runs a pod sandbox and one container from an image that is there, waits, and removes both
 * whatever happens.  No pod but its own is touched; its names are "k3simg-verify-<random>" in
 * namespace "k3simg".
 * No image is pulled: where the pause image is known (containerd 1.x tells it, else o->pause) and
 * is missing, no pod is tried.  Where it is not known, containerd itself pulls a missing one, as
 * for every pod.
 * 0 when it was tried, whatever came of it (out->ok, out->cause).  -1: CRI does not answer, or
 * cancelled.  *out is to be released in any case.
 */
K3_MUST int cri_start(struct grpc *g, const struct cri_start_opts *o, struct cri_started *out,
		      struct k3_err *e);
void cri_started_release(struct cri_started *s);

#endif
