/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack/dircache.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "unpack/u64set.h"

void dircache_init(struct dircache *c, int rootfd, bool no_openat2, size_t path_max, uint64_t seed)
{
	*c = (struct dircache){ .root = { .fd = rootfd, .no_openat2 = no_openat2 },
				.path_max = path_max,
				.seed = seed };
	for (size_t i = 0; i < DIRCACHE_DIRS; i++)
		c->dirs[i].fd = -1;
}

static void forget(struct dir *d)
{
	k3_closep(&d->fd);
	k3_freep(&d->name);
	k3_freep(&d->real);
	*d = (struct dir){ .fd = -1 };
}

void dircache_release(struct dircache *c)
{
	for (size_t i = 0; i < DIRCACHE_DIRS; i++)
		forget(&c->dirs[i]);
	c->last = NULL;
}

static bool is_named(const struct dir *d, const char *name, size_t n)
{
	return d->name && !d->stale && !strncmp(d->name, name, n) && !d->name[n];
}

static struct dir *find(struct dircache *c, const char *name, size_t n)
{
	if (c->last && is_named(c->last, name, n))
		return c->last;
	for (size_t i = 0; i < DIRCACHE_DIRS; i++)
		if (is_named(&c->dirs[i], name, n))
			return &c->dirs[i];
	return NULL;
}

/* The longest cached directory above name; *rest: where the part below it starts. */
static struct dir *find_above(struct dircache *c, const char *name, size_t n, size_t *rest)
{
	while (n) {
		do
			n--;
		while (n && name[n] != '/');
		struct dir *d = find(c, name, n);

		*rest = n ? n + 1 : 0;
		if (d)
			return d;
	}
	*rest = 0;
	return NULL;
}

/* Unused first, then the least recently used; stale ones too, as one may still be in use. */
static struct dir *pick(struct dircache *c)
{
	struct dir *oldest = &c->dirs[0];

	for (size_t i = 1; i < DIRCACHE_DIRS; i++)
		if (c->dirs[i].used < oldest->used)
			oldest = &c->dirs[i];
	return oldest;
}

static int open_new(struct dircache *c, const char *name, size_t n, bool make, struct dir **out,
		    struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf real = K3_BUF(c->path_max);
	K3_AUTO_FREE char *copy = k3_xstrndup(name, n);
	struct k3_root_dir got;
	size_t rest;
	struct dir *above = find_above(c, name, n, &rest);

	if (above && k3_buf_add(&real, above->real, strlen(above->real), e))
		return -1;
	if (k3_root_open_dir(&c->root, above ? above->fd : c->root.fd, copy + rest, make, &real,
			     &got, e))
		return -1;
	struct dir *d = pick(c);

	forget(d);
	d->fd = got.fd;
	d->via_link = got.via_link || (above && above->via_link);
	d->name = K3_STEAL(copy);
	d->real = (char *)K3_STEAL(real.p);
	d->hash = pathhash_add(c->seed, d->real, strlen(d->real));
	*out = d;
	return 0;
}

int dircache_get(struct dircache *c, const char *name, size_t n, bool make, struct dir **out,
		 struct k3_err *e)
{
	struct dir *d = find(c, name, n);

	if (!d && open_new(c, name, n, make, &d, e))
		return -1;
	d->used = ++c->clock;
	c->last = d;
	*out = d;
	return 0;
}

void dircache_lost_node(struct dircache *c)
{
	for (size_t i = 0; i < DIRCACHE_DIRS; i++)
		c->dirs[i].stale |= c->dirs[i].via_link;
}

/* d is the directory `base` in the directory `in`, or below that one. */
static bool is_below(const struct dir *d, const struct dir *in, const char *base, bool itself)
{
	size_t n = strlen(in->real), b = strlen(base);

	if (!d->real || strncmp(d->real, in->real, n))
		return false;
	const char *s = d->real + n;

	if (n && *s++ != '/')
		return false;
	return !strncmp(s, base, b) && (!s[b] || (!itself && s[b] == '/'));
}

void dircache_lost_dir(struct dircache *c, const struct dir *in, const char *base)
{
	dircache_lost_node(c);
	for (size_t i = 0; i < DIRCACHE_DIRS; i++)
		c->dirs[i].stale |= is_below(&c->dirs[i], in, base, false);
}

void dircache_lost_all(struct dircache *c)
{
	for (size_t i = 0; i < DIRCACHE_DIRS; i++)
		c->dirs[i].stale = c->dirs[i].name != NULL;
}

void dircache_changed(struct dircache *c, const struct dir *in, const char *base)
{
	for (size_t i = 0; i < DIRCACHE_DIRS; i++)
		if (is_below(&c->dirs[i], in, base, true))
			c->dirs[i].file = c->dirs[i].subdir = (struct probe){ 0 };
}
