/* SPDX-License-Identifier: Apache-2.0 */
/* Staging of blobs, interrupted and gone on with. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "importer/imp.h"

static const char text[] = "some bytes that a registry might serve";

static struct imp *open_root(const char *root)
{
	struct imp_opts o = { .root = root, .ns = "k8s.io", .write = true };
	struct k3_err err;
	struct imp *i = NULL;

	OK(imp_open(&o, &i, &err));
	return i;
}

static struct oci_desc describe(const char *s)
{
	struct oci_desc d = { .media = OCI_MEDIA_LAYER_TAR, .size = strlen(s) };

	oci_digest_of(K3_SHA256, s, strlen(s), &d.digest);
	return d;
}

TEST(interrupted_blob_goes_on)
{
	const char *root = unit_tmpdir();
	struct imp *i = open_root(root);
	struct oci_desc d = describe(text);
	struct oci_digest got;
	struct imp_blob *b;
	struct k3_err err;

	OK(imp_blob_begin(i, &d, &b, &err));
	EQ_INT(imp_blob_have(b), 0);
	OK(imp_blob_write(b, text, 10, &err));
	imp_blob_abandon(b);
	imp_close(i, true);
	i = open_root(root);
	OK(imp_blob_begin(i, &d, &b, &err));
	EQ_INT(imp_blob_have(b), 10);
	OK(imp_blob_write(b, text + 10, d.size - 10, &err));
	k3_hash_add(imp_blob_hash(b), text + 10, d.size - 10);
	oci_digest_final(imp_blob_hash(b), K3_SHA256, &got);
	CHECK(oci_digest_eq(&got, &d.digest));
	OK(imp_blob_done(b, &err));
	imp_close(i, true);
	/* Complete, but of an earlier run: hashed again. */
	i = open_root(root);
	OK(imp_blob_begin(i, &d, &b, &err));
	EQ_INT(imp_blob_have(b), d.size);
	oci_digest_final(imp_blob_hash(b), K3_SHA256, &got);
	CHECK(oci_digest_eq(&got, &d.digest));
	OK(imp_blob_restart(b, &err));
	EQ_INT(imp_blob_have(b), 0);
	imp_blob_abandon(b);
	imp_close(i, false);
	i = open_root(root);
	OK(imp_blob_begin(i, &d, &b, &err));
	EQ_INT(imp_blob_have(b), 0);
	imp_blob_abandon(b);
	imp_close(i, false);
}

TEST(leftover_that_is_too_long_is_emptied)
{
	struct imp *i = open_root(unit_tmpdir());
	struct oci_desc d = describe(text);
	struct imp_blob *b;
	struct k3_err err;

	OK(imp_blob_begin(i, &d, &b, &err));
	OK(imp_blob_write(b, text, sizeof(text), &err));
	FAILS(imp_blob_done(b, &err), K3_BUG);
	OK(imp_blob_begin(i, &d, &b, &err));
	EQ_INT(imp_blob_have(b), 0);
	imp_blob_abandon(b);
	imp_close(i, false);
}

TEST(documents_are_verified)
{
	struct imp *i = open_root(unit_tmpdir());
	K3_AUTO_BUF struct k3_buf out = K3_BUF(1000);
	struct oci_desc d = describe(text), other = describe("else");
	struct k3_err err;
	char got[16];
	int fd;

	FAILS(imp_read_document(i, &d, &out, &err), K3_NOTFOUND);
	FAILS(imp_blob_open(i, &d, &fd, &err), K3_NOTFOUND);
	OK(imp_blob_put(i, &d, text, d.size, &err));
	OK(imp_blob_put(i, &d, text, d.size, &err));
	OK(k3_buf_add(&out, "<", 1, &err));
	OK(imp_read_document(i, &d, &out, &err));
	EQ_INT(out.len, d.size + 1);
	EQ_STR((char *)out.p + 1, text);
	OK(imp_blob_open(i, &d, &fd, &err));
	EQ_INT(read(fd, got, 4), 4);
	close(fd);
	out.len = 0;
	d.size = 0; /* not known yet */
	OK(imp_read_document(i, &d, &out, &err));
	EQ_STR((char *)out.p, text);
	d.size = strlen(text) - 1;
	FAILS(imp_read_document(i, &d, &out, &err), K3_DIGEST);
	OK(imp_blob_put(i, &other, "what", 4, &err));
	FAILS(imp_read_document(i, &other, &out, &err), K3_DIGEST);
	EQ_INT(out.len, strlen(text));
	imp_close(i, false);
}

