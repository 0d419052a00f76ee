/* SPDX-License-Identifier: Apache-2.0 */
/* A depth-first walk that gives half of what it has left to whoever is idle. */
#include "snapshot/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

#define DENTS_BYTES (32u << 10)
/* Sub-directories waiting on all levels of one walker. */
#define PENDING_MAX (256u << 20)
#define PATH_BYTES_MAX (1u << 20)
/* Levels kept open on the way down; deeper ones are found again by "..". */
#define OPEN_LEVELS 16
/* Entries visited before a second thread is worth its start, which costs about ten of them. */
#define SHARE_AFTER 256

struct level {
	int from, to; /* -1: closed to save descriptors; to: always with one tree */
	ino_t ino;
	size_t base;      /* what the pending list is cut back to on the way up */
	size_t next, end; /* this level's part of it */
	size_t path_len;  /* of the path to this directory */
};

/* A sub-directory still to be visited; its NUL-terminated name follows. */
struct pending {
	struct walk_attrs attrs;
	ino_t ino;
	size_t size; /* with the name */
};

/* Sub-directories of one directory, given away. */
struct task {
	struct task *next;
	struct level dir;
	char *path;
	uint8_t *pending;
};

struct crew {
	const struct walk_job *job;
	dev_t dev;
	struct k3_monitor *mon;
	atomic_bool stop;
	atomic_int wanted; /* tasks that would find a thread at once */
	/* below: inside the monitor */
	struct task *tasks;
	unsigned busy, idle, started;
	bool refused; /* the system gives no more threads */
	bool failed;
	struct k3_err err;
	struct hand {
		struct crew *crew;
		void *arg;
		struct k3_thread *thread;
	} hands[WALK_THREADS_MAX];
};

/* What one thread has in work. */
struct walker {
	struct crew *crew;
	void *arg;
	struct level *levels;
	size_t depth, cap;
	struct k3_buf pending;
	struct k3_buf path;
	char *dents;
	size_t seen; /* entries */
};

/* ---- the crew ------------------------------------------------------------------------ */

static void task_free(struct task *t)
{
	k3_closep(&t->dir.from);
	k3_closep(&t->dir.to);
	free(t->path);
	free(t->pending);
	free(t);
}

/* Inside the monitor; after every change of what it looks at. */
static void count_wanted(struct crew *c)
{
	int n = (int)c->idle;

	if (!c->refused)
		n += (int)(c->job->threads - 1 - c->started);
	for (struct task *t = c->tasks; t; t = t->next)
		n--;
	atomic_store_explicit(&c->wanted, n, memory_order_relaxed);
}

static void crew_fail(struct crew *c, const struct k3_err *e)
{
	K3_WITH_MONITOR(c->mon);
	if (!c->failed)
		c->err = *e;
	c->failed = true;
	atomic_store(&c->stop, true);
	k3_monitor_wake_all(c->mon);
}

/* NULL: there is nothing left and nobody who could give anything. */
static struct task *crew_take(struct crew *c)
{
	K3_WITH_MONITOR(c->mon);
	while (!c->tasks && c->busy && !c->failed) {
		c->idle++;
		count_wanted(c);
		k3_monitor_wait(c->mon);
		c->idle--;
	}
	struct task *t = c->failed ? NULL : c->tasks;

	if (t) {
		c->tasks = t->next;
		c->busy++;
	}
	count_wanted(c);
	return t;
}

static void crew_done(struct crew *c)
{
	K3_WITH_MONITOR(c->mon);
	if (--c->busy == 0)
		k3_monitor_wake_all(c->mon);
}

static void help(void *arg);

static void crew_give(struct crew *c, struct task *t)
{
	K3_WITH_MONITOR(c->mon);
	t->next = c->tasks;
	c->tasks = t;
	if (!c->idle && !c->refused && c->started + 1 < c->job->threads) {
		struct hand *h = &c->hands[c->started];
		struct k3_err ignored;

		*h = (struct hand){ .crew = c, .arg = c->job->args[c->started + 1] };
		if (k3_thread_start(help, h, &h->thread, &ignored))
			c->refused = true;
		else
			c->started++;
	}
	count_wanted(c);
	k3_monitor_wake_all(c->mon);
}

