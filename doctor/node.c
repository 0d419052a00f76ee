/* SPDX-License-Identifier: Apache-2.0 */
/* The network of pods, the kubelet and k3s. */
#include <string.h>

#include "base/mem.h"
#include "doctor/finding.h"

/* ---- network -------------------------------------------------------------------------------- */

void doctor_iptables(const struct doctor_facts *f, struct doctor_finding *out)
{
	const char *path = f->host.iptables_program.path;
	/* nf_tables can do what iptables-nft asks for since 4.17; gVisor, 4.4, has none at all. */
	bool old = f->host.major &&
		   (f->host.major < 4 || (f->host.major == 4 && f->host.minor < 17));

	if (f->host.iptables == HOST_IPTABLES_NONE) {
		doctor_say(out, f->host.kubelet.present ? DOCTOR_WARNING : DOCTOR_NOTE,
			   "there is no iptables: kube-proxy and most CNI plugins need it");
		doctor_run(out, "apt-get install iptables");
	} else if (f->host.iptables == HOST_IPTABLES_NFT && old) {
		doctor_say(out, f->host.kubelet.present ? DOCTOR_ERROR : DOCTOR_WARNING,
			   "%s uses nf_tables, which kernel %s cannot do", path, f->host.release);
		doctor_run(out, "%s%supdate-alternatives --set iptables /usr/sbin/iptables-legacy",
			   *f->sysroot ? "chroot " : "", *f->sysroot ? f->sysroot : "");
		if (*f->sysroot)
			doctor_run(out, "ln -sf /usr/sbin/iptables-legacy %s%s", f->sysroot, path);
	} else {
		doctor_say(out, DOCTOR_OK, "%s, %s", path,
			   f->host.iptables == HOST_IPTABLES_NFT ? "nft" : "legacy");
	}
}

static const char loopback[] =
	"{\n  \"cniVersion\": \"0.4.0\",\n  \"name\": \"pods\",\n  \"plugins\": [\n"
	"    { \"type\": \"ptp\", \"ipMasq\": true,\n"
	"      \"ipam\": { \"type\": \"host-local\", \"subnet\": \"10.88.0.0/16\",\n"
	"                \"routes\": [ { \"dst\": \"0.0.0.0/0\" } ] } }\n  ]\n}";

static bool cni_is_k3s(const struct doctor_facts *f)
{
	return f->config.kind == IMP_ROOT_K3S && !f->host.k3s.own_network;
}

void doctor_cni_config(const struct doctor_facts *f, struct doctor_finding *out)
{
	const struct host_cni *c = &f->cni;

	if (!f->config_read) {
		doctor_say(out, DOCTOR_SKIPPED, "the configuration cannot be read (see config)");
	} else if (c->trouble) {
		K3_AUTO_FREE char *full = k3_xasprintf("%s%s", f->sysroot, c->file);
		K3_AUTO_FREE char *quoted = doctor_quote(full);

		doctor_say(out, DOCTOR_ERROR, "%s: %s", c->file, c->trouble);
		doctor_run(out, "mv %s %s.broken   # then see again", quoted, quoted);
	} else if (c->file) {
		doctor_say(out, DOCTOR_OK, "%s, network \"%s\"", c->file, c->name);
	} else if (cni_is_k3s(f)) {
		doctor_say(out, DOCTOR_OK, "k3s writes it when it starts");
	} else {
		doctor_say(out, DOCTOR_ERROR,
			   "%s has none: only pods in the network of the host start, with "
			   "containerd 1.x not even these",
			   f->config.cri.cni_conf);
		doctor_write(
			out,
			k3_xasprintf("%s%s/10-pods.conflist", f->sysroot, f->config.cri.cni_conf),
			NULL, loopback);
	}
}

static bool has_plugin(const struct doctor_facts *f, const char *name)
{
	const struct imp_cri *c = &f->config.cri;
	bool found = false;

	for (size_t k = 0; k < c->ncni_bin && !found; k++) {
		__attribute__((cleanup(host_program_release))) struct host_program p = { 0 };
		K3_AUTO_FREE char *path = k3_xasprintf("%s/%s", c->cni_bin[k], name);

		host_find_program(f->sysroot, path, &p);
		found = p.executable;
	}
	return found;
}

/* Where distributions put them that containerd's default does not know. */
static const char *const elsewhere[] = { "/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni" };

static void find_plugins(const struct doctor_facts *f, const char *name, struct doctor_finding *out)
{
	for (size_t k = 0; k < K3_ARRAY_LEN(elsewhere); k++) {
		__attribute__((cleanup(host_program_release))) struct host_program p = { 0 };
		K3_AUTO_FREE char *path = k3_xasprintf("%s/%s", elsewhere[k], name);
		K3_AUTO_FREE char *section = doctor_section(f, false, "cni");
		K3_AUTO_FREE char *line = k3_xasprintf("  bin_dir = \"%s\"", elsewhere[k]);

		host_find_program(f->sysroot, path, &p);
		if (!p.executable)
			continue;
		doctor_configure(f, out, section, line);
		return;
	}
	doctor_run(out, "apt-get install containernetworking-plugins");
}

void doctor_cni_plugins(const struct doctor_facts *f, struct doctor_finding *out)
{
	/* containerd itself sets up lo, with a plugin before 2.1. */
	const char *missing = NULL;

	if (!f->config_read || !f->cni.nplugins || f->cni.trouble) {
		doctor_say(out, DOCTOR_SKIPPED, "no configuration names any");
		return;
	}
	for (size_t k = 0; k < f->cni.nplugins && !missing; k++)
		if (!has_plugin(f, f->cni.plugins[k]))
			missing = f->cni.plugins[k];
	if (!missing) {
		doctor_say(out, DOCTOR_OK, "all that %s names are in %s", f->cni.file,
			   f->config.cri.cni_bin[0]);
		return;
	}
	doctor_say(out, DOCTOR_ERROR, "%s names plugin \"%s\", which is not in %s", f->cni.file,
		   missing, f->config.cri.cni_bin[0]);
	find_plugins(f, missing, out);
}

