/* SPDX-License-Identifier: Apache-2.0 */
/* Which images are meant, and what is wrong with them. */
#include "pipeline/verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* How often a store in which containerd works is looked at when something seems damaged. */
#define LOOKS_MAX 8u
#define TOLD_FIRST 64u /* a power of two */
#define PREFIX_MIN 4   /* hex digits that name an image by the start of its ID */

/* ---- the report ---------------------------------------------------------------------- */

static void finding_release(struct pl_finding *f)
{
	free(f->image);
	free(f->path);
	free(f->text);
}

static void free_list(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

void pl_report_release(struct pl_report *r)
{
	for (size_t i = 0; i < r->n; i++)
		finding_release(&r->findings[i]);
	for (size_t i = 0; i < r->nimages; i++) {
		struct pl_seen *s = &r->images[i];

		for (size_t k = 0; k < s->nnames; k++)
			free(s->names[k]);
		free(s->name);
		free(s->names);
		free_list(s->sources);
		free(s->platforms);
	}
	free(r->findings);
	free(r->images);
	*r = (struct pl_report){ 0 };
}

static bool is_damage(enum imp_trouble kind)
{
	return kind != IMP_NOTE && kind != IMP_LEFTOVER;
}

static void told_release(struct told *t)
{
	free(t->heads);
	free(t->next);
	*t = (struct told){ 0 };
}

static size_t *told_head(const struct told *t, const char *path)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (; *path; path++)
		h = (h ^ (unsigned char)*path) * UINT64_C(0x100000001b3);
	return &t->heads[h & (t->cap - 1)];
}

/* Takes up what the report has got since. */
static void told_follow(struct told *t, const struct pl_report *r)
{
	if (r->n >= t->cap) {
		size_t cap = t->cap ? 2 * t->cap : TOLD_FIRST;

		told_release(t);
		while (cap <= r->n)
			cap *= 2;
		t->heads = k3_xcalloc(cap, sizeof(*t->heads));
		t->next = k3_xcalloc(cap, sizeof(*t->next));
		t->cap = cap;
	}
	for (; t->n < r->n; t->n++) {
		size_t *head = told_head(t, r->findings[t->n].path);

		t->next[t->n] = *head;
		*head = t->n + 1;
	}
}

/*
 * Whether this has been told: of the same image, or of any before the store's own findings.  A
 * blob without a file is told with the image; the store's words for it are others.
 */
static bool is_told(struct verify *v, const char *image, const struct imp_finding *f)
{
	told_follow(&v->told, v->out);
	for (size_t i = *told_head(&v->told, f->path); i; i = v->told.next[i - 1]) {
		const struct pl_finding *have = &v->out->findings[i - 1];
		bool same = !strcmp(have->text, f->text);

		if (strcmp(have->path, f->path) != 0)
			continue;
		if (same && (!image || (have->image && !strcmp(have->image, image))))
			return true;
		if (!image && f->kind == IMP_BLOB && have->kind == IMP_BLOB)
			return true;
	}
	return false;
}

int verify_take(void *arg, const struct imp_finding *f, struct k3_err *e)
{
	struct verify *v = arg;
	struct pl_report *r = v->out;
	const char *image = v->current ? v->current->name : NULL;

	(void)e;
	if (is_told(v, image, f))
		return 0;
	r->findings = k3_xgrow(r->findings, r->n, &r->cap, sizeof(*r->findings));
	r->findings[r->n++] = (struct pl_finding){
		.image = image ? k3_xstrdup(image) : NULL,
		.kind = f->kind,
		.path = k3_xstrdup(f->path),
		.text = k3_xstrdup(f->text),
		.has_digest = f->digest != NULL,
		.digest = f->digest ? *f->digest : (struct oci_digest){ 0 },
		.unrecorded = f->unrecorded,
	};
	if (!is_damage(f->kind))
		return 0;
	r->damage++;
	if (v->current) {
		struct pl_seen *seen = &r->images[v->current->seen];

		seen->findings++;
		seen->complete = seen->complete && f->kind != IMP_BLOB;
	}
	return 0;
}

