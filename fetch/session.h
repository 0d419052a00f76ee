/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: the run and one thread's part of it. */
#ifndef K3_FETCH_SESSION_H
#define K3_FETCH_SESSION_H

#include "base/buf.h"
#include "base/thread.h"
#include "fetch/fetch.h"
#include "fetch/http.h"

/* Bytes of an error answer that are read for its message. */
#define SESSION_NOTE_MAX (16u << 10)

/* An Authorization that a registry has accepted for a repository. */
struct auth_token {
	struct auth_token *next;
	char *host, *repo; /* repo "" = all of them (Basic) */
	char *value;       /* "Bearer …" or "Basic …" */
	uint64_t until_ms; /* monotonic; 0 = for ever */
};

struct host;     /* fetch/hosts.c */
struct endpoint; /* fetch/endpoints.h */
struct endpoints;
struct keychain; /* fetch/keychain.c */

struct fetch {
	struct fetch_opts o; /* strings are ours, zeros replaced by the defaults */
	unsigned unreachable_attempts;
	struct k3_buf ca; /* --ca-file and the system's bundle; used when not empty */
	bool ca_loaded;
	const char *ca_dir;         /* SSL_CERT_DIR */
	struct k3_monitor *monitor; /* guards all below, and ca */
	bool started;               /* libcurl is */
	struct auth_token *tokens;  /* kept until the end */
	struct host *hosts;
	struct registry *registry; /* o.registry, or one that knows no file */
	struct endpoints *endpoints;
	unsigned nendpoints;
	size_t nwarnings; /* of the registry, told so far */
	char **keys;      /* what was told or learnt once: see endpoints.c */
	size_t nkeys, keys_cap;
	struct keychain *keychain; /* has a monitor of its own */
};

struct fetch_session {
	struct fetch *f;
	struct http *http;
	struct k3_buf note;  /* body of the last answer that was not 2xx */
	uint64_t random;     /* state of the jitter */
	uint64_t give_up_ms; /* monotonic: when the running request is out of time; 0 = never */
	/* what the last failed try says about trying again */
	uint64_t retry_after_ms;
	enum http_fault fault;
	const struct endpoint *ep; /* on whose behalf requests are made now */
	uint64_t sources;          /* endpoints that sent bytes of the last blob, by id */
};

#endif
