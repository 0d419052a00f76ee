/* SPDX-License-Identifier: Apache-2.0 */
/* What is checked, in the order in which a pod comes to need it. */
#include <string.h>

#include "base/mem.h"
#include "doctor/finding.h"

static const struct doctor_check checks[] = {
	{ "root", "containerd's root", DOCTOR_ERROR, false, false, doctor_root,
	  "Images in a root that no daemon reads are not there for pods.",
	  "one `root` for preload and containerd" },
	{ "config", "configuration", DOCTOR_ERROR, false, false, doctor_config,
	  "containerd ends at a file that it cannot read; without one it takes its defaults.",
	  "correct the line named, or set the file aside" },
	{ "socket", "containerd's socket", DOCTOR_ERROR, false, false, doctor_socket,
	  "A live preload goes through the socket: it must be that of the daemon of this root.",
	  "start that daemon with this root, or name its socket with --address" },
	{ "snapshotter", "CRI's snapshotter", DOCTOR_ERROR, true, true, doctor_snapshotter,
	  "Preloaded trees are native's: another snapshotter does not see them, and overlayfs "
	  "does not start pods where it cannot be mounted.",
	  "snapshotter = \"native\"; k3s: snapshotter: native" },
	{ "kernel-gate", "kernel of containerd's defaults", DOCTOR_ERROR, true, false,
	  doctor_kernel_gate,
	  "containerd 2 does not load CRI on a kernel before 4.11 (gVisor: 4.4.0) unless "
	  "unprivileged ports and ICMP are off.",
	  "enable_unprivileged_ports = false, enable_unprivileged_icmp = false" },
	{ "unpack-platforms", "transfer service", DOCTOR_WARNING, true, false,
	  doctor_unpack_platforms,
	  "From 2.1 on containerd pulls by its transfer service, which unpacks for overlayfs "
	  "only: \"no unpack platforms defined\".",
	  "an unpack_config for native, or use_local_image_pull = true" },
	{ "pause", "pause image", DOCTOR_ERROR, false, false, doctor_pause,
	  "Every pod begins with the pause image, by the name that is configured.",
	  "k3simg preload with --pause" },
	{ "runtime", "OCI runtime", DOCTOR_ERROR, false, false, doctor_runtime,
	  "Containers are started by runc or crun, which must be there and run here.",
	  "install it, or name another one in BinaryName" },
	{ "cgroups", "cgroups", DOCTOR_ERROR, true, false, doctor_cgroups,
	  "Without any only crun --cgroup-manager=disabled starts containers; with version 1 "
	  "crun and runc do.",
	  "mount them, or crun --cgroup-manager=disabled as BinaryName" },
	{ "procfs", "inode of /proc", DOCTOR_ERROR, true, false, doctor_procfs,
	  "runc from 1.2 on takes a /proc that is not inode 1 (gVisor's) for a forgery.",
	  "crun or runc 1.1 as BinaryName" },
	{ "cap-last-cap", "capabilities of the kernel", DOCTOR_ERROR, false, false,
	  doctor_cap_last_cap, "Without /proc/sys/kernel/cap_last_cap runc sets no capabilities.",
	  "a whole /proc, a newer runsc" },
	{ "kmsg", "/dev/kmsg", DOCTOR_ERROR, true, false, doctor_kmsg,
	  "A kubelet, and k3s with it, ends when it cannot open /dev/kmsg.",
	  "ln -s /dev/null /dev/kmsg" },
	{ "propagation", "mount propagation", DOCTOR_WARNING, false, false, doctor_propagation,
	  "A pod with mounts shared both ways does not start where / is private.",
	  "mount --make-rshared /" },
	{ "iptables", "iptables", DOCTOR_ERROR, false, false, doctor_iptables,
	  "kube-proxy and CNI plugins set rules with iptables, in a way that the kernel must know.",
	  "install it; update-alternatives --set iptables /usr/sbin/iptables-legacy" },
	{ "cni-config", "CNI configuration", DOCTOR_ERROR, true, false, doctor_cni_config,
	  "Without a network configuration pods stay at \"cni plugin not initialized\".",
	  "a file in CNI's conf_dir" },
	{ "cni-plugins", "CNI plugins", DOCTOR_ERROR, true, false, doctor_cni_plugins,
	  "The configuration names programs, which must be in CNI's bin_dir.",
	  "install them, or set bin_dir" },
	{ "image-gc", "image collection", DOCTOR_ERROR, true, false, doctor_image_gc,
	  "From 85 % of the disk on, and where it cannot measure it, a kubelet removes images.",
	  "image-gc-high-threshold=100; pinned images" },
	{ "local-storage", "local storage", DOCTOR_ERROR, true, false, doctor_local_storage,
	  "A kubelet that isolates local storage does not start on a file system whose size it "
	  "cannot find, such as 9p.",
	  "local-storage-capacity-isolation=false" },
	{ "k3s", "k3s", DOCTOR_NOTE, false, false, doctor_k3s,
	  "k3s imports the files of agent/images at each start and leaves them packed.",
	  "move files out of agent/images that are preloaded" },
	{ "space", "room", DOCTOR_ERROR, false, false, doctor_space,
	  "native copies the whole image for every container.", "make room" },
	{ "links", "hard links", DOCTOR_WARNING, false, true, doctor_links,
	  "Layers share unchanged files by hard links.", "another file system for the root" },
	{ "xattrs", "extended attributes", DOCTOR_WARNING, false, true, doctor_xattrs,
	  "Capabilities of programs are extended attributes.", "another file system for the root" },
	{ "nodes", "device nodes and fifos", DOCTOR_WARNING, false, true, doctor_nodes,
	  "Some images have device nodes.", "another file system for the root" },
	{ "owners", "owners and modes", DOCTOR_ERROR, false, true, doctor_owners,
	  "Programs in images need their files to belong to the right users.",
	  "another file system for the root" },
	{ "overlay", "overlayfs", DOCTOR_NOTE, false, true, doctor_overlay,
	  "Where overlayfs cannot be mounted, native is the way.", "none is needed" },
	{ "openat2", "new system calls", DOCTOR_NOTE, false, true, doctor_openat2,
	  "openat2, copy_file_range and others save time.", "none is needed" },
};

const struct doctor_check *doctor_checks(size_t *n)
{
	*n = K3_ARRAY_LEN(checks);
	return checks;
}

const struct doctor_check *doctor_find(const char *id)
{
	for (size_t k = 0; k < K3_ARRAY_LEN(checks); k++)
		if (!strcmp(checks[k].id, id))
			return &checks[k];
	return NULL;
}
