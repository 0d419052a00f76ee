/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "unpack/apply.h"

#define PERM_BITS 0777u
/* Between two looks at the cancel flag while one file is written. */
#define CANCEL_STEP (1u << 20)
/*
 * Files from this size on go to the disk while the rest is unpacked.  They are an eighth of a
 * usual image's files and nine tenths of its bytes; for smaller ones the call costs more than
 * the wait at the end that it saves.
 */
#define BEHIND_MIN (64u << 10)
/* One of them may be huge: the disk begins before it ends. */
#define BEHIND_STEP (8u << 20)

/* Holes stay holes: containerd writes zeros there, which reads the same. */
static int write_sparse(struct apply *a, int fd, const struct place *at, const struct tar_entry *t,
			struct k3_err *e)
{
	uint64_t off = 0;
	const uint8_t *p;
	size_t n;

	if (ftruncate(fd, (off_t)t->size))
		return k3_fail_sys(e, errno, "cannot set the size of %s", at->path);
	for (;;) {
		if (tar_data(a->tar, &off, &p, &n, e))
			return k3_wrap(e, "%s", at->path);
		if (!n)
			return 0;
		if (k3_pwrite_all(fd, p, n, off, at->path, e))
			return -1;
	}
}

static int write_data(struct apply *a, int fd, const struct place *at, struct k3_err *e)
{
	uint64_t off = 0;
	size_t since = 0, behind = 0;
	const uint8_t *p;
	size_t n;

	for (;;) {
		if (tar_data(a->tar, &off, &p, &n, e))
			return k3_wrap(e, "%s", at->path);
		if (!n)
			break;
		if (k3_write_all(fd, p, n, at->path, e))
			return -1;
		since += n;
		behind += n;
		if (since < CANCEL_STEP)
			continue;
		if (k3_cancel_check(a->opts->cancel, e))
			return -1;
		since = 0;
		if (behind < BEHIND_STEP)
			continue;
		k3_write_behind(fd);
		behind = 0;
	}
	if (behind >= BEHIND_MIN)
		k3_write_behind(fd);
	return 0;
}

/* Looks at what a directory's first file got, so that later ones need no look. */
static int probe_file(int fd, const struct place *at, mode_t asked, struct k3_err *e)
{
	struct probe *p = &at->dir->file;
	struct stat st;

	if (p->known && !(asked & ~p->kept))
		return 0;
	if (fstat(fd, &st))
		return k3_fail_sys(e, errno, "cannot look at %s", at->path);
	probe_learn(p, asked, &st);
	return 0;
}

static int make_file(struct apply *a, const struct place *at, const struct tar_entry *t,
		     struct k3_err *e)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	K3_AUTO_FD int fd = openat(at->dir->fd, at->base, flags, t->mode & PERM_BITS);

	if (fd < 0 && errno == EEXIST) {
		if (place_clear(a, at, e))
			return -1;
		fd = openat(at->dir->fd, at->base, flags, t->mode & PERM_BITS);
	}
	if (fd < 0)
		return k3_fail_sys(e, errno, "cannot create %s", at->path);
	if (t->sparse ? write_sparse(a, fd, at, t, e) : write_data(a, fd, at, e))
		return -1;
	if (probe_file(fd, at, t->mode & PERM_BITS, e) ||
	    attrs_set(a, at, fd, &at->dir->file, t, e))
		return -1;
	return k3_close(&fd, at->path, e);
}

static int new_dir(struct apply *a, const struct place *at, const struct tar_entry *t,
		   struct k3_err *e)
{
	struct probe *p = &at->dir->subdir;
	mode_t asked = t->mode & PERM_BITS;
	K3_AUTO_FD int fd = -1;

