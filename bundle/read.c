/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "bundle/frame.h"

#define POLL_MS 200 /* how late a reader that waits for a pipe notices that it is to stop */
#define DROP (64u << 10)

struct bundle {
	char *what; /* for messages */
	int fd;
	bool own_fd;
	bool file; /* regular */
	struct k3_cancel *cancel;
	struct bundle_doc doc;
	struct oci_digest digest;
	uint64_t *at; /* of a file: where the bytes of each member begin */
	/* Of a pipe: where it is. */
	size_t member; /* in the bytes of this one; doc.n = behind the end */
	uint64_t off;  /* so many of them have been read */
	uint8_t *drop;
};

const struct bundle_doc *bundle_doc(const struct bundle *b)
{
	return &b->doc;
}

const struct oci_digest *bundle_digest(const struct bundle *b)
{
	return &b->digest;
}

bool bundle_any_order(const struct bundle *b)
{
	return b->file;
}

bool bundle_has(const struct bundle *b, size_t member)
{
	return b->file || b->member < member || (b->member == member && !b->off);
}

void bundle_free(struct bundle *b)
{
	if (!b)
		return;
	if (b->own_fd)
		k3_closep(&b->fd);
	bundle_doc_release(&b->doc);
	free(b->at);
	free(b->drop);
	free(b->what);
	free(b);
}

static int cut_short(const struct bundle *b, struct k3_err *e)
{
	k3_fail(e, K3_FORMAT, "%s: the bundle is cut short", b->what);
	return k3_hint(e, "copy it again; nothing of it was used");
}

static int wait_readable(const struct bundle *b, struct k3_err *e)
{
	struct pollfd p = { .fd = b->fd, .events = POLLIN };
	int n;

	do {
		if (k3_cancel_check(b->cancel, e))
			return -1;
		n = poll(&p, 1, POLL_MS);
	} while (!n || (n < 0 && errno == EINTR));
	return n < 0 ? k3_fail_sys(e, errno, "cannot wait for %s", b->what) : 0;
}

/* At least one byte, at the place where the descriptor is; *got = 0 at the end of the input. */
static int read_some(struct bundle *b, void *p, size_t n, size_t *got, struct k3_err *e)
{
	ssize_t r;

	do {
		if (!b->file && wait_readable(b, e))
			return -1;
		r = read(b->fd, p, n);
	} while (r < 0 && (errno == EINTR || errno == EAGAIN));
	if (r < 0)
		return k3_fail_sys(e, errno, "cannot read %s", b->what);
	*got = (size_t)r;
	return 0;
}

static int read_exactly(struct bundle *b, void *p, size_t n, struct k3_err *e)
{
	uint8_t *at = p;
	size_t got;

	for (; n; at += got, n -= got) {
		if (read_some(b, at, n, &got, e))
			return -1;
		if (!got)
			return cut_short(b, e);
	}
	return 0;
}

/* ---- the document --------------------------------------------------------------------------- */

static int not_a_bundle(const struct bundle *b, const uint8_t head[FRAME_BLOCK], struct k3_err *e)
{
	static const uint8_t gzip[] = { 0x1f, 0x8b }, zstd[] = { 0x28, 0xb5, 0x2f, 0xfd };

	k3_fail(e, K3_FORMAT, "%s is not a bundle of k3simg", b->what);
	if (!memcmp(head, gzip, sizeof(gzip)) || !memcmp(head, zstd, sizeof(zstd)))
		return k3_hint(e,
			       "it is compressed: decompress it and give it as standard input, -");
	return k3_hint(e, "k3simg bundle create makes one");
}

static int check_digest(const struct bundle *b, const struct oci_digest *want, struct k3_err *e)
{
	char w[OCI_DIGEST_TEXT_MAX], g[OCI_DIGEST_TEXT_MAX];

	if (!want || oci_digest_eq(want, &b->digest))
		return 0;
	oci_digest_format(want, w);
	oci_digest_format(&b->digest, g);
	return k3_fail(e, K3_DIGEST, "%s is the bundle %s, wanted is %s", b->what, g, w);
}

static int read_document(struct bundle *b, const struct oci_digest *want, uint64_t *size,
			 struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(BUNDLE_DOCUMENT_MAX);
	uint8_t head[FRAME_BLOCK];

	if (read_exactly(b, head, sizeof(head), e))
		return -1;
	if (!frame_document(head, size))
		return not_a_bundle(b, head, e);
	if (*size > BUNDLE_DOCUMENT_MAX)
		return k3_fail(e, K3_LIMIT, "%s: its document has more than %u bytes", b->what,
			       BUNDLE_DOCUMENT_MAX);
	if (k3_buf_reserve(&text, (size_t)*size, e) || read_exactly(b, text.p, (size_t)*size, e))
		return -1;
	text.len = (size_t)*size;
	oci_digest_of(K3_SHA256, text.p, text.len, &b->digest);
	if (check_digest(b, want, e))
		return -1;
	return bundle_doc_parse(text.p, text.len, &b->doc, e) ? k3_wrap(e, "%s", b->what) : 0;
}

/* ---- between the members -------------------------------------------------------------------- */

static int wrong_frame(const struct bundle *b, size_t k, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];

	if (k >= b->doc.n)
		return k3_fail(e, K3_FORMAT, "%s does not end as its document says", b->what);
	oci_digest_format(&b->doc.members[k].digest, text);
	return k3_fail(e, K3_FORMAT, "%s: where %s is announced there is something else", b->what,
		       text);
}

static uint64_t gap_at(const struct bundle *b, uint64_t document, size_t k)
{
	return k ? b->at[k - 1] + b->doc.members[k - 1].size : FRAME_BLOCK + document;
}

