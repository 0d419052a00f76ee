/* SPDX-License-Identifier: Apache-2.0 */
#include "archive/encode.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

#define PIECE (256u << 10)

int encode_open(struct encode *c, enum layout_packing packing, int fd, const char *what,
		struct k3_err *e)
{
	static const struct encode_backend *const backends[] = {
		[LAYOUT_PLAIN] = NULL,
		[LAYOUT_GZIP] = &encode_gzip,
		[LAYOUT_ZSTD] = &encode_zstd,
	};

	*c = (struct encode){ .backend = backends[packing], .fd = fd, .what = what };
	if (c->backend)
		c->state = c->backend->open();
	if (c->backend && !c->state)
		return k3_fail(e, K3_NOMEM, "out of memory for compressing %s", what);
	c->out = k3_xcalloc(1, PIECE);
	return 0;
}

static int flush(struct encode *c, struct k3_err *e)
{
	if (k3_write_all(c->fd, c->out, c->used, c->what, e))
		return -1;
	c->used = 0;
	return 0;
}

/* Small writes are gathered: a tar is full of them. */
static int plain(struct encode *c, const uint8_t *p, size_t n, struct k3_err *e)
{
	while (n) {
		size_t part = n < PIECE - c->used ? n : PIECE - c->used;

		memcpy(c->out + c->used, p, part);
		c->used += part;
		p += part;
		n -= part;
		if (c->used == PIECE && flush(c, e))
			return -1;
	}
	return 0;
}

static int squeeze(struct encode *c, const uint8_t *p, size_t n, bool end, struct k3_err *e)
{
	bool done = false;

	while (end ? !done : n > 0) {
		size_t made;

		if (c->backend->run(c->state, &p, &n, end, c->out + c->used, PIECE - c->used, &made,
				    &done, e))
			return k3_wrap(e, "%s", c->what);
		c->used += made;
		if (c->used == PIECE && flush(c, e))
			return -1;
	}
	return 0;
}

int encode_write(struct encode *c, const void *p, size_t n, struct k3_err *e)
{
	return c->backend ? squeeze(c, p, n, false, e) : plain(c, p, n, e);
}

int encode_end(struct encode *c, struct k3_err *e)
{
	if (c->backend && squeeze(c, NULL, 0, true, e))
		return -1;
	return flush(c, e);
}

void encode_release(struct encode *c)
{
	if (c->state)
		c->backend->close(c->state);
	free(c->out);
}
