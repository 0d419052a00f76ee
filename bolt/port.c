/* SPDX-License-Identifier: Apache-2.0 */
#include "bolt/port.h"

#include <errno.h>
#include <unistd.h>

static int system_write(void *arg, int fd, const void *p, size_t n, uint64_t offset)
{
	const char *from = p;

	(void)arg;
	while (n) {
		ssize_t done = pwrite(fd, from, n, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return errno;
		if (!done)
			return EIO;
		from += done;
		n -= (size_t)done;
		offset += (uint64_t)done;
	}
	return 0;
}

static int system_truncate(void *arg, int fd, uint64_t size)
{
	(void)arg;
	return ftruncate(fd, (off_t)size) ? errno : 0;
}

static int system_sync_data(void *arg, int fd)
{
	(void)arg;
	return fdatasync(fd) ? errno : 0;
}

static int system_sync_all(void *arg, int fd)
{
	(void)arg;
	return fsync(fd) ? errno : 0;
}

const struct bolt_port bolt_port_system = {
	.write = system_write,
	.truncate = system_truncate,
	.sync_data = system_sync_data,
	.sync_all = system_sync_all,
};
