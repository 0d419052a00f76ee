/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "bundle/frame.h"

struct bundle_writer {
	int fd;
	char *what;
	const struct bundle_doc *doc;
	size_t next;   /* member whose header comes next */
	uint64_t left; /* bytes of the one before it that are yet to come */
	uint64_t size; /* of that one */
};

/* Padding and header of the next member, or the end; again for members without bytes. */
static int next_member(struct bundle_writer *w, struct k3_err *e)
{
	uint8_t gap[FRAME_GAP_MAX];

	while (!w->left && w->next <= w->doc->n) {
		size_t n = frame_gap(w->size, w->doc, w->next, gap);

		if (k3_write_all(w->fd, gap, n, w->what, e))
			return -1;
		w->size = w->next < w->doc->n ? w->doc->members[w->next].size : 0;
		w->left = w->size;
		w->next++;
	}
	return 0;
}

int bundle_writer_new(int fd, const char *what, const struct bundle_doc *d,
		      struct bundle_writer **out, struct oci_digest *digest, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(BUNDLE_DOCUMENT_MAX);
	uint8_t head[FRAME_HEAD_MAX];
	struct bundle_writer *w;

	if (bundle_doc_write(d, &text, e))
		return -1;
	oci_digest_of(K3_SHA256, text.p, text.len, digest);
	size_t n = frame_head(BUNDLE_DOCUMENT_NAME, text.len, head);

	if (k3_write_all(fd, head, n, what, e) || k3_write_all(fd, text.p, text.len, what, e))
		return -1;
	w = k3_xcalloc(1, sizeof(*w));
	*w = (struct bundle_writer){ .fd = fd, .what = k3_xstrdup(what), .doc = d };
	w->size = text.len;
	*out = w;
	if (!next_member(w, e))
		return 0;
	bundle_writer_free(w);
	*out = NULL;
	return -1;
}

int bundle_writer_data(struct bundle_writer *w, const void *p, size_t n, struct k3_err *e)
{
	const uint8_t *at = p;

	while (n) {
		size_t part = n < w->left ? n : (size_t)w->left;

		if (!part)
			return k3_fail(e, K3_BUG, "%s: more bytes than were announced", w->what);
		if (k3_write_all(w->fd, at, part, w->what, e))
			return -1;
		w->left -= part;
		at += part;
		n -= part;
		if (next_member(w, e))
			return -1;
	}
	return 0;
}

int bundle_writer_end(struct bundle_writer *w, struct k3_err *e)
{
	if (w->next <= w->doc->n || w->left)
		return k3_fail(e, K3_BUG, "%s: bytes are missing", w->what);
	return 0;
}

void bundle_writer_free(struct bundle_writer *w)
{
	if (!w)
		return;
	free(w->what);
	free(w);
}
