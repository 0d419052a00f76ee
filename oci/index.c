/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "oci/json.h"
#include "oci/platform.h"

#define ATTESTATION_KEY "vnd.docker.reference.type"
#define CUT "\xe2\x80\xa6" /* "…" */
#define RANK_NO_PLATFORM INT32_MAX

/* Keeps the entry but never lets it be used; the first reason stays. */
static void make_unusable(struct oci_entry *en, const char *why)
{
	if (!en->unusable[0])
		k3_escape(en->unusable, sizeof(en->unusable), why);
}

static int read_platform(const struct k3_json *v, const char *where, struct oci_entry *en,
			 struct k3_err *e)
{
	static const char *const keys[3] = { "os", "architecture", "variant" };
	const char *part[3];
	const struct k3_json *p;
	char path[OCI_WHERE_MAX + sizeof(".platform")];

	if (oci_json_obj(v, where, "platform", &p, e))
		return -1;
	if (!p)
		return 0;
	snprintf(path, sizeof(path), "%s.platform", where);
	for (size_t i = 0; i < K3_ARRAY_LEN(keys); i++) {
		if (oci_json_str(p, path, keys[i], &part[i], e))
			return -1;
		part[i] = part[i] ? part[i] : "";
		if (strlen(part[i]) >= OCI_PLATFORM_PART_MAX)
			make_unusable(en, "its platform has an overlong name");
	}
	oci_platform_normal(part[0], part[1], part[2], &en->platform);
	en->has_platform = true;
	/* containerd 2.x gives such entries only to a machine with the same features: none. */
	if (k3_json_len(k3_json_get(p, "os.features")))
		make_unusable(en, "it needs os.features");
	return 0;
}

static int read_entry(const struct k3_json *v, size_t i, struct oci_entry *en, struct k3_err *e)
{
	const struct k3_json *annotations;
	char where[OCI_WHERE_MAX];

	snprintf(where, sizeof(where), "manifests[%zu]", i);
	if (oci_json_desc(v, where, &en->desc, e)) {
		if (e->code != K3_UNSUPPORTED)
			return -1;
		/* Only the algorithm's name matters: k3_wrap put the place in front. */
		const char *why = strstr(e->msg, "digest algorithm");

		make_unusable(en, why ? why : e->msg);
	}
	if (en->desc.media == OCI_MEDIA_DOCKER_SCHEMA1)
		make_unusable(en, "Docker schema 1 manifests are not supported");
	if (read_platform(v, where, en, e))
		return -1;
	if (oci_json_obj(v, where, "annotations", &annotations, e))
		return -1;
	en->attestation = oci_json_member(annotations, ATTESTATION_KEY) ||
			  (en->has_platform && !strcmp(en->platform.os, "unknown") &&
			   !strcmp(en->platform.arch, "unknown"));
	return 0;
}

int oci_index_parse(const void *json, size_t n, struct oci_index *out, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	const struct k3_json *manifests;

	if (oci_json_open(json, n, &doc, e))
		return -1;
	const struct k3_json *root = k3_json_root(doc);

	if (oci_json_check_kind(root, true, e) ||
	    oci_json_arr(root, "", "manifests", &manifests, e))
		return -1;
	struct oci_index ix = { .count = k3_json_len(manifests) };

	if (ix.count > OCI_INDEX_ENTRIES_MAX)
		return k3_fail(e, K3_LIMIT, "%zu manifests are more than the limit of %u", ix.count,
			       OCI_INDEX_ENTRIES_MAX);
	ix.entries = k3_xcalloc(ix.count, sizeof(*ix.entries));
	for (size_t i = 0; i < ix.count; i++)
		if (read_entry(k3_json_at(manifests, i), i, &ix.entries[i], e)) {
			oci_index_release(&ix);
			return -1;
		}
	*out = ix;
	return 0;
}

void oci_index_release(struct oci_index *ix)
{
	free(ix->entries);
	*ix = (struct oci_index){ 0 };
}

struct candidate {
	int rank;
	size_t at;
};

/* Best rank first, document order among equals. */
static int by_rank(const void *pa, const void *pb)
{
	const struct candidate *a = pa, *b = pb;

	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return a->at < b->at ? -1 : a->at > b->at;
}

static bool choosable_kind(const struct oci_entry *en)
{
	enum oci_media m = en->desc.media;

	return !en->attestation &&
	       (oci_media_is_manifest(m) || oci_media_is_index(m) || m == OCI_MEDIA_DOCKER_SCHEMA1);
}

/* All candidates in order, usable or not.  Caller frees. */
static struct candidate *candidates(const struct oci_index *ix, const struct oci_platform *want,
				    size_t *n)
{
	struct candidate *c = k3_xcalloc(ix->count, sizeof(*c));

	*n = 0;
	for (size_t i = 0; i < ix->count; i++) {
		const struct oci_entry *en = &ix->entries[i];
		int rank = en->has_platform ? oci_platform_rank(want, &en->platform)
					    : RANK_NO_PLATFORM;

		if (rank >= 0 && choosable_kind(en))
			c[(*n)++] = (struct candidate){ rank, i };
	}
	qsort(c, *n, sizeof(*c), by_rank);
	return c;
}

void oci_index_rank(const struct oci_index *ix, const struct oci_platform *want, size_t *order,
		    size_t *n)
{
	size_t count;
	K3_AUTO_FREE struct candidate *c = candidates(ix, want, &count);

	*n = 0;
	for (size_t i = 0; i < count && !ix->entries[c[i].at].unusable[0]; i++)
		order[(*n)++] = c[i].at;
}

const struct oci_entry *oci_index_blocked(const struct oci_index *ix,
					  const struct oci_platform *want)
{
	size_t count;
	K3_AUTO_FREE struct candidate *c = candidates(ix, want, &count);

	for (size_t i = 0; i < count; i++)
		if (ix->entries[c[i].at].unusable[0])
			return &ix->entries[c[i].at];
	return NULL;
}

static bool offered_before(const struct oci_index *ix, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (choosable_kind(&ix->entries[k]) && ix->entries[k].has_platform &&
		    !memcmp(&ix->entries[k].platform, &ix->entries[i].platform,
			    sizeof(struct oci_platform)))
			return true;
	return false;
}

void oci_index_offers(const struct oci_index *ix, char *out, size_t size)
{
	size_t used = 0;

	if (!size)
		return;
	out[0] = '\0';
	for (size_t i = 0; i < ix->count; i++) {
		const struct oci_entry *en = &ix->entries[i];
		char one[3 * OCI_PLATFORM_PART_MAX + 3];

		if (!en->has_platform || !choosable_kind(en) || offered_before(ix, i))
			continue;
		oci_platform_format(&en->platform, one, sizeof(one));
		size_t need = strlen(one) + (used ? 2 : 0);

		/* Room for ", " and the mark stays free, so that it always fits. */
		if (used + need + sizeof(", " CUT) > size) {
			snprintf(out + used, size - used, "%s" CUT, used ? ", " : "");
			return;
		}
		snprintf(out + used, size - used, "%s%s", used ? ", " : "", one);
		used += need;
	}
}
