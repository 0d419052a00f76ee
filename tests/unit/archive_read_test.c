/* SPDX-License-Identifier: Apache-2.0 */
/* Archives and layouts: forms, names, and everything that can be wrong with one. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "archive/archive.h"
#include "base/mem.h"
#include "tests/unit/tarbuild.h"
#include "tests/unit/unit.h"

#define LAYERS 2

static struct k3_err err;

/* One image of two layers, in all the forms that archives give it. */
struct image {
	char layer[LAYERS][512]; /* plain bytes; nobody unpacks them here */
	char diff_id[LAYERS][OCI_DIGEST_TEXT_MAX];
	char config[1024], config_digest[OCI_DIGEST_TEXT_MAX];
	char manifest[2048], manifest_digest[OCI_DIGEST_TEXT_MAX];
};

static const char *hex(const char *digest)
{
	return digest + strlen("sha256:");
}

static void digest_of(const void *p, size_t n, char out[OCI_DIGEST_TEXT_MAX])
{
	struct oci_digest d;

	oci_digest_of(K3_SHA256, p, n, &d);
	oci_digest_format(&d, out);
}

static void make_image(struct image *im, const char *seed)
{
	for (int i = 0; i < LAYERS; i++) {
		memset(im->layer[i], 0, sizeof(im->layer[i]));
		snprintf(im->layer[i], sizeof(im->layer[i]), "layer %d of %s", i, seed);
		digest_of(im->layer[i], sizeof(im->layer[i]), im->diff_id[i]);
	}
	snprintf(im->config, sizeof(im->config),
		 "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\","
		 "\"diff_ids\":[\"%s\",\"%s\"]}}",
		 im->diff_id[0], im->diff_id[1]);
	digest_of(im->config, strlen(im->config), im->config_digest);
	snprintf(im->manifest, sizeof(im->manifest),
		 "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":{\"mediaType\":\"%s\","
		 "\"digest\":\"%s\",\"size\":%zu},\"layers\":[{\"mediaType\":\"%s\",\"digest\":\"%"
		 "s\","
		 "\"size\":512},{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":512}]}",
		 "application/vnd.oci.image.manifest.v1+json",
		 "application/vnd.oci.image.config.v1+json", im->config_digest, strlen(im->config),
		 "application/vnd.oci.image.layer.v1.tar", im->diff_id[0],
		 "application/vnd.oci.image.layer.v1.tar", im->diff_id[1]);
	digest_of(im->manifest, strlen(im->manifest), im->manifest_digest);
}

static void put_file(struct tarbuild *t, const char *name, const void *p, size_t n)
{
	tb_entry(t, '0', name, "", p, n);
}

static void put_blob(struct tarbuild *t, const char *digest, const void *p, size_t n)
{
	char name[128];

	snprintf(name, sizeof(name), "blobs/sha256/%.64s", hex(digest));
	put_file(t, name, p, n);
}

static void put_blobs(struct tarbuild *t, const struct image *im)
{
	for (int i = 0; i < LAYERS; i++)
		put_blob(t, im->diff_id[i], im->layer[i], sizeof(im->layer[i]));
	put_blob(t, im->config_digest, im->config, strlen(im->config));
	put_blob(t, im->manifest_digest, im->manifest, strlen(im->manifest));
}

/* An index.json whose entry has these annotations (JSON members). */
static void put_index(struct tarbuild *t, const struct image *im, const char *annotations)
{
	K3_AUTO_FREE char *text = k3_xasprintf(
		"{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":"
		"\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"%s\",\"size\":%zu,"
		"\"annotations\":{%s}}]}",
		im->manifest_digest, strlen(im->manifest), annotations);

	tb_file(t, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
	tb_file(t, "index.json", text);
}

static const char *tmp(void)
{
	static char dir[256];

	if (!dir[0] || access(dir, F_OK)) /* a test takes its directory with it */
		snprintf(dir, sizeof(dir), "%s", unit_tmpdir());
	return dir;
}

static const char *write_file(const char *name, const void *p, size_t n)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", tmp(), name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, p, n) != (ssize_t)n || close(fd))
		abort();
	return path;
}

