/* SPDX-License-Identifier: Apache-2.0 */
/* What is in the answers of CRI, once they have been checked. */
#ifndef K3_CRI_ANSWER_H
#define K3_CRI_ANSWER_H

#include "cri/cri.h"

/* The string under a key of a JSON object; new memory, NULL when it is not there or "". */
char *cri_info_string(struct grpc_val info, const char *key);
/* An ImageStatusResponse. */
void cri_image_parse(struct grpc_val answer, struct cri_image *out);

/* What is of interest in a StatusResponse with verbose information. */
struct cri_runtime {
	bool network_ready;
	char *network_message; /* why not, or NULL */
	char *pause;           /* pause image; NULL where it is not told (containerd 2.x) */
	bool systemd_cgroup;   /* the default runtime wants cgroup parents that are slices */
};
void cri_runtime_parse(struct grpc_val answer, struct cri_runtime *out);
void cri_runtime_release(struct cri_runtime *r);

enum cri_state { CRI_CREATED, CRI_RUNNING, CRI_EXITED, CRI_UNKNOWN };

/* What is of interest in a ContainerStatusResponse. */
struct cri_container {
	enum cri_state state;
	int exit_code;
	char *reason, *message; /* never NULL */
};
void cri_container_parse(struct grpc_val answer, struct cri_container *out);
void cri_container_release(struct cri_container *c);

#endif
