/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a part of a test, or a program, where the kernel refuses calls, one by one or all that
 * gVisor refuses on its gofer file system, so that every way around a missing call is walked on any
 * machine.
 */
#ifndef K3_TESTS_REFUSE_H
#define K3_TESTS_REFUSE_H

#include <stdbool.h>
#include <stddef.h>

/* With the error that gVisor (20240729, shared file access) gives. */
enum refuse {
	REFUSE_OPENAT2 = 1 << 0,
	REFUSE_COPY_RANGE = 1 << 1,
	REFUSE_REFLINK = 1 << 2,
	REFUSE_TMPFILE = 1 << 3,
	REFUSE_RENAME = 1 << 4, /* renameat2 with flags */
	REFUSE_XATTR = 1 << 5,
	REFUSE_DEVICE = 1 << 6,
	REFUSE_OTHERS = 1 << 7, /* fallocate with flags, name_to_handle_at */
	REFUSE_GVISOR = (1 << 8) - 1,
	/* Every chown, with EPERM: a user namespace with one user. */
	REFUSE_OWNER = 1 << 8,
	/* Hard links, with EOPNOTSUPP, as gVisor those of fifos. */
	REFUSE_LINK = 1 << 9,
	/* Where a file has holes, with EINVAL: a file system that does not know. */
	REFUSE_HOLES = 1 << 10,
	/* Hard links, with EPERM, which is link(2)'s word for a file system that has none. */
	REFUSE_LINK_EPERM = 1 << 11,
};

struct refuse_name {
	const char *name;
	unsigned what;
};
/* Their names for command lines, n of them. */
extern const struct refuse_name refuse_names[];
extern const size_t refuse_nnames;

/* From now on for this process and all that it starts.  False where there are no filters. */
bool refuse_install(unsigned what);

/*
 * Runs part(arg) in a child whose checks count as this process's.  Its memory is gone
 * afterwards, its files are not.  False where the kernel has no seccomp filters: nothing ran.
 */
bool refuse_run(unsigned what, void (*part)(void *arg), void *arg);

#endif
