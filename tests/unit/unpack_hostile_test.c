/* SPDX-License-Identifier: Apache-2.0 */
/* Layers cut at every byte, and work and copies that a layer asks for beyond the limits. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "tests/unit/tarbuild.h"
#include "tests/unit/unit.h"

/* A stream and what becomes of it when it ends early. */
struct layer {
	enum oci_media media;
	uint8_t bytes[32 << 10];
	size_t n;
};

static struct k3_err err;

static void fill(struct tarbuild *t)
{
	char name[200] = { 0 };

	tb_init(t);
	tb_dir(t, "d");
	tb_file(t, "d/f", "some words that are not many");
	tb_link(t, "d/h", "d/f");
	tb_symlink(t, "s", "d");
	memset(name, 'n', sizeof(name) - 1);
	tb_pax_str(t, "path", name);
	tb_pax_str(t, "mtime", "12.5");
	tb_file(t, "x", "named by a PAX record");
	tb_long(t, 'L', name);
	tb_file(t, "y", "");
	tb_file(t, "d/.wh.f", "");
	tb_end(t);
}

static void pack(struct layer *l, enum oci_media media)
{
	struct tarbuild t;
	z_stream z = { .next_out = l->bytes, .avail_out = sizeof(l->bytes) };

	fill(&t);
	l->media = media;
	switch (media) {
	case OCI_MEDIA_LAYER_GZIP:
		deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
		z.next_in = t.out.p;
		z.avail_in = (uInt)t.out.len;
		deflate(&z, Z_FINISH);
		l->n = sizeof(l->bytes) - z.avail_out;
		deflateEnd(&z);
		break;
	case OCI_MEDIA_LAYER_ZSTD:
		l->n = ZSTD_compress(l->bytes, sizeof(l->bytes), t.out.p, t.out.len, 3);
		break;
	default:
		memcpy(l->bytes, t.out.p, t.out.len);
		l->n = t.out.len;
	}
	tb_release(&t);
}

/* Applies the first n bytes. */
static int apply_cut(int root, const struct layer *l, size_t n, struct unpack_opts o,
		     struct oci_digest *got)
{
	struct memsrc m;

	return unpack_layer(root, l->media, memsrc(&m, l->bytes, n, 4096), &o, NULL, got, NULL,
			    &err);
}

static void cut_everywhere(enum oci_media media, bool no_isal)
{
	const struct unpack_opts o = {
		.limits = unpack_limits_default,
		.one_thread = true,
		.no_isal = no_isal,
	};
	struct layer l;
	struct oci_digest whole, part;
	int root = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	pack(&l, media);
	OK(apply_cut(root, &l, l.n, o, &whole));
	for (size_t n = 0; n < l.n; n++) {
		/* Go accepts archives that end between entries: then the diff ID tells. */
		if (media == OCI_MEDIA_LAYER_TAR && !apply_cut(root, &l, n, o, &part))
			CHECK(!oci_digest_eq(&whole, &part));
		else if (media != OCI_MEDIA_LAYER_TAR && !apply_cut(root, &l, n, o, &part))
			unit_fail(__FILE__, __LINE__, "%zu of %zu bytes are accepted", n, l.n);
		else
			EQ_INT(err.code, K3_FORMAT);
	}
	close(root);
}

TEST(tar_cut_at_every_byte)
{
	cut_everywhere(OCI_MEDIA_LAYER_TAR, false);
}

TEST(gzip_cut_at_every_byte)
{
	cut_everywhere(OCI_MEDIA_LAYER_GZIP, false);
	cut_everywhere(OCI_MEDIA_LAYER_GZIP, true);
}

TEST(zstd_cut_at_every_byte)
{
	cut_everywhere(OCI_MEDIA_LAYER_ZSTD, false);
}

/* A root with a tree that another one shares, and one layer to apply. */
struct world {
	struct tarbuild t;
	struct unpack_opts o;
	int root;
};

static void world_open(struct world *w)
{
	w->root = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	w->o = (struct unpack_opts){ .limits = unpack_limits_default };
	tb_init(&w->t);
}

static int world_apply(struct world *w)
{
	struct memsrc m;

	tb_end(&w->t);
	int rc = unpack_layer(w->root, OCI_MEDIA_LAYER_TAR,
			      memsrc(&m, w->t.out.p, w->t.out.len, 4096), &w->o, NULL, NULL, NULL,
			      &err);

	tb_release(&w->t);
	tb_init(&w->t);
	return rc;
}

static void world_close(struct world *w)
{
	tb_release(&w->t);
	close(w->root);
}

static void many_files(struct world *w, unsigned n, bool opaque)
{
	char name[32];

	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "d/%u", i);
		tb_file(&w->t, name, "");
	}
	for (unsigned i = 0; opaque && i < n; i++)
		tb_file(&w->t, "d/.wh..wh..opq", "");
}

TEST(opaque_markers_cost_steps)
{
	struct world w;

	world_open(&w);
	w.o.limits.steps = 40 * 40 + 10; /* and the names on the way to d */
	many_files(&w, 40, true);
	OK(world_apply(&w));
	many_files(&w, 41, true);
	FAILS(world_apply(&w), K3_LIMIT);
	CHECK(strstr(err.msg, "steps"));
	world_close(&w);
}

TEST(symlinks_cost_steps)
{
	struct world w;
	char name[32], target[32];

	world_open(&w);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "l%u", i);
		snprintf(target, sizeof(target), "l%u", i + 1);
		tb_symlink(&w.t, name, target);
	}
	tb_dir(&w.t, "l100");
	OK(world_apply(&w));
	w.o.limits.steps = 1000;
	/* Other names of the same directory, which no cache knows. */
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "l%u/x", i);
		tb_file(&w.t, name, "");
	}
	FAILS(world_apply(&w), K3_LIMIT);
	CHECK(strstr(err.msg, "steps"));
	world_close(&w);
}

