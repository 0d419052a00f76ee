/* SPDX-License-Identifier: Apache-2.0 */
/* The document of a bundle: what is taken is written again as the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "bundle/bundle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(BUNDLE_DOCUMENT_MAX);
	struct bundle_doc d;
	struct k3_err e = { 0 };

	if (bundle_doc_parse(data, size, &d, &e)) {
		must(e.code == K3_FORMAT || e.code == K3_LIMIT || e.code == K3_UNSUPPORTED ||
		     e.code == K3_DIGEST);
		bundle_doc_release(&d);
		return 0;
	}
	must(d.nimages && d.nimages <= BUNDLE_IMAGES_MAX && d.n <= BUNDLE_MEMBERS_MAX);
	for (size_t i = 0; i < d.nimages; i++)
		must(!d.images[i].ref.has_digest ||
		     oci_digest_eq(&d.images[i].ref.digest, &d.images[i].target.digest));
	for (size_t i = 1; i < d.n; i++)
		must(d.members[i - 1].kind <= d.members[i].kind);
	must(!bundle_doc_write(&d, &out, &e) && out.len == size && !memcmp(out.p, data, size));
	bundle_doc_release(&d);
	return 0;
}
