/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "host/parse.h"

#define OOM_LEAST (-1000)

/* The version that gVisor's kernel tells unless it is told another. */
#define GVISOR_VERSION "#1 SMP Sun Jan 10 15:06:54 PST 2016"

static bool is_there(const char *sysroot, const char *name)
{
	K3_AUTO_FREE char *path = host_path(sysroot, name);
	struct stat st;

	return !lstat(path, &st);
}

static bool is_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = strstr(list, word); at; at = strstr(at + 1, word))
		if ((at == list || strchr(" ,\t\n", at[-1])) &&
		    (!at[len] || strchr(" ,\t\n", at[len])))
			return true;
	return false;
}

static bool has_hugetlb(const char *sysroot, const struct host_mount *m)
{
	if (!strcmp(m->type, "cgroup"))
		return is_word(m->options, "hugetlb");
	if (strcmp(m->type, "cgroup2") != 0)
		return false;
	K3_AUTO_FREE char *list = k3_xasprintf("%s/cgroup.controllers", m->point);
	K3_AUTO_FREE char *have = host_text(sysroot, list, HOST_FILE_MAX);

	return have && is_word(have, "hugetlb");
}

static void read_cgroups(const char *sysroot, struct host_container *out)
{
	K3_AUTO_FREE char *text = host_text(sysroot, "/proc/self/mountinfo", HOST_MOUNTINFO_MAX);
	__attribute__((cleanup(host_release))) struct host host = { 0 };
	struct k3_err ignored;

	if (!text || host_parse_mounts(text, &host, &ignored))
		return;
	out->cgroup = host.cgroups > HOST_CGROUPS_NONE;
	for (size_t k = 0; k < host.nmounts; k++)
		out->hugetlb = out->hugetlb || has_hugetlb(sysroot, &host.mounts[k]);
}

static bool kmsg_is_missing(const char *sysroot)
{
	K3_AUTO_FREE char *path = host_path(sysroot, "/dev/kmsg");
	char to[16];
	ssize_t n = readlink(path, to, sizeof(to));

	return (n < 0 && errno == ENOENT) || (n == 9 && !memcmp(to, "/dev/null", 9));
}

void host_read_container(const char *sysroot, struct host_container *out)
{
	static const char apparmor[] = "/sys/module/apparmor/parameters/enabled";
	K3_AUTO_FREE char *version = host_text(sysroot, "/proc/version", HOST_FILE_MAX);
	K3_AUTO_FREE char *enabled = host_text(sysroot, apparmor, HOST_FILE_MAX);

	*out = (struct host_container){ .oom_min = OOM_LEAST, .rlimits = UINT32_MAX };
	snprintf(out->proc, sizeof(out->proc), "%s/proc", sysroot);
	out->gvisor = version && (strstr(version, GVISOR_VERSION) || strcasestr(version, "gvisor"));
	read_cgroups(sysroot, out);
	out->cgroup_ns = is_there(sysroot, "/proc/self/ns/cgroup");
	out->time_ns = is_there(sysroot, "/proc/self/ns/time");
	out->apparmor = enabled && enabled[0] == 'Y';
	out->selinux = is_there(sysroot, "/sys/fs/selinux/enforce");
	out->no_kmsg = kmsg_is_missing(sysroot);
}

static bool write_score(int fd, int score)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", score);

	return pwrite(fd, text, (size_t)n, 0) == n;
}

void host_probe_container(struct host_container *f)
{
	K3_AUTO_FD int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	char text[16] = "";

	if (fd >= 0 && pread(fd, text, sizeof(text) - 1, 0) > 0) {
		int now = (int)strtol(text, NULL, 10);

		/* Raising it again is always allowed. */
		if (!write_score(fd, OOM_LEAST) || !write_score(fd, now))
			f->oom_min = now;
	}
	f->rlimits = 0;
	for (unsigned i = 0; i < HOST_RLIMITS; i++) {
		struct rlimit limit;

		if (!getrlimit(i, &limit) && !setrlimit(i, &limit))
			f->rlimits |= 1u << i;
	}
}