TEST(unfinished_blob_can_be_read)
{
	struct imp *i = open_root(unit_tmpdir());
	struct oci_desc d = describe(text);
	struct imp_blob *b;
	struct k3_err err;
	char got[16];
	int fd;

	OK(imp_blob_begin(i, &d, &b, &err));
	OK(imp_blob_write(b, text, 4, &err));
	OK(imp_blob_open(i, &d, &fd, &err));
	EQ_INT(read(fd, got, sizeof(got)), 4);
	/* What is written behind is seen through the same descriptor, also when it is done. */
	OK(imp_blob_write(b, text + 4, d.size - 4, &err));
	OK(imp_blob_done(b, &err));
	EQ_INT(read(fd, got, sizeof(got)), sizeof(got));
	close(fd);
	imp_close(i, false);
}

TEST(nothing_is_staged_without_write)
{
	struct imp_opts o = { .root = unit_tmpdir(), .ns = "k8s.io" };
	struct oci_desc d = describe(text);
	struct imp_blob *b;
	struct imp_tree *t;
	struct k3_err err;
	struct imp *i;

	OK(imp_open(&o, &i, &err));
	FAILS(imp_blob_begin(i, &d, &b, &err), K3_BUG);
	FAILS(imp_tree_begin(i, &d.digest, NULL, NULL, &t, &err), K3_BUG);
	FAILS(imp_commit(i, &err), K3_BUG);
	imp_close(i, false);
}

/* ---- blobs in parts ---- */

#define PART 16u

/* 100 bytes: six parts of 16 and one of 4. */
static const char long_text[] =
	"0123456789abcdef0123456789ABCDEF the quick brown fox jumps over the lazy dog, and then "
	"again: done.!";

static void check_complete(struct imp_blob *b, const struct oci_desc *d)
{
	struct oci_digest got;
	struct k3_err err;
	char buf[7];

	OK(imp_blob_follow(b, d->size, buf, sizeof(buf), &err));
	EQ_INT(imp_blob_have(b), d->size);
	oci_digest_final(imp_blob_hash(b), K3_SHA256, &got);
	CHECK(oci_digest_eq(&got, &d->digest));
}

static void put_part(struct imp_blob *b, size_t k, size_t from, size_t n)
{
	struct k3_err err;

	OK(imp_blob_part_write(b, k, long_text + PART * k + from, n, &err));
}

TEST(parts_in_any_order)
{
	struct imp *i = open_root(unit_tmpdir());
	struct oci_desc d = describe(long_text);
	K3_AUTO_BUF struct k3_buf out = K3_BUF(1000);
	struct imp_blob *b;
	struct k3_err err;
	char buf[64];

	EQ_INT(d.size, 100);
	OK(imp_blob_begin(i, &d, &b, &err));
	OK(imp_blob_split(b, PART, &err));
	for (size_t k = 7; k-- > 1;)
		put_part(b, k, 0, k < 6 ? PART : 4);
	EQ_INT(imp_blob_have(b), 0);
	EQ_INT(imp_blob_part_have(b, 0), 0);
	EQ_INT(imp_blob_part_have(b, 6), 4);
	put_part(b, 0, 0, 10);
	OK(imp_blob_follow(b, 10, buf, sizeof(buf), &err));
	EQ_INT(imp_blob_have(b), 10);
	put_part(b, 0, 10, 6);
	FAILS(imp_blob_part_write(b, 0, "x", 1, &err), K3_BUG);
	FAILS(imp_blob_part_write(b, 6, "x", 1, &err), K3_BUG);
	check_complete(b, &d);
	OK(imp_blob_done(b, &err));
	/* The table is gone: a file of exactly the blob. */
	OK(imp_read_document(i, &d, &out, &err));
	EQ_STR((char *)out.p, long_text);
	imp_close(i, false);
}

/* Leaves chunks 0 and 1, half of 2, all of 4, and a bit of 6, as an interrupted run does. */
static void interrupt(const char *root, const struct oci_desc *d)
{
	struct imp *i = open_root(root);
	struct imp_blob *b;
	struct k3_err err;

	OK(imp_blob_begin(i, d, &b, &err));
	OK(imp_blob_split(b, PART, &err));
	put_part(b, 0, 0, PART);
	put_part(b, 4, 0, PART);
	put_part(b, 1, 0, PART);
	put_part(b, 2, 0, PART / 2);
	put_part(b, 6, 0, 1);
	imp_blob_abandon(b);
	imp_close(i, true);
}

TEST(interrupted_parts_go_on)
{
	const char *root = unit_tmpdir();
	struct oci_desc d = describe(long_text);
	struct imp_blob *b;
	struct k3_err err;

	interrupt(root, &d);
	struct imp *i = open_root(root);

	OK(imp_blob_begin(i, &d, &b, &err));
	EQ_INT(imp_blob_have(b), 2 * PART + PART / 2);
	OK(imp_blob_split(b, PART, &err));
	EQ_INT(imp_blob_part_have(b, 2), PART / 2);
	EQ_INT(imp_blob_part_have(b, 3), 0);
	EQ_INT(imp_blob_part_have(b, 4), PART);
	EQ_INT(imp_blob_part_have(b, 6), 1);
	put_part(b, 6, 1, 3);
	put_part(b, 3, 0, PART);
	put_part(b, 5, 0, PART);
	put_part(b, 2, PART / 2, PART / 2);
	check_complete(b, &d);
	OK(imp_blob_done(b, &err));
	imp_close(i, false);
}

