/* SPDX-License-Identifier: Apache-2.0 */
/* Logins that auth files and credential helpers keep, written as docker writes them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/json_edit.h"
#include "base/mem.h"
#include "base/replace.h"
#include "fetch/authfile.h"
#include "fetch/base64.h"
#include "fetch/helper.h"
#include "fetch/keychain.h"

#define FILE_MODE 0600
/* Others hold the lock for one small write. */
#define LOCK_MS 5000u
#define LOCK_SLICE_MS 20u
#define AUTHS "auths"

void fetch_login_release(struct fetch_login *l)
{
	k3_freep(&l->file);
	k3_freep(&l->helper);
	k3_freep(&l->other);
	k3_freep(&l->user);
}

int fetch_login_host(const char *text, char **host, struct k3_err *e)
{
	static const char https[] = "https://";
	const char *name = strncmp(text, https, sizeof(https) - 1) ? text
								   : text + sizeof(https) - 1;
	size_t n = strlen(name);
	struct oci_ref r = { 0 };

	if (n && name[n - 1] == '/')
		n--;
	if (strcmp(text, "https://index.docker.io/v1/") != 0 && memchr(name, '/', n)) {
		k3_fail(e, K3_USAGE, "\"%.128s\" is not the host of a registry", text);
		return k3_hint(e,
			       "HOST or HOST:PORT, as in front of an image's name; Docker Hub is "
			       "docker.io");
	}
	K3_AUTO_FREE char *ref = k3_xasprintf("%.*s/x", (int)strcspn(name, "/"), name);

	if (oci_ref_parse(ref, &r, e))
		return -1;
	/* a word without a dot is no host in front of an image's name */
	bool hub = !strcmp(r.host, "docker.io");
	bool known = !hub || !strncmp(ref, "docker.io/", 10) ||
		     !strncmp(ref, "index.docker.io/", 16);

	if (known)
		*host = k3_xstrdup(r.host);
	oci_ref_release(&r);
	if (known)
		return 0;
	k3_fail(e, K3_USAGE, "\"%.128s\" is not the host of a registry", text);
	return k3_hint(e, "in front of an image's name it needs a dot or a port: %.64s:443", text);
}

/* ---- one auth file, while nobody else of us writes it ----------------------------------- */

struct authfile {
	struct k3_place place;
	struct k3_buf text, made;
	struct words {
		char **items; /* keys of AUTHS */
		size_t n, cap;
	} keys;
	const char *host; /* whose keys, NULL = all */
};

static void wipe_buf(struct k3_buf *b)
{
	if (b->p)
		explicit_bzero(b->p, b->cap);
	k3_buf_release(b);
}

static void authfile_close(struct authfile *f)
{
	k3_place_release(&f->place);
	wipe_buf(&f->text);
	wipe_buf(&f->made);
	for (size_t i = 0; i < f->keys.n; i++)
		free(f->keys.items[i]);
	free(f->keys.items);
}

#define AUTO_FILE __attribute__((cleanup(authfile_close)))
#define NO_FILE                                                                                    \
	((struct authfile){ .place = { .dir = -1 },                                                \
			    .text = K3_BUF(AUTHFILE_MAX),                                          \
			    .made = K3_BUF(AUTHFILE_MAX) })

static int lock(const struct authfile *f, struct k3_cancel *c, struct k3_err *e)
{
	uint64_t end = k3_now_ms() + LOCK_MS;

	while (flock(f->place.dir, LOCK_EX | LOCK_NB)) {
		/* a file system without locks: nobody can wait for anybody */
		if (errno != EWOULDBLOCK && errno != EINTR)
			return 0;
		if (k3_now_ms() > end)
			return k3_fail(e, K3_BUSY,
				       "another program keeps the directory of %s locked",
				       f->place.path);
		if (k3_cancel_sleep(c, LOCK_SLICE_MS, e))
			return -1;
	}
	return 0;
}

static bool add_key(void *arg, const char *key, const struct k3_json *v)
{
	struct authfile *f = arg;

	(void)v;
	if (f->host && !authfile_key_is(key, f->host))
		return true;
	f->keys.items = k3_xgrow(f->keys.items, f->keys.n, &f->keys.cap, sizeof(char *));
	f->keys.items[f->keys.n++] = k3_xstrdup(key);
	return true;
}

