/* SPDX-License-Identifier: Apache-2.0 */
/* What a check has found out about blobs and snapshots, against or for what the records say. */
#include <stdlib.h>

#include "base/mem.h"
#include "importer/imp.h"

static bool has(const struct imp_digests *set, const struct oci_digest *d)
{
	for (size_t k = 0; k < set->n; k++)
		if (oci_digest_eq(&set->v[k], d))
			return true;
	return false;
}

static void add(struct imp_digests *set, const struct oci_digest *d)
{
	if (has(set, d))
		return;
	set->v = k3_xgrow(set->v, set->n, &set->cap, sizeof(*set->v));
	set->v[set->n++] = *d;
}

void imp_distrust_blob(struct imp *i, const struct oci_digest *d)
{
	add(&i->bad_blobs, d);
}

void imp_vouch_blob(struct imp *i, const struct oci_digest *d)
{
	add(&i->good_blobs, d);
}

void imp_distrust_chain(struct imp *i, const struct oci_digest *chain)
{
	add(&i->bad_chains, chain);
}

bool imp_distrusts_blob(const struct imp *i, const struct oci_digest *d)
{
	return has(&i->bad_blobs, d);
}

bool imp_vouches_blob(const struct imp *i, const struct oci_digest *d)
{
	return has(&i->good_blobs, d);
}

bool imp_distrusts_chain(const struct imp *i, const struct oci_digest *chain)
{
	return has(&i->bad_chains, chain);
}

void imp_digests_release(struct imp_digests *set)
{
	free(set->v);
	*set = (struct imp_digests){ 0 };
}
