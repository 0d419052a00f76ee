/* SPDX-License-Identifier: Apache-2.0 */
/* The text of an auth file; also the answers of a token service and of a credential helper. */
#include <stdint.h>
#include <stdlib.h>

#include "fetch/auth.h"
#include "fetch/authfile.h"
#include "fetch/helper.h"
#include "fetch/keychain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct credential *c)
{
	if (!c->user != !c->password)
		abort();
	if (c->user)
		auth_forget(credential_basic(c));
}

static void look_up(const uint8_t *data, size_t size, const char *host, const char *repo)
{
	struct authfile_entry x;
	struct k3_err e;

	if (!authfile_parse(data, size, host, repo, &x, &e)) {
		check(&x.own);
		if (x.helper && (!helper_name_ok(x.helper) || !x.server || !x.where))
			abort();
	}
	authfile_entry_release(&x);
}

/* What a credential helper answers. */
static void parse_answer(const uint8_t *data, size_t size)
{
	struct credential c = { 0 };
	struct k3_err e;

	if (!keychain_parse(data, size, &c, &e)) {
		check(&c);
		if (!c.user == !c.identity)
			abort();
	}
	credential_release(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct k3_err e;
	uint64_t seconds;
	char *token;

	look_up(data, size, "docker.io", "library/nginx");
	look_up(data, size, "r.io:5000", "a/b/c");
	parse_answer(data, size);
	if (!auth_parse_token(data, size, &token, &seconds, &e)) {
		if (!*token || seconds < 60 || seconds > 86400)
			abort();
		auth_forget(token);
	}
	return 0;
}
