/* SPDX-License-Identifier: Apache-2.0 */
/* Clones and counts are the same on any number of threads, and what the disk says. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/thread.h"
#include "snapshot/snapshot.h"
#include "tests/unit/unit.h"

static const unsigned counts[] = { 1, 2, 4, 16 };
/* Where only what the threads do is of interest, not how many they are. */
static const unsigned some_counts[] = { 1, 4 };
static struct k3_err err;
static int stage;

static void open_stage(void)
{
	if (stage > 0)
		close(stage);
	stage = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* ---- an independent look at a tree --------------------------------------------------- */

struct inode {
	ino_t ino;
	nlink_t nlink;
	uint64_t bytes;
	char *first; /* its first name in sorted order */
	size_t names;
};

struct picture {
	struct k3_buf text; /* a line for each name, sorted */
	struct inode *inodes;
	size_t n, cap;
	struct snap_usage dirs;
};

static void picture_release(struct picture *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->inodes[i].first);
	free(p->inodes);
	k3_buf_release(&p->text);
}

/* The first name of this inode; its address tells groups apart. */
static const char *group(struct picture *p, const struct stat *st, const char *path)
{
	/* Only files with more names are ever looked up again. */
	for (size_t i = st->st_nlink > 1 ? 0 : p->n; i < p->n; i++)
		if (p->inodes[i].ino == st->st_ino) {
			p->inodes[i].names++;
			return p->inodes[i].first;
		}
	p->inodes = k3_xgrow(p->inodes, p->n, &p->cap, sizeof(*p->inodes));
	p->inodes[p->n] = (struct inode){ st->st_ino, st->st_nlink, 512u * (uint64_t)st->st_blocks,
					  k3_xstrdup(path), 1 };
	return p->inodes[p->n++].first;
}

static void add_xattrs(struct picture *p, int dir, const char *name)
{
	char path[600], names[1024], value[256];

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir, name);
	ssize_t n = llistxattr(path, names, sizeof(names));

	for (const char *s = names; s < names + n; s += strlen(s) + 1) {
		ssize_t len = lgetxattr(path, s, value, sizeof(value));

		OK(k3_buf_addf(&p->text, &err, " %s=", s));
		for (ssize_t i = 0; i < len; i++)
			OK(k3_buf_addf(&p->text, &err, "%02x", (unsigned char)value[i]));
	}
}

static void add_name(struct picture *p, int dir, const char *name, const char *path)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW)) {
		unit_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
		return;
	}
	bool is_dir = S_ISDIR(st.st_mode);

	OK(k3_buf_addf(&p->text, &err, "%s %o %u:%u %lld %lld.%09ld %s", path, st.st_mode,
		       st.st_uid, st.st_gid, is_dir ? 0 : (long long)st.st_size,
		       (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
		       is_dir ? "" : group(p, &st, path)));
	add_xattrs(p, dir, name);
	OK(k3_buf_addf(&p->text, &err, "\n"));
	if (is_dir) {
		p->dirs.inodes++;
		p->dirs.bytes += 512u * (uint64_t)st.st_blocks;
	}
}

static void look_into(struct picture *p, int fd, const char *path)
{
	struct dirent **list = NULL;
	int n = scandirat(fd, ".", &list, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		const char *name = list[i]->d_name;

		if (strcmp(name, ".") && strcmp(name, "..")) {
			K3_AUTO_FREE char *sub = k3_xasprintf("%s/%s", path, name);

			add_name(p, fd, name, sub);
			if (list[i]->d_type == DT_DIR) {
				int in = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

				look_into(p, in, sub);
				close(in);
			}
		}
		free(list[i]);
	}
	free(list);
}

static struct picture look(int fd)
{
	struct picture p = { .text = K3_BUF(64u << 20) };

	add_name(&p, fd, ".", "");
	look_into(&p, fd, "");
	return p;
}

/* What is in the tree and nowhere else. */
static struct snap_usage own(const struct picture *p)
{
	struct snap_usage u = p->dirs;

	for (size_t i = 0; i < p->n; i++)
		if (p->inodes[i].names == p->inodes[i].nlink) {
			u.inodes++;
			u.bytes += p->inodes[i].bytes;
		}
	return u;
}

