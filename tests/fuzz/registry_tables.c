/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registries.yaml and, behind a first byte 'T', CRI's tables, into endpoints.  Behind an 'R': a
 * regular expression, a newline and a text.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "registry/regex.h"
#include "registry/tables.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_up(const struct tables *t, const char *host, bool any)
{
	struct registry_list warnings = { 0 };
	struct registry_host h = { .name = k3_xstrdup(host) };
	struct k3_err e = { 0 };
	bool found;
	char *repo;

	if (tables_find(t, any, &warnings, &h, &found, &e)) {
		if (!e.code || !e.msg[0])
			abort();
	} else if (found != (h.n > 0) || h.n > REGISTRY_ENDPOINTS_MAX) {
		abort();
	}
	for (size_t i = 0; i < h.n; i++)
		if (!registry_rewrite(&h.endpoints[i], "library/nginx", &repo, &e))
			free(repo);
	const struct table_config *c = tables_auth(t, host);

	if (c && !c->auth_from.file)
		abort();
	endpoints_release(&h);
	list_release(&warnings);
}

static void match(const uint8_t *data, size_t size)
{
	K3_AUTO_FREE char *pattern = k3_xstrndup((const char *)data, size);
	char *text = strchr(pattern, '\n');
	struct regex *re;
	struct k3_err e;

	if (text)
		*text++ = '\0';
	if (regex_new(pattern, &re, &e))
		return;
	free(regex_replace_all(re, text && strlen(text) < 500 ? text : "library/nginx", "$1x${2}",
			       2000));
	regex_free(re);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct registry_list warnings = { 0 };
	struct tables t = { .file = k3_xstrdup("file") };
	struct k3_err e = { 0 };
	const struct reader r = { .file = "file", .warnings = &warnings, .e = &e };
	bool toml = size && data[0] == 'T';
	int rc = 0;

	if (size && data[0] == 'R')
		match(data + 1, size - 1);
	else
		rc = toml ? cri_toml_parse(data + 1, size - 1, &r, &t)
			  : registries_yaml_parse(data, size, &r, &t);
	if (rc && (!e.code || !e.msg[0]))
		abort();
	if (!rc) {
		look_up(&t, "docker.io", false);
		look_up(&t, "a.test:5000", false);
		look_up(&t, "a.test", true);
	}
	tables_release(&t);
	list_release(&warnings);
	return 0;
}
