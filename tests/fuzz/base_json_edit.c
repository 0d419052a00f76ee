/* SPDX-License-Identifier: Apache-2.0 */
/* Documents of others, edited: the member is there, then gone, and all else as it was. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct k3_json_pair pairs[] = { { "auth", "Ym9i" } };

/* What the member "r.io" of "auths" says; NULL without one. */
static const char *look(const struct k3_buf *b, struct k3_json_doc **doc)
{
	struct k3_err e;

	if (k3_json_parse(b->p, b->len, doc, &e))
		abort();
	const struct k3_json *auths = k3_json_get(k3_json_root(*doc), "auths");

	return k3_json_str(k3_json_get(k3_json_get(auths, "r.io"), "auth"));
}

static bool count(void *arg, const char *key, const struct k3_json *v)
{
	(void)key, (void)v;
	++*(size_t *)arg;
	return true;
}

/* Does it have members, and "r.io" is none of them?  Then that can come and go without a trace. */
static bool has_others(const uint8_t *data, size_t size)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct k3_err e;
	size_t n = 0;

	if (!size || k3_json_parse(data, size, &doc, &e))
		return false;
	const struct k3_json *auths = k3_json_get(k3_json_root(doc), "auths");

	k3_json_each(auths, count, &n);
	return n && !k3_json_get(auths, "r.io");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	K3_AUTO_BUF struct k3_buf set = K3_BUF(4u << 20), again = K3_BUF(4u << 20);
	K3_AUTO_BUF struct k3_buf gone = K3_BUF(4u << 20);
	K3_AUTO_JSON struct k3_json_doc *with = NULL, *without = NULL;
	struct k3_err e;

	/* one value more may be one too many */
	if (size > K3_JSON_VALUES_MAX ||
	    k3_json_set(data, size, "auths", "r.io", pairs, 1, &set, &e))
		return 0;
	const char *said = look(&set, &with);

	if (!said || strcmp(said, "Ym9i") != 0)
		abort();
	if (k3_json_set(set.p, set.len, "auths", "r.io", pairs, 1, &again, &e) ||
	    again.len != set.len || memcmp(again.p, set.p, set.len) != 0)
		abort();
	if (k3_json_drop(set.p, set.len, "auths", "r.io", &gone, &e) || look(&gone, &without))
		abort();
	if (has_others(data, size) && (gone.len != size || memcmp(gone.p, data, size) != 0))
		abort();
	return 0;
}