static int open_path(enum archive_kind kind, const char *path, struct archive **out)
{
	struct archive_opts o = {
		.kind = kind,
		.path = path,
		.spool_dir = tmp(),
		.limits = unpack_limits_default,
	};

	*out = NULL;
	return archive_open(&o, out, &err);
}

static int open_tar(enum archive_kind kind, const struct tarbuild *t, struct archive **out)
{
	return open_path(kind, write_file("a.tar", t->out.p, t->out.len), out);
}

static int take(void *arg, const void *p, size_t n, struct k3_err *e)
{
	return k3_buf_add(arg, p, n, e);
}

/* Everything of the image can be had; -1 for the first thing that cannot. */
static int read_image(struct archive *a, const struct archive_image *im)
{
	K3_AUTO_BUF struct k3_buf manifest = K3_BUF(OCI_DOCUMENT_MAX);
	K3_AUTO_BUF struct k3_buf config = K3_BUF(OCI_DOCUMENT_MAX);
	struct oci_image img = { 0 };
	struct oci_desc desc;
	int rc = 0;

	if (archive_document(a, &im->target, &manifest, &err) ||
	    oci_manifest_config(manifest.p, manifest.len, &desc, &err) ||
	    archive_document(a, &desc, &config, &err) ||
	    oci_image_parse(manifest.p, manifest.len, config.p, config.len, &img, &err))
		return -1;
	for (size_t i = 0; !rc && i < img.nlayers; i++) {
		K3_AUTO_BUF struct k3_buf blob = K3_BUF(1 << 20);
		K3_AUTO_HASH struct k3_hash *hash = k3_hash_new(K3_SHA256);

		rc = archive_blob(a, &img.layers[i].blob, 0, hash, take, &blob, &err);
		if (!rc)
			EQ_INT(blob.len, img.layers[i].blob.size);
	}
	oci_image_release(&img);
	return rc;
}

/* Opens a tar of one image and reads it all. */
static void check_one(enum archive_kind kind, const struct tarbuild *t, const char *name,
		      const char *tag)
{
	const struct archive_image *im;
	struct archive *a;

	OK(open_tar(kind, t, &a));
	if (!a)
		return;
	EQ_INT(archive_images(a, &im), 1);
	EQ_STR(im->name, name);
	EQ_STR(im->tag, tag);
	OK(read_image(a, im));
	archive_free(a);
}

TEST(oci_names)
{
	static const struct {
		const char *annotations, *name, *tag;
	} cases[] = {
		{ "", NULL, NULL },
		{ "\"org.opencontainers.image.ref.name\":\"\"", NULL, NULL },
		{ "\"org.opencontainers.image.ref.name\":\"latest\"", NULL, "latest" },
		{ "\"org.opencontainers.image.ref.name\":\"nginx:1\"", "nginx:1", NULL },
		{ "\"org.opencontainers.image.ref.name\":\"ghcr.io/a/b\"", "ghcr.io/a/b", NULL },
		{ "\"org.opencontainers.image.ref.name\":\"1\",\"io.containerd.image.name\":"
		  "\"docker.io/library/nginx:1\"",
		  "docker.io/library/nginx:1", NULL },
		/* CRI's record under the image's ID is no name. */
		{ "\"io.containerd.image.name\":\"sha256:"
		  "0000000000000000000000000000000000000000000000000000000000000000\"",
		  NULL, NULL },
	};
	struct image im;

	make_image(&im, "names");
	for (size_t i = 0; i < K3_ARRAY_LEN(cases); i++) {
		struct tarbuild t;

		tb_init(&t);
		put_blobs(&t, &im);
		put_index(&t, &im, cases[i].annotations);
		tb_end(&t);
		check_one(ARCHIVE_OCI_TAR, &t, cases[i].name, cases[i].tag);
		/* containerd's import reads these, too. */
		check_one(ARCHIVE_DOCKER_TAR, &t, cases[i].name, cases[i].tag);
		tb_release(&t);
	}
}

