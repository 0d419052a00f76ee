/* SPDX-License-Identifier: Apache-2.0 */
/* What a tree adds to the disk. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fsroot.h"
#include "snapshot/tree.h"

#define BLOCK 512u /* unit of st_blocks, whatever the file system's block size */

struct usage {
	struct snap_usage sum;
	struct inomap seen; /* names of an inode still to be met before it counts as ours */
};

static void count(struct usage *u, const struct stat *st)
{
	u->sum.inodes++;
	u->sum.bytes += (uint64_t)st->st_blocks * BLOCK;
}

static int usage_entry(void *arg, int fd, const struct k3_walk_ent *ent, bool *descend,
		       struct k3_err *e)
{
	struct usage *u = arg;
	struct stat st;
	bool fresh;

	(void)descend;
	if (fstatat(fd, ent->name, &st, AT_SYMLINK_NOFOLLOW))
		return k3_fail_sys(e, errno, "cannot look at %s", ent->name);
	if (ent->is_dir || st.st_nlink == 1) {
		count(u, &st);
		return 0;
	}
	uint64_t *left = inomap_at(&u->seen, st.st_ino, &fresh);

	if (fresh)
		*left = st.st_nlink;
	/* All names are in this tree: nobody else has the inode. */
	if (--*left == 0)
		count(u, &st);
	return 0;
}

int usage_count(int fd, struct snap_usage *out, struct k3_err *e)
{
	static const struct k3_walk_ops ops = { .entry = usage_entry };
	struct usage u = { 0 };
	struct stat st;

	if (fstat(fd, &st))
		return k3_fail_sys(e, errno, "cannot look at the tree");
	count(&u, &st);
	int rc = k3_walk(fd, &ops, &u, e);

	inomap_release(&u.seen);
	if (rc)
		return k3_wrap(e, "counting the tree");
	*out = u.sum;
	return 0;
}
