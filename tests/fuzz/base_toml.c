/* SPDX-License-Identifier: Apache-2.0 */
/* TOML: any bytes parse or fail, and what parsed can be walked. */
#include <stdlib.h>
#include <string.h>

#include "base/toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t walk(const struct k3_toml *v)
{
	size_t sum = 0;
	int64_t n;
	bool yes;

	if (k3_toml_str(v))
		sum += strlen(k3_toml_str(v));
	if (k3_toml_text(v))
		sum += strlen(k3_toml_text(v));
	if (k3_toml_int(v, &n) || k3_toml_bool(v, &yes))
		sum++;
	for (size_t i = 0; i < k3_toml_len(v); i++) {
		const char *key = k3_toml_key(v, i);

		if (key && k3_toml_get(v, key) != k3_toml_at(v, i))
			abort();
		sum += walk(k3_toml_at(v, i));
	}
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	K3_AUTO_TOML struct k3_toml_doc *doc = NULL;
	struct k3_err err = { 0 };

	if (k3_toml_parse(data, size, &doc, &err)) {
		if (!err.code || !err.msg[0] || doc)
			abort();
		return 0;
	}
	if (walk(k3_toml_root(doc)) > 2 * size)
		abort();
	return 0;
}
