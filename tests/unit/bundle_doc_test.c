/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/mem.h"
#include "bundle/bundle.h"

#define A64 "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
#define B64 "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"
#define MEDIA "application/vnd.oci.image.manifest.v1+json"
#define HEAD(version, platform)                                                                    \
	"{\n  \"format\": \"k3simg-bundle\",\n  \"version\": " version                             \
	",\n  \"platform\": \"" platform "\",\n"
#define IMAGE(name)                                                                                \
	"    {\n      \"name\": \"" name "\",\n      \"mediaType\": \"" MEDIA                      \
	"\",\n      \"digest\": \"sha256:" A64 "\",\n      \"size\": 7\n    }"
#define IMAGES(images) "  \"images\": [\n" images "\n  ],\n"
#define MEMBER(digest, size)                                                                       \
	"    {\n      \"digest\": \"" digest "\",\n      \"size\": " size "\n    }"
#define LISTS(documents)                                                                           \
	"  \"documents\": [\n" documents "\n  ],\n  \"layers\": [],\n  \"tars\": []\n}\n"
#define NGINX IMAGE("docker.io/library/nginx:1")
#define GOOD                                                                                       \
	HEAD("1", "linux/amd64")                                                                   \
	IMAGES(NGINX) LISTS(MEMBER("sha256:" A64, "7"))

static struct k3_err err;

static int parse(const char *text)
{
	struct bundle_doc d;
	int rc = bundle_doc_parse(text, strlen(text), &d, &err);

	bundle_doc_release(&d);
	return rc;
}

TEST(doc_is_read)
{
	struct bundle_doc d;

	OK(bundle_doc_parse(GOOD, strlen(GOOD), &d, &err));
	EQ_INT(d.nimages, 1);
	EQ_STR(d.images[0].name, "docker.io/library/nginx:1");
	EQ_STR(d.images[0].ref.repo, "library/nginx");
	EQ_INT(d.images[0].target.media, OCI_MEDIA_MANIFEST);
	EQ_INT(d.images[0].target.size, 7);
	EQ_STR(d.platform.arch, "amd64");
	EQ_INT(d.n, 1);
	EQ_INT(d.members[0].kind, BUNDLE_DOCUMENT);
	EQ_INT(d.members[0].digest.hash[31], 0xa1);
	bundle_doc_release(&d);
}

TEST(doc_is_written_as_it_was_read)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(4096);
	struct bundle_doc d;

	OK(bundle_doc_parse(GOOD, strlen(GOOD), &d, &err));
	OK(bundle_doc_write(&d, &out, &err));
	EQ_STR((const char *)out.p, GOOD);
	bundle_doc_release(&d);
}

TEST(doc_in_other_words_is_refused)
{
	FAILS(parse(GOOD " "), K3_FORMAT);
	HAS_STR(err.msg, "other words");
	FAILS(parse(HEAD("1", "linux/x86_64") IMAGES(NGINX) LISTS(MEMBER("sha256:" A64, "7"))),
	      K3_FORMAT);
	FAILS(parse(HEAD("1", "linux/amd64") "  \"more\": 1,\n" IMAGES(NGINX)
			    LISTS(MEMBER("sha256:" A64, "7"))),
	      K3_FORMAT);
	FAILS(parse(HEAD("1", "linux/amd64") IMAGES(IMAGE("nginx:1"))
			    LISTS(MEMBER("sha256:" A64, "7"))),
	      K3_FORMAT);
}

TEST(doc_that_is_none)
{
	FAILS(parse(""), K3_FORMAT);
	FAILS(parse("[]"), K3_FORMAT);
	FAILS(parse("{}"), K3_FORMAT);
	FAILS(parse(HEAD("2", "linux/amd64") IMAGES(NGINX) LISTS(MEMBER("sha256:" A64, "7"))),
	      K3_UNSUPPORTED);
	HAS_STR(err.msg, "version 2");
	FAILS(parse(HEAD("1", "") IMAGES(NGINX) LISTS(MEMBER("sha256:" A64, "7"))), K3_FORMAT);
	FAILS(parse(HEAD("1", "linux/amd64") IMAGES("") LISTS(MEMBER("sha256:" A64, "7"))),
	      K3_FORMAT);
	HAS_STR(err.msg, "no image");
}

TEST(doc_with_bad_entries)
{
	FAILS(parse(HEAD("1", "linux/amd64") IMAGES(IMAGE("../x"))
			    LISTS(MEMBER("sha256:" A64, "7"))),
	      K3_FORMAT);
	FAILS(parse(HEAD("1", "linux/amd64") IMAGES(NGINX) LISTS(MEMBER("sha256:../../x", "7"))),
	      K3_FORMAT);
	FAILS(parse(HEAD("1", "linux/amd64") IMAGES(NGINX) LISTS(MEMBER("sha256:" A64, "-7"))),
	      K3_FORMAT);
	/* OCI_DOCUMENT_MAX and a byte */
	FAILS(parse(HEAD("1", "linux/amd64") IMAGES(NGINX) LISTS(MEMBER("sha256:" A64, "4194305"))),
	      K3_LIMIT);
}

TEST(doc_name_pinned_to_another_image)
{
	OK(parse(HEAD("1", "linux/amd64") IMAGES(IMAGE("docker.io/library/nginx@sha256:" A64))
			 LISTS(MEMBER("sha256:" A64, "7"))));
	FAILS(parse(HEAD("1", "linux/amd64") IMAGES(IMAGE("docker.io/library/nginx@sha256:" B64))
			    LISTS(MEMBER("sha256:" A64, "7"))),
	      K3_DIGEST);
}

TEST(doc_with_too_many_images)
{
	struct bundle_doc d = { 0 };
	K3_AUTO_BUF struct k3_buf out = K3_BUF(BUNDLE_DOCUMENT_MAX);
	struct oci_desc target = { .media_text = MEDIA, .size = 7 };
	struct oci_ref ref;

	OK(oci_platform_parse("linux/amd64", &d.platform, &err));
	OK(oci_ref_parse("nginx:1", &ref, &err));
	for (size_t i = 0; i < BUNDLE_IMAGES_MAX; i++)
		bundle_add_image(&d, &ref, &target);
	for (size_t i = 0; i < BUNDLE_MEMBERS_MAX; i++)
		bundle_add_member(&d, BUNDLE_TAR, &target.digest, i);
	/* What may be written can be read. */
	OK(bundle_doc_write(&d, &out, &err));
	OK(parse((const char *)out.p));
	bundle_add_image(&d, &ref, &target);
	FAILS(bundle_doc_write(&d, &out, &err), K3_LIMIT);
	oci_ref_release(&ref);
	bundle_doc_release(&d);
}

UNIT_MAIN
