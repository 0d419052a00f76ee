/* SPDX-License-Identifier: Apache-2.0 */
/* Each check on facts as they are put: what it says, and what it says to do. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "doctor/doctor.h"
#include "setup/files.h"

static char root[] = "/srv/root", config_file[] = "/none/config.toml", runc[] = "/usr/bin/runc",
	    crun[] = "/usr/bin/crun", release[] = "6.1.0", pause_name[] = "pause:1",
	    native[] = "native", socket_name[] = "/s", runtime_name[] = "runc",
	    cni_file[] = "/cni/1.conf", cni_name[] = "net", cni_type[] = "k3simg-no-such-plugin",
	    cni_dir[] = "/cni", bin_dir[] = "/none/bin", slash[] = "/", ext4[] = "ext4",
	    nine[] = "9p", none[] = "none", sysroot[] = "", data_dir[] = "/var/lib/rancher/k3s",
	    trouble[] = "trouble";
static char *bins[] = { bin_dir }, *types[] = { cni_type };

/* A machine on which all is well.  Nothing of it is released: it borrows everything. */
static struct doctor_facts sound(struct host_mount *m)
{
	*m = (struct host_mount){ .point = slash, .type = ext4, .source = none, .shared = true };
	return (struct doctor_facts){
		.sysroot = sysroot,
		.privileged = true,
		.machine = 62,
		.root = root,
		.address = socket_name,
		.config_file = config_file,
		.config_read = true,
		.store = DOCTOR_STORE_OFFLINE,
		.pause_stored = true,
		.pause_unpacked = true,
		.pause_pinned = true,
		.disk = slash,
		.space_known = true,
		.space = { 1ull << 40, 1ull << 39, 1u << 20, 1u << 19 },
		.runtime = { .path = runc,
			     .target = runc,
			     .executable = true,
			     .kind = HOST_PROGRAM_ELF,
			     .machine = 62 },
		.cni = { .file = cni_file, .name = cni_name },
		.config = { .file = config_file,
			    .pause = pause_name,
			    .snapshotter = native,
			    .address = socket_name,
			    .cri = { .version = 3,
				     .default_runtime = runtime_name,
				     .transfer_native = true,
				     .cni_conf = cni_dir,
				     .cni_bin = bins,
				     .ncni_bin = 1 } },
		.host = { .release = release,
			  .major = 6,
			  .minor = 1,
			  .proc_inode = 1,
			  .last_cap = 40,
			  .kmsg = true,
			  .mounts = m,
			  .nmounts = 1,
			  .cgroups = HOST_CGROUPS_V2,
			  .iptables = HOST_IPTABLES_LEGACY,
			  .iptables_program = { .path = runc },
			  .k3s = { .data_dir = data_dir },
			  .kubelet = { .present = true, .gc_high = 85, .local_storage = true } },
	};
}

/* The check has this state, its message and its fix these parts; NULL = no fix. */
static void is(const struct doctor_facts *f, const char *id, enum doctor_state state,
	       const char *text, const char *fix)
{
	const struct doctor_check *c = doctor_find(id);
	struct doctor_finding found = { 0 };
	K3_AUTO_FREE char *all = NULL;

	c->fn(f, &found);
	if (found.state != state)
		unit_fail(__FILE__, __LINE__, "%s is %s (%s), want %s", id,
			  doctor_state_name(found.state), found.text, doctor_state_name(state));
	HAS_STR(found.text, text);
	CHECK(state <= c->severity || state == DOCTOR_SKIPPED);
	all = k3_xasprintf("%s|%s|%s|%s", found.fix.command ? found.fix.command : "",
			   found.fix.file ? found.fix.file : "",
			   found.fix.section ? found.fix.section : "",
			   found.fix.lines ? found.fix.lines : "");
	if (fix)
		HAS_STR(all, fix);
	else
		EQ_STR(all, "|||");
	doctor_finding_release(&found);
}

TEST(all_is_well)
{
	struct host_mount m;
	struct doctor_facts f = sound(&m);
	const struct doctor_check *all;
	size_t n;

	all = doctor_checks(&n);
	CHECK(n >= 20);
	for (size_t k = 0; k < n; k++) {
		struct doctor_finding found = { 0 };

		all[k].fn(&f, &found);
		if (found.state > DOCTOR_SKIPPED || !found.text)
			unit_fail(__FILE__, __LINE__, "%s: %s", all[k].id, found.text);
		EQ_STR(found.fix.command, NULL);
		EQ_STR(found.fix.file, NULL);
		doctor_finding_release(&found);
		CHECK(doctor_find(all[k].id) == &all[k]);
		CHECK(*all[k].why && *all[k].fix && *all[k].title);
	}
	CHECK(!doctor_find("nothing"));
}