static void check_usage(struct snap_tree *t)
{
	struct picture p = look(snap_rootfd(t));
	struct snap_usage got = { 0 }, want = own(&p);

	OK(snap_seal(t, &got, &err));
	EQ_INT(got.inodes, want.inodes);
	EQ_INT(got.bytes, want.bytes);
	picture_release(&p);
}

/* Says where two pictures differ first. */
static void same_text(const struct picture *got, const struct picture *want)
{
	const char *a = (const char *)got->text.p, *b = (const char *)want->text.p;

	while (*a && *b) {
		size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");

		if (n != m || memcmp(a, b, n) != 0) {
			unit_fail(__FILE__, __LINE__, "got  %.*s\nwant %.*s", (int)n, a, (int)m, b);
			return;
		}
		a += n + 1;
		b += m + 1;
	}
	CHECK(!*a && !*b);
}

/* ---- making trees -------------------------------------------------------------------- */

static unsigned seed;

static unsigned draw(unsigned below)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 16) % below;
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

/* Not every file system takes them; those that do must keep them. */
static void set_dir_xattrs(int fd, unsigned i)
{
	/* version 2; user::rwx, group::r-x, other::--- */
	static const unsigned char acl[] = { 2,    0,   0, 0, 1,   0,   7,   0,   255, 255,
					     255,  255, 4, 0, 5,   0,   255, 255, 255, 255,
					     0x20, 0,   0, 0, 255, 255, 255, 255 };

	if (i % 3 == 0)
		(void)!fsetxattr(fd, "user.k", "value", 5, 0);
	if (i % 3 == 1)
		(void)!fsetxattr(fd, "system.posix_acl_default", acl, sizeof(acl), 0);
}

static void fill(int fd, unsigned depth, int top)
{
	static const mode_t modes[] = { 0755, 0700, 02775, 01777, 0555, 03771, 0311, 0, 06755 };
	char name[32];

	for (unsigned i = 0, n = draw(20); i < n; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		if (draw(8) == 0 && !linkat(top, "group", fd, name, 0))
			continue;
		if (draw(10) == 0) {
			CHECK(!symlinkat("../nowhere", fd, name));
		} else if (draw(20) == 0) {
			CHECK(!mkfifoat(fd, name, 0640));
		} else {
			put(fd, name, name);
			CHECK(!fchmodat(fd, name, modes[draw(5)], 0));
		}
		if (!geteuid() && draw(4) == 0)
			CHECK(!fchownat(fd, name, draw(9), draw(9), AT_SYMLINK_NOFOLLOW));
		set_times(fd, name, (time_t)draw(100000));
	}
	for (unsigned i = 0, n = depth ? 2 + draw(4) : 0; i < n; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		CHECK(!mkdirat(fd, name, 0700));
		int in = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		fill(in, depth - 1, top);
		if (!geteuid() && draw(4) == 0)
			CHECK(!fchown(in, draw(9), draw(9)));
		set_dir_xattrs(in, draw(8));
		CHECK(!fchmod(in, modes[draw(geteuid() ? 6 : (unsigned)K3_ARRAY_LEN(modes))]));
		set_times(in, ".", (time_t)draw(100000));
		close(in);
	}
}

/* About 2,000 entries in 350 directories, with links between them. */
static struct snap_tree *make_parent(void)
{
	struct snap_tree *t;

	OK(snap_begin(stage, "parent", -1, SNAP_HARDLINK, NULL, &t, &err));
	seed = 7;
	put(snap_rootfd(t), "group", "many names");
	fill(snap_rootfd(t), 5, snap_rootfd(t));
	set_times(snap_rootfd(t), ".", 4711);
	return t;
}

/* Without privileges only directories that may be written to can be emptied. */
static void open_up(int fd)
{
	struct dirent **list = NULL;
	int n = geteuid() ? scandirat(fd, ".", &list, NULL, alphasort) : 0;

	for (int i = 0; i < n; i++) {
		const char *name = list[i]->d_name;

		if (list[i]->d_type == DT_DIR && strcmp(name, ".") && strcmp(name, "..")) {
			CHECK(!fchmodat(fd, name, 0700, 0));
			int in = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

			open_up(in);
			close(in);
		}
		free(list[i]);
	}
	free(list);
}

static void drop(struct snap_tree *t)
{
	open_up(snap_rootfd(t));
	snap_free(t);
}

static struct snap_tree *begin(const char *name, struct snap_tree *parent, enum snap_share share,
			       unsigned threads)
{
	struct snap_tree *t = NULL;

	OK(snap_begin_mt(stage, name, snap_rootfd(parent), share, threads, NULL, &t, &err));
	return t;
}

