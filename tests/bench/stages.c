/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stage of k3simg alone, for its throughput.  Each command prints "seconds=S" and counts.
 *
 *   stages inflate isal|zlib|zstd FILE    decode a blob and drop the result
 *   stages hash FILE                      SHA-256 of a file
 *   stages create TAR DIR                 unpack an uncompressed tar into the empty DIR
 *   stages clone DIR NAME THREADS         clone DIR by hard links as its new sibling NAME
 *   stages commit ROOT FIRST COUNT        make COUNT images of code in ROOT, a commit for each;
 *                                         they are numbered from FIRST
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "importer/importer.h"
#include "snapshot/snapshot.h"
#include "unpack/decode.h"

#define PIECE (256u << 10)

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- a file as a source of bytes -------------------------------------------------------- */

struct file {
	int fd;
	uint8_t *piece;
	uint64_t bytes;
};

static int file_open(struct file *f, const char *path, struct k3_err *e)
{
	*f = (struct file){ .fd = open(path, O_RDONLY | O_CLOEXEC) };
	if (f->fd < 0)
		return k3_fail(e, K3_IO, "%s cannot be opened", path);
	f->piece = k3_xcalloc(1, PIECE);
	return 0;
}

static void file_close(struct file *f)
{
	k3_closep(&f->fd);
	free(f->piece);
}

static int file_next(void *arg, const uint8_t **p, size_t *n, struct k3_err *e)
{
	struct file *f = arg;
	ssize_t got = read(f->fd, f->piece, PIECE);

	if (got < 0)
		return k3_fail(e, K3_IO, "the input cannot be read");
	f->bytes += (uint64_t)got;
	*p = f->piece;
	*n = (size_t)got;
	return 0;
}

/* ---- inflate, hash ------------------------------------------------------------------------ */

static int inflate_all(struct file *f, enum oci_media media, const struct decode_backend *gzip,
		       uint64_t *bytes, struct k3_err *e)
{
	K3_AUTO_FREE uint8_t *out = k3_xcalloc(1, PIECE);
	struct unpack_src src = { file_next, f };
	struct decode d = { 0 };
	size_t n = 1;
	int rc;

	rc = decode_open(&d, media, src, &unpack_limits_default, gzip, e);
	for (*bytes = 0; !rc && n; *bytes += n)
		rc = decode_read(&d, out, PIECE, &n, e);
	decode_release(&d);
	return rc;
}

static int cmd_inflate(char **argv, struct k3_err *e)
{
	bool zstd = !strcmp(argv[0], "zstd");
	const struct decode_backend *gzip = strcmp(argv[0], "zlib") ? NULL : &decode_zlib;
	double start = now();
	struct file f;
	uint64_t bytes;
	int rc;

	if (file_open(&f, argv[1], e))
		return -1;
	rc = inflate_all(&f, zstd ? OCI_MEDIA_LAYER_ZSTD : OCI_MEDIA_LAYER_GZIP, gzip, &bytes, e);
	file_close(&f);
	if (!rc)
		printf("seconds=%.6f bytes=%llu\n", now() - start, (unsigned long long)bytes);
	return rc;
}

static int cmd_hash(char **argv, struct k3_err *e)
{
	K3_AUTO_HASH struct k3_hash *h = k3_hash_new(K3_SHA256);
	uint8_t sum[K3_HASH_MAX];
	double start = now();
	const uint8_t *p;
	struct file f;
	size_t n = 1;
	int rc;

	if (file_open(&f, argv[0], e))
		return -1;
	for (rc = 0; !rc && n;) {
		rc = file_next(&f, &p, &n, e);
		if (!rc)
			k3_hash_add(h, p, n);
	}
	k3_hash_final(h, sum);
	file_close(&f);
	if (!rc)
		printf("seconds=%.6f bytes=%llu\n", now() - start, (unsigned long long)f.bytes);
	return rc;
}

/* ---- create, clone -------------------------------------------------------------------------- */