/* A file has everything in its place before any of it is used. */
static int check_file(struct bundle *b, uint64_t document, struct k3_err *e)
{
	uint8_t want[FRAME_GAP_MAX], have[FRAME_GAP_MAX];
	struct stat st;

	b->at = k3_xcalloc(b->doc.n + 1, sizeof(*b->at));
	for (size_t k = 0; k <= b->doc.n; k++) {
		uint64_t before = k ? b->doc.members[k - 1].size : document;
		uint64_t at = gap_at(b, document, k);
		size_t n = frame_gap(before, &b->doc, k, want);
		ssize_t got = pread(b->fd, have, n, (off_t)at);

		if (got < 0)
			return k3_fail_sys(e, errno, "cannot read %s", b->what);
		if ((size_t)got < n)
			return cut_short(b, e);
		if (memcmp(have, want, n) != 0)
			return wrong_frame(b, k, e);
		b->at[k] = at + n;
	}
	if (fstat(b->fd, &st))
		return k3_fail_sys(e, errno, "cannot look at %s", b->what);
	return (uint64_t)st.st_size == b->at[b->doc.n] ? 0 : wrong_frame(b, b->doc.n, e);
}

/* Of a pipe: over what stands between `before` bytes and member k. */
static int pass_gap(struct bundle *b, uint64_t before, size_t k, struct k3_err *e)
{
	uint8_t want[FRAME_GAP_MAX], have[FRAME_GAP_MAX];
	size_t n = frame_gap(before, &b->doc, k, want);

	if (read_exactly(b, have, n, e))
		return -1;
	if (memcmp(have, want, n) != 0)
		return wrong_frame(b, k, e);
	b->member = k;
	b->off = 0;
	return 0;
}

static int open_input(struct bundle *b, const char *path, struct k3_err *e)
{
	struct stat st;

	b->own_fd = strcmp(path, "-") != 0;
	b->fd = b->own_fd ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : STDIN_FILENO;
	if (b->fd < 0 && errno == ENOENT)
		return k3_fail(e, K3_NOTFOUND, "%s is not there", path);
	if (b->fd < 0 || fstat(b->fd, &st))
		return k3_fail_sys(e, errno, "cannot open %s", b->what);
	if (S_ISDIR(st.st_mode))
		return k3_fail(e, K3_FORMAT, "%s is a directory", path);
	if (isatty(b->fd))
		return k3_fail(e, K3_USAGE, "standard input is a terminal, not a bundle");
	/* Standard input may be a file that somebody else has read some of. */
	b->file = S_ISREG(st.st_mode) && (b->own_fd || !lseek(b->fd, 0, SEEK_CUR));
	return 0;
}

int bundle_open(const struct bundle_opts *o, struct bundle **out, struct k3_err *e)
{
	struct bundle *b = k3_xcalloc(1, sizeof(*b));
	uint64_t document;

	b->fd = -1;
	b->cancel = o->cancel;
	b->what = k3_xstrdup(strcmp(o->path, "-") ? o->path : "standard input");
	if (open_input(b, o->path, e) || read_document(b, o->digest, &document, e) ||
	    (b->file ? check_file(b, document, e) : pass_gap(b, document, 0, e))) {
		bundle_free(b);
		return -1;
	}
	*out = b;
	return 0;
}

/* ---- the members ---------------------------------------------------------------------------- */

static int read_file(struct bundle *b, size_t member, uint64_t off, void *p, size_t n, size_t *got,
		     struct k3_err *e)
{
	ssize_t r;

	do {
		r = pread(b->fd, p, n, (off_t)(b->at[member] + off));
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return k3_fail_sys(e, errno, "cannot read %s", b->what);
	if (!r)
		return cut_short(b, e);
	*got = (size_t)r;
	return 0;
}

/* Reads and drops up to a place that lies ahead. */
static int go_to(struct bundle *b, size_t member, uint64_t off, struct k3_err *e)
{
	if (!b->drop)
		b->drop = k3_xcalloc(1, DROP);
	while (b->member < member || b->off < off) {
		bool there = b->member == member;
		uint64_t left = (there ? off : b->doc.members[b->member].size) - b->off;
		size_t got;

		if (!left) {
			if (pass_gap(b, b->doc.members[b->member].size, b->member + 1, e))
				return -1;
			continue;
		}
		if (read_some(b, b->drop, left < DROP ? (size_t)left : DROP, &got, e))
			return -1;
		if (!got)
			return cut_short(b, e);
		b->off += got;
	}
	return 0;
}

int bundle_read(struct bundle *b, size_t member, uint64_t off, void *p, size_t n, size_t *got,
		struct k3_err *e)
{
	uint64_t left;

	*got = 0;
	if (member >= b->doc.n || off > b->doc.members[member].size)
		return k3_fail(e, K3_BUG, "%s has no such member", b->what);
	left = b->doc.members[member].size - off;
	if (!left)
		return 0;
	if (n > left)
		n = (size_t)left;
	if (b->file)
		return read_file(b, member, off, p, n, got, e);
	if (b->member > member || (b->member == member && b->off > off))
		return k3_fail(e, K3_BUG, "%s cannot be read backwards", b->what);
	if (go_to(b, member, off, e) || read_some(b, p, n, got, e))
		return -1;
	if (!*got)
		return cut_short(b, e);
	b->off += *got;
	return 0;
}

int bundle_finish(struct bundle *b, struct k3_err *e)
{
	uint8_t more;
	size_t got;

	if (b->file)
		return 0;
	if (go_to(b, b->doc.n, 0, e) || read_some(b, &more, 1, &got, e))
		return -1;
	return got ? wrong_frame(b, b->doc.n, e) : 0;
}
