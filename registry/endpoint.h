/* SPDX-License-Identifier: Apache-2.0 */
/* Building what registry.h shows: endpoints, their addresses, lists and warnings. */
#ifndef K3_REGISTRY_ENDPOINT_H
#define K3_REGISTRY_ENDPOINT_H

#include "registry/registry.h"

/* Where a file is being read: for messages, and for the endpoints it makes. */
struct reader {
	const char *file;
	struct registry_list *warnings;
	struct k3_err *e;
};

/* "FILE: line N: …".  Returns -1. */
int reader_fail(const struct reader *r, unsigned line, const char *fmt, ...) K3_PRINTF(3, 4);
#define reader_fail(...) k3_minus_one(reader_fail(__VA_ARGS__))
void reader_warn(const struct reader *r, unsigned line, const char *fmt, ...) K3_PRINTF(3, 4);
/* Warns about a key that is not among the known ones (NULL ends them). */
void reader_check_key(const struct reader *r, unsigned line, const char *table, const char *key,
		      const char *const *known);

/* Takes value.  K3_LIMIT at REGISTRY_LIST_MAX. */
K3_MUST int list_add(struct registry_list *l, char *value, struct k3_err *e);
void list_release(struct registry_list *l);
/* dir/path, or path when that is absolute. */
char *path_below(const char *dir, const char *path);

void from_set(struct registry_from *f, const char *file, unsigned line, const char *entry);
void from_release(struct registry_from *f);

/* How a URL of a file is read. */
enum endpoint_path {
	ENDPOINT_V2,      /* hosts.toml: the path, and /v2 unless it ends with that */
	ENDPOINT_AS_IS,   /* override_path */
	ENDPOINT_DEFAULT, /* k3s and CRI tables: as it is, and /v2 when it is empty */
};

/*
 * Adds an endpoint to *h: everything allowed, nothing special.  url may lack the scheme: https,
 * or with `local_http` http for a local host with a port but 443, as k3s and CRI have it.
 * K3_FORMAT when it is no URL of a registry, K3_LIMIT.
 */
struct endpoint_url {
	const char *text;
	enum endpoint_path path;
	bool local_http;
};

K3_MUST int endpoint_add(struct registry_host *h, const struct endpoint_url *url,
			 struct registry_endpoint **out, struct k3_err *e);
/* The registry itself as it is when no file speaks of it. */
struct registry_endpoint *endpoint_add_own(struct registry_host *h);
/* Whether an endpoint of that list is the same address. */
bool endpoint_seen(const struct registry_host *h, const struct registry_endpoint *ep);
void endpoint_drop_last(struct registry_host *h);
/* Compiles and adds a rewrite.  K3_FORMAT, K3_LIMIT. */
K3_MUST int endpoint_add_rewrite(struct registry_endpoint *ep, const char *pattern,
				 const char *with, struct k3_err *e);
/* "Name: value" of what may be a header: K3_FORMAT for anything else. */
K3_MUST int endpoint_add_header(struct registry_endpoint *ep, const char *name, const char *value,
				struct k3_err *e);
void endpoints_release(struct registry_host *h);

/* Whether a key of a file ("host", "host:port", a URL) means that host; Docker Hub has names. */
bool host_is(const char *key, const char *host);
/* localhost, 127.0.0.0/8, [::1], with or without a port. */
bool host_is_local(const char *host);

#endif
