/* SPDX-License-Identifier: Apache-2.0 */
/* What a container needs of its kernel, and whether the OCI runtime can do with what there is. */
#include <string.h>

#include "base/mem.h"
#include "doctor/finding.h"

#define FRONT "/usr/local/bin/crun-no-cgroups"
/* What makes the front execute another one. */
#define SETUP_CRUN "k3simg setup --runtime crun"

static const char *base_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path;
}

static bool no_runtime(const struct doctor_facts *f, struct doctor_finding *out)
{
	if (f->config_read && f->runtime.path)
		return false;
	doctor_say(out, DOCTOR_SKIPPED, "%s",
		   f->config_read ? "there is no OCI runtime (see runtime)"
				  : "the configuration cannot be read (see config)");
	return true;
}

/* Names a program as the OCI runtime. */
static void configure_runtime(const struct doctor_facts *f, struct doctor_finding *out,
			      const char *binary)
{
	K3_AUTO_FREE char *table = k3_xasprintf("containerd.runtimes.%s.options",
						f->config.cri.default_runtime);
	K3_AUTO_FREE char *section = doctor_section(f, false, table);
	K3_AUTO_FREE char *line = k3_xasprintf("  BinaryName = \"%s\"", binary);

	doctor_configure(f, out, section, line);
}

static void find_other(const struct doctor_facts *f, struct doctor_finding *out)
{
	static const char *const names[] = { "runc", "crun" };

	for (size_t k = 0; k < K3_ARRAY_LEN(names); k++) {
		__attribute__((cleanup(host_program_release))) struct host_program p = { 0 };

		host_find_program(f->sysroot, names[k], &p);
		if (p.executable && (p.kind != HOST_PROGRAM_ELF || p.machine == f->machine)) {
			configure_runtime(f, out, p.path);
			return;
		}
	}
	doctor_run(out, "apt-get install runc");
}

void doctor_runtime(const struct doctor_facts *f, struct doctor_finding *out)
{
	const struct host_program *p = &f->runtime;
	const char *name;

	if (!f->config_read) {
		doctor_say(out, DOCTOR_SKIPPED, "the configuration cannot be read (see config)");
		return;
	}
	name = imp_cri_runtime(&f->config.cri);
	if (!p->path) {
		doctor_say(out, DOCTOR_ERROR, "there is no %s%s", name,
			   *name == '/' ? "" : " in the directories of programs");
		find_other(f, out);
	} else if (!p->executable) {
		K3_AUTO_FREE char *full = k3_xasprintf("%s%s", f->sysroot, p->target);
		K3_AUTO_FREE char *quoted = doctor_quote(full);

		doctor_say(out, DOCTOR_ERROR, "%s is not executable", p->path);
		doctor_run(out, "chmod 755 %s", quoted);
	} else if (p->kind == HOST_PROGRAM_OTHER) {
		doctor_say(out, DOCTOR_ERROR, "%s is no program", p->path);
		find_other(f, out);
	} else if (p->kind == HOST_PROGRAM_ELF && p->machine != f->machine) {
		doctor_say(out, DOCTOR_ERROR,
			   "%s is of another architecture (ELF machine %u, not %u)", p->path,
			   p->machine, f->machine);
		find_other(f, out);
	} else if (f->front && !f->behind.executable) {
		doctor_say(out, DOCTOR_ERROR, "%s, and behind it there is neither crun nor runc",
			   p->path);
		doctor_run(out, "apt-get install crun");
	} else {
		doctor_say(out, DOCTOR_OK, "%s%s%s", p->path, f->front ? ", then " : "",
			   f->front ? f->behind.path : "");
	}
}

/* ---- cgroups -------------------------------------------------------------------------------- */

enum front { FRONT_NONE, FRONT_NO_CGROUPS, FRONT_UNKNOWN };

/* What stands between containerd and a real runtime. */
static enum front front_of(const struct doctor_facts *f)
{
	const char *name = base_name(f->runtime.target);

	/* The front tells crun, and has nothing to tell runc. */
	if (f->front)
		return f->behind.path && !strncmp(base_name(f->behind.target), "runc", 4)
			       ? FRONT_NONE
			       : FRONT_NO_CGROUPS;
	if (f->runtime.kind != HOST_PROGRAM_SCRIPT)
		return !strncmp(name, "runc", 4) || !strncmp(name, "crun", 4) ? FRONT_NONE
									      : FRONT_UNKNOWN;
	if (host_program_has(f->sysroot, &f->runtime, "--cgroup-manager=disabled") ||
	    host_program_has(f->sysroot, &f->runtime, "oci-runtime"))
		return FRONT_NO_CGROUPS;
	return FRONT_UNKNOWN;
}

static void use_no_cgroups(const struct doctor_facts *f, struct doctor_finding *out)
{
	if (f->front) {
		doctor_run(out, SETUP_CRUN);
		return;
	}
	K3_AUTO_FREE char *path = k3_xasprintf("%s" FRONT, f->sysroot);
	K3_AUTO_FREE char *quoted = doctor_quote(path);

	doctor_run(out,
		   "printf '#!/bin/sh\\nexec crun --cgroup-manager=disabled \"$@\"\\n' | "
		   "install -D -m 755 /dev/stdin %s",
		   quoted);
	configure_runtime(f, out, FRONT);
}

static bool wants_systemd(const struct doctor_facts *f)
{
	const struct imp_cri *c = &f->config.cri;

	for (size_t k = 0; k < c->nruntimes; k++)
		if (!strcmp(c->runtimes[k].name, c->default_runtime))
			return c->runtimes[k].systemd_cgroup == IMP_YES;
	return false;
}