TEST(interrupted_parts_go_on_in_one_piece_or_others)
{
	const char *root = unit_tmpdir();
	struct oci_desc d = describe(long_text);
	struct imp_blob *b;
	struct k3_err err;

	interrupt(root, &d);
	struct imp *i = open_root(root);

	/* Other chunks: what is there from the start, and no more. */
	OK(imp_blob_begin(i, &d, &b, &err));
	OK(imp_blob_split(b, 30, &err));
	EQ_INT(imp_blob_part_have(b, 0), 30);
	EQ_INT(imp_blob_part_have(b, 1), 10);
	EQ_INT(imp_blob_part_have(b, 2), 0);
	OK(imp_blob_part_write(b, 3, long_text + 90, 10, &err));
	/* In one piece: parts behind are dropped. */
	OK(imp_blob_write(b, long_text + 40, 20, &err));
	k3_hash_add(imp_blob_hash(b), long_text + 40, 20);
	imp_blob_abandon(b);
	imp_close(i, true);
	i = open_root(root);
	OK(imp_blob_begin(i, &d, &b, &err));
	EQ_INT(imp_blob_have(b), 60);
	OK(imp_blob_write(b, long_text + 60, 40, &err));
	k3_hash_add(imp_blob_hash(b), long_text + 60, 40);
	check_complete(b, &d);
	OK(imp_blob_done(b, &err));
	imp_close(i, false);
}

/* Changes n bytes of the only staging file at `at` from its end. */
static void damage(const char *root, long at, const void *p, size_t n)
{
	char path[512], name[OCI_DIGEST_TEXT_MAX];
	struct oci_desc d = describe(long_text);

	oci_digest_format(&d.digest, name);
	name[6] = '-'; /* sha256-... */
	snprintf(path, sizeof(path), "%s/.k3simg/blobs/%s.part", root, name);
	FILE *f = fopen(path, "r+");

	CHECK(f != NULL);
	if (!f)
		return;
	fseek(f, at, SEEK_END);
	fwrite(p, 1, n, f);
	fclose(f);
}

TEST(damaged_table_is_no_harm)
{
	static const uint8_t zeros[8], ones[8] = { 255, 255, 255, 255, 255, 255, 255, 255 };
	const struct {
		long at;
		const uint8_t *bytes;
		uint64_t have;
	} ways[] = {
		{ -8 * 9, zeros, 0 },   /* no magic */
		{ -8 * 8, zeros, 0 },   /* chunks of nothing */
		{ -8 * 8, ones, 0 },    /* of everything: another length */
		{ -8 * 7, ones, 0 },    /* more of the first chunk than it has */
		{ -8 * 6, ones, PART }, /* of the second */
		{ 0, zeros, 0 },        /* too long */
	};

	for (size_t k = 0; k < K3_ARRAY_LEN(ways); k++) {
		const char *root = unit_tmpdir();
		struct oci_desc d = describe(long_text);
		struct imp_blob *b;
		struct k3_err err;

		interrupt(root, &d);
		damage(root, ways[k].at, ways[k].bytes, 8);
		struct imp *i = open_root(root);

		OK(imp_blob_begin(i, &d, &b, &err));
		EQ_INT(imp_blob_have(b), ways[k].have);
		OK(imp_blob_restart(b, &err));
		EQ_INT(imp_blob_have(b), 0);
		OK(imp_blob_write(b, long_text, 100, &err));
		k3_hash_add(imp_blob_hash(b), long_text, 100);
		check_complete(b, &d);
		OK(imp_blob_done(b, &err));
		imp_close(i, false);
	}
}

TEST(too_many_parts_are_refused)
{
	struct imp *i = open_root(unit_tmpdir());
	struct oci_desc d = describe(long_text);
	struct imp_blob *b;
	struct k3_err err;

	OK(imp_blob_begin(i, &d, &b, &err));
	FAILS(imp_blob_split(b, 0, &err), K3_BUG);
	imp_blob_abandon(b);
	d.size = UINT64_C(1) << 62;
	OK(imp_blob_begin(i, &d, &b, &err));
	FAILS(imp_blob_split(b, UINT64_C(1) << 49, &err), K3_BUG);
	imp_blob_abandon(b);
	imp_close(i, false);
}

UNIT_MAIN
