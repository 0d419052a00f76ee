/* SPDX-License-Identifier: Apache-2.0 */
/* Builds tar archives in memory, field by field, so that wrong ones can be built too. */
#ifndef K3_TESTS_TARBUILD_H
#define K3_TESTS_TARBUILD_H

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "unpack/unpack.h"

#define TARBUILD_MTIME 1500000000

struct tarbuild {
	struct k3_buf out;
	struct k3_buf pax; /* records waiting for the next entry */
	/* Of the entries to come; uid and gid start as the process's, mode as 0644 or 0755. */
	mode_t mode; /* 0: by type */
	uid_t uid;
	gid_t gid;
	int64_t mtime;
	int64_t size; /* -1: as the data */
	unsigned major, minor;
	const char *magic; /* 8 bytes; NULL: ustar */
};

void tb_init(struct tarbuild *t);
void tb_release(struct tarbuild *t);
void tb_pax(struct tarbuild *t, const char *key, const void *value, size_t n);
void tb_pax_str(struct tarbuild *t, const char *key, const char *value);
/* Writes the waiting records as an 'x' (or 'g') header now. */
void tb_flush_pax(struct tarbuild *t, char type);
void tb_entry(struct tarbuild *t, char type, const char *name, const char *link, const void *data,
	      size_t n);
void tb_file(struct tarbuild *t, const char *name, const char *text);
void tb_dir(struct tarbuild *t, const char *name);
void tb_symlink(struct tarbuild *t, const char *name, const char *target);
void tb_link(struct tarbuild *t, const char *name, const char *target);
/* GNU long name ('L') or link ('K') for the next entry. */
void tb_long(struct tarbuild *t, char type, const char *text);
void tb_raw(struct tarbuild *t, const void *p, size_t n);
void tb_end(struct tarbuild *t);
/* Recomputes the checksum of the header at an offset, after it was edited. */
void tb_checksum(struct tarbuild *t, size_t at);

/* An unpack_src over memory, in pieces. */
struct memsrc {
	const uint8_t *p;
	size_t n, piece;
	int after_end; /* calls after the end was told: must stay 0 */
	bool ended;
};

struct unpack_src memsrc(struct memsrc *m, const void *p, size_t n, size_t piece);

#endif
