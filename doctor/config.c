/* SPDX-License-Identifier: Apache-2.0 */
/* Root, socket, configuration, snapshotter, pause image: what belongs together and whether it does.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "doctor/finding.h"
#include "oci/oci.h"

/* Nothing can be said about what could not be read; `config` says why. */
static bool no_config(const struct doctor_facts *f, struct doctor_finding *out)
{
	if (f->config_read)
		return false;
	doctor_say(out, DOCTOR_SKIPPED, "the configuration cannot be read (see config)");
	return true;
}

static void wrong_root(const struct doctor_facts *f, struct doctor_finding *out)
{
	K3_AUTO_FREE char *line = k3_xasprintf("root = \"%s\"", doctor_inside(f, f->root));

	doctor_say(out, DOCTOR_ERROR, "containerd's root is %s by %s, and here it is %s",
		   f->config.named_root ? f->config.named_root : "/var/lib/containerd",
		   f->config_file, f->root);
	doctor_write(out, k3_xstrdup(f->config_file), NULL, line);
}

static bool same_dir(const char *a, const char *b)
{
	K3_AUTO_FREE char *x = realpath(a, NULL);
	K3_AUTO_FREE char *y = realpath(b, NULL);

	return !strcmp(x ? x : a, y ? y : b);
}

static bool other_root_named(const struct doctor_facts *f)
{
	K3_AUTO_FREE char *theirs = NULL;

	if (f->config_elsewhere)
		return true;
	if (!f->config.named_root || f->config.kind != IMP_ROOT_CONTAINERD)
		return false;
	theirs = k3_xasprintf("%s%s", f->sysroot, f->config.named_root);
	return !same_dir(theirs, f->root);
}

/* k3s takes no other root than the one below its data directory. */
static bool other_data_dir(const struct doctor_facts *f, struct doctor_finding *out)
{
	K3_AUTO_FREE char *theirs = k3_xasprintf("%s%s/agent/containerd", f->sysroot,
						 f->host.k3s.data_dir);
	K3_AUTO_FREE char *line = NULL;
	const char *inside;

	if (f->config.kind != IMP_ROOT_K3S || !f->host.k3s.installed || same_dir(theirs, f->root))
		return false;
	inside = doctor_inside(f, f->root);
	line = k3_xasprintf("data-dir: %.*s", (int)(strlen(inside) - strlen("/agent/containerd")),
			    inside);
	doctor_say(out, DOCTOR_ERROR, "k3s's root is %s, and here it is %s", theirs, f->root);
	doctor_write(out,
		     k3_xasprintf("%s/etc/rancher/k3s/config.yaml.d/90-data-dir.yaml", f->sysroot),
		     NULL, line);
	return true;
}

void doctor_root(const struct doctor_facts *f, struct doctor_finding *out)
{
	K3_AUTO_FREE char *quoted = doctor_quote(f->root);

	if (f->config_read && other_root_named(f)) {
		wrong_root(f, out);
	} else if (f->config_read && other_data_dir(f, out)) {
		return;
	} else if (f->store == DOCTOR_STORE_BROKEN) {
		doctor_say(out, DOCTOR_ERROR, "%s", f->store_trouble);
		doctor_run(out, "mv %s %s.broken && install -d -m 0711 %s", quoted, quoted, quoted);
	} else if (f->store == DOCTOR_STORE_ABSENT) {
		doctor_say(out, DOCTOR_WARNING, "%s is not there yet: nothing is preloaded",
			   f->root);
		doctor_run(out, "install -d -m 0711 %s", quoted);
	} else {
		doctor_say(out, DOCTOR_OK, "%s, %s%s%s", f->root,
			   f->config.kind == IMP_ROOT_K3S ? "of k3s" : "of containerd",
			   f->store == DOCTOR_STORE_LIVE ? ", which runs" : ", and no daemon runs",
			   f->host.k3s.installed && f->containerd.path
				   ? "; a containerd beside k3s is installed, too"
				   : "");
	}
}

