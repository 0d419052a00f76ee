/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "setup/setup.h"
#include "tests/unit/unit.h"

#define OUT_MAX 65536

/* What no test machine lacks has no say here. */
static const struct host_container all = {
	.cgroup = true,
	.hugetlb = true,
	.cgroup_ns = true,
	.time_ns = true,
	.apparmor = true,
	.selinux = true,
	.oom_min = -1000,
	.rlimits = UINT32_MAX,
	.proc = "/proc",
};

static const char spec[] =
	"{\"ociVersion\":\"1.1.0\",\"process\":{\"args\":[\"/pause\"],\"rlimits\":["
	"{\"type\":\"RLIMIT_NOFILE\",\"hard\":18446744073709551615,\"soft\":1024},"
	"{\"type\":\"RLIMIT_MEMLOCK\",\"hard\":1,\"soft\":1}],\"apparmorProfile\":\"p\","
	"\"oomScoreAdj\":-998,\"selinuxLabel\":\"l\",\"x\":1.50},"
	"\"mounts\":[{\"type\":\"proc\"},{\"type\":\"cgroup\"}],"
	"\"linux\":{\"resources\":{\"cpu\":{\"shares\":2},\"hugepageLimits\":[]},"
	"\"sysctl\":{\"kernel.hostname\":\"a\",\"net.no.such\":\"1\",\"net/no.such\":\"2\"},"
	"\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"cgroup\"},{\"type\":\"time\"}],"
	"\"mountLabel\":\"m\",\"timeOffsets\":{\"monotonic\":{}}},\"unknown\":[1e3,null]}";

static const char *fitted(const char *text, const struct host_container *f, struct k3_buf *out,
			  bool *changed)
{
	struct k3_err err;

	k3_buf_reset(out);
	OK(setup_spec_fit(text, strlen(text), f, out, changed, &err));
	return (const char *)out->p;
}

TEST(nothing_lacks)
{
	static const char text[] = "{\"linux\":{\"sysctl\":{\"kernel.hostname\":\"a\"}}}";
	K3_AUTO_BUF struct k3_buf out = K3_BUF(OUT_MAX);
	bool changed;

	EQ_STR(fitted(text, &all, &out, &changed), text);
	CHECK(!changed);
}

TEST(everything_lacks)
{
	struct host_container none = { .proc = "/proc", .rlimits = 1u << 7 };
	K3_AUTO_BUF struct k3_buf out = K3_BUF(OUT_MAX);
	bool changed;

	EQ_STR(fitted(spec, &none, &out, &changed),
	       "{\"ociVersion\":\"1.1.0\",\"process\":{\"args\":[\"/pause\"],\"rlimits\":["
	       "{\"type\":\"RLIMIT_NOFILE\",\"hard\":18446744073709551615,\"soft\":1024}],"
	       "\"oomScoreAdj\":0,\"x\":1.50},\"mounts\":[{\"type\":\"proc\"}],"
	       "\"linux\":{\"sysctl\":{\"kernel.hostname\":\"a\"},"
	       "\"namespaces\":[{\"type\":\"pid\"}]},\"unknown\":[1e3,null]}");
	CHECK(changed);
}

static bool keeps(const struct host_container *f, const char *part)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(OUT_MAX);
	bool changed;

	return strstr(fitted(spec, f, &out, &changed), part);
}

TEST(one_thing_lacks)
{
	struct host_container f = all;

	CHECK(keeps(&f, "hugepageLimits") &&
	      keeps(&f, "{\"type\":\"cgroup\"},{\"type\":\"time\"}"));
	f.hugetlb = false;
	CHECK(!keeps(&f, "hugepageLimits") && keeps(&f, "\"shares\":2"));
	f = all;
	f.cgroup_ns = false;
	CHECK(keeps(&f, "{\"type\":\"pid\"},{\"type\":\"time\"}") && keeps(&f, "shares"));
	CHECK(keeps(&f, "{\"type\":\"proc\"},{\"type\":\"cgroup\"}"));
	f = all;
	f.oom_min = -998;
	CHECK(keeps(&f, "\"oomScoreAdj\":-998"));
	f.oom_min = -997;
	CHECK(keeps(&f, "\"oomScoreAdj\":-997"));
	f = all;
	f.apparmor = false;
	CHECK(!keeps(&f, "apparmorProfile") && keeps(&f, "selinuxLabel") &&
	      keeps(&f, "mountLabel"));
	f = all;
	f.selinux = false;
	CHECK(keeps(&f, "apparmorProfile") && !keeps(&f, "selinuxLabel") &&
	      !keeps(&f, "mountLabel"));
}

