/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a part of a test where the kernel refuses what gVisor on its gofer file system refuses, so
 * that every way around a missing call is walked on any machine.
 */
#ifndef K3_TESTS_REFUSE_H
#define K3_TESTS_REFUSE_H

#include <stdbool.h>

enum refuse {
	/*
	 * openat2, copy_file_range, O_TMPFILE, FICLONE, renameat2 with flags, fallocate with flags,
	 * extended attributes, device nodes: with the error that gVisor (20240729, shared file
	 * access) gives.
	 */
	REFUSE_GVISOR = 1,
	/* Every chown, with EPERM: a user namespace with one user. */
	REFUSE_OWNER = 2,
	/* Hard links, with EOPNOTSUPP, as gVisor those of fifos. */
	REFUSE_LINK = 4,
};

/*
 * Runs part(arg) in a child whose checks count as this process's.  Its memory is gone
 * afterwards, its files are not.  False where the kernel has no seccomp filters: nothing ran.
 */
bool refuse_run(unsigned what, void (*part)(void *arg), void *arg);

#endif
