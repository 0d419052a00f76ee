/* SPDX-License-Identifier: Apache-2.0 */
/* How checks say what they have found. */
#ifndef K3_DOCTOR_FINDING_H
#define K3_DOCTOR_FINDING_H

#include "doctor/doctor.h"

void doctor_say(struct doctor_finding *out, enum doctor_state state, const char *fmt, ...)
	K3_PRINTF(3, 4);
void doctor_run(struct doctor_finding *out, const char *fmt, ...) K3_PRINTF(2, 3);
/* Takes over file, which may be NULL, and borrows the rest. */
void doctor_write(struct doctor_finding *out, char *file, const char *section, const char *lines);
/* The same for the configuration of containerd: a section of CRI's `plugin` in its version. */
void doctor_configure(const struct doctor_facts *f, struct doctor_finding *out, const char *section,
		      const char *lines);
/* "[plugins.'io.containerd.cri.v1.runtime'.cni]" as this configuration has it; caller frees. */
char *doctor_section(const struct doctor_facts *f, bool images, const char *table);
/* A path as the machine itself has it: without the sysroot.  Borrowed. */
const char *doctor_inside(const struct doctor_facts *f, const char *path);
/* The mount that the root lies on, or NULL. */
const struct host_mount *doctor_disk_mount(const struct doctor_facts *f);

/* The checks. */
typedef void doctor_fn(const struct doctor_facts *f, struct doctor_finding *out);
doctor_fn doctor_root, doctor_config, doctor_socket, doctor_snapshotter, doctor_kernel_gate,
	doctor_unpack_platforms, doctor_pause;
doctor_fn doctor_runtime, doctor_cgroups, doctor_procfs, doctor_cap_last_cap, doctor_kmsg,
	doctor_propagation;
doctor_fn doctor_iptables, doctor_cni_config, doctor_cni_plugins, doctor_image_gc,
	doctor_local_storage, doctor_k3s;
doctor_fn doctor_space, doctor_links, doctor_xattrs, doctor_nodes, doctor_owners, doctor_overlay,
	doctor_openat2;

#endif