/* ---- one walker ---------------------------------------------------------------------- */

static struct level *here(const struct walker *w)
{
	return &w->levels[w->depth - 1];
}

static void walker_reset(struct walker *w)
{
	for (size_t i = 0; i < w->depth; i++) {
		k3_closep(&w->levels[i].from);
		k3_closep(&w->levels[i].to);
	}
	w->depth = 0;
	k3_buf_reset(&w->pending);
	k3_buf_reset(&w->path);
}

static void walker_release(struct walker *w)
{
	walker_reset(w);
	free(w->levels);
	free(w->dents);
	k3_buf_release(&w->pending);
	k3_buf_release(&w->path);
}

static struct pending pending_at(const uint8_t *p)
{
	struct pending d;

	memcpy(&d, p, sizeof(d)); /* names between them: not aligned */
	return d;
}

/*
 * Somebody is idle: they get the later half of the names on the topmost level that has more
 * than one, because the biggest trees hang there.
 */
static void share(struct walker *w)
{
	if (w->seen < SHARE_AFTER ||
	    atomic_load_explicit(&w->crew->wanted, memory_order_relaxed) <= 0)
		return;
	for (size_t i = 0; i < w->depth; i++) {
		struct level *l = &w->levels[i];
		const uint8_t *p = w->pending.p;
		size_t n = 0, mid = l->next;

		if (l->from < 0)
			continue;
		for (size_t at = l->next; at < l->end; at += pending_at(p + at).size)
			n++;
		if (n < 2)
			continue;
		for (size_t k = (n + 1) / 2; k; k--)
			mid += pending_at(p + mid).size;
		struct task *t = k3_xcalloc(1, sizeof(*t));

		t->dir = *l;
		t->dir.from = fcntl(l->from, F_DUPFD_CLOEXEC, 0);
		t->dir.to = l->to < 0 ? -1 : fcntl(l->to, F_DUPFD_CLOEXEC, 0);
		if (t->dir.from < 0 || (t->dir.to < 0 && l->to >= 0)) {
			task_free(t); /* no descriptor to spare */
			return;
		}
		t->dir.end = l->end - mid;
		t->path = k3_xstrndup((const char *)w->path.p, l->path_len);
		t->pending = k3_xcalloc(1, t->dir.end);
		memcpy(t->pending, p + mid, t->dir.end);
		l->end = mid;
		crew_give(w->crew, t);
		return;
	}
}

static int go_on(struct walker *w, struct k3_err *e)
{
	w->seen++;
	if (atomic_load_explicit(&w->crew->stop, memory_order_relaxed))
		return k3_fail(e, K3_CANCELLED, "another thread failed");
	return k3_cancel_check(w->crew->job->cancel, e);
}

static void set_attrs(struct walk_attrs *a, const struct stat *st)
{
	*a = (struct walk_attrs){
		.times = { st->st_atim, st->st_mtim },
		.uid = st->st_uid,
		.gid = st->st_gid,
		.mode = st->st_mode & 07777,
		.made = WALK_TOP,
	};
}

static int show_subdir(struct walker *w, const struct walk_dir *d, const char *name,
		       const struct stat *st, struct k3_err *e)
{
	const struct walk_job *job = w->crew->job;
	size_t n = strlen(name) + 1;
	struct pending p = { .ino = st->st_ino, .size = sizeof(p) + n };

	if (n > NAME_MAX + 1)
		return k3_fail_sys(e, ENAMETOOLONG, "cannot open directory %.64s", name);
	if (st->st_dev != w->crew->dev)
		return job->ops->skip_mounts ? 0 : k3_fail(e, K3_BUSY, "%s is a mount point", name);
	set_attrs(&p.attrs, st);
	if (job->ops->subdir(w->arg, d, name, st, &p.attrs.made, e))
		return -1;
	return k3_buf_add(&w->pending, &p, sizeof(p), e) || k3_buf_add(&w->pending, name, n, e) ? -1
												: 0;
}

