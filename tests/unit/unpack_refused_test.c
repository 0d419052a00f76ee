/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On a file system that refuses much: what can be done otherwise is done otherwise, and what
 * cannot is told, name by name.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/fsroot.h"
#include "snapshot/snapshot.h"
#include "tests/unit/refuse.h"
#include "tests/unit/tarbuild.h"
#include "tests/unit/unit.h"

#define SPARSE_SIZE (8u << 20)

static struct k3_err err;

struct place {
	int top, root;
	struct k3_buf told; /* of each loss: "kind path what\n" */
	struct unpack_stats stats;
};

static void place_open(struct place *p)
{
	memset(p, 0, sizeof(*p));
	p->told = K3_BUF(4096);
	p->top = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	OK(k3_make_dir(p->top, "root", 0755, &p->root, &err));
}

static void place_close(struct place *p)
{
	k3_buf_release(&p->told);
	close(p->root);
	close(p->top);
}

static void on_loss(void *arg, enum unpack_loss_kind kind, const char *path, const char *what,
		    int errnum)
{
	struct place *p = arg;
	struct k3_err e;

	CHECK(errnum != 0);
	CHECK(!k3_buf_addf(&p->told, &e, "%d %s %s\n", (int)kind, path, what));
}

static int apply(struct place *p, int root, struct tarbuild *t, bool shared)
{
	const struct unpack_opts o = { .limits = unpack_limits_default,
				       .shared = shared,
				       .lenient_owner = true,
				       .on_loss = on_loss,
				       .arg = p };
	struct memsrc m;

	tb_end(t);
	k3_buf_reset(&p->told);
	return unpack_layer(root, OCI_MEDIA_LAYER_TAR, memsrc(&m, t->out.p, t->out.len, 7000), &o,
			    NULL, NULL, &p->stats, &err);
}

static struct stat look(int fd, const char *name)
{
	struct stat st;

	memset(&st, 0, sizeof(st));
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW))
		unit_fail(__FILE__, __LINE__, "%s is not there", name);
	return st;
}

/* Of each kind one, with what gets lost and what may not. */
static void fill(struct tarbuild *t)
{
	tb_init(t);
	tb_dir(t, "a");
	tb_dir(t, "a/b");
	tb_pax_str(t, "SCHILY.xattr.user.one", "1");
	t->mode = 04755;
	tb_file(t, "a/b/suid", "text");
	t->mode = 02711;
	tb_dir(t, "a/sgid");
	t->mode = 0;
	t->mode = 04755;
	tb_link(t, "second", "a/b/suid");
	t->mode = 0;
	tb_symlink(t, "through", "a/b");
	tb_file(t, "through/there", "x");
	tb_entry(t, '6', "fifo", "", NULL, 0);
	t->major = 1;
	t->minor = 3;
	tb_entry(t, '3', "null", "", NULL, 0);
	tb_entry(t, '4', "a/disk", "", NULL, 0);
	tb_link(t, "null2", "null");
	tb_link(t, "null3", "null2");
}

static void layer_in_gvisor(void *arg)
{
	struct place *p = arg;
	struct tarbuild t;

	fill(&t);
	OK(apply(p, p->root, &t, false));
	tb_release(&t);
	EQ_STR((const char *)p->told.p, "0 a/b/suid user.one\n"
					"1 null char\n"
					"1 a/disk block\n"
					"1 null2 link\n"
					"1 null3 link\n");
	EQ_INT(p->stats.losses, 5);
	EQ_INT(look(p->root, "a/b/suid").st_mode, S_IFREG | 04755);
	EQ_INT(look(p->root, "second").st_ino, look(p->root, "a/b/suid").st_ino);
	EQ_INT(look(p->root, "a/sgid").st_mode, S_IFDIR | 02711);
	CHECK(S_ISFIFO(look(p->root, "fifo").st_mode));
	EQ_INT(look(p->root, "a/b/there").st_size, 1);
	EQ_INT(faccessat(p->root, "null", F_OK, 0), -1);
	EQ_INT(faccessat(p->root, "null3", F_OK, 0), -1);
}

TEST(a_layer_tells_what_gvisor_refuses)
{
	struct place p;

	place_open(&p);
	refuse_run(REFUSE_GVISOR, layer_in_gvisor, &p);
	place_close(&p);
}

/* A link to what was there before, and was no device: nothing is lost, the archive is wrong. */
static void link_to_nothing(void *arg)
{
	struct place *p = arg;
	struct tarbuild t;

	tb_init(&t);
	tb_entry(&t, '3', "null", "", NULL, 0);
	tb_link(&t, "x", "nil");
	FAILS(apply(p, p->root, &t, false), K3_FORMAT);
	tb_release(&t);
	/* A file in its place is no lost device any more. */
	tb_init(&t);
	tb_entry(&t, '3', "null", "", NULL, 0);
	tb_file(&t, "null", "text");
	tb_link(&t, "x", "null");
	OK(apply(p, p->root, &t, false));
	tb_release(&t);
	EQ_INT(p->stats.losses, 1);
	EQ_INT(look(p->root, "x").st_size, 4);
}

