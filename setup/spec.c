/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json_text.h"
#include "base/mem.h"
#include "setup/files.h"
#include "setup/setup.h"

#define SPEC_NAME "config.json"
#define SPEC_ORIGINAL "config.json.k3simg"

static void drop_member(struct k3_jt *t, uint32_t obj, const char *key)
{
	k3_jt_drop(t, k3_jt_get(t, obj, key));
}

static bool lacks_namespace(const struct host_container *f, const struct k3_jt *t, uint32_t at)
{
	uint32_t type = k3_jt_get(t, at, "type");

	/* A cgroup namespace without a hierarchy to show in it is of no use, and crun wants one. */
	return (k3_jt_is(t, type, "cgroup") && !(f->cgroup && f->cgroup_ns)) ||
	       (k3_jt_is(t, type, "time") && !f->time_ns);
}

static void fit_namespaces(const struct host_container *f, struct k3_jt *t, uint32_t linux_)
{
	uint32_t list = k3_jt_get(t, linux_, "namespaces");

	for (uint32_t at = k3_jt_first(t, list); at != K3_JT_NONE; at = k3_jt_next(t, at))
		if (lacks_namespace(f, t, at))
			k3_jt_drop(t, at);
	if (!f->time_ns)
		drop_member(t, linux_, "timeOffsets");
}

static void fit_mounts(const struct host_container *f, struct k3_jt *t)
{
	uint32_t list = k3_jt_get(t, 0, "mounts");

	if (f->cgroup)
		return;
	for (uint32_t at = k3_jt_first(t, list); at != K3_JT_NONE; at = k3_jt_next(t, at)) {
		uint32_t type = k3_jt_get(t, at, "type");

		if (k3_jt_is(t, type, "cgroup") || k3_jt_is(t, type, "cgroup2"))
			k3_jt_drop(t, at);
	}
}

static void fit_resources(const struct host_container *f, struct k3_jt *t, uint32_t linux_)
{
	if (!f->cgroup)
		drop_member(t, linux_, "resources");
	else if (!f->hugetlb)
		drop_member(t, k3_jt_get(t, linux_, "resources"), "hugepageLimits");
}

/* "net.ipv4.ip_forward", or with slashes, where dots are part of a name (sysctl(8)). */
static bool has_sysctl(const struct host_container *f, const char *name)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s/sys/%s", f->proc, name);
	size_t first = strcspn(name, "./");
	struct stat st;

	if (name[first] == '.')
		for (char *c = path + strlen(f->proc) + sizeof("/sys"); *c; c++)
			*c = *c == '.' ? '/' : *c == '/' ? '.' : *c;
	return !stat(path, &st) || errno != ENOENT;
}

static void fit_sysctls(const struct host_container *f, struct k3_jt *t, uint32_t linux_)
{
	uint32_t all = k3_jt_get(t, linux_, "sysctl");

	for (uint32_t at = k3_jt_first(t, all); at != K3_JT_NONE; at = k3_jt_next(t, at)) {
		K3_AUTO_FREE char *name = k3_jt_key(t, at);

		if (name && !has_sysctl(f, name))
			k3_jt_drop(t, at);
	}
}

static const struct {
	const char *name;
	int resource;
} rlimits[] = {
	{ "RLIMIT_AS", RLIMIT_AS },
	{ "RLIMIT_CORE", RLIMIT_CORE },
	{ "RLIMIT_CPU", RLIMIT_CPU },
	{ "RLIMIT_DATA", RLIMIT_DATA },
	{ "RLIMIT_FSIZE", RLIMIT_FSIZE },
	{ "RLIMIT_LOCKS", RLIMIT_LOCKS },
	{ "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
	{ "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
	{ "RLIMIT_NICE", RLIMIT_NICE },
	{ "RLIMIT_NOFILE", RLIMIT_NOFILE },
	{ "RLIMIT_NPROC", RLIMIT_NPROC },
	{ "RLIMIT_RSS", RLIMIT_RSS },
	{ "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
	{ "RLIMIT_RTTIME", RLIMIT_RTTIME },
	{ "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING },
	{ "RLIMIT_STACK", RLIMIT_STACK },
};

static void fit_rlimits(const struct host_container *f, struct k3_jt *t, uint32_t process)
{
	uint32_t list = k3_jt_get(t, process, "rlimits");

	for (uint32_t at = k3_jt_first(t, list); at != K3_JT_NONE; at = k3_jt_next(t, at)) {
		uint32_t type = k3_jt_get(t, at, "type");

		for (size_t i = 0; i < K3_ARRAY_LEN(rlimits); i++)
			if (k3_jt_is(t, type, rlimits[i].name) &&
			    !(f->rlimits & 1u << rlimits[i].resource))
				k3_jt_drop(t, at);
	}
}

static void fit_process(const struct host_container *f, struct k3_jt *t)
{
	uint32_t process = k3_jt_get(t, 0, "process");
	uint32_t score = k3_jt_get(t, process, "oomScoreAdj");
	int64_t v;

	if (!f->apparmor)
		drop_member(t, process, "apparmorProfile");
	if (!f->selinux)
		drop_member(t, process, "selinuxLabel");
	if (k3_jt_int(t, score, &v) && v < f->oom_min) {
		char text[16];

		snprintf(text, sizeof(text), "%d", f->oom_min);
		k3_jt_replace(t, score, text);
	}
	fit_rlimits(f, t, process);
}

int setup_spec_fit(const void *text, size_t n, const struct host_container *f, struct k3_buf *out,
		   bool *changed, struct k3_err *e)
{
	K3_AUTO_JT struct k3_jt t = { 0 };

	if (k3_jt_parse(text, n, &t, e))
		return -1;
	uint32_t linux_ = k3_jt_get(&t, 0, "linux");

	fit_process(f, &t);
	fit_mounts(f, &t);
	fit_namespaces(f, &t, linux_);
	fit_resources(f, &t, linux_);
	fit_sysctls(f, &t, linux_);
	if (!f->selinux)
		drop_member(&t, linux_, "mountLabel");
	*changed = k3_jt_changed(&t);
	return k3_jt_write(&t, out, e);
}

int setup_bundle_fit(const char *bundle, const struct host_container *f, struct k3_err *e)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s/" SPEC_NAME, bundle);
	K3_AUTO_FREE char *original = k3_xasprintf("%s/" SPEC_ORIGINAL, bundle);
	K3_AUTO_BUF struct k3_buf was = K3_BUF(SETUP_SPEC_MAX), is = K3_BUF(SETUP_SPEC_MAX);
	struct stat st;
	bool changed;

	if (stat(path, &st))
		return errno == ENOENT ? 0 : k3_fail_sys(e, errno, "cannot look at %s", path);
	if (k3_read_file(AT_FDCWD, path, &was, e))
		return -1;
	if (setup_spec_fit(was.p, was.len, f, &is, &changed, e))
		return k3_wrap(e, "%s", path);
	if (!changed)
		return 0;
	if (file_replace(original, was.p, was.len, st.st_mode & 07777, e))
		return -1;
	return file_replace(path, is.p, is.len, st.st_mode & 07777, e);
}
