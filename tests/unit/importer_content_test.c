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

UNIT_MAIN
