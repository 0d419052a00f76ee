/* SPDX-License-Identifier: Apache-2.0 */
/* The name that the kubelet asks for, the pull policy, and what the store has instead. */
#include <string.h>

#include "base/mem.h"
#include "explain/finding.h"

static bool is_absent(const struct explain_facts *f)
{
	const struct explain_node *n = f->node;

	/* A root that is not there yet is as good as an empty one. */
	return (n->view || n->d.store == DOCTOR_STORE_ABSENT) && f->name && !f->image.stored &&
	       !f->image.record_trouble;
}

/* ---- the reference -------------------------------------------------------------------------- */

void explain_name(const struct explain_facts *f, struct explain_finding *out)
{
	const struct kube_text *image = &f->pod->image;

	if (!f->ref_trouble)
		return;
	explain_say(out, EXPLAIN_STOPS, "%s", f->ref_trouble);
	if (f->lower && f->manifest) {
		explain_fix_replace(f, out, image->line, image->s, f->lower, false);
	} else if (f->lower) {
		K3_AUTO_FREE char *quoted = doctor_quote(f->lower);

		explain_run_this(out, "k3simg explain %s", quoted);
	} else {
		K3_AUTO_FREE char *root = doctor_quote(f->node->d.root);

		explain_run_this(out, "k3simg list --root %s -o name   # the names that there are",
				 root);
	}
}

/* ---- pull policy ---------------------------------------------------------------------------- */

void explain_pull_policy(const struct explain_facts *f, struct explain_finding *out)
{
	const struct kube_text *said = &f->pod->pull_policy;

	if (f->policy != EXPLAIN_NO_POLICY)
		return;
	explain_say(out, EXPLAIN_STOPS,
		    "the pull policy is \"%s\", which is none of Always, IfNotPresent, Never",
		    said->s);
	explain_fix_replace(f, out, said->line, said->s, "IfNotPresent", false);
}

void explain_pull_always(const struct explain_facts *f, struct explain_finding *out)
{
	const struct kube_text *said = &f->pod->pull_policy;

	if (f->policy != EXPLAIN_ALWAYS || !said->s)
		return;
	explain_say(out, EXPLAIN_STOPS,
		    "the pull policy is Always: a registry is asked for %s at each start, whether "
		    "or not the image is stored",
		    f->name ? f->name : f->pod->image.s);
	explain_fix_replace(f, out, said->line, said->s, "IfNotPresent", false);
}

void explain_pull_latest(const struct explain_facts *f, struct explain_finding *out)
{
	if (f->policy != EXPLAIN_ALWAYS || f->pod->pull_policy.s)
		return;
	/* Of an image alone nobody knows what its pod will say. */
	explain_say(out, f->manifest ? EXPLAIN_STOPS : EXPLAIN_WARNS,
		    "%s and no pull policy%s: that is Always, and a registry is asked at each "
		    "start",
		    strstr(f->pod->image.s, ":latest") ? "the tag is latest" : "there is no tag",
		    f->manifest ? "" : " unless its pod sets one");
	explain_fix_member(f, out, "imagePullPolicy", "\"IfNotPresent\"");
}

void explain_pull_never(const struct explain_facts *f, struct explain_finding *out)
{
	if (f->policy != EXPLAIN_NEVER || !is_absent(f))
		return;
	explain_say(out, EXPLAIN_STOPS,
		    "the pull policy is Never, and the image is not there (ErrImageNeverPull)");
	explain_fix_store(f, out, "preload", "", f->pod->image.s);
}

/* ---- absent, and what is near --------------------------------------------------------------- */

/* Says that it is not there and what is; true when this kind of nearness is the one. */
static bool near(const struct explain_facts *f, struct explain_finding *out, enum explain_near kind,
		 const char *what)
{
	/* A name that another namespace has is nearer than any other. */
	if (!is_absent(f) || f->image.spaces || f->image.near != kind)
		return false;
	explain_say(out, EXPLAIN_STOPS, "%s is not in the store, but %s: %s", f->name, what,
		    f->image.near_list);
	return true;
}

/*
 * The name that is asked for becomes one more of an image that is there, which is named by its
 * digest: a name that is not written in full is found by no command of ours either.
 */
static void tag(const struct explain_facts *f, struct explain_finding *out)
{
	K3_AUTO_FREE char *root = doctor_quote(f->node->d.root);
	K3_AUTO_FREE char *to = doctor_quote(f->name);
	char from[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(&f->image.near_digest, from);
	explain_run_this(out, "k3simg tag%s%s %s %s", f->node->default_root ? "" : " --root ",
			 f->node->default_root ? "" : root, from, to);
}

/* Or the manifest asks for the name that is there. */
static void rename_or_tag(const struct explain_facts *f, struct explain_finding *out)
{
	const struct kube_text *image = &f->pod->image;

	if (f->manifest)
		explain_fix_replace(f, out, image->line, image->s, f->image.near_name, false);
	else
		tag(f, out);
}

void explain_same_image(const struct explain_facts *f, struct explain_finding *out)
{
	if (near(f, out, EXPLAIN_SAME_IMAGE, "the same image is, by another name"))
		explain_fix_store(f, out, "preload", "", f->name);
}

void explain_not_normal(const struct explain_facts *f, struct explain_finding *out)
{
	if (near(f, out, EXPLAIN_NOT_NORMAL, "a name that is not written in full is"))
		tag(f, out);
}

void explain_case(const struct explain_facts *f, struct explain_finding *out)
{
	if (near(f, out, EXPLAIN_CASE, "it is with other capital letters"))
		rename_or_tag(f, out);
}

void explain_other_digest(const struct explain_facts *f, struct explain_finding *out)
{
	if (near(f, out, EXPLAIN_OTHER_DIGEST, "the repository is, with another digest"))
		explain_fix_store(f, out, "preload", "", f->pod->image.s);
}

void explain_registry(const struct explain_facts *f, struct explain_finding *out)
{
	if (near(f, out, EXPLAIN_REGISTRY, "the same name of another registry is"))
		rename_or_tag(f, out);
}

void explain_tag(const struct explain_facts *f, struct explain_finding *out)
{
	if (near(f, out, EXPLAIN_TAG, "other tags are"))
		explain_fix_store(f, out, "preload", "", f->pod->image.s);
}

void explain_spelling(const struct explain_facts *f, struct explain_finding *out)
{
	const struct kube_text *image = &f->pod->image;

	if (!near(f, out, EXPLAIN_SPELLING, "a name that is spelt alike is"))
		return;
	if (f->manifest) {
		explain_fix_replace(f, out, image->line, image->s, f->image.near_name, false);
	} else {
		K3_AUTO_FREE char *quoted = doctor_quote(f->image.near_name);

		explain_run_this(out, "k3simg explain %s", quoted);
	}
}

void explain_namespace(const struct explain_facts *f, struct explain_finding *out)
{
	if (!is_absent(f) || !f->image.spaces)
		return;
	explain_say(out, EXPLAIN_STOPS,
		    "%s is not in containerd's namespace k8s.io, but only in: %s", f->name,
		    f->image.spaces);
	explain_fix_store(f, out, "preload", "", f->pod->image.s);
}

void explain_absent(const struct explain_facts *f, struct explain_finding *out)
{
	if (!is_absent(f) || f->image.spaces || f->image.near != EXPLAIN_FAR)
		return;
	explain_say(out, EXPLAIN_STOPS, "%s is not in the store, nor any name like it", f->name);
	explain_fix_store(f, out, "preload", "", f->pod->image.s);
}
