/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP exchange at a time over libcurl, and URLs by libcurl's parser.  Knows no
 * registry, no redirect, no retry.  A struct http is single-thread.
 */
#ifndef K3_FETCH_HTTP_H
#define K3_FETCH_HTTP_H

#include <stdint.h>
#include <time.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/thread.h"
#include "fetch/origin.h"

#define HTTP_HEAD_MAX (64u << 10) /* bytes of all header fields of one answer */
#define HTTP_URL_MAX (16u << 10)  /* signed storage URLs have been seen with 4 KiB */

/* Returned by a sink that has seen enough: ends the exchange without an error. */
#define HTTP_ENOUGH 1

/* What broke, as far as behaviour depends on it. */
enum http_fault {
	HTTP_FAULT_NONE,
	HTTP_FAULT_UNREACHABLE, /* refused, unroutable or unknown host: known at once */
	HTTP_FAULT_SILENT,      /* time ran out before the first byte of an answer */
	HTTP_FAULT_NOT_TLS,     /* the peer does not speak TLS */
	HTTP_FAULT_OTHER,
};

struct http_head {
	unsigned status;
	struct k3_buf fields; /* NUL-terminated "Name: value" one after the other */
	uint64_t length;      /* Content-Length */
	bool has_length;
};

/* The nth field of that name (case ignored) without surrounding blanks, or NULL. */
const char *http_field(const struct http_head *h, const char *name, unsigned nth);

typedef int http_head_fn(void *arg, const struct http_head *h, struct k3_err *e);
typedef int http_data_fn(void *arg, const void *p, size_t n, struct k3_err *e);

/* Of one exchange, beside what holds for all of them. */
struct http_tls {
	const struct k3_buf *ca; /* PEM instead of that of struct http_opts, or NULL */
	const char *cert, *key;  /* client certificate, PEM files; or NULL.  key: or in cert */
	bool insecure;           /* the peer may be anybody */
};

struct http_req {
	const char *url;
	const struct http_tls *tls; /* or NULL */
	const char *const *fields;  /* more "Name: value" to send, ended by NULL; or NULL */
	const char *authorization;  /* the field's value, or NULL */
	const char *accept;         /* or NULL */
	const char *form;           /* makes it a POST of this urlencoded form */
	uint64_t range_from;        /* first byte asked for */
	uint64_t range_to;          /* last byte asked for, 0 = all; both 0 = no Range */
	bool head;
	unsigned connect_ms, answer_ms; /* limits: to connect; then for the whole header */
	http_head_fn *on_head;          /* once, before any data; 0, -1 or HTTP_ENOUGH */
	http_data_fn *on_data;          /* the same */
	void *arg;
};

struct http_opts {
	const char *user_agent;
	struct k3_cancel *cancel;
	unsigned stall_ms;       /* of the body: no byte, or less than ... */
	unsigned speed_min;      /* ... this many bytes a second, for so long breaks it */
	const struct k3_buf *ca; /* PEM instead of the system's bundle, or NULL; shared */
	const char *ca_dir;      /* instead of the system's directory, or NULL */
	bool bundle_first;       /* the PEM is likely to be needed: --ca-file is in it */
};

struct http;

/* Copies nothing: strings, buffer and cancel flag outlive it. */
K3_MUST int http_new(const struct http_opts *o, struct http **out, struct k3_err *e);
void http_free(struct http *h);

/*
 * Runs one exchange; 0 whatever the status is.  *head is valid until the next call.
 * K3_NET (e->retry says whether again makes sense), K3_PROTO, K3_LIMIT (head too large),
 * the cancel reason, or the error of a sink untouched.
 */
K3_MUST int http_run(struct http *h, const struct http_req *rq, const struct http_head **head,
		     struct k3_err *e);
enum http_fault http_fault(const struct http *h); /* of the last run */

/* PEM file that libcurl trusts by default, or NULL. */
const char *http_system_ca(void);
/* Has it a directory of certificates by default? */
bool http_system_ca_dir(void);

/* Process-wide start and end of libcurl; counted, mt. */
K3_MUST int http_global_init(struct k3_err *e);
void http_global_cleanup(void);

/* "https://host[:port]" in lower case, without the scheme's own port.  K3_PROTO. */
K3_MUST int http_url_origin(const char *url, char out[HTTP_ORIGIN_MAX], struct k3_err *e);
/*
 * Resolves a Location against the URL it came from.  Only http and https, no user part.
 * K3_PROTO.  Caller frees *out.
 */
K3_MUST int http_url_join(const char *base, const char *location, char **out, struct k3_err *e);
/* Replaces *url by itself with key=value (escaped) appended to its query. */
K3_MUST int http_url_add_query(char **url, const char *key, const char *value, struct k3_err *e);
/* Escapes a form value.  Caller frees. */
char *http_form_escape(const char *value);
/* Seconds since the epoch of an HTTP date; false when it is none. */
bool http_date(const char *s, time_t *out);

#endif
