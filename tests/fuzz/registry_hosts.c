/* SPDX-License-Identifier: Apache-2.0 */
/* hosts.toml into endpoints: what parsed can be asked. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "registry/hosts_toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct registry_endpoint *ep)
{
	struct k3_err e;
	char *repo;

	if (!ep->caps || (strncmp(ep->url, "http://", 7) != 0 && strncmp(ep->url, "https://", 8)) ||
	    strpbrk(ep->url, " \r\n?#") || !*ep->host || strpbrk(ep->host, "@/"))
		abort();
	for (size_t i = 0; i < ep->headers.n; i++)
		if (strpbrk(ep->headers.items[i], "\r\n") || !strstr(ep->headers.items[i], ": "))
			abort();
	if (registry_rewrite(ep, "library/nginx", &repo, &e))
		return;
	if (!*repo || *repo == '/' || strstr(repo, ".."))
		abort();
	free(repo);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct registry_list warnings = { 0 };
	struct registry_host h = { .name = k3_xstrdup("docker.io") };
	struct k3_err e = { 0 };
	const struct reader r = { .file = "hosts.toml", .warnings = &warnings, .e = &e };

	if (hosts_toml_parse(data, size, &r, "/dir", &h)) {
		if (!e.code || !e.msg[0])
			abort();
	} else {
		if (!h.n || h.n > REGISTRY_ENDPOINTS_MAX)
			abort();
		for (size_t i = 0; i < h.n; i++)
			look(&h.endpoints[i]);
	}
	endpoints_release(&h);
	list_release(&warnings);
	return 0;
}
