/* SPDX-License-Identifier: Apache-2.0 */
#include "bolt/db.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "bolt/copy.h"
#include "bolt/damage.h"
#include "bolt/txn.h"

#define OPEN_TRIES 8 /* races with somebody who creates, renames or removes the file */

static void unmap(struct bolt_db *db)
{
	union {
		const uint8_t *in;
		void *out;
	} map = { .in = db->map };

	if (db->map)
		munmap(map.out, db->map_len);
	db->map = NULL;
	db->map_len = 0;
}

static int file_size(struct bolt_db *db, struct k3_err *e)
{
	struct stat st;

	if (fstat(db->fd, &st))
		return k3_fail_sys(e, errno, "cannot get the size");
	if (!S_ISREG(st.st_mode))
		return bolt_damaged(e, "not a regular file");
	db->size = (uint64_t)st.st_size;
	return 0;
}

int bolt_db_map(struct bolt_db *db, struct k3_err *e)
{
	if (file_size(db, e))
		return k3_wrap(e, "%s", db->name);
	if (db->map && db->map_len == db->size)
		return 0;
	unmap(db);
	if (db->size > SIZE_MAX)
		return k3_fail(e, K3_LIMIT, "%s: file of %" PRIu64 " bytes is too large to map",
			       db->name, db->size);
	void *map = mmap(NULL, (size_t)db->size, PROT_READ, MAP_SHARED, db->fd, 0);

	if (map == MAP_FAILED)
		return k3_fail_sys(e, errno, "%s: cannot map %" PRIu64 " bytes", db->name,
				   db->size);
	db->map = map;
	db->map_len = (size_t)db->size;
	return 0;
}

