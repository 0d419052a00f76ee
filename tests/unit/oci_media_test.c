/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/mem.h"
#include "oci/oci.h"

TEST(media_types)
{
	static const struct {
		const char *text;
		enum oci_media media;
	} t[] = {
		{ "application/vnd.oci.image.index.v1+json", OCI_MEDIA_INDEX },
		{ "application/vnd.oci.image.index.v1+json; charset=utf-8", OCI_MEDIA_INDEX },
		{ " Application/VND.OCI.image.index.v1+JSON", OCI_MEDIA_INDEX },
		{ "application/vnd.oci.image.index.v1+json ", OCI_MEDIA_INDEX },
		{ "application/vnd.docker.distribution.manifest.list.v2+json",
		  OCI_MEDIA_DOCKER_LIST },
		{ "application/vnd.oci.image.manifest.v1+json", OCI_MEDIA_MANIFEST },
		{ "application/vnd.docker.distribution.manifest.v2+json",
		  OCI_MEDIA_DOCKER_MANIFEST },
		{ "application/vnd.docker.distribution.manifest.v1+json",
		  OCI_MEDIA_DOCKER_SCHEMA1 },
		{ "application/vnd.docker.distribution.manifest.v1+prettyjws",
		  OCI_MEDIA_DOCKER_SCHEMA1 },
		{ "application/vnd.oci.image.config.v1+json", OCI_MEDIA_CONFIG },
		{ "application/vnd.docker.container.image.v1+json", OCI_MEDIA_DOCKER_CONFIG },
		{ "application/vnd.oci.image.layer.v1.tar", OCI_MEDIA_LAYER_TAR },
		{ "application/vnd.oci.image.layer.v1.tar+gzip", OCI_MEDIA_LAYER_GZIP },
		{ "application/vnd.oci.image.layer.v1.tar+zstd", OCI_MEDIA_LAYER_ZSTD },
		{ "application/vnd.oci.image.layer.nondistributable.v1.tar", OCI_MEDIA_LAYER_TAR },
		{ "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		  OCI_MEDIA_LAYER_GZIP },
		{ "application/vnd.docker.image.rootfs.diff.tar", OCI_MEDIA_LAYER_DOCKER },
		{ "application/vnd.docker.image.rootfs.diff.tar.gzip", OCI_MEDIA_LAYER_DOCKER },
		{ "application/vnd.docker.image.rootfs.diff.tar.zstd", OCI_MEDIA_LAYER_DOCKER },
		{ "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
		  OCI_MEDIA_LAYER_DOCKER },
		{ "application/vnd.oci.image.layer.v1.tar+gzip+encrypted", OCI_MEDIA_UNKNOWN },
		{ "application/vnd.oci.image.layer.v1.ta", OCI_MEDIA_UNKNOWN },
		{ "application/vnd.oci.empty.v1+json", OCI_MEDIA_UNKNOWN },
		{ "", OCI_MEDIA_UNKNOWN },
		{ ";", OCI_MEDIA_UNKNOWN },
	};

	for (size_t i = 0; i < K3_ARRAY_LEN(t); i++)
		EQ_INT(oci_media_parse(t[i].text), t[i].media);
}

TEST(media_kinds)
{
	for (int m = OCI_MEDIA_UNKNOWN; m <= OCI_MEDIA_LAYER_DOCKER; m++) {
		enum oci_media media = (enum oci_media)m;

		EQ_INT(oci_media_is_index(media),
		       media == OCI_MEDIA_INDEX || media == OCI_MEDIA_DOCKER_LIST);
		EQ_INT(oci_media_is_manifest(media),
		       media == OCI_MEDIA_MANIFEST || media == OCI_MEDIA_DOCKER_MANIFEST);
		EQ_INT(oci_media_is_layer(media), media >= OCI_MEDIA_LAYER_TAR);
	}
}

TEST(document_kind)
{
	static const struct {
		const char *text;
		enum oci_media media;
	} t[] = {
		{ "{\"mediaType\":\"application/vnd.oci.image.index.v1+json\"}", OCI_MEDIA_INDEX },
		{ "{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"manifests\":[]}",
		  OCI_MEDIA_MANIFEST },
		{ "{\"schemaVersion\":2,\"manifests\":[]}", OCI_MEDIA_INDEX },
		{ "{\"schemaVersion\":2,\"config\":{},\"layers\":[]}", OCI_MEDIA_MANIFEST },
		{ "{\"schemaVersion\":1,\"fsLayers\":[]}", OCI_MEDIA_DOCKER_SCHEMA1 },
		{ "{\"config\":{},\"rootfs\":{}}", OCI_MEDIA_CONFIG },
		{ "{\"rootfs\":{}}", OCI_MEDIA_CONFIG },
		{ "{\"mediaType\":\"text/plain\",\"manifests\":[]}", OCI_MEDIA_UNKNOWN },
		{ "{\"mediaType\":7,\"manifests\":[]}", OCI_MEDIA_UNKNOWN },
		{ "{\"mediaType\":null,\"manifests\":[]}", OCI_MEDIA_INDEX },
		{ "{}", OCI_MEDIA_UNKNOWN },
		{ "[]", OCI_MEDIA_UNKNOWN },
		{ "<html>", OCI_MEDIA_UNKNOWN },
		{ "", OCI_MEDIA_UNKNOWN },
	};

	for (size_t i = 0; i < K3_ARRAY_LEN(t); i++)
		EQ_INT(oci_document_kind(t[i].text, strlen(t[i].text)), t[i].media);
}

UNIT_MAIN