/* ---- kubelet -------------------------------------------------------------------------------- */

static bool no_kubelet(const struct doctor_facts *f, struct doctor_finding *out)
{
	if (f->host.kubelet.trouble) {
		const char *text = f->host.kubelet.trouble;
		K3_AUTO_FREE char *file = k3_xasprintf("%s%.*s", f->sysroot,
						       (int)strcspn(text, ":"), text);
		K3_AUTO_FREE char *quoted = doctor_quote(file);

		doctor_say(out, DOCTOR_ERROR, "%s", text);
		doctor_run(out, "mv %s %s.broken   # then see again", quoted, quoted);
		return true;
	}
	if (f->host.kubelet.present)
		return false;
	doctor_say(out, DOCTOR_SKIPPED, "there is no kubelet");
	return true;
}

/* An argument of k3s's kubelet, or a line of the kubelet's own file. */
static void configure_kubelet(const struct doctor_facts *f, struct doctor_finding *out,
			      const char *name, const char *flag, const char *line)
{
	K3_AUTO_FREE char *lines = k3_xasprintf("kubelet-arg+:\n  - %s", flag);

	if (f->host.kubelet.is_k3s)
		doctor_write(out,
			     k3_xasprintf("%s/etc/rancher/k3s/config.yaml.d/90-%s.yaml", f->sysroot,
					  name),
			     NULL, lines);
	else
		doctor_write(out, k3_xasprintf("%s/var/lib/kubelet/config.yaml", f->sysroot), NULL,
			     line);
}

/* What the kubelet's cAdvisor finds the device and size of. */
static bool is_measurable(const struct host_mount *m)
{
	static const char *const types[] = { "overlay", "tmpfs", "btrfs", "xfs", "zfs", "nfs" };

	if (!m || !strncmp(m->type, "ext", 3) || !strncmp(m->source, "/dev/", 5))
		return true;
	for (size_t k = 0; k < K3_ARRAY_LEN(types); k++)
		if (!strncmp(m->type, types[k], strlen(types[k])))
			return true;
	return false;
}

static unsigned percent_used(const struct host_space *s)
{
	return s->bytes ? (unsigned)((s->bytes - s->free) * 100 / s->bytes) : 0;
}

void doctor_image_gc(const struct doctor_facts *f, struct doctor_finding *out)
{
	const struct host_mount *m = doctor_disk_mount(f);
	unsigned used = percent_used(&f->space), high = f->host.kubelet.gc_high;

	if (no_kubelet(f, out))
		return;
	if (high >= 100) {
		doctor_say(out, DOCTOR_OK, "switched off");
		return;
	}
	if (!is_measurable(m))
		doctor_say(out, DOCTOR_WARNING,
			   "the kubelet cannot measure a %s and begins to remove images "
			   "(\"invalid capacity 0 on image filesystem\")",
			   m->type);
	else if (f->space_known && used >= high)
		doctor_say(
			out, DOCTOR_WARNING,
			"%u %% of the disk is used, and from %u %% on the kubelet removes images "
			"that are not pinned",
			used, high);
	else
		doctor_say(out, DOCTOR_OK, "%u %% of the disk is used, images go from %u %% on",
			   used, high);
	if (out->state != DOCTOR_OK)
		configure_kubelet(f, out, "image-gc", "image-gc-high-threshold=100",
				  "imageGCHighThresholdPercent: 100");
}

void doctor_local_storage(const struct doctor_facts *f, struct doctor_finding *out)
{
	const struct host_mount *m = host_mount_of(&f->host, "/var/lib/kubelet");

	if (no_kubelet(f, out))
		return;
	if (!f->host.kubelet.local_storage) {
		doctor_say(out, DOCTOR_OK, "capacity isolation is off");
	} else if (!m) {
		doctor_say(out, DOCTOR_SKIPPED, "/proc/self/mountinfo cannot be read");
	} else if (is_measurable(m)) {
		doctor_say(out, DOCTOR_OK, "/var/lib/kubelet is on %s", m->type);
	} else {
		doctor_say(out, DOCTOR_ERROR,
			   "/var/lib/kubelet is on %s, of which the kubelet finds no size: with "
			   "capacity isolation it does not start (\"failed to get rootfs info\")",
			   m->type);
		configure_kubelet(f, out, "local-storage", "local-storage-capacity-isolation=false",
				  "localStorageCapacityIsolation: false");
	}
}

/* ---- k3s ------------------------------------------------------------------------------------ */

void doctor_k3s(const struct doctor_facts *f, struct doctor_finding *out)
{
	const struct host_k3s *k = &f->host.k3s;

	if (!k->installed) {
		doctor_say(out, DOCTOR_SKIPPED, "k3s is not installed");
		return;
	}
	if (k->archives) {
		K3_AUTO_FREE char *dir = k3_xasprintf("%s%s/agent/images", f->sysroot, k->data_dir);
		K3_AUTO_FREE char *quoted = doctor_quote(dir);

		doctor_say(out, DOCTOR_NOTE,
			   "%s has %zu file%s that k3s imports at each start, without unpacking "
			   "them: pods of these images start later",
			   dir, k->archives, k->archives == 1 ? "" : "s");
		doctor_run(out, "mv %s %s.preloaded", quoted, quoted);
		return;
	}
	doctor_say(out, DOCTOR_OK, "%s",
		   k->agent && !k->server ? "an agent"
		   : k->server            ? "a server"
					  : "no service of it is installed");
}