static int open_file(int dirfd, const char *name, unsigned flags, int *fd, struct k3_err *e)
{
	/* O_NONBLOCK: a FIFO put in the place of the file must not hang us. */
	int how = (flags & BOLT_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

	for (int i = 0; i < OPEN_TRIES; i++) {
		*fd = openat(dirfd, name, how);
		if (*fd >= 0 || errno != ENOENT || !(flags & BOLT_CREATE))
			break;
		/* Nobody else may read it before create_content() sets the final mode. */
		*fd = openat(dirfd, name, how | O_CREAT | O_EXCL, 0600);
		if (*fd >= 0 || errno != EEXIST)
			break;
	}
	if (*fd >= 0)
		return 0;
	if (errno == ENOENT)
		return k3_fail(e, K3_NOTFOUND, "no such file");
	return k3_fail_sys(e, errno, "cannot open");
}

/* Between open and flock the name may have been given to another file. */
static int same_file(int dirfd, const char *name, int fd, bool *same, struct k3_err *e)
{
	struct stat by_name, by_fd;

	*same = false;
	if (fstat(fd, &by_fd))
		return k3_fail_sys(e, errno, "cannot stat");
	if (fstatat(dirfd, name, &by_name, 0)) {
		if (errno == ENOENT)
			return 0;
		return k3_fail_sys(e, errno, "cannot stat");
	}
	*same = by_name.st_dev == by_fd.st_dev && by_name.st_ino == by_fd.st_ino;
	return 0;
}

/* *original is left alone unless *out is a copy of it. */
static int open_locked(int dirfd, const char *name, unsigned flags, int *out, int *original,
		       struct k3_err *e)
{
	for (int i = 0; i < OPEN_TRIES; i++) {
		K3_AUTO_FD int fd = -1;
		bool same;

		if (open_file(dirfd, name, flags, &fd, e))
			return -1;
		if (flock(fd, (flags & BOLT_WRITE ? LOCK_EX : LOCK_SH) | LOCK_NB)) {
			if (errno == EWOULDBLOCK && flags & BOLT_COPY) {
				if (bolt_copy(fd, name, out, e))
					return -1;
				*original = k3_steal_fd(&fd);
				return 0;
			}
			if (errno == EWOULDBLOCK)
				return k3_fail(e, K3_BUSY, "locked by another process");
			return k3_fail_sys(e, errno, "cannot lock");
		}
		if (same_file(dirfd, name, fd, &same, e))
			return -1;
		if (same) {
			*out = k3_steal_fd(&fd);
			return 0;
		}
	}
	return k3_fail(e, K3_BUSY, "replaced by another process again and again");
}

static int sync_parent(int dirfd, const char *name, struct k3_err *e)
{
	const char *slash = strrchr(name, '/');
	K3_AUTO_FREE char *parent = slash ? k3_xstrndup(name, (size_t)(slash - name) + 1)
					  : k3_xstrdup(".");
	K3_AUTO_FD int fd = openat(dirfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return k3_fail_sys(e, errno, "cannot open its directory");
	/* EINVAL: a file system without it. */
	if (fsync(fd) && errno != EINVAL)
		return k3_fail_sys(e, errno, "cannot sync its directory");
	return 0;
}

/*
 * A creation that broke off leaves an empty file, or any part of the first image with
 * zeroes for the rest.  Nothing was ever stored in such a file.
 */
static int unborn(struct bolt_db *db, const uint8_t *image, size_t image_len, bool *out,
		  struct k3_err *e)
{
	size_t n = (size_t)db->size;

	*out = false;
	if (db->size > image_len)
		return 0;
	K3_AUTO_FREE uint8_t *have = k3_xcalloc(image_len, 1);

	if (n && pread(db->fd, have, n, 0) != (ssize_t)n)
		return k3_fail_sys(e, errno, "cannot read");
	for (size_t i = 0; i < n; i++)
		if (have[i] && have[i] != image[i])
			return 0;
	*out = memcmp(have, image, image_len) != 0;
	return 0;
}

static int create_content(struct bolt_db *db, int dirfd, unsigned mode, const uint8_t *image,
			  size_t len, struct k3_err *e)
{
	const struct bolt_port *port = db->port;

	if (fchmod(db->fd, (mode_t)mode))
		return k3_fail_sys(e, errno, "cannot set mode %04o", mode);
	int err = port->write(port->arg, db->fd, image, len, 0);

	if (!err)
		err = port->sync_all(port->arg, db->fd);
	if (err)
		return k3_fail_sys(e, err, "cannot write a new database");
	if (sync_parent(dirfd, db->name, e))
		return -1;
	return file_size(db, e);
}

static int open_db(struct bolt_db *db, int dirfd, unsigned flags, unsigned mode, uint32_t page_size,
		   struct k3_err *e)
{
	size_t len = (size_t)BOLT_NEW_PAGES * page_size;
	K3_AUTO_FREE uint8_t *image = k3_xcalloc(len, 1);
	bool none;

	bolt_meta_new_image(image, page_size);
	if (open_locked(dirfd, db->name, flags, &db->fd, &db->original, e) || file_size(db, e) ||
	    unborn(db, image, len, &none, e))
		return -1;
	if (none && !(flags & BOLT_CREATE))
		return k3_fail(e, K3_NOTFOUND, "an empty file, no database yet");
	if (none && create_content(db, dirfd, mode, image, len, e))
		return -1;
	return bolt_meta_load(db->fd, db->size, &db->meta, e);
}

int bolt_open_with(int dirfd, const char *name, unsigned flags, unsigned mode,
		   const struct bolt_port *port, uint32_t page_size, struct bolt_db **out,
		   struct k3_err *e)
{
	if (flags & BOLT_CREATE && !(flags & BOLT_WRITE))
		return k3_fail(e, K3_BUG, "%s: BOLT_CREATE without BOLT_WRITE", name);
	if (flags & BOLT_COPY && flags & BOLT_WRITE)
		return k3_fail(e, K3_BUG, "%s: BOLT_COPY with BOLT_WRITE", name);
	if (!page_size)
		page_size = (uint32_t)sysconf(_SC_PAGESIZE);
	struct bolt_db *db = k3_xcalloc(1, sizeof(*db));

	db->fd = db->original = -1;
	db->name = k3_xstrdup(name);
	db->port = port ? port : &bolt_port_system;
	db->writable = flags & BOLT_WRITE;
	if (open_db(db, dirfd, flags, mode, page_size, e)) {
		bolt_close(db);
		return k3_wrap(e, "%s", name);
	}
	*out = db;
	return 0;
}

int bolt_open(int dirfd, const char *name, unsigned flags, unsigned mode, struct bolt_db **out,
	      struct k3_err *e)
{
	return bolt_open_with(dirfd, name, flags, mode, NULL, 0, out, e);
}

bool bolt_is_copy(const struct bolt_db *db)
{
	return db->original >= 0;
}

bool bolt_is_stale(const struct bolt_db *db)
{
	struct bolt_meta now;
	struct k3_err ignored;
	struct stat st;

	if (db->original < 0)
		return false;
	return fstat(db->original, &st) ||
	       bolt_meta_load(db->original, (uint64_t)st.st_size, &now, &ignored) ||
	       now.txid != db->meta.txid;
}

void bolt_close(struct bolt_db *db)
{
	if (!db)
		return;
	bolt_abort(db->txn);
	unmap(db);
	k3_closep(&db->original);
	k3_closep(&db->fd); /* everything worth keeping was synced; this drops the lock */
	free(db->name);
	free(db);
}