void verify_progress(const struct verify *v, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (!v->o->progress)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	v->o->progress(v->o->arg, text);
}

/* ---- images -------------------------------------------------------------------------- */

static bool is_digest(const char *name)
{
	struct oci_digest d;
	struct k3_err e;

	return !oci_digest_parse(name, &d, &e);
}

/* How good a name is for messages. */
static int name_rank(const char *name)
{
	return is_digest(name) ? 2 : strchr(name, '@') != NULL;
}

static int add_record(void *arg, const struct imp_record *r, struct k3_err *e)
{
	struct verify *v = arg;
	struct subject *s = NULL;

	(void)e;
	for (size_t i = 0; i < v->n && !s; i++)
		if (oci_digest_eq(&v->subjects[i].target.digest, &r->target.digest))
			s = &v->subjects[i];
	if (!s) {
		v->subjects = k3_xgrow(v->subjects, v->n, &v->cap, sizeof(*v->subjects));
		s = &v->subjects[v->n++];
		*s = (struct subject){ .target = r->target };
	}
	s->names = k3_xgrow(s->names, s->nnames, &s->names_cap, sizeof(char *));
	s->names[s->nnames++] = k3_xstrdup(r->name);
	s->managed = s->managed || r->managed;
	if (!s->name || name_rank(r->name) < name_rank(s->name))
		s->name = s->names[s->nnames - 1];
	return 0;
}

/* Messages call an image by the name it was asked for with first. */
static struct subject *find_name(struct verify *v, const char *name)
{
	for (size_t i = 0; i < v->n; i++) {
		struct subject *s = &v->subjects[i];

		for (size_t k = 0; k < s->nnames; k++) {
			if (strcmp(s->names[k], name) != 0)
				continue;
			if (!s->chosen)
				s->name = s->names[k];
			return s;
		}
	}
	return NULL;
}

/* By the digest of the target, or by the ID or its first digits. */
static struct subject *find_digest(struct verify *v, const char *text)
{
	const char *hex = strncmp(text, "sha256:", 7) != 0 ? text : text + 7;
	struct subject *found = NULL;
	char target[OCI_DIGEST_TEXT_MAX];

	for (size_t i = 0; i < v->n; i++) {
		oci_digest_format(&v->subjects[i].target.digest, target);
		if (!strcmp(target, text))
			return &v->subjects[i];
	}
	if (strlen(hex) < PREFIX_MIN || strspn(hex, "0123456789abcdef") != strlen(hex))
		return NULL;
	for (size_t i = 0; i < v->n; i++)
		for (size_t k = 0; k < v->subjects[i].nnames; k++) {
			const char *name = v->subjects[i].names[k];

			if (!is_digest(name) || strncmp(strchr(name, ':') + 1, hex, strlen(hex)))
				continue;
			if (found && found != &v->subjects[i])
				return NULL;
			found = &v->subjects[i];
		}
	return found;
}

/* The name, when the finding is about an image record of our namespace; else NULL. */
static const char *record_name(const struct verify *v, const struct pl_finding *f)
{
	K3_AUTO_FREE char *before = k3_xasprintf("meta.db/v1/%s/images/", v->o->ns);
	size_t n = strlen(before);

	return f->kind == IMP_IMAGE && !strncmp(f->path, before, n) ? f->path + n : NULL;
}

/* Whether a record of this name was told to be broken. */
static bool is_broken(const struct verify *v, const char *name)
{
	for (size_t i = 0; i < v->out->n; i++) {
		const struct pl_finding *f = &v->out->findings[i];
		const char *told = f->image ? NULL : record_name(v, f);

		if (told && !strcmp(told, name))
			return true;
	}
	return false;
}

