/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
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
 * of it is seen outside, whatever happens.  Returns the errno.
 */
static int mount_overlay(int dir)
{
	char options[128];

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return errno;
	snprintf(options, sizeof(options),
		 "lowerdir=/proc/self/fd/%d/lower,upperdir=/proc/self/fd/%d/upper,"
		 "workdir=/proc/self/fd/%d/work",
		 dir, dir, dir);
	char point[48];

	snprintf(point, sizeof(point), "/proc/self/fd/%d/merged", dir);
	return mount("overlay", point, "overlay", 0, options) ? errno : 0;
}

int host_probe_overlay(int dirfd, int *refused, struct k3_err *e)
{
	AUTO_SCRATCH struct scratch s = SCRATCH;
	int status;
	pid_t pid, got;

	if (scratch_make(dirfd, &s, e))
		return -1;
	if (mkdirat(s.fd, "lower", 0755) || mkdirat(s.fd, "upper", 0755) ||
	    mkdirat(s.fd, "work", 0755) || mkdirat(s.fd, "merged", 0755))
		return k3_fail_sys(e, errno, "cannot make directories for an overlay");
	pid = fork();
	if (!pid)
		_exit(mount_overlay(s.fd) & 0xff);
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