TEST(configuration)
{
	struct host_mount m;
	struct doctor_facts f = sound(&m);

	f.config.snapshotter = NULL;
	is(&f, "snapshotter", DOCTOR_WARNING, "overlayfs by default", "cri.v1.images']|");
	f.overlay = EINVAL;
	is(&f, "snapshotter", DOCTOR_ERROR, "cannot be mounted on / (EINVAL)", "native");
	f.config.cri.version = 2;
	is(&f, "snapshotter", DOCTOR_ERROR, "EINVAL",
	   "[plugins.'io.containerd.grpc.v1.cri'.containerd]");
	f.config.cri.version = 1;
	is(&f, "snapshotter", DOCTOR_ERROR, "EINVAL", "[plugins.'cri'.containerd]");
	f = sound(&m);
	f.config.cri.transfer_native = false;
	is(&f, "unpack-platforms", DOCTOR_WARNING, "no unpack platforms", "unpack_config]]");
	f.config.cri.local_pull = IMP_YES;
	is(&f, "unpack-platforms", DOCTOR_OK, "without the transfer service", NULL);
	f = sound(&m);
	f.host.major = 4;
	f.host.minor = 4;
	is(&f, "kernel-gate", DOCTOR_ERROR, "enable_unprivileged_ports is not false",
	   "cri.v1.runtime']|  enable_unprivileged_ports = false");
	f.config.cri.unprivileged_ports = IMP_NO;
	is(&f, "kernel-gate", DOCTOR_ERROR, "enable_unprivileged_icmp is not false", "icmp");
	f.config.cri.unprivileged_icmp = IMP_NO;
	is(&f, "kernel-gate", DOCTOR_OK, "is off", NULL);
	f.config_read = false;
	f.config_trouble = trouble;
	is(&f, "config", DOCTOR_ERROR, "trouble", "mv /none/config.toml");
	is(&f, "snapshotter", DOCTOR_SKIPPED, "see config", NULL);
	is(&f, "runtime", DOCTOR_SKIPPED, "see config", NULL);
}

TEST(store)
{
	struct host_mount m;
	struct doctor_facts f = sound(&m);

	f.store = DOCTOR_STORE_ABSENT;
	is(&f, "root", DOCTOR_WARNING, "not there yet", "install -d -m 0711 /srv/root");
	f.store = DOCTOR_STORE_BROKEN;
	f.store_trouble = trouble;
	is(&f, "root", DOCTOR_ERROR, "trouble", "mv /srv/root");
	is(&f, "pause", DOCTOR_SKIPPED, "trouble", NULL);
	f = sound(&m);
	f.config.named_root = bin_dir;
	is(&f, "root", DOCTOR_ERROR, "/none/bin", "root = \"/srv/root\"");
	f = sound(&m);
	f.config_elsewhere = true;
	is(&f, "root", DOCTOR_ERROR, "/var/lib/containerd", "root = \"/srv/root\"");
	f = sound(&m);
	f.socket_answers = true;
	is(&f, "socket", DOCTOR_ERROR, "does not have /srv/root", "root = ");
	f.store = DOCTOR_STORE_LIVE;
	is(&f, "socket", DOCTOR_OK, "answers", NULL);
	f.socket_answers = false;
	is(&f, "socket", DOCTOR_WARNING, "does not listen on /s", "ps -C containerd");
	f = sound(&m);
	f.pause_pinned = false;
	is(&f, "pause", DOCTOR_WARNING, "not pinned",
	   "k3simg preload --root /srv/root --pause pause:1");
	f.pause_unpacked = false;
	is(&f, "pause", DOCTOR_ERROR, "not unpacked", "preload");
	f.pause_stored = false;
	is(&f, "pause", DOCTOR_ERROR, "not in the store", "preload");
}