static int choose(struct verify *v, const char *text, struct k3_err *e)
{
	struct subject *s = find_name(v, text);
	bool broken = !s && is_broken(v, text);
	struct oci_ref ref;
	struct k3_err why;

	if (!s && !oci_ref_parse(text, &ref, &why)) {
		K3_AUTO_FREE char *name = oci_ref_name(&ref);

		s = find_name(v, name);
		broken = broken || (!s && is_broken(v, name));
		oci_ref_release(&ref);
	}
	if (!s)
		s = find_digest(v, text);
	if (!s && broken)
		return 0;
	if (!s) {
		k3_fail(e, K3_NOTFOUND, "image %s is not in namespace %s of %s", text, v->o->ns,
			v->o->root);
		return k3_hint(e, "\"k3simg list\" shows what is");
	}
	s->chosen = true;
	return 0;
}

/* Whether one of the references means the image record of this name. */
static bool is_asked(const char *name, const char *const *refs, size_t nrefs)
{
	for (size_t k = 0; k < nrefs; k++) {
		struct oci_ref ref;
		struct k3_err ignored;
		K3_AUTO_FREE char *full = NULL;

		if (!oci_ref_parse(refs[k], &ref, &ignored)) {
			full = oci_ref_name(&ref);
			oci_ref_release(&ref);
		}
		if (!strcmp(name, refs[k]) || (full && !strcmp(name, full)))
			return true;
	}
	return false;
}

/* Broken records that no reference asks for are none of this check's business. */
static void forget_others(struct verify *v, const char *const *refs, size_t nrefs)
{
	struct pl_report *r = v->out;
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		struct pl_finding *f = &r->findings[i];
		const char *name = record_name(v, f);

		if (f->kind != IMP_IMAGE || (name && is_asked(name, refs, nrefs))) {
			r->findings[n++] = *f;
			continue;
		}
		r->damage--;
		finding_release(f);
	}
	r->n = n;
	told_release(&v->told);
}

static int choose_all(struct verify *v, const char *const *refs, size_t nrefs, struct k3_err *e)
{
	for (size_t i = 0; i < v->n; i++)
		v->subjects[i].chosen = !nrefs;
	for (size_t i = 0; i < nrefs; i++)
		if (choose(v, refs[i], e))
			return -1;
	if (nrefs)
		forget_others(v, refs, nrefs);
	return 0;
}

/* ---- records ------------------------------------------------------------------------- */

static void add_platform(struct pl_seen *s, const struct oci_platform *p)
{
	for (size_t i = 0; i < s->nplatforms; i++)
		if (!strcmp(s->platforms[i].os, p->os) && !strcmp(s->platforms[i].arch, p->arch) &&
		    !strcmp(s->platforms[i].variant, p->variant))
			return;
	s->platforms = k3_xrealloc(s->platforms, s->nplatforms + 1, sizeof(*s->platforms));
	s->platforms[s->nplatforms++] = *p;
}

static void begin_seen(struct verify *v, struct subject *s)
{
	struct pl_report *r = v->out;
	struct pl_seen *seen;

	r->images = k3_xgrow(r->images, r->nimages, &r->images_cap, sizeof(*r->images));
	s->seen = r->nimages++;
	seen = &r->images[s->seen];
	*seen = (struct pl_seen){
		.name = k3_xstrdup(s->name),
		.names = k3_xcalloc(s->nnames, sizeof(char *)),
		.nnames = s->nnames,
		.target = s->target.digest,
		.complete = true,
	};
	for (size_t k = 0; k < s->nnames; k++)
		seen->names[k] = k3_xstrdup(s->names[k]);
}

static int check_one(struct verify *v, struct subject *s, struct k3_err *e)
{
	struct imp_names names = { .target = s->target,
				   .v = (const char *const *)s->names,
				   .n = s->nnames,
				   .managed = s->managed };
	const struct imp_sink sink = { verify_take, v };
	struct pl_seen *seen;

	begin_seen(v, s);
	v->current = s;
	if (k3_cancel_check(v->stop, e) ||
	    imp_check_image(v->view, &names, &v->o->platform, &s->checked, &sink, e) ||
	    imp_view_sources(v->view, &s->target.digest, &v->out->images[s->seen].sources, e))
		return k3_wrap(e, "%s", s->name);
	v->current = NULL;
	seen = &v->out->images[s->seen];
	seen->complete = seen->complete && !s->checked.noted;
	for (size_t k = 0; k < s->checked.n; k++) {
		const struct imp_variant *va = &s->checked.variants[k];

		seen->unpacked = seen->unpacked || va->unpacked;
		if (va->unpacked && va->img.platform.os[0] && va->img.platform.arch[0])
			add_platform(seen, &va->img.platform);
		else if (va->wanted)
			add_platform(seen, &v->o->platform);
	}
	return 0;
}

