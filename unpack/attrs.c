/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/mem.h"
#include "unpack/apply.h"

#define SPECIAL_BITS 07000u
#define PERM_BITS 0777u

void probe_learn(struct probe *p, mode_t asked, const struct stat *st)
{
	p->known = true;
	p->uid = st->st_uid;
	p->gid = st->st_gid;
	p->extra = st->st_mode & SPECIAL_BITS;
	p->kept |= asked & st->st_mode & PERM_BITS;
}

static int set_owner(struct apply *a, const struct place *at, int fd, const struct tar_entry *t,
		     struct k3_err *e)
{
	int rc = fd >= 0 ? fchown(fd, t->uid, t->gid)
			 : fchownat(at->dir->fd, at->base, t->uid, t->gid, AT_SYMLINK_NOFOLLOW);

	if (!rc)
		return 0;
	if (errno != EPERM || !a->opts->lenient_owner)
		return k3_fail_sys(e, errno, "cannot change the owner of %s to %u:%u", at->path,
				   t->uid, t->gid);
	char what[32];

	snprintf(what, sizeof(what), "%u:%u", t->uid, t->gid);
	apply_loss(a, UNPACK_LOSS_OWNER, at->path, what, errno);
	return 0;
}

static bool starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

static bool plain_type(enum tar_type type)
{
	return type == TAR_FILE || type == TAR_DIR;
}

/* There is no xattr call relative to a directory descriptor; /proc gives one. */
#define PROC_NAME_MAX (NAME_MAX + 64)
static void proc_name(char out[PROC_NAME_MAX], const struct place *at)
{
	snprintf(out, PROC_NAME_MAX, "/proc/self/fd/%d/%s", at->dir->fd, at->base);
}

/* The losses that containerd allows, too; anything else fails the layer. */
static bool xattr_may_be_lost(const char *name, enum tar_type type, int errnum)
{
	if (errnum == ENOTSUP)
		return true;
	return errnum == EPERM && starts(name, "user.") && !plain_type(type);
}

static int set_xattr(struct apply *a, const struct place *at, int fd, const struct tar_entry *t,
		     const struct pax_xattr *x, struct k3_err *e)
{
	const char *name = x->name.p;
	int errnum = 0;

	if (starts(name, "trusted.")) {
		errnum = ENOTSUP; /* containerd refuses them on purpose, so nothing sees them */
	} else if (fd >= 0) {
		if (fsetxattr(fd, name, x->value.p, x->value.n, 0))
			errnum = errno;
	} else {
		char path[PROC_NAME_MAX];

		proc_name(path, at);
		if (lsetxattr(path, name, x->value.p, x->value.n, 0))
			errnum = errno;
	}
	if (!errnum)
		return 0;
	/* The value or name itself, not the disk: security.capability, ACLs, kernel limits. */
	if (errnum == EINVAL || errnum == ERANGE || errnum == E2BIG)
		return k3_fail(e, K3_FORMAT, "extended attribute %s of %s is not valid", name,
			       at->path);
	if (!xattr_may_be_lost(name, t->type, errnum))
		return k3_fail_sys(e, errnum, "cannot set extended attribute %s of %s", name,
				   at->path);
	apply_loss(a, UNPACK_LOSS_XATTR, at->path, name, errnum);
	return 0;
}

/* *mode_moved: an ACL among them changed the mode. */
static int set_xattrs(struct apply *a, const struct place *at, int fd, const struct tar_entry *t,
		      bool *mode_moved, struct k3_err *e)
{
	for (size_t i = 0; i < t->nxattrs; i++) {
		*mode_moved |= starts(t->xattrs[i].name.p, "system.");
		if (set_xattr(a, at, fd, t, &t->xattrs[i], e))
			return -1;
	}
	return 0;
}

/* Never called for symlinks: fchmodat would follow them. */
static int set_mode(struct apply *a, const struct place *at, int fd, mode_t mode, struct k3_err *e)
{
	struct stat st;

	if (fd >= 0 ? fchmod(fd, mode) : fchmodat(at->dir->fd, at->base, mode, 0))
		return k3_fail_sys(e, errno, "cannot change the mode of %s to %04o", at->path,
				   mode);
	if (!(mode & S_ISGID))
		return 0;
	/* Without CAP_FSETID the kernel leaves this bit out for a foreign group, and says nothing.
	 */
	if (fd >= 0 ? fstat(fd, &st) : fstatat(at->dir->fd, at->base, &st, AT_SYMLINK_NOFOLLOW))
		return k3_fail_sys(e, errno, "cannot look at %s", at->path);
	if (!(st.st_mode & S_ISGID))
		apply_loss(a, UNPACK_LOSS_OWNER, at->path, "set-group-id bit", EPERM);
	return 0;
}