TEST(kernel)
{
	struct host_mount m;
	struct doctor_facts f = sound(&m);

	f.host.cgroups = HOST_CGROUPS_NONE;
	is(&f, "cgroups", DOCTOR_ERROR, "none are mounted",
	   "runtimes.runc.options]|  BinaryName = \"/usr/local/bin/crun-no-cgroups\"");
	f.runtime.target = cni_type;
	is(&f, "cgroups", DOCTOR_NOTE, "cannot be told", NULL);
	f.front = true;
	is(&f, "runtime", DOCTOR_ERROR, "neither crun nor runc", "apt-get install crun");
	is(&f, "procfs", DOCTOR_SKIPPED, "no OCI runtime", NULL);
	f.behind = (struct host_program){ .path = runc, .target = runc, .executable = true };
	is(&f, "runtime", DOCTOR_OK, "then /usr/bin/runc", NULL);
	is(&f, "cgroups", DOCTOR_ERROR, "runc refuses that", "k3simg setup --runtime crun");
	f.behind.target = crun;
	is(&f, "cgroups", DOCTOR_OK, "does without", NULL);
	f = sound(&m);
	f.runtime.executable = false;
	is(&f, "runtime", DOCTOR_ERROR, "not executable", "chmod 755 /usr/bin/runc");
	f = sound(&m);
	f.runtime.machine = 183;
	is(&f, "runtime", DOCTOR_ERROR, "another architecture", "|");
	f = sound(&m);
	f.runtime = (struct host_program){ 0 };
	is(&f, "runtime", DOCTOR_ERROR, "there is no runc", "|");
	is(&f, "procfs", DOCTOR_SKIPPED, "no OCI runtime", NULL);
	f = sound(&m);
	f.host.last_cap = -1;
	is(&f, "cap-last-cap", DOCTOR_ERROR, "missing", "mount -t proc");
	f.host.kmsg = false;
	is(&f, "kmsg", DOCTOR_ERROR, "missing", "ln -s /dev/null /dev/kmsg");
	f.host.kubelet.present = false;
	is(&f, "kmsg", DOCTOR_NOTE, "missing", "ln -s");
	m.shared = false;
	is(&f, "propagation", DOCTOR_WARNING, "private", "mount --make-rshared /");
	m.slave = true;
	is(&f, "propagation", DOCTOR_WARNING, "a slave", "mount --make-rshared /");
	f.host.nmounts = 0;
	is(&f, "propagation", DOCTOR_SKIPPED, "mountinfo", NULL);
}

TEST(node)
{
	struct host_mount m;
	struct doctor_facts f = sound(&m);

	f.host.iptables = HOST_IPTABLES_NONE;
	is(&f, "iptables", DOCTOR_WARNING, "no iptables", "apt-get install iptables");
	f.host.iptables = HOST_IPTABLES_NFT;
	is(&f, "iptables", DOCTOR_OK, "nft", NULL);
	f.host.major = 4;
	f.host.minor = 4;
	is(&f, "iptables", DOCTOR_ERROR, "nf_tables", "iptables-legacy");
	f = sound(&m);
	f.cni.plugins = types;
	f.cni.nplugins = 1;
	is(&f, "cni-plugins", DOCTOR_ERROR, "k3simg-no-such-plugin", "containernetworking-plugins");
	f.cni.trouble = trouble;
	is(&f, "cni-config", DOCTOR_ERROR, "/cni/1.conf: trouble", "mv /cni/1.conf");
	is(&f, "cni-plugins", DOCTOR_SKIPPED, "no configuration", NULL);
	f.cni = (struct host_cni){ 0 };
	is(&f, "cni-config", DOCTOR_ERROR, "/cni has none", "/cni/10-pods.conflist");
	f.config.kind = IMP_ROOT_K3S;
	is(&f, "cni-config", DOCTOR_OK, "k3s writes it", NULL);
	f.host.k3s.own_network = true;
	is(&f, "cni-config", DOCTOR_ERROR, "/cni has none", "10-pods");
	f = sound(&m);
	f.space.free = f.space.bytes / 10;
	is(&f, "image-gc", DOCTOR_WARNING, "90 % of the disk", "imageGCHighThresholdPercent: 100");
	f.host.kubelet.gc_high = 95;
	is(&f, "image-gc", DOCTOR_OK, "from 95 %", NULL);
	m.type = nine;
	f.host.kubelet.is_k3s = true;
	is(&f, "image-gc", DOCTOR_WARNING, "cannot measure a 9p",
	   "  - image-gc-high-threshold=100");
	is(&f, "local-storage", DOCTOR_ERROR, "on 9p", "kubelet-arg+:\n  - local-storage");
	f.host.kubelet.gc_high = 100;
	is(&f, "image-gc", DOCTOR_OK, "switched off", NULL);
	f.host.kubelet.local_storage = false;
	is(&f, "local-storage", DOCTOR_OK, "off", NULL);
	f.host.kubelet.trouble = trouble;
	is(&f, "image-gc", DOCTOR_ERROR, "trouble", "mv trouble");
	f.host.k3s.installed = true;
	f.host.k3s.archives = 2;
	is(&f, "k3s", DOCTOR_NOTE, "has 2 files", "mv /var/lib/rancher/k3s/agent/images");
}

