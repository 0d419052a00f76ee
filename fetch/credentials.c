/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/credentials.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#define AUTH_FILE_MAX (1u << 20)
#define SECRET_MAX (64u << 10)

/* ---- base64 --------------------------------------------------------------------------- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int base64_digit(char c)
{
	const char *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : -1;
}

/* Text without NUL inside, or NULL.  Padding may be missing, as in old docker files. */
static char *base64_decode(const char *s)
{
	size_t n = strcspn(s, "="), len = 0;
	unsigned bits = 0, have = 0;

	if (n > SECRET_MAX || s[n + strspn(s + n, "=")] || n % 4 == 1)
		return NULL;
	char *out = k3_xcalloc(n + 1, 1);

	for (size_t i = 0; i < n; i++) {
		int v = base64_digit(s[i]);

		if (v < 0) {
			free(out);
			return NULL;
		}
		bits = bits << 6 | (unsigned)v;
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[len++] = (char)(bits >> have & 0xff);
		}
	}
	/* docker pads some passwords with NULs */
	while (len && !out[len - 1])
		len--;
	if (memchr(out, 0, len))
		k3_freep(&out);
	return out;
}

static char *base64_encode(const char *s, size_t n)
{
	const uint8_t *p = (const uint8_t *)s;
	char *out = k3_xcalloc(n / 3 + 2, 4), *o = out;

	for (size_t i = 0; i < n; i += 3) {
		unsigned v = (unsigned)p[i] << 16;

		if (i + 1 < n)
			v |= (unsigned)p[i + 1] << 8;
		if (i + 2 < n)
			v |= p[i + 2];
		*o++ = digits[v >> 18];
		*o++ = digits[v >> 12 & 63];
		*o++ = (char)(i + 1 < n ? digits[v >> 6 & 63] : '=');
		*o++ = (char)(i + 2 < n ? digits[v & 63] : '=');
	}
	*o = '\0';
	return out;
}

/* ---- one credential ------------------------------------------------------------------- */

static void wipe(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	k3_freep(s);
}

void credential_release(struct credential *c)
{
	wipe(&c->user);
	wipe(&c->password);
	wipe(&c->identity);
	k3_freep(&c->source);
	k3_freep(&c->note);
}

char *credential_basic(const struct credential *c)
{
	char *pair = k3_xasprintf("%s:%s", c->user, c->password);
	char *b64 = base64_encode(pair, strlen(pair));
	char *out = k3_xasprintf("Basic %s", b64);

	wipe(&pair);
	wipe(&b64);
	return out;
}

static bool has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

int credentials_check(const char *creds, struct k3_err *e)
{
	if (*creds && *creds != ':' && !has_control(creds))
		return 0;
	k3_fail(e, K3_USAGE, "credentials need a user name and no control characters");
	return k3_hint(e, "write them as USER:PASSWORD");
}

static void split_pair(const char *pair, struct credential *out)
{
	size_t n = strcspn(pair, ":");

	out->user = k3_xstrndup(pair, n);
	out->password = k3_xstrdup(pair[n] ? pair + n + 1 : "");
}

/* ---- one auth file -------------------------------------------------------------------- */

struct search {
	const char *host, *repo;
	const struct k3_json *best;
	size_t best_len;
};

/* docker's and containers' ways to write Docker Hub */
static bool is_docker_hub(const char *key, size_t n)
{
	static const char *const names[] = { "docker.io", "index.docker.io", "registry-1.docker.io",
					     "registry.docker.io" };

	for (size_t i = 0; i < K3_ARRAY_LEN(names); i++)
		if (n == strlen(names[i]) && !memcmp(key, names[i], n))
			return true;
	return false;
}

/* How many bytes of "host/repo" the key covers; 0 = it is not for us. */
static size_t key_covers(const struct search *s, const char *key)
{
	const char *scheme = strstr(key, "://");
	size_t host_len = strlen(s->host);

	if (scheme)
		key = scheme + 3;
	size_t n = strcspn(key, "/");

	if (!(n == host_len && !memcmp(key, s->host, n)) &&
	    !(!strcmp(s->host, "docker.io") && is_docker_hub(key, n)))
		return 0;
	const char *path = key + n;
	size_t len = strlen(path);

	while (len && path[len - 1] == '/')
		len--;
	/* https://index.docker.io/v1/ and the like name the API, not a repository */
	if (scheme || !len || (len == 3 && (!memcmp(path, "/v1", 3) || !memcmp(path, "/v2", 3))))
		return host_len;
	path++, len--;
	if (strncmp(path, s->repo, len) != 0 || (s->repo[len] && s->repo[len] != '/'))
		return 0;
	return host_len + 1 + len;
}

static bool has_secret(const struct k3_json *v)
{
	static const char *const members[] = { "auth", "identitytoken", "username" };

	for (size_t i = 0; i < K3_ARRAY_LEN(members); i++) {
		const char *s = k3_json_str(k3_json_get(v, members[i]));

		if (s && *s)
			return true;
	}
	return false;
}