TEST(an_id_goes_when_there_is_a_name)
{
	const struct archive_image *images;
	struct archive *a;
	struct tarbuild t;
	struct image im;

	make_image(&im, "ids");
	tb_init(&t);
	K3_AUTO_FREE char *text = k3_xasprintf(
		"{\"schemaVersion\":2,\"manifests\":["
		"{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"%s\","
		"\"size\":%zu,\"annotations\":{\"io.containerd.image.name\":\"%s\"}},"
		"{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"%s\","
		"\"size\":%zu,\"annotations\":{\"io.containerd.image.name\":\"a.b/c:d\"}}]}",
		im.manifest_digest, strlen(im.manifest), im.config_digest, im.manifest_digest,
		strlen(im.manifest));

	tb_file(&t, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
	tb_file(&t, "index.json", text);
	put_blobs(&t, &im);
	tb_end(&t);
	OK(open_tar(ARCHIVE_OCI_TAR, &t, &a));
	EQ_INT(archive_images(a, &images), 1);
	EQ_STR(images->name, "a.b/c:d");
	archive_free(a);
	tb_release(&t);
}

TEST(oci_directory)
{
	K3_AUTO_FREE char *dir = k3_xstrdup(tmp());
	const struct archive_image *images;
	char path[1024], blobs[600];
	struct archive *a;
	struct image im;

	make_image(&im, "directory");
	snprintf(blobs, sizeof(blobs), "%s/blobs", dir);
	CHECK(!mkdir(blobs, 0755));
	snprintf(blobs, sizeof(blobs), "%s/blobs/sha256", dir);
	CHECK(!mkdir(blobs, 0755));
	const struct {
		const char *digest;
		const void *p;
		size_t n;
	} files[] = {
		{ im.diff_id[0], im.layer[0], 512 },
		{ im.diff_id[1], im.layer[1], 512 },
		{ im.config_digest, im.config, strlen(im.config) },
		{ im.manifest_digest, im.manifest, strlen(im.manifest) },
	};
	K3_AUTO_FREE char *index = k3_xasprintf(
		"{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":"
		"\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"%s\",\"size\":%zu,"
		"\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\"}}]}",
		im.manifest_digest, strlen(im.manifest));
	int fd;

	FAILS(open_path(ARCHIVE_OCI_DIR, dir, &a), K3_FORMAT);
	HAS_STR(err.msg, "oci-layout");
	for (size_t i = 0; i < K3_ARRAY_LEN(files) + 2; i++) {
		const void *p = i < 4    ? files[i].p
				: i == 4 ? "{\"imageLayoutVersion\":\"1.0.0\"}"
					 : index;
		size_t n = i < 4 ? files[i].n : strlen(p);

		if (i < 4)
			snprintf(path, sizeof(path), "%s/%.64s", blobs, hex(files[i].digest));
		else
			snprintf(path, sizeof(path), "%s/%s", dir,
				 i == 4 ? "oci-layout" : "index.json");
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		CHECK(fd >= 0 && write(fd, p, n) == (ssize_t)n && !close(fd));
	}
	OK(open_path(ARCHIVE_OCI_DIR, dir, &a));
	EQ_INT(archive_images(a, &images), 1);
	CHECK(images->has_platform);
	EQ_STR(images->platform.arch, "arm64");
	OK(read_image(a, images));
	/* A fifo in the place of a blob neither holds us nor is a blob. */
	snprintf(path, sizeof(path), "%s/%.64s", blobs, hex(im.diff_id[1]));
	CHECK(!unlink(path) && !mkfifo(path, 0600));
	FAILS(read_image(a, images), K3_FORMAT);
	CHECK(!unlink(path));
	FAILS(read_image(a, images), K3_NOTFOUND);
	HAS_STR(err.msg, im.diff_id[1]);
	HAS_STR(err.msg, dir);
	archive_free(a);
	FAILS(open_path(ARCHIVE_OCI_TAR, dir, &a), K3_FORMAT);
	HAS_STR(err.hint, "oci:");
	FAILS(open_path(ARCHIVE_OCI_DIR, "/nowhere/at/all", &a), K3_NOTFOUND);
	FAILS(open_path(ARCHIVE_OCI_TAR, "/nowhere/at/all", &a), K3_NOTFOUND);
}

/* ---- docker archives ---- */

static void put_manifest_json(struct tarbuild *t, const char *config, const char *tags,
			      const char *first, const char *second)
{
	K3_AUTO_FREE char *text =
		k3_xasprintf("[{\"Config\":\"%s\",\"RepoTags\":%s,\"Layers\":[\"%s\",\"%s\"]}]",
			     config, tags, first, second);

	tb_file(t, "manifest.json", text);
}

/* docker save before 25: a directory for each layer, a second use of one by a symlink. */
static void put_old_docker(struct tarbuild *t, const struct image *im, const char *tags)
{
	char config[128];

	snprintf(config, sizeof(config), "%.64s.json", hex(im->config_digest));
	put_file(t, config, im->config, strlen(im->config));
	tb_dir(t, "aaaa");
	tb_file(t, "aaaa/VERSION", "1.0");
	put_file(t, "aaaa/layer.tar", im->layer[0], 512);
	put_file(t, "cccc/layer.tar", im->layer[1], 512);
	tb_symlink(t, "bbbb/layer.tar", "../cccc/layer.tar");
	tb_file(t, "repositories", "{\"app\":{\"1\":\"bbbb\"}}");
	put_manifest_json(t, config, tags, "aaaa/layer.tar", "bbbb/layer.tar");
	tb_end(t);
}

TEST(docker_old_form)
{
	const struct archive_image *images;
	struct archive *a;
	struct tarbuild t;
	struct image im;
	K3_AUTO_BUF struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	struct oci_desc config;

	make_image(&im, "docker");
	tb_init(&t);
	put_old_docker(&t, &im, "[\"app:1\",\"<none>:<none>\",\"host:5000/app:2\"]");
	OK(open_tar(ARCHIVE_DOCKER_TAR, &t, &a));
	EQ_INT(archive_images(a, &images), 2);
	EQ_STR(images[0].name, "app:1");
	EQ_STR(images[1].name, "host:5000/app:2");
	CHECK(oci_digest_eq(&images[0].target.digest, &images[1].target.digest));
	OK(read_image(a, &images[0]));
	/* The image ID is docker's, and the manifest the one that containerd makes. */
	OK(archive_document(a, &images[0].target, &raw, &err));
	OK(oci_manifest_config(raw.p, raw.len, &config, &err));
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(&config.digest, text);
	EQ_STR(text, im.config_digest);
	K3_AUTO_FREE char *want = k3_xasprintf(
		"{\"schemaVersion\":2,\"mediaType\":"
		"\"application/"
		"vnd.docker.distribution.manifest.v2+json\",\"config\":{\"mediaType\":"
		"\"application/"
		"vnd.docker.container.image.v1+json\",\"digest\":\"%s\",\"size\":%zu},"
		"\"layers\":[{\"mediaType\":\"application/vnd.docker.image.rootfs.diff.tar\","
		"\"digest\":\"%s\",\"size\":512},{\"mediaType\":"
		"\"application/"
		"vnd.docker.image.rootfs.diff.tar\",\"digest\":\"%s\",\"size\":512}]}",
		im.config_digest, strlen(im.config), im.diff_id[0], im.diff_id[1]);

	EQ_STR((char *)raw.p, want);
	archive_free(a);
	tb_release(&t);
	tb_init(&t);
	put_old_docker(&t, &im, "null");
	check_one(ARCHIVE_DOCKER_TAR, &t, NULL, NULL);
	FAILS(open_tar(ARCHIVE_OCI_TAR, &t, &a), K3_FORMAT);
	HAS_STR(err.hint, "docker-archive:");
	tb_release(&t);
}

static size_t gzipped(const void *p, size_t n, uint8_t *out, size_t room)
{
	z_stream z = { 0 };

	if (deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		abort();
	z.next_in = (z_const Bytef *)(uintptr_t)p;
	z.avail_in = (uInt)n;
	z.next_out = out;
	z.avail_out = (uInt)room;
	if (deflate(&z, Z_FINISH) != Z_STREAM_END)
		abort();
	deflateEnd(&z);
	return room - z.avail_out;
}

TEST(docker_gzip_layers)
{
	const struct archive_image *images;
	uint8_t packed[1024];
	struct archive *a;
	struct tarbuild t;
	struct image im;
	K3_AUTO_BUF struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	char text[OCI_DIGEST_TEXT_MAX];

	make_image(&im, "gzip");
	tb_init(&t);
	size_t n = gzipped(im.layer[1], 512, packed, sizeof(packed));

	put_file(&t, "config.json", im.config, strlen(im.config));
	put_file(&t, "./a.tar", im.layer[0], 512);
	put_file(&t, "b.tar.gz", packed, n);
	put_manifest_json(&t, "config.json", "[]", "a.tar", "b.tar.gz");
	tb_end(&t);
	OK(open_tar(ARCHIVE_DOCKER_TAR, &t, &a));
	EQ_INT(archive_images(a, &images), 1);
	OK(read_image(a, images));
	OK(archive_document(a, &images->target, &raw, &err));
	digest_of(packed, n, text);
	HAS_STR((char *)raw.p, text);
	HAS_STR((char *)raw.p, "diff.tar.gzip");
	archive_free(a);
	tb_release(&t);
}

TEST(blobs_go_on_where_they_stopped)
{
	const struct archive_image *images;
	struct archive_reader *r = NULL;
	struct archive *a;
	struct tarbuild t;
	struct image im;
	struct oci_desc d = { .size = 512 };
	K3_AUTO_BUF struct k3_buf got = K3_BUF(1024);
	K3_AUTO_HASH struct k3_hash *hash = k3_hash_new(K3_SHA256);
	const uint8_t *p;
	size_t n;

	make_image(&im, "resume");
	tb_init(&t);
	put_old_docker(&t, &im, "[\"app:1\"]");
	OK(open_tar(ARCHIVE_DOCKER_TAR, &t, &a));
	EQ_INT(archive_images(a, &images), 1);
	OK(oci_digest_parse(im.diff_id[1], &d.digest, &err));
	k3_hash_add(hash, im.layer[1], 100);
	OK(archive_blob(a, &d, 100, hash, take, &got, &err));
	EQ_INT(got.len, 412);
	CHECK(!memcmp(got.p, im.layer[1] + 100, 412));
	k3_buf_reset(&got);
	k3_hash_add(hash, "x", 1);
	FAILS(archive_blob(a, &d, 1, hash, take, &got, &err), K3_DIGEST);
	HAS_STR(err.msg, "cccc/layer.tar");
	OK(archive_reader_open(a, &d, &r, &err));
	OK(archive_reader_next(r, &p, &n, &err));
	EQ_INT(n, 512);
	OK(archive_reader_next(r, &p, &n, &err));
	EQ_INT(n, 0);
	archive_reader_freep(&r);
	archive_free(a);
	tb_release(&t);
}

/* ---- compressed and from a pipe ---- */

TEST(compressed_and_piped)
{
	const struct archive_image *images;
	struct archive *a;
	struct tarbuild t;
	struct image im;
	int ends[2];

	make_image(&im, "packed");
	tb_init(&t);
	put_blobs(&t, &im);
	put_index(&t, &im, "");
	tb_end(&t);
	size_t room = t.out.len + 1024;
	K3_AUTO_FREE uint8_t *packed = k3_xcalloc(1, room);
	size_t n = gzipped(t.out.p, t.out.len, packed, room);

	OK(open_path(ARCHIVE_OCI_TAR, write_file("a.tar.gz", packed, n), &a));
	EQ_INT(archive_images(a, &images), 1);
	OK(read_image(a, images));
	archive_free(a);
	for (size_t cut = 0; cut < n; cut += 1 + n / 50)
		FAILS(open_path(ARCHIVE_OCI_TAR, write_file("a.tar.gz", packed, cut), &a),
		      K3_FORMAT);
	CHECK(!pipe(ends));
	CHECK(write(ends[1], packed, n) == (ssize_t)n && !close(ends[1]));
	int saved = dup(0);

	CHECK(dup2(ends[0], 0) == 0 && !close(ends[0]));
	OK(open_path(ARCHIVE_OCI_TAR, "-", &a));
	EQ_STR(archive_name(a), "standard input");
	EQ_INT(archive_images(a, &images), 1);
	OK(read_image(a, images));
	archive_free(a);
	CHECK(dup2(saved, 0) == 0 && !close(saved));
	FAILS(open_path(ARCHIVE_OCI_TAR,
			write_file("a.xz",
				   "\xfd"
				   "7zXZ\0......",
				   12),
			&a),
	      K3_UNSUPPORTED);
	HAS_STR(err.msg, "xz");
	tb_release(&t);
}

/* ---- what is wrong with them ---- */

/* Wherever the file ends: never a crash, and never an image that is not whole. */
TEST(truncated_everywhere)
{
	static const enum archive_kind kinds[] = { ARCHIVE_OCI_TAR, ARCHIVE_DOCKER_TAR };
	struct image im;

	make_image(&im, "cut");
	for (size_t k = 0; k < K3_ARRAY_LEN(kinds); k++) {
		struct tarbuild t;
		size_t whole = 0;

		tb_init(&t);
		if (kinds[k] == ARCHIVE_OCI_TAR) {
			put_index(&t, &im, "");
			put_blobs(&t, &im);
			whole = t.out.len;
			tb_end(&t);
		} else {
			put_old_docker(&t, &im, "null");
			whole = t.out.len - 1024; /* without the zeros, as Go reads it */
		}
		for (size_t cut = 0; cut < t.out.len; cut += 37) {
			const char *path = write_file("cut.tar", t.out.p, cut);
			const struct archive_image *images;
			struct archive *a;
			int rc = open_path(kinds[k], path, &a);

			if (rc) {
				CHECK(err.code == K3_FORMAT || err.code == K3_NOTFOUND);
				HAS_STR(err.msg, "cut.tar");
				continue;
			}
			EQ_INT(archive_images(a, &images), 1);
			rc = read_image(a, images);
			/* The last entry may lack nothing but its padding. */
			CHECK(rc ? err.code == K3_NOTFOUND : cut + 511 >= whole);
			if (rc)
				HAS_STR(err.msg, "cut.tar");
			archive_free(a);
		}
		tb_release(&t);
	}
}

static void expect_open(const char *what, enum archive_kind kind, struct tarbuild *t,
			enum k3_code code, const char *part)
{
	struct archive *a;

	tb_end(t);
	if (!open_tar(kind, t, &a)) {
		unit_fail(__FILE__, __LINE__, "%s: opened", what);
		archive_free(a);
	} else if (err.code != code || !strstr(err.msg, part) || !strstr(err.msg, "a.tar")) {
		unit_fail(__FILE__, __LINE__, "%s: %s: %s", what, k3_code_name(err.code), err.msg);
	}
	tb_release(t);
	tb_init(t);
}

TEST(no_archives)
{
	struct archive *a;
	struct tarbuild t;
	struct image im;
	char junk[4096];

	make_image(&im, "bad");
	tb_init(&t);
	memset(junk, 'x', sizeof(junk));
	FAILS(open_path(ARCHIVE_OCI_TAR, write_file("a.tar", "", 0), &a), K3_FORMAT);
	FAILS(open_path(ARCHIVE_OCI_TAR, write_file("a.tar", junk, sizeof(junk)), &a), K3_FORMAT);
	HAS_STR(err.msg, "no tar archive");
	expect_open("empty", ARCHIVE_OCI_TAR, &t, K3_FORMAT, "no entry");
	tb_file(&t, "etc/passwd", "root");
	expect_open("another tar", ARCHIVE_OCI_TAR, &t, K3_FORMAT, "oci-layout");
	tb_file(&t, "etc/passwd", "root");
	expect_open("another tar", ARCHIVE_DOCKER_TAR, &t, K3_FORMAT, "manifest.json");
	tb_file(&t, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
	expect_open("no index", ARCHIVE_OCI_TAR, &t, K3_FORMAT, "index.json");
	tb_file(&t, "oci-layout", "{\"imageLayoutVersion\":\"2.0.0\"}");
	expect_open("later layout", ARCHIVE_OCI_TAR, &t, K3_UNSUPPORTED, "2.0.0");
	tb_file(&t, "oci-layout", "{}");
	expect_open("no version", ARCHIVE_OCI_TAR, &t, K3_FORMAT, "imageLayoutVersion");
	tb_file(&t, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
	tb_file(&t, "index.json", "{\"schemaVersion\":2,\"manifests\":[]}");
	expect_open("no image", ARCHIVE_OCI_TAR, &t, K3_NOTFOUND, "no image");
	tb_file(&t, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
	tb_file(&t, "index.json", "{\"schemaVersion\":2,\"manifests\":[");
	expect_open("broken index", ARCHIVE_OCI_TAR, &t, K3_FORMAT, "index.json");
	tb_file(&t, "manifest.json", "[]");
	expect_open("no docker image", ARCHIVE_DOCKER_TAR, &t, K3_NOTFOUND, "no image");
	tb_file(&t, "manifest.json", "{}");
	expect_open("no list", ARCHIVE_DOCKER_TAR, &t, K3_FORMAT, "no list");
	tb_file(&t, "manifest.json", "[1]");
	expect_open("no object", ARCHIVE_DOCKER_TAR, &t, K3_FORMAT, "manifest.json[0]");
	put_manifest_json(&t, "c", "[]", "a", "b");
	expect_open("no config", ARCHIVE_DOCKER_TAR, &t, K3_NOTFOUND, "config c");
	put_manifest_json(&t, "c", "[]", "a", "b");
	put_file(&t, "c", im.config, strlen(im.config));
	put_file(&t, "a", im.layer[0], 512);
	expect_open("no layer", ARCHIVE_DOCKER_TAR, &t, K3_NOTFOUND, "layer b");
	put_manifest_json(&t, "c", "[]", "a", "a");
	put_file(&t, "c", "{}", 2);
	put_file(&t, "a", im.layer[0], 512);
	expect_open("no diff IDs", ARCHIVE_DOCKER_TAR, &t, K3_FORMAT, "0 diff IDs");
	put_manifest_json(&t, "c", "[7]", "a", "a");
	put_file(&t, "c", im.config, strlen(im.config));
	put_file(&t, "a", im.layer[0], 512);
	expect_open("no tag", ARCHIVE_DOCKER_TAR, &t, K3_FORMAT, "RepoTags[0]");
	tb_release(&t);
}

/* Opens, and then a part of the image is refused. */
static void expect_read(const char *what, struct tarbuild *t, enum archive_kind kind,
			enum k3_code code, const char *part)
{
	const struct archive_image *images;
	struct archive *a;

	tb_end(t);
	OK(open_tar(kind, t, &a));
	if (a) {
		archive_images(a, &images);
		if (!read_image(a, images))
			unit_fail(__FILE__, __LINE__, "%s: was read", what);
		else if (err.code != code || !strstr(err.msg, part) || !strstr(err.msg, "a.tar"))
			unit_fail(__FILE__, __LINE__, "%s: %s: %s", what, k3_code_name(err.code),
				  err.msg);
		archive_free(a);
	}
	tb_release(t);
	tb_init(t);
}

TEST(wrong_bytes)
{
	struct tarbuild t;
	struct image im, other;
	const char *last;

	make_image(&im, "right");
	make_image(&other, "other");
	tb_init(&t);
	put_index(&t, &im, "");
	put_blobs(&t, &im);
	last = im.manifest_digest;
	put_blob(&t, last, other.manifest, strlen(other.manifest));
	/* Of two entries of one name the last one counts. */
	expect_read("manifest", &t, ARCHIVE_OCI_TAR, K3_DIGEST, hex(last));
	put_index(&t, &im, "");
	put_blobs(&t, &im);
	put_blob(&t, im.config_digest, "{}", 2);
	expect_read("config", &t, ARCHIVE_OCI_TAR, K3_DIGEST, "2 bytes");
	put_index(&t, &im, "");
	put_blobs(&t, &im);
	put_blob(&t, im.diff_id[1], other.layer[1], 512);
	expect_read("layer", &t, ARCHIVE_OCI_TAR, K3_DIGEST, "digest differs");
	put_index(&t, &im, "");
	put_blobs(&t, &im);
	put_blob(&t, im.diff_id[1], im.layer[1], 100);
	expect_read("short layer", &t, ARCHIVE_OCI_TAR, K3_DIGEST, "100 bytes");
	put_file(&t, "c", im.config, strlen(im.config));
	put_file(&t, "a", im.layer[0], 512);
	put_file(&t, "b", other.layer[1], 512);
	put_manifest_json(&t, "c", "[]", "a", "b");
	expect_read("docker layer", &t, ARCHIVE_DOCKER_TAR, K3_DIGEST, "digest differs");
	tb_release(&t);
}

/* Names that lead out of the archive are nobody's, and links end somewhere. */
TEST(path_tricks)
{
	struct tarbuild t;
	struct image im;

	make_image(&im, "tricks");
	tb_init(&t);
	tb_file(&t, "../manifest.json", "[]");
	tb_file(&t, "/manifest.json", "[]");
	tb_file(&t, "a/../manifest.json", "[]");
	expect_open("names", ARCHIVE_DOCKER_TAR, &t, K3_FORMAT, "manifest.json");
	put_manifest_json(&t, "/etc/passwd", "[]", "a", "b");
	expect_open("absolute config", ARCHIVE_DOCKER_TAR, &t, K3_NOTFOUND, "/etc/passwd");
	put_file(&t, "c", im.config, strlen(im.config));
	tb_symlink(&t, "a", "/etc/passwd");
	put_manifest_json(&t, "c", "[]", "a", "a");
	expect_open("link out", ARCHIVE_DOCKER_TAR, &t, K3_NOTFOUND, "layer a");
	put_file(&t, "c", im.config, strlen(im.config));
	tb_symlink(&t, "a", "b");
	tb_symlink(&t, "b", "a");
	put_manifest_json(&t, "c", "[]", "a", "b");
	expect_open("circle", ARCHIVE_DOCKER_TAR, &t, K3_NOTFOUND, "layer a");
	/* A control byte of a name does not reach the terminal. */
	put_file(&t, "c", im.config, strlen(im.config));
	put_manifest_json(&t, "c", "[]", "a\\u001b[31m", "b");
	expect_open("escape", ARCHIVE_DOCKER_TAR, &t, K3_NOTFOUND, "a\\x1b[31m");
	/* Hard links and links to links are followed. */
	put_file(&t, "c", im.config, strlen(im.config));
	put_file(&t, "x/1", im.layer[0], 512);
	put_file(&t, "x/2", im.layer[1], 512);
	tb_link(&t, "y/a", "x/1");
	tb_symlink(&t, "y/b", "../z/b");
	tb_symlink(&t, "z/b", "../x/2");
	put_manifest_json(&t, "c", "[\"n:1\"]", "y/a", "y/b");
	tb_end(&t);
	check_one(ARCHIVE_DOCKER_TAR, &t, "n:1", NULL);
	tb_release(&t);
}

TEST(limits)
{
	struct archive_opts o = {
		.kind = ARCHIVE_DOCKER_TAR,
		.spool_dir = tmp(),
		.limits = unpack_limits_default,
	};
	struct archive *a = NULL;
	struct tarbuild t;
	struct image im;

	make_image(&im, "limits");
	tb_init(&t);
	put_old_docker(&t, &im, "null");
	o.path = write_file("a.tar", t.out.p, t.out.len);
	o.limits.bytes = 1000;
	FAILS(archive_open(&o, &a, &err), K3_LIMIT);
	HAS_STR(err.msg, "a.tar");
	tb_release(&t);
}

UNIT_MAIN