void doctor_cgroups(const struct doctor_facts *f, struct doctor_finding *out)
{
	enum front front;

	if (no_runtime(f, out))
		return;
	if (f->host.cgroups == HOST_CGROUPS_UNKNOWN) {
		doctor_say(out, DOCTOR_SKIPPED, "/proc/self/mountinfo cannot be read");
		return;
	}
	if (wants_systemd(f) && !f->host.systemd) {
		K3_AUTO_FREE char *table = k3_xasprintf("containerd.runtimes.%s.options",
							f->config.cri.default_runtime);
		K3_AUTO_FREE char *section = doctor_section(f, false, table);

		doctor_say(out, DOCTOR_ERROR,
			   "SystemdCgroup is true, and systemd is not running here");
		doctor_configure(f, out, section, "  SystemdCgroup = false");
		return;
	}
	if (f->host.cgroups != HOST_CGROUPS_NONE) {
		doctor_say(out, DOCTOR_OK, "version %d is mounted",
			   f->host.cgroups == HOST_CGROUPS_V1 ? 1 : 2);
		return;
	}
	front = front_of(f);
	if (front == FRONT_NO_CGROUPS) {
		doctor_say(out, DOCTOR_OK, "none are mounted, and %s does without",
			   f->runtime.path);
	} else if (front == FRONT_UNKNOWN) {
		doctor_say(out, DOCTOR_NOTE,
			   "none are mounted, and whether %s can do without cannot be told",
			   f->runtime.path);
	} else {
		doctor_say(out, DOCTOR_ERROR,
			   "none are mounted: runc refuses that, and crun without "
			   "--cgroup-manager=disabled");
		use_no_cgroups(f, out);
	}
}

static void use_crun(const struct doctor_facts *f, struct doctor_finding *out)
{
	__attribute__((cleanup(host_program_release))) struct host_program p = { 0 };

	if (f->front) {
		doctor_run(out, SETUP_CRUN);
		return;
	}
	host_find_program(f->sysroot, "crun", &p);
	if (!p.executable)
		doctor_run(out, "apt-get install crun");
	configure_runtime(f, out, p.executable ? p.path : "crun");
}

/* runc from 1.2 on takes /proc for a forgery when its root is not inode 1. */
void doctor_procfs(const struct doctor_facts *f, struct doctor_finding *out)
{
	const struct host_program *p = f->front ? &f->behind : &f->runtime;

	if (no_runtime(f, out))
		return;
	if (!p->path) {
		doctor_say(out, DOCTOR_SKIPPED, "there is no OCI runtime (see runtime)");
	} else if (!f->host.proc_inode) {
		doctor_say(out, DOCTOR_SKIPPED, "/proc is no procfs");
	} else if (f->host.proc_inode == 1) {
		doctor_say(out, DOCTOR_OK, "/proc is inode 1");
	} else if (p->kind == HOST_PROGRAM_SCRIPT) {
		doctor_say(out, DOCTOR_NOTE,
			   "/proc is inode %llu: crun and runc 1.1 take that, newer ones do not; "
			   "what %s runs cannot be told",
			   (unsigned long long)f->host.proc_inode, p->path);
	} else if (host_program_has(f->sysroot, p, "incorrect procfs root inode")) {
		doctor_say(out, DOCTOR_ERROR,
			   "/proc is inode %llu, and %s takes nothing but 1 (\"unsafe procfs "
			   "detected\")",
			   (unsigned long long)f->host.proc_inode, p->path);
		use_crun(f, out);
	} else {
		doctor_say(out, DOCTOR_OK, "/proc is inode %llu, and %s does not mind",
			   (unsigned long long)f->host.proc_inode, p->path);
	}
}

/* ---- single files --------------------------------------------------------------------------- */

void doctor_cap_last_cap(const struct doctor_facts *f, struct doctor_finding *out)
{
	if (f->host.last_cap >= 0) {
		doctor_say(out, DOCTOR_OK, "%d", f->host.last_cap);
		return;
	}
	doctor_say(out, DOCTOR_ERROR,
		   "/proc/sys/kernel/cap_last_cap is missing: runc cannot set capabilities");
	doctor_run(out, "mount -t proc proc %s/proc   # or a runsc of 2024 or later: 2022 has none",
		   f->sysroot);
}

void doctor_kmsg(const struct doctor_facts *f, struct doctor_finding *out)
{
	if (f->host.kmsg) {
		doctor_say(out, DOCTOR_OK, "/dev/kmsg is there");
		return;
	}
	doctor_say(out, f->host.kubelet.present ? DOCTOR_ERROR : DOCTOR_NOTE,
		   "/dev/kmsg is missing: a kubelet ends at once");
	/* The kubelet takes its end for the end of kernel messages, and goes on. */
	doctor_run(out, "ln -s /dev/null %s/dev/kmsg", f->sysroot);
}

void doctor_propagation(const struct doctor_facts *f, struct doctor_finding *out)
{
	const struct host_mount *m = host_mount_of(&f->host, "/");

	if (!m) {
		doctor_say(out, DOCTOR_SKIPPED, "/proc/self/mountinfo cannot be read");
	} else if (m->shared) {
		doctor_say(out, DOCTOR_OK, "/ is shared");
	} else {
		doctor_say(out, DOCTOR_WARNING,
			   "/ is %s: mounts that pods share with the host fail "
			   "(\"not a shared mount\")",
			   m->slave ? "a slave" : "private");
		doctor_run(out, "mount --make-rshared /");
	}
}
