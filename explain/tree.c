/* SPDX-License-Identifier: Apache-2.0 */
#include "explain/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define PATH_TEXT_MAX (64u << 10) /* of a path with the targets of symlinks in front of it */

/* The directory that holds the last component, whose real path comes into *real. */
static int open_parent(struct k3_root *root, const char *dir, struct k3_buf *real, int *fd,
		       struct k3_err *e)
{
	/* Only the walk by components knows where ".." behind a symlink leads. */
	bool up = strstr(dir, "..");
	struct k3_root walk = { .fd = root->fd, .no_openat2 = root->no_openat2 || up };
	K3_AUTO_BUF struct k3_buf clean = K3_BUF(PATH_TEXT_MAX);
	struct k3_root_dir found;

	k3_buf_reset(real);
	if ((!up && k3_path_clean(dir, &clean, e)) ||
	    k3_root_open_dir(&walk, root->fd, up ? dir : (const char *)clean.p, false, real, &found,
			     e))
		return -1;
	*fd = found.fd;
	return 0;
}

static void take(int dir, const char *real, const char *base, const struct stat *st,
		 struct tree_file *out)
{
	*out = (struct tree_file){
		.path = k3_xasprintf("/%s%s%s", real, *real && *base ? "/" : "", base),
		.st = *st,
		.fd = -1,
	};
	if (S_ISREG(st->st_mode))
		out->fd = openat(dir, base, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

/* The text of the path goes on behind the symlink `base` in the directory `real`. */
static int follow(int dir, const char *real, const char *base, char **path, struct k3_err *e)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dir, base, target, sizeof(target) - 1);

	if (n < 0)
		return k3_fail_sys(e, errno, "cannot read symlink %s", base);
	target[n] = '\0';
	free(*path);
	*path = target[0] == '/' ? k3_xstrdup(target) : k3_xasprintf("%s/%s", real, target);
	return strlen(*path) < PATH_TEXT_MAX ? 0 : k3_fail(e, K3_LIMIT, "the path is too long");
}

/* Where the last component of a path begins; one that can only be a directory is none. */
static size_t last_component(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;

	if (!strcmp(base, ".") || !strcmp(base, ".."))
		base = path + strlen(path);
	return (size_t)(base - path);
}

/* One step: *path is looked at, or becomes the path behind a symlink (*again). */
static int step(struct k3_root *root, char **path, struct tree_file *out, bool *again,
		struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf real = K3_BUF(PATH_TEXT_MAX);
	size_t cut = last_component(*path);
	K3_AUTO_FREE char *dir = k3_xstrndup(*path, cut);
	K3_AUTO_FREE char *base = k3_xstrdup(*path + cut);
	K3_AUTO_FD int fd = -1;
	struct stat st;

	*again = false;
	if (open_parent(root, dir, &real, &fd, e))
		return -1;
	if (fstatat(fd, base, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) {
		if (errno == ENOENT)
			return k3_fail(e, K3_NOTFOUND, "%s does not exist", *path);
		return k3_fail_sys(e, errno, "cannot look at %s", *path);
	}
	if (!S_ISLNK(st.st_mode)) {
		take(fd, (const char *)real.p, base, &st, out);
		return 0;
	}
	*again = true;
	return follow(fd, (const char *)real.p, base, path, e);
}

int tree_find(struct k3_root *root, const char *path, struct tree_file *out, struct k3_err *e)
{
	K3_AUTO_FREE char *at = k3_xstrdup(path);
	bool again = true;

	for (unsigned links = 0; links <= K3_ROOT_LINKS_MAX; links++) {
		if (step(root, &at, out, &again, e))
			return -1;
		if (!again)
			return 0;
	}
	return k3_fail(e, K3_UNSAFE, "%s: symlinks without end", path);
}

void tree_file_release(struct tree_file *f)
{
	free(f->path);
	k3_closep(&f->fd);
	*f = (struct tree_file){ .fd = -1 };
}

int tree_read(struct k3_root *root, const char *path, struct k3_buf *out, struct k3_err *e)
{
	__attribute__((cleanup(tree_file_release))) struct tree_file f = { .fd = -1 };
	uint8_t piece[4096];
	ssize_t n;

	if (tree_find(root, path, &f, e))
		return -1;
	if (!S_ISREG(f.st.st_mode))
		return k3_fail(e, K3_FORMAT, "%s is no regular file", path);
	if (f.fd < 0)
		return k3_fail(e, K3_IO, "%s cannot be opened", path);
	while ((n = read(f.fd, piece, sizeof(piece))) > 0)
		if (k3_buf_add(out, piece, (size_t)n, e))
			return k3_wrap(e, "%s", path);
	return n < 0 ? k3_fail_sys(e, errno, "cannot read %s", path) : 0;
}
