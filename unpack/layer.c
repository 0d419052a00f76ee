/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of applying one layer, in archive order (docs/unpack.md). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>

#include "unpack/apply.h"
#include "unpack/stream.h"

const char *unpack_loss_name(enum unpack_loss_kind kind)
{
	static const char *const names[UNPACK_LOSS_KINDS] = {
		[UNPACK_LOSS_XATTR] = "xattr",
		[UNPACK_LOSS_DEVICE] = "device",
		[UNPACK_LOSS_OWNER] = "owner",
	};

	return names[kind];
}

void apply_loss(struct apply *a, enum unpack_loss_kind kind, const char *path, const char *what,
		int errnum)
{
	a->stats->losses++;
	if (a->opts->on_loss)
		a->opts->on_loss(a->opts->arg, kind, path, what, errnum);
}

int apply_work(struct apply *a, uint64_t steps, struct k3_err *e)
{
	a->dirs.root.steps += steps;
	if (a->dirs.root.steps > a->opts->limits.steps)
		return k3_fail(
			e, K3_LIMIT,
			"more than %llu steps through symlinks, below opaque markers and for "
			"hard links",
			(unsigned long long)a->opts->limits.steps);
	return 0;
}

int apply_copies(struct apply *a, const struct stat *st, struct k3_err *e)
{
	if (S_ISREG(st->st_mode))
		a->copied_bytes += (uint64_t)st->st_size;
	if (a->copied_bytes > a->opts->limits.bytes)
		return k3_fail(e, K3_LIMIT, "copies for hard links of more than %llu bytes",
			       (unsigned long long)a->opts->limits.bytes);
	return 0;
}

static int apply_entry(struct apply *a, const struct tar_entry *t, struct k3_err *e)
{
	struct place at;
	bool was_whiteout;

	if (k3_path_clean(t->name, &a->name, e))
		return -1;
	/* The root directory keeps what it has, whatever the archive says about it. */
	if (!a->name.len)
		return 0;
	if (place_find(a, (const char *)a->name.p, true, &at, e) ||
	    whiteout(a, &at, &was_whiteout, e))
		return -1;
	a->stats->entries++;
	if (was_whiteout)
		return 0;
	if (create_node(a, &at, t, e))
		return -1;
	u64set_add(&a->written, place_hash(&at));
	return 0;
}

static int apply_entries(struct apply *a, struct k3_err *e)
{
	const uint64_t most = a->opts->limits.entries;

	for (uint64_t seen = 0;; seen++) {
		struct tar_entry t;
		bool end;

		if (k3_cancel_check(a->opts->cancel, e) || tar_next(a->tar, &t, &end, e))
			return -1;
		if (end)
			return 0;
		if (seen == most)
			return k3_fail(e, K3_LIMIT, "more than %llu entries",
				       (unsigned long long)most);
		if (apply_entry(a, &t, e) || apply_work(a, 0, e))
			return -1;
		if (a->dirs.root.made > most)
			return k3_fail(e, K3_LIMIT, "more than %llu directories without an entry",
				       (unsigned long long)most);
	}
}

/* A directory that this layer removed again, or that is something else by now, is left out. */
static int replay_one(struct apply *a, const struct times_item *item, struct k3_err *e)
{
	struct place at;
	struct stat st;
	struct k3_err lost;

	if (place_find(a, item->name, false, &at, &lost)) {
		if (lost.code == K3_NOTFOUND || lost.code == K3_FORMAT || lost.code == K3_UNSAFE)
			return 0;
		*e = lost;
		return -1;
	}
	if ((a->dir_removed || item->doubtful) &&
	    (fstatat(at.dir->fd, at.base, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode)))
		return 0;
	if (utimensat(at.dir->fd, at.base, item->times, AT_SYMLINK_NOFOLLOW))
		return k3_fail_sys(e, errno, "cannot set the times of directory %s", item->name);
	return 0;
}

