/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack/tar.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "unpack/tarhdr.h"

/* Bytes per part of an old-GNU map; bounds every map by what a PAX map could hold. */
#define GNU_PART 24
#define GNU_NUMBER 12
#define GNU_PARTS_HEADER 4
#define GNU_PARTS_BLOCK 21
#define GNU_MORE_AT 504 /* "another map block follows", in a map block */

struct tar {
	struct unpack_src src;
	unpack_skip_fn *skip; /* or NULL */
	const struct unpack_limits *lim;
	uint64_t pos;     /* bytes of the stream taken so far */
	const uint8_t *p; /* rest of the chunk that src gave last */
	size_t n;
	bool src_end;

	uint64_t left; /* stored bytes of the current entry not read yet */
	unsigned pad;
	uint64_t off; /* of the file, for entries that are not sparse */
	size_t part;  /* of the sparse map */
	uint64_t part_done;
	uint64_t expanded; /* sum of all file sizes */

	struct tar_hdr hdr;
	struct k3_buf pax_raw, long_name, long_link;
	bool has_pax, has_name, has_link; /* seen since the last entry */
	struct pax pax;
	struct sparse sparse;
	uint8_t block[TAR_BLOCK];
};

struct tar *tar_new(struct unpack_src src, const struct unpack_limits *lim)
{
	struct tar *t = k3_xcalloc(1, sizeof(*t));

	t->src = src;
	t->lim = lim;
	t->pax_raw = K3_BUF(lim->pax_bytes);
	t->long_name = K3_BUF(lim->pax_bytes);
	t->long_link = K3_BUF(lim->pax_bytes);
	t->sparse.max = lim->pax_bytes / GNU_PART;
	return t;
}

void tar_set_skip(struct tar *t, unpack_skip_fn *skip)
{
	t->skip = skip;
}

uint64_t tar_position(const struct tar *t)
{
	return t->pos;
}

void tar_freep(struct tar **tp)
{
	struct tar *t = *tp;

	if (!t)
		return;
	k3_buf_release(&t->pax_raw);
	k3_buf_release(&t->long_name);
	k3_buf_release(&t->long_link);
	sparse_release(&t->sparse);
	free(t);
	*tp = NULL;
}

/* ---- bytes -------------------------------------------------------------------------- */

static int more(struct tar *t, struct k3_err *e)
{
	if (t->n || t->src_end)
		return 0;
	if (t->src.next(t->src.arg, &t->p, &t->n, e))
		return -1;
	t->src_end = t->n == 0;
	return 0;
}

/* Up to n bytes, none of which the source has handed out yet. */
static int skip_some(struct tar *t, uint64_t n, uint64_t *got, struct k3_err *e)
{
	uint64_t done = 0;

	if (t->skip(t->src.arg, n, &done, e))
		return -1;
	t->src_end = done < n;
	t->pos += done;
	*got += done;
	return 0;
}

/* Up to want bytes (dst may be NULL to skip them); *got is less only at the end of the stream. */
static int read_some(struct tar *t, uint8_t *dst, uint64_t want, uint64_t *got, struct k3_err *e)
{
	*got = 0;
	while (*got < want) {
		if (!dst && t->skip && !t->n && !t->src_end)
			return skip_some(t, want - *got, got, e);
		if (more(t, e))
			return -1;
		if (t->src_end)
			break;
		size_t take = t->n < want - *got ? t->n : (size_t)(want - *got);

		if (dst)
			memcpy(dst + *got, t->p, take);
		*got += take;
		t->pos += take;
		t->p += take;
		t->n -= take;
	}
	return 0;
}

static int truncated(struct k3_err *e, const char *where)
{
	return k3_fail(e, K3_FORMAT, "truncated: the archive ends within %s", where);
}

/* Exactly TAR_BLOCK bytes; *end when the stream is over before the first of them. */
static int read_block(struct tar *t, bool *end, struct k3_err *e)
{
	uint64_t got;

	if (read_some(t, t->block, TAR_BLOCK, &got, e))
		return -1;
	*end = got == 0;
	if (got && got < TAR_BLOCK)
		return truncated(e, "a header");
	return 0;
}