static int authfile_open(struct authfile *f, const char *path, const char *host,
			 struct k3_cancel *c, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;

	f->host = host;
	if (k3_place_open(path, &f->place, e) || lock(f, c, e))
		return -1;
	/* at once, since growing leaves copies behind */
	if (k3_buf_reserve(&f->text, f->text.max, e) || k3_buf_reserve(&f->made, f->made.max, e))
		return -1;
	if (k3_read_file(f->place.dir, f->place.name, &f->text, e)) {
		if (e->code == K3_NOTFOUND)
			return 0;
		return k3_wrap(e, "auth file %s", f->place.path);
	}
	if (!f->text.len)
		return 0;
	if (k3_json_parse(f->text.p, f->text.len, &doc, e)) {
		k3_hint(e, "mend it, or give another --authfile: it is not written to");
		return k3_wrap(e, "auth file %s", f->place.path);
	}
	k3_json_each(k3_json_get(k3_json_root(doc), AUTHS), add_key, f);
	return 0;
}

/* What was made becomes the text. */
static void turn(struct authfile *f)
{
	struct k3_buf made = f->made;

	f->made = f->text;
	f->text = made;
}

static int drop(struct authfile *f, const char *key, struct k3_err *e)
{
	if (k3_json_drop(f->text.p, f->text.len, AUTHS, key, &f->made, e))
		return k3_wrap(e, "auth file %s", f->place.path);
	turn(f);
	return 0;
}

static int authfile_write(const struct authfile *f, struct k3_err *e)
{
	return k3_place_write(&f->place, f->text.p, f->text.len, FILE_MODE, e);
}

static int helper_of(const struct authfile *f, const char *host, struct authfile_entry *x,
		     struct k3_err *e)
{
	if (!f->text.len || !authfile_parse_helper(f->text.p, f->text.len, host, x, e))
		return 0;
	return k3_wrap(e, "auth file %s", f->place.path);
}

static struct keychain_item item_of(const struct fetch_opts *o, const struct authfile_entry *x)
{
	return (struct keychain_item){ .helper = x->helper,
				       .server = x->server,
				       .limit_ms = credentials_limit_ms(o),
				       .cancel = o->cancel };
}

/* ---- which file, and which others ------------------------------------------------------- */

static char *choose_file(const struct fetch_opts *o, bool *named, struct k3_err *e)
{
	const char *given = o->auth_file ? o->auth_file : getenv("REGISTRY_AUTH_FILE");

	*named = given && *given;
	char *path = *named ? k3_xstrdup(given) : authfile_docker_path();

	if (!path) {
		k3_fail(e, K3_USAGE, "there is no home directory for an auth file");
		k3_hint(e, "give --authfile FILE");
	}
	return path;
}

/* Who is found for the registry now, if that is from elsewhere than the file given. */
static void find_other(const struct fetch_opts *o, const char *host, struct fetch_login *l)
{
	struct credential who __attribute__((cleanup(credential_release))) = { 0 };
	struct fetch_opts plain = *o;
	struct k3_err ignored;

	plain.creds = NULL;
	if (credentials_find(&plain, NULL, host, "", &who, &ignored) || !who.source)
		return;
	if (strncmp(who.source, l->file, strlen(l->file)) != 0)
		l->other = K3_STEAL(who.source);
}

/* ---- the calls -------------------------------------------------------------------------- */

int fetch_login_find(const struct fetch_opts *o, const char *host, struct fetch_login *out,
		     struct k3_err *e)
{
	struct credential who __attribute__((cleanup(credential_release))) = { 0 };

	*out = (struct fetch_login){ 0 };
	if (credentials_find(o, NULL, host, "", &who, e))
		return -1;
	if (!who.source) {
		k3_fail(e, K3_AUTH, "no credentials for %s", host);
		return who.note ? k3_hint(e, "%s", who.note) : k3_hint(e, "k3simg login %s", host);
	}
	out->file = K3_STEAL(who.source);
	out->user = who.user ? K3_STEAL(who.user) : k3_xstrdup("<token>");
	return 0;
}

static int put(struct authfile *f, const char *host, const struct k3_json_pair *pairs, size_t n,
	       struct k3_err *e)
{
	const char *key = authfile_docker_key(host);

	if (k3_json_set(f->text.p, f->text.len, AUTHS, key, pairs, n, &f->made, e))
		return k3_wrap(e, "auth file %s", f->place.path);
	turn(f);
	/* the same registry by another name would still be found */
	for (size_t i = 0; i < f->keys.n; i++)
		if (strcmp(f->keys.items[i], key) != 0 && drop(f, f->keys.items[i], e))
			return -1;
	return authfile_write(f, e);
}

