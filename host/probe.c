/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "host/host.h"
#include "host/scratch.h"

/* Anybody but us: an owner of files in images. */
#define OTHER_ID 1000

/* One ability: returns 0, or the errno.  dir is empty but for what the test itself leaves. */
typedef int probe_fn(int dir);

/* 0, or the errno of a call that returns -1. */
static int refused(long rc)
{
	return rc < 0 ? errno : 0;
}

static int make(int dir, const char *name)
{
	return openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
}

static mode_t mode_of(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) ? 0 : st.st_mode & 07777;
}

/* ---- names and inodes ----------------------------------------------------------------------- */

static int link_(int dir)
{
	K3_AUTO_FD int fd = make(dir, "link-a");
	struct stat st;

	if (fd < 0 || linkat(dir, "link-a", dir, "link-b", 0))
		return errno;
	return refused(fstatat(dir, "link-b", &st, 0)) ?: (st.st_nlink == 2 ? 0 : EIO);
}

static int link_coherent(int dir)
{
	K3_AUTO_FD int fd = make(dir, "coherent-a");
	struct stat st;

	if (fd < 0 || linkat(dir, "coherent-a", dir, "coherent-b", 0) ||
	    fstatat(dir, "coherent-b", &st, 0) || fchmodat(dir, "coherent-a", 0700, 0))
		return errno;
	return mode_of(dir, "coherent-b") == 0700 ? 0 : EIO;
}

static int device(int dir)
{
	struct stat st;

	if (mknodat(dir, "device", S_IFCHR | 0600, makedev(1, 3)) ||
	    fstatat(dir, "device", &st, AT_SYMLINK_NOFOLLOW))
		return errno;
	return S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3) ? 0 : EIO;
}

static int fifo(int dir)
{
	return refused(mknodat(dir, "fifo", S_IFIFO | 0600, 0));
}

static int chown_(int dir)
{
	K3_AUTO_FD int fd = make(dir, "owned");
	struct stat st;

	if (fd < 0 || fchown(fd, OTHER_ID, OTHER_ID + 1) || fstat(fd, &st))
		return errno;
	return st.st_uid == OTHER_ID && st.st_gid == OTHER_ID + 1 ? 0 : EIO;
}

static int special_mode(int dir)
{
	K3_AUTO_FD int fd = make(dir, "special");

	if (fd < 0 || fchmod(fd, 07755))
		return errno;
	return mode_of(dir, "special") == 07755 ? 0 : EIO;
}

static int special_create(int dir)
{
	K3_AUTO_FD int fd = openat(dir, "suid", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 04700);

	if (fd < 0)
		return errno;
	return mode_of(dir, "suid") & 04000 ? 0 : EIO;
}

static int rename_with(int dir, unsigned flags, const char *from, const char *to)
{
	return refused(syscall(SYS_renameat2, dir, from, dir, to, flags));
}

static int rename_noreplace(int dir)
{
	K3_AUTO_FD int fd = make(dir, "from");

	return fd < 0 ? errno : rename_with(dir, RENAME_NOREPLACE, "from", "to");
}

static int rename_exchange(int dir)
{
	K3_AUTO_FD int a = make(dir, "left"), b = make(dir, "right");

	return a < 0 || b < 0 ? errno : rename_with(dir, RENAME_EXCHANGE, "left", "right");
}

/* ---- attributes ----------------------------------------------------------------------------- */

static int xattr(int dir, const char *file, const char *name, const void *value, size_t n)
{
	K3_AUTO_FD int fd = make(dir, file);
	uint8_t got[64];

	if (fd < 0 || fsetxattr(fd, name, value, n, 0))
		return errno;
	return fgetxattr(fd, name, got, sizeof(got)) == (ssize_t)n && !memcmp(got, value, n) ? 0
											     : EIO;
}

static int xattr_user(int dir)
{
	return xattr(dir, "user", "user.k3simg", "1", 1);
}

static int xattr_trusted(int dir)
{
	return xattr(dir, "trusted", "trusted.k3simg", "1", 1);
}

static int xattr_security(int dir)
{
	/* linux/capability.h, struct vfs_cap_data of revision 2: cap_net_raw, as ping has it. */
	static const uint8_t cap[20] = { 1, 0, 0, 2, 0, 0x20 };

	return xattr(dir, "security", "security.capability", cap, sizeof(cap));
}

/* ---- content -------------------------------------------------------------------------------- */

static int source(int dir)
{
	int fd = make(dir, "source");

	if (fd >= 0 && !lseek(fd, 0, SEEK_END) && write(fd, "k3simg", 6) != 6)
		k3_closep(&fd);
	return fd;
}

static int reflink(int dir)
{
	K3_AUTO_FD int from = source(dir), to = make(dir, "clone");

	return from < 0 || to < 0 ? errno : refused(ioctl(to, FICLONE, from));
}

