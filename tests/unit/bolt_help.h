/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of bolt/ share: opening, files as bytes, checks that must be clean. */
#ifndef K3_TESTS_BOLT_HELP_H
#define K3_TESTS_BOLT_HELP_H

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bolt/bolt.h"
#include "bolt/page.h"
#include "bolt/port.h"
#include "tests/unit/bolt_model.h"
#include "tests/unit/unit.h"

#define RW (BOLT_WRITE | BOLT_CREATE)

/* A new temporary directory as a descriptor, which the caller closes. */
static inline int help_dir(void)
{
	return open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static inline int help_no_sync(void *arg, int fd)
{
	(void)arg, (void)fd;
	return 0;
}

/* The system's port without syncs, which cost these tests seconds and prove nothing. */
static inline const struct bolt_port *help_fast(struct bolt_port *port)
{
	*port = bolt_port_system;
	port->sync_data = port->sync_all = help_no_sync;
	return port;
}

struct bytes {
	uint8_t *p;
	size_t n;
};

static inline struct bytes help_read(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	struct stat st = { 0 };

	if (fd < 0 || fstat(fd, &st))
		unit_fail(__FILE__, __LINE__, "cannot read %s", name);
	struct bytes b = { k3_xcalloc((size_t)st.st_size + 1, 1), (size_t)st.st_size };

	if (pread(fd, b.p, b.n, 0) != (ssize_t)b.n)
		unit_fail(__FILE__, __LINE__, "cannot read %s", name);
	close(fd);
	return b;
}

static inline void help_write(int dir, const char *name, const void *p, size_t n)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, p, n) != (ssize_t)n)
		unit_fail(__FILE__, __LINE__, "cannot write %s", name);
	close(fd);
}

static inline void help_show(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "bolt_check: %s\n", text);
}

/* Number of problems in the stored state; prints them if there should be none. */
static inline size_t help_check(struct bolt_db *db)
{
	struct k3_err err;
	struct bolt_txn *t;
	size_t n = 0;

	OK(bolt_begin(db, false, &t, &err));
	OK(bolt_check(t, help_show, NULL, &n, &err));
	bolt_abort(t);
	return n;
}

/* Why the stored state is not what the model says, or NULL. */
static inline const char *help_diff(struct bolt_db *db, const struct model *want)
{
	struct k3_err err = { 0 };
	struct bolt_txn *t;

	if (bolt_begin(db, false, &t, &err))
		return "cannot begin";
	struct model *have = model_load(bolt_root(t), &err);
	const char *diff = have ? model_diff(have, want) : "cannot read";

	if (!have)
		fprintf(stderr, "%s\n", err.msg);
	model_free(have);
	bolt_abort(t);
	return diff;
}

static inline struct bolt_bucket *help_make(struct bolt_bucket *parent, const char *name)
{
	struct bolt_bucket *b = NULL;
	struct k3_err err;

	OK(bolt_bucket_make(parent, model_str(name), &b, &err));
	return b;
}

static inline void help_put(struct bolt_bucket *b, const char *key, const char *val)
{
	struct k3_err err;

	OK(bolt_put(b, model_str(key), model_str(val), &err));
}

/* The value as text in buf, "(none)" if absent. */
static inline const char *help_get(struct bolt_bucket *b, const char *key, char buf[64])
{
	struct k3_err err;
	struct bolt_val v = { 0 };

	OK(bolt_get(b, model_str(key), &v, &err));
	snprintf(buf, 64, "%.*s", v.p ? (int)v.n : 6, v.p ? (const char *)v.p : "(none)");
	return buf;
}

static inline struct bolt_txn *help_begin(struct bolt_db *db)
{
	struct bolt_txn *t = NULL;
	struct k3_err err;

	OK(bolt_begin(db, true, &t, &err));
	return t;
}

static inline struct bolt_stat help_stat(struct bolt_db *db)
{
	struct bolt_txn *t;
	struct bolt_stat st = { 0 };
	struct k3_err err;

	OK(bolt_begin(db, false, &t, &err));
	bolt_stat(t, &st);
	bolt_abort(t);
	return st;
}

/* n random operations in one committed transaction, on db and model. */
static inline void help_random(struct bolt_db *db, struct model *m, struct model_rng *r,
			       const struct model_shape *s, int n)
{
	struct bolt_txn *t = help_begin(db);
	struct k3_err err;

	for (int i = 0; i < n; i++)
		OK(model_op(r, s, m, bolt_root(t), &err));
	OK(bolt_commit(t, &err));
}

#endif
