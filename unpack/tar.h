/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pull parser for tar archives in the dialect of Go's archive/tar (docs/unpack.md),
 * plus old-GNU sparse files and type 7.  Names are bytes: nothing is converted.
 * Private to unpack/.
 */
#ifndef K3_UNPACK_TAR_H
#define K3_UNPACK_TAR_H

#include <sys/types.h>
#include <time.h>

#include "unpack/pax.h"
#include "unpack/unpack.h"

enum tar_type {
	TAR_FILE,
	TAR_LINK,
	TAR_SYMLINK,
	TAR_CHAR,
	TAR_BLOCK_DEV,
	TAR_DIR,
	TAR_FIFO,
};

/* One entry; everything it points to lives until the next tar_next. */
struct tar_entry {
	enum tar_type type;
	const char *name; /* as written */
	const char *link; /* target of links and symlinks, else "" */
	mode_t mode;      /* the lower 12 bits */
	uid_t uid;        /* (uid_t)-1 leaves the owner alone, as chown does */
	gid_t gid;
	unsigned major, minor;
	uint64_t size;                  /* of the file, holes included; 0 for all other types */
	bool sparse;                    /* tar_data leaves holes out */
	struct timespec mtime;          /* both as containerd sets them: 1970 to 2262, */
	struct timespec atime;          /* ... and atime never before mtime */
	const struct pax_xattr *xattrs; /* names are NUL-terminated */
	size_t nxattrs;
};

struct tar;

/* src and lim are borrowed.  Never NULL. */
struct tar *tar_new(struct unpack_src src, const struct unpack_limits *lim);
void tar_freep(struct tar **t);
/* Skips what is left of the last entry.  *end: the archive is over. */
K3_MUST int tar_next(struct tar *t, struct tar_entry *out, bool *end, struct k3_err *e);
/*
 * The next span of the file's content, at *off of the file; *n = 0 at the end.  Valid until
 * the next call.
 */
K3_MUST int tar_data(struct tar *t, uint64_t *off, const uint8_t **p, size_t *n, struct k3_err *e);
/* Leaves bytes out that nobody wants; src is where it was, n bytes further. */
void tar_set_skip(struct tar *t, unpack_skip_fn *skip);
/* Bytes of the stream that are behind us: after tar_next, where the stored content begins. */
uint64_t tar_position(const struct tar *t);

#endif
