/* SPDX-License-Identifier: Apache-2.0 */
#include "host/host.h"

#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/utsname.h>

#include "base/mem.h"
#include "host/parse.h"

#define GC_HIGH_DEFAULT 85u /* kubelet.config.k8s.io/v1beta1 */

static void read_kernel(const char *sysroot, struct host *out)
{
	K3_AUTO_FREE char *cap = host_text(sysroot, "/proc/sys/kernel/cap_last_cap", 64);
	K3_AUTO_FREE char *proc = host_path(sysroot, "/proc");
	struct utsname name;
	struct statfs fs;
	struct stat st;

	out->release = host_text(sysroot, "/proc/sys/kernel/osrelease", 256);
	if (out->release)
		out->release[strcspn(out->release, "\n")] = '\0';
	else if (!*sysroot && !uname(&name))
		out->release = k3_xstrdup(name.release);
	if (out->release && sscanf(out->release, "%u.%u", &out->major, &out->minor) != 2)
		out->major = out->minor = 0;
	out->last_cap = -1;
	if (cap)
		(void)!sscanf(cap, "%d", &out->last_cap);
	if (!statfs(proc, &fs) && fs.f_type == PROC_SUPER_MAGIC && !stat(proc, &st))
		out->proc_inode = st.st_ino;
	out->kmsg = host_exists(sysroot, "/dev/kmsg");
	out->systemd = host_exists(sysroot, "/run/systemd/system");
}

int host_read(const char *sysroot, struct host *out, struct k3_err *e)
{
	K3_AUTO_FREE char *mounts = host_text(sysroot, "/proc/self/mountinfo", HOST_MOUNTINFO_MAX);

	*out = (struct host){
		.kubelet = { .gc_high = GC_HIGH_DEFAULT, .local_storage = true },
	};
	read_kernel(sysroot, out);
	if (mounts && host_parse_mounts(mounts, out, e)) {
		host_release(out);
		return -1;
	}
	host_read_iptables(sysroot, out);
	/* The files of the kubelet first: k3s hands it arguments, which have the last word. */
	host_read_kubelet(sysroot, out);
	host_read_k3s(sysroot, out);
	out->kubelet.is_k3s = out->k3s.installed;
	out->kubelet.present = out->kubelet.present || out->k3s.installed;
	return 0;
}

void host_release(struct host *h)
{
	free(h->release);
	for (size_t k = 0; k < h->nmounts; k++) {
		free(h->mounts[k].point);
		free(h->mounts[k].type);
		free(h->mounts[k].source);
		free(h->mounts[k].options);
	}
	free(h->mounts);
	host_program_release(&h->iptables_program);
	free(h->k3s.snapshotter);
	free(h->k3s.data_dir);
	free(h->k3s.runtime);
	free(h->k3s.runtime_binary);
	free(h->kubelet.trouble);
	*h = (struct host){ 0 };
}
