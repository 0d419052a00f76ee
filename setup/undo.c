/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "setup/report.h"
#include "setup/state.h"

#define AUTO_SEEN __attribute__((cleanup(seen_release)))
#define AUTO_STATE __attribute__((cleanup(state_release)))

static bool has_backup(const struct state_entry *entry)
{
	K3_AUTO_FREE char *backup = k3_xasprintf("%s" SETUP_BACKUP, entry->path);
	struct stat st;

	return entry->backup && !lstat(backup, &st);
}

/* Cut off between the backup, a second name, and the new file. */
static bool is_its_backup(const struct state_entry *entry)
{
	K3_AUTO_FREE char *backup = k3_xasprintf("%s" SETUP_BACKUP, entry->path);
	struct stat a, b;

	return !lstat(backup, &a) && !lstat(entry->path, &b) && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static bool has_header(const struct setup_seen *seen)
{
	size_t n = strlen(SETUP_HEADER);

	return seen->text.len >= n && memmem(seen->text.p, seen->text.len, SETUP_HEADER, n);
}

/*
 * A file without our header and without a backup was never ours: setup was cut off before it
 * wrote it, or somebody has put his own in its place.
 */
static enum setup_action judge(const struct setup_opts *o, const struct state_entry *entry,
			       const struct setup_seen *seen)
{
	enum setup_action back = has_backup(entry) ? SETUP_RESTORED : SETUP_REMOVED;
	char digest[STATE_DIGEST_MAX];

	if (!seen->there)
		return back == SETUP_RESTORED ? back : SETUP_SAME;
	state_digest(seen->link, seen->text.p, seen->text.len, digest);
	if (!seen->other && (!strcmp(digest, entry->digest) || is_its_backup(entry)))
		return back;
	if (back == SETUP_REMOVED && (seen->link || !has_header(seen)))
		return SETUP_KEPT;
	return o->force && !seen->other ? back : SETUP_REFUSED;
}

static int take_back(const struct state_entry *entry, enum setup_action a, struct k3_err *e)
{
	if (a == SETUP_RESTORED) {
		K3_AUTO_FREE char *backup = k3_xasprintf("%s" SETUP_BACKUP, entry->path);

		if (rename(backup, entry->path))
			return k3_fail_sys(e, errno, "cannot rename %s to %s", backup, entry->path);
		/* both names of one file: rename(2) then does nothing */
		if (unlink(backup) && errno != ENOENT)
			return k3_fail_sys(e, errno, "cannot remove %s", backup);
		return file_sync_parent(entry->path, e);
	}
	if (a != SETUP_REMOVED)
		return 0;
	if (unlink(entry->path))
		return k3_fail_sys(e, errno, "cannot remove %s", entry->path);
	return file_sync_parent(entry->path, e);
}

/* Those that are empty; what others have put into ours keeps it. */
static void remove_dirs(const struct state *s)
{
	for (size_t i = s->ndirs; i-- > 0;)
		(void)rmdir(s->dirs[i]);
}

static int take_back_all(const struct setup_opts *o, struct state *s, struct setup_report *r,
			 struct k3_err *e)
{
	for (size_t i = 0; i < s->n;) {
		AUTO_SEEN struct setup_seen seen = { 0 };
		struct state_entry *entry = &s->entries[i];

		if (file_look(entry->path, &seen, e))
			return -1;
		enum setup_action a = judge(o, entry, &seen);

		report_add(r, entry->path, a, a == SETUP_REFUSED && has_backup(entry));
		if (!o->dry_run && take_back(entry, a, e))
			return -1;
		if (a == SETUP_REFUSED || o->dry_run)
			i++;
		else
			state_remove(s, entry);
	}
	return 0;
}

int setup_undo(const struct setup_opts *o, struct setup_report *r, struct k3_err *e)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s" SETUP_STATE_FILE, o->prefix);
	AUTO_STATE struct state state = { 0 };

	*r = (struct setup_report){ 0 };
	if (state_read(o->prefix, &state, e))
		return -1;
	if (!state.there) {
		k3_fail(e, K3_NOTFOUND, "there is nothing of k3simg setup below %s",
			*o->prefix ? o->prefix : "/");
		return k3_hint(e, "--prefix names where setup wrote to");
	}
	if (take_back_all(o, &state, r, e))
		return -1;
	if (o->dry_run)
		return 0;
	if (r->refused)
		return state_write(o->prefix, &state, e);
	if (unlink(path))
		return k3_fail_sys(e, errno, "cannot remove %s", path);
	remove_dirs(&state);
	return 0;
}