static int set_times(const struct place *at, int fd, const struct tar_entry *t, struct k3_err *e)
{
	const struct timespec times[2] = { t->atime, t->mtime };

	if (fd >= 0 ? futimens(fd, times)
		    : utimensat(at->dir->fd, at->base, times, AT_SYMLINK_NOFOLLOW))
		return k3_fail_sys(e, errno, "cannot set the times of %s", at->path);
	return 0;
}

static bool other_owner(const struct tar_entry *t, uid_t uid, gid_t gid)
{
	return (t->uid != uid && t->uid != (uid_t)-1) || (t->gid != gid && t->gid != (gid_t)-1);
}

/*
 * The order matters: chown drops set-id bits and file capabilities, an ACL changes the mode,
 * and all of it comes before the inode gets a second name (gVisor shows stale attributes there).
 */
int attrs_set(struct apply *a, const struct place *at, int fd, const struct probe *probe,
	      const struct tar_entry *t, struct k3_err *e)
{
	bool fresh = probe->known;
	bool mode_moved = false;

	if (!fresh || other_owner(t, probe->uid, probe->gid))
		if (set_owner(a, at, fd, t, e))
			return -1;
	if (t->nxattrs && set_xattrs(a, at, fd, t, &mode_moved, e))
		return -1;
	if (t->type != TAR_SYMLINK &&
	    (!fresh || mode_moved || (t->mode & SPECIAL_BITS) != probe->extra ||
	     (t->mode & PERM_BITS & ~probe->kept)) &&
	    set_mode(a, at, fd, t->mode, e))
		return -1;
	return t->type == TAR_DIR ? 0 : set_times(at, fd, t, e);
}

int attrs_merge(struct apply *a, const struct place *at, const struct tar_entry *t,
		struct k3_err *e)
{
	const struct probe nothing = { 0 };
	struct stat st;
	K3_AUTO_FD int fd = openat(at->dir->fd, at->base,
				   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st))
		return k3_fail_sys(e, errno, "cannot open directory %s", at->path);
	if (!t->nxattrs && !other_owner(t, st.st_uid, st.st_gid) && (st.st_mode & 07777) == t->mode)
		return 0;
	dircache_changed(&a->dirs, at->dir, at->base);
	return attrs_set(a, at, fd, &nothing, t, e);
}

/* trusted.* and whatever cannot be read are left to set_xattr to report. */
static bool xattr_same(const char *path, const struct pax_xattr *x)
{
	char value[XATTR_SIZE_MAX < 4096 ? XATTR_SIZE_MAX : 4096];
	ssize_t n;

	if (x->value.n > sizeof(value))
		return false;
	n = lgetxattr(path, x->name.p, value, sizeof(value));
	return n >= 0 && (size_t)n == x->value.n && !memcmp(value, x->value.p, x->value.n);
}

int attrs_differ(struct apply *a, const struct place *at, const struct stat *st,
		 const struct tar_entry *t, bool *differ, struct k3_err *e)
{
	char path[PROC_NAME_MAX];

	(void)a, (void)e;
	*differ = other_owner(t, st->st_uid, st->st_gid) ||
		  (!S_ISLNK(st->st_mode) && (st->st_mode & 07777) != t->mode) ||
		  st->st_mtim.tv_sec != t->mtime.tv_sec || st->st_mtim.tv_nsec != t->mtime.tv_nsec;
	proc_name(path, at);
	for (size_t i = 0; i < t->nxattrs && !*differ; i++)
		*differ = !starts(t->xattrs[i].name.p, "trusted.") &&
			  !xattr_same(path, &t->xattrs[i]);
	return 0;
}

int attrs_update(struct apply *a, const struct place *at, const struct stat *st,
		 const struct tar_entry *t, struct k3_err *e)
{
	const struct probe nothing = { 0 };
	struct tar_entry as = *t;

	/* What the link leads to decides, e.g. about EPERM for user.* on a symlink. */
	if (S_ISREG(st->st_mode))
		as.type = TAR_FILE;
	else
		as.type = S_ISLNK(st->st_mode) ? TAR_SYMLINK : TAR_FIFO;
	return attrs_set(a, at, -1, &nothing, &as, e);
}
