/* SPDX-License-Identifier: Apache-2.0 */
/* Facts of machines made of files. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "host/parse.h"

static void put(const char *sys, const char *name, const char *content)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s%s", sys, name);
	K3_AUTO_FREE char *dir = k3_xstrndup(path, (size_t)(strrchr(path, '/') - path));
	struct k3_err err;

	OK(k3_make_dirs(dir, 0755, &err));
	K3_AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	OK(k3_write_all(fd, content, strlen(content), path, &err));
}

TEST(empty_machine)
{
	struct k3_err err;
	struct host h;

	OK(host_read(unit_tmpdir(), &h, &err));
	EQ_STR(h.release, NULL);
	EQ_INT(h.last_cap, -1);
	EQ_INT(h.proc_inode, 0);
	EQ_INT(h.cgroups, HOST_CGROUPS_UNKNOWN);
	EQ_INT(h.iptables, HOST_IPTABLES_NONE);
	CHECK(!h.kmsg && !h.kubelet.present && !h.k3s.installed);
	EQ_INT(h.kubelet.gc_high, 85);
	CHECK(h.kubelet.local_storage);
	CHECK(!host_mount_of(&h, "/"));
	host_release(&h);
}

TEST(this_machine)
{
	struct k3_err err;
	struct host h;

	OK(host_read("", &h, &err));
	CHECK(h.release && h.major);
	CHECK(h.nmounts > 0);
	CHECK(host_mount_of(&h, "/proc/self"));
	host_release(&h);
}

static enum host_cgroups cgroups(const char *text)
{
	struct host h = { 0 };
	enum host_cgroups got;
	struct k3_err err;

	OK(host_parse_mounts(text, &h, &err));
	got = h.cgroups;
	host_release(&h);
	return got;
}

TEST(mounts)
{
	struct host h = { 0 };
	struct k3_err err;

	OK(host_parse_mounts("1 0 0:1 / / rw - 9p none rw,trans=fd\n"
			     "nonsense\n5 6 7\n"
			     "2 1 0:2 / /a\\040b rw shared:3 master:1 - ext4 /dev/sda rw\n"
			     "3 2 0:3 / /a\\040b/c rw - tmpfs  rw\n"
			     "4 2 0:4 / /a\\040b/c rw - xfs x rw",
			     &h, &err));
	EQ_INT(h.nmounts, 4);
	EQ_STR(h.mounts[1].point, "/a b");
	CHECK(h.mounts[1].shared && h.mounts[1].slave && !h.mounts[0].shared);
	EQ_STR(h.mounts[2].type, "tmpfs");
	EQ_STR(h.mounts[0].options, "rw,trans=fd");
	EQ_STR(host_mount_of(&h, "/a")->type, "9p");
	EQ_STR(host_mount_of(&h, "/a b")->type, "ext4");
	EQ_STR(host_mount_of(&h, "/a bc")->type, "9p");
	EQ_STR(host_mount_of(&h, "/a b/c/d")->type, "xfs");
	host_release(&h);
	EQ_INT(cgroups("1 0 0:1 / / rw - ext4 x rw"), HOST_CGROUPS_NONE);
	EQ_INT(cgroups("1 0 0:1 / /sys/fs/cgroup rw - cgroup2 x rw"), HOST_CGROUPS_V2);
	EQ_INT(cgroups("1 0 0:1 / /sys/fs/cgroup/unified rw - cgroup2 x rw\n"
		       "1 0 0:1 / /sys/fs/cgroup/pids rw - cgroup x rw"),
	       HOST_CGROUPS_V1);
}

TEST(kernel)
{
	const char *sys = unit_tmpdir();
	struct k3_err err;
	struct host h;

	put(sys, "/proc/sys/kernel/osrelease", "4.4.0\n");
	put(sys, "/proc/sys/kernel/cap_last_cap", "40\n");
	put(sys, "/dev/kmsg", "");
	OK(host_read(sys, &h, &err));
	EQ_STR(h.release, "4.4.0");
	EQ_INT(h.major, 4);
	EQ_INT(h.minor, 4);
	EQ_INT(h.last_cap, 40);
	CHECK(h.kmsg);
	host_release(&h);
}

static struct host_container container_of(const char *sys, const char *mounts)
{
	struct host_container c;

	put(sys, "/proc/self/mountinfo", mounts);
	host_read_container(sys, &c);
	return c;
}

TEST(containers)
{
	const char *sys = unit_tmpdir();
	struct host_container c;

	c = container_of(sys, "1 0 0:1 / / rw - 9p none rw,trans=fd\n");
	CHECK(!c.gvisor && !c.cgroup && !c.hugetlb && !c.cgroup_ns && !c.time_ns && !c.apparmor &&
	      !c.selinux && c.no_kmsg);
	HAS_STR(c.proc, "/proc");
	put(sys, "/proc/version", "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016\n");
	put(sys, "/proc/self/ns/cgroup", "");
	put(sys, "/sys/module/apparmor/parameters/enabled", "Y\n");
	put(sys, "/sys/fs/selinux/enforce", "0");
	put(sys, "/dev/kmsg", "");
	c = container_of(sys, "1 0 0:1 / /sys/fs/cgroup/m rw - cgroup none rw,memory,hugetlb\n");
	CHECK(c.gvisor && c.cgroup && c.hugetlb && c.cgroup_ns && !c.time_ns && c.apparmor &&
	      c.selinux && !c.no_kmsg);
	c = container_of(sys, "1 0 0:1 / /sys/fs/cgroup/m rw - cgroup none rw,memory,hugetlbx\n");
	CHECK(c.cgroup && !c.hugetlb);
	c = container_of(sys, "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 none rw\n");
	CHECK(c.cgroup && !c.hugetlb);
	put(sys, "/sys/fs/cgroup/cgroup.controllers", "cpu hugetlb pids\n");
	c = container_of(sys, "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 none rw\n");
	CHECK(c.cgroup && c.hugetlb);
	/* trying changes nothing, and raising the score is always allowed */
	host_probe_container(&c);
	CHECK(c.oom_min >= -1000 && c.rlimits);
}

