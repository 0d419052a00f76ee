/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "base/mem.h"
#include "importer/labels.h"

#define D(c) "sha256:" c c c c c c c c
#define D1 D("11111111")
#define D2 D("22222222")
#define D3 D("33333333")
#define D4 D("44444444")
#define D5 D("55555555")

static void is_list(const char *old, const char *entry, const char *want)
{
	K3_AUTO_FREE char *got = imp_list_add(old, strlen(old), entry);

	EQ_STR(got, want);
}

TEST(source_lists_are_sorted)
{
	is_list("", "b", "b");
	is_list("b", "b", NULL);
	is_list("b", "a", "a,b");
	is_list("b", "c", "b,c");
	is_list("b,d", "c", "b,c,d");
	is_list("a,b,d", "b", NULL);
	is_list("library/nginx", "library", "library,library/nginx");
	is_list("library", "library/nginx", "library,library/nginx");
	is_list("ab", "a", "a,ab");
}

static const char *label(const struct imp_labels *l, const char *key)
{
	for (size_t k = 0; k < l->n; k++)
		if (!strcmp(l->v[k].key, key))
			return l->v[k].value;
	return NULL;
}

static void parse(const char *text, struct oci_digest *out)
{
	struct k3_err err;

	OK(oci_digest_parse(text, out, &err));
}

/* An image of two layers below two indexes. */
struct sample {
	struct oci_ref ref;
	struct oci_doc docs[3];
	struct oci_layer layers[2];
	struct oci_image img;
	struct imp_image im;
};

static void sample_init(struct sample *s, const char *index)
{
	struct k3_err err;

	*s = (struct sample){ 0 };
	OK(oci_ref_parse("example.com:5000/a/b:1", &s->ref, &err));
	s->docs[0].body = K3_BUF(1 << 16);
	OK(k3_buf_add(&s->docs[0].body, index, strlen(index), &err));
	s->docs[1].body = K3_BUF(1 << 16);
	OK(k3_buf_add(&s->docs[1].body, index, strlen(index), &err));
	s->img.config.media = OCI_MEDIA_DOCKER_CONFIG;
	parse(D1, &s->img.config.digest);
	for (int k = 0; k < 2; k++) {
		s->layers[k].blob.media = OCI_MEDIA_LAYER_GZIP;
		parse(D2, &s->layers[k].blob.digest);
		parse(D3, &s->layers[k].diff_id);
		parse(k ? D5 : D4, &s->layers[k].chain_id);
	}
	s->img.layers = s->layers;
	s->img.nlayers = 2;
	s->im = (struct imp_image){ .ref = &s->ref, .docs = s->docs, .ndocs = 3, .img = &s->img };
}

static void sample_release(struct sample *s)
{
	oci_ref_release(&s->ref);
	k3_buf_release(&s->docs[0].body);
	k3_buf_release(&s->docs[1].body);
}

static void is_label(struct sample *s, size_t blob, const char *key, const char *want)
{
	struct imp_labels l = { 0 };
	struct k3_err err;

	OK(imp_labels_of(&s->im, blob, &l, &err));
	EQ_STR(label(&l, key), want);
	EQ_STR(label(&l, "containerd.io/distribution.source.example.com"), "a/b");
	imp_labels_release(&l);
}

#define ENTRY(media, digest) "{\"mediaType\":\"" media "\",\"digest\":\"" digest "\",\"size\":7}"
#define GC "containerd.io/gc.ref.content."

TEST(children_are_counted_by_kind)
{
	struct sample s;

	sample_init(
		&s,
		"{\"schemaVersion\":2,\"manifests\":[" ENTRY(
			"application/vnd.oci.image.manifest.v1+json",
			D1) "," ENTRY("application/vnd.oci.image.index.v1+json",
				      D2) "," ENTRY("application/"
						    "vnd.docker.distribution.manifest.v2+json",
						    D3) "," ENTRY("application/x-else",
								  D4) "," ENTRY("application/"
										"vnd.oci.image."
										"config.v1+json",
										D5) "," ENTRY("appl"
											      "icat"
											      "ion/"
											      "vnd."
											      "oci."
											      "imag"
											      "e."
											      "conf"
											      "ig."
											      "v1+"
											      "jso"
											      "n",
											      D1) "," ENTRY("application/vnd.oci.image.layer.v1.tar",
													    D2) "]}");
	is_label(&s, 0, GC "m.0", D1);
	is_label(&s, 0, GC "0", D2);
	is_label(&s, 0, GC "m.1", D3);
	is_label(&s, 0, GC "1", D4);
	is_label(&s, 0, GC "config", D5);
	is_label(&s, 0, GC "config1", D1);
	is_label(&s, 0, GC "l.0", D2);
	is_label(&s, 0, GC "m.2", NULL);
	sample_release(&s);
}

TEST(manifest_config_and_layers)
{
	struct sample s;

	sample_init(&s, "{\"manifests\":[]}");
	EQ_INT(imp_image_blobs(&s.im), 6);
	is_label(&s, 2, GC "config", D1);
	is_label(&s, 2, GC "l.0", D2);
	is_label(&s, 2, GC "l.1", D2);
	is_label(&s, 2, "containerd.io/uncompressed", NULL);
	is_label(&s, 3, "containerd.io/gc.ref.snapshot.native", D5);
	is_label(&s, 4, "containerd.io/uncompressed", D3);
	is_label(&s, 5, "containerd.io/uncompressed", D3);
	is_label(&s, 5, GC "config", NULL);
	s.img.nlayers = 0;
	is_label(&s, 3, "containerd.io/gc.ref.snapshot.native", NULL);
	sample_release(&s);
}

static void is_source(const char *ref, const char *key)
{
	struct imp_labels l = { 0 };
	struct k3_err err;
	struct sample s;

	sample_init(&s, "{}");
	oci_ref_release(&s.ref);
	OK(oci_ref_parse(ref, &s.ref, &err));
	OK(imp_labels_of(&s.im, 2, &l, &err));
	CHECK(label(&l, key));
	imp_labels_release(&l);
	sample_release(&s);
}

TEST(source_has_no_port)
{
	is_source("nginx", "containerd.io/distribution.source.docker.io");
	is_source("127.0.0.1:5000/nginx", "containerd.io/distribution.source.127.0.0.1");
	is_source("[::1]:5000/nginx", "containerd.io/distribution.source.::1");
}

UNIT_MAIN
