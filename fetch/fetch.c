/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/fetch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "fetch/auth.h"
#include "fetch/credentials.h"
#include "fetch/endpoints.h"
#include "fetch/hosts.h"
#include "fetch/keychain.h"
#include "fetch/session.h"

#define CA_MAX (8u << 20)

static char *dup_or_null(const char *s)
{
	return s ? k3_xstrdup(s) : NULL;
}

static void set_default(unsigned *value, unsigned instead)
{
	if (!*value)
		*value = instead;
}

int fetch_new(const struct fetch_opts *o, struct fetch **out, struct k3_err *e)
{
	if (o->creds && credentials_check(o->creds, e))
		return -1;
	const struct registry_opts nowhere = { .nowhere = true };
	struct fetch *f = k3_xcalloc(1, sizeof(*f));

	f->o = *o;
	f->o.creds = dup_or_null(o->creds);
	f->o.auth_file = dup_or_null(o->auth_file);
	f->o.ca_file = dup_or_null(o->ca_file);
	f->o.user_agent = k3_xstrdup(o->user_agent ? o->user_agent : "k3simg");
	f->unreachable_attempts = o->attempts ? o->attempts : FETCH_UNREACHABLE_ATTEMPTS;
	set_default(&f->o.attempts, FETCH_ATTEMPTS);
	set_default(&f->o.timeout_ms, FETCH_TIMEOUT_MS);
	set_default(&f->o.connect_ms, f->o.timeout_ms / FETCH_CONNECTS + 1);
	set_default(&f->o.stall_ms, f->o.timeout_ms / FETCH_STALLS + 1);
	set_default(&f->o.backoff_ms, FETCH_BACKOFF_MS);
	set_default(&f->o.backoff_max_ms, FETCH_BACKOFF_MAX_MS);
	f->ca = K3_BUF(CA_MAX);
	f->monitor = k3_monitor_new();
	f->registry = o->registry ? o->registry : registry_new(&nowhere);
	f->keychain = keychain_new();
	*out = f;
	return 0;
}

static void free_const(const char *s)
{
	free((void *)(uintptr_t)s);
}

void fetch_free(struct fetch *f)
{
	if (!f)
		return;
	for (struct auth_token *t = f->tokens, *next; t; t = next) {
		next = t->next;
		auth_forget(t->value);
		free(t->host);
		free(t->repo);
		free(t);
	}
	hosts_free(f);
	endpoints_free(f);
	if (f->registry != f->o.registry)
		registry_free(f->registry);
	keychain_free(f->keychain);
	if (f->o.creds)
		explicit_bzero((void *)(uintptr_t)f->o.creds, strlen(f->o.creds));
	free_const(f->o.creds);
	free_const(f->o.auth_file);
	free_const(f->o.ca_file);
	free_const(f->o.user_agent);
	k3_buf_release(&f->ca);
	k3_monitor_free(f->monitor);
	if (f->started)
		http_global_cleanup();
	free(f);
}

static int read_ca(struct fetch *f, const char *path, struct k3_err *e)
{
	if (!k3_read_file(AT_FDCWD, path, &f->ca, e))
		return k3_buf_add(&f->ca, "\n", 1, e);
	e->code = K3_USAGE;
	return k3_wrap(e, "CA certificates");
}

/*
 * libcurl's CAINFO replaces the system's certificates, so ours and theirs are joined.
 * SSL_CERT_FILE and SSL_CERT_DIR stand for the system's, as in OpenSSL's own programs.
 */
static int read_all_ca(struct fetch *f, struct k3_err *e)
{
	const char *env = getenv("SSL_CERT_FILE");
	bool named = env && *env;
	const char *system = named ? env : http_system_ca();

	k3_buf_reset(&f->ca);
	if (!f->o.ca_file && !named)
		return 0;
	if (f->o.ca_file && read_ca(f, f->o.ca_file, e))
		return -1;
	if (f->o.ca_file && !memmem(f->ca.p, f->ca.len, "-----BEGIN ", 11))
		return k3_fail(e, K3_USAGE, "%s: no PEM certificate in it", f->o.ca_file);
	/* a machine without a bundle trusts --ca-file alone */
	if (!named && (!system || access(system, R_OK)))
		return 0;
	return read_ca(f, system, e);
}

/* What a run that needs no network is spared: libcurl's start and the CA files. */
static int start(struct fetch *f, struct k3_err *e)
{
	const char *dir = getenv("SSL_CERT_DIR");
	K3_WITH_MONITOR(f->monitor);

	if (!f->started && http_global_init(e))
		return -1;
	f->started = true;
	if (f->ca_loaded)
		return 0;
	if (read_all_ca(f, e))
		return -1;
	f->ca_dir = dir && *dir ? dir : NULL;
	f->ca_loaded = true;
	return 0;
}

int fetch_session_new(struct fetch *f, struct fetch_session **out, struct k3_err *e)
{
	if (start(f, e))
		return -1;
	const struct http_opts o = {
		.user_agent = f->o.user_agent,
		.cancel = f->o.cancel,
		.stall_ms = f->o.stall_ms,
		.speed_min = FETCH_SPEED_MIN,
		.ca = f->ca.len ? &f->ca : NULL,
		.ca_dir = f->ca_dir,
		.bundle_first = f->o.ca_file != NULL,
	};
	struct fetch_session *s = k3_xcalloc(1, sizeof(*s));

	if (http_new(&o, &s->http, e)) {
		free(s);
		return -1;
	}
	s->f = f;
	s->note = K3_BUF(SESSION_NOTE_MAX);
	if (getrandom(&s->random, sizeof(s->random), GRND_NONBLOCK) != sizeof(s->random))
		s->random = k3_now_ms();
	s->random |= 1;
	*out = s;
	return 0;
}

void fetch_session_free(struct fetch_session *s)
{
	if (!s)
		return;
	http_free(s->http);
	k3_buf_release(&s->note);
	free(s);
}
