/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registry to bytes: a pull client of the OCI distribution-spec 1.1 on libcurl.
 *
 * struct fetch is the shared part of one run (options, credentials, token cache): mt.
 * struct fetch_session is one thread's connections; calls block, notice the cancel flag
 * within some 100 ms, retry by themselves and return the last cause.  All sizes in bytes.
 * Messages name the host that answered and the cause; image and layer are the caller's to
 * add.  Secrets never get into them.
 */
#ifndef K3_FETCH_FETCH_H
#define K3_FETCH_FETCH_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/thread.h"
#include "oci/oci.h"

struct fetch;
struct fetch_session;
struct registry; /* registry/registry.h */

struct fetch_opts {
	bool plain_http;   /* http:// for every registry */
	const char *creds; /* "user[:password]" for every registry of this run, or NULL */
	const char
		*auth_file;  /* --authfile; NULL = REGISTRY_AUTH_FILE, then docker's config.json */
	const char *ca_file; /* PEM bundle to trust besides the system's, or NULL */
	/*
	 * Tries of one request since it last got further.  0 = FETCH_ATTEMPTS, but
	 * FETCH_UNREACHABLE_ATTEMPTS while all we hear is that the host is not there.
	 */
	unsigned attempts;
	/*
	 * A request that gets no further for this long is given up, whatever has been tried and
	 * waited for meanwhile, a Retry-After included.  0 = FETCH_TIMEOUT_MS.
	 */
	unsigned timeout_ms;
	/* Limits of one try.  0 = timeout_ms / FETCH_CONNECTS: name, connection and TLS. */
	unsigned connect_ms;
	/*
	 * Breaks a try: no whole header, or no byte of the body for this long, or less than
	 * FETCH_SPEED_MIN on average.  0 = timeout_ms / FETCH_STALLS.
	 */
	unsigned stall_ms;
	bool insecure; /* --tls-verify=false: nobody has to prove who it is */
	/*
	 * What the machine's files say of registries, or NULL: each is asked itself.  Read when a
	 * registry is first asked; outlives the run, and is its alone.
	 */
	struct registry *registry;
	unsigned backoff_ms; /* first pause, doubled each time, with jitter; 0 = FETCH_BACKOFF_MS */
	unsigned backoff_max_ms; /* 0 = FETCH_BACKOFF_MAX_MS */
	const char *user_agent;  /* NULL = "k3simg" */
	struct k3_cancel *cancel;
	/*
	 * Told about each retry (for plain progress lines); may be NULL; called on the session's
	 * thread.  what: "host/repo:tag", "host/repo@digest" or "blob digest"; attempt: number of
	 * the one that has just failed, from 1.
	 */
	void (*on_retry)(void *arg, const char *what, unsigned attempt, uint64_t wait_ms,
			 const struct k3_err *why);
	void *on_retry_arg;
	/*
	 * What the user should know although all goes well: a mirror that was passed over and why,
	 * odd settings, a limit that is near.  One line; as on_retry.
	 */
	void (*on_notice)(void *arg, const char *text);
	void *on_notice_arg;
	/* --debug-http: each request and each answer without its body and its secrets; as on_retry.
	 */
	void (*on_trace)(void *arg, const char *lines);
	void *on_trace_arg;
};

#define FETCH_ATTEMPTS 5u
/*
 * A run started before the network is up gets a second chance, somebody who mistyped a name does
 * not wait for it.
 */
#define FETCH_UNREACHABLE_ATTEMPTS 2u
/*
 * Nobody watches a preload for longer than a minute in which nothing happens.  Half of it, for one
 * try, leaves time to a proxy that has to fetch the image itself before its first byte.
 */
#define FETCH_TIMEOUT_MS 60000u
#define FETCH_STALLS 2u /* a lost connection gets a second chance within the time limit */
/* 15 s are four SYN packets: a connection that takes longer is not worth having. */
#define FETCH_CONNECTS 4u
/*
 * Bytes a second.  A line that shares a telephone modem among eight transfers is not slower; a
 * server that sends a byte now and then, to hold us, is.
 */
