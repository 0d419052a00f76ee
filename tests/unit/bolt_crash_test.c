/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A commit that stops anywhere leaves exactly the old or the new state, also when any
 * part of what was written since the last sync is lost; and a failing system call leaves
 * the old one.
 */
#include <errno.h>

#include "tests/unit/bolt_help.h"

#define SECTOR 512u

struct op {
	enum { OP_WRITE, OP_TRUNCATE, OP_SYNC } kind;
	uint64_t offset; /* or size */
	struct bytes data;
};

/* A port that records, and fails call number fail_at (and all later ones if for_good). */
struct recorder {
	struct op *v;
	size_t n, cap;
	int calls, fail_at;
	bool for_good;
};

static bool fails_now(struct recorder *r)
{
	r->calls++;
	return r->fail_at && (r->calls == r->fail_at || (r->for_good && r->calls > r->fail_at));
}

static void record(struct recorder *r, struct op op)
{
	r->v = k3_xgrow(r->v, r->n, &r->cap, sizeof(*r->v));
	r->v[r->n++] = op;
}

static int rec_write(void *arg, int fd, const void *p, size_t n, uint64_t offset)
{
	struct op op = { .kind = OP_WRITE, .offset = offset, .data = { k3_xcalloc(n, 1), n } };

	memcpy(op.data.p, p, n);
	record(arg, op);
	if (fails_now(arg)) {
		/* Half of it arrives. */
		n /= 2;
		bolt_port_system.write(NULL, fd, p, n, offset);
		return EIO;
	}
	return bolt_port_system.write(NULL, fd, p, n, offset);
}

static int rec_truncate(void *arg, int fd, uint64_t size)
{
	record(arg, (struct op){ .kind = OP_TRUNCATE, .offset = size });
	return fails_now(arg) ? ENOSPC : bolt_port_system.truncate(NULL, fd, size);
}

static int rec_sync(void *arg, int fd)
{
	(void)fd;
	record(arg, (struct op){ .kind = OP_SYNC });
	return fails_now(arg) ? EIO : 0;
}

static struct bolt_port recorder_port(struct recorder *r)
{
	return (struct bolt_port){ .write = rec_write,
				   .truncate = rec_truncate,
				   .sync_data = rec_sync,
				   .sync_all = rec_sync,
				   .arg = r };
}

static void recorder_release(struct recorder *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->v[i].data.p);
	free(r->v);
}

static void image_resize(struct bytes *img, size_t n)
{
	if (n > img->n) {
		img->p = k3_xrealloc(img->p, n, 1);
		memset(img->p + img->n, 0, n - img->n);
	}
	img->n = n;
}

/* Does op to the image; `lossy`: any of its sectors may be missing. */
static void image_apply(struct bytes *img, const struct op *op, bool lossy, struct model_rng *r)
{
	uint32_t keep = lossy ? model_rand(r, 3) : 2; /* 0 nothing, 1 some, 2 all of it */

	if (!keep || op->kind == OP_SYNC)
		return;
	if (op->kind == OP_TRUNCATE) {
		image_resize(img, op->offset);
		return;
	}
	for (size_t i = 0; i < op->data.n; i += SECTOR) {
		size_t n = op->data.n - i < SECTOR ? op->data.n - i : SECTOR;

		if (keep == 1 && model_rand(r, 2))
			continue;
		if (img->n < op->offset + i + n)
			image_resize(img, op->offset + i + n);
		memcpy(img->p + op->offset + i, op->data.p + i, n);
	}
}

/* The file after a crash that came when `done` operations had been issued. */
static struct bytes crash_image(struct bytes base, const struct recorder *rec, size_t done,
				struct model_rng *r)
{
	struct bytes img = { k3_xcalloc(base.n + 1, 1), base.n };
	size_t synced = 0;

	memcpy(img.p, base.p, base.n);
	for (size_t i = 0; i < done; i++)
		if (rec->v[i].kind == OP_SYNC)
			synced = i + 1;
	for (size_t i = 0; i < done; i++)
		image_apply(&img, &rec->v[i], i >= synced, r);
	return img;
}

/* Opens the crashed file: it is one of the two states, sound, and can be written again. */
static bool survives(int dir, const struct model *before, const struct model *after,
		     struct model_rng *r)
{
	static const struct model_shape s = { 20, 100, 3000, 3, 30 };
	struct bolt_db *db;
	struct k3_err err;

	OK(bolt_open(dir, "crashed.db", BOLT_WRITE, 0, &db, &err));
	EQ_INT(help_check(db), 0);
	bool is_new = !help_diff(db, after);

	if (!is_new)
		EQ_STR(help_diff(db, before), NULL);
	struct model *m = model_copy(is_new ? after : before);

	help_random(db, m, r, &s, 30);
	EQ_INT(help_check(db), 0);
	EQ_STR(help_diff(db, m), NULL);
	model_free(m);
	bolt_close(db);
	return is_new;
}

struct scene {
	int dir;
	struct model *before, *after;
	struct bytes base;
	struct model_rng rng;
	struct model_shape shape;
	int ops;
};

/* a.db with some history; before = its content, after = with more operations. */
static void scene_make(struct scene *s, uint64_t seed)
{
	struct bolt_db *db;
	struct k3_err err;

	*s = (struct scene){ .dir = help_dir(),
			     .before = model_new(),
			     .rng = { .state = seed * 0x9e3779b97f4a7c15u + 5 },
			     .shape = { 20, 100, 9000, 3, 30 },
			     .ops = 150 };
	OK(bolt_open_with(s->dir, "a.db", RW, 0600, NULL, 4096, &db, &err));
	for (uint64_t i = 0; i < seed % 4; i++)
		help_random(db, s->before, &s->rng, &s->shape, s->ops);
	bolt_close(db);
	s->base = help_read(s->dir, "a.db");
	s->after = model_copy(s->before);
}