int fetch_login_store(const struct fetch_opts *o, const char *host, const char *user,
		      const char *password, struct fetch_login *out, struct k3_err *e)
{
	AUTO_FILE struct authfile f = NO_FILE;
	struct authfile_entry x __attribute__((cleanup(authfile_entry_release))) = { 0 };
	bool named;

	*out = (struct fetch_login){ 0 };
	K3_AUTO_FREE char *path = choose_file(o, &named, e);

	if (!path || authfile_open(&f, path, host, o->cancel, e) || helper_of(&f, host, &x, e))
		return -1;
	if (x.helper) {
		const struct keychain_item item = item_of(o, &x);

		if (keychain_store(&item, user, password, e))
			return k3_wrap(e, "%s: %s", path, x.where);
		/* docker leaves a sign that there is something to be logged out from */
		if (put(&f, host, NULL, 0, e))
			return -1;
		out->helper = k3_xasprintf(HELPER_PREFIX "%s", x.helper);
	} else {
		struct credential who = { .user = k3_xstrdup(user),
					  .password = k3_xstrdup(password) };
		char *basic = credential_basic(&who);
		const struct k3_json_pair auth = { "auth", strchr(basic, ' ') + 1 };
		int rc = put(&f, host, &auth, 1, e);

		credential_wipe(&basic);
		credential_release(&who);
		if (rc)
			return -1;
	}
	out->file = K3_STEAL(path);
	out->user = k3_xstrdup(user);
	if (!named)
		find_other(o, host, out);
	return 0;
}

/* The registry by the name that the file has for it. */
static int erase_kept(const struct fetch_opts *o, const struct authfile *f, const char *key,
		      bool *had, struct k3_err *e)
{
	struct authfile_entry x __attribute__((cleanup(authfile_entry_release))) = { 0 };

	if (helper_of(f, key, &x, e))
		return -1;
	if (!x.helper)
		return 0;
	const struct keychain_item item = item_of(o, &x);

	return keychain_erase(&item, had, e) ? k3_wrap(e, "%s: %s", f->place.path, x.where) : 0;
}

/* "https://r.io/v1/" is r.io. */
static char *host_of_key(const char *key)
{
	const char *scheme = strstr(key, "://");
	const char *name = scheme ? scheme + 3 : key;
	char *host = k3_xstrndup(name, strcspn(name, "/"));

	if (!authfile_key_is(key, "docker.io"))
		return host;
	free(host);
	return k3_xstrdup("docker.io");
}

static int erase_all(const struct fetch_opts *o, struct authfile *f, size_t *erased,
		     struct k3_err *e)
{
	for (size_t i = 0; i < f->keys.n; i++) {
		K3_AUTO_FREE char *host = host_of_key(f->keys.items[i]);
		bool had = false;

		if (erase_kept(o, f, host, &had, e))
			return -1;
	}
	*erased = f->keys.n;
	return *erased ? drop(f, NULL, e) : 0;
}

static int erase_one(const struct fetch_opts *o, struct authfile *f, const char *host,
		     size_t *erased, struct k3_err *e)
{
	bool had = false;

	if (erase_kept(o, f, host, &had, e))
		return -1;
	for (size_t i = 0; i < f->keys.n; i++)
		if (drop(f, f->keys.items[i], e))
			return -1;
	*erased = had || f->keys.n;
	return 0;
}

int fetch_login_erase(const struct fetch_opts *o, const char *host, struct fetch_login *out,
		      size_t *erased, struct k3_err *e)
{
	AUTO_FILE struct authfile f = NO_FILE;
	bool named;

	*out = (struct fetch_login){ 0 };
	K3_AUTO_FREE char *path = choose_file(o, &named, e);

	*erased = 0;
	if (!path)
		return -1;
	/* a directory for it is made to store something only */
	if (access(path, F_OK) && (errno == ENOENT || errno == ENOTDIR)) {
		out->file = K3_STEAL(path);
		return 0;
	}
	if (authfile_open(&f, path, host, o->cancel, e))
		return -1;
	if (host ? erase_one(o, &f, host, erased, e) : erase_all(o, &f, erased, e))
		return -1;
	if (f.keys.n && authfile_write(&f, e))
		return -1;
	out->file = K3_STEAL(path);
	if (!named && host)
		find_other(o, host, out);
	return 0;
}