#define FETCH_SPEED_MIN 512u
#define FETCH_BACKOFF_MS 500u
#define FETCH_BACKOFF_MAX_MS 30000u
/*
 * Bytes by which a transfer has got further, so that it starts anew with its attempts and its
 * time: a blob costs at most size / this * attempts requests, however often it breaks.
 */
#define FETCH_PROGRESS_MIN (64u << 10)
#define FETCH_SHORT_RANGES_MAX 64u /* ranges in a row, each shorter than that, from one blob */
#define FETCH_REDIRECTS_MAX 10
#define FETCH_TOKEN_MAX (64u << 10) /* bytes of a token answer */
#define FETCH_TAG_MAX 512           /* host and ETag of an answer */

/* Copies the strings.  Reads no file, starts no library yet.  K3_USAGE for bad creds. */
K3_MUST int fetch_new(const struct fetch_opts *o, struct fetch **out, struct k3_err *e);
void fetch_free(struct fetch *f); /* after all its sessions */

/*
 * The first one starts libcurl and reads the CA files: a run that needs no network makes none.
 * K3_USAGE when --ca-file or SSL_CERT_FILE is unusable.
 */
K3_MUST int fetch_session_new(struct fetch *f, struct fetch_session **out, struct k3_err *e);
void fetch_session_free(struct fetch_session *s);

/*
 * Asks what the reference names, without the body: HEAD, or GET where the registry answers
 * HEAD without a usable digest, length or media type.  A reference with a digest needs no
 * network; media type and size stay zero then.
 * K3_NOTFOUND, K3_AUTH, K3_NET, K3_PROTO, K3_UNSUPPORTED (schema 1, or no manifest), K3_USAGE
 * and K3_FORMAT (auth file), or the reason of the cancel flag.
 */
K3_MUST int fetch_resolve(struct fetch_session *s, const struct oci_ref *r, struct oci_desc *got,
			  struct k3_err *e);

/*
 * Fetches an index or manifest, byte for byte, into *raw (emptied first; at most raw->max).
 * want = NULL: by the reference's digest or else tag; else that digest and size are enforced.
 * *got: media type (Content-Type, which must agree with a mediaType in the body; always one of
 * the four kinds), digest (verified against want, the reference's digest and
 * Docker-Content-Digest), size.
 * K3_LIMIT for a body above raw->max, K3_DIGEST, K3_FORMAT (not JSON), and as fetch_resolve.
 */
K3_MUST int fetch_document(struct fetch_session *s, const struct oci_ref *r,
			   const struct oci_desc *want, struct k3_buf *raw, struct oci_desc *got,
			   struct k3_err *e);

/* Receives the bytes of a blob in order, each exactly once.  -1 with *e ends the transfer. */
typedef int fetch_data_fn(void *arg, const void *p, size_t n, struct k3_err *e);

/*
 * Streams one blob.  `have` bytes are there already and have been added to `hash`, which was
 * made for d->digest.alg; the rest is asked for by Range (a registry that ignores Range is
 * read from the start and the known part skipped).  A broken transfer resumes where it
 * stopped.  On success size and digest are verified.  Bytes handed to fn before a failure
 * are unverified: K3_DIGEST means drop them all.  An error of fn ends the call and comes
 * back untouched.  Nothing is asked for when have = d->size.
 * The hash is read out (as new) on success and on K3_DIGEST; after any other failure it holds
 * exactly the bytes that fn has taken, so that another call may go on.
 */
K3_MUST int fetch_blob(struct fetch_session *s, const struct oci_ref *r, const struct oci_desc *d,
		       uint64_t have, struct k3_hash *hash, fetch_data_fn *fn, void *arg,
		       struct k3_err *e);

/*
 * The places that sent bytes of the last blob or part that this session fetched, one bit each; and
 * what they sent turned out to be wrong (K3_DIGEST).  Mirrors among them are named to the user and
 * not asked again in the run: true when there were any, so that the blob is worth fetching again
 * from its first byte.
 */
