/* SPDX-License-Identifier: Apache-2.0 */
/* Bundles written and read again, from files and from pipes, whole and spoilt. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/thread.h"
#include "bundle/bundle.h"
#include "tests/unit/unit.h"

static struct k3_err err;

/* Sizes around the blocks of tar. */
static const size_t sizes[] = { 7, 512, 0, 513, 100000 };

static void body(size_t k, uint8_t *p)
{
	for (size_t i = 0; i < sizes[k]; i++)
		p[i] = (uint8_t)(i * 7 + k);
}

static void make_doc(struct bundle_doc *d)
{
	struct oci_desc target = { .media_text = "application/vnd.oci.image.index.v1+json" };
	struct oci_ref ref;
	struct oci_digest digest;
	uint8_t *p = k3_xcalloc(1, 100000);

	*d = (struct bundle_doc){ 0 };
	OK(oci_platform_parse("linux/arm64", &d->platform, &err));
	OK(oci_ref_parse("app:2", &ref, &err));
	for (size_t k = 0; k < K3_ARRAY_LEN(sizes); k++) {
		body(k, p);
		/* The name of a sha512 has no room in one header. */
		oci_digest_of(k == 3 ? K3_SHA512 : K3_SHA256, p, sizes[k], &digest);
		bundle_add_member(d,
				  k < 2   ? BUNDLE_DOCUMENT
				  : k < 4 ? BUNDLE_LAYER
					  : BUNDLE_TAR,
				  &digest, sizes[k]);
		target.digest = digest;
	}
	bundle_add_image(d, &ref, &target);
	oci_ref_release(&ref);
	free(p);
}

static const char *path(void)
{
	static char name[300];

	if (!name[0])
		snprintf(name, sizeof(name), "%s/bundle", unit_tmpdir());
	return name;
}

