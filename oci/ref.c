/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar and the defaults are those of github.com/distribution/reference; where its
 * versions differ (what counts towards the 255 bytes of a name) the strict one is taken, so
 * that every containerd accepts what is accepted here.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "oci/oci.h"

#define DEFAULT_HOST "docker.io"
#define LEGACY_HOST "index.docker.io"
#define DEFAULT_DIR "library/"
#define DEFAULT_TAG "latest"
#define ID_DIGITS 64
#define SHOWN_MAX 120 /* bytes of the user's text repeated in a message */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_alnum(char c)
{
	return is_digit(c) || is_lower(c) || is_upper(c);
}

static bool has_upper(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is_upper(s[i]))
			return true;
	return false;
}

/* 64 hex digits alone are an image ID for everybody else. */
static bool is_image_id(const char *s)
{
	return strspn(s, "0123456789abcdef") == ID_DIGITS && !s[ID_DIGITS];
}

/* Bytes of the separator at s: one of ".", "_", "__" or any number of "-"; 0 = none. */
static size_t separator(const char *s, size_t n)
{
	size_t dashes = 0;

	if (n && s[0] == '.')
		return 1;
	if (n && s[0] == '_')
		return n > 1 && s[1] == '_' ? 2 : 1;
	while (dashes < n && s[dashes] == '-')
		dashes++;
	return dashes;
}

static bool component_ok(const char *s, size_t n)
{
	size_t i = 0;

	for (;;) {
		size_t start = i;

		while (i < n && (is_lower(s[i]) || is_digit(s[i])))
			i++;
		if (i == start)
			return false;
		if (i == n)
			return true;
		size_t sep = separator(s + i, n - i);

		if (!sep)
			return false;
		i += sep;
	}
}

static bool repo_ok(const char *s)
{
	for (;;) {
		size_t n = strcspn(s, "/");

		if (!component_ok(s, n))
			return false;
		if (!s[n])
			return true;
		s += n + 1;
	}
}

