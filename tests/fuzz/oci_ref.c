/* SPDX-License-Identifier: Apache-2.0 */
/* References: whatever parses has a full form that parses to the same. */
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

static void round_trip(const struct oci_ref *r)
{
	K3_AUTO_FREE char *full = oci_ref_full(r), *name = oci_ref_name(r);
	struct oci_ref again;
	struct k3_err e = { 0 };

	/* 80 bytes of digest, tag and separators on top of the limit are no longer parsed. */
	if (strlen(full) > OCI_REF_MAX)
		return;
	must(!oci_ref_parse(full, &again, &e));
	K3_AUTO_FREE char *full2 = oci_ref_full(&again), *name2 = oci_ref_name(&again);

	must(!strcmp(full, full2) && !strcmp(name, name2));
	must(!strcmp(r->host, again.host) && !strcmp(r->repo, again.repo));
	must(r->has_digest == again.has_digest &&
	     !memcmp(&r->digest, &again.digest, sizeof(r->digest)));
	oci_ref_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	K3_AUTO_FREE char *s = k3_xstrndup((const char *)data, size);
	struct oci_ref r;
	struct oci_digest d;
	struct oci_platform p, q;
	struct k3_err e = { 0 };
	char text[OCI_DIGEST_TEXT_MAX + 3 * OCI_PLATFORM_PART_MAX];

	if (!oci_ref_parse(s, &r, &e)) {
		round_trip(&r);
		oci_ref_release(&r);
	} else {
		must(e.code == K3_USAGE && e.msg[0]);
	}
	if (!oci_digest_parse(s, &d, &e)) {
		oci_digest_format(&d, text);
		must(!strcmp(text, s));
	}
	if (!oci_platform_parse(s, &p, &e)) {
		oci_platform_format(&p, text, sizeof(text));
		must(!oci_platform_parse(text, &q, &e) && !memcmp(&p, &q, sizeof(p)));
		must(oci_platform_rank(&p, &q) <= 0);
	}
	oci_media_parse(s);
	return 0;
}
