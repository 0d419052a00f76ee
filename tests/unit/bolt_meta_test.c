/* SPDX-License-Identifier: Apache-2.0 */
/* Opening: new files, both meta pages, lock, page size. */
#include "base/bytes.h"
#include "bolt/meta.h"
#include "tests/unit/bolt_help.h"

TEST(new_image_is_the_one_of_bbolt)
{
	static uint8_t image[4 * 4096];
	static const uint8_t page2[16] = { 2, 0, 0, 0, 0, 0, 0, 0, 0x10 };
	static const uint8_t page3[16] = { 3, 0, 0, 0, 0, 0, 0, 0, 0x02 };

	bolt_meta_new_image(image, 4096);
	CHECK(k3_load64le(image + 72) == 0x07516e114689fdee);
	CHECK(k3_load64le(image + 4096 + 72) == 0x264c351a5179480f);
	CHECK(!memcmp(image + 2 * 4096, page2, 16));
	CHECK(!memcmp(image + 3 * 4096, page3, 16));
	EQ_INT(k3_load32le(image + 16), 0xED0CDAED);
	EQ_INT(k3_load64le(image + 4096), 1);
	EQ_INT(k3_load64le(image + 4096 + 64), 1);
}

TEST(create_writes_a_new_database_with_the_mode)
{
	struct k3_err err;
	struct bolt_db *db;
	struct stat st;
	static uint8_t image[4 * 4096];
	int dir = help_dir();

	FAILS(bolt_open(dir, "a.db", BOLT_WRITE, 0, &db, &err), K3_NOTFOUND);
	HAS_STR(err.msg, "a.db");
	FAILS(bolt_open(dir, "a.db", BOLT_CREATE, 0, &db, &err), K3_BUG);
	OK(bolt_open_with(dir, "a.db", RW, 0646, NULL, 4096, &db, &err));
	EQ_INT(help_check(db), 0);
	bolt_close(db);
	EQ_INT(fstatat(dir, "a.db", &st, 0), 0);
	EQ_INT(st.st_mode & 07777, 0646);
	EQ_INT(st.st_size, 16384);
	struct bytes b = help_read(dir, "a.db");

	bolt_meta_new_image(image, 4096);
	CHECK(b.n == sizeof(image) && !memcmp(b.p, image, b.n));
	free(b.p);
	close(dir);
}

/* Not created again, and its mode is left alone. */
TEST(create_opens_what_is_there)
{
	struct k3_err err;
	struct bolt_db *db;
	struct bolt_txn *t;
	struct stat st;
	char buf[64];
	int dir = help_dir();

	OK(bolt_open(dir, "a.db", RW, 0600, &db, &err));
	t = help_begin(db);
	help_put(help_make(bolt_root(t), "b"), "k", "v");
	OK(bolt_commit(t, &err));
	bolt_close(db);
	OK(bolt_open(dir, "a.db", RW, 0644, &db, &err));
	t = help_begin(db);
	EQ_STR(help_get(help_make(bolt_root(t), "b"), "k", buf), "v");
	bolt_close(db);
	EQ_INT(fstatat(dir, "a.db", &st, 0), 0);
	EQ_INT(st.st_mode & 07777, 0600);
	close(dir);
}

TEST(broken_creation_is_done_again)
{
	struct k3_err err;
	struct bolt_db *db;
	uint8_t image[4 * 4096];
	int dir = help_dir();

	bolt_meta_new_image(image, 4096);
	help_write(dir, "empty", "", 0);
	FAILS(bolt_open(dir, "empty", BOLT_WRITE, 0, &db, &err), K3_NOTFOUND);
	for (unsigned lost = 0; lost < 16; lost++) {
		uint8_t torn[sizeof(image)];

		for (unsigned page = 0; page < 4; page++)
			if (lost >> page & 1)
				memset(torn + page * 4096, 0, 4096);
			else
				memcpy(torn + page * 4096, image + page * 4096, 4096);
		help_write(dir, "torn", torn, lost % 3 ? sizeof(torn) : 4096 * 2 + lost);
		OK(bolt_open_with(dir, "torn", RW, 0600, NULL, 4096, &db, &err));
		EQ_INT(help_check(db), 0);
		bolt_close(db);
	}
	OK(bolt_open(dir, "empty", RW, 0600, &db, &err));
	EQ_INT(help_check(db), 0);
	bolt_close(db);
	close(dir);
}

