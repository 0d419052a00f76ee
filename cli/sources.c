/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/sources.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"

#define LISTED 5u /* images in a message about what there is */
#define LIST_MAX 400

struct opened {
	enum archive_kind kind;
	char *path;
	struct archive *archive;
};

static const struct {
	const char *prefix;
	enum archive_kind kind;
} transports[] = {
	{ "oci:", ARCHIVE_OCI_DIR },
	{ "oci-archive:", ARCHIVE_OCI_TAR },
	{ "docker-archive:", ARCHIVE_DOCKER_TAR },
};

/* The index of the transport that a word begins with, or -1. */
static int transport_of(const char *word)
{
	for (size_t i = 0; i < K3_ARRAY_LEN(transports); i++)
		if (!strncmp(word, transports[i].prefix, strlen(transports[i].prefix)))
			return (int)i;
	return -1;
}

bool sources_is_archive(const char *word)
{
	return transport_of(word) >= 0;
}

int sources_check_transport(const char *word, struct k3_err *e)
{
	static const char *const others[] = {
		"docker-daemon:", "containers-storage:", "dir:/", "dir:.", "ostree:", "sif:",
		"tarball:"
	};

	for (size_t i = 0; i < K3_ARRAY_LEN(others); i++) {
		size_t n = strcspn(others[i], ":") + 1;

		if (strncmp(word, others[i], strlen(others[i])) != 0)
			continue;
		k3_fail(e, K3_USAGE, "%s: images are not read from %.*s", word, (int)n, others[i]);
		return k3_hint(e, "save it as an archive: docker save or podman save IMAGE | "
				  "k3simg ... docker-archive:-");
	}
	return 0;
}

/* ---- what there is ------------------------------------------------------------------ */

/* "nginx:1, app:2 (sha256:…), …" */
static void list(const struct archive *a, char *out, size_t size)
{
	const struct archive_image *im;
	size_t n = archive_images(a, &im), used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < n && used < size; i++) {
		char digest[OCI_DIGEST_TEXT_MAX];
		const char *name = im[i].name ? im[i].name : im[i].tag;

		oci_digest_format(&im[i].target.digest, digest);
		if (i == LISTED) {
			snprintf(out + used, size - used, ", and %zu more", n - i);
			return;
		}
		int len = snprintf(out + used, size - used, "%s%.100s", i ? ", " : "",
				   name ? name : digest);

		used += len > 0 ? (size_t)len : 0;
	}
}

static int no_such(const struct archive *a, const char *ref, struct k3_err *e)
{
	char have[LIST_MAX];

	list(a, have, sizeof(have));
	k3_fail(e, K3_NOTFOUND, "%s: no image \"%s\" in it; there is: %s", archive_name(a), ref,
		have);
	return k3_hint(e, "@sha256:... chooses by digest, @0 the first one");
}

/* ---- choosing ----------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* The same name, however it is written. */
static bool same_name(const char *name, const struct oci_ref *want)
{
	struct oci_ref have;
	struct k3_err ignored;

	if (!name || oci_ref_parse(name, &have, &ignored))
		return false;
	bool same = !strcmp(have.host, want->host) && !strcmp(have.repo, want->repo) &&
		    (!want->tag || same_text(have.tag, want->tag));

	oci_ref_release(&have);
	return same;
}

static bool parse_number(const char *s, size_t *out)
{
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	*out = strtoul(s, &end, 10);
	return !*end;
}

/* A name that pins a digest means that image and no other. */
static int check_pin(const struct archive *a, const struct archive_image *im,
		     const struct oci_ref *want, const char *ref, struct k3_err *e)
{
	char have[OCI_DIGEST_TEXT_MAX];

	if (!want->has_digest || oci_digest_eq(&want->digest, &im->target.digest))
		return 0;
	oci_digest_format(&im->target.digest, have);
	return k3_fail(e, K3_DIGEST, "%s: \"%s\": the image of that name is %s", archive_name(a),
		       ref, have);
}

static void choose(struct sources *s, struct archive *a, const struct archive_image *im)
{
	s->v = k3_xgrow(s->v, s->n, &s->cap, sizeof(*s->v));
	s->v[s->n++] = (struct source){ .from = a, .image = im };
}