static int replay_times(struct apply *a, struct k3_err *e)
{
	struct times_iter it = { .t = &a->times, .name = K3_BUF(a->opts->limits.path_bytes) };
	struct times_item item;
	bool more;
	int rc;

	while ((rc = times_next(&it, &item, &more, e)) == 0 && more) {
		rc = k3_cancel_check(a->opts->cancel, e) || replay_one(a, &item, e) ? -1 : 0;
		if (rc)
			break;
	}
	k3_buf_release(&it.name);
	return rc;
}

static uint64_t random_seed(void)
{
	uint64_t seed = 0;

	/* Without entropy a fixed seed: the image could then only slow itself down. */
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = 0x9e3779b97f4a7c15ull;
	return seed;
}

static void apply_release(struct apply *a)
{
	tar_freep(&a->tar);
	dircache_release(&a->dirs);
	times_release(&a->times);
	u64set_release(&a->written);
	u64set_release(&a->lost);
	u64set_release(&a->foreign);
	u64set_release(&a->copied);
	k3_buf_release(&a->name);
	k3_buf_release(&a->link);
}

static int apply_stream(int rootfd, struct stream *s, const struct unpack_opts *o,
			struct unpack_stats *stats, struct k3_err *e)
{
	const size_t path_max = o->limits.path_bytes;
	__attribute__((cleanup(apply_release))) struct apply a = {
		.rootfd = rootfd,
		.opts = o,
		.stats = stats,
		.name = K3_BUF(path_max),
		.link = K3_BUF(path_max),
	};

	a.tar = tar_new((struct unpack_src){ stream_next, s }, &o->limits);
	dircache_init(&a.dirs, rootfd, o->no_openat2, path_max, random_seed());
	times_init(&a.times, path_max);
	if (apply_entries(&a, e) || replay_times(&a, e))
		return -1;
	return 0;
}

static int check_diff_id(const struct oci_digest *want, const struct oci_digest *got,
			 struct k3_err *e)
{
	char w[OCI_DIGEST_TEXT_MAX], g[OCI_DIGEST_TEXT_MAX];

	if (oci_digest_eq(want, got))
		return 0;
	oci_digest_format(want, w);
	oci_digest_format(got, g);
	return k3_fail(e, K3_DIGEST, "the unpacked layer is %s, the image config wants %s", g, w);
}

int unpack_layer(int rootfd, enum oci_media media, struct unpack_src src,
		 const struct unpack_opts *o, const struct oci_digest *diff_id,
		 struct oci_digest *got, struct unpack_stats *stats, struct k3_err *e)
{
	__attribute__((cleanup(stream_freep))) struct stream *s = NULL;
	struct unpack_stats count = { 0 };
	struct oci_digest found;

	if (stream_open(&s, media, src, o, diff_id ? diff_id->alg : K3_SHA256, e) ||
	    apply_stream(rootfd, s, o, &count, e) || stream_finish(s, &found, &count.bytes, e))
		return -1;
	if (diff_id && check_diff_id(diff_id, &found, e))
		return -1;
	if (got)
		*got = found;
	if (stats)
		*stats = count;
	return 0;
}

int unpack_decode(enum oci_media media, struct unpack_src src, const struct unpack_opts *o,
		  const struct oci_digest *diff_id, unpack_data_fn *fn, void *arg, uint64_t *bytes,
		  struct k3_err *e)
{
	__attribute__((cleanup(stream_freep))) struct stream *s = NULL;
	struct oci_digest found;
	const uint8_t *p;
	size_t n;

	if (stream_open(&s, media, src, o, diff_id->alg, e))
		return -1;
	do {
		if (stream_next(s, &p, &n, e) || (fn && n && fn(arg, p, n, e)))
			return -1;
	} while (n);
	if (stream_finish(s, &found, bytes, e))
		return -1;
	return check_diff_id(diff_id, &found, e);
}
