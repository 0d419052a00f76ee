/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the bytes of a request come from: an archive, or the registry that its reference names.
 * Private to pipeline/.
 */
#ifndef K3_PIPELINE_SOURCE_H
#define K3_PIPELINE_SOURCE_H

#include "pipeline/pipeline.h"

/* One thread's way to registries: the session is made when it is first needed. */
struct source_link {
	struct fetch *fetch;
	struct fetch_session **session;
};

K3_MUST int source_session(const struct source_link *l, struct fetch_session **out,
			   struct k3_err *e);

/*
 * What the request names, without its body.  Of a registry: not for a reference with a digest.
 * K3_DIGEST when the reference pins another digest than the archive has.
 */
K3_MUST int source_target(const struct source_link *l, const struct pl_request *q,
			  struct oci_desc *got, struct k3_err *e);
/* As fetch_document, and for a config, which registries keep among the blobs. */
K3_MUST int source_document(const struct source_link *l, const struct pl_request *q,
			    const struct oci_desc *want, bool config, struct k3_buf *raw,
			    struct oci_desc *got, struct k3_err *e);
/* As fetch_blob. */
K3_MUST int source_blob(const struct source_link *l, const struct pl_request *q,
			const struct oci_desc *d, uint64_t have, struct k3_hash *hash,
			fetch_data_fn *fn, void *arg, struct k3_err *e);

/* Whether both get their bytes at one place. */
bool source_same(const struct pl_request *a, const struct pl_request *b);
/* Whether another place may have what this one refuses. */
bool source_worth_another(const struct k3_err *e);

/* The outermost document of what only its digest names: its own kind and size. */
void source_describe(struct oci_desc *d, const struct k3_buf *raw);

#endif
