/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a database file: checking, reading all of it and writing to it must end
 * without harm, and what a commit leaves must be sound if the small file was walked.
 * The checksums of the meta pages are put right first, else hardly any input gets in.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "bolt/bolt.h"
#include "bolt/freelist.h"
#include "bolt/meta.h"
#include "bolt/port.h"
#include "tests/unit/bolt_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int no_sync(void *arg, int fd)
{
	(void)arg, (void)fd;
	return 0;
}

static void die(const char *what, const char *detail)
{
	fprintf(stderr, "%s: %s\n", what, detail);
	abort();
}

static size_t problems(struct bolt_db *db)
{
	struct k3_err err;
	struct bolt_txn *t;
	size_t n = 0;

	if (bolt_begin(db, false, &t, &err) || bolt_check(t, NULL, NULL, &n, &err))
		die("check", err.msg);
	bolt_abort(t);
	return n;
}

static struct bolt_stat stat_of(struct bolt_db *db)
{
	struct bolt_stat st;
	struct bolt_txn *t;
	struct k3_err err;

	if (bolt_begin(db, false, &t, &err))
		die("begin", err.msg);
	bolt_stat(t, &st);
	bolt_abort(t);
	return st;
}

/* After a commit that changed something: no problems, and what the model has. */
static void verify(struct bolt_db *db, const struct model *m)
{
	struct k3_err err;
	struct bolt_txn *t;

	if (problems(db))
		die("commit", "left a damaged file");
	if (bolt_begin(db, false, &t, &err))
		die("begin", err.msg);
	struct model *again = model_load(bolt_root(t), &err);

	if (!again || model_diff(m, again))
		die("content", again ? model_diff(m, again) : err.msg);
	model_free(again);
	bolt_abort(t);
}

/* Reads everything, then changes a bit of everything. */
static void use(struct bolt_db *db, bool sound)
{
	static const struct model_shape shape = { 8, 200, 5000, 3, 40 };
	struct model_rng rng = { .state = 77 };
	struct bolt_stat before = stat_of(db);
	struct k3_err err;
	struct bolt_txn *t;
	bool failed = false;

	if (bolt_begin(db, true, &t, &err))
		die("begin", err.msg);
	struct model *m = model_load(bolt_root(t), &err);

	if (sound && !m)
		die("sound file cannot be read", err.msg);
	for (int i = 0; m && i < 20 && !failed; i++)
		failed = model_op(&rng, &shape, m, bolt_root(t), &err);
	for (size_t i = 0; m && i < m->n && !failed; i += 2)
		if (m->v[i].sub) {
			failed = bolt_bucket_delete(bolt_root(t), m->v[i].key, &err);
			model_remove(m, i);
		}
	failed = bolt_commit(t, &err) || failed;
	if (m && !failed && stat_of(db).txid != before.txid &&
	    before.high_water * before.page_size <= BOLT_WALK_BYTES)
		verify(db, m);
	model_free(m);
}

/* Writes the meta that the bytes at p describe, with its magic, version and checksum. */
static void seal_meta(uint8_t *p, unsigned slot)
{
	struct bolt_meta m = { .page_size = k3_load32le(p + 24),
			       .root = k3_load64le(p + 32),
			       .sequence = k3_load64le(p + 40),
			       .freelist = k3_load64le(p + 48),
			       .high_water = k3_load64le(p + 56),
			       .txid = k3_load64le(p + 64),
			       .slot = slot };

	/* A header that no meta has leaves the page as it is. */
	if (k3_load32le(p + 12) != UINT32_MAX)
		bolt_meta_encode(&m, p);
}

static void seal(uint8_t *p, size_t size)
{
	if (size < BOLT_META_BYTES)
		return;
	size_t page_size = k3_load32le(p + 24);

	seal_meta(p, 0);
	if (page_size >= BOLT_META_BYTES && size >= BOLT_META_BYTES + page_size)
		seal_meta(p + page_size, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bolt_port port = bolt_port_system;
	struct bolt_db *db;
	struct k3_err err;
	char path[64];
	int fd = memfd_create("bolt_open", MFD_CLOEXEC);
	K3_AUTO_FREE uint8_t *file = k3_xcalloc(size, 1);

	if (size)
		memcpy(file, data, size);
	seal(file, size);
	if (fd < 0 || write(fd, file, size) != (ssize_t)size)
		die("memfd", "cannot write");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	port.sync_data = port.sync_all = no_sync;
	if (!bolt_open_with(AT_FDCWD, path, BOLT_WRITE, 0, &port, 0, &db, &err)) {
		use(db, !problems(db));
		bolt_close(db);
	}
	close(fd);
	return 0;
}