static bool try_key(void *arg, const char *key, const struct k3_json *v)
{
	struct search *s = arg;
	size_t covers = key_covers(s, key);

	/* an empty entry only says that a credential helper has it */
	if (covers > s->best_len && has_secret(v)) {
		s->best = v;
		s->best_len = covers;
	}
	return true;
}

static bool try_helper(void *arg, const char *key, const struct k3_json *v)
{
	struct search *s = arg;

	if (k3_json_str(v) && key_covers(s, key))
		s->best = v;
	return !s->best;
}

static int read_entry(const struct k3_json *v, struct credential *out, struct k3_err *e)
{
	const char *identity = k3_json_str(k3_json_get(v, "identitytoken"));
	const char *auth = k3_json_str(k3_json_get(v, "auth"));
	const char *user = k3_json_str(k3_json_get(v, "username"));
	const char *password = k3_json_str(k3_json_get(v, "password"));

	if (auth && *auth) {
		char *pair = base64_decode(auth);

		if (!pair || !strchr(pair, ':')) {
			wipe(&pair);
			return k3_fail(e, K3_FORMAT,
				       "an \"auth\" is not the base64 of user:password");
		}
		split_pair(pair, out);
		wipe(&pair);
	} else if (user && *user) {
		out->user = k3_xstrdup(user);
		out->password = k3_xstrdup(password ? password : "");
	}
	if (identity && *identity && strlen(identity) <= SECRET_MAX)
		out->identity = k3_xstrdup(identity);
	return 0;
}

int credentials_parse(const void *json, size_t n, const char *host, const char *repo,
		      struct credential *out, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct search s = { .host = host, .repo = repo };

	if (k3_json_parse(json, n, &doc, e))
		return -1;
	const struct k3_json *root = k3_json_root(doc);

	if (!k3_json_is_obj(root))
		return k3_fail(e, K3_FORMAT, "not a JSON object");
	k3_json_each(k3_json_get(root, "auths"), try_key, &s);
	if (s.best)
		return read_entry(s.best, out, e);
	k3_json_each(k3_json_get(root, "credHelpers"), try_helper, &s);
	const char *store = k3_json_str(k3_json_get(root, "credsStore"));

	if (s.best || (store && *store))
		out->note = k3_xstrdup("keeps credentials in a credential helper, "
				       "which is not supported yet");
	return 0;
}

/* ---- the files ------------------------------------------------------------------------ */

static int look_into(const char *path, bool named, const char *host, const char *repo,
		     struct credential *out, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(AUTH_FILE_MAX);
	int rc = k3_read_file(AT_FDCWD, path, &text, e);

	if (rc && e->code == K3_NOTFOUND) {
		if (!named)
			return 0;
		e->code = K3_USAGE;
	}
	if (!rc) {
		rc = credentials_parse(text.p, text.len, host, repo, out, e);
		if (rc)
			k3_wrap(e, "auth file %s", path);
	}
	if (text.p)
		explicit_bzero(text.p, text.len);
	if (rc && !named) {
		credential_release(out);
		out->note = k3_xasprintf("%s is unusable", path);
		return 0;
	}
	if (rc)
		return -1;
	if (out->user || out->identity) {
		out->source = k3_xstrdup(path);
	} else if (out->note) {
		K3_AUTO_FREE char *note = K3_STEAL(out->note);

		out->note = k3_xasprintf("%s %s", path, note);
	}
	return 0;
}

static char *containers_path(void)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	if (dir && *dir)
		return k3_xasprintf("%s/containers/auth.json", dir);
	return k3_xasprintf("/run/containers/%u/auth.json", (unsigned)getuid());
}

static char *docker_path(void)
{
	const char *dir = getenv("DOCKER_CONFIG"), *home = getenv("HOME");

	if (dir && *dir)
		return k3_xasprintf("%s/config.json", dir);
	return home && *home ? k3_xasprintf("%s/.docker/config.json", home) : NULL;
}

int credentials_find(const struct fetch_opts *o, const char *host, const char *repo,
		     struct credential *out, struct k3_err *e)
{
	const char *named = o->auth_file ? o->auth_file : getenv("REGISTRY_AUTH_FILE");

	*out = (struct credential){ 0 };
	if (o->creds) {
		split_pair(o->creds, out);
		out->source = k3_xstrdup("--creds");
		return 0;
	}
	if (named && *named)
		return look_into(named, true, host, repo, out, e);
	K3_AUTO_FREE char *containers = containers_path();
	K3_AUTO_FREE char *docker = docker_path();
	struct credential first = { 0 };

	if (look_into(containers, false, host, repo, out, e))
		return -1;
	if (out->source || !docker)
		return 0;
	first = *out; /* at most a note */
	*out = (struct credential){ 0 };
	int rc = look_into(docker, false, host, repo, out, e);

	if (!rc && !out->source && !out->note)
		out->note = K3_STEAL(first.note);
	credential_release(&first);
	return rc;
}