TEST(bundle_keeps_the_original_and_its_mode)
{
	K3_AUTO_FREE char *dir = k3_xasprintf("%s/bundle", unit_tmpdir());
	K3_AUTO_FREE char *file = k3_xasprintf("%s/config.json", dir);
	K3_AUTO_FREE char *original = k3_xasprintf("%s.k3simg", file);
	K3_AUTO_BUF struct k3_buf text = K3_BUF(OUT_MAX);
	struct host_container none = { .proc = "/proc" };
	struct k3_err err;
	struct stat st, again;

	CHECK(!mkdir(dir, 0755));
	OK(setup_bundle_fit(dir, &none, &err)); /* no config.json: the runtime says it */
	int fd = open(file, O_WRONLY | O_CREAT, 0600);

	OK(k3_write_all(fd, spec, strlen(spec), file, &err));
	OK(k3_close(&fd, file, &err));
	OK(setup_bundle_fit(dir, &none, &err));
	OK(k3_read_file(AT_FDCWD, original, &text, &err));
	EQ_STR((char *)text.p, spec);
	CHECK(!stat(file, &st));
	EQ_INT(st.st_mode & 07777, 0600);
	OK(setup_bundle_fit(dir, &none, &err));
	CHECK(!stat(file, &again) && again.st_ino == st.st_ino);
	fd = open(file, O_WRONLY | O_TRUNC);
	OK(k3_write_all(fd, "{", 1, file, &err));
	OK(k3_close(&fd, file, &err));
	FAILS(setup_bundle_fit(dir, &none, &err), K3_FORMAT);
	HAS_STR(err.msg, "config.json: not valid JSON");
}

/* ---- arguments, runtime -------------------------------------------------------------------- */

static void args_of(const char *const *words, struct setup_runtime_args *out)
{
	int n = 0;

	while (words[n])
		n++;
	setup_runtime_args(n, (char *const *)(uintptr_t)words, out);
}

TEST(arguments_of_a_runtime)
{
	struct setup_runtime_args a;

	args_of((const char *[]){ "--root", "/run/x", "--log", "/l.json", "--log-format", "json",
				  "create", "--bundle", "/b", "--pid-file", "/p", "id", NULL },
		&a);
	EQ_STR(a.command, "create");
	EQ_STR(a.bundle, "/b");
	EQ_STR(a.log, "/l.json");
	args_of((const char *[]){ "--log=/m", "--systemd-cgroup", "--cgroup-manager=disabled",
				  "run", "-b", "/c", "id", NULL },
		&a);
	EQ_STR(a.command, "run");
	EQ_STR(a.bundle, "/c");
	EQ_STR(a.log, "/m");
	args_of((const char *[]){ "run", "--bundle=/d", "id", NULL }, &a);
	EQ_STR(a.bundle, "/d");
	args_of((const char *[]){ "restore", "id", NULL }, &a);
	EQ_STR(a.bundle, ".");
	args_of((const char *[]){ "--root", "create", "state", "--bundle", "x", NULL }, &a);
	EQ_STR(a.command, "state");
	EQ_STR(a.bundle, NULL);
	args_of((const char *[]){ "--version", NULL }, &a);
	EQ_STR(a.command, NULL);
	args_of((const char *[]){ "--log", NULL }, &a);
	EQ_STR(a.log, NULL);
}

static const char *victim_of(const char *const *words)
{
	struct setup_runtime_args a;

	args_of(words, &a);
	return a.victim;
}

