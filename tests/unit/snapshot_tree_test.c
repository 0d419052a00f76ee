/* SPDX-License-Identifier: Apache-2.0 */
/* Clones, usage, publishing. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/fsroot.h"
#include "base/mem.h"
#include "snapshot/snapshot.h"
#include "tests/unit/unit.h"

static struct k3_err err;
static int stage;

static void open_stage(void)
{
	if (stage > 0)
		close(stage);
	stage = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void put(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	OK(k3_write_all(fd, text, strlen(text), name, &err));
	OK(k3_close(&fd, name, &err));
}

static void set_times(int dir, const char *name, time_t t)
{
	const struct timespec times[2] = { { t, 1 }, { t, 2 } };

	if (utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW))
		abort();
}

/* A tree with one of everything. */
static struct snap_tree *make_parent(void)
{
	struct snap_tree *t;

	OK(snap_begin(stage, "parent", -1, SNAP_HARDLINK, NULL, &t, &err));
	int fd = snap_rootfd(t);

	CHECK(!snap_is_shared(t));
	CHECK(!mkdirat(fd, "d", 0755) && !mkdirat(fd, "d/e", 0755));
	put(fd, "d/file", "content");
	put(fd, "single", "single");
	CHECK(!linkat(fd, "d/file", fd, "d/e/second", 0));
	CHECK(!symlinkat("nowhere", fd, "d/link"));
	CHECK(!mkfifoat(fd, "fifo", 0640));
	CHECK(!fchmodat(fd, "d", 02770, 0));
	if (!geteuid())
		CHECK(!fchownat(fd, "d/e", 12, 34, 0));
	set_times(fd, "d/file", 100);
	set_times(fd, "d/link", 200);
	set_times(fd, "fifo", 300);
	set_times(fd, "d/e", 400);
	set_times(fd, "d", 500);
	set_times(fd, ".", 600);
	return t;
}

static struct stat look(int dir, const char *name)
{
	struct stat st = { 0 };

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		unit_fail(__FILE__, __LINE__, "%s: %s", name, strerror(errno));
	return st;
}

static void same_attrs(int a, int b, const char *name)
{
	struct stat x = look(a, name), y = look(b, name);

	EQ_INT(y.st_mode, x.st_mode);
	EQ_INT(y.st_uid, x.st_uid);
	EQ_INT(y.st_gid, x.st_gid);
	EQ_INT(y.st_mtim.tv_sec, x.st_mtim.tv_sec);
	EQ_INT(y.st_mtim.tv_nsec, x.st_mtim.tv_nsec);
	EQ_INT(y.st_size, x.st_size);
}

static void check_clone(int a, int b, bool shared)
{
	static const char *const names[] = { "d",      "d/e",  "d/file", "d/e/second",
					     "d/link", "fifo", "single", "." };

	for (size_t i = 0; i < K3_ARRAY_LEN(names); i++)
		same_attrs(a, b, names[i]);
	EQ_INT(look(b, "d/file").st_ino, look(b, "d/e/second").st_ino);
	EQ_INT(look(a, "single").st_ino == look(b, "single").st_ino, shared);
	EQ_INT(look(a, "fifo").st_ino == look(b, "fifo").st_ino, shared);
	CHECK(look(a, "d").st_ino != look(b, "d").st_ino);
}

static void clone_with(enum snap_share share)
{
	struct snap_tree *parent, *t;
	struct snap_usage usage;

	open_stage();
	parent = make_parent();
	OK(snap_seal(parent, &usage, &err));
	EQ_INT(usage.inodes, 7); /* ., d, d/e, file, single, link, fifo */
	OK(snap_begin(stage, "child", snap_rootfd(parent), share, NULL, &t, &err));
	EQ_INT(snap_is_shared(t), share == SNAP_HARDLINK);
	check_clone(snap_rootfd(parent), snap_rootfd(t), share == SNAP_HARDLINK);
	put(snap_rootfd(t), "own", "x");
	OK(snap_seal(t, &usage, &err));
	EQ_INT(usage.inodes, share == SNAP_HARDLINK ? 4 : 8);
	snap_free(t);
	snap_free(parent);
}

TEST(clone_by_hard_link)
{
	clone_with(SNAP_HARDLINK);
}

TEST(clone_by_reflink_or_copy)
{
	clone_with(SNAP_REFLINK);
}

TEST(clone_by_copy)
{
	clone_with(SNAP_COPY);
}

TEST(clones_of_clones_keep_groups_when_copied)
{
	struct snap_tree *parent, *t, *u;

	open_stage();
	parent = make_parent();
	OK(snap_begin(stage, "t", snap_rootfd(parent), SNAP_HARDLINK, NULL, &t, &err));
	OK(snap_begin(stage, "u", snap_rootfd(t), SNAP_COPY, NULL, &u, &err));
	check_clone(snap_rootfd(t), snap_rootfd(u), false);
	EQ_INT(look(snap_rootfd(u), "d/file").st_nlink, 2);
	EQ_INT(look(snap_rootfd(u), "single").st_nlink, 1);
	snap_free(u);
	snap_free(t);
	snap_free(parent);
}

