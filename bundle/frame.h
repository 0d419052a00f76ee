/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tar around the members: for each name and size there is exactly one form, so that a reader
 * compares instead of parsing.  Private to bundle/.
 */
#ifndef K3_BUNDLE_FRAME_H
#define K3_BUNDLE_FRAME_H

#include "bundle/bundle.h"

#define FRAME_BLOCK 512u
/* header, name and header again of a name that has no room in one header */
#define FRAME_HEAD_MAX (3 * FRAME_BLOCK)
/* padding before it, at most */
#define FRAME_GAP_MAX (FRAME_BLOCK + FRAME_HEAD_MAX)
#define FRAME_NAME_MAX (8 + OCI_DIGEST_TEXT_MAX)

/* What stands before the bytes of a file; returns its length. */
size_t frame_head(const char *name, uint64_t size, uint8_t out[FRAME_HEAD_MAX]);
/*
 * Everything between `before` bytes of a file and the bytes of member k: padding and header, or
 * behind the last member the end of the archive.  Returns its length.
 */
size_t frame_gap(uint64_t before, const struct bundle_doc *d, size_t k, uint8_t out[FRAME_GAP_MAX]);
/*
 * The size that the header of the document says; false when it is no such header.
 */
bool frame_document(const uint8_t head[FRAME_BLOCK], uint64_t *size);

#endif