/* What a layer does to a clone. */
static void change(int fd)
{
	struct stat st;

	put(fd, "own", "12345");
	CHECK(!linkat(fd, "own", fd, "own too", 0));
	CHECK(!unlinkat(fd, "group", 0));
	put(fd, "group", "replaced");
	CHECK(!mkdirat(fd, "new", 0755));
	put(fd, "new/file", "x");
	for (unsigned i = 0; i < 20; i++) {
		char name[32], other[64];

		snprintf(name, sizeof(name), "f%u", i);
		snprintf(other, sizeof(other), "new/another f%u", i);
		if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		if (i % 3 == 0)
			CHECK(!linkat(fd, name, fd, other, 0));
		else if (i % 3 == 1)
			CHECK(!renameat(fd, name, fd, other));
		else
			CHECK(!unlinkat(fd, name, 0));
	}
}

static void clones_are_alike(enum snap_share share, const unsigned *on, size_t n)
{
	open_stage();
	struct snap_tree *parent = make_parent();
	struct picture want = look(snap_rootfd(parent));

	CHECK(want.n > 1000 && want.dirs.inodes > 300);
	check_usage(parent);
	for (size_t i = 0; i < n; i++) {
		struct snap_tree *t = begin("t", parent, share, on[i]);
		struct picture got = look(snap_rootfd(t));

		same_text(&got, &want);
		picture_release(&got);
		EQ_INT(snap_is_shared(t), share == SNAP_HARDLINK);
		change(snap_rootfd(t));
		check_usage(t);
		drop(t);
	}
	picture_release(&want);
	drop(parent);
}

TEST(links_are_alike_on_any_number_of_threads)
{
	clones_are_alike(SNAP_HARDLINK, counts, K3_ARRAY_LEN(counts));
}

TEST(reflinks_are_alike_on_any_number_of_threads)
{
	/* Copies, too, on most file systems. */
	clones_are_alike(SNAP_REFLINK, some_counts, K3_ARRAY_LEN(some_counts));
}

TEST(copies_are_alike_on_any_number_of_threads)
{
	clones_are_alike(SNAP_COPY, counts, K3_ARRAY_LEN(counts));
}

