/* SPDX-License-Identifier: Apache-2.0 */
/* A made-up machine for the tests of registry/. */
#ifndef K3_TESTS_REGISTRY_HELP_H
#define K3_TESTS_REGISTRY_HELP_H

#include <fcntl.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "registry/registry.h"
#include "tests/unit/unit.h"

static inline void put(const char *sys, const char *name, const char *content)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s%s", sys, name);
	K3_AUTO_FREE char *dir = k3_xstrndup(path, (size_t)(strrchr(path, '/') - path));
	struct k3_err err;

	OK(k3_make_dirs(dir, 0755, &err));
	K3_AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	OK(k3_write_all(fd, content, strlen(content), path, &err));
}

/* The addresses of a registry, in one line. */
static inline void has_urls(struct registry *r, const char *host, const char *want)
{
	const struct registry_host *h = NULL;
	struct k3_err err;
	char got[2000] = "";

	OK(registry_find(r, host, &h, &err));
	for (size_t i = 0; h && i < h->n; i++) {
		size_t n = strlen(got);

		snprintf(got + n, sizeof(got) - n, "%s%s%s", i ? " " : "", h->endpoints[i].url,
			 h->endpoints[i].open_scheme ? "?" : "");
	}
	EQ_STR(got, want);
}

static inline const struct registry_endpoint *endpoint(struct registry *r, const char *host,
						       size_t i)
{
	static const struct registry_endpoint none;
	const struct registry_host *h = NULL;
	struct k3_err err;

	OK(registry_find(r, host, &h, &err));
	CHECK(h && i < h->n);
	return h && i < h->n ? &h->endpoints[i] : &none;
}

static inline bool warned(const struct registry *r, const char *part)
{
	const char *w;

	for (size_t i = 0; (w = registry_warning(r, i)) != NULL; i++)
		if (strstr(w, part))
			return true;
	return false;
}

#endif
