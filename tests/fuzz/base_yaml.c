/* SPDX-License-Identifier: Apache-2.0 */
/* YAML: any bytes parse or fail, and what parsed can be walked. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Aliases make more ways to a value than there are bytes: after so many steps it is enough. */
#define STEPS_MAX 10000

static void walk(const struct k3_yaml *v, unsigned *steps)
{
	bool yes;

	if (++*steps > STEPS_MAX)
		return;
	if (!v || !k3_yaml_line(v))
		abort();
	if (k3_yaml_bool(v, &yes) && !k3_yaml_str(v))
		abort();
	for (size_t i = 0; i < k3_yaml_len(v) && *steps <= STEPS_MAX; i++) {
		const char *key = k3_yaml_key(v, i);

		if (!key != (k3_yaml_kind(v) != K3_YAML_MAPPING))
			abort();
		if (key && k3_yaml_get(v, key) != k3_yaml_at(v, i))
			abort();
		walk(k3_yaml_at(v, i), steps);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	K3_AUTO_YAML struct k3_yaml_doc *doc = NULL;
	struct k3_err err = { 0 };
	unsigned steps = 0;

	if (k3_yaml_parse(data, size, &doc, &err)) {
		if (!err.code || !err.msg[0] || doc)
			abort();
		return 0;
	}
	for (size_t i = 0; i < k3_yaml_docs(doc); i++)
		walk(k3_yaml_root(doc, i), &steps);
	return 0;
}
