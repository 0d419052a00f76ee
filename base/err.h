/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one error type of the program.
 *
 * It lives on the caller's stack (or inside a result), never allocates and may be
 * copied.  Convention everywhere: a fallible function returns 0 or -1 and takes the
 * error last; it is filled on -1 and untouched on 0.  Callers add context while they
 * unwind:  if (f(x, e)) return k3_wrap(e, "layer %s", d);
 */
#ifndef K3_BASE_ERR_H
#define K3_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define K3_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define K3_MUST __attribute__((warn_unused_result))

/* The code decides behaviour (retry, exit status); the text is for people. */
enum k3_code {
	K3_OK = 0,
	K3_USAGE,       /* the caller's words do not parse: reference, option, list file */
	K3_NOTFOUND,    /* image, tag, blob or file is not there */
	K3_AUTH,        /* 401/403, or no usable credentials */
	K3_NET,         /* no connection, timeout, TLS, 429, 5xx after all retries */
	K3_PROTO,       /* the registry answered something that is not the protocol */
	K3_FORMAT,      /* content does not parse: JSON, tar, gzip, zstd */
	K3_DIGEST,      /* size, digest or diff ID differs */
	K3_PLATFORM,    /* no manifest for the wanted platform */
	K3_UNSAFE,      /* content tries to leave its root or is malicious by form */
	K3_LIMIT,       /* content exceeds one of our named limits */
	K3_UNSUPPORTED, /* well-formed but of a kind we do not know (algorithm, media type) */
	K3_STORE,       /* the containerd root is unusable: not one, unknown schema, corrupt */
	K3_BUSY,        /* somebody else holds the store */
	K3_NOSPC,       /* no space, no inodes, quota */
	K3_IO,          /* any other failing system call */
	K3_NOMEM,
	K3_CANCELLED, /* interrupted by the user */
	K3_BUG,       /* a broken promise of our own */
};

#define K3_ERR_MSG_MAX 512
#define K3_ERR_HINT_MAX 192

struct k3_err {
	enum k3_code code;
	int sys;                    /* errno that caused it, or 0 */
	bool retry;                 /* set by fetch/ only: the same request may succeed later */
	char msg[K3_ERR_MSG_MAX];   /* outermost context first; control bytes escaped */
	char hint[K3_ERR_HINT_MAX]; /* what to do next, or "" */
};

/* Fills *e with a fresh error.  Always returns -1. */
int k3_fail(struct k3_err *e, enum k3_code code, const char *fmt, ...) K3_PRINTF(3, 4);

/*
 * As k3_fail, with ": <strerror>" appended.  errnum is passed by value, read right after
 * the failing call.  ENOSPC/EDQUOT become K3_NOSPC, EROFS K3_STORE, ENOMEM K3_NOMEM, all
 * others K3_IO.
 */
int k3_fail_sys(struct k3_err *e, int errnum, const char *fmt, ...) K3_PRINTF(3, 4);

/* Puts "context: " in front of the message and keeps the code.  Always returns -1. */
int k3_wrap(struct k3_err *e, const char *fmt, ...) K3_PRINTF(2, 3);

/* Sets the hint unless one is there already (the innermost knows best).  Returns -1. */
int k3_hint(struct k3_err *e, const char *fmt, ...) K3_PRINTF(2, 3);

/*
 * Lets compilers and analysers, which see one file at a time, know that these never return 0:
 * what a failed call leaves unset is then seen not to be used.
 */
static inline int k3_minus_one(int rc)
{
	(void)rc;
	return -1;
}
#define k3_fail(...) k3_minus_one(k3_fail(__VA_ARGS__))
#define k3_fail_sys(...) k3_minus_one(k3_fail_sys(__VA_ARGS__))
#define k3_wrap(...) k3_minus_one(k3_wrap(__VA_ARGS__))
#define k3_hint(...) k3_minus_one(k3_hint(__VA_ARGS__))

/* The documented exit status of a code (k3simg(1), EXIT STATUS). */
int k3_exit_status(enum k3_code code);

/* Stable machine word of a code for JSON output, e.g. "NOT_FOUND". */
const char *k3_code_name(enum k3_code code);

/*
 * The UTF-8 character at s: its length and code point; 0 when there is none (a stray or missing
 * byte, an overlong form, a surrogate).  s is terminated; the NUL is a character of length 1.
 */
size_t k3_utf8(const char *s, uint32_t *code);
/* C0, DEL and C1 controls, and what changes the direction or the line of text around it. */
bool k3_is_control(uint32_t code);

/*
 * Copies src to dst (size bytes, always terminated) with the bytes of such characters, and those
 * that are no UTF-8, as \xNN, so that foreign text cannot drive a terminal and every
 * message is text.  Truncates with "...", between two characters.
 */
void k3_escape(char *dst, size_t size, const char *src);

#endif
