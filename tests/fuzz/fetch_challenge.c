/* SPDX-License-Identifier: Apache-2.0 */
/* WWW-Authenticate fields, one per line, as a hostile registry may send them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "fetch/challenge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_text(const char *s, size_t max)
{
	if (strnlen(s, max) == max)
		abort();
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	K3_AUTO_FREE char *text = k3_xstrndup((const char *)data, size);
	struct challenge c = { 0 };
	char *rest = NULL;

	for (char *p = strtok_r(text, "\n", &rest); p; p = strtok_r(NULL, "\n", &rest))
		challenge_add(&c, p);
	expect_text(c.realm, sizeof(c.realm));
	expect_text(c.service, sizeof(c.service));
	expect_text(c.scope, sizeof(c.scope));
	if (c.bearer != (c.realm[0] != '\0') || (!c.bearer && (c.service[0] || c.scope[0])))
		abort();
	return 0;
}
