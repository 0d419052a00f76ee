/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Applying layers, rule by rule (docs/unpack.md).  Every rule runs over both ways of
 * resolving names and with and without the decoding thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fsroot.h"
#include "snapshot/snapshot.h"
#include "tests/unit/tarbuild.h"
#include "tests/unit/unit.h"

/* A root directory with a neighbour that nobody may touch. */
struct world {
	struct k3_err err;
	struct tarbuild t;
	struct unpack_opts o;
	struct unpack_stats stats;
	char dir[256];
	int top, root;
	char lost[256]; /* what on_loss was told last */
};

static void note_loss(void *arg, enum unpack_loss_kind kind, const char *path, const char *what,
		      int errnum)
{
	struct world *w = arg;

	snprintf(w->lost, sizeof(w->lost), "%d %s %s %d", kind, path, what, errnum != 0);
}

static void world_open(struct world *w, unsigned variant)
{
	memset(w, 0, sizeof(*w));
	snprintf(w->dir, sizeof(w->dir), "%s", unit_tmpdir());
	w->top = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mkdirat(w->top, "root", 0755) || mkdirat(w->top, "outside", 0755) ||
	    chdir(w->dir)) /* the unpacker must not care */
		abort();
	w->root = openat(w->top, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	w->o = (struct unpack_opts){
		.limits = unpack_limits_default,
		.no_openat2 = variant & 1,
		.one_thread = variant & 2,
		.on_loss = note_loss,
		.arg = w,
	};
	tb_init(&w->t);
}

static void world_close(struct world *w)
{
	struct stat st;

	if (fstatat(w->top, "outside", &st, 0) || st.st_nlink > 2 || st.st_size > 4096)
		unit_fail(__FILE__, __LINE__, "the directory outside was touched");
	if (faccessat(w->top, "outside/x", F_OK, 0) == 0)
		unit_fail(__FILE__, __LINE__, "outside/x was made");
	tb_release(&w->t);
	close(w->root);
	close(w->top);
}

#define RULE(id)                                                                                   \
	static void rule_##id(struct world *w);                                                    \
	TEST(id)                                                                                   \
	{                                                                                          \
		for (unsigned v = 0; v < 4; v++) {                                                 \
			struct world w;                                                            \
                                                                                                   \
			world_open(&w, v);                                                         \
			rule_##id(&w);                                                             \
			world_close(&w);                                                           \
		}                                                                                  \
	}                                                                                          \
	static void rule_##id(struct world *w)

/* Applies what was built and starts a new archive. */
static int apply(struct world *w)
{
	struct memsrc m;
	int rc;

	tb_end(&w->t);
	rc = unpack_layer(w->root, OCI_MEDIA_LAYER_TAR, memsrc(&m, w->t.out.p, w->t.out.len, 7000),
			  &w->o, NULL, NULL, &w->stats, &w->err);
	EQ_INT(m.after_end, 0);
	tb_release(&w->t);
	tb_init(&w->t);
	return rc;
}

#define APPLY(w)                                                                                   \
	do {                                                                                       \
		if (apply(w))                                                                      \
			unit_fail(__FILE__, __LINE__, "apply: %s", (w)->err.msg);                  \
	} while (0)

#define REFUSED(w, want)                                                                           \
	do {                                                                                       \
		if (!apply(w))                                                                     \
			unit_fail(__FILE__, __LINE__, "apply succeeded");                          \
		else if ((w)->err.code != (want))                                                  \
			unit_fail(__FILE__, __LINE__, "apply: %s (%s), want %s",                   \
				  k3_code_name((w)->err.code), (w)->err.msg, k3_code_name(want));  \
	} while (0)