static int show(struct walker *w, const struct walk_dir *d, const struct dirent64 *ent,
		struct k3_err *e)
{
	const char *name = ent->d_name;
	struct stat st;

	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	if (go_on(w, e))
		return -1;
	if (ent->d_type == DT_DIR || ent->d_type == DT_UNKNOWN) {
		if (fstatat(d->from, name, &st, AT_SYMLINK_NOFOLLOW))
			return k3_fail_sys(e, errno, "cannot look at %s", name);
		if (S_ISDIR(st.st_mode))
			return show_subdir(w, d, name, &st, e);
	}
	return w->crew->job->ops->file(w->arg, d, name, (ino_t)ent->d_ino, e);
}

/* Lists the newest level's directory. */
static int list(struct walker *w, const struct walk_attrs *attrs, struct k3_err *e)
{
	const struct walk_ops *ops = w->crew->job->ops;
	struct level *l = here(w);
	const struct walk_dir d = { l->from, l->to, (const char *)w->path.p, attrs };

	for (;;) {
		ssize_t n = getdents64(d.from, w->dents, DENTS_BYTES);

		if (n < 0)
			return k3_fail_sys(e, errno, "cannot read a directory");
		if (!n)
			break;
		for (ssize_t at = 0; at < n;) {
			/* The kernel aligns the records; the buffer comes from malloc. */
			const struct dirent64 *ent = (const void *)(w->dents + at);

			if (show(w, &d, ent, e))
				return -1;
			at += ent->d_reclen;
		}
		/* A directory of a million files must not keep the others waiting. */
		share(w);
	}
	l->end = w->pending.len;
	return ops->listed ? ops->listed(w->arg, &d, e) : 0;
}

static void push_level(struct walker *w, const struct level *l)
{
	w->levels = k3_xgrow(w->levels, w->depth, &w->cap, sizeof(*w->levels));
	w->levels[w->depth++] = *l;
}

static int open_level(struct walker *w, int from, int to, const char *name, struct k3_err *e)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	size_t at = w->pending.len;
	struct level l = { .from = -1, .to = -1, .base = at, .next = at, .end = at };

	l.path_len = w->path.len;
	l.from = openat(from, name, flags);
	if (l.from < 0)
		return k3_fail_sys(e, errno, "cannot open directory %s", name);
	if (to >= 0) {
		l.to = openat(to, name, flags);
		if (l.to < 0) {
			k3_fail_sys(e, errno, "cannot open the new directory %s", name);
			k3_closep(&l.from);
			return -1;
		}
	}
	push_level(w, &l);
	return 0;
}

static int add_path(struct walker *w, const char *name, struct k3_err *e)
{
	if (w->path.len && k3_buf_add(&w->path, "/", 1, e))
		return -1;
	return k3_buf_add(&w->path, name, strlen(name), e);
}

/* Visits the next sub-directory of the newest level. */
static int walk_down(struct walker *w, struct k3_err *e)
{
	struct level *l = here(w);
	struct pending p = pending_at(w->pending.p + l->next);
	char name[NAME_MAX + 1];

	/* A copy: the list moves when the next level is listed. */
	memcpy(name, w->pending.p + l->next + sizeof(p), p.size - sizeof(p));
	l->next += p.size;
	if (l->to >= 0 && add_path(w, name, e))
		return -1;
	if (open_level(w, l->from, l->to, name, e))
		return -1;
	here(w)->ino = p.ino;
	if (w->depth > OPEN_LEVELS) {
		l = here(w) - 1;
		k3_closep(&l->from);
		k3_closep(&l->to);
	}
	return list(w, &p.attrs, e) ? k3_wrap(e, "%s", name) : 0;
}