TEST(templates_of_k3s)
{
	static const char text[] =
		"# ours\n{{ template \"base\" . }}\n  {{- if .X }}\n"
		"[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.k3simg.options]\n"
		"  BinaryName = '/front'\n  {{- end }}\n";
	K3_AUTO_FREE char *got = host_parse_template(text, sizeof(text) - 1, "k3simg");
	const char *sys = unit_tmpdir();
	struct k3_err err;
	struct host h;

	EQ_STR(got, "/front");
	EQ_STR(host_parse_template(text, sizeof(text) - 1, "runc"), NULL);
	EQ_STR(host_parse_template("[[", 2, "runc"), NULL);
	EQ_STR(host_parse_template("", 0, "runc"), NULL);
	put(sys, "/etc/rancher/k3s/config.yaml.d/90.yaml", "default-runtime: k3simg\n");
	put(sys, "/var/lib/rancher/k3s/agent/etc/containerd/config.toml.tmpl", text);
	OK(host_read(sys, &h, &err));
	EQ_STR(h.k3s.runtime, "k3simg");
	EQ_STR(h.k3s.runtime_binary, "/front");
	host_release(&h);
}

TEST(programs)
{
	static const char elf[] = "\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\367";
	const char *sys = unit_tmpdir();
	K3_AUTO_FREE char *path = k3_xasprintf("%s/usr/bin/elf", sys);
	K3_AUTO_FREE char *link = k3_xasprintf("%s/usr/bin/iptables", sys);
	struct host_program p;
	struct k3_err err;
	struct host h;

	put(sys, "/usr/bin/script", "#!/bin/sh\nexec crun --cgroup-manager=disabled \"$@\"\n");
	put(sys, "/usr/bin/iptables-nft", "");
	put(sys, "/usr/bin/elf", "");
	K3_AUTO_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
	OK(k3_write_all(fd, elf, sizeof(elf), path, &err));
	host_find_program(sys, "elf", &p);
	EQ_INT(p.kind, HOST_PROGRAM_ELF);
	EQ_INT(p.machine, 247);
	CHECK(p.executable);
	host_program_release(&p);
	host_find_program(sys, "script", &p);
	EQ_INT(p.kind, HOST_PROGRAM_SCRIPT);
	EQ_STR(p.path, "/usr/bin/script");
	CHECK(host_program_has(sys, &p, "--cgroup-manager=disabled"));
	CHECK(!host_program_has(sys, &p, "--cgroup-manager=enabled"));
	host_program_release(&p);
	host_find_program(sys, "none", &p);
	EQ_STR(p.path, NULL);
	CHECK(!host_program_has(sys, &p, "x"));
	/* A link that leads to the root of the machine leads to the sysroot. */
	CHECK(!symlink("/usr/bin/iptables-nft", link));
	OK(host_read(sys, &h, &err));
	EQ_INT(h.iptables, HOST_IPTABLES_NFT);
	EQ_STR(h.iptables_program.target, "/usr/bin/iptables-nft");
	host_release(&h);
}

