/* SPDX-License-Identifier: Apache-2.0 */
/* Opening roots of all kinds. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "importer/imp.h"
#include "importer/schema.h"

static char *below(const char *dir, const char *name)
{
	return k3_xasprintf("%s/%s", dir, name);
}

static int try_open(const char *root, bool write, struct k3_err *e)
{
	struct imp_opts o = { .root = root, .ns = "k8s.io", .write = write };
	struct imp *i;

	if (imp_open(&o, &i, e))
		return -1;
	imp_close(i, true);
	return 0;
}

static void make_dirs(const char *root, const char *name)
{
	K3_AUTO_FREE char *path = below(root, name);
	struct k3_err err;

	OK(k3_make_dirs(path, 0755, &err));
}

static void write_file(const char *root, const char *name, const char *text)
{
	K3_AUTO_FREE char *path = below(root, name);
	K3_AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	struct k3_err err;

	OK(k3_write_all(fd, text, strlen(text), path, &err));
}

/* meta.db with this schema version; "" = none. */
static void make_meta(const char *root, const char *version)
{
	K3_AUTO_FREE char *dir = below(root, IMP_META_DIR);
	K3_AUTO_FD int fd = -1;
	struct bolt_bucket *v1;
	struct bolt_db *db;
	struct bolt_txn *t;
	struct k3_err err;

	make_dirs(root, IMP_META_DIR);
	OK(k3_open_dir(AT_FDCWD, dir, &fd, &err));
	OK(bolt_open(fd, "meta.db", BOLT_WRITE | BOLT_CREATE, 0644, &db, &err));
	OK(bolt_begin(db, true, &t, &err));
	OK(bolt_bucket_make(bolt_root(t), BOLT_STR("v1"), &v1, &err));
	if (*version)
		OK(bolt_put(v1, BOLT_STR("version"), BOLT_STR(version), &err));
	OK(bolt_commit(t, &err));
	bolt_close(db);
}

TEST(missing_root)
{
	K3_AUTO_FREE char *root = below(unit_tmpdir(), "a/b");
	struct imp_opts o = { .root = root, .ns = "k8s.io", .write = true };
	struct k3_err err;
	struct stat st;
	struct imp *i;

	FAILS(try_open(root, false, &err), K3_NOTFOUND);
	OK(imp_open(&o, &i, &err));
	CHECK(!stat(root, &st));
	EQ_INT(st.st_mode & 0777, 0711);
	imp_close(i, true);
	/* Nothing came of it. */
	CHECK(stat(root, &st));
}

TEST(empty_root_stays)
{
	const char *root = unit_tmpdir();
	K3_AUTO_FREE char *staging = below(root, IMP_STAGE_DIR);
	struct k3_err err;

	make_dirs(root, "lost+found");
	OK(try_open(root, false, &err));
	OK(try_open(root, true, &err));
	CHECK(access(root, F_OK) == 0);
	CHECK(access(staging, F_OK) != 0);
}

TEST(foreign_directory)
{
	const char *root = unit_tmpdir();
	K3_AUTO_FREE char *file = below(root, "file");
	struct k3_err err;

	write_file(root, "file", "x");
	FAILS(try_open(root, true, &err), K3_STORE);
	HAS_STR(err.msg, "not a containerd root");
	FAILS(try_open(root, false, &err), K3_STORE);
	FAILS(try_open(file, true, &err), K3_STORE);
	make_dirs(root, "io.containerd.runtime.v2.task");
	OK(try_open(root, true, &err));
}

TEST(schema_versions)
{
	struct k3_err err;

	for (char v = 0; v < 12; v++) {
		const char version[] = { (char)(2 * v), '\0' };
		const char *root = unit_tmpdir();

		make_meta(root, version);
		if (v == 3 || v == 4) {
			OK(try_open(root, true, &err));
			EQ_INT(imp_schema_peek(root), v);
			continue;
		}
		FAILS(try_open(root, true, &err), K3_STORE);
		HAS_STR(err.msg, v ? "knows 3 and 4" : "has no schema version");
		CHECK(err.hint[0]);
		FAILS(try_open(root, false, &err), K3_STORE);
	}
	HAS_STR(err.msg, "schema version 11");
	HAS_STR(err.hint, "newer k3simg");
}

