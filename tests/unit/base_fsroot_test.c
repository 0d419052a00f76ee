/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/fsroot.h"
#include "base/mem.h"
#include "tests/unit/unit.h"

static struct k3_err err;

static const char *clean(const char *path)
{
	static struct k3_buf out = K3_BUF(100);

	OK(k3_path_clean(path, &out, &err));
	return (const char *)out.p;
}

TEST(paths_are_cleaned_lexically)
{
	struct k3_buf small = K3_BUF(3);

	EQ_STR(clean(""), "");
	EQ_STR(clean("/"), "");
	EQ_STR(clean("."), "");
	EQ_STR(clean(".."), "");
	EQ_STR(clean("./a//b/./c/"), "a/b/c");
	EQ_STR(clean("/../../a/../b"), "b");
	EQ_STR(clean("a/b/../../../c"), "c");
	EQ_STR(clean("..."), "...");
	EQ_STR(clean(".a/..b"), ".a/..b");
	EQ_STR(clean("a\nb/\xff"), "a\nb/\xff");
	OK(k3_path_clean("abc/..", &small, &err));
	FAILS(k3_path_clean("abcd", &small, &err), K3_LIMIT);
	k3_buf_release(&small);
}

/* A root with a neighbour; both resolvers run the same checks. */
struct world {
	int top;
	struct k3_root root;
};

static void world_open(struct world *w, bool walk)
{
	const char *dir = unit_tmpdir();

	w->top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mkdirat(w->top, "root", 0755) || mkdirat(w->top, "outside", 0755))
		abort();
	w->root = (struct k3_root){ .fd = openat(w->top, "root", O_PATH | O_CLOEXEC),
				    .no_openat2 = walk };
}

static void world_close(struct world *w)
{
	close(w->root.fd);
	close(w->top);
}

static void mk(struct world *w, const char *dir)
{
	if (mkdirat(w->root.fd, dir, 0755))
		abort();
}

static void ln(struct world *w, const char *target, const char *name)
{
	if (symlinkat(target, w->root.fd, name))
		abort();
}

/* The real path that a name leads to, or "error". */
static const char *leads_to(struct world *w, const char *path, bool make)
{
	static char text[5000];
	struct k3_buf real = K3_BUF(4096);
	struct k3_root_dir d;
	struct stat a, b;

	if (k3_root_open_dir(&w->root, w->root.fd, path, make, &real, &d, &err)) {
		k3_buf_release(&real);
		return "error";
	}
	snprintf(text, sizeof(text), "%s", (char *)real.p);
	if (fstat(d.fd, &a) || fstatat(w->root.fd, text[0] ? text : ".", &b, 0) ||
	    a.st_ino != b.st_ino)
		unit_fail(__FILE__, __LINE__, "%s: the descriptor is not at %s", path, text);
	close(d.fd);
	k3_buf_release(&real);
	return text;
}

#define BOTH(id)                                                                                   \
	static void both_##id(struct world *w);                                                    \
	TEST(id)                                                                                   \
	{                                                                                          \
		for (int walk = 0; walk < 2; walk++) {                                             \
			struct world w;                                                            \
                                                                                                   \
			world_open(&w, walk);                                                      \
			both_##id(&w);                                                             \
			world_close(&w);                                                           \
		}                                                                                  \
	}                                                                                          \
	static void both_##id(struct world *w)

BOTH(directories_and_symlinks)
{
	mk(w, "a");
	mk(w, "a/b");
	ln(w, "a/b", "rel");
	ln(w, "/a", "abs");
	ln(w, "../../..", "a/up");
	ln(w, "../../../../outside", "out");
	ln(w, "/rel/../b/.//", "mixed");
	EQ_STR(leads_to(w, "", false), "");
	EQ_STR(leads_to(w, "a/b", false), "a/b");
	EQ_STR(leads_to(w, "rel", false), "a/b");
	EQ_STR(leads_to(w, "abs/b", false), "a/b");
	EQ_STR(leads_to(w, "a/up", false), "");
	EQ_STR(leads_to(w, "a/up/a/up/abs/b", false), "a/b");
	EQ_STR(leads_to(w, "mixed", false), "a/b");
	EQ_STR(leads_to(w, "out", false), "error");
	EQ_INT(err.code, K3_NOTFOUND);
	EQ_STR(leads_to(w, "out", true), "outside");
}

