/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of CRI and the log of a container, as they are and as they should not be. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cri/answer.h"
#include "cri/log.h"

static struct grpc_val of(const struct grpc_msg *m)
{
	struct k3_err err;

	OK(grpc_done(m, &err));
	struct grpc_val v = { m->buf.p, m->buf.len };

	OK(grpc_check(v, &err));
	return v;
}

/* ---- images ------------------------------------------------------------------------- */

TEST(an_image)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	struct cri_image im;
	size_t at = grpc_open(&m, 1);

	grpc_put_str(&m, 1, "sha256:1234");
	grpc_add_str(&m, 2, "docker.io/library/a:1");
	grpc_put_u64(&m, 8, 1);
	grpc_close(&m, at);
	grpc_put_pair(&m, 2, "other", "{}");
	grpc_put_pair(&m, 2, "info", "{\"chainID\":\"sha256:abcd\",\"imageSpec\":{}}");
	cri_image_parse(of(&m), &im);
	CHECK(im.found && im.pinned);
	EQ_STR(im.id, "sha256:1234");
	EQ_STR(im.chain_id, "sha256:abcd");
	cri_image_release(&im);
}

TEST(an_image_that_is_not_there_or_says_little)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	struct cri_image im;

	cri_image_parse((struct grpc_val){ NULL, 0 }, &im);
	CHECK(!im.found && !im.id);
	cri_image_release(&im);
	grpc_close(&m, grpc_open(&m, 1));
	grpc_put_pair(&m, 2, "info", "{\"chainID\":7");
	cri_image_parse(of(&m), &im);
	CHECK(im.found && !im.pinned);
	EQ_STR(im.chain_id, "");
	cri_image_release(&im);
}

/* ---- the runtime -------------------------------------------------------------------- */

static void put_condition(struct grpc_msg *m, const char *type, bool status, const char *message)
{
	size_t at = grpc_open(m, 1);

	grpc_put_str(m, 1, type);
	grpc_put_u64(m, 2, status);
	grpc_put_str(m, 4, message);
	grpc_close(m, at);
}

static void runtime(const char *config, bool network, struct cri_runtime *out)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	size_t at = grpc_open(&m, 1);

	put_condition(&m, "RuntimeReady", true, NULL);
	put_condition(&m, "NetworkReady", network, network ? NULL : "cni plugin not initialized");
	grpc_close(&m, at);
	grpc_put_pair(&m, 2, "golang", "\"go1.24\"");
	grpc_put_pair(&m, 2, "config", config);
	cri_runtime_parse(of(&m), out);
}

TEST(the_runtime)
{
	struct cri_runtime r;

	runtime("{\"containerd\":{\"defaultRuntimeName\":\"runc\",\"runtimes\":{\"runc\":{"
		"\"options\":{\"SystemdCgroup\":true}},\"x\":{}}},\"sandboxImage\":\"a/pause:1\"}",
		false, &r);
	CHECK(!r.network_ready && r.systemd_cgroup);
	EQ_STR(r.pause, "a/pause:1");
	EQ_STR(r.network_message, "cni plugin not initialized");
	cri_runtime_release(&r);
	/* containerd 2.x does not tell the pause image; another runtime's options do not count */
	runtime("{\"containerd\":{\"defaultRuntimeName\":\"runc\",\"runtimes\":{\"runc\":{"
		"\"options\":null},\"x\":{\"options\":{\"SystemdCgroup\":true}}}}}",
		true, &r);
	CHECK(r.network_ready && !r.systemd_cgroup && !r.pause && !r.network_message);
	cri_runtime_release(&r);
	runtime("{\"systemdCgroup\":true,\"containerd\":{\"defaultRuntimeName\":\"runc\"}}", true,
		&r);
	CHECK(r.systemd_cgroup);
	cri_runtime_release(&r);
}

TEST(a_runtime_that_says_nothing)
{
	static const char *const configs[] = { "", "{", "[]", "{\"containerd\":7}", "null" };

	for (size_t i = 0; i < K3_ARRAY_LEN(configs); i++) {
		struct cri_runtime r;

		runtime(configs[i], true, &r);
		CHECK(!r.pause && !r.systemd_cgroup);
		cri_runtime_release(&r);
	}
}

/* ---- containers --------------------------------------------------------------------- */

static void container(uint64_t state, int exit_code, const char *reason, struct cri_container *out)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	size_t at = grpc_open(&m, 1);

	grpc_put_u64(&m, 3, state);
	grpc_put_u64(&m, 7, (uint64_t)(int64_t)exit_code);
	grpc_put_str(&m, 10, reason);
	grpc_close(&m, at);
	cri_container_parse(of(&m), out);
}

TEST(a_container)
{
	struct cri_container c;

	container(1, 0, NULL, &c);
	EQ_INT(c.state, CRI_RUNNING);
	EQ_STR(c.reason, "");
	cri_container_release(&c);
	container(2, 137, "OOMKilled", &c);
	EQ_INT(c.state, CRI_EXITED);
	EQ_INT(c.exit_code, 137);
	EQ_STR(c.reason, "OOMKilled");
	cri_container_release(&c);
	container(2, -1, NULL, &c);
	EQ_INT(c.exit_code, -1);
	cri_container_release(&c);
	container(UINT64_MAX, 0, NULL, &c);
	EQ_INT(c.state, CRI_UNKNOWN);
	cri_container_release(&c);
	cri_container_parse((struct grpc_val){ NULL, 0 }, &c);
	EQ_INT(c.state, CRI_UNKNOWN);
	EQ_STR(c.message, "");
	cri_container_release(&c);
}

/* ---- logs --------------------------------------------------------------------------- */

static void is_log(const char *log, bool cut, size_t max, const char *want)
{
	K3_AUTO_FREE char *got = cri_log_text(log, strlen(log), cut, max);

	EQ_STR(got, want);
}

#define T "2026-01-02T03:04:05.678901234Z "

TEST(logs)
{
	is_log("", false, 100, NULL);
	is_log(T "stdout F one\n" T "stderr F two words\n", false, 100, "one\ntwo words\n");
	is_log(T "stdout P hal\n" T "stdout F f\n", false, 100, "half\n");
	is_log(T "stdout F \n" T "stdout F x\n", false, 100, "\nx\n");
	is_log(T "stdout F no end", false, 100, "no end\n");
	is_log("nonsense\n" T "stdout\n" T "stdout F x\n", false, 100, "x\n");
	is_log("the end of a line\n" T "stdout F x\n", true, 100, "x\n");
	is_log("a b c d\n", true, 100, NULL);
	is_log(T "stdout F 123456789\n", false, 4, "789\n");
}

TEST(log_files)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s/log", unit_tmpdir());
	K3_AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	struct k3_err err;

	for (int i = 0; i < 1000; i++)
		OK(k3_write_all(fd, T "stdout F 0123456789\n", strlen(T) + 20, path, &err));
	OK(k3_write_all(fd, T "stdout F the\0end\n", strlen(T) + 17, path, &err));
	K3_AUTO_FREE char *all = cri_log_read(AT_FDCWD, path, 1 << 20);

	EQ_INT(strlen(all), 1000 * 11 + 8);
	K3_AUTO_FREE char *end = cri_log_read(AT_FDCWD, path, 30);

	EQ_STR(end, "0123456789\nthe end\n");
	EQ_STR(cri_log_read(AT_FDCWD, "/nowhere", 30), NULL);
	EQ_STR(cri_log_read(AT_FDCWD, "/", 30), NULL);
}

UNIT_MAIN
