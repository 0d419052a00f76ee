/* SPDX-License-Identifier: Apache-2.0 */
#include "base/replace.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "tests/unit/unit.h"

static struct k3_err err;

static char *below(const char *dir, const char *name)
{
	return k3_xasprintf("%s/%s", dir, name);
}

static void write_to(const char *path, const char *text)
{
	struct k3_place p;

	OK(k3_place_open(path, &p, &err));
	OK(k3_place_write(&p, text, strlen(text), 0600, &err));
	k3_place_release(&p);
}

static void expect(const char *path, const char *text, mode_t mode)
{
	K3_AUTO_BUF struct k3_buf got = K3_BUF(100);
	struct stat st = { 0 };

	OK(k3_read_file(AT_FDCWD, path, &got, &err));
	EQ_STR((const char *)got.p, text);
	EQ_INT(stat(path, &st), 0);
	EQ_INT(st.st_mode & 07777, mode);
}

static int count(const char *dir)
{
	DIR *d = opendir(dir);
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n - 2;
}

TEST(new_and_old_files)
{
	const char *dir = unit_tmpdir();
	K3_AUTO_FREE char *deep = below(dir, "a/b/file"), *parent = below(dir, "a/b");
	struct stat st = { 0 };

	write_to(deep, "one");
	expect(deep, "one", 0600);
	EQ_INT(stat(parent, &st), 0);
	EQ_INT(st.st_mode & 0777, 0700);
	chmod(deep, 0644);
	write_to(deep, "two");
	expect(deep, "two", 0600);
	EQ_INT(count(parent), 1);
}

TEST(symlinks_are_followed)
{
	const char *dir = unit_tmpdir();
	K3_AUTO_FREE char *file = below(dir, "file"), *link = below(dir, "link");
	struct stat st = { 0 };

	write_to(file, "one");
	EQ_INT(symlink("file", link), 0);
	write_to(link, "two");
	expect(file, "two", 0600);
	EQ_INT(lstat(link, &st), 0);
	CHECK(S_ISLNK(st.st_mode));
	EQ_INT(count(dir), 2);
}

TEST(what_is_no_file)
{
	const char *dir = unit_tmpdir();
	K3_AUTO_FREE char *dangling = below(dir, "dangling"), *slash = below(dir, "none/");
	const char *const bad[] = { dir, "/dev/null", dangling, slash };

	EQ_INT(symlink("nowhere", dangling), 0);
	for (size_t i = 0; i < K3_ARRAY_LEN(bad); i++) {
		struct k3_place p;

		FAILS(k3_place_open(bad[i], &p, &err), K3_USAGE);
		k3_place_release(&p);
	}
	EQ_INT(count(dir), 1);
}

TEST(a_failure_leaves_the_old_one)
{
	const char *dir = unit_tmpdir();
	K3_AUTO_FREE char *file = below(dir, "file"), *gone = below(dir, "gone");
	struct k3_place p;

	write_to(file, "one");
	OK(k3_place_open(file, &p, &err));
	EQ_INT(rename(file, gone), 0);
	EQ_INT(mkdir(file, 0700), 0);
	FAILS(k3_place_write(&p, "two", 3, 0600, &err), K3_IO);
	k3_place_release(&p);
	expect(gone, "one", 0600);
	EQ_INT(count(dir), 2);
}

UNIT_MAIN