TEST(create_spares_other_files)
{
	struct k3_err err;
	struct bolt_db *db;
	int dir = help_dir();

	help_write(dir, "text", "hello\n", 6);
	FAILS(bolt_open(dir, "text", RW, 0600, &db, &err), K3_STORE);
	struct bytes b = help_read(dir, "text");

	EQ_STR((char *)b.p, "hello\n");
	free(b.p);
	EQ_INT(mkdirat(dir, "sub", 0700), 0);
	FAILS(bolt_open(dir, "sub", BOLT_READ, 0, &db, &err), K3_STORE);
	EQ_INT(mkfifoat(dir, "pipe", 0600), 0);
	FAILS(bolt_open(dir, "pipe", BOLT_WRITE, 0, &db, &err), K3_STORE);
	EQ_INT(symlinkat("nowhere", dir, "link"), 0);
	FAILS(bolt_open(dir, "link", BOLT_READ, 0, &db, &err), K3_NOTFOUND);
	close(dir);
}

TEST(lock_is_exclusive_for_writers)
{
	struct k3_err err;
	struct bolt_db *a, *b, *c;
	int dir = help_dir();

	OK(bolt_open(dir, "a.db", RW, 0600, &a, &err));
	FAILS(bolt_open(dir, "a.db", RW, 0600, &b, &err), K3_BUSY);
	FAILS(bolt_open(dir, "a.db", BOLT_READ, 0, &b, &err), K3_BUSY);
	HAS_STR(err.msg, "a.db: locked");
	bolt_close(a);
	OK(bolt_open(dir, "a.db", BOLT_READ, 0, &b, &err));
	OK(bolt_open(dir, "a.db", BOLT_READ, 0, &c, &err));
	FAILS(bolt_open(dir, "a.db", BOLT_WRITE, 0, &a, &err), K3_BUSY);
	bolt_close(b);
	bolt_close(c);
	OK(bolt_open(dir, "a.db", BOLT_WRITE, 0, &a, &err));
	bolt_close(a);
	close(dir);
}

/* A file with a "b" bucket holding n = <number of commits>. */
static void make_commits(int dir, const char *name, uint32_t page_size, int commits)
{
	struct k3_err err;
	struct bolt_db *db;

	OK(bolt_open_with(dir, name, RW, 0600, NULL, page_size, &db, &err));
	for (int i = 1; i <= commits; i++) {
		struct bolt_txn *t = help_begin(db);
		char text[16];

		snprintf(text, sizeof(text), "%d", i);
		help_put(help_make(bolt_root(t), "b"), "n", text);
		OK(bolt_commit(t, &err));
	}
	bolt_close(db);
}

static void expect_commit(int dir, const char *name, const char *n, int line)
{
	struct k3_err err = { 0 };
	struct bolt_db *db;
	struct bolt_txn *t;
	char buf[64];

	if (bolt_open(dir, name, BOLT_WRITE, 0, &db, &err)) {
		unit_fail(__FILE__, line, "open: %s", err.msg);
		return;
	}
	t = help_begin(db);
	const char *got = help_get(help_make(bolt_root(t), "b"), "n", buf);

	if (strcmp(got, n))
		unit_fail(__FILE__, line, "state is %s, want %s", got, n);
	bolt_close(db);
}

TEST(either_meta_is_enough)
{
	static const uint32_t sizes[] = { 1024, 4096, 16384, 65536 };
	struct k3_err err;
	struct bolt_db *db;
	int dir = help_dir();

	for (size_t i = 0; i < K3_ARRAY_LEN(sizes); i++) {
		make_commits(dir, "a.db", sizes[i], 4); /* transactions 2 3 4 5 */
		expect_commit(dir, "a.db", "4", __LINE__);
		struct bytes b = help_read(dir, "a.db");

		EQ_INT(k3_load64le(b.p + 64), 4);
		EQ_INT(k3_load64le(b.p + sizes[i] + 64), 5);
		b.p[40] ^= 1;
		help_write(dir, "b.db", b.p, b.n);
		expect_commit(dir, "b.db", "4", __LINE__);
		b.p[40] ^= 1;
		b.p[sizes[i] + 40] ^= 1;
		help_write(dir, "b.db", b.p, b.n);
		expect_commit(dir, "b.db", "3", __LINE__);
		b.p[40] ^= 1;
		help_write(dir, "b.db", b.p, b.n);
		FAILS(bolt_open(dir, "b.db", BOLT_READ, 0, &db, &err), K3_STORE);
		free(b.p);
		EQ_INT(unlinkat(dir, "a.db", 0), 0);
	}
	close(dir);
}

