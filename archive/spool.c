/* SPDX-License-Identifier: Apache-2.0 */
#include "archive/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define MAGIC_MAX 6u

struct magic {
	const char *what;
	size_t n;
	uint8_t bytes[MAGIC_MAX];
};

/* RFC 1952; RFC 8878, whose skippable frames begin an archive of pzstd or a seekable one. */
static bool is_compressed(const uint8_t *p, size_t n)
{
	if (n >= 3 && p[0] == 0x1f && p[1] == 0x8b && p[2] == 8)
		return true;
	return n >= 4 && ((p[0] == 0x28 && p[1] == 0xb5 && p[2] == 0x2f && p[3] == 0xfd) ||
			  ((p[0] & 0xf0) == 0x50 && p[1] == 0x2a && p[2] == 0x4d && p[3] == 0x18));
}

/* Compressions that are met among archives, and that we do not know. */
static int refuse_others(const uint8_t *p, size_t n, struct k3_err *e)
{
	static const struct magic others[] = {
		{ "xz", 6, { 0xfd, '7', 'z', 'X', 'Z', 0 } },
		{ "bzip2", 3, { 'B', 'Z', 'h' } },
		{ "lz4", 4, { 0x04, 0x22, 0x4d, 0x18 } },
	};

	for (size_t i = 0; i < K3_ARRAY_LEN(others); i++) {
		const struct magic *m = &others[i];

		if (n < m->n || memcmp(p, m->bytes, m->n) != 0)
			continue;
		k3_fail(e, K3_UNSUPPORTED, "it is compressed with %s", m->what);
		return k3_hint(e, "gzip and zstd are read; %s -dc FILE | k3simg ... with - as FILE",
			       m->what);
	}
	return 0;
}

/* ---- the source --------------------------------------------------------------------- */

static int open_source(const struct archive_opts *o, int *fd, struct k3_err *e)
{
	if (!strcmp(o->path, "-"))
		*fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	else
		*fd = open(o->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (*fd >= 0)
		return 0;
	if (errno == ENOENT || errno == ENOTDIR) {
		k3_fail(e, K3_NOTFOUND, "no such file");
		if (strchr(o->path, ':'))
			k3_hint(e, "a name behind FILE is set off by a colon");
		return -1;
	}
	return k3_fail_sys(e, errno, "cannot open it");
}

/* Whether it can be read at any place from its beginning. */
static int look(int fd, bool *regular, struct k3_err *e)
{
	struct stat st;

	if (fstat(fd, &st))
		return k3_fail_sys(e, errno, "cannot look at it");
	if (S_ISDIR(st.st_mode)) {
		k3_fail(e, K3_FORMAT, "it is a directory");
		return k3_hint(e, "a layout that is a directory is called oci:DIR");
	}
	*regular = S_ISREG(st.st_mode) && lseek(fd, 0, SEEK_CUR) == 0;
	return 0;
}

struct reading {
	int fd;
	bool begun;
	uint8_t piece[ARCHIVE_PIECE];
};

static int next_piece(void *arg, const uint8_t **p, size_t *n, struct k3_err *e)
{
	struct reading *r = arg;
	size_t got = 0;

	/* Pipes give little at a time; and the first piece shows what it is. */
	while (got < ARCHIVE_PIECE) {
		ssize_t rc = read(r->fd, r->piece + got, ARCHIVE_PIECE - got);

		if (rc < 0 && errno == EINTR)
			continue;
		if (rc < 0)
			return k3_fail_sys(e, errno, "cannot read it");
		if (rc == 0)
			break;
		got += (size_t)rc;
	}
	if (!r->begun && refuse_others(r->piece, got, e))
		return -1;
	r->begun = true;
	*p = r->piece;
	*n = got;
	return 0;
}

/* ---- the spool ---------------------------------------------------------------------- */

static int fill(const struct archive_opts *o, struct unpack_stream *s, int to, struct k3_err *e)
{
	const uint8_t *p;
	size_t n;

	for (;;) {
		if (k3_cancel_check(o->cancel, e) || unpack_stream_next(s, &p, &n, e))
			return -1;
		if (!n)
			return 0;
		if (k3_write_all(to, p, n, "the temporary file", e))
			return k3_wrap(e, "%s", o->spool_dir);
	}
}

static int spool(const struct archive_opts *o, int from, int *out, struct k3_err *e)
{
	__attribute__((cleanup(unpack_stream_freep))) struct unpack_stream *s = NULL;
	K3_AUTO_FREE struct reading *r = k3_xcalloc(1, sizeof(*r));
	struct unpack_opts uo = { .limits = o->limits, .cancel = o->cancel };
	K3_AUTO_FD int to = -1;

	r->fd = from;
	if (k3_temp_file(o->spool_dir, &to, e) ||
	    unpack_stream_open((struct unpack_src){ next_piece, r }, &uo, &s, e))
		return -1;
	int rc = fill(o, s, to, e);

	/* Its thread reads from r. */
	unpack_stream_freep(&s);
	if (rc)
		return -1;
	*out = k3_steal_fd(&to);
	return 0;
}

static int open_plain(const struct archive_opts *o, int *out, struct k3_err *e)
{
	K3_AUTO_FD int fd = -1;
	uint8_t head[MAGIC_MAX];
	bool regular;
	ssize_t n;

	if (open_source(o, &fd, e) || look(fd, &regular, e))
		return -1;
	if (!regular)
		return spool(o, fd, out, e);
	n = pread(fd, head, sizeof(head), 0);
	if (n < 0)
		return k3_fail_sys(e, errno, "cannot read it");
	if (is_compressed(head, (size_t)n))
		return spool(o, fd, out, e);
	if (refuse_others(head, (size_t)n, e))
		return -1;
	*out = k3_steal_fd(&fd);
	return 0;
}

int spool_open(const struct archive_opts *o, const char *what, int *fd, struct k3_err *e)
{
	if (open_plain(o, fd, e))
		return k3_wrap(e, "%s", what);
	return 0;
}