/* One block of the entry's stored data. */
static int read_data_block(struct tar *t, struct k3_err *e)
{
	bool end;

	if (t->left < TAR_BLOCK)
		return truncated(e, "a sparse file map");
	if (read_block(t, &end, e))
		return -1;
	if (end)
		return truncated(e, "a sparse file map");
	t->left -= TAR_BLOCK;
	return 0;
}

/* Go accepts an archive that ends within the padding of its last entry, so we do. */
static int skip_rest(struct tar *t, struct k3_err *e)
{
	uint64_t got;

	if (read_some(t, NULL, t->left, &got, e))
		return -1;
	if (got < t->left)
		return truncated(e, t->hdr.name[0] ? t->hdr.name : "an entry");
	t->left = 0;
	if (read_some(t, NULL, t->pad, &got, e))
		return -1;
	t->pad = 0;
	return 0;
}

static void set_payload(struct tar *t, uint64_t n)
{
	t->left = n;
	t->pad = (unsigned)(-n % TAR_BLOCK);
}

/* ---- extension headers ---------------------------------------------------------------- */

/* The whole payload of an extension header. */
static int read_payload(struct tar *t, struct k3_buf *b, struct k3_err *e)
{
	uint64_t got;

	k3_buf_reset(b);
	if (t->left > b->max)
		return k3_fail(e, K3_LIMIT, "tar extension header of %llu bytes: the limit is %zu",
			       (unsigned long long)t->left, b->max);
	if (k3_buf_reserve(b, (size_t)t->left, e) || read_some(t, b->p, t->left, &got, e))
		return -1;
	if (got < t->left)
		return truncated(e, "an extension header");
	b->len = (size_t)got;
	b->p[b->len] = 0;
	t->left = 0;
	return skip_rest(t, e);
}

static void forget_extensions(struct tar *t)
{
	t->has_pax = t->has_name = t->has_link = false;
	sparse_reset(&t->sparse);
}

static int read_pax(struct tar *t, struct k3_err *e)
{
	sparse_reset(&t->sparse);
	if (read_payload(t, &t->pax_raw, e) ||
	    pax_parse((const char *)t->pax_raw.p, t->pax_raw.len, &t->pax, &t->sparse, e))
		return -1;
	if (t->pax.xattr_bytes > t->lim->xattr_bytes)
		return k3_fail(e, K3_LIMIT, "extended attributes of more than %u bytes",
			       t->lim->xattr_bytes);
	t->has_pax = true;
	return 0;
}

/* *taken: the header in t->hdr was an extension of a later one. */
static int take_extension(struct tar *t, bool *taken, struct k3_err *e)
{
	*taken = true;
	set_payload(t, (uint64_t)t->hdr.size);
	switch (t->hdr.type) {
	case 'x':
		return read_pax(t, e);
	case 'g':
		/* Parsed, so that a broken one is noticed; never applied to entries. */
		if (read_pax(t, e))
			return k3_wrap(e, "global header");
		forget_extensions(t);
		return 0;
	case 'L':
		t->has_name = true;
		return read_payload(t, &t->long_name, e);
	case 'K':
		t->has_link = true;
		return read_payload(t, &t->long_link, e);
	default:
		*taken = false;
		return 0;
	}
}

/*
 * The value of a record as a string.  The byte after it is the record's newline (or, for a key,
 * its equals sign) in our own buffer and makes room for the NUL.
 */
static const char *terminate(struct tar *t, struct pax_text v)
{
	t->pax_raw.p[(size_t)(v.p - (const char *)t->pax_raw.p) + v.n] = 0;
	return v.p;
}

static bool override_i64(struct pax_text v, int64_t *field)
{
	return !v.n || pax_i64(v, field);
}

/* ---- sparse files ------------------------------------------------------------------------ */

static int gnu_parts(struct tar *t, const uint8_t *p, int count, struct k3_err *e)
{
	for (; count && *p; count--, p += GNU_PART) {
		int64_t off, len;

		if (!tarhdr_number(p, GNU_NUMBER, &off) ||
		    !tarhdr_number(p + GNU_NUMBER, GNU_NUMBER, &len) || off < 0 || len < 0)
			return k3_fail(e, K3_FORMAT, "malformed sparse file map");
		if (sparse_add(&t->sparse, (uint64_t)off, (uint64_t)len, e))
			return -1;
	}
	return 0;
}