/* A meta in the page of the other parity must survive the next commit. */
TEST(current_meta_is_never_overwritten)
{
	struct k3_err err;
	struct bolt_db *db;
	int dir = help_dir();

	make_commits(dir, "a.db", 4096, 2); /* 2, 3: page 1 is current */
	struct bytes b = help_read(dir, "a.db");
	struct bolt_meta m;
	int fd = openat(dir, "a.db", O_RDWR);

	OK(bolt_meta_load(fd, b.n, &m, &err));
	EQ_INT(m.slot, 1);
	close(fd);
	m.txid = 8;
	bolt_meta_encode(&m, b.p + 4096);
	help_write(dir, "a.db", b.p, b.n);
	free(b.p);
	OK(bolt_open(dir, "a.db", BOLT_WRITE, 0, &db, &err));
	struct bolt_txn *t = help_begin(db);

	help_put(help_make(bolt_root(t), "b"), "n", "new");
	OK(bolt_commit(t, &err));
	bolt_close(db);
	b = help_read(dir, "a.db");
	EQ_INT(k3_load64le(b.p + 4096 + 64), 8);
	EQ_INT(k3_load64le(b.p + 64), 10);
	free(b.p);
	expect_commit(dir, "a.db", "new", __LINE__);
	close(dir);
}

static void patch_meta(int dir, struct bytes b, const struct bolt_meta *m)
{
	struct bolt_meta both = *m;

	for (both.slot = 0; both.slot < 2; both.slot++)
		bolt_meta_encode(&both, b.p + both.slot * 4096);
	help_write(dir, "b.db", b.p, b.n);
}

TEST(impossible_metas_are_refused)
{
	struct k3_err err;
	struct bolt_db *db;
	int dir = help_dir();

	make_commits(dir, "a.db", 4096, 1);
	struct bytes b = help_read(dir, "a.db");
	struct bolt_meta good = { .page_size = 4096, .root = 3, .freelist = 2, .high_water = 4 };
	struct bolt_meta m = good;

	m.root = 4;
	patch_meta(dir, b, &m);
	FAILS(bolt_open(dir, "b.db", BOLT_READ, 0, &db, &err), K3_STORE);
	m.root = 1;
	patch_meta(dir, b, &m);
	FAILS(bolt_open(dir, "b.db", BOLT_READ, 0, &db, &err), K3_STORE);
	m = good;
	m.freelist = 4;
	patch_meta(dir, b, &m);
	FAILS(bolt_open(dir, "b.db", BOLT_READ, 0, &db, &err), K3_STORE);
	m = good;
	m.high_water = b.n / 4096 + 1;
	patch_meta(dir, b, &m);
	FAILS(bolt_open(dir, "b.db", BOLT_READ, 0, &db, &err), K3_STORE);
	HAS_STR(err.msg, "is cut off");
	HAS_STR(err.hint, "backup");
	m.high_water = BOLT_PAGES_MAX + 1;
	patch_meta(dir, b, &m);
	FAILS(bolt_open(dir, "b.db", BOLT_READ, 0, &db, &err), K3_STORE);
	K3_AUTO_FD int fd = openat(dir, "b.db", O_RDWR | O_CLOEXEC);

	if (!ftruncate(fd, (off_t)(m.high_water * 4096)))
		FAILS(bolt_open(dir, "b.db", BOLT_READ, 0, &db, &err), K3_LIMIT);
	m = good;
	m.page_size = 512;
	patch_meta(dir, b, &m);
	FAILS(bolt_open(dir, "b.db", BOLT_READ, 0, &db, &err), K3_STORE);
	HAS_STR(err.msg, "page size 512");
	b.p[20] = b.p[4096 + 20] = 3;
	help_write(dir, "b.db", b.p, b.n);
	FAILS(bolt_open(dir, "b.db", BOLT_READ, 0, &db, &err), K3_STORE);
	HAS_STR(err.msg, "version");
	free(b.p);
	close(dir);
}

/* Pages past the end of the file must not be touched. */
TEST(cut_off_files_are_refused)
{
	struct k3_err err;
	struct bolt_db *db;
	struct bolt_txn *t;
	int dir = help_dir();

	make_commits(dir, "a.db", 4096, 1);
	struct bytes b = help_read(dir, "a.db");
	struct bolt_stat st;

	OK(bolt_open(dir, "a.db", BOLT_READ, 0, &db, &err));
	OK(bolt_begin(db, false, &t, &err));
	bolt_stat(t, &st);
	bolt_close(db);
	for (size_t n = 0; n < b.n; n += 1000) {
		help_write(dir, "b.db", b.p, n);
		if (n < st.high_water * st.page_size) {
			FAILS(bolt_open(dir, "b.db", BOLT_WRITE, 0, &db, &err),
			      n ? K3_STORE : K3_NOTFOUND);
			continue;
		}
		OK(bolt_open(dir, "b.db", BOLT_WRITE, 0, &db, &err));
		bolt_close(db);
	}
	free(b.p);
	close(dir);
}

UNIT_MAIN