TEST(disk)
{
	struct host_mount m;
	struct doctor_facts f = sound(&m);

	f.space.free = 10u << 20;
	is(&f, "space", DOCTOR_ERROR, "10 MiB are free", "crictl rmi --prune");
	f.space.free = 500u << 20;
	is(&f, "space", DOCTOR_WARNING, "500 MiB are free", "crictl");
	f.space.free = f.space.bytes;
	f.space.free_inodes = 12;
	is(&f, "space", DOCTOR_ERROR, "12 inodes are free", "crictl");
	f.space.inodes = 0;
	is(&f, "space", DOCTOR_OK, "free", NULL);
	f.fs.refused[HOST_FS_XATTR_USER] = EOPNOTSUPP;
	f.fs.refused[HOST_FS_XATTR_SECURITY] = EOPNOTSUPP;
	f.fs.refused[HOST_FS_DEVICE] = EPERM;
	is(&f, "xattrs", DOCTOR_WARNING, "user-xattrs (EOPNOTSUPP)", "mkfs.ext4");
	is(&f, "nodes", DOCTOR_WARNING, "device-nodes (EPERM)", "mount -o loop");
	f.host.major = 4;
	f.fs.refused[HOST_FS_LINK] = EPERM;
	is(&f, "links", DOCTOR_WARNING, "hard-links (EPERM)", "mount -t tmpfs");
	f.fs.refused[HOST_FS_LINK] = 0;
	f.fs.refused[HOST_FS_LINK_COHERENT] = EIO;
	is(&f, "links", DOCTOR_NOTE, "one name only", NULL);
	f.fs.refused[HOST_FS_CHOWN] = EPERM;
	is(&f, "owners", DOCTOR_ERROR, "owners (EPERM)", "mount");
	f.privileged = false;
	is(&f, "owners", DOCTOR_SKIPPED, "only root", NULL);
	f.fs.refused[HOST_FS_OPENAT2] = ENOSYS;
	is(&f, "openat2", DOCTOR_NOTE, "openat2 (ENOSYS)", NULL);
	f.overlay = EINVAL;
	is(&f, "overlay", DOCTOR_NOTE, "EINVAL", NULL);
	f.overlay = -1;
	is(&f, "overlay", DOCTOR_SKIPPED, "only root", NULL);
	f.fs_trouble = trouble;
	is(&f, "xattrs", DOCTOR_SKIPPED, "could not be tried: trouble", NULL);
}

/* ---- setup ---------------------------------------------------------------------------------- */

#define PLAN_MAX (1u << 20)

/* All that setup would write, quotes as doctor writes them, links as "ln -s TO PATH". */
static char *plan_text(enum setup_target target, unsigned version)
{
	const struct setup_opts o = {
		.target = target,
		.prefix = "",
		.root = target == SETUP_K3S ? "/var/lib/rancher/k3s/agent/containerd" : root,
		.version = version,
		.pause = pause_name,
		.platform = "linux/amd64",
		.exe = "/usr/bin/k3simg",
		.facts = { .no_kmsg = true },
	};
	__attribute__((cleanup(setup_plan_release))) struct setup_plan p = { 0 };
	K3_AUTO_BUF struct k3_buf all = K3_BUF(PLAN_MAX);
	struct k3_err err;

	OK(setup_plan_make(&o, &p, &err));
	for (size_t i = 0; i < p.n; i++) {
		if (p.files[i].link)
			OK(k3_buf_addf(&all, &err, "\nln -s %s %s\n", p.files[i].link,
				       p.files[i].path));
		else
			OK(k3_buf_addf(&all, &err, "\n%s\n", (char *)p.files[i].text.p));
	}
	char *text = k3_xstrdup((char *)all.p);

	/* containerd's names of plugins stay in single ones */
	for (char *c = text; *c; c++)
		if (*c == '\'' && strncmp(c - 8, "plugins.", 8) != 0 && c[1] != '.' && c[1] != ']')
			*c = '"';
	return text;
}

