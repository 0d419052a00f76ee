/* SPDX-License-Identifier: Apache-2.0 */
/*
 * References.  Both tables were checked line by line against distribution/reference; the
 * 255-byte rule is that of its versions before 0.6, which count the host too.
 */
#include "tests/unit/unit.h"

#include "base/mem.h"
#include "oci/oci.h"

#define X4(s) s s s s
#define X16(s) X4(X4(s))
#define T128 X16("tttttttt")
#define B237 X16("bbbbbbbbbbbbbb") "bbbbbbbbbbbbb"
#define B238 B237 "b"
#define C252 X16("ccccccccccccccc") "cccccccccccc"
#define A1025 X16(X16("aaaa")) "a"
#define ZERO96 X16("000000")
#define HEX64_UPPER X16("A1A1")
#define HEX64 X16("a1a1")
#define HEX63 X4("a1a1a1a1a1a1") "a1a1a1a1a1a1a1a"
#define HEX128 X16("c3c3c3c3")

struct good {
	const char *text, *host, *repo, *tag, *digest;
};

struct bad {
	const char *text, *msg, *hint;
};

/* clang-format off */
static const struct good good[] = {
	{ "nginx", "docker.io", "library/nginx", "latest", NULL },
	{ "nginx:alpine", "docker.io", "library/nginx", "alpine", NULL },
	{ "library/nginx", "docker.io", "library/nginx", "latest", NULL },
	{ "grafana/grafana:11.2.0", "docker.io", "grafana/grafana", "11.2.0", NULL },
	{ "docker.io/nginx", "docker.io", "library/nginx", "latest", NULL },
	{ "docker.io/library/nginx:1", "docker.io", "library/nginx", "1", NULL },
	{ "index.docker.io/nginx", "docker.io", "library/nginx", "latest", NULL },
	{ "index.docker.io/rancher/mirrored-pause:3.6", "docker.io", "rancher/mirrored-pause", "3.6", NULL },
	{ "rancher/mirrored-pause:3.6", "docker.io", "rancher/mirrored-pause", "3.6", NULL },
	{ "registry.k8s.io/pause:3.10", "registry.k8s.io", "pause", "3.10", NULL },
	{ "index.docker.io", "docker.io", "library/index.docker.io", "latest", NULL },
	{ "index.docker.io:443/a/b", "index.docker.io:443", "a/b", "latest", NULL },
	{ "docker.io:443/nginx", "docker.io:443", "nginx", "latest", NULL },
	{ "Docker.io/nginx", "Docker.io", "nginx", "latest", NULL },
	{ "localhost", "docker.io", "library/localhost", "latest", NULL },
	{ "localhost:5000", "docker.io", "library/localhost", "5000", NULL },
	{ "localhost/foo", "localhost", "foo", "latest", NULL },
	{ "localhost:5000/foo", "localhost:5000", "foo", "latest", NULL },
	{ "localhost:5000/foo:bar", "localhost:5000", "foo", "bar", NULL },
	{ "example.com", "docker.io", "library/example.com", "latest", NULL },
	{ "example.com:5000", "docker.io", "library/example.com", "5000", NULL },
	{ "127.0.0.1:5000/a/b/c:x", "127.0.0.1:5000", "a/b/c", "x", NULL },
	{ "10.0.0.1/foo", "10.0.0.1", "foo", "latest", NULL },
	{ "[::1]/foo", "[::1]", "foo", "latest", NULL },
	{ "[::1]:5000/foo:1", "[::1]:5000", "foo", "1", NULL },
	{ "[FD00:1:2::3]:75050/repo", "[FD00:1:2::3]:75050", "repo", "latest", NULL },
	{ "host:99999/x", "host:99999", "x", "latest", NULL },
	{ "HOST/foo", "HOST", "foo", "latest", NULL },
	{ "LocalHost/foo", "LocalHost", "foo", "latest", NULL },
	{ "Foo.Example.com/bar/baz", "Foo.Example.com", "bar/baz", "latest", NULL },
	{ "xn--n3h.com/foo", "xn--n3h.com", "foo", "latest", NULL },
	{ "a--b.c/foo", "a--b.c", "foo", "latest", NULL },
	{ "my_host.lan/foo", "my_host.lan", "foo", "latest", NULL },
	{ "foo/bar", "docker.io", "foo/bar", "latest", NULL },
	{ "foo-bar/baz", "docker.io", "foo-bar/baz", "latest", NULL },
	{ "a/b/c/d/e", "docker.io", "a/b/c/d/e", "latest", NULL },
	{ "a__b", "docker.io", "library/a__b", "latest", NULL },
	{ "a_b.c-d", "docker.io", "library/a_b.c-d", "latest", NULL },
	{ "a---b", "docker.io", "library/a---b", "latest", NULL },
	{ "0", "docker.io", "library/0", "latest", NULL },
	{ "foo/docker.io/bar", "docker.io", "foo/docker.io/bar", "latest", NULL },
	{ "x/localhost:8080", "docker.io", "x/localhost", "8080", NULL },
	{ "a:_", "docker.io", "library/a", "_", NULL },
	{ "a:V1.2-rc_3", "docker.io", "library/a", "V1.2-rc_3", NULL },
	{ "a:" T128, "docker.io", "library/a", T128, NULL },
	{ "sha256:" HEX64, "docker.io", "library/sha256", HEX64, NULL },
	{ HEX64 ":x", "docker.io", "library/" HEX64, "x", NULL },
	{ "x/" HEX64, "docker.io", "x/" HEX64, "latest", NULL },
	{ HEX63, "docker.io", "library/" HEX63, "latest", NULL },
	{ B237, "docker.io", "library/" B237, "latest", NULL },
	{ "nginx@sha256:" HEX64, "docker.io", "library/nginx", NULL, "sha256:" HEX64 },
	{ "nginx:1.27@sha256:" HEX64, "docker.io", "library/nginx", "1.27", "sha256:" HEX64 },
	{ "[::1]:5000/x:t@sha512:" HEX128, "[::1]:5000", "x", "t", "sha512:" HEX128 },
	{ "quay.io/a/b@sha512:" HEX128, "quay.io", "a/b", NULL, "sha512:" HEX128 },
};