TEST(copy_ups_cost_steps)
{
	struct world w;
	char name[32], target[32];

	world_open(&w);
	many_files(&w, 30, false);
	OK(world_apply(&w));
	w.o.shared = true;
	w.o.limits.steps = 500;
	w.t.mode = 0600;
	for (unsigned i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "h%u", i);
		snprintf(target, sizeof(target), "d/%u", i);
		tb_link(&w.t, name, target);
	}
	FAILS(world_apply(&w), K3_LIMIT);
	CHECK(strstr(err.msg, "steps"));
	world_close(&w);
}

TEST(copies_count_as_bytes)
{
	struct world w;
	struct stat st;

	world_open(&w);
	tb_file(&w.t, "f", "ten bytes.");
	tb_file(&w.t, "g", "ten bytes.");
	OK(world_apply(&w));
	w.o.shared = true;
	w.t.mode = 0600;
	/* The stream itself has to fit, too. */
	w.o.limits.bytes = 8 << 10;
	if (ftruncate(openat(w.root, "f", O_WRONLY | O_CLOEXEC), 7 << 10))
		abort();
	tb_link(&w.t, "h", "f");
	OK(world_apply(&w));
	EQ_INT(fstatat(w.root, "h", &st, 0), 0);
	EQ_INT(st.st_size, 7 << 10);
	w.t.mode = 0600;
	if (ftruncate(openat(w.root, "g", O_WRONLY | O_CLOEXEC), 9 << 10))
		abort();
	tb_link(&w.t, "i", "g");
	FAILS(world_apply(&w), K3_LIMIT);
	CHECK(strstr(err.msg, "copies"));
	world_close(&w);
}

TEST(implied_directories_are_counted)
{
	struct world w;

	world_open(&w);
	w.o.limits.entries = 10;
	tb_file(&w.t, "1/2/3/4/5/6/7/8/9/10/f", "");
	OK(world_apply(&w));
	tb_file(&w.t, "a/2/3/4/5/6/7/8/9/10/11/f", "");
	FAILS(world_apply(&w), K3_LIMIT);
	CHECK(strstr(err.msg, "directories"));
	world_close(&w);
}

TEST(headers_without_an_entry)
{
	struct world w;

	world_open(&w);
	tb_pax_str(&w.t, "path", "lost");
	tb_flush_pax(&w.t, 'x');
	FAILS(world_apply(&w), K3_FORMAT);
	tb_long(&w.t, 'L', "lost");
	FAILS(world_apply(&w), K3_FORMAT);
	tb_long(&w.t, 'K', "lost");
	FAILS(world_apply(&w), K3_FORMAT);
	world_close(&w);
}

/* A file with a name for which its header field is too small. */
static void long_file(struct world *w, const char *name)
{
	tb_pax_str(&w->t, "path", name);
	tb_file(&w->t, "x", "");
}

TEST(names_that_no_file_system_takes)
{
	char name[600];
	struct world w;

	world_open(&w);
	memset(name, 'n', sizeof(name));
	snprintf(name + 256, sizeof(name) - 256, "/x");
	long_file(&w, name);
	FAILS(world_apply(&w), K3_LIMIT);
	name[256] = '\0';
	long_file(&w, name);
	FAILS(world_apply(&w), K3_LIMIT);
	tb_pax_str(&w.t, "linkpath", name);
	tb_link(&w.t, "h", "x");
	FAILS(world_apply(&w), K3_LIMIT);
	tb_pax_str(&w.t, "linkpath", name);
	tb_symlink(&w.t, "s", "x");
	tb_file(&w.t, "s/x", "");
	FAILS(world_apply(&w), K3_LIMIT);
	/* A whiteout's own name is never made. */
	memcpy(name, ".wh.", 4);
	long_file(&w, name);
	OK(world_apply(&w));
	memset(name + 4, 'n', 256);
	name[260] = '\0';
	long_file(&w, name);
	FAILS(world_apply(&w), K3_LIMIT);
	world_close(&w);
}

TEST(hard_link_over_the_directory_of_its_target)
{
	struct world w;

	world_open(&w);
	tb_file(&w.t, "d/f", "");
	tb_link(&w.t, "d", "d/f");
	FAILS(world_apply(&w), K3_FORMAT);
	world_close(&w);
}

TEST(layers_that_unpack_to_too_many_times_their_size)
{
	struct unpack_opts o = { .limits = unpack_limits_default };
	struct layer l = { .media = OCI_MEDIA_LAYER_ZSTD };
	const size_t zeros = 8 << 20;
	uint8_t *p = calloc(1, zeros);
	int root = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	l.n = ZSTD_compress(l.bytes, sizeof(l.bytes), p, zeros, 3);
	free(p);
	OK(apply_cut(root, &l, l.n, o, NULL));
	o.limits.ratio_from = 1 << 20;
	FAILS(apply_cut(root, &l, l.n, o, NULL), K3_LIMIT);
	CHECK(strstr(err.msg, "times"));
	o.one_thread = true;
	FAILS(apply_cut(root, &l, l.n, o, NULL), K3_LIMIT);
	o.limits.ratio = (uint32_t)(zeros / l.n + 1);
	OK(apply_cut(root, &l, l.n, o, NULL));
	close(root);
}

UNIT_MAIN