TEST(garbage_for_a_version)
{
	static const char *const garbage[] = { "\xff", "\x05",
					       "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f" };
	struct k3_err err;

	for (size_t k = 0; k < K3_ARRAY_LEN(garbage); k++) {
		const char *root = unit_tmpdir();

		make_meta(root, garbage[k]);
		FAILS(try_open(root, true, &err), K3_STORE);
		HAS_STR(err.msg, "something else in its place");
	}
}

/* A bucket of this path in a database of the root; names are separated by '/'. */
static void make_bucket(const char *root, const char *where, const char *name, const char *path)
{
	K3_AUTO_FREE char *dir = below(root, where), *copy = k3_xstrdup(path);
	K3_AUTO_FD int fd = -1;
	char *save = NULL;
	struct bolt_bucket *b;
	struct bolt_db *db;
	struct bolt_txn *t;
	struct k3_err err;

	make_dirs(root, where);
	OK(k3_open_dir(AT_FDCWD, dir, &fd, &err));
	OK(bolt_open(fd, name, BOLT_WRITE | BOLT_CREATE, 0600, &db, &err));
	OK(bolt_begin(db, true, &t, &err));
	b = bolt_root(t);
	for (char *part = strtok_r(copy, "/", &save); part; part = strtok_r(NULL, "/", &save))
		OK(bolt_bucket_make(b, BOLT_STR(part), &b, &err));
	OK(bolt_commit(t, &err));
	bolt_close(db);
}

/* We would write beside what is there, as into a new file. */
TEST(an_unknown_layout_is_not_written_to)
{
	static const char *const native[] = { "v2", "v1/snapshotz", "v1/snapshots/x/labels", NULL };
	const char *root = unit_tmpdir();
	struct k3_err err;

	make_bucket(root, IMP_META_DIR, "meta.db", "w1/k8s.io");
	OK(try_open(root, false, &err));
	FAILS(try_open(root, true, &err), K3_STORE);
	HAS_STR(err.msg, "\"w1\"");
	HAS_STR(err.hint, "backup");

	for (size_t k = 0; native[k]; k++) {
		root = unit_tmpdir();
		make_meta(root, "\6");
		make_bucket(root, IMP_NATIVE_DIR, "metadata.db", native[k]);
		OK(try_open(root, false, &err));
		if (!strcmp(native[k], "v1/snapshots/x/labels"))
			OK(try_open(root, true, &err));
		else
			FAILS(try_open(root, true, &err), K3_STORE);
	}
}

