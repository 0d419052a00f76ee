/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/archive.h"
#include "base/file.h"
#include "base/mem.h"

static char *path_of(const char *name)
{
	static const char *top;
	static unsigned n;

	top = top ? top : unit_tmpdir();
	return k3_xasprintf("%s/%u-%s", top, n++, name);
}

static struct oci_desc desc_of(enum k3_hash_alg alg, const char *text)
{
	struct oci_desc d = { .media = OCI_MEDIA_MANIFEST, .size = strlen(text) };

	strcpy(d.media_text, oci_media_name(d.media));
	oci_digest_of(alg, text, strlen(text), &d.digest);
	return d;
}

static char *read_text(const char *dir, const char *name)
{
	struct k3_buf b = K3_BUF(1 << 20);
	K3_AUTO_FREE char *path = k3_xasprintf("%s/%s", dir, name);
	struct k3_err err;

	return k3_read_file(AT_FDCWD, path, &b, &err) ? k3_xstrdup("") : (char *)b.p;
}

static void write_text(const char *dir, const char *name, const char *text)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s/%s", dir, name);
	FILE *f = fopen(path, "w");

	CHECK(f && fputs(text, f) >= 0 && !fclose(f));
}

static bool there(const char *dir, const char *name)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s/%s", dir, name);

	return !access(path, F_OK);
}

static void put(struct layout *l, const struct oci_desc *d, const char *text)
{
	struct k3_err err;
	bool wrote = false;

	OK(layout_put(l, d, text, strlen(text), &wrote, &err));
	CHECK(wrote);
	OK(layout_put(l, d, text, strlen(text), &wrote, &err));
	CHECK(!wrote);
}

TEST(new_layout_and_nothing_in_it)
{
	K3_AUTO_FREE char *dir = path_of("empty");
	struct layout *l = NULL, *second = NULL;
	struct k3_err err;

	OK(layout_open(dir, &l, &err));
	CHECK(there(dir, "oci-layout") && there(dir, "blobs/sha256"));
	FAILS(layout_open(dir, &second, &err), K3_BUSY);
	layout_close(l);
	CHECK(!there(dir, "."));
}

TEST(refuses_other_directories)
{
	K3_AUTO_FREE char *dir = path_of("other"), *deep = k3_xasprintf("%s/a/b", dir);
	struct layout *l = NULL;
	struct k3_err err;

	CHECK(!mkdir(dir, 0755));
	write_text(dir, "precious", "x");
	FAILS(layout_open(dir, &l, &err), K3_USAGE);
	HAS_STR(err.msg, "is not empty, and no image layout");
	CHECK(there(dir, "precious") && !there(dir, "blobs"));
	write_text(dir, "oci-layout", "{\"imageLayoutVersion\": \"2.0.0\"}");
	FAILS(layout_open(dir, &l, &err), K3_UNSUPPORTED);
	write_text(dir, "oci-layout", "{}");
	FAILS(layout_open(dir, &l, &err), K3_FORMAT);
	write_text(dir, "oci-layout", "{");
	FAILS(layout_open(dir, &l, &err), K3_FORMAT);
	FAILS(layout_open(deep, &l, &err), K3_IO);
	HAS_STR(err.hint, "first");
}

TEST(blobs_come_in_pieces_and_go_on)
{
	K3_AUTO_FREE char *dir = path_of("blobs");
	__attribute__((cleanup(layout_closep))) struct layout *l = NULL;
	struct oci_desc d = desc_of(K3_SHA256, "hello world"), w = desc_of(K3_SHA512, "wide");
	struct layout_blob *b;
	struct k3_err err;
	bool has = true;

	OK(layout_open(dir, &l, &err));
	OK(layout_has(l, &d, NULL, &has, &err));
	CHECK(!has);
	OK(layout_blob_begin(l, &d, &b, &err));
	OK(layout_blob_write(b, "hello ", 6, &err));
	layout_blob_abandon(b);
	layout_closep(&l);
	OK(layout_open(dir, &l, &err));
	OK(layout_blob_begin(l, &d, &b, &err));
	EQ_INT(layout_blob_have(b), 6);
	k3_hash_add(layout_blob_hash(b), "world", 5);
	OK(layout_blob_write(b, "world", 5, &err));
	struct oci_digest got;

	oci_digest_final(layout_blob_hash(b), K3_SHA256, &got);
	CHECK(oci_digest_eq(&got, &d.digest));
	OK(layout_blob_done(b, &err));
	OK(layout_has(l, &d, NULL, &has, &err));
	CHECK(has);
	put(l, &w, "wide");
	OK(layout_has(l, &w, NULL, &has, &err));
	CHECK(has && there(dir, "blobs/sha512"));
}

TEST(damaged_blobs_are_not_there)
{
	K3_AUTO_FREE char *dir = path_of("damaged"), *name = NULL;
	__attribute__((cleanup(layout_closep))) struct layout *l = NULL;
	K3_AUTO_BUF struct k3_buf raw = K3_BUF(100);
	struct oci_desc d = desc_of(K3_SHA256, "hello"), any = d;
	char hex[65];
	struct k3_err err;
	bool has;

	OK(layout_open(dir, &l, &err));
	FAILS(layout_read(l, &d, &raw, &err), K3_NOTFOUND);
	put(l, &d, "hello");
	any.size = 0;
	OK(layout_read(l, &any, &raw, &err));
	EQ_STR((char *)raw.p, "hello");
	k3_hex(d.digest.hash, 32, hex);
	name = k3_xasprintf("blobs/sha256/%s", hex);
	write_text(dir, name, "hellx");
	k3_buf_reset(&raw);
	FAILS(layout_read(l, &d, &raw, &err), K3_DIGEST);
	OK(layout_has(l, &d, NULL, &has, &err));
	CHECK(!has);
	write_text(dir, name, "hell");
	OK(layout_has(l, &d, NULL, &has, &err));
	CHECK(!has);
	put(l, &d, "hello");
}

