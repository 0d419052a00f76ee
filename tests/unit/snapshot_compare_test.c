/* SPDX-License-Identifier: Apache-2.0 */
/* Each kind of difference between two trees is told once, with its path. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/mem.h"
#include "snapshot/snapshot.h"

struct trees {
	const char *dir;
	int want, have;
	struct snap_compare *c;
	char *told; /* "<path>: <what>\n" … */
	size_t n;
};

static void write_file(int dir, const char *path, const char *text)
{
	int fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void set_time(int dir, const char *path, time_t when)
{
	const struct timespec ts[2] = { { .tv_sec = when }, { .tv_sec = when, .tv_nsec = 5 } };

	CHECK(!utimensat(dir, path, ts, AT_SYMLINK_NOFOLLOW));
}

static void fill(int dir)
{
	CHECK(!mkdirat(dir, "d", 0755) && !mkdirat(dir, "d/deep", 0700));
	write_file(dir, "d/deep/file", "content");
	write_file(dir, "d/one", "linked");
	CHECK(!linkat(dir, "d/one", dir, "d/two", 0));
	write_file(dir, "d/other", "linked");
	CHECK(!symlinkat("d/one", dir, "link"));
	CHECK(!mknodat(dir, "pipe", S_IFIFO | 0600, 0));
	write_file(dir, "empty", "");
	for (const char *const *p = (const char *const[]){ "d/deep/file", "d/one", "d/other",
							   "link", "pipe", "empty", NULL };
	     *p; p++)
		set_time(dir, *p, 1000);
}

static int make_tree(const char *dir, const char *name)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s/%s", dir, name);
	int fd;

	CHECK(!mkdir(path, 0755));
	fd = open(path, O_RDONLY | O_DIRECTORY);
	CHECK(fd >= 0);
	fill(fd);
	return fd;
}

static void begin(struct trees *t)
{
	const char *dir = unit_tmpdir();

	*t = (struct trees){ .dir = dir,
			     .want = make_tree(dir, "want"),
			     .have = make_tree(dir, "have"),
			     .c = snap_compare_new() };
}

static void end(struct trees *t)
{
	snap_compare_free(t->c);
	free(t->told);
	close(t->want);
	close(t->have);
}

static int take(void *arg, const char *path, const char *what, struct k3_err *e)
{
	struct trees *t = arg;
	char *old = t->told;

	(void)e;
	t->told = k3_xasprintf("%s%s: %s\n", old ? old : "", path, what);
	t->n++;
	free(old);
	return 0;
}

static const char *told(const struct trees *t)
{
	return t->told ? t->told : "";
}

/* The differences as text; "" when there are none. */
static const char *differences(struct trees *t)
{
	struct k3_err err;

	free(t->told);
	t->told = NULL;
	t->n = 0;
	OK(snap_compare(t->c, t->want, t->have, NULL, take, t, &err));
	return told(t);
}

TEST(equal_trees)
{
	struct trees t;

	begin(&t);
	EQ_STR(differences(&t), "");
	/* Times of directories are no part of it. */
	set_time(t.have, "d", 5);
	EQ_STR(differences(&t), "");
	end(&t);
}

TEST(a_file_is_read_again_when_it_changed)
{
	struct trees t;

	begin(&t);
	EQ_STR(differences(&t), "");
	write_file(t.have, "d/deep/file", "cOntent");
	set_time(t.have, "d/deep/file", 1000);
	EQ_STR(differences(&t), "d/deep/file: content differs from byte 1 on\n");
	EQ_STR(differences(&t), "d/deep/file: content differs from byte 1 on\n");
	write_file(t.have, "d/deep/file", "content");
	set_time(t.have, "d/deep/file", 1000);
	EQ_STR(differences(&t), "");
	end(&t);
}

TEST(attributes)
{
	struct trees t;

	begin(&t);
	CHECK(!fchmodat(t.have, "empty", 04755, 0));
	EQ_STR(differences(&t), "empty: mode is 4755 instead of 0644\n");
	CHECK(!fchmodat(t.have, "empty", 0644, 0));
	CHECK(!fchmodat(t.have, "d/deep", 0755, 0));
	EQ_STR(differences(&t), "d/deep: mode is 0755 instead of 0700\n");
	CHECK(!fchmodat(t.have, "d/deep", 0700, 0));
	set_time(t.have, "pipe", 0);
	EQ_STR(differences(&t), "pipe: modification time is 1970-01-01T00:00:00.000000005Z instead "
				"of 1970-01-01T00:16:40.000000005Z\n");
	set_time(t.have, "pipe", 1000);
	CHECK(!fchmod(t.have, 0711));
	EQ_STR(differences(&t), ": mode is 0711 instead of 0755\n");
	end(&t);
}