static const struct bad bad[] = {
	{ "", "empty", "" },
	{ " nginx", "white space", "word of its own" },
	{ "nginx ", "white space", "" },
	{ "nginx\n", "white space", "" },
	{ "a b", "white space", "" },
	{ "\t", "white space", "" },
	{ "https://example.com/a", "scheme", "bare name: example.com/a" },
	{ "http://x/y", "scheme", "" },
	{ "docker://nginx:alpine", "scheme", "bare name: nginx:alpine" },
	{ "oci://x", "scheme", "" },
	{ HEX64, "image ID", "@sha256:" HEX64 },
	{ "Nginx", "must be lower-case", "did you mean docker.io/library/nginx?" },
	{ "foo/Bar:x", "must be lower-case", "did you mean docker.io/foo/bar?" },
	{ "example.com/Foo/bar", "must be lower-case", "did you mean example.com/foo/bar?" },
	{ "localhost/A", "must be lower-case", "" },
	{ "/foo", "not a repository name", "" },
	{ "foo/", "not a repository name", "" },
	{ "foo//bar", "not a repository name", "" },
	{ "docker.io/", "not a repository name", "" },
	{ "localhost/", "not a repository name", "" },
	{ "-a", "not a repository name", "" },
	{ "a-", "not a repository name", "" },
	{ "_a", "not a repository name", "" },
	{ "a_", "not a repository name", "" },
	{ ".a", "not a repository name", "" },
	{ "a.", "not a repository name", "" },
	{ "a..b", "not a repository name", "" },
	{ "a___b", "not a repository name", "" },
	{ "a._b", "not a repository name", "" },
	{ "a-_b", "not a repository name", "" },
	{ "a+b", "not a repository name", "joined by" },
	{ "a/../b", "not a repository name", "" },
	{ "../b/c", "not a registry host", "" },
	{ "\xc3\xa9", "not a repository name", "" },
	{ ":x", "not a repository name", "" },
	{ "@sha256:" HEX64, "not a repository name", "" },
	{ "-a.b/foo", "not a registry host", "" },
	{ "a-.b/foo", "not a registry host", "" },
	{ "a..b/foo", "not a registry host", "" },
	{ "a.b:/foo", "not a registry host", "" },
	{ "a.b:x/foo", "not a registry host", "" },
	{ "a_b.c:80/foo", "not a registry host", "" },
	{ "A_b/foo", "not a registry host", "" },
	{ "[::1/foo", "not a registry host", "" },
	{ "[]:80/foo", "not a registry host", "" },
	{ "[fe80::1%eth0]/foo", "not a registry host", "[IPv6]" },
	{ "[::1]x/foo", "not a registry host", "" },
	{ "::1/foo", "not a registry host", "" },
	{ "a:", "not a tag", "" },
	{ "a::", "not a tag", "" },
	{ "a:-x", "not a tag", "at most 128" },
	{ "a:.x", "not a tag", "" },
	{ "a:x:y", "not a tag", "" },
	{ "localhost:5000/a:b/c", "not a tag", "" },
	{ "a:" T128 "t", "not a tag", "" },
	{ "a@", "not a digest", "" },
	{ "a@sha256", "not a digest", "" },
	{ "a@sha256:", "not a digest", "" },
	{ "a@" HEX64, "not a digest", "" },
	{ "a@sha256:" HEX63, "not a sha256 digest", "" },
	{ "a@sha256:" HEX64 "0", "not a sha256 digest", "" },
	{ "a@sha256:" HEX64_UPPER, "not a sha256 digest", "" },
	{ "a@SHA256:" HEX64, "not a digest", "" },
	{ "a@sha512:" HEX64, "not a sha512 digest", "" },
	{ "a@sha384:" ZERO96, "algorithm \"sha384\" is not supported", "" },
	{ "a@md5:00000000000000000000000000000000", "algorithm \"md5\" is not supported", "" },
	{ "a@sha256:" HEX64 "@sha256:" HEX64, "not a digest", "" },
	{ "a@sha256:" HEX64 ":x", "not a digest", "" },
	{ B237 "b", "longer than 255", "" },
	{ "a.b/" C252, "longer than 255", "" },
	{ A1025, "longer than 1024", "" },
};
/* clang-format on */