void doctor_config(const struct doctor_facts *f, struct doctor_finding *out)
{
	K3_AUTO_FREE char *quoted = doctor_quote(f->config_file);

	if (!f->config_read) {
		doctor_say(out, DOCTOR_ERROR, "%s", f->config_trouble);
		doctor_run(out, "mv %s %s.broken", quoted, quoted);
	} else if (f->config_elsewhere) {
		doctor_say(out, DOCTOR_NOTE,
			   "none for this root: %s is of another one, defaults are assumed",
			   f->config_file);
	} else if (!f->config.file) {
		doctor_say(out, DOCTOR_NOTE, "none: containerd's defaults are in force");
	} else {
		doctor_say(out, DOCTOR_OK, "%s, version %d", f->config.file, f->config.cri.version);
	}
}

void doctor_socket(const struct doctor_facts *f, struct doctor_finding *out)
{
	if (!f->address && no_config(f, out))
		return;
	const char *at = f->config.address;
	bool differs = at && f->asked_address && strcmp(f->asked_address, at) != 0;

	if (f->socket_answers && f->store != DOCTOR_STORE_LIVE) {
		K3_AUTO_FREE char *line = k3_xasprintf("root = \"%s\"", doctor_inside(f, f->root));

		doctor_say(out, DOCTOR_ERROR,
			   "whoever listens on %s does not have %s: it does not see what is there",
			   f->address, f->root);
		doctor_write(out, k3_xstrdup(f->config_file), NULL, line);
	} else if (f->store == DOCTOR_STORE_LIVE && !f->socket_answers) {
		doctor_say(out, DOCTOR_WARNING,
			   "containerd runs on this root, but does not listen on %s", f->address);
		doctor_run(out, "ps -C containerd -o args   # its --address, for --address here");
	} else if (differs) {
		doctor_say(out, DOCTOR_WARNING, "%s is asked for, and %s is configured",
			   f->asked_address, at);
		doctor_run(out, "k3simg doctor --address %s", at);
	} else {
		doctor_say(out, DOCTOR_OK, "%s, %s", f->address,
			   f->socket_answers ? "and containerd answers"
					     : "where nobody listens now");
	}
}

/* ---- the CRI plugin ------------------------------------------------------------------------- */

static void want_native(const struct doctor_facts *f, struct doctor_finding *out)
{
	K3_AUTO_FREE char *section = NULL;

	if (f->config.kind == IMP_ROOT_K3S) {
		doctor_write(out,
			     k3_xasprintf("%s/etc/rancher/k3s/config.yaml.d/90-snapshotter.yaml",
					  f->sysroot),
			     NULL, "snapshotter: native");
		return;
	}
	section = doctor_section(f, true, f->config.cri.version >= 3 ? "" : "containerd");
	doctor_configure(f, out, section, "  snapshotter = \"native\"");
}

void doctor_snapshotter(const struct doctor_facts *f, struct doctor_finding *out)
{
	const char *name = f->config.snapshotter;

	if (no_config(f, out))
		return;
	/* k3s renders its configuration anew when it starts. */
	if (f->config.kind == IMP_ROOT_K3S && f->host.k3s.snapshotter)
		name = f->host.k3s.snapshotter;
	if (name && !strcmp(name, IMP_SNAPSHOTTER)) {
		doctor_say(out, DOCTOR_OK, "native");
		return;
	}
	if ((!name || !strcmp(name, "overlayfs")) && f->overlay > 0)
		doctor_say(out, DOCTOR_ERROR, "CRI uses %s%s, which cannot be mounted on %s (%s)",
			   name ? name : "overlayfs", name ? "" : " by default", f->disk,
			   strerrorname_np(f->overlay) ? strerrorname_np(f->overlay) : "?");
	else
		doctor_say(out, DOCTOR_WARNING,
			   "CRI uses %s%s: it does not look at the trees of a preload and unpacks "
			   "every image again",
			   name ? name : "overlayfs", name ? "" : " by default");
	want_native(f, out);
}

