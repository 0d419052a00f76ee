/* SPDX-License-Identifier: Apache-2.0 */
/* The readers of single files, apart from where the files are: for host/, tests and fuzzing. */
#ifndef K3_HOST_PARSE_H
#define K3_HOST_PARSE_H

#include "host/host.h"

#define HOST_FILE_MAX (1u << 20) /* bytes of a configuration file */

/* proc(5), /proc/pid/mountinfo.  Lines that are none are passed over.  K3_LIMIT. */
K3_MUST int host_parse_mounts(const char *text, struct host *out, struct k3_err *e);
/* CNI specification 1.0, section 1.  Whatever is wrong becomes out->trouble. */
void host_parse_cni(const void *text, size_t n, bool list, struct host_cni *out);
/* A KubeletConfiguration (kubelet.config.k8s.io/v1beta1).  K3_FORMAT. */
K3_MUST int host_parse_kubelet(const void *text, size_t n, struct host_kubelet *out,
			       struct k3_err *e);
/* k3s's config.yaml: what it says itself and what it hands to the kubelet.  K3_FORMAT. */
K3_MUST int host_parse_k3s(const void *text, size_t n, struct host_k3s *k3s,
			   struct host_kubelet *kubelet, struct k3_err *e);

/*
 * A template of k3s's for containerd's configuration: the BinaryName of that runtime, as new
 * memory. Lines that are the template's own are passed over.  NULL when it has none or cannot be
 * read.
 */
char *host_parse_template(const void *text, size_t n, const char *runtime);

void host_read_k3s(const char *sysroot, struct host *out);
void host_read_kubelet(const char *sysroot, struct host *out);
void host_read_iptables(const char *sysroot, struct host *out);

#define HOST_MOUNTINFO_MAX (32u << 20) /* HOST_MOUNTS_MAX lines of some 300 bytes */

/* sysroot + path, as new memory. */
char *host_path(const char *sysroot, const char *path);
/* The text of a file of at most max bytes; NULL where it cannot be read. */
char *host_text(const char *sysroot, const char *path, size_t max);
bool host_exists(const char *sysroot, const char *path);
/* The same path with the symlinks at its end followed inside the sysroot, as new memory. */
char *host_follow(const char *sysroot, const char *path);

#endif
