/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that changes a database file goes through these calls, so that a test can
 * stop, fail or record each of them.  Tests also choose the page size of a new file here.
 */
#ifndef K3_BOLT_PORT_H
#define K3_BOLT_PORT_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "bolt/bolt.h"

/* Each call returns 0 or an errno value. */
struct bolt_port {
	int (*write)(void *arg, int fd, const void *p, size_t n, uint64_t offset); /* all of n */
	int (*truncate)(void *arg, int fd, uint64_t size);
	int (*sync_data)(void *arg, int fd); /* content, and the size that it needs */
	int (*sync_all)(void *arg, int fd);
	void *arg;
};

extern const struct bolt_port bolt_port_system;

/*
 * As bolt_open, with another port (which outlives the database; NULL: the system's) and
 * page size of a new file (0: the system's).
 */
K3_MUST int bolt_open_with(int dirfd, const char *name, unsigned flags, unsigned mode,
			   const struct bolt_port *port, uint32_t page_size, struct bolt_db **out,
			   struct k3_err *e);

#endif