static int copy_range(int dir)
{
	K3_AUTO_FD int from = source(dir), to = make(dir, "copy");
	loff_t at = 0;
	ssize_t n;

	if (from < 0 || to < 0)
		return errno;
	n = copy_file_range(from, &at, to, NULL, 6, 0);
	return n < 0 ? errno : n == 6 ? 0 : EIO;
}

static int tmpfile_(int dir)
{
	K3_AUTO_FD int fd = openat(dir, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	char path[32];

	if (fd < 0)
		return errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return refused(linkat(AT_FDCWD, path, dir, "linked", AT_SYMLINK_FOLLOW));
}

static int openat2_(int dir)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
	K3_AUTO_FD int fd = (int)syscall(SYS_openat2, dir, ".", &how, sizeof(how));

	return refused(fd);
}

/* Two descriptions of one file, as two processes have them: the second is kept out. */
static int flock_(int dir)
{
	K3_AUTO_FD int a = make(dir, "locked"), b = make(dir, "locked");

	if (a < 0 || b < 0 || flock(a, LOCK_EX | LOCK_NB))
		return errno;
	return flock(b, LOCK_EX | LOCK_NB) ? (errno == EWOULDBLOCK ? 0 : errno) : EIO;
}

static int shared_map(int dir)
{
	K3_AUTO_FD int fd = make(dir, "mapped");
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	char got[2] = "";
	bool same;
	char *map;

	if (fd < 0 || ftruncate(fd, (off_t)size))
		return errno;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return errno;
	same = pwrite(fd, "a", 1, 0) == 1 && *(volatile char *)map == 'a';
	((volatile char *)map)[1] = 'b';
	same = same && pread(fd, got, 2, 0) == 2 && got[0] == 'a' && got[1] == 'b';
	munmap(map, size);
	return same ? 0 : EIO;
}

static const struct {
	const char *name;
	probe_fn *fn;
} abilities[HOST_FS_ABILITIES] = {
	[HOST_FS_LINK] = { "hard-links", link_ },
	[HOST_FS_LINK_COHERENT] = { "coherent-links", link_coherent },
	[HOST_FS_REFLINK] = { "reflinks", reflink },
	[HOST_FS_XATTR_USER] = { "user-xattrs", xattr_user },
	[HOST_FS_XATTR_TRUSTED] = { "trusted-xattrs", xattr_trusted },
	[HOST_FS_XATTR_SECURITY] = { "capabilities", xattr_security },
	[HOST_FS_DEVICE] = { "device-nodes", device },
	[HOST_FS_FIFO] = { "fifos", fifo },
	[HOST_FS_CHOWN] = { "owners", chown_ },
	[HOST_FS_SPECIAL_MODE] = { "special-modes", special_mode },
	[HOST_FS_SPECIAL_CREATE] = { "special-modes-at-creation", special_create },
	[HOST_FS_OPENAT2] = { "openat2", openat2_ },
	[HOST_FS_TMPFILE] = { "tmpfile", tmpfile_ },
	[HOST_FS_COPY_RANGE] = { "copy-file-range", copy_range },
	[HOST_FS_RENAME_NOREPLACE] = { "rename-noreplace", rename_noreplace },
	[HOST_FS_RENAME_EXCHANGE] = { "rename-exchange", rename_exchange },
	[HOST_FS_FLOCK] = { "flock", flock_ },
	[HOST_FS_SHARED_MAP] = { "shared-map", shared_map },
};

int host_probe_fs(int dirfd, struct host_fs *out, struct k3_err *e)
{
	AUTO_SCRATCH struct scratch s = SCRATCH;
	struct statfs st;

	if (fstatfs(dirfd, &st))
		return k3_fail_sys(e, errno, "cannot look at the file system");
	if (scratch_make(dirfd, &s, e))
		return -1;
	out->type = (int64_t)st.f_type;
	for (size_t k = 0; k < HOST_FS_ABILITIES; k++) {
		out->refused[k] = abilities[k].fn(s.fd);
		/* What is full says nothing about what it can do. */
		if (out->refused[k] == ENOSPC || out->refused[k] == EDQUOT)
			return k3_fail_sys(e, out->refused[k], "cannot try the file system");
	}
	return scratch_remove(&s, e);
}

bool host_fs_can(const struct host_fs *fs, enum host_fs_ability what)
{
	return !fs->refused[what];
}

const char *host_fs_name(enum host_fs_ability what)
{
	return abilities[what].name;
}

int host_read_space(int dirfd, struct host_space *out, struct k3_err *e)
{
	struct statfs st;

	if (fstatfs(dirfd, &st))
		return k3_fail_sys(e, errno, "cannot look at the file system");
	*out = (struct host_space){
		.bytes = (uint64_t)st.f_blocks * (uint64_t)st.f_frsize,
		.free = (uint64_t)st.f_bavail * (uint64_t)st.f_frsize,
		.inodes = st.f_files,
		.free_inodes = st.f_ffree,
	};
	return 0;
}
