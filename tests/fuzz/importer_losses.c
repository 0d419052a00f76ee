/* SPDX-License-Identifier: Apache-2.0 */
/* A file of losses: what is taken has four texts for each that is kept. */
#include <stdlib.h>
#include <string.h>

#include "importer/losses.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct imp_losses l;
	struct k3_err e;
	size_t texts = 0;

	imp_losses_init(&l);
	int rc = imp_losses_parse(data, size, 7, "sha256:07", &l, &e);

	if (rc && e.code != K3_FORMAT && e.code != K3_LIMIT)
		abort();
	for (size_t k = 0; k < l.text.len; k++)
		texts += !l.text.p[k];
	if (texts != 4 * l.kept || (!rc && l.kept > l.total))
		abort();
	imp_losses_release(&l);
	return 0;
}
