/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the images of a registry may be asked for, and what the run has learnt about each place:
 * mt, by the run's monitor.
 */
#ifndef K3_FETCH_ENDPOINTS_H
#define K3_FETCH_ENDPOINTS_H

#include "fetch/session.h"
#include "registry/registry.h"

/* How many endpoints of a run are told apart when one of them is to blame for wrong bytes. */
#define ENDPOINTS_TOLD_APART 64u

struct endpoint {
	const struct registry_endpoint *conf;
	unsigned id;         /* of the run */
	const char **fields; /* conf->headers, ended by NULL */
	/* inside the monitor */
	bool bad;  /* sent wrong bytes: not asked again */
	bool gone; /* could not be reached while another one delivered */
	bool warned;
	bool ready; /* the files below have been read */
	struct k3_buf ca;
};

struct endpoints {
	struct endpoints *next;
	char *host; /* of a reference */
	struct endpoint *items;
	size_t n;
};

/*
 * Those of a registry, in order; made, and the configuration read, when it is first asked for.
 * The list itself never changes.  Errors as registry_find.
 */
K3_MUST int endpoints_of(struct fetch *f, const char *host, const struct endpoints **out,
			 struct k3_err *e);
void endpoints_free(struct fetch *f);

/*
 * Reads its CA files.  K3_USAGE, with the place in the configuration, for one that cannot be used.
 * Tells the user, once, that nobody verifies it.
 */
K3_MUST int endpoint_prepare(struct fetch *f, const struct endpoint *ep, struct k3_err *e);
/* How to talk to `origin` on behalf of it: certificate and leniency are for its own host only. */
void endpoint_tls(const struct fetch *f, const struct endpoint *ep, const char *origin,
		  struct http_tls *out);

/* Is it worth asking: not bad, not gone, and it has not refused this repository? */
bool endpoint_usable(struct fetch *f, const struct endpoint *ep, const char *repo);
void endpoint_set_gone(struct fetch *f, const struct endpoint *ep);
void endpoint_set_denied(struct fetch *f, const struct endpoint *ep, const char *repo);
/* Marks those with these ids (bits) that are mirrors as bad; true when there was one. */
bool endpoints_blame(struct fetch *f, uint64_t ids, const struct k3_err *why);

/* Tells the user, through fetch_opts.on_notice. */
void notice(const struct fetch *f, const char *fmt, ...) K3_PRINTF(2, 3);
/* The same, but once in a run for each key. */
void notice_once(struct fetch *f, const char *key, const char *fmt, ...) K3_PRINTF(3, 4);

#endif
