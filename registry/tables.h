/* SPDX-License-Identifier: Apache-2.0 */
/* Mirrors and configs by the name of a registry, as registries.yaml and CRI's tables have them. */
#ifndef K3_REGISTRY_TABLES_H
#define K3_REGISTRY_TABLES_H

#include "registry/endpoint.h"

#define TABLES_MAX 10000u /* entries of one file: bounds the time of a look-up */

/* mirrors.NAME */
struct table_mirror {
	char *name;
	unsigned line;
	struct registry_list endpoints;
	struct registry_list patterns, withs; /* rewrites, in pairs */
};

/* configs.NAME */
struct table_config {
	char *name;
	char *ca, *cert, *key;
	bool skip_verify, has_tls;
	unsigned tls_line;
	/* auth */
	char *user, *password, *auth, *identity_token;
	struct registry_from auth_from; /* file is NULL without one */
};

struct tables {
	char *file;
	struct table_mirror *mirrors;
	size_t nmirrors, mirrors_cap;
	struct table_config *configs;
	size_t nconfigs, configs_cap;
	struct registry_list headers; /* "Name: value", for every registry */
	struct registry_list config_path;
	unsigned config_path_line;
	bool mirrors_only; /* of a registry that has an entry with endpoints */
};

void tables_release(struct tables *t); /* wipes secrets */
/* The entry of that name, made when it is new.  K3_LIMIT. */
K3_MUST int tables_mirror(struct tables *t, const char *name, struct table_mirror **out,
			  struct k3_err *e);
K3_MUST int tables_config(struct tables *t, const char *name, struct table_config **out,
			  struct k3_err *e);
/* A pair of a rewrite, tried for its syntax. */
K3_MUST int mirror_add_rewrite(struct table_mirror *m, const char *pattern, const char *with,
			       struct k3_err *e);

/*
 * Appends the endpoints of h->name to *h, the registry itself last but with mirrors_only: what is
 * named, or with `any` what is said of "*".  *found = the tables say something.  K3_FORMAT,
 * K3_LIMIT.
 */
K3_MUST int tables_find(const struct tables *t, bool any, struct registry_list *warnings,
			struct registry_host *h, bool *found, struct k3_err *e);
const struct table_config *tables_auth(const struct tables *t, const char *host);

/* Adds what a registries.yaml says.  Reads no file.  K3_FORMAT, K3_LIMIT. */
K3_MUST int registries_yaml_parse(const void *text, size_t n, const struct reader *r,
				  struct tables *t);
/* Adds what the CRI plugin's part of a containerd configuration says, versions 1 to 3. */
K3_MUST int cri_toml_parse(const void *text, size_t n, const struct reader *r, struct tables *t);

#endif