TEST(only_lost_devices_excuse_a_link)
{
	struct place p;

	place_open(&p);
	refuse_run(REFUSE_GVISOR, link_to_nothing, &p);
	place_close(&p);
}

static void owners(void *arg)
{
	struct place *p = arg;
	struct tarbuild t;
	char told[64];

	tb_init(&t);
	t.uid = geteuid() + 5;
	t.gid = getegid();
	tb_file(&t, "other", "x");
	t.uid = geteuid();
	tb_file(&t, "own", "x");
	OK(apply(p, p->root, &t, false));
	tb_release(&t);
	snprintf(told, sizeof(told), "2 other %u:%u\n", geteuid() + 5, getegid());
	EQ_STR((const char *)p->told.p, told);
	EQ_INT(look(p->root, "other").st_uid, geteuid());
}

TEST(a_layer_tells_which_owners_are_refused)
{
	struct place p;

	place_open(&p);
	refuse_run(REFUSE_OWNER, owners, &p);
	place_close(&p);
}

static void drop_capability(unsigned which)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	EQ_INT(syscall(SYS_capget, &head, data), 0);
	data[CAP_TO_INDEX(which)].effective &= ~CAP_TO_MASK(which);
	EQ_INT(syscall(SYS_capset, &head, data), 0);
}

static void without_fsetid(void *arg)
{
	struct place *p = arg;
	struct tarbuild t;

	drop_capability(CAP_FSETID);
	tb_init(&t);
	t.gid = 42;
	t.mode = 02755;
	tb_file(&t, "group", "x");
	tb_dir(&t, "team");
	t.mode = 04755;
	tb_file(&t, "user", "x");
	t.gid = 0;
	t.mode = 02755;
	tb_file(&t, "own", "x");
	OK(apply(p, p->root, &t, false));
	tb_release(&t);
	EQ_STR((const char *)p->told.p, "2 group set-group-id bit\n"
					"2 team set-group-id bit\n");
	EQ_INT(look(p->root, "group").st_mode, S_IFREG | 0755);
	EQ_INT(look(p->root, "user").st_mode, S_IFREG | 04755);
	EQ_INT(look(p->root, "own").st_mode, S_IFREG | 02755);
}

TEST(a_set_group_id_bit_that_is_left_out_is_told)
{
	struct place p;

	if (geteuid() != 0)
		return;
	place_open(&p);
	refuse_run(REFUSE_TMPFILE, without_fsetid, &p);
	place_close(&p);
}

/* clone, copy-up by a link whose header differs, publish: none of it has its usual calls. */
static void tree_in_gvisor(void *arg)
{
	struct place *p = arg;
	struct snap_tree *tree = NULL;
	struct snap_usage usage;
	struct tarbuild t;
	struct stat old;

	fill(&t);
	OK(apply(p, p->root, &t, false));
	tb_release(&t);
	old = look(p->root, "a/b/suid");
	OK(snap_begin(p->top, "stage", p->root, SNAP_HARDLINK, NULL, &tree, &err));
	CHECK(snap_is_shared(tree));
	tb_init(&t);
	t.mode = 0600;
	tb_link(&t, "third", "a/b/suid");
	OK(apply(p, snap_rootfd(tree), &t, true));
	tb_release(&t);
	EQ_INT(look(snap_rootfd(tree), "a/b/suid").st_mode, S_IFREG | 0600);
	EQ_INT(look(snap_rootfd(tree), "second").st_ino, look(snap_rootfd(tree), "third").st_ino);
	EQ_INT(look(p->root, "a/b/suid").st_mode, S_IFREG | 04755);
	EQ_INT(look(p->root, "a/b/suid").st_ino, old.st_ino);
	OK(snap_seal(tree, &usage, &err));
	EQ_INT(mkdirat(p->top, "taken", 0755), 0);
	FAILS(snap_publish(tree, p->top, "taken", &err), K3_IO);
	EQ_INT(err.sys, EEXIST);
	OK(snap_publish(tree, p->top, "done", &err));
	EQ_INT(look(p->top, "done/third").st_size, 4);
	snap_free(tree);
}

TEST(trees_without_the_usual_calls)
{
	struct place p;

	place_open(&p);
	refuse_run(REFUSE_GVISOR, tree_in_gvisor, &p);
	place_close(&p);
}