TEST(who_gets_sigkill)
{
	struct setup_runtime_args a;

	args_of((const char *[]){ "--root=/r", "--log", "/l", "kill", "--all", "pod", "9", NULL },
		&a);
	EQ_STR(a.victim, "pod");
	EQ_STR(a.root, "/r");
	EQ_STR(a.bundle, NULL);
	EQ_STR(victim_of((const char *[]){ "kill", "pod", "SIGKILL", NULL }), "pod");
	EQ_STR(victim_of((const char *[]){ "kill", "pod", "KILL", NULL }), "pod");
	EQ_STR(victim_of((const char *[]){ "kill", "pod", "15", NULL }), NULL);
	EQ_STR(victim_of((const char *[]){ "kill", "pod", NULL }), NULL);
	EQ_STR(victim_of((const char *[]){ "kill", "9", NULL }), NULL);
	EQ_STR(victim_of((const char *[]){ "delete", "--force", "pod", NULL }), "pod");
	EQ_STR(victim_of((const char *[]){ "delete", "pod", NULL }), NULL);
	EQ_STR(victim_of((const char *[]){ "exec", "pod", "9", NULL }), NULL);
	EQ_STR(victim_of((const char *[]){ "kill", NULL }), NULL);
}

static void put_program(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);

	CHECK(fd >= 0 && !close(fd));
}

TEST(runtime_is_found)
{
	const char *top = unit_tmpdir();
	K3_AUTO_FREE char *dir = k3_xasprintf("%s/bin", top);
	K3_AUTO_FREE char *crun = k3_xasprintf("%s/crun", dir);
	K3_AUTO_FREE char *runc = k3_xasprintf("%s/runc", dir);
	K3_AUTO_FREE char *path = k3_xasprintf("/no/such:%s", dir);
	K3_AUTO_FREE char *front = k3_xasprintf("%s/usr/local/lib/k3simg/k3simg-oci-runtime", top);
	K3_AUTO_FREE char *etc = k3_xasprintf("%s/etc/k3simg", top);
	K3_AUTO_FREE char *choice = k3_xasprintf("%s/runtime", etc);
	char *got = NULL;
	struct k3_err err;

	CHECK(!mkdir(dir, 0755));
	FAILS(setup_runtime_find(front, NULL, path, &got, &err), K3_NOTFOUND);
	HAS_STR(err.hint, "setup --runtime");
	put_program(runc);
	OK(setup_runtime_find(front, NULL, path, &got, &err));
	EQ_STR(got, runc);
	k3_freep(&got);
	put_program(crun);
	OK(setup_runtime_find(front, "", path, &got, &err));
	EQ_STR(got, crun);
	k3_freep(&got);
	OK(setup_runtime_find(front, "runc", path, &got, &err));
	EQ_STR(got, runc);
	k3_freep(&got);
	OK(k3_make_dirs(etc, 0755, &err));
	int fd = open(choice, O_WRONLY | O_CREAT, 0644);

	OK(k3_write_all(fd, "# comment\n\nrunc \n", 17, choice, &err));
	OK(k3_close(&fd, choice, &err));
	OK(setup_runtime_find(front, NULL, path, &got, &err));
	EQ_STR(got, runc);
	k3_freep(&got);
	/* called by another name it is that of / */
	OK(setup_runtime_find("k3simg", crun, path, &got, &err));
	EQ_STR(got, crun);
	k3_freep(&got);
	FAILS(setup_runtime_find(front, "/no/such/runtime", path, &got, &err), K3_NOTFOUND);
	HAS_STR(err.msg, "$K3SIMG_RUNTIME");
	FAILS(setup_runtime_find(front, "/proc/self/exe", path, &got, &err), K3_NOTFOUND);
}

TEST(crun_is_told_of_missing_cgroups)
{
	static const char *const words[] = { "create", "id" };
	struct host_container f = { .cgroup = false };
	char *const *argv = (char *const *)(uintptr_t)words;
	K3_AUTO_FREE char **crun = setup_runtime_argv("/x/crun", &f, 2, argv);
	K3_AUTO_FREE char **runc = setup_runtime_argv("/x/runc", &f, 2, argv);

	f.cgroup = true;
	K3_AUTO_FREE char **plain = setup_runtime_argv("/x/crun", &f, 2, argv);

	EQ_STR(crun[0], "/x/crun");
	EQ_STR(crun[1], "--cgroup-manager=disabled");
	EQ_STR(crun[2], "create");
	EQ_STR(crun[3], "id");
	EQ_STR(crun[4], NULL);
	EQ_STR(runc[1], "create");
	EQ_STR(plain[1], "create");
	EQ_STR(plain[3], NULL);
}

UNIT_MAIN
