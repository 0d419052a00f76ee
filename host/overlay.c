/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/host.h"
#include "host/scratch.h"

/*
 * The child's part.  Its mounts are made private first and go with its namespace, so that nothing
 * of it is seen outside, whatever happens.  The directory is opened again: a descriptor from
 * before belongs to a mount of the old namespace, on which nothing can be mounted any more.
 * Options name it by its descriptor, since its path may have commas and colons.  Returns the errno.
 */
static int mount_overlay(const char *path)
{
	char options[128], point[48];
	int dir;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return errno;
	dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return errno;
	snprintf(options, sizeof(options),
		 "lowerdir=/proc/self/fd/%d/lower,upperdir=/proc/self/fd/%d/upper,"
		 "workdir=/proc/self/fd/%d/work",
		 dir, dir, dir);
	snprintf(point, sizeof(point), "/proc/self/fd/%d/merged", dir);
	return mount("overlay", point, "overlay", 0, options) ? errno : 0;
}

int host_probe_overlay(int dirfd, int *refused, struct k3_err *e)
{
	AUTO_SCRATCH struct scratch s = SCRATCH;
	char link[32], path[PATH_MAX];
	int status;
	ssize_t n;
	pid_t pid, got;

	if (scratch_make(dirfd, &s, e))
		return -1;
	if (mkdirat(s.fd, "lower", 0755) || mkdirat(s.fd, "upper", 0755) ||
	    mkdirat(s.fd, "work", 0755) || mkdirat(s.fd, "merged", 0755))
		return k3_fail_sys(e, errno, "cannot make directories for an overlay");
	snprintf(link, sizeof(link), "/proc/self/fd/%d", s.fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return k3_fail_sys(e, errno, "cannot read %s", link);
	path[n] = '\0';
	pid = fork();
	if (!pid)
		_exit(mount_overlay(path) & 0xff);
	if (pid < 0)
		return k3_fail_sys(e, errno, "cannot fork");
	do
		got = waitpid(pid, &status, 0);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return k3_fail_sys(e, errno, "cannot wait for a child");
	*refused = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
	return scratch_remove(&s, e);
}
