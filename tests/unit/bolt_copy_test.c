/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a database that another process holds and writes to. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "bolt/db.h"
#include "tests/unit/bolt_help.h"

#define ROUNDS 100
#define KEYS 40

static void put(struct bolt_db *db, const char *key, const char *value)
{
	struct bolt_bucket *b;
	struct bolt_txn *t;
	struct k3_err err;

	OK(bolt_begin(db, true, &t, &err));
	OK(bolt_bucket_make(bolt_root(t), BOLT_STR("v1"), &b, &err));
	OK(bolt_put(b, BOLT_STR(key), BOLT_STR(value), &err));
	OK(bolt_commit(t, &err));
}

static void is(struct bolt_db *db, const char *key, const char *value)
{
	struct bolt_bucket *b;
	struct bolt_val got;
	struct bolt_txn *t;
	struct k3_err err;

	OK(bolt_begin(db, false, &t, &err));
	OK(bolt_bucket_get(bolt_root(t), BOLT_STR("v1"), &b, &err));
	OK(bolt_get(b, BOLT_STR(key), &got, &err));
	EQ_INT(got.n, strlen(value));
	CHECK(got.p && !memcmp(got.p, value, got.n));
	bolt_abort(t);
}

TEST(copies_what_is_locked)
{
	K3_AUTO_FD int dir = help_dir();
	struct bolt_db *writer, *reader;
	struct k3_err err;

	OK(bolt_open(dir, "db", RW, 0600, &writer, &err));
	put(writer, "key", "old");
	FAILS(bolt_open(dir, "db", BOLT_READ, 0, &reader, &err), K3_BUSY);
	OK(bolt_open(dir, "db", BOLT_READ | BOLT_COPY, 0, &reader, &err));
	CHECK(bolt_is_copy(reader));
	CHECK(!bolt_is_stale(reader));
	put(writer, "key", "new");
	CHECK(bolt_is_stale(reader));
	is(reader, "key", "old");
	bolt_close(reader);
	OK(bolt_open(dir, "db", BOLT_READ | BOLT_COPY, 0, &reader, &err));
	is(reader, "key", "new");
	bolt_close(reader);
	bolt_close(writer);
}

TEST(locks_what_is_free)
{
	K3_AUTO_FD int dir = help_dir();
	struct bolt_db *db, *reader;
	struct k3_err err;

	OK(bolt_open(dir, "db", RW, 0600, &db, &err));
	put(db, "key", "value");
	bolt_close(db);
	OK(bolt_open(dir, "db", BOLT_READ | BOLT_COPY, 0, &reader, &err));
	CHECK(!bolt_is_copy(reader));
	CHECK(!bolt_is_stale(reader));
	FAILS(bolt_open(dir, "db", RW, 0600, &db, &err), K3_BUSY);
	bolt_close(reader);
	FAILS(bolt_open(dir, "db", BOLT_WRITE | BOLT_COPY, 0, &db, &err), K3_BUG);
	FAILS(bolt_open(dir, "none", BOLT_READ | BOLT_COPY, 0, &db, &err), K3_NOTFOUND);
}

TEST(locked_and_broken)
{
	static const char text[] = "this is no database, whoever holds it";
	K3_AUTO_FD int dir = help_dir();
	struct bolt_db *writer, *reader;
	struct k3_err err;

	OK(bolt_open(dir, "db", RW, 0600, &writer, &err));
	help_write(dir, "db", text, sizeof(text));
	FAILS(bolt_open(dir, "db", BOLT_READ | BOLT_COPY, 0, &reader, &err), K3_STORE);
	bolt_close(writer);
}

/* Every commit gives all keys the same new value, and moves pages about. */
static _Noreturn void write_on(struct bolt_db *db)
{
	struct k3_err err;

	for (uint64_t n = 1; !unit_failed_checks; n++) {
		struct bolt_bucket *b;
		struct bolt_txn *t;
		char value[512];
		int len = snprintf(value, sizeof(value), "%0*" PRIu64, (int)(n % 400) + 10, n);

		OK(bolt_begin(db, true, &t, &err));
		OK(bolt_bucket_make(bolt_root(t), BOLT_STR("v1"), &b, &err));
		for (int k = 0; k < KEYS; k++) {
			char key[16];

			snprintf(key, sizeof(key), "key %d", k);
			OK(bolt_put(b, BOLT_STR(key), (struct bolt_val){ value, (size_t)len },
				    &err));
		}
		OK(bolt_commit(t, &err));
		/* Without a pause a quick disk leaves no moment in which a copy comes out whole. */
		if (n % 8 == 0)
			usleep(2000);
	}
	_exit(1);
}

/* Sound, and of one commit. */
static void check_copy(struct bolt_db *db)
{
	struct bolt_val first = { 0 };
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	struct bolt_bucket *b;
	struct bolt_txn *t;
	struct k3_err err;
	size_t problems, n = 0;
	bool more = true;

	OK(bolt_begin(db, false, &t, &err));
	OK(bolt_check(t, NULL, NULL, &problems, &err));
	EQ_INT(problems, 0);
	OK(bolt_bucket_get(bolt_root(t), BOLT_STR("v1"), &b, &err));
	for (;; n++) {
		OK(bolt_next(b, &it, &item, &more, &err));
		if (!more)
			break;
		if (!first.p)
			first = item.val;
		CHECK(item.val.n == first.n && !memcmp(item.val.p, first.p, first.n));
	}
	EQ_INT(n, KEYS);
	bolt_abort(t);
}

TEST(copies_while_it_is_written_to)
{
	K3_AUTO_FD int dir = help_dir();
	struct bolt_db *db, *writer;
	struct bolt_port fast;
	struct k3_err err;
	int copies = 0;
	pid_t pid;

	OK(bolt_open_with(dir, "db", RW, 0600, help_fast(&fast), 0, &writer, &err));
	for (int k = 0; k < KEYS; k++) {
		char key[16];

		snprintf(key, sizeof(key), "key %d", k);
		put(writer, key, "start");
	}
	/* The lock is on what both of us have open. */
	pid = fork();
	if (!pid)
		write_on(writer);
	for (int k = 0; k < ROUNDS; k++) {
		err = (struct k3_err){ 0 };
		if (bolt_open(dir, "db", BOLT_READ | BOLT_COPY, 0, &db, &err)) {
			/* It is allowed to give up, never to show a mixture. */
			EQ_INT(err.code, K3_BUSY);
			continue;
		}
		copies += bolt_is_copy(db);
		check_copy(db);
		bolt_close(db);
	}
	kill(pid, SIGKILL);
	EQ_INT(waitpid(pid, NULL, 0), pid);
	CHECK(copies > 0);
	bolt_close(writer);
}

UNIT_MAIN