static bool label_ok(const char *s, size_t n)
{
	if (!n || !is_alnum(s[0]) || !is_alnum(s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_alnum(s[i]) && s[i] != '-')
			return false;
	return true;
}

/* Length of "[hex:...]" at s, or 0. */
static size_t ipv6_literal(const char *s)
{
	size_t n = strspn(s + 1, "0123456789abcdefABCDEF:");

	return n && s[1 + n] == ']' ? n + 2 : 0;
}

static bool host_ok(const char *s)
{
	size_t name = s[0] == '[' ? ipv6_literal(s) : strcspn(s, ":");
	const char *port = s + name;

	if (!name)
		return false;
	if (*port && (*port != ':' || !port[1] || port[1 + strspn(port + 1, "0123456789")]))
		return false;
	if (s[0] == '[')
		return true;
	/*
	 * A first part such as "my_host.lan" is no domain name, but the reference grammar lets
	 * it pass as a path component and containerd's resolver then uses it as the host.
	 */
	if (!*port && component_ok(s, name))
		return true;
	for (const char *label = s; label <= s + name;) {
		size_t n = strcspn(label, ".:");

		if (!label_ok(label, n))
			return false;
		label += n + 1;
	}
	return true;
}

static bool tag_ok(const char *s)
{
	size_t n = 0;

	for (; s[n]; n++)
		if (!is_alnum(s[n]) && s[n] != '_' && (n == 0 || (s[n] != '.' && s[n] != '-')))
			return false;
	return n > 0 && n <= OCI_TAG_MAX;
}

/* Sets host and repo from "[host/]path", path without tag and digest. */
static void split_name(const char *name, struct oci_ref *r)
{
	const char *slash = strchr(name, '/');
	size_t n = slash ? (size_t)(slash - name) : 0;
	K3_AUTO_FREE char *first = k3_xstrndup(name, n);
	bool legacy = !strcmp(first, LEGACY_HOST);
	bool is_host = legacy || strpbrk(first, ".:") || !strcmp(first, "localhost") ||
		       has_upper(first, n);
	const char *path = slash && is_host ? slash + 1 : name;

	r->host = k3_xstrdup(path != name && !legacy ? first : DEFAULT_HOST);
	bool official = !strcmp(r->host, DEFAULT_HOST) && !strchr(path, '/');

	r->repo = k3_xasprintf("%s%s", official ? DEFAULT_DIR : "", path);
}

/* What can be said before the parts are known. */
static int check_whole(const char *s, struct k3_err *e)
{
	const char *scheme = strstr(s, "://");

	if (!*s)
		return k3_fail(e, K3_USAGE, "it is empty");
	if (strlen(s) > OCI_REF_MAX)
		return k3_fail(e, K3_USAGE, "it is longer than %d bytes", OCI_REF_MAX);
	if (s[strcspn(s, " \t\r\n\v\f")]) {
		k3_fail(e, K3_USAGE, "it has white space in it");
		return k3_hint(e, "give each image as a word of its own, without spaces around it");
	}
	if (scheme) {
		k3_fail(e, K3_USAGE, "it starts with a scheme");
		return k3_hint(e, "write the bare name: %.*s", SHOWN_MAX, scheme + 3);
	}
	if (is_image_id(s)) {
		k3_fail(e, K3_USAGE, "64 hex digits are an image ID, which no registry knows");
		return k3_hint(e, "name the image, or write <repository>@sha256:%s", s);
	}
	return 0;
}

static int check_name(const struct oci_ref *r, struct k3_err *e)
{
	if (!host_ok(r->host)) {
		k3_fail(e, K3_USAGE, "\"%.*s\" is not a registry host", SHOWN_MAX, r->host);
		return k3_hint(e, "a host is a name, an IPv4 address or an [IPv6] address, with "
				  ":port where needed");
	}
	if (has_upper(r->repo, strlen(r->repo))) {
		K3_AUTO_FREE char *low = k3_xstrdup(r->repo);

		for (char *p = low; *p; p++)
			if (is_upper(*p))
				*p = (char)(*p - 'A' + 'a');
		k3_fail(e, K3_USAGE, "repository name \"%.*s\" must be lower-case", SHOWN_MAX,
			r->repo);
		return k3_hint(e, "did you mean %s/%.*s?", r->host, SHOWN_MAX, low);
	}
	if (!repo_ok(r->repo)) {
		k3_fail(e, K3_USAGE, "\"%.*s\" is not a repository name", SHOWN_MAX, r->repo);
		return k3_hint(e, "its parts are a-z and 0-9, joined by '.', '_', '__' or '-', and "
				  "separated by '/'");
	}
	if (strlen(r->host) + 1 + strlen(r->repo) > OCI_REPO_MAX)
		return k3_fail(e, K3_USAGE, "host and repository are longer than %d bytes",
			       OCI_REPO_MAX);
	return 0;
}

/* Takes "@digest" and ":tag" off the end of s.  A colon of the host comes before a slash. */
static int take_suffixes(char *s, struct oci_ref *r, struct k3_err *e)
{
	char *at = strchr(s, '@');
	char *slash = strchr(s, '/');

	if (at) {
		*at = '\0';
		if (oci_digest_parse(at + 1, &r->digest, e)) {
			e->code = K3_USAGE;
			return -1;
		}
		r->has_digest = true;
		slash = strchr(s, '/');
	}
	char *colon = strchr(slash ? slash : s, ':');

	if (colon) {
		*colon = '\0';
		if (!tag_ok(colon + 1)) {
			k3_fail(e, K3_USAGE, "\"%.*s\" is not a tag", SHOWN_MAX, colon + 1);
			return k3_hint(e,
				       "a tag is at most %d letters, digits, '_', '.' and '-', "
				       "not starting with '.' or '-'",
				       OCI_TAG_MAX);
		}
		r->tag = k3_xstrdup(colon + 1);
	} else if (!at) {
		r->tag = k3_xstrdup(DEFAULT_TAG);
	}
	return 0;
}

static int parse(const char *s, struct oci_ref *r, struct k3_err *e)
{
	if (check_whole(s, e))
		return -1;
	K3_AUTO_FREE char *name = k3_xstrdup(s);

	if (take_suffixes(name, r, e))
		return -1;
	split_name(name, r);
	return check_name(r, e);
}

int oci_ref_parse(const char *s, struct oci_ref *out, struct k3_err *e)
{
	struct oci_ref r = { 0 };

	if (parse(s, &r, e)) {
		oci_ref_release(&r);
		return k3_wrap(e, "image reference \"%.*s%s\"", SHOWN_MAX, s,
			       strlen(s) > SHOWN_MAX ? "..." : "");
	}
	*out = r;
	return 0;
}

void oci_ref_release(struct oci_ref *r)
{
	free(r->host);
	free(r->repo);
	free(r->tag);
	*r = (struct oci_ref){ 0 };
}

char *oci_ref_with_digest(const struct oci_ref *r, const struct oci_digest *d)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(d, text);
	return k3_xasprintf("%s/%s@%s", r->host, r->repo, text);
}

char *oci_ref_name(const struct oci_ref *r)
{
	if (r->has_digest)
		return oci_ref_with_digest(r, &r->digest);
	return k3_xasprintf("%s/%s:%s", r->host, r->repo, r->tag);
}

char *oci_ref_full(const struct oci_ref *r)
{
	char text[OCI_DIGEST_TEXT_MAX];

	if (!r->has_digest || !r->tag)
		return oci_ref_name(r);
	oci_digest_format(&r->digest, text);
	return k3_xasprintf("%s/%s:%s@%s", r->host, r->repo, r->tag, text);
}
