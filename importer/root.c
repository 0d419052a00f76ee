/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/root.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "importer/daemon.h"
#include "importer/live.h"
#include "importer/losses.h"
#include "importer/schema.h"
#include "importer/undo.h"

#define POLL_MS 100
#define NAMESPACE_MAX 76 /* containerd pkg/identifiers */

/* ---- paths -------------------------------------------------------------------------------- */

static void digest_parts(const struct oci_digest *d, char sep, const char *prefix, char *out)
{
	char hex[2 * K3_HASH_MAX + 1];

	k3_hex(d->hash, k3_hash_len(d->alg), hex);
	snprintf(out, IMP_PATH_MAX, "%s%s%c%s", prefix, oci_alg_name(d->alg), sep, hex);
}

void imp_blob_path(const struct oci_digest *d, char out[IMP_PATH_MAX])
{
	digest_parts(d, '/', IMP_CONTENT_DIR "/blobs/", out);
}

void imp_snapshot_path(uint64_t id, char out[IMP_PATH_MAX])
{
	snprintf(out, IMP_PATH_MAX, IMP_SNAPSHOTS_DIR "/%" PRIu64, id);
}

void imp_stage_name(const struct oci_digest *d, char out[IMP_PATH_MAX])
{
	digest_parts(d, '-', "", out);
}

/* What containerd asks for when it makes them. */
static mode_t dir_mode(const char *path)
{
	if (!strncmp(path, IMP_CONTENT_DIR, strlen(IMP_CONTENT_DIR)))
		return 0755;
	return !strcmp(path, IMP_META_DIR) ? 0711 : 0700;
}

int imp_make_dirs(struct imp *i, const char *path, struct k3_err *e)
{
	char part[IMP_PATH_MAX];
	size_t n = 0;

	do {
		K3_AUTO_FD int parent = -1, fd = -1;
		struct stat st;

		snprintf(part, sizeof(part), "%.*s", (int)n, path);
		if (k3_open_dir(i->rootfd, n ? part : ".", &parent, e))
			return -1;
		n += path[n] == '/';
		n += strcspn(path + n, "/");
		snprintf(part, sizeof(part), "%.*s", (int)n, path);
		if (!fstatat(i->rootfd, part, &st, 0) && S_ISDIR(st.st_mode))
			continue;
		if (k3_make_dir(i->rootfd, part, dir_mode(part), &fd, e) ||
		    k3_fsync(parent, part, e))
			return k3_wrap(e, "%s", i->root);
	} while (path[n]);
	return 0;
}

int imp_sync_dir(struct imp *i, const char *path, struct k3_err *e)
{
	K3_AUTO_FD int fd = -1;

	if (k3_open_dir(i->rootfd, path, &fd, e) || k3_fsync(fd, path, e))
		return k3_wrap(e, "%s", i->root);
	return 0;
}

/* ---- lists of names ------------------------------------------------------------------ */

void imp_list_close(DIR **d)
{
	if (*d)
		closedir(*d);
}

int imp_list_open(struct imp *i, const char *path, DIR **out, struct k3_err *e)
{
	int fd = openat(i->rootfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	*out = NULL;
	if (fd < 0)
		return errno == ENOENT ? 0 : k3_fail_sys(e, errno, "cannot open %s", path);
	*out = fdopendir(fd);
	if (*out)
		return 0;
	k3_fail_sys(e, errno, "cannot read %s", path);
	k3_closep(&fd);
	return -1;
}

const char *imp_list_next(DIR *d)
{
	const struct dirent *ent;

	while (d && (ent = readdir(d)))
		if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0)
			return ent->d_name;
	return NULL;
}

bool imp_is_number(const char *name, uint64_t *n)
{
	char *end;

	if (*name < '1' || *name > '9')
		return false;
	errno = 0;
	*n = strtoull(name, &end, 10);
	return !errno && !*end;
}

/* ---- what kind of directory it is --------------------------------------------------------- */

static bool is_ours_or_nothing(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, IMP_STAGE_DIR) ||
	       !strcmp(name, "lost+found");
}

/* *empty: no entries but our staging; *containerd: has directories of containerd's plugins. */
static int look_around(int fd, bool *empty, bool *containerd, struct k3_err *e)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	*empty = true;
	*containerd = false;
	if (!d) {
		k3_fail_sys(e, errno, "cannot read the directory");
		k3_closep(&copy);
		return -1;
	}
	for (struct dirent *ent; (ent = readdir(d));) {
		*empty &= is_ours_or_nothing(ent->d_name);
		*containerd |= !strncmp(ent->d_name, "io.containerd.", 14);
	}
	closedir(d);
	return 0;
}

static int check_writable(struct imp *i, struct k3_err *e)
{
	if (!faccessat(i->rootfd, ".", W_OK, AT_EACCESS))
		return 0;
	if (errno == EROFS)
		return k3_fail(e, K3_STORE, "the file system is mounted read-only");
	if (errno != EACCES && errno != EPERM)
		return k3_fail_sys(e, errno, "cannot write to the directory");
	k3_fail(e, K3_STORE, "no permission to write to the directory");
	return k3_hint(e, "run as root");
}