/* Whether the text has each of these lines below that section (NULL: anywhere). */
static void section_has(const char *text, const char *section, const char *lines)
{
	const char *from = section ? strstr(text, section) : text;
	const char *end = section && from ? strstr(from + 1, "\n[") : NULL;

	if (!from)
		unit_fail(__FILE__, __LINE__, "setup writes no %s", section ? section : "files");
	for (size_t n; from && *lines; lines += n + (lines[n] == '\n')) {
		n = strcspn(lines, "\n");
		K3_AUTO_FREE char *line = k3_xasprintf("\n%.*s\n", (int)n, lines);
		const char *at = strstr(from, line);

		if (!at || (end && at > end))
			unit_fail(__FILE__, __LINE__, "setup writes no \"%.*s\" below %s", (int)n,
				  lines, section ? section : "the top");
	}
}

/* What a check says is to be written is what setup writes. */
static void setup_does(const struct doctor_facts *f, const char *id, const char *plan)
{
	const struct doctor_check *c = doctor_find(id);
	struct doctor_finding found = { 0 };

	c->fn(f, &found);
	CHECK(c->setup && found.state >= DOCTOR_WARNING);
	if (found.fix.lines)
		section_has(plan, found.fix.section, found.fix.lines);
	else
		section_has(plan, NULL, found.fix.command);
	doctor_finding_release(&found);
}

TEST(setup_writes_what_is_asked_for)
{
	for (int version = 2; version <= 3; version++) {
		K3_AUTO_FREE char *plan = plan_text(SETUP_CONTAINERD, (unsigned)version);
		struct host_mount m;
		struct doctor_facts f = sound(&m);

		f.config.cri.version = version;
		f.config.schema = 4;
		f.host.major = f.host.minor = 4;
		setup_does(&f, "kernel-gate", plan);
		f.config.cri.transfer_native = false;
		setup_does(&f, "unpack-platforms", plan);
		f.config.snapshotter = NULL;
		setup_does(&f, "snapshotter", plan);
	}
}

TEST(setup_writes_what_is_asked_for_of_k3s)
{
	K3_AUTO_FREE char *plan = plan_text(SETUP_K3S, 0);
	struct host_mount m;
	struct doctor_facts f = sound(&m);

	f.config.kind = IMP_ROOT_K3S;
	f.config.snapshotter = NULL;
	f.host.k3s.installed = f.host.kubelet.is_k3s = true;
	f.host.kmsg = false;
	m.type = nine;
	setup_does(&f, "snapshotter", plan);
	setup_does(&f, "image-gc", plan);
	setup_does(&f, "local-storage", plan);
	setup_does(&f, "kmsg", plan);
}

/* What stopped k3s from starting in gVisor is named, each with a fix, most of it by setup. */
TEST(six_blockers)
{
	static const struct {
		const char *id;
		bool setup;
	} blockers[] = { { "kmsg", true },       { "propagation", false },  { "image-gc", true },
			 { "cni-config", true }, { "local-storage", true }, { "iptables", false } };
	struct host_mount m;
	struct doctor_facts f = sound(&m);

	m.type = nine;
	m.shared = false;
	f.host.kmsg = false;
	f.host.major = f.host.minor = 4;
	f.host.iptables = HOST_IPTABLES_NFT;
	f.cni = (struct host_cni){ 0 };
	for (size_t i = 0; i < K3_ARRAY_LEN(blockers); i++) {
		const struct doctor_check *c = doctor_find(blockers[i].id);
		struct doctor_finding found = { 0 };

		c->fn(&f, &found);
		if (found.state < DOCTOR_WARNING || (!found.fix.command && !found.fix.file))
			unit_fail(__FILE__, __LINE__, "%s: %s", c->id, found.text);
		EQ_INT(c->setup, blockers[i].setup);
		doctor_finding_release(&found);
	}
}

UNIT_MAIN
