/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "oci/oci.h"

#define OCI "application/vnd.oci.image."
#define DOCKER "application/vnd.docker."
#define DOCKER_LAYER DOCKER "image.rootfs."

static const struct {
	const char *text;
	enum oci_media media;
} media_types[] = {
	{ OCI "index.v1+json", OCI_MEDIA_INDEX },
	{ OCI "manifest.v1+json", OCI_MEDIA_MANIFEST },
	{ OCI "config.v1+json", OCI_MEDIA_CONFIG },
	{ OCI "layer.v1.tar", OCI_MEDIA_LAYER_TAR },
	{ OCI "layer.v1.tar+gzip", OCI_MEDIA_LAYER_GZIP },
	{ OCI "layer.v1.tar+zstd", OCI_MEDIA_LAYER_ZSTD },
	{ OCI "layer.nondistributable.v1.tar", OCI_MEDIA_LAYER_TAR },
	{ OCI "layer.nondistributable.v1.tar+gzip", OCI_MEDIA_LAYER_GZIP },
	{ OCI "layer.nondistributable.v1.tar+zstd", OCI_MEDIA_LAYER_ZSTD },
	{ DOCKER "distribution.manifest.list.v2+json", OCI_MEDIA_DOCKER_LIST },
	{ DOCKER "distribution.manifest.v2+json", OCI_MEDIA_DOCKER_MANIFEST },
	{ DOCKER "distribution.manifest.v1+json", OCI_MEDIA_DOCKER_SCHEMA1 },
	{ DOCKER "distribution.manifest.v1+prettyjws", OCI_MEDIA_DOCKER_SCHEMA1 },
	{ DOCKER "container.image.v1+json", OCI_MEDIA_DOCKER_CONFIG },
	{ DOCKER_LAYER "diff.tar", OCI_MEDIA_LAYER_DOCKER },
	{ DOCKER_LAYER "diff.tar.gzip", OCI_MEDIA_LAYER_DOCKER },
	{ DOCKER_LAYER "diff.tar.zstd", OCI_MEDIA_LAYER_DOCKER },
	{ DOCKER_LAYER "foreign.diff.tar", OCI_MEDIA_LAYER_DOCKER },
	{ DOCKER_LAYER "foreign.diff.tar.gzip", OCI_MEDIA_LAYER_DOCKER },
	{ DOCKER_LAYER "foreign.diff.tar.zstd", OCI_MEDIA_LAYER_DOCKER },
};

enum oci_media oci_media_parse(const char *s)
{
	s += strspn(s, " \t");
	size_t n = strcspn(s, "; \t");

	for (size_t i = 0; i < K3_ARRAY_LEN(media_types); i++)
		if (strlen(media_types[i].text) == n && !strncasecmp(media_types[i].text, s, n))
			return media_types[i].media;
	return OCI_MEDIA_UNKNOWN;
}

const char *oci_media_name(enum oci_media m)
{
	for (size_t i = 0; i < K3_ARRAY_LEN(media_types); i++)
		if (media_types[i].media == m)
			return media_types[i].text;
	return "";
}

bool oci_media_is_index(enum oci_media m)
{
	return m == OCI_MEDIA_INDEX || m == OCI_MEDIA_DOCKER_LIST;
}

bool oci_media_is_manifest(enum oci_media m)
{
	return m == OCI_MEDIA_MANIFEST || m == OCI_MEDIA_DOCKER_MANIFEST;
}

bool oci_media_is_layer(enum oci_media m)
{
	return m == OCI_MEDIA_LAYER_TAR || m == OCI_MEDIA_LAYER_GZIP || m == OCI_MEDIA_LAYER_ZSTD ||
	       m == OCI_MEDIA_LAYER_DOCKER;
}

bool oci_media_is_foreign(const char *text)
{
	return strcasestr(text, ".nondistributable.") || strcasestr(text, ".foreign.");
}