/* The map blocks of an old-GNU sparse file lie between header and data and belong to neither. */
static int read_old_gnu_map(struct tar *t, int64_t *size, struct k3_err *e)
{
	bool again = t->block[TAR_GNU_EXTENDED_AT];
	size_t before;

	if (!t->hdr.gnu || !tarhdr_number(t->block + TAR_GNU_REALSIZE_AT, GNU_NUMBER, size) ||
	    *size < 0)
		return k3_fail(e, K3_FORMAT, "malformed sparse file header");
	sparse_reset(&t->sparse);
	if (gnu_parts(t, t->block + TAR_GNU_SPARSE_AT, GNU_PARTS_HEADER, e))
		return -1;
	while (again) {
		bool end;

		before = t->sparse.n;
		if (read_block(t, &end, e))
			return -1;
		if (end)
			return truncated(e, "a sparse file map");
		if (gnu_parts(t, t->block, GNU_PARTS_BLOCK, e))
			return -1;
		again = t->block[GNU_MORE_AT];
		if (again && t->sparse.n == before)
			return k3_fail(e, K3_FORMAT, "sparse file map with an empty block");
	}
	t->sparse.present = true;
	return 0;
}

/* GNU 1.0: the map is text at the start of the data, one number per line. */
static int read_line_number(struct tar *t, unsigned *at, uint64_t *v, struct k3_err *e)
{
	*v = 0;
	for (int digits = 0;; digits++, (*at)++) {
		if (*at == TAR_BLOCK) {
			if (read_data_block(t, e))
				return -1;
			*at = 0;
		}
		uint8_t c = t->block[*at];

		if (c == '\n' && digits) {
			(*at)++;
			return 0;
		}
		if (c < '0' || c > '9' || *v > INT64_MAX / 10 - 1)
			return k3_fail(e, K3_FORMAT, "malformed sparse file map");
		*v = *v * 10 + (uint64_t)(c - '0');
	}
}

static int read_map_1_0(struct tar *t, struct k3_err *e)
{
	unsigned at = TAR_BLOCK;
	uint64_t count, v;

	sparse_reset(&t->sparse);
	if (read_line_number(t, &at, &count, e))
		return -1;
	if (count > t->sparse.max)
		return k3_fail(e, K3_LIMIT, "sparse file map of more than %zu parts",
			       t->sparse.max);
	for (uint64_t i = 0; i < 2 * count; i++)
		if (read_line_number(t, &at, &v, e) || sparse_add_number(&t->sparse, v, e))
			return -1;
	return 0;
}

static bool is_one(struct pax_text t, char c)
{
	return t.n == 1 && t.p[0] == c;
}

/* Recognises the three PAX formats as Go does; unknown versions are ordinary files. */
static int read_pax_map(struct tar *t, const char **name, int64_t *size, struct k3_err *e)
{
	const struct pax *x = &t->pax;
	bool in_data = is_one(x->sp_major, '1') && is_one(x->sp_minor, '0');
	bool versioned = is_one(x->sp_major, '0') &&
			 (is_one(x->sp_minor, '0') || is_one(x->sp_minor, '1'));
	bool guessed = !x->sp_major.n && !x->sp_minor.n && (x->sp_map.n || t->sparse.n);

	if (!in_data && !versioned && !guessed)
		return 0;
	struct pax_text real = x->sp_size.n ? x->sp_size : x->sp_realsize;

	if (!override_i64(real, size) || *size < 0)
		return k3_fail(e, K3_FORMAT, "malformed size of a sparse file");
	if (x->sp_name.n)
		*name = terminate(t, x->sp_name);
	t->sparse.present = true;
	if (in_data) {
		int rc = read_map_1_0(t, e);

		t->sparse.present = true;
		return rc;
	}
	if (!x->sp_map.n)
		return 0;
	sparse_reset(&t->sparse);
	t->sparse.present = true;
	return sparse_add_text(&t->sparse, x->sp_map.p, x->sp_map.n, e);
}

/* ---- entries --------------------------------------------------------------------------- */

