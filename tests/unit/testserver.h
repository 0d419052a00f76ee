/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scripted HTTP server on 127.0.0.1 for tests: a thread that answers request n with step
 * n, whatever connection it comes on.  Failed expectations are unit test failures when the
 * server is freed.  Something that is no HTTP (a TLS hello) gets what a Go server sends and
 * uses up no step.
 */
#ifndef K3_TESTS_TESTSERVER_H
#define K3_TESTS_TESTSERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fetch/fetch.h"

enum ts_end {
	TS_KEEP,    /* the connection stays open for the next request */
	TS_CLOSE,   /* closed after what was sent */
	TS_STALL,   /* open and silent for ever */
	TS_TRICKLE, /* open, and every 50 ms three bytes of a header or body */
	TS_RESET,   /* closed with RST, and what was sent may be lost */
};

/* The last step of a script has reply = NULL. */
struct ts_step {
	const char *want; /* must occur in head or body of the request, or NULL */
	const char *want_too;
	const char *refuse; /* must not occur (case matters), or NULL */
	const char *reply;  /* status line and headers without the last empty line */
	const void *body;   /* or NULL */
	size_t len;         /* 0 = strlen of body */
	bool no_length;     /* send no Content-Length */
	bool chunked;       /* send the body in chunks of 7 bytes */
	bool raw;           /* reply is sent alone and as it is */
	size_t cut;         /* send only this many bytes of the body; 0 = all */
	enum ts_end end;
};

struct ts;

struct ts *ts_start(const struct ts_step *script);
/* "127.0.0.1:port" */
const char *ts_host(const struct ts *t);
/* Gives the script to a server that was started with NULL, before the first request. */
void ts_script(struct ts *t, const struct ts_step *script);
/* Requests answered so far. */
unsigned ts_count(struct ts *t);
/* TLS hellos and other things that were no HTTP. */
unsigned ts_strangers(struct ts *t);
/* Waits until request n has arrived; false after 5 seconds. */
bool ts_wait(struct ts *t, unsigned n);
/* Stops, checks that every step was used, frees. */
void ts_free(struct ts *t);

/* A fetch session that pulls "<host of the server>/<name>" with tiny pauses. */
struct ts_client {
	struct fetch *f;
	struct fetch_session *s;
	struct oci_ref r;
	unsigned retries; /* told by on_retry */
	uint64_t waited;  /* ms, of the last one */
};

/* o may be NULL = plain HTTP, no credentials; its zero times and on_retry are filled. */
void ts_connect(struct ts_client *c, const struct ts *t, const char *name,
		const struct fetch_opts *o);
void ts_disconnect(struct ts_client *c);
/* An auth file with that text, in unit_tmpdir(); valid until the next call of either. */
const char *ts_auth_file(const char *text);

#endif
