/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/authfile.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "fetch/base64.h"
#include "fetch/helper.h"

#define DOCKER_HUB "docker.io"
#define DOCKER_HUB_KEY "https://index.docker.io/v1/"

void authfile_entry_release(struct authfile_entry *x)
{
	k3_freep(&x->helper);
	k3_freep(&x->server);
	k3_freep(&x->where);
	credential_release(&x->own);
}

/* ---- keys ----------------------------------------------------------------------------- */

struct search {
	const char *host, *repo;
	const struct k3_json *best;
	size_t best_len;
	const char *best_key;
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
	    !(!strcmp(s->host, DOCKER_HUB) && is_docker_hub(key, n)))
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

bool authfile_key_is(const char *key, const char *host)
{
	const struct search s = { .host = host, .repo = "" };

	return key_covers(&s, key) == strlen(host);
}

const char *authfile_docker_key(const char *host)
{
	return strcmp(host, DOCKER_HUB) != 0 ? host : DOCKER_HUB_KEY;
}

/* ---- auths ---------------------------------------------------------------------------- */

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

static int read_entry(const struct k3_json *v, struct credential *out, struct k3_err *e)
{
	const char *identity = k3_json_str(k3_json_get(v, "identitytoken"));
	const char *auth = k3_json_str(k3_json_get(v, "auth"));
	const char *user = k3_json_str(k3_json_get(v, "username"));
	const char *password = k3_json_str(k3_json_get(v, "password"));

	if (auth && *auth) {
		char *pair = base64_decode(auth);

		if (!pair || !strchr(pair, ':')) {
			credential_wipe(&pair);
			return k3_fail(e, K3_FORMAT,
				       "an \"auth\" is not the base64 of user:password");
		}
		credential_split(pair, out);
		credential_wipe(&pair);
	} else if (user && *user) {
		out->user = k3_xstrdup(user);
		out->password = k3_xstrdup(password ? password : "");
	}
	if (identity && *identity && strlen(identity) <= BASE64_SECRET_MAX)
		out->identity = k3_xstrdup(identity);
	return 0;
}

/* ---- helpers -------------------------------------------------------------------------- */

static bool try_helper(void *arg, const char *key, const struct k3_json *v)
{
	struct search *s = arg;
	size_t covers = key_covers(s, key);

	if (covers > s->best_len && k3_json_str(v)) {
		s->best = v;
		s->best_len = covers;
		s->best_key = key;
	}
	return true;
}

static int find_helper(const struct k3_json *root, const char *host, const char *repo,
		       struct authfile_entry *out, struct k3_err *e)
{
	struct search s = { .host = host, .repo = repo };

	k3_json_each(k3_json_get(root, "credHelpers"), try_helper, &s);
	const char *name = k3_json_str(s.best ? s.best : k3_json_get(root, "credsStore"));

	if (!name || !*name)
		return 0;
	out->general = !s.best;
	out->where = s.best ? k3_xasprintf("credHelpers: \"%s\"", s.best_key)
			    : k3_xstrdup("credsStore");
	/* docker looks up, and so tells, the very text of the key */
	out->server = k3_xstrdup(s.best ? s.best_key : authfile_docker_key(host));
	if (!helper_name_ok(name))
		return k3_fail(e, K3_FORMAT, "%s: \"%.64s\" is no name of a credential helper",
			       out->where, name);
	out->helper = k3_xstrdup(name);
	return 0;
}

static int parse(const void *json, size_t n, struct k3_json_doc **doc, struct k3_err *e)
{
	if (k3_json_parse(json, n, doc, e))
		return -1;
	return k3_json_is_obj(k3_json_root(*doc)) ? 0 : k3_fail(e, K3_FORMAT, "not a JSON object");
}

int authfile_parse(const void *json, size_t n, const char *host, const char *repo,
		   struct authfile_entry *out, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct search s = { .host = host, .repo = repo };

	*out = (struct authfile_entry){ 0 };
	if (parse(json, n, &doc, e) || find_helper(k3_json_root(doc), host, repo, out, e))
		return -1;
	k3_json_each(k3_json_get(k3_json_root(doc), "auths"), try_key, &s);
	return s.best ? read_entry(s.best, &out->own, e) : 0;
}

int authfile_parse_helper(const void *json, size_t n, const char *host, struct authfile_entry *out,
			  struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;

	*out = (struct authfile_entry){ 0 };
	if (parse(json, n, &doc, e))
		return -1;
	return find_helper(k3_json_root(doc), host, "", out, e);
}

/* ---- where they are ------------------------------------------------------------------- */

char *authfile_containers_path(void)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	if (dir && *dir)
		return k3_xasprintf("%s/containers/auth.json", dir);
	return k3_xasprintf("/run/containers/%u/auth.json", (unsigned)getuid());
}

char *authfile_docker_path(void)
{
	const char *dir = getenv("DOCKER_CONFIG"), *home = getenv("HOME");

	if (dir && *dir)
		return k3_xasprintf("%s/config.json", dir);
	return home && *home ? k3_xasprintf("%s/.docker/config.json", home) : NULL;
}
