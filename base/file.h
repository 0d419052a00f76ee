/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of our own and of the store: checked, complete, durable.  Nothing here resolves
 * hostile paths; names inside a rootfs go through base/fsroot.h.
 * `what` is how messages call the object, usually its path.
 */
#ifndef K3_BASE_FILE_H
#define K3_BASE_FILE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* Closes and checks; *fd becomes -1.  Never retried: on Linux EINTR has closed it. */
K3_MUST int k3_close(int *fd, const char *what, struct k3_err *e);
K3_MUST int k3_fsync(int fd, const char *what, struct k3_err *e);
/* Flushes the whole file system that fd lies on (syncfs). */
K3_MUST int k3_syncfs(int fd, const char *what, struct k3_err *e);
/*
 * Lets the disk begin with what was written to fd and returns at once.  Only a hint: nothing
 * is durable before k3_fsync or k3_syncfs, which then have less left to wait for.
 */
void k3_write_behind(int fd);
/* Writes all n bytes at the current offset. */
K3_MUST int k3_write_all(int fd, const void *p, size_t n, const char *what, struct k3_err *e);
/* The same at an offset; the current one stays. */
K3_MUST int k3_pwrite_all(int fd, const void *p, size_t n, uint64_t off, const char *what,
			  struct k3_err *e);
/* Appends the whole file to *out.  K3_NOTFOUND, K3_LIMIT past out->max. */
K3_MUST int k3_read_file(int dirfd, const char *name, struct k3_buf *out, struct k3_err *e);
/* Opens a directory (O_CLOEXEC, final symlink followed).  K3_NOTFOUND, K3_IO. */
K3_MUST int k3_open_dir(int dirfd, const char *name, int *fd, struct k3_err *e);
/*
 * An empty file without a name in a directory, for reading and writing, which goes with its last
 * descriptor.
 */
K3_MUST int k3_temp_file(const char *dir, int *fd, struct k3_err *e);
/*
 * Makes `name` (one component) with exactly this mode unless it is a directory already, and
 * opens it.
 */
K3_MUST int k3_make_dir(int dirfd, const char *name, mode_t mode, int *fd, struct k3_err *e);
/* mkdir -p: missing parents get mode too. */
K3_MUST int k3_make_dirs(const char *path, mode_t mode, struct k3_err *e);
/*
 * Renames without replacing.  K3_IO with sys EEXIST when the target exists.  Where
 * renameat2(NOREPLACE) is missing (gVisor with shared file access) the target is checked
 * first: callers hold a lock that keeps others out.
 */
K3_MUST int k3_rename_new(int olddir, const char *old, int newdir, const char *name,
			  struct k3_err *e);
/*
 * Removes `name` and everything below it; absent is success.  Never leaves the tree through
 * a symlink, needs neither recursion nor more than three file descriptors however deep the
 * tree is, and does not cross mount points.
 */
K3_MUST int k3_remove_tree(int dirfd, const char *name, struct k3_err *e);

#endif
