/* SPDX-License-Identifier: Apache-2.0 */
/* The text of an auth file; also a token service's answer, the other JSON of fetch/. */
#include <stdint.h>
#include <stdlib.h>

#include "fetch/auth.h"
#include "fetch/credentials.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_up(const uint8_t *data, size_t size, const char *host, const char *repo)
{
	struct credential c = { 0 };
	struct k3_err e;
	int rc = credentials_parse(data, size, host, repo, &c, &e);

	if (!rc && (!c.user != !c.password || (c.note && (c.user || c.identity))))
		abort();
	if (!rc && c.user)
		auth_forget(credential_basic(&c));
	credential_release(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct k3_err e;
	uint64_t seconds;
	char *token;

	look_up(data, size, "docker.io", "library/nginx");
	look_up(data, size, "r.io:5000", "a/b/c");
	if (!auth_parse_token(data, size, &token, &seconds, &e)) {
		if (!*token || seconds < 60 || seconds > 86400)
			abort();
		auth_forget(token);
	}
	return 0;
}