static int cmd_create(char **argv, struct k3_err *e)
{
	struct unpack_opts opts = { .limits = unpack_limits_default };
	K3_AUTO_FD int root = -1;
	struct unpack_stats stats;
	double start;
	struct file f;
	int rc;

	if (k3_open_dir(AT_FDCWD, argv[1], &root, e) || file_open(&f, argv[0], e))
		return -1;
	start = now();
	rc = unpack_layer(root, OCI_MEDIA_LAYER_TAR, (struct unpack_src){ file_next, &f }, &opts,
			  NULL, NULL, &stats, e);
	file_close(&f);
	if (!rc)
		printf("seconds=%.6f bytes=%llu items=%llu\n", now() - start,
		       (unsigned long long)stats.bytes, (unsigned long long)stats.entries);
	return rc;
}

static int cmd_clone(char **argv, struct k3_err *e)
{
	K3_AUTO_FREE char *stage = k3_xasprintf("%s/..", argv[0]);
	unsigned threads = (unsigned)strtoul(argv[2], NULL, 10);
	K3_AUTO_FD int parentfd = -1;
	K3_AUTO_FD int stagefd = -1;
	struct snap_tree *t = NULL;
	struct snap_usage usage;
	double start, cloned;
	int rc;

	if (k3_open_dir(AT_FDCWD, argv[0], &parentfd, e) ||
	    k3_open_dir(AT_FDCWD, stage, &stagefd, e))
		return -1;
	start = now();
	rc = snap_begin_mt(stagefd, argv[1], parentfd, SNAP_HARDLINK, threads, NULL, &t, e);
	cloned = now();
	if (!rc)
		rc = snap_seal(t, &usage, e);
	if (!rc)
		printf("seconds=%.6f sealSeconds=%.6f\n", cloned - start, now() - cloned);
	snap_free(t);
	return rc;
}

/* ---- commit -----------------------------------------------------------------------------------
 */

/* An image of one layer; that layer is no archive, since nothing here unpacks it. */
struct fake {
	struct oci_ref ref;
	struct oci_doc doc;
	struct k3_buf config;
	char layer[32];
	struct oci_image img;
	struct imp_image im;
};

static void digest_text(const void *p, size_t n, char out[OCI_DIGEST_TEXT_MAX])
{
	struct oci_digest d;

	oci_digest_of(K3_SHA256, p, n, &d);
	oci_digest_format(&d, out);
}

