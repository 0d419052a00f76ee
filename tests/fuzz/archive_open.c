/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Archives: whatever the bytes are, it opens or says why not, and what it then says of its images
 * can be asked for.
 *
 * byte 0: bit 0 docker-archive instead of oci-archive, 1 the rest is not a tar but two documents
 *         with a NUL between them: index.json or manifest.json, and a blob "c"
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "archive/archive.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BLOCK 512u
#define IMAGES_READ 8 /* of one input */

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void put(int fd, const char *name, char type, const void *p, size_t n)
{
	static const uint8_t zeros[BLOCK];
	uint8_t h[BLOCK] = { 0 };
	char text[16];
	unsigned sum = 0;

	snprintf((char *)h, 100, "%s", name);
	snprintf((char *)h + 100, 8, "%07o", 0644);
	snprintf((char *)h + 124, 12, "%011zo", type == '0' ? n : 0);
	h[156] = (uint8_t)type;
	if (type == '2')
		memcpy(h + 157, p, n);
	memcpy(h + 257, "ustar\00000", 8);
	memset(h + 148, ' ', 8);
	for (unsigned i = 0; i < BLOCK; i++)
		sum += h[i];
	snprintf(text, sizeof(text), "%06o", sum);
	memcpy(h + 148, text, 7);
	must(write(fd, h, BLOCK) == BLOCK);
	if (type != '0')
		return;
	must(write(fd, p, n) == (ssize_t)n);
	must(write(fd, zeros, -n % BLOCK) == (ssize_t)(-n % BLOCK));
}

/* A tar around two documents, with layers that they may name. */
static void wrap(int fd, bool docker, const uint8_t *p, size_t n)
{
	const uint8_t *second = n ? memchr(p, 0, n) : NULL;
	size_t first = second ? (size_t)(second - p) : n;

	if (docker) {
		put(fd, "manifest.json", '0', p, first);
	} else {
		put(fd, "oci-layout", '0', "{\"imageLayoutVersion\":\"1.0.0\"}", 30);
		put(fd, "index.json", '0', p, first);
	}
	put(fd, "c", '0', second ? second + 1 : p, second ? n - first - 1 : 0);
	put(fd, "a/layer.tar", '0', "plain", 5);
	put(fd, "b/layer.tar", '2', "../a/layer.tar", 14);
	put(fd, "z", '0', "\x1f\x8b\x08\0....", 8);
}

static int drop(void *arg, const void *p, size_t n, struct k3_err *e)
{
	(void)p, (void)e;
	*(size_t *)arg += n;
	return 0;
}

static void read_image(struct archive *a, const struct archive_image *im)
{
	K3_AUTO_BUF struct k3_buf manifest = K3_BUF(OCI_DOCUMENT_MAX);
	K3_AUTO_BUF struct k3_buf config = K3_BUF(OCI_DOCUMENT_MAX);
	struct oci_image img = { 0 };
	struct oci_desc desc;
	struct k3_err e;

	if (archive_document(a, &im->target, &manifest, &e) ||
	    oci_manifest_config(manifest.p, manifest.len, &desc, &e) ||
	    archive_document(a, &desc, &config, &e) ||
	    oci_image_parse(manifest.p, manifest.len, config.p, config.len, &img, &e))
		return;
	for (size_t i = 0; i < img.nlayers && i < IMAGES_READ; i++) {
		const struct oci_desc *d = &img.layers[i].blob;
		K3_AUTO_HASH struct k3_hash *hash = k3_hash_new(d->digest.alg);
		size_t got = 0;

		if (!archive_blob(a, d, 0, hash, drop, &got, &e))
			must(got == d->size || !d->size);
	}
	oci_image_release(&img);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct archive_image *images;
	struct archive *a = NULL;
	struct k3_err e = { 0 };
	char path[64];

	if (!size)
		return 0;
	bool docker = data[0] & 1;
	const char *tmp = getenv("TMPDIR");
	K3_AUTO_FD int fd = memfd_create("archive", MFD_CLOEXEC);

	must(fd >= 0);
	if (data[0] & 2)
		wrap(fd, docker, data + 1, size - 1);
	else
		must(write(fd, data + 1, size - 1) == (ssize_t)(size - 1));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	struct archive_opts o = {
		.kind = docker ? ARCHIVE_DOCKER_TAR : ARCHIVE_OCI_TAR,
		.path = path,
		.spool_dir = tmp ? tmp : "/tmp",
		.limits = unpack_limits_default,
	};

	o.limits.bytes = 16u << 20;
	o.limits.zstd_window_log = 20;
	if (archive_open(&o, &a, &e)) {
		must(e.code != K3_OK && e.code != K3_BUG && e.msg[0]);
		return 0;
	}
	size_t n = archive_images(a, &images);

	must(n > 0);
	for (size_t i = 0; i < n && i < IMAGES_READ; i++)
		read_image(a, &images[i]);
	archive_free(a);
	return 0;
}