TEST(directory_xattrs_are_copied)
{
	struct snap_tree *parent, *t;

	open_stage();
	parent = make_parent();
	int fd = openat(snap_rootfd(parent), "d/e", O_RDONLY | O_CLOEXEC);

	if (fsetxattr(fd, "user.k", "value", 5, 0) == 0) {
		OK(snap_begin(stage, "t", snap_rootfd(parent), SNAP_HARDLINK, NULL, &t, &err));
		int copy = openat(snap_rootfd(t), "d/e", O_RDONLY | O_CLOEXEC);

		EQ_INT(fgetxattr(copy, "user.k", NULL, 0), 5);
		close(copy);
		snap_free(t);
	}
	close(fd);
	snap_free(parent);
}

TEST(deep_trees_are_cloned)
{
	struct snap_tree *parent, *t;
	struct snap_usage usage, cloned;

	open_stage();
	OK(snap_begin(stage, "parent", -1, SNAP_HARDLINK, NULL, &parent, &err));
	int fd = dup(snap_rootfd(parent));

	for (int i = 0; i < 400; i++) {
		CHECK(!mkdirat(fd, "d", 0755));
		put(fd, "f", "x");
		int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		set_times(fd, "d", 1000 + i);
		close(fd);
		fd = next;
	}
	close(fd);
	for (int share = SNAP_HARDLINK; share <= SNAP_COPY; share += SNAP_COPY) {
		OK(snap_begin(stage, "t", snap_rootfd(parent), (enum snap_share)share, NULL, &t,
			      &err));
		OK(snap_seal(t, &cloned, &err));
		EQ_INT(cloned.inodes, share == SNAP_HARDLINK ? 401 : 801);
		EQ_INT(look(snap_rootfd(t), "d/d/d/d/d/d/d/d/d").st_mtim.tv_sec,
		       look(snap_rootfd(parent), "d/d/d/d/d/d/d/d/d").st_mtim.tv_sec);
		snap_free(t);
	}
	OK(snap_seal(parent, &usage, &err));
	EQ_INT(usage.inodes, 801);
	snap_free(parent);
}

TEST(usage_counts_blocks)
{
	struct snap_tree *t;
	struct snap_usage usage;
	char data[10000] = { 1 };

	open_stage();
	OK(snap_begin(stage, "t", -1, SNAP_HARDLINK, NULL, &t, &err));
	int fd = openat(snap_rootfd(t), "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	OK(k3_write_all(fd, data, sizeof(data), "f", &err));
	OK(k3_fsync(fd, "f", &err));
	close(fd);
	OK(snap_seal(t, &usage, &err));
	EQ_INT(usage.bytes,
	       512 * (look(snap_rootfd(t), "f").st_blocks + look(snap_rootfd(t), ".").st_blocks));
	snap_free(t);
}

TEST(publishing)
{
	struct snap_tree *t;
	struct snap_usage usage;

	open_stage();
	CHECK(!mkdirat(stage, "dest", 0755) && !mkdirat(stage, "dest/taken", 0755));
	int dest = openat(stage, "dest", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	OK(snap_begin(stage, "t", -1, SNAP_HARDLINK, NULL, &t, &err));
	put(snap_rootfd(t), "f", "x");
	FAILS(snap_publish(t, dest, "7", &err), K3_BUG);
	OK(snap_seal(t, &usage, &err));
	FAILS(snap_publish(t, dest, "taken", &err), K3_IO);
	OK(snap_publish(t, dest, "7", &err));
	snap_free(t);
	EQ_INT(look(dest, "7/f").st_size, 1);
	EQ_INT(faccessat(stage, "t", F_OK, 0), -1);
	close(dest);
}

TEST(leftovers_and_unpublished_trees_go)
{
	struct snap_tree *t;

	open_stage();
	CHECK(!mkdirat(stage, "t", 0755) && !mkdirat(stage, "t/old", 0755));
	OK(snap_begin(stage, "t", -1, SNAP_HARDLINK, NULL, &t, &err));
	EQ_INT(faccessat(stage, "t/old", F_OK, 0), -1);
	EQ_INT(look(stage, "t").st_mode & 07777, 0755);
	put(snap_rootfd(t), "f", "x");
	snap_free(t);
	EQ_INT(faccessat(stage, "t", F_OK, 0), -1);
	snap_free(NULL);
}

TEST(cancelled)
{
	const struct k3_err why = { .code = K3_CANCELLED, .msg = "interrupted" };
	struct k3_cancel *c = k3_cancel_new();
	struct snap_tree *parent, *t;
	char name[16];

	open_stage();
	parent = make_parent();
	for (int i = 0; i < 1100; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		put(snap_rootfd(parent), name, "");
	}
	k3_cancel_raise(c, &why);
	FAILS(snap_begin(stage, "t", snap_rootfd(parent), SNAP_HARDLINK, c, &t, &err),
	      K3_CANCELLED);
	EQ_INT(faccessat(stage, "t", F_OK, 0), -1);
	snap_free(parent);
	k3_cancel_free(c);
}

UNIT_MAIN