static int find_type(struct tar *t, const char *name, enum tar_type *type, struct k3_err *e)
{
	size_t n = strlen(name);

	switch (t->hdr.type) {
	case '\0':
		*type = n && name[n - 1] == '/' ? TAR_DIR : TAR_FILE;
		return 0;
	case '0':
	case '7': /* "contiguous": POSIX wants it treated as a regular file */
	case 'S':
		*type = TAR_FILE;
		return 0;
	case '1':
	case '2':
	case '3':
	case '4':
	case '5':
	case '6':
		*type = (enum tar_type)(TAR_LINK + (t->hdr.type - '1'));
		return 0;
	default:
		return k3_fail(e, K3_UNSUPPORTED, "%s: tar entry of unknown type '%c' (0x%02x)",
			       name, t->hdr.type, (unsigned char)t->hdr.type);
	}
}

/* chown(2) knows 32 bits; some archivers write "nobody" as -2. */
static bool id_fits(int64_t id)
{
	return id >= INT32_MIN && id <= UINT32_MAX;
}

/* containerd: times before 1970 or beyond 2^63-1 nanoseconds become 0. */
static struct timespec bounded(struct timespec ts)
{
	const time_t last = INT64_MAX / 1000000000;

	if (ts.tv_sec < 0 || ts.tv_sec > last ||
	    (ts.tv_sec == last && ts.tv_nsec > INT64_MAX % 1000000000))
		return (struct timespec){ 0 };
	return ts;
}

static bool earlier(struct timespec a, struct timespec b)
{
	return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}

static int set_times(struct tar *t, struct tar_entry *out, struct k3_err *e)
{
	struct timespec mtime = { .tv_sec = t->hdr.mtime }, atime = { .tv_sec = t->hdr.atime };
	bool has_atime = t->hdr.has_atime;

	if (t->has_pax) {
		bool ok = true;

		if (t->pax.mtime.n)
			ok = pax_time(t->pax.mtime, &mtime);
		if (t->pax.atime.n) {
			ok = ok && pax_time(t->pax.atime, &atime);
			has_atime = true;
		}
		if (!ok)
			return k3_fail(e, K3_FORMAT, "%s: malformed PAX time", out->name);
	}
	if (!has_atime || earlier(atime, mtime))
		atime = mtime;
	out->mtime = bounded(mtime);
	out->atime = bounded(atime);
	return 0;
}

static int set_attrs(struct tar *t, struct tar_entry *out, struct k3_err *e)
{
	const struct tar_hdr *h = &t->hdr;
	int64_t uid = h->uid, gid = h->gid;

	if (t->has_pax && (!override_i64(t->pax.uid, &uid) || !override_i64(t->pax.gid, &gid)))
		return k3_fail(e, K3_FORMAT, "%s: malformed PAX owner", out->name);
	if (!id_fits(uid) || !id_fits(gid))
		return k3_fail(e, K3_FORMAT, "%s: owner %lld:%lld does not fit 32 bits", out->name,
			       (long long)uid, (long long)gid);
	if (h->devmajor < 0 || h->devmajor > UINT32_MAX || h->devminor < 0 ||
	    h->devminor > UINT32_MAX)
		return k3_fail(e, K3_FORMAT, "%s: device number out of range", out->name);
	out->mode = (mode_t)(h->mode & 07777);
	out->uid = (uid_t)uid;
	out->gid = (gid_t)gid;
	out->major = (unsigned)h->devmajor;
	out->minor = (unsigned)h->devminor;
	if (!t->has_pax)
		return set_times(t, out, e);
	for (size_t i = 0; i < t->pax.nxattrs; i++)
		terminate(t, t->pax.xattrs[i].name);
	out->xattrs = t->pax.xattrs;
	out->nxattrs = t->pax.nxattrs;
	return set_times(t, out, e);
}

/* Name, link, type and payload, in the order in which Go lets one overrule the other. */
static int set_names(struct tar *t, struct tar_entry *out, int64_t *size, struct k3_err *e)
{
	out->name = t->hdr.name;
	out->link = t->hdr.link;
	if (t->has_pax) {
		if (t->pax.path.n)
			out->name = terminate(t, t->pax.path);
		if (t->pax.linkpath.n)
			out->link = terminate(t, t->pax.linkpath);
		if (!override_i64(t->pax.size, size) || *size < 0)
			return k3_fail(e, K3_FORMAT, "%s: malformed PAX size", out->name);
	}
	if (t->has_name && t->long_name.p[0])
		out->name = (const char *)t->long_name.p;
	if (t->has_link && t->long_link.p[0])
		out->link = (const char *)t->long_link.p;
	if (find_type(t, out->name, &out->type, e))
		return -1;
	/* Links, directories and devices carry no payload, whatever their size field says. */
	if (out->type != TAR_FILE)
		*size = 0;
	set_payload(t, (uint64_t)*size);
	return 0;
}