TEST(owners)
{
	struct trees t;

	begin(&t);
	if (geteuid() == 0) {
		CHECK(!fchownat(t.have, "link", 3, 4, AT_SYMLINK_NOFOLLOW));
		EQ_STR(differences(&t), "link: owner is 3:4 instead of 0:0\n");
	}
	end(&t);
}

TEST(entries)
{
	struct trees t;

	begin(&t);
	CHECK(!unlinkat(t.have, "d/other", 0));
	EQ_STR(differences(&t), "d/other: is missing\n");
	write_file(t.have, "d/new", "x");
	CHECK(!renameat(t.have, "d/new", t.have, "d/deep/new"));
	differences(&t);
	EQ_INT(t.n, 2);
	HAS_STR(told(&t), "d/deep/new: is none of the image's\n");
	CHECK(!unlinkat(t.have, "d/deep/new", 0) && !unlinkat(t.have, "d/deep/file", 0) &&
	      !unlinkat(t.have, "d/deep", AT_REMOVEDIR));
	/* What lies below something that is missing is not told. */
	differences(&t);
	EQ_INT(t.n, 2);
	HAS_STR(told(&t), "d/deep: is missing\n");
	CHECK(!symlinkat("..", t.have, "d/deep"));
	differences(&t);
	HAS_STR(told(&t), "d/deep: is a symbolic link instead of a directory\n");
	end(&t);
}

TEST(inside)
{
	struct trees t;

	begin(&t);
	CHECK(!unlinkat(t.have, "link", 0) && !symlinkat("d/two", t.have, "link"));
	set_time(t.have, "link", 1000);
	EQ_STR(differences(&t), "link: symbolic link leads to \"d/two\" instead of \"d/one\"\n");
	CHECK(!unlinkat(t.have, "link", 0) && !symlinkat("d/one", t.have, "link"));
	set_time(t.have, "link", 1000);
	write_file(t.have, "empty", "1");
	set_time(t.have, "empty", 1000);
	EQ_STR(differences(&t), "empty: has 1 bytes instead of 0\n");
	end(&t);
}

TEST(hard_links)
{
	struct trees t;
	int other;

	begin(&t);
	/* Names in other trees are no matter. */
	other = make_tree(t.dir, "other");
	CHECK(!linkat(t.have, "d/other", other, "elsewhere", 0));
	EQ_STR(differences(&t), "");
	CHECK(!unlinkat(t.have, "d/two", 0));
	write_file(t.have, "d/two", "linked");
	set_time(t.have, "d/two", 1000);
	differences(&t);
	EQ_INT(t.n, 1);
	HAS_STR(told(&t), "is no hard link to the file that it should be one of\n");
	CHECK(!unlinkat(t.have, "d/two", 0) && !unlinkat(t.have, "d/other", 0));
	CHECK(!linkat(t.have, "d/one", t.have, "d/two", 0) &&
	      !linkat(t.have, "d/one", t.have, "d/other", 0));
	differences(&t);
	HAS_STR(told(&t), "is a hard link to a file that is another one\n");
	close(other);
	end(&t);
}

TEST(extended_attributes)
{
	struct trees t;
	int want, have;

	begin(&t);
	want = openat(t.want, "d/one", O_RDONLY);
	have = openat(t.have, "d/one", O_RDONLY);
	if (!fsetxattr(want, "trusted.k3simg", "a", 1, 0)) {
		differences(&t);
		HAS_STR(told(&t), ": extended attribute trusted.k3simg is missing\n");
		CHECK(!fsetxattr(have, "trusted.k3simg", "b", 1, 0));
		differences(&t);
		HAS_STR(told(&t), ": extended attribute trusted.k3simg has another value\n");
		CHECK(!fremovexattr(want, "trusted.k3simg"));
		differences(&t);
		HAS_STR(told(&t), ": extended attribute trusted.k3simg is none of the image's\n");
		EQ_INT(t.n, 1);
	} else {
		/* Not as root, or a file system that has none. */
		CHECK(errno == EPERM || errno == ENOTSUP);
	}
	close(want);
	close(have);
	end(&t);
}

/* Deeper than descriptors reach: the way back is by "..". */
TEST(deep)
{
	struct trees t;
	int dirs[2];

	begin(&t);
	dirs[0] = dup(t.want);
	dirs[1] = dup(t.have);
	for (int k = 0; k < 1500; k++)
		for (int s = 0; s < 2; s++) {
			int below;

			CHECK(!mkdirat(dirs[s], "x", 0755));
			below = openat(dirs[s], "x", O_RDONLY | O_DIRECTORY);
			close(dirs[s]);
			dirs[s] = below;
		}
	write_file(dirs[0], "end", "");
	differences(&t);
	EQ_INT(t.n, 1);
	HAS_STR(told(&t), "/x/x/end: is missing\n");
	close(dirs[0]);
	close(dirs[1]);
	end(&t);
}

UNIT_MAIN
