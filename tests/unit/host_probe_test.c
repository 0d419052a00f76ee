/* SPDX-License-Identifier: Apache-2.0 */
/* What file systems can do, and how a refusal is reported when the kernel has no such call. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/thread.h"
#include "host/host.h"

static size_t entries(const char *path)
{
	DIR *d = opendir(path);
	size_t n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* What every file system that tests run on can do, whoever runs them. */
static void is_usual(const char *dir)
{
	K3_AUTO_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct host_space space;
	struct host_fs fs;
	struct k3_err err;
	uint64_t start = k3_now_ms();

	OK(host_probe_fs(fd, &fs, &err));
	CHECK(k3_now_ms() - start < 2000);
	CHECK(host_fs_can(&fs, HOST_FS_LINK));
	CHECK(host_fs_can(&fs, HOST_FS_LINK_COHERENT));
	CHECK(host_fs_can(&fs, HOST_FS_FIFO));
	CHECK(host_fs_can(&fs, HOST_FS_SPECIAL_MODE));
	CHECK(host_fs_can(&fs, HOST_FS_FLOCK));
	CHECK(host_fs_can(&fs, HOST_FS_SHARED_MAP));
	if (!geteuid())
		CHECK(host_fs_can(&fs, HOST_FS_CHOWN));
	else
		EQ_INT(fs.refused[HOST_FS_CHOWN], EPERM);
	EQ_INT(entries(dir), 2);
	OK(host_read_space(fd, &space, &err));
	CHECK(space.bytes >= space.free);
	CHECK(space.free > 0);
}

TEST(here)
{
	is_usual(unit_tmpdir());
}

TEST(on_shared_memory)
{
	char dir[] = "/dev/shm/k3simg-unit-XXXXXX";

	if (!mkdtemp(dir))
		return;
	is_usual(dir);
	CHECK(!rmdir(dir));
}

TEST(names)
{
	for (enum host_fs_ability k = 0; k < HOST_FS_ABILITIES; k++)
		CHECK(host_fs_name(k) && *host_fs_name(k));
	EQ_STR(host_fs_name(HOST_FS_LINK), "hard-links");
}

/* From now on these calls fail as in gVisor. */
static bool refuse_calls(void)
{
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define FAIL_WITH(call, errnum)                                                                    \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),                                           \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (errnum))
	struct sock_filter code[] = {
		LOAD(nr),
		FAIL_WITH(SYS_openat2, ENOSYS),
		FAIL_WITH(SYS_copy_file_range, ENOSYS),
		FAIL_WITH(SYS_renameat2, EINVAL),
		FAIL_WITH(SYS_fsetxattr, EOPNOTSUPP),
		FAIL_WITH(SYS_mknodat, EPERM),
		FAIL_WITH(SYS_linkat, EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = K3_ARRAY_LEN(code), .filter = code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void refused_child(const char *dir)
{
	static const struct {
		enum host_fs_ability what;
		int errnum;
	} want[] = {
		{ HOST_FS_OPENAT2, ENOSYS },
		{ HOST_FS_COPY_RANGE, ENOSYS },
		{ HOST_FS_RENAME_NOREPLACE, EINVAL },
		{ HOST_FS_RENAME_EXCHANGE, EINVAL },
		{ HOST_FS_XATTR_USER, EOPNOTSUPP },
		{ HOST_FS_XATTR_SECURITY, EOPNOTSUPP },
		{ HOST_FS_DEVICE, EPERM },
		{ HOST_FS_FIFO, EPERM },
		{ HOST_FS_LINK, EPERM },
		{ HOST_FS_FLOCK, 0 },
	};
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct host_fs fs;
	struct k3_err err;

	if (!refuse_calls())
		_exit(100);
	if (host_probe_fs(fd, &fs, &err))
		_exit(101);
	for (size_t k = 0; k < K3_ARRAY_LEN(want); k++)
		if (fs.refused[want[k].what] != want[k].errnum)
			_exit((int)k + 1);
	_exit(0);
}

TEST(calls_that_the_kernel_has_not)
{
	const char *dir = unit_tmpdir();
	int status = 0;
	pid_t pid = fork();

	if (!pid)
		refused_child(dir);
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	/* 100: a sandbox that has no seccomp either. */
	if (WEXITSTATUS(status) != 100)
		EQ_INT(WEXITSTATUS(status), 0);
	EQ_INT(entries(dir), 2);
}

TEST(nothing_can_be_tried)
{
	K3_AUTO_FD int fd = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct host_fs fs;
	struct k3_err err = { 0 };

	CHECK(host_probe_fs(fd, &fs, &err));
	HAS_STR(err.msg, "cannot make a directory to try the file system in");
}

TEST(overlay)
{
	const char *dir = unit_tmpdir();
	K3_AUTO_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct k3_err err;
	int refused = -1;

	OK(host_probe_overlay(fd, &refused, &err));
	CHECK(refused >= 0);
	if (geteuid())
		CHECK(refused > 0);
	EQ_INT(entries(dir), 2);
}

UNIT_MAIN
