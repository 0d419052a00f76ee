/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damage is made anew the way a preload makes things: what was found damaged counts as absent in
 * a run for the digest that the record names.  Nothing is overwritten in place.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pipeline/pipeline.h"

/*
 * Blobs come first, since a tree cannot be judged without them; then the trees; the third round
 * is for records that only a new tree brings to light.
 */
#define ROUNDS 3

struct repair {
	const struct pl_opts *o;
	const char *ref;
	struct k3_cancel *stop;
	struct pl_verify_opts look;
	struct pl_repaired *out;
};

void pl_repaired_release(struct pl_repaired *r)
{
	pl_report_release(&r->before);
	pl_report_release(&r->after);
}

/* ---- what is doubted ----------------------------------------------------------------- */

static void add(struct oci_digest **list, size_t *n, const struct oci_digest *d)
{
	for (size_t i = 0; i < *n; i++)
		if (oci_digest_eq(&(*list)[i], d))
			return;
	*list = k3_xrealloc(*list, *n + 1, sizeof(**list));
	(*list)[(*n)++] = *d;
}

static void doubts_release(struct pl_doubts *d)
{
	free(d->blobs);
	free(d->whole_blobs);
	free(d->chains);
}

/* A blob whose record alone is wrong needs no bytes, unless these were found wrong as well. */
static void doubt(const struct pl_report *r, struct pl_doubts *out)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct pl_finding *f = &r->findings[i];

		if (!f->has_digest || f->kind == IMP_NOTE || f->kind == IMP_LEFTOVER)
			continue;
		if (f->kind == IMP_SNAPSHOT || f->kind == IMP_TREE)
			add(&out->chains, &out->nchains, &f->digest);
		else if (f->unrecorded)
			add(&out->whole_blobs, &out->nwhole_blobs, &f->digest);
		else if (f->kind == IMP_BLOB)
			add(&out->blobs, &out->nblobs, &f->digest);
	}
}

/* ---- where it comes from ------------------------------------------------------------- */

struct sources {
	struct pl_request *reqs;
	size_t n, cap;
};

static void sources_release(struct sources *s)
{
	for (size_t i = 0; i < s->n; i++)
		oci_ref_release(&s->reqs[i].ref);
	free(s->reqs);
}

/* A repository that a name or label tells, asked for the target by digest. */
static void add_source(struct sources *s, const char *name, const struct oci_digest *target)
{
	struct oci_digest unused;
	struct oci_ref ref;
	struct k3_err ignored;

	if (!oci_digest_parse(name, &unused, &ignored) || oci_ref_parse(name, &ref, &ignored))
		return;
	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(s->reqs[i].ref.host, ref.host) != 0 ||
		    strcmp(s->reqs[i].ref.repo, ref.repo) != 0)
			continue;
		oci_ref_release(&ref);
		return;
	}
	/* Records of tags are right as they are: they led here. */
	free(ref.tag);
	ref.tag = NULL;
	ref.has_digest = true;
	ref.digest = *target;
	s->reqs = k3_xgrow(s->reqs, s->n, &s->cap, sizeof(*s->reqs));
	s->reqs[s->n++] = (struct pl_request){ .ref = ref };
}

static int find_sources(const struct pl_seen *im, struct sources *s, struct k3_err *e)
{
	for (size_t i = 0; i < im->nnames; i++)
		add_source(s, im->names[i], &im->target);
	/* Their hosts have lost their ports: only where no name tells more. */
	for (size_t i = 0; !s->n && im->sources && im->sources[i]; i++)
		add_source(s, im->sources[i], &im->target);
	if (s->n)
		return 0;
	return k3_fail(e, K3_NOTFOUND, "no name or label tells where the image comes from");
}

/* ---- one round ----------------------------------------------------------------------- */