static int choose_named(struct sources *s, struct archive *a, const char *ref, struct k3_err *e)
{
	const struct archive_image *im;
	size_t n = archive_images(a, &im), before = s->n;
	struct oci_ref want = { 0 };
	struct k3_err ignored;
	bool parsed = !oci_ref_parse(ref, &want, &ignored);
	int rc = 0;

	for (size_t i = 0; !rc && i < n; i++) {
		if (!same_text(im[i].name, ref) && !same_text(im[i].tag, ref) &&
		    !(parsed && same_name(im[i].name, &want)))
			continue;
		if (parsed)
			rc = check_pin(a, &im[i], &want, ref, e);
		choose(s, a, &im[i]);
	}
	if (parsed)
		oci_ref_release(&want);
	return rc ? -1 : s->n == before ? no_such(a, ref, e) : 0;
}

static int choose_at(struct sources *s, struct archive *a, const char *ref, struct k3_err *e)
{
	const struct archive_image *im;
	size_t n = archive_images(a, &im), at, before = s->n;
	struct oci_digest digest;

	if (parse_number(ref + 1, &at)) {
		if (at >= n)
			return no_such(a, ref, e);
		choose(s, a, &im[at]);
		return 0;
	}
	if (oci_digest_parse(ref + 1, &digest, e))
		return k3_wrap(e, "%s", ref);
	for (size_t i = 0; i < n; i++)
		if (oci_digest_eq(&im[i].target.digest, &digest))
			choose(s, a, &im[i]);
	return s->n == before ? no_such(a, ref, e) : 0;
}

/* Several manifests under one name, or none, are one image for several platforms. */
static bool beaten(const struct source *a, const struct source *b, const struct oci_platform *want)
{
	const struct archive_image *x = a->image, *y = b->image;

	if (x == y || a->from != b->from || !same_text(x->name, y->name) ||
	    !same_text(x->tag, y->tag))
		return false;
	bool platforms = x->has_platform && y->has_platform;
	int rx = platforms ? oci_platform_rank(want, &x->platform) : 0;
	int ry = platforms ? oci_platform_rank(want, &y->platform) : 0;

	if (rx != ry)
		return ry >= 0 && (rx < 0 || ry < rx);
	/* Of two that are alike the last one has the name, as containerd's import leaves it. */
	return (x->name || x->tag) && y > x;
}

static void drop_beaten(struct sources *s, size_t first, const struct oci_platform *want)
{
	K3_AUTO_FREE bool *drop = k3_xcalloc(s->n, sizeof(*drop));
	size_t n = first;

	for (size_t i = first; i < s->n; i++)
		for (size_t k = first; !drop[i] && k < s->n; k++)
			drop[i] = beaten(&s->v[i], &s->v[k], want);
	for (size_t i = first; i < s->n; i++)
		if (!drop[i])
			s->v[n++] = s->v[i];
	s->n = n;
}

/* ---- opening ------------------------------------------------------------------------ */

static int open_archive(struct sources *s, enum archive_kind kind, const char *path,
			const struct sources_opts *o, struct archive **out, struct k3_err *e)
{
	const struct archive_opts ao = {
		.kind = kind,
		.path = path,
		.spool_dir = o->spool_dir,
		.limits = o->limits,
		.cancel = o->cancel,
	};

	for (size_t i = 0; i < s->narchives; i++) {
		*out = s->archives[i].archive;
		if (s->archives[i].kind == kind && !strcmp(s->archives[i].path, path))
			return 0;
	}
	if (archive_open(&ao, out, e))
		return -1;
	s->archives = k3_xgrow(s->archives, s->narchives, &s->cap_archives, sizeof(*s->archives));
	s->archives[s->narchives++] = (struct opened){ kind, k3_xstrdup(path), *out };
	return 0;
}