void doctor_kernel_gate(const struct doctor_facts *f, struct doctor_finding *out)
{
	const struct imp_cri *c = &f->config.cri;
	K3_AUTO_FREE char *section = NULL;

	if (no_config(f, out))
		return;
	if (!f->host.release || !f->host.major) {
		doctor_say(out, DOCTOR_SKIPPED, "the kernel does not tell its version");
		return;
	}
	if (f->host.major > 4 || (f->host.major == 4 && f->host.minor >= 11)) {
		doctor_say(out, DOCTOR_OK, "kernel %s", f->host.release);
		return;
	}
	if (c->unprivileged_ports == IMP_NO && c->unprivileged_icmp == IMP_NO) {
		doctor_say(out, DOCTOR_OK, "kernel %s, and what needs a newer one is off",
			   f->host.release);
		return;
	}
	/* k3s looks at the kernel before it writes these two. */
	if (f->config.kind == IMP_ROOT_K3S && c->unprivileged_ports != IMP_YES &&
	    c->unprivileged_icmp != IMP_YES) {
		doctor_say(out, DOCTOR_OK, "kernel %s, and k3s switches off what needs a newer one",
			   f->host.release);
		return;
	}
	section = doctor_section(f, false, "");
	doctor_say(out, DOCTOR_ERROR,
		   "kernel %s is older than 4.11, and %s is not false: CRI does not load",
		   f->host.release,
		   c->unprivileged_ports == IMP_NO ? "enable_unprivileged_icmp"
						   : "enable_unprivileged_ports");
	doctor_configure(f, out, section,
			 "  enable_unprivileged_ports = false\n"
			 "  enable_unprivileged_icmp = false");
}

void doctor_unpack_platforms(const struct doctor_facts *f, struct doctor_finding *out)
{
	K3_AUTO_FREE char *lines = NULL;
	struct oci_platform host;
	char platform[48];

	if (no_config(f, out))
		return;
	if (f->config.cri.version < 3 && f->config.schema < 4) {
		doctor_say(out, DOCTOR_OK, "nothing says that containerd is newer than 2.0");
		return;
	}
	if (!f->config.snapshotter || strcmp(f->config.snapshotter, IMP_SNAPSHOTTER) != 0) {
		doctor_say(out, DOCTOR_OK, "the snapshotter is not native");
		return;
	}
	if (f->config.cri.local_pull == IMP_YES || f->config.cri.transfer_native) {
		doctor_say(out, DOCTOR_OK, "pulls unpack for native%s",
			   f->config.cri.transfer_native ? "" : " without the transfer service");
		return;
	}
	oci_platform_host(&host);
	oci_platform_format(&host, platform, sizeof(platform));
	lines = k3_xasprintf("  platform = \"%s\"\n  snapshotter = \"native\"", platform);
	doctor_say(out, DOCTOR_WARNING,
		   "the transfer service does not unpack for native: preloaded pods start, but "
		   "pulls end with \"no unpack platforms defined\"");
	doctor_configure(f, out, "[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]",
			 lines);
}

/* ---- pause ---------------------------------------------------------------------------------- */

static void preload_pause(const struct doctor_facts *f, struct doctor_finding *out)
{
	K3_AUTO_FREE char *root = doctor_quote(f->root);
	K3_AUTO_FREE char *pause = doctor_quote(f->config.pause);

	doctor_run(out, "k3simg preload --root %s --pause %s %s", root, pause, pause);
}

void doctor_pause(const struct doctor_facts *f, struct doctor_finding *out)
{
	K3_AUTO_FREE char *own = f->config.pause_program
					 ? k3_xasprintf(", as %s has it", f->config.pause_program)
					 : NULL;
	const char *how = own ? own : f->config.pause_default ? ", by default" : "";

	if (no_config(f, out))
		return;
	if (f->store == DOCTOR_STORE_BROKEN || f->pause_trouble) {
		doctor_say(out, DOCTOR_SKIPPED, "the store cannot be read: %s",
			   f->pause_trouble ? f->pause_trouble : f->store_trouble);
	} else if (!f->pause_stored) {
		doctor_say(out, DOCTOR_ERROR, "%s%s: not in the store", f->config.pause, how);
		preload_pause(f, out);
	} else if (!f->pause_unpacked) {
		doctor_say(out, DOCTOR_ERROR, "%s%s: in the store, but not unpacked for native",
			   f->config.pause, how);
		preload_pause(f, out);
	} else if (!f->pause_pinned) {
		doctor_say(out, DOCTOR_WARNING, "%s%s: not pinned, a kubelet may remove it",
			   f->config.pause, how);
		preload_pause(f, out);
	} else {
		doctor_say(out, DOCTOR_OK, "%s%s: unpacked and pinned", f->config.pause, how);
	}
}