/* Damage in a bucket that no commit of ours would come near. */
TEST(damage_anywhere_is_seen_before_anything_is_written)
{
	static const char *const where[] = { IMP_META_DIR, IMP_NATIVE_DIR };
	static const char *const names[] = { "meta.db", "metadata.db" };
	struct k3_err err;

	for (size_t k = 0; k < K3_ARRAY_LEN(where); k++) {
		const char *root = unit_tmpdir();
		K3_AUTO_FREE char *path = NULL;
		struct stat before, after;
		uint64_t id = 0;

		make_meta(root, "\6");
		make_bucket(root, IMP_META_DIR, "meta.db", "v1/moby/leases/x");
		make_bucket(root, IMP_NATIVE_DIR, "metadata.db", "v1/snapshots/moby/labels");
		OK(try_open(root, true, &err));
		path = k3_xasprintf("%s/%s/%s", root, where[k], names[k]);
		K3_AUTO_FD int fd = open(path, O_RDWR | O_CLOEXEC);
		uint8_t page[4096];

		/* The last leaf that calls itself by its own number is the deepest one. */
		for (off_t at = 0; pread(fd, page, sizeof(page), at) == (ssize_t)sizeof(page);
		     at += (off_t)sizeof(page))
			if (page[8] == 2 && page[0] == at / (off_t)sizeof(page) && page[10])
				id = page[0];
		CHECK(id >= 2);
		EQ_INT(pwrite(fd, "\xff", 1, (off_t)(id * sizeof(page)) + 24), 1);
		EQ_INT(fstat(fd, &before), 0);
		FAILS(try_open(root, true, &err), K3_STORE);
		HAS_STR(err.msg, "damaged, not changed");
		HAS_STR(err.hint, "backup");
		EQ_INT(fstat(fd, &after), 0);
		EQ_INT(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
		EQ_INT(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
	}
}

/* Killed while it makes a database, a run leaves a file without content. */
TEST(a_creation_that_broke_off_is_no_obstacle)
{
	static const off_t sizes[] = { 0, 100, 4096, 16384 };
	struct k3_err err;

	for (size_t k = 0; k < K3_ARRAY_LEN(sizes); k++) {
		const char *root = unit_tmpdir();
		K3_AUTO_FREE char *meta = below(root, IMP_META_DIR "/meta.db");
		K3_AUTO_FREE char *native = below(root, IMP_NATIVE_DIR "/metadata.db");

		make_dirs(root, IMP_META_DIR);
		make_dirs(root, IMP_NATIVE_DIR);
		write_file(root, IMP_META_DIR "/meta.db", "");
		EQ_INT(truncate(meta, sizes[k]), 0);
		OK(try_open(root, false, &err));
		OK(try_open(root, true, &err));
		write_file(root, IMP_NATIVE_DIR "/metadata.db", "");
		EQ_INT(truncate(native, sizes[k]), 0);
		OK(try_open(root, true, &err));
		EQ_INT(unlink(meta), 0);
		make_meta(root, "\6");
		OK(try_open(root, true, &err));
		make_bucket(root, IMP_META_DIR, "meta.db", "v1/k8s.io/snapshots/other/x");
		OK(try_open(root, true, &err));
		/* With snapshots in the other file, whosever they are, it was cut off. */
		make_bucket(root, IMP_META_DIR, "meta.db", "v1/moby/snapshots/native/x");
		FAILS(try_open(root, true, &err), K3_STORE);
		HAS_STR(err.msg, "metadata.db is an empty file");
		FAILS(try_open(root, false, &err), K3_STORE);
		make_bucket(root, IMP_NATIVE_DIR, "metadata.db", "v1/snapshots/x");
		OK(try_open(root, true, &err));
		EQ_INT(truncate(meta, 0), 0);
		FAILS(try_open(root, true, &err), K3_STORE);
		HAS_STR(err.msg, "meta.db is an empty file");
		HAS_STR(err.hint, "backup");
	}
}

TEST(database_without_schema_is_fresh)
{
	const char *root = unit_tmpdir();
	K3_AUTO_FREE char *dir = below(root, IMP_META_DIR);
	K3_AUTO_FD int fd = -1;
	struct bolt_db *db;
	struct k3_err err;

	make_dirs(root, IMP_META_DIR);
	OK(k3_open_dir(AT_FDCWD, dir, &fd, &err));
	OK(bolt_open(fd, "meta.db", BOLT_WRITE | BOLT_CREATE, 0644, &db, &err));
	bolt_close(db);
	OK(try_open(root, true, &err));
	EQ_INT(imp_schema_peek(root), 0);
}

TEST(broken_database)
{
	const char *root = unit_tmpdir();
	struct k3_err err;

	make_dirs(root, IMP_META_DIR);
	write_file(root, IMP_META_DIR "/meta.db", "this is no database, however long it is");
	FAILS(try_open(root, true, &err), K3_STORE);
	FAILS(try_open(root, false, &err), K3_STORE);
}

TEST(containerd_runs)
{
	const char *root = unit_tmpdir();
	K3_AUTO_FREE char *path = below(root, IMP_META_DIR "/meta.db");
	K3_AUTO_FD int fd = -1;
	struct k3_err err;

	make_meta(root, "\x06");
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(!flock(fd, LOCK_EX));
	/* To be written to, its containerd is needed; who it is was not said. */
	FAILS(try_open(root, true, &err), K3_BUSY);
	HAS_STR(err.msg, "containerd is running on this root");
	HAS_STR(err.hint, "--address");
	/* Looking works beside it. */
	OK(try_open(root, false, &err));
	CHECK(!flock(fd, LOCK_UN));
	OK(try_open(root, true, &err));
}

/* imp_open to write, in a mode. */
static int open_in_mode(const char *root, enum imp_mode mode, const char *address, bool stage_only,
			bool *live, struct k3_err *e)
{
	struct imp_opts o = { .root = root,
			      .ns = "k8s.io",
			      .mode = mode,
			      .address = address,
			      .write = true,
			      .stage_only = stage_only };
	struct imp *i;

	if (imp_open(&o, &i, e))
		return -1;
	*live = imp_is_live(i);
	imp_close(i, false);
	return 0;
}

TEST(modes)
{
	const char *root = unit_tmpdir();
	K3_AUTO_FREE char *path = below(root, IMP_META_DIR "/meta.db");
	K3_AUTO_FREE char *nobody = below(root, "no.sock");
	K3_AUTO_FD int fd = -1;
	struct k3_err err;
	bool live = true;

	make_meta(root, "\x06");
	OK(open_in_mode(root, IMP_AUTO, nobody, false, &live, &err));
	CHECK(!live);
	OK(open_in_mode(root, IMP_OFFLINE, nobody, false, &live, &err));
	FAILS(open_in_mode(root, IMP_LIVE, nobody, false, &live, &err), K3_STORE);
	HAS_STR(err.msg, "no containerd is running on this root");
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(!flock(fd, LOCK_EX));
	FAILS(open_in_mode(root, IMP_OFFLINE, nobody, false, &live, &err), K3_BUSY);
	HAS_STR(err.hint, "systemctl stop");
	FAILS(open_in_mode(root, IMP_AUTO, nobody, false, &live, &err), K3_BUSY);
	HAS_STR(err.msg, "no containerd answers at");
	HAS_STR(err.hint, "--address");
	FAILS(open_in_mode(root, IMP_LIVE, nobody, false, &live, &err), K3_BUSY);
	/* Only staging needs no containerd. */
	OK(open_in_mode(root, IMP_AUTO, NULL, true, &live, &err));
	CHECK(live);
}

static void cancel_it(void *arg)
{
	const struct k3_err why = { .code = K3_CANCELLED, .msg = "stopped" };

	k3_cancel_raise(arg, &why);
}

TEST(second_run_waits_until_cancelled)
{
	struct k3_cancel *cancel = k3_cancel_new();
	struct imp_opts o = { .root = unit_tmpdir(), .ns = "k8s.io", .write = true };
	struct imp *first, *second;
	struct k3_err err;

	OK(imp_open(&o, &first, &err));
	OK(try_open(o.root, false, &err)); /* looking is allowed */
	o.cancel = cancel;
	o.on_wait = cancel_it;
	o.arg = cancel;
	FAILS(imp_open(&o, &second, &err), K3_CANCELLED);
	imp_close(first, false);
	o.cancel = NULL;
	OK(imp_open(&o, &second, &err));
	imp_close(second, false);
	k3_cancel_free(cancel);
}

TEST(leftover_trees_are_swept_and_blobs_stay)
{
	const char *root = unit_tmpdir();
	K3_AUTO_FREE char *tree = below(root, IMP_STAGE_DIR "/trees/sha256-1");
	K3_AUTO_FREE char *blob = below(root, IMP_STAGE_DIR "/blobs/sha256-1.part");
	struct k3_err err;

	make_dirs(root, IMP_STAGE_DIR "/trees/sha256-1/usr");
	make_dirs(root, IMP_STAGE_DIR "/blobs");
	write_file(root, IMP_STAGE_DIR "/blobs/sha256-1.part", "half");
	OK(try_open(root, true, &err));
	CHECK(access(tree, F_OK) != 0);
	CHECK(access(blob, F_OK) == 0);
}

TEST(namespace_names)
{
	static const char *const bad[] = {
		"", "-a", "a-", "a..b", "a/b", "a b", "version", "a.-b"
	};
	struct imp_opts o = { .root = unit_tmpdir() };
	char longest[78];
	struct k3_err err;
	struct imp *i;

	memset(longest, 'n', 77);
	longest[77] = '\0';
	for (size_t k = 0; k < K3_ARRAY_LEN(bad); k++) {
		o.ns = bad[k];
		FAILS(imp_open(&o, &i, &err), K3_USAGE);
	}
	o.ns = longest;
	FAILS(imp_open(&o, &i, &err), K3_USAGE);
	o.ns = longest + 1;
	OK(imp_open(&o, &i, &err));
	imp_close(i, false);
}

UNIT_MAIN
