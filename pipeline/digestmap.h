/* SPDX-License-Identifier: Apache-2.0 */
/* A map from digest to pointer.  Digests are uniform already: their first bytes are the hash. */
#ifndef K3_PIPELINE_DIGESTMAP_H
#define K3_PIPELINE_DIGESTMAP_H

#include "oci/oci.h"

struct digestmap_slot {
	const struct oci_digest *key; /* borrowed: lives as long as the map */
	void *value;
};

struct digestmap {
	struct digestmap_slot *slots;
	size_t cap, used;
};

void *digestmap_get(const struct digestmap *m, const struct oci_digest *key); /* NULL = absent */
/* key must be absent; value not NULL. */
void digestmap_put(struct digestmap *m, const struct oci_digest *key, void *value);
void digestmap_release(struct digestmap *m);

#endif
