/* SPDX-License-Identifier: Apache-2.0 */
/* What trees take that share files. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "snapshot/snapshot.h"
#include "tests/unit/unit.h"

static struct k3_err err;

static uint64_t put(int at, const char *name, size_t n)
{
	K3_AUTO_FREE char *text = k3_xcalloc(1, n);
	int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	struct stat st;

	OK(k3_write_all(fd, text, n, name, &err));
	/* Blocks that are not on disk yet may not be counted yet. */
	OK(k3_fsync(fd, name, &err));
	CHECK(!fstat(fd, &st));
	OK(k3_close(&fd, name, &err));
	return (uint64_t)st.st_blocks * 512;
}

static uint64_t blocks(int at, const char *name)
{
	struct stat st;

	if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW))
		abort();
	return (uint64_t)st.st_blocks * 512;
}

struct sums {
	uint64_t bytes[8], inodes[8]; /* by the set of trees, as bits */
};

static int take(void *arg, const size_t *trees, size_t n, const struct snap_usage *sum,
		struct k3_err *e)
{
	struct sums *s = arg;
	unsigned set = 0;

	(void)e;
	for (size_t k = 0; k < n; k++) {
		CHECK(!k || trees[k] > trees[k - 1]);
		set |= 1u << trees[k];
	}
	EQ_INT(s->inodes[set & 7], 0); /* each set is told once */
	s->bytes[set & 7] = sum->bytes;
	s->inodes[set & 7] = sum->inodes;
	return 0;
}

static void add(struct snap_disk *d, int at, const char *name)
{
	size_t number;
	int fd;

	OK(k3_open_dir(at, name, &fd, &err));
	OK(snap_disk_add(d, fd, NULL, &number, &err));
	k3_closep(&fd);
}

TEST(what_is_shared_counts_once_for_those_who_share_it)
{
	K3_AUTO_FD int at = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct snap_disk *d = snap_disk_new();
	struct sums got = { 0 };
	uint64_t all, two, own, twice;

	CHECK(!mkdirat(at, "a", 0755) && !mkdirat(at, "b", 0755) && !mkdirat(at, "c", 0755) &&
	      !mkdirat(at, "b/sub", 0755));
	all = put(at, "a/all", 10000);
	two = put(at, "a/two", 20000);
	own = put(at, "a/own", 30000);
	twice = put(at, "c/twice", 40000);
	CHECK(!linkat(at, "a/all", at, "b/all", 0) && !linkat(at, "a/all", at, "c/all", 0));
	CHECK(!linkat(at, "a/two", at, "b/sub/two", 0) && !linkat(at, "a/two", at, "b/again", 0));
	/* Two names in one tree only, and a name outside of all. */
	CHECK(!linkat(at, "c/twice", at, "c/second", 0));
	CHECK(!linkat(at, "a/own", at, "outside", 0));
	add(d, at, "a");
	add(d, at, "b");
	add(d, at, "c");
	OK(snap_disk_each(d, take, &got, &err));
	snap_disk_free(d);

	EQ_INT(got.inodes[1], 2);
	EQ_INT(got.bytes[1], own + blocks(at, "a"));
	EQ_INT(got.inodes[2], 2);
	EQ_INT(got.bytes[2], blocks(at, "b") + blocks(at, "b/sub"));
	EQ_INT(got.inodes[3], 1);
	EQ_INT(got.bytes[3], two);
	EQ_INT(got.inodes[4], 2);
	EQ_INT(got.bytes[4], twice + blocks(at, "c"));
	EQ_INT(got.inodes[7], 1);
	EQ_INT(got.bytes[7], all);
	EQ_INT(got.inodes[5] + got.inodes[6], 0);
}

TEST(many_trees_of_one_file)
{
	K3_AUTO_FD int at = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct snap_disk *d = snap_disk_new();
	struct sums got = { 0 };
	char name[32];

	put(at, "file", 1);
	for (int k = 0; k < 100; k++) {
		snprintf(name, sizeof(name), "%d", k);
		CHECK(!mkdirat(at, name, 0755));
		snprintf(name, sizeof(name), "%d/file", k);
		CHECK(!linkat(at, "file", at, name, 0));
		snprintf(name, sizeof(name), "%d", k);
		if (k < 3)
			add(d, at, name);
	}
	OK(snap_disk_each(d, take, &got, &err));
	snap_disk_free(d);
	EQ_INT(got.inodes[7], 1);
	EQ_INT(got.inodes[1] + got.inodes[2] + got.inodes[4], 3);
}

UNIT_MAIN
