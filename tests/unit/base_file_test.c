/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

/* A fresh test directory, opened. */
static int open_tmp(void)
{
	struct k3_err err;
	int fd = -1;

	OK(k3_open_dir(AT_FDCWD, unit_tmpdir(), &fd, &err));
	return fd;
}

static void put_file(int dir, const char *name, const char *text)
{
	struct k3_err err;
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	OK(k3_write_all(fd, text, strlen(text), name, &err));
	OK(k3_fsync(fd, name, &err));
	OK(k3_close(&fd, name, &err));
	EQ_INT(fd, -1);
}

static bool exists(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

TEST(file_read)
{
	K3_AUTO_FD int dir = open_tmp();
	K3_AUTO_BUF struct k3_buf b = K3_BUF(6);
	struct k3_err err;

	put_file(dir, "a", "abc");
	put_file(dir, "empty", "");
	OK(k3_read_file(dir, "a", &b, &err));
	OK(k3_read_file(dir, "empty", &b, &err));
	OK(k3_read_file(dir, "a", &b, &err));
	EQ_STR((char *)b.p, "abcabc");
	FAILS(k3_read_file(dir, "a", &b, &err), K3_LIMIT);
	HAS_STR(err.msg, "a: ");
	FAILS(k3_read_file(dir, "none", &b, &err), K3_NOTFOUND);
	FAILS(k3_read_file(dir, "a/none", &b, &err), K3_NOTFOUND);
	FAILS(k3_read_file(dir, ".", &b, &err), K3_IO);
	EQ_INT(err.sys, EISDIR);
	OK(k3_syncfs(dir, "tmp", &err));
}

TEST(file_write_and_close_report)
{
	struct k3_err err;
	int bad = open("/dev/full", O_WRONLY | O_CLOEXEC);

	FAILS(k3_write_all(bad, "x", 1, "it", &err), K3_NOSPC);
	HAS_STR(err.msg, "cannot write it");
	OK(k3_write_all(bad, NULL, 0, "it", &err));
	OK(k3_close(&bad, "it", &err));
	int closed = 1000000;

	FAILS(k3_close(&closed, "it", &err), K3_IO);
	EQ_INT(closed, -1);
	FAILS(k3_fsync(-1, "it", &err), K3_IO);
	FAILS(k3_syncfs(-1, "it", &err), K3_IO);
}

TEST(file_dirs)
{
	K3_AUTO_FD int dir = open_tmp();
	K3_AUTO_FD int made = -1, again = -1;
	struct k3_err err;
	struct stat st;
	int none = -1;

	OK(k3_make_dir(dir, "d", 0711, &made, &err));
	EQ_INT(fstat(made, &st), 0);
	EQ_INT(st.st_mode & 07777, 0711);
	/* One that was there keeps its mode. */
	OK(k3_make_dir(dir, "d", 0755, &again, &err));
	EQ_INT(fstat(again, &st), 0);
	EQ_INT(st.st_mode & 07777, 0711);
	put_file(dir, "f", "");
	FAILS(k3_make_dir(dir, "f", 0755, &none, &err), K3_IO);
	FAILS(k3_make_dir(dir, "x/y", 0755, &none, &err), K3_IO);
	FAILS(k3_open_dir(dir, "f", &none, &err), K3_IO);
	FAILS(k3_open_dir(dir, "none", &none, &err), K3_NOTFOUND);
	EQ_INT(none, -1);
}

/* The mode is exactly what was asked for, whatever the umask. */
TEST(file_dirs_ignore_umask)
{
	K3_AUTO_FD int dir = open_tmp();
	K3_AUTO_FD int fd = -1;
	mode_t old = umask(077);
	struct k3_err err;
	struct stat st;

	OK(k3_make_dir(dir, "d", 0755, &fd, &err));
	umask(old);
	EQ_INT(fstat(fd, &st), 0);
	EQ_INT(st.st_mode & 07777, 0755);
}

TEST(file_make_dirs)
{
	const char *tmp = unit_tmpdir();
	K3_AUTO_FREE char *deep = k3_xasprintf("%s//a/b///c/", tmp);
	K3_AUTO_FREE char *file = k3_xasprintf("%s/f", tmp);
	K3_AUTO_FREE char *below = k3_xasprintf("%s/f/x", tmp);
	struct k3_err err;
	struct stat st;

	OK(k3_make_dirs(deep, 0700, &err));
	EQ_INT(stat(deep, &st), 0);
	OK(k3_make_dirs(deep, 0700, &err));
	OK(k3_make_dirs("/", 0700, &err));
	put_file(AT_FDCWD, file, "");
	FAILS(k3_make_dirs(file, 0700, &err), K3_IO);
	FAILS(k3_make_dirs(below, 0700, &err), K3_IO);
}

TEST(file_rename_new)
{
	K3_AUTO_FD int dir = open_tmp();
	K3_AUTO_BUF struct k3_buf b = K3_BUF(100);
	struct k3_err err;

	put_file(dir, "a", "A");
	put_file(dir, "b", "B");
	FAILS(k3_rename_new(dir, "a", dir, "b", &err), K3_IO);
	EQ_INT(err.sys, EEXIST);
	OK(k3_rename_new(dir, "a", dir, "c", &err));
	FAILS(k3_rename_new(dir, "a", dir, "d", &err), K3_IO);
	EQ_INT(err.sys, ENOENT);
	OK(k3_read_file(dir, "b", &b, &err));
	OK(k3_read_file(dir, "c", &b, &err));
	EQ_STR((char *)b.p, "BA");
}

TEST(file_remove_tree)
{
	K3_AUTO_FD int dir = open_tmp();
	struct k3_err err;
	char name[32];

	EQ_INT(mkdirat(dir, "t", 0755), 0);
	EQ_INT(mkdirat(dir, "t/empty", 0755), 0);
	EQ_INT(mkdirat(dir, "t/full", 0755), 0);
	EQ_INT(mkdirat(dir, "kept", 0755), 0);
	put_file(dir, "kept/f", "");
	EQ_INT(symlinkat("../kept", dir, "t/link"), 0);
	EQ_INT(symlinkat("/nowhere", dir, "t/full/dangling"), 0);
	EQ_INT(mkfifoat(dir, "t/full/fifo", 0600), 0);
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "t/full/f%d", i);
		put_file(dir, name, "");
		snprintf(name, sizeof(name), "t/d%d", i);
		EQ_INT(mkdirat(dir, name, 0755), 0);
	}
	OK(k3_remove_tree(dir, "t", &err));
	CHECK(!exists(dir, "t"));
	CHECK(exists(dir, "kept/f"));
	OK(k3_remove_tree(dir, "t", &err));
	OK(k3_remove_tree(dir, "kept/f", &err));
	EQ_INT(symlinkat("kept", dir, "link"), 0);
	OK(k3_remove_tree(dir, "link", &err));
	CHECK(!exists(dir, "link"));
	CHECK(exists(dir, "kept"));
}

/* Deeper than PATH_MAX and than any file descriptor limit. */
TEST(file_remove_deep_tree)
{
	K3_AUTO_FD int dir = open_tmp();
	int at = dup(dir);
	struct k3_err err;

	for (int i = 0; i < 3000 && at >= 0; i++) {
		CHECK(mkdirat(at, "dddd", 0755) == 0);
		int next = openat(at, "dddd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		close(at);
		at = next;
	}
	CHECK(at >= 0);
	put_file(at, "f", "");
	close(at);
	OK(k3_remove_tree(dir, "dddd", &err));
	CHECK(!exists(dir, "dddd"));
}

UNIT_MAIN
