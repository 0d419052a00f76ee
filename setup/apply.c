/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "setup/report.h"
#include "setup/state.h"

#define AUTO_SEEN __attribute__((cleanup(seen_release)))
#define AUTO_STATE __attribute__((cleanup(state_release)))
#define AUTO_PLAN __attribute__((cleanup(setup_plan_release)))
#define DIFF_MAX (16u << 20)

/* A file is ours when it is as we wrote it; a link to a program of that name always is. */
static bool is_ours(const struct setup_seen *seen, const struct state_entry *entry)
{
	char digest[STATE_DIGEST_MAX];

	if (!entry)
		return false;
	state_digest(seen->link, seen->text.p, seen->text.len, digest);
	return !strcmp(digest, entry->digest);
}

static enum setup_action judge(const struct setup_opts *o, const struct setup_file *f,
			       const struct setup_seen *seen, const struct state_entry *entry)
{
	if (file_is(seen, f))
		return SETUP_SAME;
	if (!seen->there)
		return SETUP_CREATED;
	if (seen->other)
		return SETUP_REFUSED;
	if (is_ours(seen, entry))
		return SETUP_REPLACED;
	if (f->spare)
		return SETUP_KEPT;
	return o->force ? SETUP_REPLACED : SETUP_REFUSED;
}

/* Of a link its target, as a line. */
static int as_text(bool link, const void *p, size_t n, struct k3_buf *out, struct k3_err *e)
{
	if (link)
		return k3_buf_addf(out, e, "-> %.*s\n", (int)n, (const char *)p);
	return n ? k3_buf_add(out, p, n, e) : 0;
}

static int show(const struct setup_file *f, const struct setup_seen *seen, struct k3_buf *out,
		struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf was = K3_BUF(SETUP_FILE_MAX), is = K3_BUF(SETUP_FILE_MAX);

	if (as_text(seen->link, seen->text.p, seen->text.len, &was, e) ||
	    (f->link ? as_text(true, f->link, strlen(f->link), &is, e)
		     : as_text(false, f->text.p, f->text.len, &is, e)))
		return -1;
	return diff_unified(f->path, seen->there ? &was : NULL, &is, out, e);
}

/* The directories above path that are not there yet, outermost first. */
static void note_dirs(struct state *s, const char *path)
{
	for (const char *c = path + 1; (c = strchr(c, '/')); c++) {
		K3_AUTO_FREE char *dir = k3_xstrndup(path, (size_t)(c - path));
		struct stat st;
		bool known = false;

		if (!lstat(dir, &st))
			continue;
		for (size_t i = 0; i < s->ndirs && !known; i++)
			known = !strcmp(s->dirs[i], dir);
		if (!known)
			state_add_dir(s, K3_STEAL(dir));
	}
}

static int make_parent(const char *path, struct k3_err *e)
{
	K3_AUTO_FREE char *dir = k3_xstrndup(path, (size_t)(strrchr(path, '/') - path));

	return *dir ? k3_make_dirs(dir, 0755, e) : 0;
}

/* What is there stays under another name, until that of the first time is taken back. */
static int keep_backup(const char *path, struct k3_err *e)
{
	K3_AUTO_FREE char *backup = k3_xasprintf("%s" SETUP_BACKUP, path);
	struct stat st;

	if (!lstat(backup, &st))
		return 0;
	if (!link(path, backup))
		return 0;
	/* no hard links here: for a moment there is none at the old name */
	if (errno == EEXIST || !rename(path, backup))
		return 0;
	return k3_fail_sys(e, errno, "cannot keep %s as %s", path, backup);
}

static int put(const struct setup_file *f, bool backup, struct k3_err *e)
{
	if (make_parent(f->path, e) || (backup && keep_backup(f->path, e)))
		return -1;
	return f->link ? file_replace_link(f->path, f->link, e)
		       : file_replace(f->path, f->text.p, f->text.len, 0644, e);
}

/*
 * First what is to be, then the files: cut off in between, a file is either as noted, or as it
 * was, which setup_undo tells by its content.
 */
static int note_all(const struct setup_opts *o, const struct setup_plan *p,
		    const struct setup_report *r, struct state *s, struct k3_err *e)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s" SETUP_STATE_FILE, o->prefix);
	size_t news = 0;

	for (size_t i = 0; i < p->n; i++) {
		char digest[STATE_DIGEST_MAX];
		struct state_entry *entry = state_find(s, p->files[i].path);

		if (r->items[i].action == SETUP_KEPT)
			continue;
		state_digest_of(&p->files[i], digest);
		if (entry && !strcmp(entry->digest, digest) && entry->backup >= r->items[i].backup)
			continue;
		if (!entry)
			entry = state_add(s, p->files[i].path);
		snprintf(entry->digest, sizeof(entry->digest), "%s", digest);
		entry->backup |= r->items[i].backup;
		note_dirs(s, p->files[i].path);
		news++;
	}
	if (!news)
		return 0;
	note_dirs(s, path);
	if (make_parent(path, e))
		return -1;
	return state_write(o->prefix, s, e);
}

static int refuse(const struct setup_report *r, struct k3_err *e)
{
	const char *first = "";

	for (size_t i = r->n; i-- > 0;)
		if (r->items[i].action == SETUP_REFUSED)
			first = r->items[i].path;
	k3_fail(e, K3_USAGE,
		"%s was not written by k3simg setup, or was changed since%s: nothing done", first,
		r->refused > 1 ? ", and it is not the only one" : "");
	return k3_hint(e, "--dry-run shows what would change; --force replaces it and keeps it as "
			  "*" SETUP_BACKUP);
}

static int look_at_all(const struct setup_opts *o, const struct setup_plan *p,
		       const struct state *s, struct setup_report *r, struct k3_err *e)
{
	for (size_t i = 0; i < p->n; i++) {
		AUTO_SEEN struct setup_seen seen = { 0 };
		const struct setup_file *f = &p->files[i];
		const struct state_entry *entry = state_find(s, f->path);

		if (file_look(f->path, &seen, e))
			return -1;
		enum setup_action a = judge(o, f, &seen, entry);
		bool others = a == SETUP_REPLACED && !is_ours(&seen, entry);

		report_add(r, f->path, a, others || (entry && entry->backup));
		if (o->dry_run && a != SETUP_SAME && a != SETUP_KEPT && !seen.other &&
		    show(f, &seen, &r->diff, e))
			return -1;
	}
	return 0;
}

int setup_apply(const struct setup_opts *o, struct setup_report *r, struct k3_err *e)
{
	AUTO_PLAN struct setup_plan plan = { 0 };
	AUTO_STATE struct state state = { 0 };

	*r = (struct setup_report){ .diff = K3_BUF(DIFF_MAX) };
	if (setup_plan_make(o, &plan, e) || state_read(o->prefix, &state, e) ||
	    look_at_all(o, &plan, &state, r, e))
		return -1;
	if (o->dry_run)
		return 0;
	if (r->refused)
		return refuse(r, e);
	if (note_all(o, &plan, r, &state, e))
		return -1;
	for (size_t i = 0; i < plan.n; i++)
		if ((r->items[i].action == SETUP_CREATED || r->items[i].action == SETUP_REPLACED) &&
		    put(&plan.files[i], r->items[i].backup, e))
			return -1;
	return 0;
}