/* A directory on another file system, or -1. */
static int other_disk(char path[64])
{
	static const char *const places[] = { "/dev/shm", "/tmp", "/var/tmp", "/run" };
	struct stat here, there;

	for (size_t i = 0; i < K3_ARRAY_LEN(places); i++) {
		snprintf(path, 64, "%s/k3simg-unit.XXXXXX", places[i]);
		if (fstat(stage, &here) || stat(places[i], &there) || here.st_dev == there.st_dev ||
		    !mkdtemp(path))
			continue;
		return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	return -1;
}

TEST(what_cannot_be_linked_from_another_disk_is_copied)
{
	char path[64];

	open_stage();
	struct snap_tree *parent = make_parent(), *t;
	struct picture want = look(snap_rootfd(parent));
	int other = other_disk(path);

	for (size_t i = 0; other >= 0 && i < K3_ARRAY_LEN(some_counts); i++) {
		OK(snap_begin_mt(other, "t", snap_rootfd(parent), SNAP_HARDLINK, some_counts[i],
				 NULL, &t, &err));
		struct picture got = look(snap_rootfd(t));

		/* It may not take all xattrs that the first takes. */
		EQ_INT(got.n, want.n);
		EQ_INT(got.dirs.inodes, want.dirs.inodes);
		picture_release(&got);
		CHECK(!snap_is_shared(t));
		change(snap_rootfd(t));
		check_usage(t);
		drop(t);
	}
	picture_release(&want);
	drop(parent);
	if (other >= 0) {
		close(other);
		OK(k3_remove_tree(AT_FDCWD, path, &err));
	}
}

TEST(a_umask_changes_nothing)
{
	open_stage();
	struct snap_tree *parent = make_parent();
	struct picture want = look(snap_rootfd(parent));

	for (size_t i = 0; i < K3_ARRAY_LEN(some_counts); i++) {
		mode_t before = umask(077);
		struct snap_tree *t = begin("t", parent, SNAP_HARDLINK, some_counts[i]);

		umask(before);
		struct picture got = look(snap_rootfd(t));

		same_text(&got, &want);
		picture_release(&got);
		drop(t);
	}
	picture_release(&want);
	drop(parent);
}

/* A staging directory that hands down its group, its set-gid bit and an ACL. */
TEST(a_staging_directory_with_habits_changes_nothing)
{
	open_stage();
	struct snap_tree *parent = make_parent();
	struct picture want = look(snap_rootfd(parent));

	if (!geteuid())
		CHECK(!fchown(stage, 0, 33));
	CHECK(!fchmod(stage, 02755));
	for (size_t i = 0; i < K3_ARRAY_LEN(some_counts); i++) {
		struct snap_tree *t = begin("t", parent, SNAP_HARDLINK, some_counts[i]);
		struct picture got = look(snap_rootfd(t));

		same_text(&got, &want);
		picture_release(&got);
		drop(t);
	}
	picture_release(&want);
	drop(parent);
}

static void clone_as_nobody(const unsigned *on, size_t n)
{
	struct snap_tree *parent = make_parent();
	struct picture want = look(snap_rootfd(parent));

	for (size_t i = 0; i < n; i++) {
		struct snap_tree *t = begin("t", parent, SNAP_HARDLINK, on[i]);
		struct picture got = look(snap_rootfd(t));

		same_text(&got, &want);
		picture_release(&got);
		check_usage(t);
		drop(t);
	}
	picture_release(&want);
	drop(parent);
}

TEST(without_privileges)
{
	int status = -1;

	open_stage();
	if (geteuid()) {
		clone_as_nobody(counts, K3_ARRAY_LEN(counts));
		return;
	}
	CHECK(!fchown(stage, 65534, 65534));
	pid_t pid = fork();

	if (!pid) {
		int before = unit_failed_checks;

		if (setgid(65534) || setuid(65534))
			_exit(2);
		clone_as_nobody(counts, K3_ARRAY_LEN(counts));
		/* And where the system gives no threads. */
		if (setrlimit(RLIMIT_NPROC, &(struct rlimit){ 0, 0 }))
			_exit(3);
		clone_as_nobody(counts + 2, 1);
		_exit(unit_failed_checks != before);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	EQ_INT(status, 0);
}

/* ---- extreme shapes ------------------------------------------------------------------ */

static struct snap_tree *make_wide(unsigned files, unsigned dirs)
{
	struct snap_tree *t;
	char name[64];

	OK(snap_begin(stage, "parent", -1, SNAP_HARDLINK, NULL, &t, &err));
	int fd = snap_rootfd(t);

	put(fd, "f", "x");
	for (unsigned i = 0; i < files; i++) {
		snprintf(name, sizeof(name), "a file with number %u", i);
		/* Links to few inodes: made quickly, and two thousand to a group. */
		CHECK(!linkat(fd, "f", fd, name, 0));
		if (i % 2000 == 1999) {
			CHECK(!unlinkat(fd, "f", 0));
			put(fd, "f", name);
		}
	}
	for (unsigned i = 0; i < dirs; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		CHECK(!mkdirat(fd, name, 0755));
		snprintf(name, sizeof(name), "d%u/f", i);
		put(fd, name, name);
		snprintf(name, sizeof(name), "d%u/s", i);
		CHECK(!mkdirat(fd, name, 0750));
		snprintf(name, sizeof(name), "d%u", i);
		set_times(fd, name, (time_t)i);
	}
	return t;
}

TEST(wide_directories)
{
	open_stage();
	struct snap_tree *parent = make_wide(4000, 400);
	struct picture want = look(snap_rootfd(parent));

	for (int share = SNAP_HARDLINK; share <= SNAP_COPY; share += SNAP_COPY)
		for (size_t i = 0; i < 3; i++) {
			struct snap_tree *t = begin("t", parent, (enum snap_share)share, counts[i]);
			struct picture got = look(snap_rootfd(t));

			same_text(&got, &want);
			picture_release(&got);
			check_usage(t);
			snap_free(t);
		}
	picture_release(&want);
	snap_free(parent);
}

#define LEVELS 700
#define STEP "a_name" /* 700 of them are longer than PATH_MAX */
#define FEW_FILES 256 /* far fewer descriptors than levels, enough for four threads */

/* On each level a file, one more name of the top's file and a side directory with a file. */
static struct snap_tree *make_deep(void)
{
	struct snap_tree *t;

	OK(snap_begin(stage, "parent", -1, SNAP_HARDLINK, NULL, &t, &err));
	int fd = dup(snap_rootfd(t));

	put(fd, "g", "group");
	for (int i = 0; i < LEVELS; i++) {
		CHECK(!mkdirat(fd, STEP, 0755) && !mkdirat(fd, "side", 0750));
		put(fd, "side/f", "x");
		put(fd, "f", "x");
		int next = openat(fd, STEP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		CHECK(!linkat(fd, "g", next, "g", 0));
		set_times(fd, "side", 500000 + i);
		set_times(fd, STEP, 1000 + i);
		close(fd);
		fd = next;
	}
	close(fd);
	return t;
}

static void check_deep(int rootfd, bool linked)
{
	struct stat st, top, up = { .st_mtim.tv_sec = -1 };
	int fd = dup(rootfd);

	CHECK(!fstatat(fd, "g", &top, 0));
	EQ_INT(top.st_nlink, (LEVELS + 1) * (linked ? 2 : 1));
	for (int i = 0; i < LEVELS; i++) {
		CHECK(!fstatat(fd, "side/f", &st, 0) && !fstatat(fd, "f", &st, 0));
		EQ_INT(st.st_nlink, linked ? 2 : 1);
		CHECK(!fstatat(fd, "side", &st, 0));
		EQ_INT(st.st_mtim.tv_sec, 500000 + i);
		EQ_INT(st.st_mode & 07777, 0750);
		int next = openat(fd, STEP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		CHECK(!fstat(next, &up) && !fstatat(next, "g", &st, 0));
		EQ_INT(st.st_ino, top.st_ino);
		close(fd);
		fd = next;
	}
	/* The last one: whatever is made in a directory changes its time. */
	EQ_INT(up.st_mtim.tv_sec, 1000 + LEVELS - 1);
	close(fd);
}

TEST(deep_trees)
{
	struct snap_usage usage;
	struct rlimit old, few;

	open_stage();
	struct snap_tree *parent = make_deep();

	CHECK(!getrlimit(RLIMIT_NOFILE, &old));
	few = old;
	few.rlim_cur = FEW_FILES;
	CHECK(!setrlimit(RLIMIT_NOFILE, &few));
	for (int share = SNAP_HARDLINK; share <= SNAP_COPY; share += SNAP_COPY)
		for (size_t i = 0; i < 3; i += 2) {
			struct snap_tree *t = begin("t", parent, (enum snap_share)share, counts[i]);

			check_deep(snap_rootfd(t), share == SNAP_HARDLINK);
			OK(snap_seal(t, &usage, &err));
			EQ_INT(usage.inodes,
			       2 * LEVELS + 1 + (share == SNAP_COPY ? 2 * LEVELS + 1 : 0));
			snap_free(t);
		}
	OK(snap_seal(parent, &usage, &err));
	EQ_INT(usage.inodes, 4 * LEVELS + 2);
	snap_free(parent);
	CHECK(!setrlimit(RLIMIT_NOFILE, &old));
}

/* ---- where links end ----------------------------------------------------------------- */

/* Makes names of dir/name until the file system takes no more; false: it takes any number. */
static bool use_up_links(int dir, const char *name)
{
	char other[32];

	for (int i = 0; i < 66000; i++) {
		snprintf(other, sizeof(other), "hog/%d", i);
		if (linkat(dir, name, stage, other, 0)) {
			EQ_INT(errno, EMLINK);
			return true;
		}
	}
	return false;
}

TEST(files_that_have_run_out_of_links_are_copied)
{
	struct picture got, want;
	char name[32];

	open_stage();
	struct snap_tree *parent = make_wide(100, 400);
	int fd = snap_rootfd(parent);

	/* A group of 40 names, and room for 15 more. */
	put(fd, "full", "full");
	for (int i = 0; i < 39; i++) {
		snprintf(name, sizeof(name), "d%d/full", 10 * i);
		CHECK(!linkat(fd, "full", fd, name, 0));
	}
	CHECK(!mkdirat(stage, "hog", 0755));
	if (use_up_links(fd, "full")) {
		for (int i = 0; i < 15; i++) {
			snprintf(name, sizeof(name), "hog/%d", i);
			CHECK(!unlinkat(stage, name, 0));
		}
		want = look(fd);
		for (size_t i = 0; i < 3; i++) {
			struct snap_tree *t = begin("t", parent, SNAP_HARDLINK, counts[i]);
			struct stat st, copy = { 0 };
			int links = 0;

			got = look(snap_rootfd(t));
			EQ_INT(got.dirs.inodes, want.dirs.inodes);
			EQ_INT(got.n, want.n); /* still one file, though some names were linked */
			picture_release(&got);
			CHECK(!fstatat(fd, "full", &st, 0));
			for (int k = -1; k < 39; k++) {
				struct stat is = { 0 };

				snprintf(name, sizeof(name), k < 0 ? "full" : "d%d/full", 10 * k);
				CHECK(!fstatat(snap_rootfd(t), name, &is, 0));
				EQ_INT(is.st_size, 4);
				EQ_INT(is.st_mtim.tv_nsec, st.st_mtim.tv_nsec);
				links += is.st_ino == st.st_ino;
				if (is.st_ino != st.st_ino)
					copy = is;
			}
			EQ_INT(links, 0);
			EQ_INT(copy.st_nlink, 40);
			CHECK(snap_is_shared(t));
			check_usage(t);
			snap_free(t);
		}
		picture_release(&want);
	}
	snap_free(parent);
}

/* ---- failures ------------------------------------------------------------------------ */

static int count_in(const char *dir)
{
	DIR *d = opendir(dir);
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void nothing_left(int fds)
{
	EQ_INT(faccessat(stage, "t", F_OK, 0), -1);
	EQ_INT(count_in("/proc/self/fd"), fds);
}

TEST(the_first_failure_stops_all_threads)
{
	struct rlimit old, few;
	struct snap_tree *t;

	open_stage();
	struct snap_tree *parent = make_wide(100, 1000);
	int fd = openat(snap_rootfd(parent), "d500/s", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* Deeper than the descriptors reach. */
	for (int i = 0; i < 30; i++) {
		CHECK(!mkdirat(fd, "d", 0755));
		int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		close(fd);
		fd = next;
	}
	close(fd);
	int fds = count_in("/proc/self/fd");

	CHECK(!getrlimit(RLIMIT_NOFILE, &old));
	few = old;
	few.rlim_cur = (rlim_t)fds + 20;
	for (size_t i = 0; i < K3_ARRAY_LEN(counts); i++) {
		CHECK(!setrlimit(RLIMIT_NOFILE, &few));
		FAILS(snap_begin_mt(stage, "t", snap_rootfd(parent), SNAP_HARDLINK, counts[i], NULL,
				    &t, &err),
		      K3_IO);
		EQ_INT(err.sys, EMFILE);
		CHECK(!setrlimit(RLIMIT_NOFILE, &old));
		nothing_left(fds);
	}
	snap_free(parent);
}

/* Cancels once the clone is on its way: the top is listed, its sub-directories are not. */
static void stop_soon(void *arg)
{
	const struct k3_err why = { .code = K3_CANCELLED, .msg = "interrupted" };
	struct k3_err ignored;

	while (faccessat(stage, "t/d300", F_OK, 0) && !k3_cancel_sleep(NULL, 1, &ignored))
		;
	k3_cancel_raise(arg, &why);
}

/* False: the clone was complete before the other thread got a CPU. */
static bool stopped_in_time(struct snap_tree *parent, unsigned threads)
{
	struct k3_cancel *cancel = k3_cancel_new();
	struct snap_tree *t = NULL;
	struct k3_thread *thread;

	OK(k3_thread_start(stop_soon, cancel, &thread, &err));
	int rc = snap_begin_mt(stage, "t", snap_rootfd(parent), SNAP_HARDLINK, threads, cancel, &t,
			       &err);

	k3_thread_join(thread);
	k3_cancel_free(cancel);
	snap_free(t);
	if (rc) {
		EQ_INT(err.code, K3_CANCELLED);
		HAS_STR(err.msg, "interrupted");
	}
	return rc != 0;
}

TEST(cancelled_while_several_threads_work)
{
	open_stage();
	struct snap_tree *parent = make_wide(100, 1500);
	int fds = count_in("/proc/self/fd");

	for (size_t i = 0; i < 3; i++) {
		int tries = 10;

		while (!stopped_in_time(parent, counts[i]) && --tries)
			;
		CHECK(tries > 0);
		nothing_left(fds);
	}
	snap_free(parent);
}

UNIT_MAIN