/* Leaves the newest level, which has nothing left. */
static int walk_up(struct walker *w, struct k3_err *e)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	struct level *l = here(w);

	if (w->depth > 1 && l[-1].from < 0) {
		struct stat st;

		l[-1].from = openat(l->from, "..", flags);
		if (l->to >= 0)
			l[-1].to = openat(l->to, "..", flags);
		if (l[-1].from < 0 || (l->to >= 0 && l[-1].to < 0) || fstat(l[-1].from, &st))
			return k3_fail_sys(e, errno, "cannot go back up in a tree");
		if (st.st_dev != w->crew->dev || st.st_ino != l[-1].ino)
			return k3_fail(e, K3_BUSY, "a directory was moved while being read");
	}
	w->pending.len = l->base;
	k3_closep(&l->from);
	k3_closep(&l->to);
	if (--w->depth) {
		w->path.len = here(w)->path_len;
		if (w->path.p)
			w->path.p[w->path.len] = 0;
	}
	return 0;
}

static int walk_rest(struct walker *w, struct k3_err *e)
{
	while (w->depth) {
		share(w);
		struct level *l = here(w);

		if (l->next < l->end ? walk_down(w, e) : walk_up(w, e))
			return -1;
	}
	return 0;
}

static int walk_task(struct walker *w, struct task *t, struct k3_err *e)
{
	struct level l = t->dir;

	if (k3_buf_add(&w->pending, t->pending, t->dir.end, e) ||
	    k3_buf_add(&w->path, t->path, strlen(t->path), e))
		return -1;
	l.base = l.next = 0;
	push_level(w, &l);
	t->dir.from = t->dir.to = -1;
	return walk_rest(w, e);
}

static int walk_top(struct walker *w, struct k3_err *e)
{
	const struct walk_job *job = w->crew->job;
	struct walk_attrs attrs;
	struct stat st;

	if (fstat(job->from, &st))
		return k3_fail_sys(e, errno, "cannot look at a tree");
	w->crew->dev = st.st_dev;
	set_attrs(&attrs, &st);
	if (open_level(w, job->from, job->to, ".", e))
		return -1;
	here(w)->ino = st.st_ino;
	return list(w, &attrs, e) ? -1 : walk_rest(w, e);
}

/* Works until there is nothing left.  top: this thread begins the walk. */
static void work(struct crew *c, void *arg, bool top)
{
	struct walker w = {
		.crew = c,
		.arg = arg,
		.pending = K3_BUF(PENDING_MAX),
		.path = K3_BUF(PATH_BYTES_MAX),
	};
	struct task *t = NULL;
	struct k3_err err;

	w.dents = k3_xcalloc(1, DENTS_BYTES);
	while (top || (t = crew_take(c))) {
		int rc = k3_buf_reserve(&w.path, 0, &err); /* "" is a string too */

		if (!rc)
			rc = top ? walk_top(&w, &err) : walk_task(&w, t, &err);
		if (rc)
			crew_fail(c, &err);
		walker_reset(&w);
		crew_done(c);
		if (!top)
			task_free(t);
		top = false;
	}
	walker_release(&w);
}

static void help(void *arg)
{
	struct hand *h = arg;

	work(h->crew, h->arg, false);
}

int walk_trees(const struct walk_job *job, struct k3_err *e)
{
	struct crew c = { .job = job, .busy = 1 };

	if (job->threads < 1 || job->threads > WALK_THREADS_MAX)
		return k3_fail(e, K3_BUG, "a tree cannot be walked on %u threads", job->threads);
	c.mon = k3_monitor_new();
	count_wanted(&c);
	work(&c, job->args[0], true);
	for (unsigned i = 0; i < c.started; i++)
		k3_thread_join(c.hands[i].thread);
	k3_monitor_free(c.mon);
	for (struct task *t = c.tasks, *next; t; t = next) {
		next = t->next;
		task_free(t);
	}
	if (!c.failed)
		return 0;
	*e = c.err;
	return -1;
}