/* Blobs and trees move from staging into the store by rename. */
static int check_one_file_system(struct imp *i, struct k3_err *e)
{
	static const char *const dirs[] = { IMP_CONTENT_DIR, IMP_CONTENT_DIR "/blobs",
					    IMP_CONTENT_DIR "/blobs/sha256", IMP_NATIVE_DIR,
					    IMP_SNAPSHOTS_DIR };
	struct stat root, st;

	if (fstat(i->rootfd, &root))
		return k3_fail_sys(e, errno, "cannot look at the directory");
	for (size_t k = 0; k < K3_ARRAY_LEN(dirs); k++)
		if (!fstatat(i->rootfd, dirs[k], &st, 0) && st.st_dev != root.st_dev)
			return k3_fail(e, K3_STORE,
				       "%s is on another file system than the root: not supported",
				       dirs[k]);
	return 0;
}

/* live: somebody has the databases, and with the run lock that is no k3simg. */
static int choose_mode(struct imp *i, bool live, struct k3_err *e)
{
	i->live = live;
	if (live)
		return i->stage_only ? 0 : imp_live_connect(i, e);
	if (i->mode != IMP_LIVE)
		return 0;
	k3_fail(e, K3_STORE, "no containerd is running on this root");
	return k3_hint(e, "start it, or leave out --mode live");
}

static int check_schema(struct imp *i, struct k3_err *e)
{
	/* With the run lock only containerd can hold these locks, else also a commit. */
	bool other = !i->write && flock(i->rootfd, LOCK_SH | LOCK_NB);
	struct imp_dbs dbs;
	struct bolt_txn *t = NULL;
	int64_t version = 0;
	bool live;
	int rc = 0;

	if (!i->write)
		flock(i->rootfd, LOCK_UN);
	if (imp_dbs_open(i, IMP_DBS_READ, other ? IMP_PATIENCE_MS : 0, &dbs, e))
		return -1;
	live = dbs.meta && bolt_is_copy(dbs.meta);
	/* Before anything is downloaded, and before a journal is acted on. */
	rc = imp_dbs_match(i, &dbs, e) || (i->write && !live && imp_dbs_sound(i, &dbs, e)) ? -1 : 0;
	if (!rc && dbs.meta)
		rc = bolt_begin(dbs.meta, false, &t, e) || imp_schema_read(t, &version, e) ? -1 : 0;
	bolt_abort(t);
	imp_dbs_close(&dbs);
	i->fresh = version == 0;
	return rc || !i->write ? rc : choose_mode(i, live, e);
}

static int check_root(struct imp *i, struct k3_err *e)
{
	bool empty, containerd;

	if (look_around(i->rootfd, &empty, &containerd, e))
		return -1;
	if (!empty && !containerd) {
		k3_fail(e, K3_STORE,
			"not a containerd root: it has files, but no io.containerd.* directories");
		return k3_hint(e, "name the directory that containerd's `root` is set to, or an "
				  "empty one");
	}
	if (i->write && (check_writable(i, e) || check_one_file_system(i, e)))
		return -1;
	return check_schema(i, e);
}

/* ---- the run lock --------------------------------------------------------------------------- */

static int open_root(struct imp *i, struct k3_err *e)
{
	struct k3_err why = { 0 };

	if (!k3_open_dir(AT_FDCWD, i->root, &i->rootfd, &why))
		return 0;
	if (why.code != K3_NOTFOUND || !i->write) {
		*e = why;
		if (why.sys == ENOTDIR)
			e->code = K3_STORE;
		if (why.code == K3_NOTFOUND)
			k3_hint(e, "nothing has been preloaded there yet; "
				   "--root names another root");
		return -1;
	}
	if (k3_make_dirs(i->root, 0711, e))
		return -1;
	i->made_root = true;
	return k3_open_dir(AT_FDCWD, i->root, &i->rootfd, e);
}

/* Whether the path still leads to the directory that is open: the last run may have removed
 * an empty root that it had made. */
static bool same_root(struct imp *i)
{
	struct stat a, b;

	return !fstat(i->rootfd, &a) && !stat(i->root, &b) && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static int wait_for_lock(struct imp *i, const struct imp_opts *o, struct k3_err *e)
{
	for (bool told = false; flock(i->rootfd, LOCK_EX | LOCK_NB);) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return k3_fail_sys(e, errno, "cannot lock the directory");
		if (!told && o->on_wait)
			o->on_wait(o->arg);
		told = true;
		if (k3_cancel_sleep(i->cancel, POLL_MS, e))
			return -1;
	}
	return 0;
}

static int open_and_lock(struct imp *i, const struct imp_opts *o, struct k3_err *e)
{
	do {
		k3_closep(&i->rootfd);
		if (open_root(i, e))
			return -1;
		if (!i->write)
			return 0;
		if (wait_for_lock(i, o, e))
			return -1;
	} while (!same_root(i));
	return 0;
}

/* ---- staging ------------------------------------------------------------------------ */

