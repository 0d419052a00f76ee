/* SPDX-License-Identifier: Apache-2.0 */
/* The nearest name in the store when the one asked for is not there. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/distance.h"
#include "base/mem.h"
#include "explain/facts.h"

/* More edits than these, or than a third of a short word, are another word. */
#define SPELLING_MAX 2u
#define LISTED_MAX 5u /* names in a message */

static const char *last_part(const char *repo)
{
	const char *slash = strrchr(repo, '/');

	return slash ? slash + 1 : repo;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool spelt_alike(const char *want, const char *have)
{
	size_t third = strlen(want) / 3;

	return k3_distance(want, have) <= (third < SPELLING_MAX ? third : SPELLING_MAX);
}

/* How a record's name is near to the one wanted; both are references. */
static enum explain_near compare(const struct oci_ref *want, const struct oci_ref *have)
{
	bool here = !strcmp(want->host, have->host);
	bool repo = here && !strcmp(want->repo, have->repo);
	bool name = !strcmp(last_part(want->repo), last_part(have->repo));

	if (want->has_digest && repo)
		return EXPLAIN_OTHER_DIGEST;
	/* Only a tag can be asked for in another place. */
	if (want->has_digest || have->has_digest)
		return EXPLAIN_FAR;
	if (name && same_text(want->tag, have->tag))
		return EXPLAIN_REGISTRY;
	if (repo)
		return EXPLAIN_TAG;
	return here && spelt_alike(last_part(want->repo), last_part(have->repo)) ? EXPLAIN_SPELLING
										 : EXPLAIN_FAR;
}

static enum explain_near near_of(const struct oci_ref *want, const char *name,
				 const struct explain_name *r)
{
	enum explain_near near;
	struct oci_digest id;
	struct oci_ref have;
	struct k3_err ignored;

	/* The name of an ID is CRI's own, and leads nowhere by itself. */
	if (r->trouble || !oci_digest_parse(r->name, &id, &ignored))
		return EXPLAIN_FAR;
	if (want->has_digest && oci_digest_eq(&want->digest, &r->target.digest))
		return EXPLAIN_SAME_IMAGE;
	if (!strcasecmp(name, r->name))
		return EXPLAIN_CASE;
	if (oci_ref_parse(r->name, &have, &ignored))
		return EXPLAIN_FAR;
	K3_AUTO_FREE char *full = oci_ref_name(&have);

	near = !strcmp(full, name)       ? EXPLAIN_NOT_NORMAL
	       : !strcasecmp(full, name) ? EXPLAIN_CASE
					 : compare(want, &have);
	oci_ref_release(&have);
	return near;
}

/* "a, b, c and 3 more" */
static void list_name(struct explain_image *x, const char *name, size_t n)
{
	char *before = x->near_list;

	if (n >= LISTED_MAX)
		return;
	x->near_list = before ? k3_xasprintf("%s, %s", before, name) : k3_xstrdup(name);
	free(before);
}

void explain_find_near(const struct explain_node *n, const struct oci_ref *ref, const char *name,
		       struct explain_image *x)
{
	size_t listed = 0;

	x->near = EXPLAIN_FAR;
	for (size_t k = 0; k < n->n; k++) {
		enum explain_near near = near_of(ref, name, &n->names[k]);

		if (near == EXPLAIN_FAR || (x->near != EXPLAIN_FAR && near > x->near))
			continue;
		if (near != x->near) {
			x->near = near;
			free(x->near_name);
			x->near_name = k3_xstrdup(n->names[k].name);
			x->near_digest = n->names[k].target.digest;
			free(x->near_list);
			x->near_list = NULL;
			listed = 0;
		}
		list_name(x, n->names[k].name, listed++);
	}
	if (listed > LISTED_MAX) {
		char *before = x->near_list;

		x->near_list = k3_xasprintf("%s and %zu more", before, listed - LISTED_MAX);
		free(before);
	}
}