static int check_records(struct verify *v, const char *const *refs, size_t nrefs, bool *sound,
			 struct k3_err *e)
{
	const struct imp_sink sink = { verify_take, v };

	if (imp_check_databases(v->view, &sink, sound, e))
		return -1;
	/* Nothing that such a file says can be relied on. */
	if (!*sound)
		return 0;
	if (imp_check_records(v->view, add_record, v, &sink, e) || choose_all(v, refs, nrefs, e))
		return -1;
	for (size_t i = 0; i < v->n; i++)
		if (v->subjects[i].chosen && check_one(v, &v->subjects[i], e))
			return -1;
	return nrefs ? 0 : imp_check_store(v->view, &sink, e);
}

static int open_store(struct verify *v, bool write, struct k3_err *e);

static int look(struct verify *v, const char *const *refs, size_t nrefs, bool *sound,
		struct k3_err *e)
{
	int rc;

	if (open_store(v, false, e) || imp_view_open(v->imp, &v->view, e))
		return -1;
	rc = check_records(v, refs, nrefs, sound, e);
	v->stale = imp_view_is_stale(v->view);
	imp_view_close(v->view);
	v->view = NULL;
	imp_close(v->imp, true);
	v->imp = NULL;
	return rc;
}

/* ---- all of it ----------------------------------------------------------------------- */

static void on_wait(void *arg)
{
	verify_progress(arg, "waiting for another k3simg that works on this root");
}

static int open_store(struct verify *v, bool write, struct k3_err *e)
{
	const struct imp_opts io = {
		.root = v->o->root,
		.ns = v->o->ns,
		.write = write,
		.stage_only = true,
		.cancel = v->stop,
		.on_wait = on_wait,
		.arg = v,
	};

	return imp_open(&io, &v->imp, e);
}

static bool has_layers(const struct verify *v)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->subjects[i].chosen && v->subjects[i].checked.n)
			return true;
	return false;
}

static void verify_release(struct verify *v)
{
	imp_view_close(v->view);
	imp_close(v->imp, true);
	v->view = NULL;
	v->imp = NULL;
	for (size_t i = 0; i < v->n; i++) {
		struct subject *s = &v->subjects[i];

		for (size_t k = 0; k < s->nnames; k++)
			free(s->names[k]);
		free(s->names);
		imp_checked_release(&s->checked);
	}
	free(v->subjects);
	told_release(&v->told);
	v->subjects = NULL;
	v->n = v->cap = 0;
}

/*
 * containerd may work on while we look: what it has removed since must not be taken for damage.
 */
static int look_well(struct verify *v, const char *const *refs, size_t nrefs, bool *sound,
		     struct k3_err *e)
{
	for (unsigned k = 1;; k++) {
		if (look(v, refs, nrefs, sound, e))
			return -1;
		if (!v->out->damage || !v->stale || k == LOOKS_MAX)
			return 0;
		verify_release(v);
		pl_report_release(v->out);
	}
}

int pl_verify(const struct pl_verify_opts *o, const char *const *refs, size_t nrefs,
	      struct k3_cancel *stop, struct pl_report *out, struct k3_err *e)
{
	__attribute__((
		cleanup(verify_release))) struct verify v = { .o = o, .stop = stop, .out = out };
	bool sound;

	*out = (struct pl_report){ 0 };
	if (look_well(&v, refs, nrefs, &sound, e))
		return -1;
	if (!o->deep || !sound || !has_layers(&v))
		return 0;
	/* Only a root that has images is opened for writing: that would make one. */
	return open_store(&v, true, e) || verify_deep(&v, e) ? -1 : 0;
}
