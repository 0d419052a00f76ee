/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input chooses operations that are done to a database and to a model of it; after
 * each commit both must agree and the file must be sound.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bolt/bolt.h"
#include "bolt/port.h"
#include "tests/unit/bolt_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int no_sync(void *arg, int fd)
{
	(void)arg, (void)fd;
	return 0;
}

static void must(int failed, const struct k3_err *err)
{
	if (!failed)
		return;
	fprintf(stderr, "%s\n", err->msg);
	abort();
}

static void agree(struct bolt_txn *t, const struct model *m)
{
	struct k3_err err;
	struct model *have = model_load(bolt_root(t), &err);

	must(!have, &err);
	const char *diff = model_diff(have, m);

	if (diff) {
		fprintf(stderr, "%s differs\n", diff);
		abort();
	}
	model_free(have);
}

static void show(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "%s\n", text);
}

static void verify(struct bolt_db *db, const struct model *m)
{
	struct k3_err err;
	struct bolt_txn *t;
	size_t n = 0;

	must(bolt_begin(db, false, &t, &err), &err);
	agree(t, m);
	must(bolt_check(t, show, NULL, &n, &err), &err);
	if (n)
		abort();
	bolt_abort(t);
}

/* One transaction of some operations; now and then it is dropped. */
static void transaction(struct bolt_db *db, struct model **m, struct model_rng *r,
			const struct model_shape *s)
{
	struct model *next = model_copy(*m);
	struct k3_err err;
	struct bolt_txn *t;

	must(bolt_begin(db, true, &t, &err), &err);
	for (uint32_t n = model_rand(r, 64) * (model_rand(r, 8) ? 1 : 16); n && r->left; n--)
		must(model_op(r, s, next, bolt_root(t), &err), &err);
	agree(t, next);
	if (!model_rand(r, 8)) {
		bolt_abort(t);
		model_free(next);
	} else {
		must(bolt_commit(t, &err), &err);
		model_free(*m);
		*m = next;
	}
	verify(db, *m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model_rng r = { .bytes = data, .left = size, .from_bytes = true };
	struct bolt_port port = bolt_port_system;
	struct bolt_db *db;
	struct k3_err err;
	char path[64];
	int fd = memfd_create("bolt_ops", MFD_CLOEXEC);

	if (fd < 0)
		abort();
	struct model_shape s = { .keys = 1 + model_rand(&r, 300),
				 .value_max = 1 + model_rand(&r, 250),
				 .big_max = 1 + model_rand(&r, 9000),
				 .depth = 1 + model_rand(&r, 6),
				 .deletes = model_rand(&r, 80) };
	uint32_t page_size = 1024u << model_rand(&r, 3);
	struct model *m = model_new();

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	port.sync_data = port.sync_all = no_sync;
	must(bolt_open_with(AT_FDCWD, path, BOLT_WRITE | BOLT_CREATE, 0600, &port, page_size, &db,
			    &err),
	     &err);
	for (int i = 0; i < 12 && r.left; i++)
		transaction(db, &m, &r, &s);
	bolt_close(db);
	must(bolt_open(AT_FDCWD, path, BOLT_WRITE, 0, &db, &err), &err);
	verify(db, m);
	bolt_close(db);
	model_free(m);
	close(fd);
	return 0;
}
