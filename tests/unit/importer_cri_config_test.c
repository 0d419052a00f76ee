/* SPDX-License-Identifier: Apache-2.0 */
/* What config.toml says of CRI's runtime, network and pulls, in each version of it. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "importer/importer.h"

static void put(const char *sys, const char *name, const char *content)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s/%s", sys, name);
	struct k3_err err;
	K3_AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	OK(k3_write_all(fd, content, strlen(content), path, &err));
}

static void load(const char *root, const char *text, struct imp_config *c)
{
	const char *sys = unit_tmpdir();
	K3_AUTO_FREE char *file = k3_xasprintf("%s/config.toml", sys);
	struct k3_err err;

	put(sys, "config.toml", text);
	OK(imp_config_load(root, file, c, &err));
}

TEST(nothing_said)
{
	struct imp_config c;

	load("/srv/none", "version = 2\n", &c);
	EQ_INT(c.cri.version, 2);
	EQ_INT(c.cri.unprivileged_ports, IMP_UNSET);
	EQ_INT(c.cri.local_pull, IMP_UNSET);
	CHECK(!c.cri.transfer_native);
	EQ_STR(c.cri.cni_bin[0], "/opt/cni/bin");
	EQ_STR(c.cri.cni_conf, "/etc/cni/net.d");
	EQ_STR(imp_cri_runtime(&c.cri), "runc");
	EQ_STR(c.named_root, NULL);
	imp_config_release(&c);
	load("/srv/k3s/agent/containerd", "version = 3\n", &c);
	EQ_STR(c.cri.cni_bin[0], "/srv/k3s/data/current/bin");
	EQ_STR(c.cri.cni_conf, "/srv/k3s/agent/etc/cni/net.d");
	imp_config_release(&c);
}

TEST(version_2)
{
	struct imp_config c;

	load("/srv/none",
	     "version = 2\nroot = '/srv/other'\n[plugins.'io.containerd.grpc.v1.cri']\n"
	     "enable_unprivileged_ports = false\nenable_unprivileged_icmp = true\n"
	     "[plugins.'io.containerd.grpc.v1.cri'.cni]\nbin_dir = '/bin/cni'\nconf_dir = '/cni'\n"
	     "[plugins.'io.containerd.grpc.v1.cri'.containerd]\ndefault_runtime_name = 'own'\n"
	     "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc.options]\n"
	     "BinaryName = 'other'\n"
	     "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.own]\n"
	     "runtime_type = 'io.containerd.runc.v2'\n"
	     "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.own.options]\n"
	     "BinaryName = '/bin/own'\nSystemdCgroup = true\n",
	     &c);
	EQ_INT(c.cri.unprivileged_ports, IMP_NO);
	EQ_INT(c.cri.unprivileged_icmp, IMP_YES);
	EQ_INT(c.cri.ncni_bin, 1);
	EQ_STR(c.cri.cni_bin[0], "/bin/cni");
	EQ_STR(c.cri.cni_conf, "/cni");
	EQ_STR(imp_cri_runtime(&c.cri), "/bin/own");
	EQ_INT(c.cri.nruntimes, 2);
	EQ_STR(c.cri.runtimes[1].type, "io.containerd.runc.v2");
	EQ_INT(c.cri.runtimes[1].systemd_cgroup, IMP_YES);
	EQ_STR(c.named_root, "/srv/other");
	imp_config_release(&c);
}

TEST(version_3)
{
	struct imp_config c;

	load("/srv/none",
	     "version = 3\n[plugins.'io.containerd.cri.v1.images']\nuse_local_image_pull = true\n"
	     "[plugins.'io.containerd.cri.v1.runtime']\nenable_unprivileged_ports = false\n"
	     "[plugins.'io.containerd.cri.v1.runtime'.cni]\nbin_dirs = ['/a', '/b']\n"
	     "[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]\n"
	     "platform = 'linux/amd64'\nsnapshotter = 'native'\n",
	     &c);
	EQ_INT(c.cri.version, 3);
	EQ_INT(c.cri.unprivileged_ports, IMP_NO);
	EQ_INT(c.cri.unprivileged_icmp, IMP_UNSET);
	EQ_INT(c.cri.local_pull, IMP_YES);
	CHECK(c.cri.transfer_native);
	EQ_INT(c.cri.ncni_bin, 2);
	EQ_STR(c.cri.cni_bin[1], "/b");
	imp_config_release(&c);
	/* The plugin of another version says nothing. */
	load("/srv/none",
	     "version = 3\n[plugins.'io.containerd.grpc.v1.cri']\n"
	     "enable_unprivileged_ports = false\n",
	     &c);
	EQ_INT(c.cri.unprivileged_ports, IMP_UNSET);
	imp_config_release(&c);
}

UNIT_MAIN
