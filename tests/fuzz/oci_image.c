/* SPDX-License-Identifier: Apache-2.0 */
/* Manifest and config: the input is both, split at the first newline. */
#include <stdlib.h>
#include <string.h>

#include "oci/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *cut = size ? memchr(data, '\n', size) : NULL;
	size_t nm = cut ? (size_t)(cut - data) : size;
	const uint8_t *config = cut ? cut + 1 : data;
	size_t nc = cut ? size - nm - 1 : 0;
	struct oci_image img;
	struct oci_desc desc;
	struct k3_err e = { 0 };

	struct oci_process process;

	if (oci_process_parse(config, nc, &process, &e))
		must(e.code == K3_FORMAT || e.code == K3_LIMIT);
	else
		must(process.user && process.workdir);
	oci_process_release(&process);
	oci_document_kind(data, nm);
	int no_config = oci_manifest_config(data, nm, &desc, &e);

	if (oci_image_parse(data, nm, config, nc, &img, &e)) {
		must(e.code == K3_FORMAT || e.code == K3_LIMIT || e.code == K3_UNSUPPORTED);
		return 0;
	}
	must(!no_config && oci_digest_eq(&desc.digest, &img.config.digest));
	must(img.nlayers <= OCI_LAYERS_MAX);
	for (size_t i = 0; i < img.nlayers; i++)
		must(oci_media_is_layer(img.layers[i].blob.media));
	if (img.nlayers)
		must(oci_digest_eq(&img.layers[0].chain_id, &img.layers[0].diff_id));
	oci_image_layer_bytes(&img);
	oci_image_release(&img);
	return 0;
}
