/* SPDX-License-Identifier: Apache-2.0 */
/* Files of an archive, whether it is a tar or a directory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/state.h"
#include "base/mem.h"

void span_release(struct span *s)
{
	if (s->own)
		k3_closep(&s->fd);
	s->own = false;
}

void span_of(const struct archive *a, const struct entry *en, struct span *out)
{
	*out = (struct span){ .fd = a->fd, .at = en->at, .size = en->size };
	snprintf(out->name, sizeof(out->name), "%s", en->name);
}

/*
 * Symbolic links are followed: build tools make layouts of them, and whatever they lead to is
 * believed only if it has the digest.  A fifo must not hold us.
 */
static int find_file(const struct archive *a, const char *name, bool *found, struct span *out,
		     struct k3_err *e)
{
	K3_AUTO_FD int fd = openat(a->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	*found = fd >= 0;
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (fd < 0 || fstat(fd, &st))
		return k3_fail_sys(e, errno, "%s: cannot open %s", a->what, name);
	if (!S_ISREG(st.st_mode))
		return k3_fail(e, K3_FORMAT, "%s: %s is not a file", a->what, name);
	*out = (struct span){ .fd = k3_steal_fd(&fd), .own = true, .size = (uint64_t)st.st_size };
	snprintf(out->name, sizeof(out->name), "%s", name);
	return 0;
}

int span_find(const struct archive *a, const char *name, bool *found, struct span *out,
	      struct k3_err *e)
{
	if (a->kind == ARCHIVE_OCI_DIR)
		return find_file(a, name, found, out, e);
	const struct entry *en = entries_find(&a->entries, name);

	*found = en != NULL;
	if (!en)
		return 0;
	if (en->sparse)
		return k3_fail(e, K3_UNSUPPORTED, "%s: %s is stored as a sparse file", a->what,
			       name);
	span_of(a, en, out);
	return 0;
}

int span_read(const struct archive *a, const struct span *s, uint64_t off, void *p, size_t n,
	      struct k3_err *e)
{
	uint8_t *to = p;

	while (n) {
		ssize_t got = pread(s->fd, to, n, (off_t)(s->at + off));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return k3_fail_sys(e, errno, "%s: cannot read %s", a->what, s->name);
		if (got == 0)
			return k3_fail(e, K3_FORMAT, "%s: %s was cut while it was read", a->what,
				       s->name);
		to += got;
		off += (uint64_t)got;
		n -= (size_t)got;
	}
	return 0;
}

int span_text(const struct archive *a, const struct span *s, struct k3_buf *out, struct k3_err *e)
{
	if (s->size > OCI_DOCUMENT_MAX)
		return k3_fail(e, K3_LIMIT, "%s: %s has %llu bytes; the limit is %u", a->what,
			       s->name, (unsigned long long)s->size, OCI_DOCUMENT_MAX);
	if (k3_buf_reserve(out, (size_t)s->size, e) ||
	    (s->size && span_read(a, s, 0, out->p + out->len, (size_t)s->size, e)))
		return -1;
	out->len += (size_t)s->size;
	if (out->p)
		out->p[out->len] = '\0';
	return 0;
}