/* Writes the bundle in pieces of an odd size. */
static void make(struct oci_digest *digest)
{
	uint8_t *p = k3_xcalloc(1, 100000);
	struct bundle_writer *w = NULL;
	struct bundle_doc d;
	K3_AUTO_FD int fd = open(path(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	make_doc(&d);
	OK(bundle_writer_new(fd, "out", &d, &w, digest, &err));
	for (size_t k = 0; k < K3_ARRAY_LEN(sizes); k++) {
		body(k, p);
		for (size_t at = 0, n; at < sizes[k]; at += n) {
			n = sizes[k] - at < 777 ? sizes[k] - at : 777;
			OK(bundle_writer_data(w, p + at, n, &err));
		}
	}
	OK(bundle_writer_end(w, &err));
	FAILS(bundle_writer_data(w, "x", 1, &err), K3_BUG);
	bundle_writer_free(w);
	bundle_doc_release(&d);
	free(p);
}

/* cat FILE | */
static void feed(void *arg)
{
	int *to = arg;
	K3_AUTO_BUF struct k3_buf all = K3_BUF(1u << 20);
	struct k3_err ignored;

	/* Nobody may read it to the end. */
	signal(SIGPIPE, SIG_IGN);
	if (k3_read_file(AT_FDCWD, path(), &all, &ignored) ||
	    k3_write_all(*to, all.p, all.len, "pipe", &ignored))
		CHECK(ignored.sys == EPIPE);
	close(*to);
}

static int read_member(struct bundle *b, size_t k, uint8_t *out)
{
	size_t have = 0, got;

	do {
		if (bundle_read(b, k, have, out + have, 1000, &got, &err))
			return -1;
		have += got;
	} while (got);
	return have == sizes[k] ? 0 : -1;
}

static void check_member(struct bundle *b, size_t k)
{
	uint8_t *want = k3_xcalloc(1, 100000), *have = k3_xcalloc(1, 101000);

	body(k, want);
	OK(read_member(b, k, have));
	CHECK(!memcmp(want, have, sizes[k]));
	free(want);
	free(have);
}

TEST(tar_from_a_file_in_any_order)
{
	struct oci_digest digest;
	struct bundle *b = NULL;

	make(&digest);
	OK(bundle_open(&(struct bundle_opts){ .path = path(), .digest = &digest }, &b, &err));
	CHECK(oci_digest_eq(bundle_digest(b), &digest));
	CHECK(bundle_any_order(b));
	EQ_INT(bundle_doc(b)->n, K3_ARRAY_LEN(sizes));
	for (size_t k = K3_ARRAY_LEN(sizes); k--;)
		check_member(b, k);
	OK(bundle_finish(b, &err));
	bundle_free(b);
}

/* Opens the file through a pipe on standard input and reads the members that the mask says. */
static int through_pipe(unsigned mask)
{
	int ends[2], saved = dup(STDIN_FILENO);
	struct k3_thread *t = NULL;
	struct bundle *b = NULL;
	int rc;

	OK(pipe(ends));
	dup2(ends[0], STDIN_FILENO);
	close(ends[0]);
	OK(k3_thread_start(feed, &ends[1], &t, &err));
	rc = bundle_open(&(struct bundle_opts){ .path = "-" }, &b, &err);
	for (size_t k = 0; !rc && k < K3_ARRAY_LEN(sizes); k++) {
		uint8_t *have = k3_xcalloc(1, 101000);

		if (mask & 1u << k) {
			CHECK(bundle_has(b, k));
			rc = read_member(b, k, have);
			CHECK(rc || !sizes[k] || !bundle_has(b, k));
		}
		free(have);
	}
	if (!rc)
		rc = bundle_finish(b, &err);
	bundle_free(b);
	dup2(saved, STDIN_FILENO);
	close(saved);
	k3_thread_join(t);
	return rc;
}

TEST(tar_from_a_pipe)
{
	struct oci_digest digest;

	make(&digest);
	for (unsigned mask = 0; mask < 32; mask++)
		OK(through_pipe(mask));
}

TEST(tar_pipe_goes_one_way)
{
	int ends[2], saved = dup(STDIN_FILENO);
	struct k3_thread *t = NULL;
	struct oci_digest digest;
	struct bundle *b = NULL;
	uint8_t byte;
	size_t got;

	make(&digest);
	OK(pipe(ends));
	dup2(ends[0], STDIN_FILENO);
	close(ends[0]);
	OK(k3_thread_start(feed, &ends[1], &t, &err));
	OK(bundle_open(&(struct bundle_opts){ .path = "-" }, &b, &err));
	CHECK(!bundle_any_order(b));
	OK(bundle_read(b, 1, 500, &byte, 1, &got, &err));
	EQ_INT(byte, (uint8_t)(500 * 7 + 1));
	FAILS(bundle_read(b, 1, 500, &byte, 1, &got, &err), K3_BUG);
	FAILS(bundle_read(b, 0, 0, &byte, 1, &got, &err), K3_BUG);
	OK(bundle_finish(b, &err));
	bundle_free(b);
	dup2(saved, STDIN_FILENO);
	close(saved);
	k3_thread_join(t);
}

/* Every place that is not the bytes of a member. */
TEST(tar_spoilt_frames_are_refused)
{
	K3_AUTO_BUF struct k3_buf all = K3_BUF(1u << 20);
	struct oci_digest digest;
	size_t refused = 0, tried = 0;

	make(&digest);
	OK(k3_read_file(AT_FDCWD, path(), &all, &err));
	for (size_t at = 0; at < all.len; at += 61) {
		K3_AUTO_FD int fd = open(path(), O_WRONLY | O_CLOEXEC);
		uint8_t other = all.p[at] ^ 1;
		struct bundle *b = NULL;

		OK(k3_pwrite_all(fd, &other, 1, at, "bundle", &err));
		tried++;
		if (bundle_open(&(struct bundle_opts){ .path = path(), .digest = &digest }, &b,
				&err)) {
			CHECK(err.code == K3_FORMAT || err.code == K3_DIGEST);
			refused++;
		}
		bundle_free(b);
		OK(k3_pwrite_all(fd, &all.p[at], 1, at, "bundle", &err));
	}
	/* The members are a little over 101,032 bytes of it. */
	CHECK(refused >= (all.len - 101032) / 61 - 5);
	CHECK(refused < tried);
}

TEST(tar_cut_short_is_refused)
{
	struct oci_digest digest;

	make(&digest);
	K3_AUTO_FD int fd = open(path(), O_RDWR | O_CLOEXEC);

	for (off_t size = lseek(fd, 0, SEEK_END) - 1; size > 0; size -= size / 7 + 1) {
		struct bundle *b = NULL;

		OK(ftruncate(fd, size));
		FAILS(bundle_open(&(struct bundle_opts){ .path = path() }, &b, &err), K3_FORMAT);
		HAS_STR(err.msg, "cut short");
		FAILS(through_pipe((unsigned)size % 32), K3_FORMAT);
	}
}

TEST(tar_that_goes_on_is_refused)
{
	struct oci_digest digest;
	struct bundle *b = NULL;

	make(&digest);
	K3_AUTO_FD int fd = open(path(), O_WRONLY | O_APPEND | O_CLOEXEC);

	OK(k3_write_all(fd, "", 1, "bundle", &err));
	FAILS(bundle_open(&(struct bundle_opts){ .path = path() }, &b, &err), K3_FORMAT);
	FAILS(through_pipe(31), K3_FORMAT);
}

TEST(tar_other_files)
{
	struct oci_digest digest, other = { 0 };
	struct bundle *b = NULL;

	make(&digest);
	FAILS(bundle_open(&(struct bundle_opts){ .path = path(), .digest = &other }, &b, &err),
	      K3_DIGEST);
	FAILS(bundle_open(&(struct bundle_opts){ .path = "/nonexistent" }, &b, &err), K3_NOTFOUND);
	FAILS(bundle_open(&(struct bundle_opts){ .path = "/" }, &b, &err), K3_FORMAT);
	FAILS(bundle_open(&(struct bundle_opts){ .path = "/proc/self/exe" }, &b, &err), K3_FORMAT);
	HAS_STR(err.msg, "is not a bundle");
}

UNIT_MAIN