TEST(ref_good)
{
	struct k3_err err;

	for (size_t i = 0; i < K3_ARRAY_LEN(good); i++) {
		const struct good *g = &good[i];
		struct oci_ref r = { 0 };
		char digest[OCI_DIGEST_TEXT_MAX];

		OK(oci_ref_parse(g->text, &r, &err));
		EQ_STR(r.host, g->host);
		EQ_STR(r.repo, g->repo);
		EQ_STR(r.tag, g->tag);
		EQ_INT(r.has_digest, g->digest != NULL);
		oci_digest_format(&r.digest, digest);
		if (g->digest)
			EQ_STR(digest, g->digest);
		oci_ref_release(&r);
	}
}

/* The full form of a reference means the same reference. */
TEST(ref_full_is_stable)
{
	struct k3_err err;

	for (size_t i = 0; i < K3_ARRAY_LEN(good); i++) {
		struct oci_ref r = { 0 }, again = { 0 };

		OK(oci_ref_parse(good[i].text, &r, &err));
		K3_AUTO_FREE char *full = oci_ref_full(&r);

		OK(oci_ref_parse(full, &again, &err));
		K3_AUTO_FREE char *full2 = oci_ref_full(&again);

		EQ_STR(full2, full);
		EQ_STR(again.host, good[i].host);
		EQ_STR(again.repo, good[i].repo);
		oci_ref_release(&r);
		oci_ref_release(&again);
	}
}

TEST(ref_bad)
{
	struct k3_err err;

	for (size_t i = 0; i < K3_ARRAY_LEN(bad); i++) {
		struct oci_ref r;

		FAILS(oci_ref_parse(bad[i].text, &r, &err), K3_USAGE);
		HAS_STR(err.msg, "image reference \"");
		HAS_STR(err.msg, bad[i].msg);
		HAS_STR(err.hint, bad[i].hint);
	}
}

TEST(ref_names)
{
	struct oci_ref r;
	struct oci_digest d;
	struct k3_err err;

	OK(oci_digest_parse("sha512:" HEX128, &d, &err));
	OK(oci_ref_parse("nginx:1@sha256:" HEX64, &r, &err));
	K3_AUTO_FREE char *name = oci_ref_name(&r), *full = oci_ref_full(&r);
	K3_AUTO_FREE char *other = oci_ref_with_digest(&r, &d);

	EQ_STR(name, "docker.io/library/nginx@sha256:" HEX64);
	EQ_STR(full, "docker.io/library/nginx:1@sha256:" HEX64);
	EQ_STR(other, "docker.io/library/nginx@sha512:" HEX128);
	oci_ref_release(&r);
	EQ_STR(r.host, NULL);
	OK(oci_ref_parse("localhost:5000/a", &r, &err));
	K3_AUTO_FREE char *tagged = oci_ref_name(&r), *tagged_full = oci_ref_full(&r);

	EQ_STR(tagged, "localhost:5000/a:latest");
	EQ_STR(tagged_full, "localhost:5000/a:latest");
	oci_ref_release(&r);
}

/* The reason survives however long the reference is. */
TEST(ref_long_message)
{
	struct oci_ref r;
	struct k3_err err;

	FAILS(oci_ref_parse(A1025, &r, &err), K3_USAGE);
	HAS_STR(err.msg, "aaa...\": it is longer than 1024 bytes");
}

UNIT_MAIN