int sources_add(struct sources *s, const char *word, const struct sources_opts *o, struct k3_err *e)
{
	int t = transport_of(word);
	const char *rest = word + strlen(transports[t].prefix);
	/* As skopeo has it: the path ends at the first colon. */
	size_t len = strcspn(rest, ":");
	K3_AUTO_FREE char *path = k3_xstrndup(rest, len);
	const char *ref = rest[len] ? rest + len + 1 : "";
	const struct archive_image *im;
	size_t first = s->n, n;
	struct archive *a;

	if (!*path) {
		k3_fail(e, K3_USAGE, "%s names no file", word);
		return k3_hint(e, "%s%s[:REF]", transports[t].prefix, t ? "FILE" : "DIR");
	}
	if (open_archive(s, transports[t].kind, path, o, &a, e))
		return -1;
	if (*ref ? (*ref == '@' ? choose_at(s, a, ref, e) : choose_named(s, a, ref, e)) : 0)
		return -1;
	n = *ref ? 0 : archive_images(a, &im);
	for (size_t i = 0; i < n; i++)
		choose(s, a, &im[i]);
	drop_beaten(s, first, &o->platform);
	return 0;
}

/* ---- names -------------------------------------------------------------------------- */

static bool has_tag(const char *name)
{
	const char *last = strrchr(name, '/');

	return strpbrk(last ? last : name, ":@") != NULL;
}

static int nameless(const struct source *src, struct k3_err *e)
{
	char digest[OCI_DIGEST_TEXT_MAX], have[LIST_MAX];
	const struct archive_image *im;

	oci_digest_format(&src->image->target.digest, digest);
	if (src->image->tag) {
		k3_fail(e, K3_USAGE, "%s: image %.19s has only the tag \"%s\" for a name",
			archive_name(src->from), digest, src->image->tag);
		return k3_hint(e, "--name REPOSITORY gives it one");
	}
	if (archive_images(src->from, &im) == 1) {
		k3_fail(e, K3_USAGE, "%s: its image, %s, has no name", archive_name(src->from),
			digest);
		return k3_hint(e, "--name NAME:TAG gives it one");
	}
	list(src->from, have, sizeof(have));
	k3_fail(e, K3_USAGE, "%s: an image has no name; there is: %s", archive_name(src->from),
		have);
	return k3_hint(e, "choose one as FILE:@sha256:... and give it a name with --name NAME:TAG");
}

/* For --name: the name of the only image. */
static char *rename_one(const struct source *src, const char *name)
{
	return src->image->tag && !has_tag(name) ? k3_xasprintf("%s:%s", name, src->image->tag)
						 : k3_xstrdup(name);
}

static int too_many(const struct sources *s, const struct sources_opts *o, struct k3_err *e)
{
	k3_fail(e, K3_USAGE, "--name %s is one name, and there are %zu images", o->name, s->n);
	return k3_hint(e, "choose one of them: FILE:REF, FILE:@sha256:...");
}

/* name: --name, for those that have none. */
static int name_all(struct sources *s, const struct sources_opts *o, struct k3_err *e)
{
	size_t alone = 0;

	for (size_t i = 0; i < s->n; i++) {
		struct source *src = &s->v[i];

		if (src->image->name) {
			src->name = k3_xstrdup(src->image->name);
			continue;
		}
		if (!o->name)
			return nameless(src, e);
		alone += !src->image->tag;
		if (alone > 1)
			return too_many(s, o, e);
		src->name = rename_one(src, o->name);
	}
	return 0;
}

int sources_name(struct sources *s, const struct sources_opts *o, struct k3_err *e)
{
	if (o->name && !s->n) {
		k3_fail(e, K3_USAGE, "--name %s: no archive was given", o->name);
		return k3_hint(e, "images of registries have their names");
	}
	if (o->name && s->n == 1) {
		s->v[0].name = rename_one(&s->v[0], o->name);
		return 0;
	}
	if (o->name && has_tag(o->name))
		return too_many(s, o, e);
	return name_all(s, o, e);
}

void sources_release(struct sources *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i].name);
	for (size_t i = 0; i < s->narchives; i++) {
		archive_free(s->archives[i].archive);
		free(s->archives[i].path);
	}
	free(s->archives);
	free(s->v);
	*s = (struct sources){ 0 };
}

char *sources_spool_dir(const char *path)
{
	char *dir = k3_xstrdup(path);
	struct stat st;

	while (stat(dir, &st) || !S_ISDIR(st.st_mode)) {
		char *slash = strrchr(dir, '/');

		if (!slash || slash == dir) {
			free(dir);
			return k3_xstrdup(slash ? "/" : ".");
		}
		*slash = '\0';
	}
	return dir;
}