/* What is on both sides of the edge of two reads is found. */
TEST(text_in_a_large_program)
{
	enum { EDGE = 262144 };
	const char *sys = unit_tmpdir();
	K3_AUTO_FREE char *text = k3_xcalloc(1, EDGE + 32);
	struct host_program p;
	char after[8];

	for (size_t back = 0; back < 12; back++) {
		memset(text, '.', EDGE + 16);
		memcpy(text + EDGE - back, "needle3.10", 10);
		put(sys, "/bin/large", text);
		host_find_program(sys, "/bin/large", &p);
		CHECK(host_program_has(sys, &p, "needle"));
		CHECK(!host_program_has(sys, &p, "needles"));
		CHECK(host_program_after(sys, &p, "needle", "0123456789", after, sizeof(after)));
		EQ_STR(after, "3");
		host_program_release(&p);
	}
	/* More of them than there is room for; and the end of the file. */
	put(sys, "/bin/small", "needle1234567 needle");
	host_find_program(sys, "/bin/small", &p);
	CHECK(!host_program_after(sys, &p, "needle", "0123456789", after, 7));
	CHECK(host_program_after(sys, &p, "needle", "0123456789", after, 8));
	EQ_STR(after, "1234567");
	CHECK(host_program_after(sys, &p, " needle", "0123456789", after, sizeof(after)));
	EQ_STR(after, "");
	host_program_release(&p);
}

static void cni(const char *name, const char *text, const char *trouble, size_t plugins)
{
	const char *sys = unit_tmpdir();
	K3_AUTO_FREE char *path = k3_xasprintf("/cni/%s", name);
	struct host_cni c;
	struct k3_err err;

	put(sys, path, text);
	put(sys, "/cni/zz.conflist", "{");
	put(sys, "/cni/00-not-this.txt", "{");
	OK(host_read_cni(sys, "/cni", &c, &err));
	EQ_STR(c.file, path);
	if (trouble)
		HAS_STR(c.trouble ? c.trouble : "", trouble);
	else
		EQ_STR(c.trouble, NULL);
	EQ_INT(c.nplugins, plugins);
	host_cni_release(&c);
}

TEST(networks)
{
	struct host_cni c;
	struct k3_err err;

	OK(host_read_cni(unit_tmpdir(), "/cni", &c, &err));
	EQ_STR(c.file, NULL);
	cni("10.conflist", "{\"name\":\"a\",\"plugins\":[{\"type\":\"x\"},{\"type\":\"y\"}]}", NULL,
	    2);
	cni("10.conf", "{\"name\":\"a\",\"type\":\"x\"}", NULL, 1);
	cni("10.json", "{\"name\":\"a\",\"type\":\"../x\"}", "no \"type\"", 0);
	cni("10.conflist", "{\"name\":\"a\",\"plugins\":[]}", "no \"plugins\"", 0);
	cni("10.conflist", "{\"plugins\":[{\"type\":\"x\"}]}", "no \"name\"", 0);
	cni("10.conf", "{\"name\":", "line 1", 0);
}

TEST(kubelet_file)
{
	const char *sys = unit_tmpdir();
	struct k3_err err;
	struct host h;

	put(sys, "/var/lib/kubelet/config.yaml",
	    "kind: KubeletConfiguration\nimageGCHighThresholdPercent: 100\n"
	    "featureGates:\n  LocalStorageCapacityIsolation: false\n");
	OK(host_read(sys, &h, &err));
	CHECK(h.kubelet.present && !h.kubelet.is_k3s);
	EQ_INT(h.kubelet.gc_high, 100);
	CHECK(!h.kubelet.local_storage);
	host_release(&h);
	put(sys, "/var/lib/kubelet/config.yaml", "a: [\n");
	OK(host_read(sys, &h, &err));
	HAS_STR(h.kubelet.trouble ? h.kubelet.trouble : "", "/var/lib/kubelet/config.yaml: line");
	host_release(&h);
}

TEST(k3s)
{
	const char *sys = unit_tmpdir();
	struct k3_err err;
	struct host h;

	put(sys, "/etc/rancher/k3s/config.yaml",
	    "snapshotter: native\nkubelet-arg:\n  - image-gc-high-threshold=90\n"
	    "flannel-backend: none\n");
	put(sys, "/etc/rancher/k3s/config.yaml.d/10.yaml",
	    "kubelet-arg+:\n  - --local-storage-capacity-isolation=false\n"
	    "  - image-gc-high-threshold=100\n");
	put(sys, "/etc/systemd/system/k3s-agent.service", "");
	put(sys, "/var/lib/rancher/k3s/agent/images/a.tar.zst", "");
	OK(host_read(sys, &h, &err));
	CHECK(h.k3s.installed && h.k3s.agent && !h.k3s.server && h.k3s.own_network);
	CHECK(h.kubelet.present && h.kubelet.is_k3s);
	EQ_STR(h.k3s.snapshotter, "native");
	EQ_STR(h.k3s.data_dir, "/var/lib/rancher/k3s");
	EQ_INT(h.k3s.archives, 1);
	EQ_INT(h.kubelet.gc_high, 100);
	CHECK(!h.kubelet.local_storage);
	host_release(&h);
}

UNIT_MAIN