	if (!p->known || (asked & ~p->kept)) {
		struct stat st;

		if (fstatat(at->dir->fd, at->base, &st, AT_SYMLINK_NOFOLLOW))
			return k3_fail_sys(e, errno, "cannot look at %s", at->path);
		probe_learn(p, asked, &st);
	}
	if (t->nxattrs) {
		fd = openat(at->dir->fd, at->base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return k3_fail_sys(e, errno, "cannot open directory %s", at->path);
	}
	return attrs_set(a, at, fd, p, t, e);
}

static int make_dir(struct apply *a, const struct place *at, const struct tar_entry *t,
		    struct k3_err *e)
{
	const struct times_item again = {
		.name = (const char *)a->name.p,
		.doubtful = at->dir->via_link,
		.times = { t->atime, t->mtime },
	};
	mode_t mode = t->mode & PERM_BITS;
	bool made = mkdirat(at->dir->fd, at->base, mode) == 0;

	if (!made && errno == EEXIST) {
		struct stat st;

		if (fstatat(at->dir->fd, at->base, &st, AT_SYMLINK_NOFOLLOW))
			return k3_fail_sys(e, errno, "cannot look at %s", at->path);
		if (S_ISDIR(st.st_mode))
			return attrs_merge(a, at, t, e) || times_add(&a->times, &again, e) ? -1 : 0;
		if (place_clear(a, at, e))
			return -1;
		made = mkdirat(at->dir->fd, at->base, mode) == 0;
	}
	if (!made)
		return k3_fail_sys(e, errno, "cannot make directory %s", at->path);
	return new_dir(a, at, t, e) || times_add(&a->times, &again, e) ? -1 : 0;
}

static int make_symlink(struct apply *a, const struct place *at, const struct tar_entry *t,
			struct k3_err *e)
{
	int rc = symlinkat(t->link, at->dir->fd, at->base);

	if (rc && errno == EEXIST) {
		if (place_clear(a, at, e))
			return -1;
		rc = symlinkat(t->link, at->dir->fd, at->base);
	}
	if (rc && (errno == ENOENT || errno == EINVAL) && !*t->link)
		return k3_fail(e, K3_FORMAT, "%s: symlink without a target", at->path);
	if (rc && errno == ENAMETOOLONG)
		return k3_fail(e, K3_LIMIT, "%s: symlink target too long for a file system",
			       at->path);
	if (rc)
		return k3_fail_sys(e, errno, "cannot make symlink %s", at->path);
	return attrs_set(a, at, -1, &at->dir->file, t, e);
}

static mode_t node_type(enum tar_type type)
{
	switch (type) {
	case TAR_CHAR:
		return S_IFCHR;
	case TAR_BLOCK_DEV:
		return S_IFBLK;
	default:
		return S_IFIFO;
	}
}

/* Devices and fifos are rare: everything is set without looking what is needed. */
static int make_special(struct apply *a, const struct place *at, const struct tar_entry *t,
			struct k3_err *e)
{
	const struct probe nothing = { 0 };
	mode_t mode = node_type(t->type) | (t->mode & PERM_BITS);
	dev_t dev = t->type == TAR_FIFO ? 0 : makedev(t->major, t->minor);

	if (place_clear(a, at, e))
		return -1;
	if (!mknodat(at->dir->fd, at->base, mode, dev))
		return attrs_set(a, at, -1, &nothing, t, e);
	if (errno == EINVAL)
		return k3_fail(e, K3_FORMAT, "%s: device %u:%u is out of range", at->path, t->major,
			       t->minor);
	if (errno != EPERM || !a->opts->lenient_owner || t->type == TAR_FIFO)
		return k3_fail_sys(e, errno, "cannot make %s %s",
				   t->type == TAR_FIFO ? "fifo" : "device", at->path);
	apply_loss(a, UNPACK_LOSS_DEVICE, at->path, t->type == TAR_CHAR ? "char" : "block", errno);
	u64set_add(&a->lost, place_hash(at));
	return 0;
}

int create_node(struct apply *a, const struct place *at, const struct tar_entry *t,
		struct k3_err *e)
{
	switch (t->type) {
	case TAR_FILE:
		return make_file(a, at, t, e);
	case TAR_DIR:
		return make_dir(a, at, t, e);
	case TAR_SYMLINK:
		return make_symlink(a, at, t, e);
	case TAR_LINK:
		return create_link(a, at, t, e);
	default:
		return make_special(a, at, t, e);
	}
}
