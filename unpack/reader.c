/* SPDX-License-Identifier: Apache-2.0 */
/* Tar archives for those who want to know what is in them and where. */
#include <stdlib.h>

#include "base/mem.h"
#include "unpack/stream.h"
#include "unpack/tar.h"

/* ---- decompression ------------------------------------------------------------------ */

struct unpack_stream {
	struct stream *s;
};

int unpack_stream_open(struct unpack_src src, const struct unpack_opts *o,
		       struct unpack_stream **out, struct k3_err *e)
{
	struct stream *s;

	if (stream_open(&s, OCI_MEDIA_LAYER_DOCKER, src, o, K3_SHA256, e))
		return -1;
	stream_skip_hash(s);
	*out = k3_xcalloc(1, sizeof(**out));
	(*out)->s = s;
	return 0;
}

int unpack_stream_next(void *arg, const uint8_t **p, size_t *n, struct k3_err *e)
{
	struct unpack_stream *us = arg;

	return stream_next(us->s, p, n, e);
}

void unpack_stream_freep(struct unpack_stream **s)
{
	if (*s)
		stream_freep(&(*s)->s);
	free(*s);
	*s = NULL;
}

/* ---- entries ------------------------------------------------------------------------ */

struct unpack_reader {
	struct tar *tar;
};

struct unpack_reader *unpack_reader_new(struct unpack_src src, unpack_skip_fn *skip,
					const struct unpack_limits *lim)
{
	struct unpack_reader *r = k3_xcalloc(1, sizeof(*r));

	r->tar = tar_new(src, lim);
	tar_set_skip(r->tar, skip);
	return r;
}

void unpack_reader_freep(struct unpack_reader **r)
{
	if (*r)
		tar_freep(&(*r)->tar);
	free(*r);
	*r = NULL;
}

static enum unpack_entry_type type_of(enum tar_type t)
{
	switch (t) {
	case TAR_FILE:
		return UNPACK_FILE;
	case TAR_LINK:
		return UNPACK_LINK;
	case TAR_SYMLINK:
		return UNPACK_SYMLINK;
	case TAR_DIR:
		return UNPACK_DIR;
	default:
		return UNPACK_OTHER;
	}
}

int unpack_reader_next(struct unpack_reader *r, struct unpack_entry *out, bool *end,
		       struct k3_err *e)
{
	struct tar_entry t;

	if (tar_next(r->tar, &t, end, e))
		return -1;
	if (*end)
		return 0;
	*out = (struct unpack_entry){
		.type = type_of(t.type),
		.name = t.name,
		.link = t.link,
		.size = t.size,
		.at = tar_position(r->tar),
		.sparse = t.sparse,
	};
	return 0;
}

int unpack_reader_data(struct unpack_reader *r, const uint8_t **p, size_t *n, struct k3_err *e)
{
	uint64_t off;

	return tar_data(r->tar, &off, p, n, e);
}