static int open_staging(struct imp *i, struct k3_err *e)
{
	K3_AUTO_FD int old = -1;

	if (k3_make_dir(i->rootfd, IMP_STAGE_DIR, 0700, &i->stagefd, e) ||
	    k3_make_dir(i->stagefd, "trees", 0700, &old, e) ||
	    /* What is left of a commit waits for a run that has the databases. */
	    (!i->live && imp_recover(i, e)) || k3_remove_tree(i->stagefd, "trees", e) ||
	    k3_make_dir(i->stagefd, "trees", 0700, &i->treesfd, e) ||
	    k3_make_dir(i->stagefd, "blobs", 0700, &i->blobsfd, e))
		return k3_wrap(e, "staging directory");
	return 0;
}

/* Best effort: what stays is swept by the next run. */
static void remove_staging(struct imp *i, bool keep_partial)
{
	struct k3_err ignored;

	if (i->stagefd < 0)
		return;
	(void)!k3_remove_tree(i->stagefd, "trees", &ignored);
	if (!keep_partial)
		(void)!k3_remove_tree(i->stagefd, "blobs", &ignored);
	unlinkat(i->stagefd, "blobs", AT_REMOVEDIR);
	/* New databases that a run did not come to place. */
	unlinkat(i->stagefd, "meta.db", 0);
	unlinkat(i->stagefd, "metadata.db", 0);
	if (unlinkat(i->rootfd, IMP_STAGE_DIR, AT_REMOVEDIR) == 0 && i->made_root)
		rmdir(i->root); /* fails as it should when something came in */
}

/* ---- open, close -------------------------------------------------------------------- */

static bool alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Alphanumeric runs joined by single '.', '_' or '-'. */
static int check_namespace(const char *ns, struct k3_err *e)
{
	size_t n = strlen(ns);
	bool ok = n && n <= NAMESPACE_MAX && alnum(ns[0]) && alnum(ns[n - 1]);

	for (size_t k = 1; ok && k < n; k++)
		ok = alnum(ns[k]) || (strchr("._-", ns[k]) && alnum(ns[k - 1]));
	/* meta.db keeps its schema version under this name. */
	if (!ok || !strcmp(ns, "version"))
		return k3_fail(e, K3_USAGE, "\"%s\" is no name of a containerd namespace", ns);
	return 0;
}

int imp_open(const struct imp_opts *o, struct imp **out, struct k3_err *e)
{
	struct imp *i;

	if (check_namespace(o->ns, e))
		return -1;
	i = k3_xcalloc(1, sizeof(*i));
	i->root = k3_xstrdup(o->root);
	i->ns = k3_xstrdup(o->ns);
	i->write = o->write;
	i->pin = o->pin;
	i->no_sync = o->no_sync;
	i->stage_only = o->stage_only;
	i->mode = o->mode;
	i->address = o->address ? k3_xstrdup(o->address) : NULL;
	i->cancel = o->cancel;
	i->rootfd = i->stagefd = i->blobsfd = i->treesfd = -1;
	i->lock = k3_monitor_new();
	i->putting = k3_monitor_new();
	if (open_and_lock(i, o, e) || check_root(i, e) || (i->write && open_staging(i, e))) {
		/* These two name the root themselves. */
		if (e->code != K3_BUSY && e->code != K3_NOTFOUND)
			k3_wrap(e, "%s", o->root);
		imp_close(i, true);
		return -1;
	}
	*out = i;
	return 0;
}

bool imp_is_live(const struct imp *i)
{
	return i->live;
}

/* Best effort: a lease that stays ends by itself, or with the next run. */
static void leave_daemon(struct imp *i)
{
	struct k3_err ignored;

	if (i->daemon) {
		/* Also after an interruption. */
		grpc_set_cancel(imp_daemon_channel(i->daemon), NULL);
		(void)!imp_daemon_release(i->daemon, &ignored);
	}
	imp_daemon_close(i->daemon);
	i->daemon = NULL;
}

void imp_close(struct imp *i, bool keep_partial)
{
	if (!i)
		return;
	leave_daemon(i);
	for (size_t k = 0; k < i->ntrees; k++) {
		imp_tree_drop(i->trees[k]);
		free(i->trees[k]->name);
		free(i->trees[k]->parent_name);
		free(i->trees[k]->old_name);
		imp_losses_release(&i->trees[k]->losses);
		free(i->trees[k]);
	}
	remove_staging(i, keep_partial && !i->committed);
	if (i->made_root && i->stagefd < 0)
		rmdir(i->root);
	k3_closep(&i->blobsfd);
	k3_closep(&i->treesfd);
	k3_closep(&i->stagefd);
	k3_closep(&i->rootfd);
	k3_monitor_free(i->lock);
	k3_monitor_free(i->putting);
	free(i->trees);
	free(i->staged);
	free(i->images);
	imp_digests_release(&i->bad_blobs);
	imp_digests_release(&i->good_blobs);
	imp_digests_release(&i->bad_chains);
	free(i->root);
	free(i->ns);
	free(i->address);
	free(i);
}

void imp_set_step(struct imp *i, imp_step_fn *fn, void *arg)
{
	i->step = fn;
	i->step_arg = arg;
}
