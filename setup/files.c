/* SPDX-License-Identifier: Apache-2.0 */
#include "setup/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

int file_sync_parent(const char *path, struct k3_err *e)
{
	const char *slash = strrchr(path, '/');
	K3_AUTO_FREE char *dir = slash ? k3_xstrndup(path,
						     slash == path ? 1 : (size_t)(slash - path))
				       : k3_xstrdup(".");
	K3_AUTO_FD int fd = -1;

	if (k3_open_dir(AT_FDCWD, dir, &fd, e))
		return -1;
	/* gVisor and FUSE may know no flush of directories */
	if (fsync(fd) && errno != EINVAL && errno != ENOTSUP)
		return k3_fail_sys(e, errno, "cannot flush %s to disk", dir);
	return k3_close(&fd, dir, e);
}

static int rename_new(const char *aside, const char *path, struct k3_err *e)
{
	if (rename(aside, path)) {
		k3_fail_sys(e, errno, "cannot rename %s to %s", aside, path);
		unlink(aside);
		return -1;
	}
	return file_sync_parent(path, e);
}

static int write_aside(const char *aside, const void *text, size_t n, mode_t mode, struct k3_err *e)
{
	K3_AUTO_FD int fd = -1;

	if (unlink(aside) && errno != ENOENT)
		return k3_fail_sys(e, errno, "cannot remove %s", aside);
	fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return k3_fail_sys(e, errno, "cannot create %s", aside);
	if (k3_write_all(fd, text, n, aside, e))
		return -1;
	if (fchmod(fd, mode))
		return k3_fail_sys(e, errno, "cannot set the mode of %s", aside);
	if (k3_fsync(fd, aside, e))
		return -1;
	return k3_close(&fd, aside, e);
}

int file_replace(const char *path, const void *text, size_t n, mode_t mode, struct k3_err *e)
{
	K3_AUTO_FREE char *aside = k3_xasprintf("%s.k3simg-new", path);

	if (write_aside(aside, text, n, mode, e)) {
		unlink(aside);
		return -1;
	}
	return rename_new(aside, path, e);
}

int file_replace_link(const char *path, const char *to, struct k3_err *e)
{
	K3_AUTO_FREE char *aside = k3_xasprintf("%s.k3simg-new", path);

	if (unlink(aside) && errno != ENOENT)
		return k3_fail_sys(e, errno, "cannot remove %s", aside);
	if (symlink(to, aside))
		return k3_fail_sys(e, errno, "cannot create %s", aside);
	return rename_new(aside, path, e);
}

void seen_release(struct setup_seen *s)
{
	k3_buf_release(&s->text);
}

int file_look(const char *path, struct setup_seen *out, struct k3_err *e)
{
	char to[PATH_MAX];
	struct stat st;

	*out = (struct setup_seen){ .text = K3_BUF(SETUP_FILE_MAX) };
	if (lstat(path, &st)) {
		if (errno == ENOENT)
			return 0;
		return k3_fail_sys(e, errno, "cannot look at %s", path);
	}
	out->there = true;
	out->mode = st.st_mode & 07777;
	out->link = S_ISLNK(st.st_mode);
	out->other = !out->link && !S_ISREG(st.st_mode);
	if (out->other)
		return 0;
	if (!out->link)
		return k3_read_file(AT_FDCWD, path, &out->text, e);
	ssize_t n = readlink(path, to, sizeof(to));

	if (n < 0)
		return k3_fail_sys(e, errno, "cannot read the link %s", path);
	return k3_buf_add(&out->text, to, (size_t)n, e);
}

static bool same_bytes(const struct k3_buf *a, const void *p, size_t n)
{
	return a->len == n && (!n || !memcmp(a->p, p, n));
}

bool file_is(const struct setup_seen *s, const struct setup_file *f)
{
	if (!s->there || s->other || s->link != (f->link != NULL))
		return false;
	return f->link ? same_bytes(&s->text, f->link, strlen(f->link))
		       : same_bytes(&s->text, f->text.p, f->text.len);
}