static void trees_without_links(void *arg)
{
	struct place *p = arg;
	struct snap_tree *tree = NULL;
	struct snap_usage usage;
	struct tarbuild t;

	tb_init(&t);
	t.mode = 0640;
	tb_entry(&t, '6', "fifo", "", NULL, 0);
	tb_link(&t, "fifo2", "fifo");
	tb_file(&t, "file", "text");
	tb_link(&t, "file2", "file");
	OK(apply(p, p->root, &t, false));
	tb_release(&t);
	OK(snap_begin(p->top, "stage", p->root, SNAP_HARDLINK, NULL, &tree, &err));
	CHECK(!snap_is_shared(tree));
	EQ_INT(look(snap_rootfd(tree), "fifo2").st_mode, S_IFIFO | 0640);
	EQ_INT(look(snap_rootfd(tree), "file2").st_size, 4);
	EQ_INT(look(snap_rootfd(tree), "file2").st_mtime, TARBUILD_MTIME);
	OK(snap_seal(tree, &usage, &err));
	EQ_INT(usage.inodes, 5);
	snap_free(tree);
}

TEST(trees_without_hard_links_are_copies)
{
	struct place p;

	place_open(&p);
	refuse_run(REFUSE_GVISOR | REFUSE_LINK, trees_without_links, &p);
	place_close(&p);
	place_open(&p);
	refuse_run(REFUSE_LINK_EPERM, trees_without_links, &p);
	place_close(&p);
}

static void group_without_links(void *arg)
{
	struct place *p = arg;
	struct snap_tree *tree = NULL;

	OK(snap_begin(p->top, "stage", p->root, SNAP_HARDLINK, NULL, &tree, &err));
	EQ_INT(look(snap_rootfd(tree), "second").st_size, 4);
	EQ_INT(look(snap_rootfd(tree), "second").st_mode, S_IFREG | 04755);
	EQ_INT(look(snap_rootfd(tree), "a/b/suid").st_size, 4);
	snap_free(tree);
}

/* Names of one file that was linked before the file system took no more. */
TEST(a_group_that_cannot_be_linked_is_copied)
{
	struct tarbuild t;
	struct place p;

	place_open(&p);
	fill(&t);
	OK(apply(&p, p.root, &t, false));
	tb_release(&t);
	refuse_run(REFUSE_LINK, group_without_links, &p);
	refuse_run(REFUSE_LINK_EPERM, group_without_links, &p);
	place_close(&p);
}

static void copies_in_gvisor(void *arg)
{
	struct place *p = arg;
	char got[8] = { 0 };
	int fd = openat(p->top, "sparse", O_RDWR | O_CREAT | O_CLOEXEC, 04711);

	CHECK(fd >= 0 && !ftruncate(fd, SPARSE_SIZE) &&
	      pwrite(fd, "middle", 6, SPARSE_SIZE / 2) == 6);
	EQ_INT(fchmod(fd, 04711), 0);
	close(fd);
	OK(k3_copy_node(p->top, "sparse", p->root, "copy", true, &err));
	EQ_INT(look(p->root, "copy").st_size, SPARSE_SIZE);
	EQ_INT(look(p->root, "copy").st_mode, S_IFREG | 04711);
	/* A file system that knows no holes has none to keep. */
	CHECK(look(p->root, "copy").st_blocks <= look(p->top, "sparse").st_blocks + 8);
	fd = openat(p->root, "copy", O_RDONLY | O_CLOEXEC);
	EQ_INT(pread(fd, got, 6, SPARSE_SIZE / 2), 6);
	EQ_STR(got, "middle");
	close(fd);
}

TEST(copies_without_the_usual_calls)
{
	struct place p;

	place_open(&p);
	refuse_run(REFUSE_GVISOR, copies_in_gvisor, &p);
	place_close(&p);
}

TEST(each_call_alone_can_be_missing)
{
	for (unsigned what = 1; what & REFUSE_GVISOR; what <<= 1) {
		struct place p;

		place_open(&p);
		refuse_run(what, tree_in_gvisor, &p);
		refuse_run(what, copies_in_gvisor, &p);
		place_close(&p);
	}
}

static void copy_without_holes(void *arg)
{
	struct place *p = arg;
	char got[8] = { 0 };
	int fd = openat(p->top, "sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	CHECK(fd >= 0 && !ftruncate(fd, SPARSE_SIZE) && pwrite(fd, "end", 3, SPARSE_SIZE - 3) == 3);
	close(fd);
	OK(k3_copy_node(p->top, "sparse", p->root, "copy", true, &err));
	EQ_INT(look(p->root, "copy").st_size, SPARSE_SIZE);
	fd = openat(p->root, "copy", O_RDONLY | O_CLOEXEC);
	EQ_INT(pread(fd, got, sizeof(got), SPARSE_SIZE - 3), 3);
	EQ_STR(got, "end");
	close(fd);
}

TEST(copies_where_nobody_knows_of_holes)
{
	struct place p;

	place_open(&p);
	refuse_run(REFUSE_HOLES | REFUSE_REFLINK, copy_without_holes, &p);
	place_close(&p);
}

UNIT_MAIN