uint64_t fetch_sources(const struct fetch_session *s);
bool fetch_blame(struct fetch_session *s, uint64_t sources, const struct k3_err *why);

/*
 * One of the ranges in which several sessions fetch a blob.  The first range of a blob asks with
 * whole_too; the others follow once it is being answered as a range, with its tag.
 */
struct fetch_part {
	uint64_t first, end; /* bytes wanted; end is the first byte behind them */
	uint64_t at;         /* in: first byte that is missing; out: how far it came */
	bool whole_too;      /* a registry that answers with the whole blob is read to its end */
	/* "<origin> <ETag>" of an answer to another range of the blob, "" = none; then of ours */
	char tag[FETCH_TAG_MAX];
	/* out */
	bool whole;   /* the registry sends everything: fn gets the blob's bytes up to its end */
	bool refused; /* failed, and without ranges it may go better */
};

/*
 * Streams the bytes [p->at, p->end) of a blob, with the retries of fetch_blob.  p->whole is set
 * before the first byte.  Nothing is hashed: whoever joins the parts verifies the digest.  The
 * answer must be a range that starts where we asked and does not go further than we asked, of
 * a blob of d->size bytes, and with the ETag that the other parts had from that origin; else
 * K3_PROTO (K3_DIGEST for the size) with p->refused.  Every HTTP error but an authentication
 * that failed sets p->refused, too, those worth a retry only after it; with whole_too, the one
 * pause is all there is.
 */
K3_MUST int fetch_blob_part(struct fetch_session *s, const struct oci_ref *r,
			    const struct oci_desc *d, struct fetch_part *p, fetch_data_fn *fn,
			    void *arg, struct k3_err *e);

/* ---- logins ------------------------------------------------------------------------- */

/*
 * The registry as references call it: "HOST[:PORT]", also with https:// in front; Docker Hub's
 * names are docker.io.  K3_USAGE.  Caller frees.
 */
K3_MUST int fetch_login_host(const char *text, char **host, struct k3_err *e);

/*
 * Asks https://HOST/v2/ with the options of the session, and answers its challenge: with
 * fetch_opts.creds, or as a pull would.  *asked: it did want credentials; else nothing is proved.
 * K3_AUTH when they are refused, K3_PROTO when that is no registry, and as fetch_resolve.
 */
K3_MUST int fetch_login_check(struct fetch_session *s, const char *host, bool *asked,
			      struct k3_err *e);

/* Where credentials are kept.  Caller releases. */
struct fetch_login {
	char *file;   /* the auth file; of fetch_login_find the source in words */
	char *helper; /* the program that keeps the secret, or NULL: it lies in the file */
	char *other;  /* what a pull finds instead, or still: another file comes first */
	char *user;
};
void fetch_login_release(struct fetch_login *l);

/*
 * The three calls take auth_file, timeout_ms and cancel of *o and no session.  Whose credentials
 * would be used?  K3_AUTH when there are none.
 */
K3_MUST int fetch_login_find(const struct fetch_opts *o, const char *host, struct fetch_login *out,
			     struct k3_err *e);
/*
 * Stores them as docker does: in auth_file, else the file that REGISTRY_AUTH_FILE names, else
 * docker's config.json; through the credential helper that the file names for the registry, else
 * in the file, by base64.  Everything else in it stays as it is; the file is replaced, with
 * mode 0600.  K3_FORMAT when it is none, K3_AUTH for the helper, K3_BUSY, K3_IO.
 */
K3_MUST int fetch_login_store(const struct fetch_opts *o, const char *host, const char *user,
			      const char *password, struct fetch_login *out, struct k3_err *e);
/*
 * Removes them from the same file and its helper; host = NULL: all that the file has.
 * *erased: entries; 0 is no error.
 */
K3_MUST int fetch_login_erase(const struct fetch_opts *o, const char *host, struct fetch_login *out,
			      size_t *erased, struct k3_err *e);

#endif