static int run_platform(struct repair *r, const struct sources *s, const struct pl_doubts *doubts,
			const struct oci_platform *platform, struct k3_err *e)
{
	K3_AUTO_FREE struct pl_result *res = k3_xcalloc(s->n, sizeof(*res));
	struct pl_opts o = *r->o;
	size_t whole = 0;

	o.doubts = doubts;
	o.platform = *platform;
	/* Pins stay as they are. */
	o.pin = false;
	/* containerd's API has no way to replace what is recorded. */
	o.mode = IMP_OFFLINE;
	if (pl_run(&o, s->reqs, s->n, r->stop, res, e))
		return -1;
	for (size_t i = 0; i < s->n; i++)
		whole += !res[i].rc;
	if (!whole) {
		r->out->failed = true;
		r->out->err = res[0].err;
	}
	return 0;
}

static int mend(struct repair *r, const struct pl_report *found, struct k3_err *e)
{
	__attribute__((cleanup(doubts_release))) struct pl_doubts doubts = { 0 };
	__attribute__((cleanup(sources_release))) struct sources s = { 0 };
	const struct pl_seen *im = &found->images[0];

	doubt(found, &doubts);
	r->out->failed = false;
	if (find_sources(im, &s, &r->out->err)) {
		r->out->failed = true;
		return 0;
	}
	for (size_t i = 0; i < im->nplatforms; i++)
		if (run_platform(r, &s, &doubts, &im->platforms[i], e))
			return -1;
	return im->nplatforms ? 0 : run_platform(r, &s, &doubts, &r->o->platform, e);
}

static bool same(const struct pl_report *a, const struct pl_report *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->findings[i].path, b->findings[i].path) != 0 ||
		    strcmp(a->findings[i].text, b->findings[i].text) != 0)
			return false;
	return true;
}

static int look(struct repair *r, struct pl_report *out, struct k3_err *e)
{
	return pl_verify(&r->look, &r->ref, 1, r->stop, out, e);
}

/* Without a record that can be read nobody knows what should be there. */
static int nothing_to_go_by(struct pl_repaired *out)
{
	out->failed = true;
	k3_fail(&out->err, K3_STORE, "what the image should be cannot be read");
	k3_hint(&out->err, "preload writes a broken image record anew; a damaged database has to "
			   "come from a backup, or begin with a new root");
	return 0;
}

/* Everything was fetched and made anew, and still something is wrong. */
static void left_over(struct pl_repaired *out, const struct pl_report *last)
{
	out->failed = true;
	k3_fail(&out->err, K3_STORE, "this is no damage that making the image anew can mend");
	k3_hint(&out->err,
		last->nimages && last->images[0].findings
			? "remove the image (crictl rmi) and preload it again"
			: "see \"k3simg verify\" for what is wrong with the store itself");
}

int pl_repair(const struct pl_opts *o, const char *ref, struct k3_cancel *stop,
	      void (*progress)(void *arg, const char *text), void *arg, struct pl_repaired *out,
	      struct k3_err *e)
{
	struct repair r = {
		.o = o,
		.ref = ref,
		.stop = stop,
		.look = { .root = o->root,
			  .ns = o->ns,
			  .platform = o->platform,
			  .deep = true,
			  .jobs = o->jobs,
			  .limits = o->limits,
			  .progress = progress,
			  .arg = arg },
		.out = out,
	};
	const struct pl_report *last = &out->before;

	*out = (struct pl_repaired){ 0 };
	if (look(&r, &out->before, e))
		return -1;
	if (last->damage && !last->nimages)
		return nothing_to_go_by(out);
	for (unsigned round = 0; last->damage && last->nimages && round < ROUNDS; round++) {
		struct pl_report now = { 0 };

		if (mend(&r, last, e))
			return -1;
		if (look(&r, &now, e)) {
			pl_report_release(&now);
			return -1;
		}
		bool stuck = same(&now, last);

		pl_report_release(&out->after);
		out->after = now;
		last = &out->after;
		if (stuck)
			break;
	}
	if (last->damage && !out->failed)
		left_over(out, last);
	return 0;
}