BOTH(missing_directories_are_made)
{
	struct stat st;

	mk(w, "a");
	ln(w, "new/er", "a/dangling");
	ln(w, "gone/../here", "skip");
	EQ_STR(leads_to(w, "x/y/z", true), "x/y/z");
	EQ_STR(leads_to(w, "a/dangling/q", true), "a/new/er/q");
	EQ_STR(leads_to(w, "skip/q", true), "here/q");
	EQ_INT(fstatat(w->root.fd, "gone", &st, 0), -1);
	EQ_INT(fstatat(w->root.fd, "x/y", &st, 0), 0);
	EQ_INT(st.st_mode & 07777, 0755);
	EQ_STR(leads_to(w, "nope", false), "error");
	EQ_INT(err.code, K3_NOTFOUND);
}

BOTH(what_cannot_be_resolved)
{
	ln(w, "loop", "loop");
	ln(w, "b", "a");
	ln(w, "a", "b");
	close(openat(w->root.fd, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	ln(w, "file", "tofile");
	EQ_STR(leads_to(w, "loop", true), "error");
	EQ_INT(err.code, K3_UNSAFE);
	EQ_STR(leads_to(w, "a/x", true), "error");
	EQ_INT(err.code, K3_UNSAFE);
	EQ_STR(leads_to(w, "file/x", true), "error");
	EQ_INT(err.code, K3_FORMAT);
	EQ_STR(leads_to(w, "tofile", true), "error");
	EQ_INT(err.code, K3_FORMAT);
}

/* A fifo must not be opened on the way: that would block. */
BOTH(a_fifo_on_the_way)
{
	if (mkfifoat(w->root.fd, "fifo", 0644))
		abort();
	EQ_STR(leads_to(w, "fifo/x", true), "error");
	EQ_INT(err.code, K3_FORMAT);
}

BOTH(symlink_text_has_a_limit)
{
	char target[4001];

	/* Each link leaves a long rest behind it. */
	mk(w, "d");
	memset(target, 0, sizeof(target));
	for (int i = 0; i < 1950; i++)
		memcpy(target + 2 * i, "/.", 2);
	for (int i = 0; i < 40; i++) {
		char name[16], to[4040];

		snprintf(name, sizeof(name), "l%d", i);
		snprintf(to, sizeof(to), "l%d%s", i + 1, target);
		ln(w, i == 39 ? "d" : to, name);
	}
	EQ_STR(leads_to(w, "l30", false), "d");
	EQ_STR(leads_to(w, "l0", false), "error");
	EQ_INT(err.code, K3_LIMIT);
}

BOTH(the_real_path_has_a_limit)
{
	struct k3_buf real = K3_BUF(10);
	struct k3_root_dir d;

	FAILS(k3_root_open_dir(&w->root, w->root.fd, "aaaaa/bbbbb", true, &real, &d, &err),
	      K3_LIMIT);
	k3_buf_release(&real);
}

/* ---- walking ------------------------------------------------------------------------- */

struct tally {
	int entries, dirs, listed, down, up, max_fd;
};

static int tally_entry(void *arg, int fd, const struct k3_walk_ent *ent, bool *descend,
		       struct k3_err *e)
{
	struct tally *t = arg;

	(void)e;
	t->entries++;
	t->dirs += ent->is_dir;
	if (fd > t->max_fd)
		t->max_fd = fd;
	if (!strcmp(ent->name, "skip"))
		*descend = false;
	return 0;
}

static int tally_listed(void *arg, int fd, struct k3_err *e)
{
	(void)fd, (void)e;
	((struct tally *)arg)->listed++;
	return 0;
}

static int tally_enter(void *arg, int fd, const char *name, struct k3_err *e)
{
	(void)fd, (void)name, (void)e;
	((struct tally *)arg)->down++;
	return 0;
}

static int tally_leave(void *arg, int fd, struct k3_err *e)
{
	struct stat st;

	(void)e;
	EQ_INT(fstat(fd, &st), 0);
	((struct tally *)arg)->up++;
	return 0;
}

static const struct k3_walk_ops tally_ops = { tally_entry, tally_listed, tally_enter, tally_leave };

static void make_deep(int dir, int levels)
{
	int fd = dup(dir);

	for (int i = 0; i < levels; i++) {
		if (mkdirat(fd, "d", 0755))
			abort();
		int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		close(openat(fd, "f", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
		close(fd);
		fd = next;
	}
	close(fd);
}

TEST(walks_are_deep_and_need_few_descriptors)
{
	struct tally t = { 0 };
	struct world w;

	world_open(&w, false);
	make_deep(w.root.fd, 1500);
	mk(&w, "skip");
	mk(&w, "skip/inside");
	ln(&w, "/", "link");
	OK(k3_walk(w.root.fd, &tally_ops, &t, &err));
	EQ_INT(t.dirs, 1501);
	EQ_INT(t.entries, 3002);
	EQ_INT(t.down, 1500);
	EQ_INT(t.up, 1500);
	EQ_INT(t.listed, 1501);
	CHECK(t.max_fd < 60);
	world_close(&w);
}

/* ---- copying ------------------------------------------------------------------------- */

TEST(nodes_are_copied_with_their_attributes)
{
	const struct timespec times[2] = { { 5, 6 }, { 7, 8 } };
	struct stat a, b;
	struct world w;
	char text[8] = { 0 };

	world_open(&w, false);
	int root = w.root.fd, fd = openat(root, "f", O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	OK(k3_write_all(fd, "content", 7, "f", &err));
	bool xattrs = fsetxattr(fd, "user.x", "value", 5, 0) == 0;

	CHECK(fchmod(fd, 04711) == 0 && futimens(fd, times) == 0);
	close(fd);
	for (int reflink = 0; reflink < 2; reflink++) {
		const char *name = reflink ? "g" : "h";

		OK(k3_copy_node(root, "f", root, name, reflink, &err));
		CHECK(!fstatat(root, "f", &a, 0) && !fstatat(root, name, &b, 0));
		EQ_INT(b.st_mode, a.st_mode);
		EQ_INT(b.st_mtim.tv_sec, 7);
		EQ_INT(b.st_mtim.tv_nsec, 8);
		CHECK(a.st_ino != b.st_ino);
		fd = openat(root, name, O_RDONLY | O_CLOEXEC);
		EQ_INT(read(fd, text, 7), 7);
		EQ_STR(text, "content");
		if (xattrs)
			EQ_INT(fgetxattr(fd, "user.x", NULL, 0), 5);
		close(fd);
	}
	FAILS(k3_copy_node(root, "f", root, "g", false, &err), K3_IO);
	EQ_INT(err.sys, EEXIST);
	ln(&w, "some/where", "s");
	CHECK(!mkfifoat(root, "p", 0600));
	OK(k3_copy_node(root, "s", root, "s2", true, &err));
	OK(k3_copy_node(root, "p", root, "p2", true, &err));
	EQ_INT(readlinkat(root, "s2", text, sizeof(text)), 8);
	CHECK(!fstatat(root, "p2", &b, AT_SYMLINK_NOFOLLOW) && S_ISFIFO(b.st_mode));
	world_close(&w);
}

TEST(copy_keeps_holes)
{
	int root = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const off_t far = (off_t)8 << 30;
	char text[8] = { 0 };
	struct stat st;
	int fd = openat(root, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	EQ_INT(pwrite(fd, "start", 5, 0), 5);
	EQ_INT(pwrite(fd, "far", 3, far), 3);
	EQ_INT(ftruncate(fd, far + (1 << 20)), 0);
	close(fd);
	OK(k3_copy_node(root, "f", root, "g", false, &err));
	fd = openat(root, "g", O_RDONLY | O_CLOEXEC);
	EQ_INT(fstat(fd, &st), 0);
	EQ_INT(st.st_size, far + (1 << 20));
	CHECK(st.st_blocks < 4096);
	EQ_INT(pread(fd, text, 5, 0), 5);
	EQ_STR(text, "start");
	memset(text, 0, sizeof(text));
	EQ_INT(pread(fd, text, 3, far), 3);
	EQ_STR(text, "far");
	close(fd);
	close(root);
}

UNIT_MAIN