TEST(index_keeps_what_is_not_ours)
{
	K3_AUTO_FREE char *dir = path_of("index"), *text = NULL, *again = NULL;
	__attribute__((cleanup(layout_closep))) struct layout *l = NULL;
	struct oci_desc d = desc_of(K3_SHA256, "a");
	struct oci_platform arm = { "linux", "arm", "v7" };
	struct layout_image im = { "docker.io/library/a:1", "1", d, &arm, false };
	struct k3_err err;
	bool changed;

	OK(layout_open(dir, &l, &err));
	write_text(
		dir, "index.json",
		"{\"schemaVersion\":2,\"x\":[1],\"manifests\":["
		"{\"digest\":\"sha256:00\",\"size\":1,\"urls\":[\"u\"]},"
		"{\"digest\":\"sha256:01\",\"annotations\":{\"org.opencontainers.image.ref.name\":"
		"\"1\"}},"
		"{\"digest\":\"sha256:02\",\"annotations\":{\"io.containerd.image.name\":"
		"\"docker.io/library/a:1\"}}]}");
	OK(layout_commit(l, &im, 1, &changed, &err));
	CHECK(changed);
	text = read_text(dir, "index.json");
	HAS_STR(text, "\"digest\": \"sha256:00\"");
	HAS_STR(text, "\"urls\": [");
	HAS_STR(text, "sha256:01");
	CHECK(!strstr(text, "sha256:02"));
	HAS_STR(text, "\"io.containerd.image.name\": \"docker.io/library/a:1\"");
	HAS_STR(text, "\"variant\": \"v7\"");
	HAS_STR(text, "\"x\": [");
	OK(layout_commit(l, &im, 1, &changed, &err));
	CHECK(!changed);
	im.own_tag = true;
	OK(layout_commit(l, &im, 1, &changed, &err));
	again = read_text(dir, "index.json");
	CHECK(!strstr(again, "sha256:01") && strstr(again, "sha256:00"));
	write_text(dir, "index.json", "{\"manifests\": {}}");
	FAILS(layout_commit(l, &im, 1, &changed, &err), K3_FORMAT);
	HAS_STR(err.msg, "index.json: manifests is not an array");
	write_text(dir, "index.json", "[");
	FAILS(layout_commit(l, &im, 1, &changed, &err), K3_FORMAT);
}

TEST(packing_by_name)
{
	EQ_INT(layout_packing_of("a.tar"), LAYOUT_PLAIN);
	EQ_INT(layout_packing_of("a.tar.gz"), LAYOUT_GZIP);
	EQ_INT(layout_packing_of("a.tgz"), LAYOUT_GZIP);
	EQ_INT(layout_packing_of("a.tar.zst"), LAYOUT_ZSTD);
	EQ_INT(layout_packing_of("/x.zst/a"), LAYOUT_PLAIN);
	EQ_INT(layout_packing_of(".gz"), LAYOUT_PLAIN);
}

/* The output of a command, its last newline taken off. */
static char *output_of(const char *command, char *out, size_t size)
{
	FILE *f = popen(command, "r");
	size_t n = f ? fread(out, 1, size - 1, f) : 0;

	out[n] = '\0';
	if (n && out[n - 1] == '\n')
		out[n - 1] = '\0';
	EQ_INT(f ? pclose(f) : -1, 0);
	return out;
}

TEST(pack_and_discard)
{
	K3_AUTO_FREE char *dir = path_of("pack.partial");
	struct oci_desc a = desc_of(K3_SHA256, "first"), w = desc_of(K3_SHA512, "wide");
	const struct layout_image im = { "docker.io/library/a:1", "1", a, NULL, false };
	static const char *const ends[] = { "tar", "tar.gz", "tar.zst", "again.tar" };
	static const char *const readers[] = { "cat", "gzip -dc", "zstd -dc", "cat" };
	char command[512], first[4096], out[4096];
	struct layout *l = NULL;
	struct k3_err err;

	OK(layout_open(dir, &l, &err));
	put(l, &a, "first");
	put(l, &w, "wide");
	for (size_t i = 0; i < K3_ARRAY_LEN(ends); i++) {
		const struct oci_desc *blobs[] = { &w, &a, i % 2 ? &w : &a };
		K3_AUTO_FREE char *file = path_of(ends[i]);

		OK(layout_pack(l, &im, 1, blobs, 3, file, layout_packing_of(file), NULL, &err));
		snprintf(command, sizeof(command), "%s %s | sha256sum", readers[i], file);
		output_of(command, i ? out : first, sizeof(out));
		if (i)
			EQ_STR(out, first);
		snprintf(command, sizeof(command), "%s %s | tar tf - | cut -c 1-20 | tr '\\n' ' '",
			 readers[i], file);
		EQ_STR(output_of(command, out, sizeof(out)),
		       "oci-layout index.json blobs/ blobs/sha256/ blobs/sha256/a7937b6 "
		       "blobs/sha512/ blobs/sha512/5818bcb ");
		snprintf(command, sizeof(command), "%s %s | tar xOf - --wildcards 'blobs/sha*/*'",
			 readers[i], file);
		EQ_STR(output_of(command, out, sizeof(out)), "firstwide");
	}
	OK(layout_discard(l, &err));
	CHECK(!there(dir, "."));
}

UNIT_MAIN