/* What is at a path, as one word: content of files, "->target", "dir", "none", ... */
static const char *at(struct world *w, const char *path)
{
	static char text[512];
	struct stat st;
	ssize_t n = 0;

	if (fstatat(w->root, path, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT || errno == ENOTDIR ? "none" : "error";
	if (S_ISDIR(st.st_mode))
		return "dir";
	if (S_ISLNK(st.st_mode)) {
		n = readlinkat(w->root, path, text + 2, sizeof(text) - 3);
		memcpy(text, "->", 2);
		text[n + 2] = '\0';
		return text;
	}
	if (!S_ISREG(st.st_mode))
		return S_ISFIFO(st.st_mode) ? "fifo" : S_ISCHR(st.st_mode) ? "char" : "other";
	int fd = openat(w->root, path, O_RDONLY | O_CLOEXEC);

	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static struct stat look(struct world *w, const char *path)
{
	struct stat st = { 0 };

	if (fstatat(w->root, path, &st, AT_SYMLINK_NOFOLLOW))
		unit_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	return st;
}

static bool same_inode(struct world *w, const char *a, const char *b)
{
	return look(w, a).st_ino == look(w, b).st_ino;
}

RULE(names_are_cleaned_and_confined)
{
	tb_file(&w->t, "./a//b/./c", "1");
	tb_file(&w->t, "/abs", "2");
	tb_file(&w->t, "../../outside/x", "3");
	tb_file(&w->t, "a/../../../up", "4");
	APPLY(w);
	EQ_STR(at(w, "a/b/c"), "1");
	EQ_STR(at(w, "abs"), "2");
	EQ_STR(at(w, "outside/x"), "3");
	EQ_STR(at(w, "up"), "4");
	EQ_INT(w->stats.entries, 4);
}

RULE(parent_symlinks_stay_inside)
{
	tb_dir(&w->t, "real");
	tb_symlink(&w->t, "abs", "/real");
	tb_symlink(&w->t, "rel", "../../../../real");
	tb_symlink(&w->t, "chain", "abs/./../rel");
	tb_symlink(&w->t, "root", "/");
	tb_symlink(&w->t, "out", w->dir);
	tb_file(&w->t, "abs/1", "1");
	tb_file(&w->t, "rel/2", "2");
	tb_file(&w->t, "chain/3", "3");
	tb_file(&w->t, "root/real/4", "4");
	tb_file(&w->t, "out/outside/x", "5");
	APPLY(w);
	EQ_STR(at(w, "real/1"), "1");
	EQ_STR(at(w, "real/2"), "2");
	EQ_STR(at(w, "real/3"), "3");
	EQ_STR(at(w, "real/4"), "4");
	/* The dangling absolute target was made inside the root. */
	char inside[300];

	snprintf(inside, sizeof(inside), "%s/outside/x", w->dir + 1);
	EQ_STR(at(w, inside), "5");
}

RULE(symlink_loops_are_refused)
{
	tb_symlink(&w->t, "a", "b");
	tb_symlink(&w->t, "b", "a");
	tb_file(&w->t, "a/x", "1");
	REFUSED(w, K3_UNSAFE);
}

RULE(long_symlink_chains_work)
{
	char name[16], target[16];

	tb_dir(&w->t, "l0");
	for (int i = 1; i <= 255; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		snprintf(target, sizeof(target), "l%d", i - 1);
		tb_symlink(&w->t, name, target);
	}
	tb_file(&w->t, "l255/x", "1");
	APPLY(w);
	EQ_STR(at(w, "l0/x"), "1");
	tb_symlink(&w->t, "l256", "l255");
	tb_file(&w->t, "l256/x", "1");
	REFUSED(w, K3_UNSAFE);
}

RULE(dotdot_in_targets_is_physical_and_missing_parts_are_lexical)
{
	tb_dir(&w->t, "a");
	tb_dir(&w->t, "a/b");
	tb_symlink(&w->t, "s", "a/b");
	tb_symlink(&w->t, "t", "s/../in-a");
	tb_symlink(&w->t, "m", "missing/../made");
	tb_file(&w->t, "t/x", "1");
	tb_file(&w->t, "m/y", "2");
	APPLY(w);
	EQ_STR(at(w, "a/in-a/x"), "1");
	EQ_STR(at(w, "made/y"), "2");
	EQ_STR(at(w, "missing"), "none");
}

RULE(cached_parents_follow_changes)
{
	tb_dir(&w->t, "one");
	tb_dir(&w->t, "two");
	tb_symlink(&w->t, "cur", "one");
	tb_file(&w->t, "cur/a", "1");
	tb_symlink(&w->t, "cur", "two");
	tb_file(&w->t, "cur/b", "2");
	tb_file(&w->t, ".wh.two", "");
	tb_file(&w->t, "two/c", "3");
	tb_file(&w->t, "d/e/f", "4");
	tb_symlink(&w->t, "d", "one");
	tb_file(&w->t, "d/e/f", "5");
	APPLY(w);
	EQ_STR(at(w, "one/a"), "1");
	EQ_STR(at(w, "two/b"), "none");
	EQ_STR(at(w, "two/c"), "3");
	EQ_STR(at(w, "one/e/f"), "5");
	EQ_STR(at(w, "d"), "->one");
}

RULE(root_entries_are_ignored)
{
	w->t.mode = 0700;
	w->t.mtime = 1;
	tb_dir(&w->t, "./");
	tb_dir(&w->t, "/");
	tb_dir(&w->t, "a/..");
	APPLY(w);
	EQ_INT(look(w, ".").st_mode & 07777, 0755);
	CHECK(look(w, ".").st_mtim.tv_sec > 1);
	EQ_INT(w->stats.entries, 0);
}

RULE(missing_parents_are_0755_whatever_the_umask)
{
	mode_t before = umask(077);

	w->t.mode = 0666;
	tb_file(&w->t, "p/q/file", "x");
	tb_dir(&w->t, "dir");
	APPLY(w);
	umask(before);
	EQ_INT(look(w, "p").st_mode & 07777, 0755);
	EQ_INT(look(w, "p/q").st_mode & 07777, 0755);
	EQ_INT(look(w, "p/q/file").st_mode & 07777, 0666);
	EQ_INT(look(w, "dir").st_mode & 07777, 0666 & 07777);
}

RULE(a_file_as_parent_fails)
{
	tb_file(&w->t, "f", "x");
	tb_file(&w->t, "f/g", "x");
	REFUSED(w, K3_FORMAT);
	HAS_STR(w->err.msg, "not a directory");
}

RULE(whiteouts_remove)
{
	tb_file(&w->t, "d/a", "1");
	tb_file(&w->t, "d/sub/b", "2");
	tb_symlink(&w->t, "s", "d");
	APPLY(w);
	tb_file(&w->t, "d/.wh.a", "");
	tb_file(&w->t, "d/.wh.sub", "");
	tb_file(&w->t, ".wh.s", "payload is skipped");
	tb_file(&w->t, ".wh.nothing", "");
	tb_file(&w->t, "new", "3");
	tb_file(&w->t, ".wh.new", "");
	tb_file(&w->t, "again", "4");
	tb_file(&w->t, ".wh.again", "");
	tb_file(&w->t, "again", "5");
	tb_file(&w->t, "deep/er/.wh.x", "");
	APPLY(w);
	EQ_STR(at(w, "d/a"), "none");
	EQ_STR(at(w, "d/sub"), "none");
	EQ_STR(at(w, "d"), "dir");
	EQ_STR(at(w, "s"), "none");
	EQ_STR(at(w, "new"), "none");
	EQ_STR(at(w, "again"), "5");
	EQ_STR(at(w, ".wh.a"), "none");
	EQ_STR(at(w, "deep/er"), "dir");
}

RULE(whiteout_names_that_escape_are_refused)
{
	static const char *const bad[] = { ".wh.", ".wh..", ".wh...", "d/.wh...", "d/.wh." };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		tb_file(&w->t, bad[i], "");
		REFUSED(w, K3_UNSAFE);
	}
	/* A whiteout of ".wh.x", which cannot exist; and a directory of that prefix is fine. */
	tb_file(&w->t, ".wh..wh.x", "");
	tb_file(&w->t, ".wh..wh.plnk/1.2", "kept");
	APPLY(w);
	EQ_STR(at(w, ".wh..wh.plnk/1.2"), "kept");
}

RULE(opaque_removes_what_this_layer_did_not_write)
{
	tb_file(&w->t, "d/old", "1");
	tb_file(&w->t, "d/sub/old", "1");
	tb_file(&w->t, "d/kept/old", "1");
	tb_file(&w->t, "other/old", "1");
	APPLY(w);
	tb_file(&w->t, "d/new", "2");
	tb_file(&w->t, "d/implicit/f", "2");
	tb_dir(&w->t, "d/kept");
	tb_file(&w->t, "d/kept/new", "2");
	tb_file(&w->t, "d/.wh..wh..opq", "");
	tb_file(&w->t, "d/later", "3");
	APPLY(w);
	EQ_STR(at(w, "d/old"), "none");
	EQ_STR(at(w, "d/sub"), "none");
	EQ_STR(at(w, "d/new"), "2");
	EQ_STR(at(w, "d/implicit"), "none");
	EQ_STR(at(w, "d/kept/new"), "2");
	EQ_STR(at(w, "d/kept/old"), "none");
	EQ_STR(at(w, "d/later"), "3");
	EQ_STR(at(w, "other/old"), "1");
	tb_file(&w->t, "x", "4");
	tb_file(&w->t, ".wh..wh..opq", "");
	APPLY(w);
	EQ_STR(at(w, "d"), "none");
	EQ_STR(at(w, "x"), "4");
}

RULE(opaque_sees_through_symlinked_parents)
{
	tb_file(&w->t, "real/old", "1");
	tb_symlink(&w->t, "s", "real");
	APPLY(w);
	tb_file(&w->t, "s/new", "2");
	tb_file(&w->t, "real/.wh..wh..opq", "");
	APPLY(w);
	EQ_STR(at(w, "real/new"), "2");
	EQ_STR(at(w, "real/old"), "none");
}

RULE(existing_targets_are_replaced)
{
	tb_file(&w->t, "file", "1");
	tb_file(&w->t, "dir/child", "1");
	tb_symlink(&w->t, "link", "dir");
	tb_file(&w->t, "todir", "1");
	tb_file(&w->t, "merge/child", "1");
	tb_file(&w->t, "tolink/child", "1");
	APPLY(w);
	tb_file(&w->t, "file", "2");
	tb_file(&w->t, "dir", "now a file");
	tb_dir(&w->t, "link");
	tb_dir(&w->t, "todir");
	w->t.mode = 01777;
	tb_dir(&w->t, "merge");
	w->t.mode = 0;
	tb_symlink(&w->t, "tolink", "merge");
	tb_entry(&w->t, '6', "file2", "", NULL, 0);
	tb_entry(&w->t, '6', "file", "", NULL, 0);
	APPLY(w);
	EQ_STR(at(w, "dir"), "now a file");
	EQ_STR(at(w, "link"), "dir");
	EQ_STR(at(w, "todir"), "dir");
	EQ_STR(at(w, "merge/child"), "1");
	EQ_INT(look(w, "merge").st_mode & 07777, 01777);
	EQ_STR(at(w, "tolink"), "->merge");
	EQ_STR(at(w, "file"), "fifo");
	EQ_STR(at(w, "file2"), "fifo");
}

RULE(hard_links)
{
	tb_file(&w->t, "lower", "1");
	APPLY(w);
	tb_link(&w->t, "h", "lower");
	tb_symlink(&w->t, "sym", "lower");
	tb_link(&w->t, "hs", "/sym");
	tb_dir(&w->t, "d");
	tb_symlink(&w->t, "sd", "/d");
	tb_file(&w->t, "d/x", "2");
	tb_link(&w->t, "hx", "../sd/x");
	tb_link(&w->t, "d/hx2", "hx");
	APPLY(w);
	CHECK(same_inode(w, "h", "lower"));
	EQ_STR(at(w, "hs"), "->lower");
	CHECK(same_inode(w, "hs", "sym"));
	CHECK(same_inode(w, "hx", "d/x"));
	CHECK(same_inode(w, "d/hx2", "d/x"));
}

RULE(hard_link_header_changes_the_inode)
{
	tb_file(&w->t, "a", "1");
	w->t.mode = 0600;
	w->t.mtime = 77;
	tb_link(&w->t, "b", "a");
	APPLY(w);
	EQ_INT(look(w, "a").st_mode & 07777, 0600);
	EQ_INT(look(w, "a").st_mtim.tv_sec, 77);
	CHECK(same_inode(w, "a", "b"));
}

RULE(bad_hard_links)
{
	tb_link(&w->t, "h", "nothing");
	REFUSED(w, K3_FORMAT);
	tb_link(&w->t, "h", "../../outside/none");
	REFUSED(w, K3_FORMAT);
	tb_dir(&w->t, "d");
	tb_link(&w->t, "h", "d");
	REFUSED(w, K3_FORMAT);
	tb_file(&w->t, "self", "x");
	tb_link(&w->t, "self", "./d/../self");
	REFUSED(w, K3_FORMAT);
	tb_link(&w->t, "h", "/");
	REFUSED(w, K3_FORMAT);
	EQ_STR(at(w, "h"), "none");
}

RULE(special_bits_and_owner)
{
	w->t.mode = 04755;
	tb_file(&w->t, "suid", "x");
	w->t.mode = 01777;
	tb_dir(&w->t, "tmp");
	if (geteuid() == 0) {
		w->t.uid = 12;
		w->t.gid = 3000000;
		w->t.mode = 06711;
		tb_file(&w->t, "other", "x");
		w->t.mode = 02775;
		tb_dir(&w->t, "staff");
		tb_symlink(&w->t, "staff/l", "x");
		w->t.uid = w->t.gid = 0;
		w->t.mode = 0644;
		tb_file(&w->t, "staff/f", "x");
		tb_symlink(&w->t, "staff/l0", "x");
		w->t.mode = 0755;
		tb_dir(&w->t, "staff/d");
		tb_dir(&w->t, "staff/d2");
	}
	APPLY(w);
	EQ_INT(look(w, "suid").st_mode & 07777, 04755);
	EQ_INT(look(w, "tmp").st_mode & 07777, 01777);
	if (geteuid())
		return;
	EQ_INT(look(w, "other").st_mode & 07777, 06711);
	EQ_INT(look(w, "other").st_uid, 12);
	EQ_INT(look(w, "other").st_gid, 3000000);
	EQ_INT(look(w, "staff").st_mode & 07777, 02775);
	EQ_INT(look(w, "staff/l").st_uid, 12);
	EQ_INT(look(w, "staff/f").st_gid, 0);
	EQ_INT(look(w, "staff/l0").st_gid, 0);
	EQ_INT(look(w, "staff/d").st_mode & 07777, 0755);
	EQ_INT(look(w, "staff/d2").st_mode & 07777, 0755);
	EQ_INT(look(w, "staff/d2").st_gid, 0);
}

RULE(times)
{
	struct timespec a;

	tb_pax_str(&w->t, "mtime", "1234567890.123456789012");
	tb_pax_str(&w->t, "atime", "1234567891.5");
	tb_file(&w->t, "sub", "x");
	tb_pax_str(&w->t, "atime", "5");
	tb_file(&w->t, "early-atime", "x");
	tb_pax_str(&w->t, "mtime", "-1.5");
	tb_file(&w->t, "before", "x");
	w->t.mtime = INT64_C(9223372037);
	tb_file(&w->t, "beyond", "x");
	w->t.mtime = -5;
	tb_symlink(&w->t, "negative", "x");
	APPLY(w);
	EQ_INT(look(w, "sub").st_mtim.tv_sec, 1234567890);
	EQ_INT(look(w, "sub").st_mtim.tv_nsec, 123456789);
	a = look(w, "sub").st_atim;
	EQ_INT(a.tv_sec, 1234567891);
	EQ_INT(a.tv_nsec, 500000000);
	EQ_INT(look(w, "early-atime").st_atim.tv_sec, TARBUILD_MTIME);
	EQ_INT(look(w, "before").st_mtim.tv_sec, 0);
	EQ_INT(look(w, "beyond").st_mtim.tv_sec, 0);
	EQ_INT(look(w, "negative").st_mtim.tv_sec, 0);
}

RULE(directory_times_are_set_last)
{
	w->t.mtime = 1000;
	tb_dir(&w->t, "d");
	w->t.mtime = 2000;
	tb_dir(&w->t, "d/e");
	tb_symlink(&w->t, "s", "d");
	tb_dir(&w->t, "gone");
	tb_dir(&w->t, "replaced");
	tb_dir(&w->t, "s/through");
	w->t.mtime = 3000;
	tb_file(&w->t, "d/e/f", "x");
	tb_file(&w->t, "d/g", "x");
	tb_file(&w->t, "d/through/x", "x");
	tb_file(&w->t, ".wh.gone", "");
	tb_file(&w->t, "replaced", "x");
	APPLY(w);
	EQ_INT(look(w, "d").st_mtim.tv_sec, 1000);
	EQ_INT(look(w, "d/e").st_mtim.tv_sec, 2000);
	EQ_INT(look(w, "d/through").st_mtim.tv_sec, 2000);
	EQ_STR(at(w, "gone"), "none");
	EQ_INT(look(w, "replaced").st_mtim.tv_sec, 3000);
}

RULE(xattrs)
{
	char value[64];
	char path[512];

	tb_pax(&w->t, "SCHILY.xattr.user.one", "a\nb\0c", 5);
	tb_pax_str(&w->t, "SCHILY.xattr.trusted.two", "x");
	tb_pax_str(&w->t, "SCHILY.xattr.user.last", "1");
	tb_pax_str(&w->t, "SCHILY.xattr.user.last", "2");
	tb_pax_str(&w->t, "SCHILY.xattr.user.gone", "1");
	tb_pax_str(&w->t, "SCHILY.xattr.user.gone", "");
	tb_pax_str(&w->t, "LIBARCHIVE.xattr.user.no", "1");
	tb_file(&w->t, "f", "x");
	tb_pax_str(&w->t, "SCHILY.xattr.user.dir", "1");
	tb_dir(&w->t, "d");
	APPLY(w);
	snprintf(path, sizeof(path), "%s/root/f", w->dir);
	if (lgetxattr(path, "user.last", value, sizeof(value)) < 0 && w->stats.losses > 2)
		return; /* tmpfs before 6.6: all of them are reported as lost */
	EQ_INT(w->stats.losses, 1);
	EQ_STR(w->lost, "0 f trusted.two 1");
	EQ_INT(lgetxattr(path, "user.one", value, sizeof(value)), 5);
	CHECK(!memcmp(value, "a\nb\0c", 5));
	EQ_INT(lgetxattr(path, "user.last", value, sizeof(value)), 1);
	EQ_INT(value[0], '2');
	EQ_INT(lgetxattr(path, "user.gone", value, sizeof(value)), -1);
	EQ_INT(lgetxattr(path, "user.no", value, sizeof(value)), -1);
	snprintf(path, sizeof(path), "%s/root/d", w->dir);
	EQ_INT(lgetxattr(path, "user.dir", value, sizeof(value)), 1);
	/* user.* on a symlink is a loss, an unknown name space on a file an error. */
	tb_pax_str(&w->t, "SCHILY.xattr.user.one", "x");
	tb_symlink(&w->t, "s", "f");
	APPLY(w);
	EQ_INT(w->stats.losses, 1);
	HAS_STR(w->lost, "s user.one");
}

RULE(devices)
{
	if (geteuid())
		return;
	w->t.major = 1;
	w->t.minor = 3;
	w->t.mode = 0620;
	w->o.lenient_owner = true;
	tb_entry(&w->t, '3', "null", "", NULL, 0);
	APPLY(w);
	if (w->stats.losses) {
		HAS_STR(w->lost, "1 null char");
		return;
	}
	EQ_STR(at(w, "null"), "char");
	EQ_INT(look(w, "null").st_rdev, makedev(1, 3));
	EQ_INT(look(w, "null").st_mode & 07777, 0620);
}

static void check_sparse(struct world *w, const char *name)
{
	char got[40] = { 0 };
	int fd = openat(w->root, name, O_RDONLY | O_CLOEXEC);

	EQ_INT(look(w, name).st_size, 30);
	EQ_INT(read(fd, got, sizeof(got)), 30);
	close(fd);
	CHECK(!memcmp(got, "abc\0\0\0\0\0\0\0de\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 30));
}

RULE(sparse_files_are_expanded)
{
	char data[512 + 5] = "2\n0\n3\n10\n2\n";
	size_t at_header;

	tb_pax_str(&w->t, "GNU.sparse.size", "30");
	tb_pax_str(&w->t, "GNU.sparse.numblocks", "2");
	tb_pax_str(&w->t, "GNU.sparse.offset", "0");
	tb_pax_str(&w->t, "GNU.sparse.numbytes", "3");
	tb_pax_str(&w->t, "GNU.sparse.offset", "10");
	tb_pax_str(&w->t, "GNU.sparse.numbytes", "2");
	tb_file(&w->t, "v00", "abcde");
	tb_pax_str(&w->t, "GNU.sparse.size", "30");
	tb_pax_str(&w->t, "GNU.sparse.map", "0,3,10,2,30,0");
	tb_pax_str(&w->t, "GNU.sparse.name", "v01");
	tb_file(&w->t, "GNUSparseFile.1/v01", "abcde");
	tb_pax_str(&w->t, "GNU.sparse.major", "1");
	tb_pax_str(&w->t, "GNU.sparse.minor", "0");
	tb_pax_str(&w->t, "GNU.sparse.realsize", "30");
	tb_pax_str(&w->t, "GNU.sparse.name", "v10");
	memcpy(data + 512, "abcde", 5);
	tb_entry(&w->t, '0', "GNUSparseFile.1/v10", "", data, sizeof(data));
	w->t.magic = "ustar  ";
	at_header = w->t.out.len;
	tb_entry(&w->t, 'S', "old", "", "abcde", 5);
	snprintf((char *)w->t.out.p + at_header + 386, 12, "%011o", 0);
	snprintf((char *)w->t.out.p + at_header + 386 + 12, 12, "%011o", 3);
	snprintf((char *)w->t.out.p + at_header + 386 + 24, 12, "%011o", 10);
	snprintf((char *)w->t.out.p + at_header + 386 + 36, 12, "%011o", 2);
	snprintf((char *)w->t.out.p + at_header + 483, 12, "%011o", 30);
	tb_checksum(&w->t, at_header);
	APPLY(w);
	check_sparse(w, "v00");
	check_sparse(w, "v01");
	check_sparse(w, "v10");
	check_sparse(w, "old");
	EQ_STR(at(w, "GNUSparseFile.1"), "none");
	tb_pax_str(&w->t, "GNU.sparse.size", "30");
	tb_pax_str(&w->t, "GNU.sparse.map", "0,3,40,2");
	tb_file(&w->t, "beyond", "abcde");
	REFUSED(w, K3_FORMAT);
}

RULE(limits_are_kept)
{
	char name[200];

	w->o.limits.entries = 2;
	tb_file(&w->t, "a", "");
	tb_file(&w->t, "b", "");
	tb_file(&w->t, "c", "");
	REFUSED(w, K3_LIMIT);
	w->o.limits = unpack_limits_default;
	w->o.limits.bytes = 2000;
	tb_file(&w->t, "a", "");
	tb_file(&w->t, "b", "");
	tb_file(&w->t, "c", "");
	REFUSED(w, K3_LIMIT);
	w->o.limits = unpack_limits_default;
	w->o.limits.path_bytes = 150;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	tb_pax_str(&w->t, "path", name);
	tb_file(&w->t, "short", "");
	REFUSED(w, K3_LIMIT);
	w->o.limits.pax_bytes = 100;
	tb_pax_str(&w->t, "comment", name);
	tb_file(&w->t, "short", "");
	REFUSED(w, K3_LIMIT);
	w->o.limits = unpack_limits_default;
	w->o.limits.xattr_bytes = 100;
	tb_pax_str(&w->t, "SCHILY.xattr.user.x", name);
	tb_file(&w->t, "short", "");
	REFUSED(w, K3_LIMIT);
	/* A bomb of holes counts as what it pretends to be. */
	w->o.limits = unpack_limits_default;
	tb_pax_str(&w->t, "GNU.sparse.size", "9000000000000000000");
	tb_pax_str(&w->t, "GNU.sparse.map", "0,0");
	tb_file(&w->t, "holes", "");
	REFUSED(w, K3_LIMIT);
	tb_pax_str(&w->t, "size", "9223372036854775807");
	tb_file(&w->t, "huge", "");
	REFUSED(w, K3_LIMIT);
}

RULE(many_entries_and_many_directories)
{
	char name[64];

	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "d%d/e%d/f%d", i % 97, i % 31, i);
		tb_file(&w->t, name, name);
	}
	APPLY(w);
	EQ_INT(w->stats.entries, 3000);
	snprintf(name, sizeof(name), "d%d/e%d/f%d", 2999 % 97, 2999 % 31, 2999);
	EQ_STR(at(w, name), name);
}

RULE(paths_as_long_as_the_limit)
{
	char path[4097];
	size_t n = 0;

	while (n + 100 < 4096) {
		memset(path + n, 'p', 99);
		path[n + 99] = '/';
		n += 100;
	}
	memset(path + n, 'f', 4096 - n);
	path[4096] = '\0';
	tb_pax_str(&w->t, "path", path);
	tb_file(&w->t, "x", "deep");
	APPLY(w);
	EQ_INT(w->stats.entries, 1);
	/* The same name, found below a symlink, would lie deeper than the limit. */
	tb_dir(&w->t, "a");
	tb_symlink(&w->t, "s", "a");
	tb_pax_str(&w->t, "path", path);
	tb_file(&w->t, "x", "again");
	APPLY(w);
}

RULE(digest_is_compared)
{
	struct oci_digest want, got;
	struct memsrc m;
	int rc;

	tb_file(&w->t, "a", "x");
	tb_end(&w->t);
	tb_raw(&w->t, "bytes after the end count", 25);
	oci_digest_of(K3_SHA512, w->t.out.p, w->t.out.len, &want);
	rc = unpack_layer(w->root, OCI_MEDIA_LAYER_TAR, memsrc(&m, w->t.out.p, w->t.out.len, 99),
			  &w->o, &want, &got, &w->stats, &w->err);
	EQ_INT(rc, 0);
	CHECK(oci_digest_eq(&want, &got));
	EQ_INT(w->stats.bytes, w->t.out.len);
	EQ_INT(m.n, 0);
	want.hash[0] ^= 1;
	rc = unpack_layer(w->root, OCI_MEDIA_LAYER_TAR, memsrc(&m, w->t.out.p, w->t.out.len, 99),
			  &w->o, &want, &got, &w->stats, &w->err);
	EQ_INT(rc, -1);
	EQ_INT(w->err.code, K3_DIGEST);
}

RULE(cancelled)
{
	const struct k3_err why = { .code = K3_CANCELLED, .msg = "interrupted" };

	w->o.cancel = k3_cancel_new();
	k3_cancel_raise(w->o.cancel, &why);
	tb_file(&w->t, "a", "x");
	REFUSED(w, K3_CANCELLED);
	k3_cancel_free(w->o.cancel);
}

static int broken_next(void *arg, const uint8_t **p, size_t *n, struct k3_err *e)
{
	struct memsrc *m = arg;

	*n = m->n < 5000 ? m->n : 5000;
	*p = m->p;
	m->p += *n;
	m->n -= *n;
	return *n ? 0 : k3_fail(e, K3_NET, "connection lost");
}

RULE(errors_of_the_source_come_through)
{
	static char data[3 << 20];
	struct memsrc m;

	for (int big = 0; big < 2; big++) {
		tb_entry(&w->t, '0', "f", "", data, big ? sizeof(data) : 10);
		m = (struct memsrc){ .p = w->t.out.p, .n = w->t.out.len };
		EQ_INT(unpack_layer(w->root, OCI_MEDIA_LAYER_TAR,
				    (struct unpack_src){ broken_next, &m }, &w->o, NULL, NULL, NULL,
				    &w->err),
		       -1);
		EQ_INT(w->err.code, K3_NET);
		tb_release(&w->t);
		tb_init(&w->t);
	}
}

/* Failing early must not hang on, or leak, the thread that decodes ahead. */
RULE(a_bad_entry_ends_a_long_stream)
{
	static char data[3 << 20];

	tb_file(&w->t, "f", "x");
	tb_entry(&w->t, '0', "first", "", data, 300000);
	tb_file(&w->t, "f/below-a-file", "x");
	tb_entry(&w->t, '0', "never", "", data, sizeof(data));
	REFUSED(w, K3_FORMAT);
	EQ_STR(at(w, "never"), "none");
}

/*
 * Every cut is an error, except where Go accepts the end too: between entries, in the padding
 * of the last one, and after one zero block.
 */
TEST(truncation_at_every_byte)
{
	struct world w;

	world_open(&w, 2);
	tb_pax_str(&w.t, "mtime", "1.5");
	tb_file(&w.t, "a", "content");
	size_t entry_end = w.t.out.len, pad_start = entry_end - 512 + 7;

	tb_end(&w.t);
	for (size_t n = 0; n <= w.t.out.len; n++) {
		struct memsrc m;
		struct k3_err err = { 0 };
		bool ok = !unpack_layer(w.root, OCI_MEDIA_LAYER_TAR, memsrc(&m, w.t.out.p, n, 512),
					&w.o, NULL, NULL, NULL, &err);
		bool want = n == 0 || (n >= pad_start && n <= entry_end) || n == entry_end + 512 ||
			    n == entry_end + 1024;

		if (ok != want)
			unit_fail(__FILE__, __LINE__, "cut at %zu: %s", n, ok ? "ok" : err.msg);
		if (!ok && (err.code != K3_FORMAT || !strstr(err.msg, "truncated")))
			unit_fail(__FILE__, __LINE__, "cut at %zu: %s", n, err.msg);
	}
	world_close(&w);
}

/* ---- shared trees -------------------------------------------------------------------- */

/* Applies what was built to a hard-link clone of the root; the clone becomes the root. */
static void clone_and_apply(struct world *w, struct snap_tree **tree)
{
	int parent = w->root;

	if (snap_begin(w->top, "clone", parent, SNAP_HARDLINK, NULL, tree, &w->err))
		unit_fail(__FILE__, __LINE__, "%s", w->err.msg);
	w->o.shared = snap_is_shared(*tree);
	CHECK(w->o.shared);
	w->root = snap_rootfd(*tree);
	APPLY(w);
	w->root = parent;
}

RULE(shared_inodes_are_never_changed)
{
	struct world clone;
	struct snap_tree *tree;
	struct stat before, after;

	tb_file(&w->t, "a", "lower");
	tb_link(&w->t, "d/b", "a");
	tb_file(&w->t, "same", "lower");
	tb_symlink(&w->t, "sym", "a");
	tb_file(&w->t, "over", "lower");
	APPLY(w);
	before = look(w, "a");
	tb_link(&w->t, "plain", "same");
	w->t.mode = 0600;
	tb_link(&w->t, "c", "a");
	w->t.mtime = 5;
	tb_link(&w->t, "sym2", "sym");
	tb_file(&w->t, "over", "upper");
	tb_link(&w->t, "c2", "c");
	w->t.mode = 0640;
	tb_link(&w->t, "late", "plain");
	clone_and_apply(w, &tree);
	after = look(w, "a");
	EQ_INT(after.st_mode, before.st_mode);
	EQ_INT(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
	EQ_STR(at(w, "over"), "lower");
	EQ_INT(look(w, "sym").st_mtim.tv_sec, TARBUILD_MTIME);
	EQ_INT(look(w, "same").st_mode & 07777, 0644);
	EQ_STR(at(w, "c"), "none");
	clone = *w;
	clone.root = snap_rootfd(tree);
	EQ_STR(at(&clone, "over"), "upper");
	EQ_STR(at(&clone, "c"), "lower");
	CHECK(same_inode(&clone, "a", "d/b"));
	CHECK(same_inode(&clone, "a", "c"));
	CHECK(same_inode(&clone, "a", "c2"));
	EQ_INT(look(&clone, "a").st_mode & 07777, 0600);
	EQ_INT(look(&clone, "a").st_mtim.tv_sec, 5);
	CHECK(same_inode(&clone, "same", "plain"));
	CHECK(same_inode(&clone, "same", "late"));
	EQ_INT(look(&clone, "same").st_mode & 07777, 0640);
	CHECK(look(&clone, "same").st_ino != look(w, "same").st_ino);
	CHECK(same_inode(&clone, "sym", "sym2"));
	EQ_INT(look(&clone, "sym2").st_mtim.tv_sec, 5);
	snap_free(tree);
}

RULE(shared_inodes_are_kept_when_nothing_differs)
{
	struct world clone;
	struct snap_tree *tree;

	tb_file(&w->t, "a", "lower");
	APPLY(w);
	tb_link(&w->t, "b", "a");
	tb_dir(&w->t, "d");
	clone_and_apply(w, &tree);
	clone = *w;
	clone.root = snap_rootfd(tree);
	EQ_INT(look(&clone, "b").st_ino, look(w, "a").st_ino);
	snap_free(tree);
}

UNIT_MAIN
