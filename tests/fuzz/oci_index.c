/* SPDX-License-Identifier: Apache-2.0 */
/* Indexes: what parses can be ranked for any machine, in a sane order. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "oci/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_rank(const struct oci_index *ix, const struct oci_platform *want)
{
	K3_AUTO_FREE size_t *order = k3_xcalloc(ix->count, sizeof(*order));
	const struct oci_entry *blocked = oci_index_blocked(ix, want);
	size_t n;
	int last = 0;

	oci_index_rank(ix, want, order, &n);
	must(n <= ix->count && (!blocked || blocked->unusable[0]));
	for (size_t i = 0; i < n; i++) {
		const struct oci_entry *en = &ix->entries[order[i]];
		int rank = en->has_platform ? oci_platform_rank(want, &en->platform) : INT32_MAX;

		must(rank >= last && !en->attestation && !en->unusable[0]);
		must(en->desc.media != OCI_MEDIA_UNKNOWN);
		last = rank;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const machines[] = { "linux/amd64/v3", "linux/arm64/v9.2", "linux/arm",
						"linux/riscv64" };
	struct oci_index ix;
	struct oci_platform want;
	struct k3_err e = { 0 };
	char offers[160];

	oci_document_kind(data, size);
	if (oci_index_parse(data, size, &ix, &e)) {
		must(e.code == K3_FORMAT || e.code == K3_LIMIT || e.code == K3_UNSUPPORTED);
		return 0;
	}
	for (size_t i = 0; i < K3_ARRAY_LEN(machines); i++) {
		must(!oci_platform_parse(machines[i], &want, &e));
		check_rank(&ix, &want);
	}
	for (size_t room = 0; room <= sizeof(offers); room += 8)
		oci_index_offers(&ix, offers, room);
	must(strlen(offers) < sizeof(offers));
	oci_index_release(&ix);
	return 0;
}