static void scene_release(struct scene *s)
{
	model_free(s->before);
	model_free(s->after);
	free(s->base.p);
	close(s->dir);
}

static int count_syncs(const struct recorder *rec)
{
	int n = 0;

	for (size_t i = 0; i < rec->n; i++)
		n += rec->v[i].kind == OP_SYNC;
	return n;
}

static void crash_everywhere(uint64_t seed)
{
	struct recorder rec = { 0 };
	struct bolt_port port = recorder_port(&rec);
	struct scene s;
	struct bolt_db *db;
	struct k3_err err;
	int news = 0;

	scene_make(&s, seed);
	OK(bolt_open_with(s.dir, "a.db", BOLT_WRITE, 0, &port, 0, &db, &err));
	help_random(db, s.after, &s.rng, &s.shape, s.ops);
	bolt_close(db);
	CHECK(count_syncs(&rec) == 2 || count_syncs(&rec) == 3);
	EQ_INT(rec.v[rec.n - 1].kind, OP_SYNC);
	for (size_t done = 0; done <= rec.n; done++)
		for (int i = 0; i < 6; i++) {
			struct bytes img = crash_image(s.base, &rec, done, &s.rng);

			help_write(s.dir, "crashed.db", img.p, img.n);
			free(img.p);
			bool is_new = survives(s.dir, s.before, s.after, &s.rng);

			news += is_new;
			/* Before the meta is written the new state must not show, after its
			 * sync it must. */
			if (done + 2 <= rec.n)
				CHECK(!is_new);
			if (done == rec.n)
				CHECK(is_new);
		}
	CHECK(news >= 6);
	recorder_release(&rec);
	scene_release(&s);
}

TEST(crash_at_every_step)
{
	for (uint64_t seed = 1; seed <= 8; seed++)
		crash_everywhere(seed);
}

/* Call number `fail_at` of the commit fails.  False when there are fewer calls. */
static bool fail_once(uint64_t seed, int fail_at, bool for_good)
{
	struct recorder rec = { .fail_at = fail_at, .for_good = for_good };
	struct bolt_port port = recorder_port(&rec);
	struct scene s;
	struct bolt_db *db;
	struct bolt_txn *t;
	struct k3_err err;

	scene_make(&s, seed);
	OK(bolt_open_with(s.dir, "a.db", BOLT_WRITE, 0, &port, 0, &db, &err));
	t = help_begin(db);
	for (int i = 0; i < s.ops; i++)
		OK(model_op(&s.rng, &s.shape, s.after, bolt_root(t), &err));
	bool failed = bolt_commit(t, &err);

	EQ_INT(failed, rec.calls >= fail_at);
	if (failed) {
		CHECK(err.code == K3_IO || err.code == K3_NOSPC);
		HAS_STR(err.msg, "a.db: ");
	}
	rec.fail_at = 0;
	if (!for_good) {
		/* What the handle shows, and a second try. */
		EQ_STR(help_diff(db, failed ? s.before : s.after), NULL);
		help_random(db, failed ? s.before : s.after, &s.rng, &s.shape, 50);
	}
	bolt_close(db);
	struct bytes img = help_read(s.dir, "a.db");

	help_write(s.dir, "crashed.db", img.p, img.n);
	free(img.p);
	survives(s.dir, s.before, s.after, &s.rng);
	recorder_release(&rec);
	scene_release(&s);
	return failed;
}

TEST(every_failing_call_leaves_the_old_state)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		for (int i = 1; fail_once(seed, i, false); i++)
			CHECK(i < 100);
		for (int i = 1; fail_once(seed, i, true); i++)
			CHECK(i < 100);
	}
}

TEST(unknown_state_is_not_used_again)
{
	struct recorder rec = { 0 };
	struct bolt_port port = recorder_port(&rec);
	struct bolt_db *db;
	struct bolt_txn *t;
	struct k3_err err;
	int dir = help_dir();

	OK(bolt_open_with(dir, "a.db", RW, 0600, &port, 4096, &db, &err));
	t = help_begin(db);
	help_make(bolt_root(t), "b");
	rec.for_good = true;
	rec.fail_at = rec.calls + 6; /* truncate, sync, pages, sync, meta, sync */
	FAILS(bolt_commit(t, &err), K3_IO);
	FAILS(bolt_begin(db, false, &t, &err), K3_IO);
	HAS_STR(err.msg, "failed commit");
	bolt_close(db);
	OK(bolt_open(dir, "a.db", BOLT_WRITE, 0, &db, &err));
	EQ_INT(help_check(db), 0);
	bolt_close(db);
	recorder_release(&rec);
	close(dir);
}

TEST(failing_creation_can_be_repeated)
{
	struct bolt_db *db;
	struct k3_err err;
	int dir = help_dir();

	for (int i = 1; i <= 2; i++) {
		struct recorder rec = { .fail_at = i };
		struct bolt_port port = recorder_port(&rec);

		FAILS(bolt_open_with(dir, "a.db", RW, 0600, &port, 4096, &db, &err), K3_IO);
		recorder_release(&rec);
	}
	OK(bolt_open_with(dir, "a.db", RW, 0600, NULL, 4096, &db, &err));
	EQ_INT(help_check(db), 0);
	bolt_close(db);
	close(dir);
}

UNIT_MAIN