static int check_entry(struct tar *t, const struct tar_entry *out, struct k3_err *e)
{
	if (strlen(out->name) > t->lim->path_bytes || strlen(out->link) > t->lim->path_bytes)
		return k3_fail(e, K3_LIMIT, "%.64s...: name or link of more than %u bytes",
			       out->name, t->lim->path_bytes);
	if (out->sparse && sparse_check(&t->sparse, out->size, t->left, e))
		return k3_wrap(e, "%s", out->name);
	if (__builtin_add_overflow(t->expanded, out->size, &t->expanded) ||
	    t->expanded > t->lim->bytes)
		return k3_fail(e, K3_LIMIT, "%s: files of more than %llu bytes in all", out->name,
			       (unsigned long long)t->lim->bytes);
	return 0;
}

static int take_entry(struct tar *t, struct tar_entry *out, struct k3_err *e)
{
	int64_t size = t->hdr.size;

	*out = (struct tar_entry){ 0 };
	if (set_names(t, out, &size, e))
		return -1;
	t->sparse.present = false;
	if (out->type == TAR_FILE) {
		int rc = 0;

		if (t->hdr.type == 'S')
			rc = read_old_gnu_map(t, &size, e);
		else if (t->has_pax)
			rc = read_pax_map(t, &out->name, &size, e);
		if (rc)
			return k3_wrap(e, "%s", out->name);
	}
	out->sparse = t->sparse.present;
	out->size = (uint64_t)size;
	if (set_attrs(t, out, e))
		return -1;
	t->off = t->part_done = 0;
	t->part = 0;
	return check_entry(t, out, e);
}

/* After one zero block: another one, or the end of the stream. */
static int expect_end(struct tar *t, struct k3_err *e)
{
	bool end;

	if (read_block(t, &end, e))
		return -1;
	if (!end && !tarhdr_is_zero(t->block))
		return k3_fail(e, K3_FORMAT, "a lone zero block in the archive");
	return 0;
}

int tar_next(struct tar *t, struct tar_entry *out, bool *end, struct k3_err *e)
{
	if (skip_rest(t, e))
		return -1;
	forget_extensions(t);
	for (;;) {
		bool taken;

		if (read_block(t, end, e))
			return -1;
		if (*end && (t->has_pax || t->has_name || t->has_link))
			return truncated(e, "the headers of an entry");
		if (*end)
			return 0;
		if (tarhdr_is_zero(t->block)) {
			if (t->has_pax || t->has_name || t->has_link)
				return truncated(e, "the headers of an entry");
			*end = true;
			return expect_end(t, e);
		}
		if (tarhdr_parse(t->block, &t->hdr, e) || take_extension(t, &taken, e))
			return -1;
		if (!taken)
			return take_entry(t, out, e);
	}
}

int tar_data(struct tar *t, uint64_t *off, const uint8_t **p, size_t *n, struct k3_err *e)
{
	uint64_t want = t->left;

	*n = 0;
	if (!want)
		return 0;
	*off = t->off;
	if (t->sparse.present) {
		/* sparse_check made the parts add up to what is left. */
		while (t->part_done == t->sparse.parts[t->part].len) {
			t->part++;
			t->part_done = 0;
		}
		*off = t->sparse.parts[t->part].off + t->part_done;
		want = t->sparse.parts[t->part].len - t->part_done;
	}
	if (more(t, e))
		return -1;
	if (t->src_end)
		return truncated(e, "a file");
	*p = t->p;
	*n = t->n < want ? t->n : (size_t)want;
	t->pos += *n;
	t->p += *n;
	t->n -= *n;
	t->left -= *n;
	t->off += *n;
	t->part_done += *n;
	return 0;
}
