/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of certs.d: hosts.toml of containerd, or certificates as docker lays them out. */
#ifndef K3_REGISTRY_HOSTS_TOML_H
#define K3_REGISTRY_HOSTS_TOML_H

#include "registry/endpoint.h"

/*
 * Appends the endpoints of a hosts.toml to *h (whose name is set), the registry itself last.
 * dir: what its relative paths are below.  Reads no other file.  K3_FORMAT, K3_LIMIT.
 */
K3_MUST int hosts_toml_parse(const void *text, size_t n, const struct reader *r, const char *dir,
			     struct registry_host *h);

/*
 * Looks for the registry's directory below root: "host_port_", "host:port", then, when `any`,
 * "_default" only.  *found = there is one, and *h has its endpoints.  K3_FORMAT, K3_LIMIT, K3_IO.
 */
K3_MUST int certs_dir_find(const char *root, bool any, struct registry_list *warnings,
			   struct registry_host *h, bool *found, struct k3_err *e);

#endif
