/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration of this machine says about a registry: where its images may be asked for
 * and how, in the order in which containerd would.  Files are read, never written; no network.
 *
 * Follows containerd's docs/hosts.md and core/remotes/docker/config (hosts.toml and the layout of
 * docker's certs.d), the registry tables of its CRI plugin, and k3s's private registry
 * configuration (registries.yaml).  docs/registry.md has each setting and what becomes of it.
 */
#ifndef K3_REGISTRY_REGISTRY_H
#define K3_REGISTRY_REGISTRY_H

#include "base/err.h"

#define REGISTRY_FILE_MAX (1u << 20) /* bytes of one file: real ones have a few KiB */
/* Of one registry; fetch/ remembers in 64 bits who sent what. */
#define REGISTRY_ENDPOINTS_MAX 32u
#define REGISTRY_LIST_MAX 100u /* certificates, headers, rewrites, warnings kept */

/* What an endpoint may be asked for. */
#define REGISTRY_PULL 1u
#define REGISTRY_RESOLVE 2u
#define REGISTRY_PUSH 4u

/* Where files are looked for.  Strings are copied. */
struct registry_opts {
	const char *hosts_dir;  /* --hosts-dir: the only certs.d, or NULL */
	const char *registries; /* --registries: the only registries.yaml, or NULL */
	/* With neither: the places of the root. */
	const char *k3s_agent;           /* k3s's agent directory, or NULL for a containerd */
	const char *const *config_files; /* containerd's config.toml and what it imports, or NULL */
	size_t nconfig_files;
	/* k3s's disable-default-registry-endpoint: where its registries.yaml names mirrors of a
	 * registry, the registry itself is not asked. */
	bool mirrors_only;
	bool nowhere;        /* no files at all: each registry is asked itself */
	const char *sysroot; /* before /etc, for tests; NULL = "" */
};

/* Which words decided something.  file is NULL when nothing did: the default. */
struct registry_from {
	char *file;
	unsigned line; /* 0 = the whole file */
	char *entry;   /* the table or key, or NULL */
};

struct registry_list {
	char **items;
	size_t n, cap;
};

struct registry_rewrite {
	char *pattern, *with;
	struct regex *regex;
};

/* One place to ask. */
struct registry_endpoint {
	/* "https://mirror:5000/v2": the path of a request goes on behind it with "/<repository>/".
	 */
	char *url;
	char *host;       /* "mirror:5000" as credentials name it; "docker.io" for Docker Hub */
	bool open_scheme; /* nothing says http or https: https, unless the caller knows better */
	bool mirror;      /* not the registry itself: wants to be told whose image it is (ns=) */
	unsigned caps;
	struct registry_list ca; /* PEM files to trust besides the system's */
	char *cert, *key;        /* client certificate, or NULL; key NULL = in the same file */
	bool skip_verify;
	struct registry_list headers; /* "Name: value" */
	struct registry_rewrite *rewrites;
	size_t nrewrites, rewrites_cap;
	struct registry_from from, tls_from;
};

/* All places of one registry, in order. */
struct registry_host {
	char *name;
	struct registry_endpoint *endpoints;
	size_t n, cap;
};

/* Credentials written into registries.yaml or config.toml; borrowed from the registry. */
struct registry_auth {
	const char *user, *password; /* or NULL */
	const char *auth;            /* base64 of user:password, or NULL */
	const char *identity_token;  /* or NULL */
	const struct registry_from *from;
};

struct registry;

/* Reads nothing yet: a run that needs no network is spared the files. */
struct registry *registry_new(const struct registry_opts *o) __attribute__((returns_nonnull));
void registry_free(struct registry *r); /* NULL is a no-op; wipes secrets */

/*
 * The endpoints of a registry named as in a normalised reference; there is at least one unless
 * the files take away every one.  The first call reads the files.  *out is the registry's own and
 * stays as it is.  One thread at a time.
 * K3_FORMAT "FILE: line N…" for a file that does not parse or says what cannot be, K3_LIMIT,
 * K3_NOTFOUND for a file that was named and is missing, K3_IO.
 */
K3_MUST int registry_find(struct registry *r, const char *host, const struct registry_host **out,
			  struct k3_err *e);

/* What was read so far and is odd: unknown keys and the like.  NULL behind the last one. */
const char *registry_warning(const struct registry *r, size_t i);

/*
 * Credentials for an endpoint's host, found in the files that registry_find has read: false when
 * there are none.  Any thread, after the first registry_find.
 */
bool registry_auth(const struct registry *r, const char *host, struct registry_auth *out);

/*
 * The repository as an endpoint calls it: the first rewrite that changes it is applied, as in
 * k3s.  Caller frees.  K3_FORMAT when the outcome is no repository name.
 */
K3_MUST int registry_rewrite(const struct registry_endpoint *ep, const char *repo, char **out,
			     struct k3_err *e);

#endif
