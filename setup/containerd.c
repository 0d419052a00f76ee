/* SPDX-License-Identifier: Apache-2.0 */
/*
 * containerd's configuration: version 2 for 1.6 and later (2.x converts it), 3 for 2.x
 * (containerd, docs/cri/config.md).  A literal string of TOML takes any path that has no quote.
 */
#include "setup/files.h"

#define YES_NO(b) ((b) ? "true" : "false")

static int config_2(const struct setup_opts *o, struct k3_buf *out, struct k3_err *e)
{
	static const char text[] =
		"# " SETUP_HEADER "\n"
		"version = 2\n"
		"root = '%s'\n"
		"state = '%s/run/containerd'\n"
		"\n"
		"[grpc]\n"
		"  address = '%s/run/containerd/containerd.sock'\n"
		"\n"
		"[plugins.'io.containerd.grpc.v1.cri']\n"
		"  sandbox_image = '%s'\n"
		"  enable_unprivileged_ports = false\n"
		"  enable_unprivileged_icmp = false\n"
		"  restrict_oom_score_adj = true\n"
		"  disable_apparmor = %s\n"
		"  disable_cgroup = %s\n"
		"\n"
		"[plugins.'io.containerd.grpc.v1.cri'.containerd]\n"
		"  snapshotter = 'native'\n"
		"  default_runtime_name = 'runc'\n"
		"\n"
		"[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]\n"
		"  runtime_type = 'io.containerd.runc.v2'\n"
		"\n"
		"[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc.options]\n"
		"  BinaryName = '%s" SETUP_RUNTIME_LINK "'\n"
		"  SystemdCgroup = false\n"
		"\n"
		"[plugins.'io.containerd.grpc.v1.cri'.cni]\n"
		"  bin_dir = '%s" SETUP_CNI_BIN_DIR "'\n"
		"  conf_dir = '%s" SETUP_CNI_CONF_DIR "'\n"
		"\n"
		"[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]\n"
		"  platform = '%s'\n"
		"  snapshotter = 'native'\n";

	return k3_buf_addf(out, e, text, o->root, o->prefix, o->prefix, o->pause,
			   YES_NO(!o->facts.apparmor), YES_NO(!o->facts.cgroup), o->prefix,
			   o->prefix, o->prefix, o->platform);
}

static int config_3(const struct setup_opts *o, struct k3_buf *out, struct k3_err *e)
{
	static const char text[] =
		"# " SETUP_HEADER "\n"
		"version = 3\n"
		"root = '%s'\n"
		"state = '%s/run/containerd'\n"
		"\n"
		"[grpc]\n"
		"  address = '%s/run/containerd/containerd.sock'\n"
		"\n"
		"[plugins.'io.containerd.cri.v1.images']\n"
		"  snapshotter = 'native'\n"
		"\n"
		"[plugins.'io.containerd.cri.v1.images'.pinned_images]\n"
		"  sandbox = '%s'\n"
		"\n"
		"[plugins.'io.containerd.cri.v1.runtime']\n"
		"  enable_unprivileged_ports = false\n"
		"  enable_unprivileged_icmp = false\n"
		"  restrict_oom_score_adj = true\n"
		"  disable_apparmor = %s\n"
		"  disable_cgroup = %s\n"
		"\n"
		"[plugins.'io.containerd.cri.v1.runtime'.containerd]\n"
		"  default_runtime_name = 'runc'\n"
		"\n"
		"[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\n"
		"  runtime_type = 'io.containerd.runc.v2'\n"
		"\n"
		"[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\n"
		"  BinaryName = '%s" SETUP_RUNTIME_LINK "'\n"
		"  SystemdCgroup = false\n"
		"\n"
		"[plugins.'io.containerd.cri.v1.runtime'.cni]\n"
		"  # 2.0 knows no bin_dirs, and looks into /opt/cni/bin\n"
		"  bin_dirs = ['%s" SETUP_CNI_BIN_DIR "']\n"
		"  conf_dir = '%s" SETUP_CNI_CONF_DIR "'\n"
		"\n"
		"[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]\n"
		"  platform = '%s'\n"
		"  snapshotter = 'native'\n";

	return k3_buf_addf(out, e, text, o->root, o->prefix, o->prefix, o->pause,
			   YES_NO(!o->facts.apparmor), YES_NO(!o->facts.cgroup), o->prefix,
			   o->prefix, o->prefix, o->platform);
}

int containerd_config(const struct setup_opts *o, struct k3_buf *out, struct k3_err *e)
{
	return o->version == 3 ? config_3(o, out, e) : config_2(o, out, e);
}