static int fake_init(struct fake *f, unsigned long number, struct k3_err *e)
{
	static const char manifest[] = "application/vnd.oci.image.manifest.v1+json";
	char config[OCI_DIGEST_TEXT_MAX], layer[OCI_DIGEST_TEXT_MAX], name[64];

	*f = (struct fake){ .config = K3_BUF(4096), .doc.body = K3_BUF(4096) };
	snprintf(f->layer, sizeof(f->layer), "layer %lu", number);
	snprintf(name, sizeof(name), "127.0.0.1:1/bench/commit:%lu", number);
	digest_text(f->layer, strlen(f->layer), layer);
	if (oci_ref_parse(name, &f->ref, e) ||
	    k3_buf_addf(&f->config, e,
			"{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":"
			"{\"type\":\"layers\",\"diff_ids\":[\"%s\"]}}",
			layer))
		return -1;
	digest_text(f->config.p, f->config.len, config);
	if (k3_buf_addf(
		    &f->doc.body, e,
		    "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":{\"mediaType\":"
		    "\"application/vnd.oci.image.config.v1+json\",\"digest\":\"%s\","
		    "\"size\":%zu},\"layers\":[{\"mediaType\":"
		    "\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"%s\",\"size\":%zu}]}",
		    manifest, config, f->config.len, layer, strlen(f->layer)))
		return -1;
	f->doc.desc.media = oci_media_parse(manifest);
	snprintf(f->doc.desc.media_text, sizeof(f->doc.desc.media_text), "%s", manifest);
	f->doc.desc.size = f->doc.body.len;
	oci_digest_of(K3_SHA256, f->doc.body.p, f->doc.body.len, &f->doc.desc.digest);
	if (oci_image_parse(f->doc.body.p, f->doc.body.len, f->config.p, f->config.len, &f->img, e))
		return -1;
	f->im = (struct imp_image){ .ref = &f->ref, .docs = &f->doc, .ndocs = 1, .img = &f->img };
	return 0;
}

static void fake_release(struct fake *f)
{
	oci_image_release(&f->img);
	oci_ref_release(&f->ref);
	k3_buf_release(&f->doc.body);
	k3_buf_release(&f->config);
}

/* Everything that comes before the commit of a run. */
static int stage_fake(struct imp *i, struct fake *f, struct k3_err *e)
{
	const struct oci_layer *layer = &f->img.layers[0];
	struct imp_tree_from from = { 0 };
	struct imp_tree *t;
	int fd, rc;

	if (imp_blob_put(i, &f->doc.desc, f->doc.body.p, f->doc.body.len, e) ||
	    imp_blob_put(i, &f->img.config, f->config.p, f->config.len, e) ||
	    imp_blob_put(i, &layer->blob, f->layer, strlen(f->layer), e) ||
	    imp_tree_begin(i, &layer->chain_id, &from, NULL, &t, e))
		return -1;
	fd = openat(imp_tree_rootfd(t), "number", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return k3_fail(e, K3_IO, "the tree cannot be written");
	rc = k3_write_all(fd, f->layer, strlen(f->layer), "number", e);
	if (rc) {
		k3_closep(&fd);
		return rc;
	}
	if (k3_close(&fd, "number", e) || imp_tree_seal(t, e))
		return -1;
	imp_add_image(i, &f->im);
	return 0;
}

static int commit_one(const char *root, unsigned long number, struct k3_err *e)
{
	struct imp_opts opts = { .root = root, .ns = "k8s.io", .write = true, .pin = true };
	double start = now(), staged = 0, done = 0;
	struct imp_view *v;
	struct imp *i;
	struct fake f;
	int rc;

	if (imp_open(&opts, &i, e))
		return -1;
	rc = imp_view_open(i, &v, e);
	if (!rc)
		imp_view_close(v);
	rc = rc || fake_init(&f, number, e);
	if (!rc) {
		rc = stage_fake(i, &f, e);
		staged = now();
		rc = rc || imp_commit(i, e) ? -1 : 0;
		done = now();
		if (!rc && !f.im.changed)
			rc = k3_fail(e, K3_USAGE, "image %lu is in the store already", number);
		fake_release(&f);
	}
	imp_close(i, false);
	if (!rc)
		printf("seconds=%.6f wholeSeconds=%.6f\n", done - staged, now() - start);
	return rc ? -1 : 0;
}

static int cmd_commit(char **argv, struct k3_err *e)
{
	unsigned long first = strtoul(argv[1], NULL, 10), count = strtoul(argv[2], NULL, 10);

	for (unsigned long k = 0; k < count; k++)
		if (commit_one(argv[0], first + k, e))
			return -1;
	return 0;
}

/* ---- main ----------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int nargs;
	int (*run)(char **argv, struct k3_err *e);
} commands[] = {
	{ "inflate", 2, cmd_inflate }, { "hash", 1, cmd_hash },     { "create", 2, cmd_create },
	{ "clone", 3, cmd_clone },     { "commit", 3, cmd_commit },
};

int main(int argc, char **argv)
{
	struct k3_err err = { 0 };

	for (size_t k = 0; argc > 1 && k < K3_ARRAY_LEN(commands); k++) {
		if (strcmp(argv[1], commands[k].name) || argc - 2 != commands[k].nargs)
			continue;
		if (!commands[k].run(argv + 2, &err))
			return 0;
		fprintf(stderr, "stages: %s\n", err.msg);
		return 1;
	}
	fprintf(stderr, "usage: stages inflate|hash|create|clone|commit ...\n");
	return 2;
}
