/* SPDX-License-Identifier: Apache-2.0 */
/* The tar dialect (docs/unpack.md), header by header. */
#include <stdlib.h>

#include "tests/unit/tarbuild.h"
#include "tests/unit/unit.h"
#include "unpack/tar.h"

static struct k3_err err;
static struct tarbuild t;
static struct memsrc mem;
static struct tar *tar;
static struct tar_entry ent;
static bool end;

static void build(void)
{
	tb_release(&t);
	tb_init(&t);
	tar_freep(&tar);
}

static void start(void)
{
	tb_end(&t);
	tar = tar_new(memsrc(&mem, t.out.p, t.out.len, 100), &unpack_limits_default);
}

static void next(const char *name)
{
	OK(tar_next(tar, &ent, &end, &err));
	EQ_INT(end, name == NULL);
	if (name && !end)
		EQ_STR(ent.name, name);
}

static void refused(enum k3_code code, const char *part)
{
	start();
	FAILS(tar_next(tar, &ent, &end, &err), code);
	HAS_STR(err.msg, part);
	build();
}

TEST(v7_and_trailing_slash)
{
	build();
	t.magic = "\0\0\0\0\0\0\0";
	tb_entry(&t, '\0', "old/", "", NULL, 0);
	tb_entry(&t, '\0', "file", "", "abc", 3);
	tb_entry(&t, '0', "slash/", "", "abc", 3);
	start();
	next("old/");
	EQ_INT(ent.type, TAR_DIR);
	next("file");
	EQ_INT(ent.type, TAR_FILE);
	EQ_INT(ent.size, 3);
	next("slash/");
	EQ_INT(ent.type, TAR_FILE);
	next(NULL);
}

TEST(names_of_100_bytes_and_prefixes)
{
	char name[101], want[300];
	size_t at;

	build();
	memset(name, 'n', 100);
	name[100] = '\0';
	at = t.out.len;
	tb_entry(&t, '0', name, name, NULL, 0);
	memcpy(t.out.p + at + 345, "pre/fix", 7);
	tb_checksum(&t, at);
	snprintf(want, sizeof(want), "pre/fix/%s", name);
	start();
	next(want);
	EQ_STR(ent.link, name);
}

TEST(gnu_long_names_overrule_pax)
{
	build();
	tb_pax_str(&t, "path", "from-pax");
	tb_pax_str(&t, "linkpath", "link-from-pax");
	tb_flush_pax(&t, 'x');
	tb_long(&t, 'L', "from-gnu");
	tb_entry(&t, '2', "short", "short-link", NULL, 0);
	tb_long(&t, 'K', "gnu-link");
	tb_entry(&t, '2', "second", "short-link", NULL, 0);
	tb_entry(&t, '2', "third", "third-link", NULL, 0);
	start();
	next("from-gnu");
	EQ_STR(ent.link, "link-from-pax");
	next("second");
	EQ_STR(ent.link, "gnu-link");
	next("third");
	EQ_STR(ent.link, "third-link");
}

TEST(pax_records)
{
	build();
	tb_pax_str(&t, "path", "first");
	tb_pax_str(&t, "path", "caf\xc3\xa9/cafe\xcc\x81");
	tb_pax_str(&t, "uid", "4000000000");
	tb_pax_str(&t, "gid", "7");
	tb_pax_str(&t, "gid", "");
	tb_pax_str(&t, "size", "4");
	tb_pax_str(&t, "comment", "x=y\nz");
	t.gid = 9;
	t.size = 999;
	tb_entry(&t, '0', "name", "", "abcd", 4);
	t.size = -1;
	tb_file(&t, "after", "x");
	start();
	next("caf\xc3\xa9/cafe\xcc\x81");
	EQ_INT(ent.uid, 4000000000u);
	EQ_INT(ent.gid, 9);
	EQ_INT(ent.size, 4);
	next("after");
	EQ_INT(ent.size, 1);
}

TEST(global_headers_are_not_applied)
{
	build();
	tb_pax_str(&t, "path", "global");
	tb_pax_str(&t, "uid", "5");
	tb_flush_pax(&t, 'g');
	tb_file(&t, "own", "x");
	tb_pax_str(&t, "path", "lost");
	tb_flush_pax(&t, 'x');
	tb_pax_str(&t, "comment", "a global header cuts the other one off, as in Go");
	tb_flush_pax(&t, 'g');
	tb_file(&t, "own2", "x");
	start();
	next("own");
	next("own2");
	next(NULL);
}

TEST(malformed_pax)
{
	static const char *const bad[] = {
		"",
		"x",
		"5 a=b\n",
		"7 a=b\n",
		"6 a=b ",
		"6 =bc\n",
		"6 abc\n",
		"-6 a=b\n",
		"99999999999999999999 a=b\n",
		"6a=b\n\n",
		"11 path=a\0b\n",
	};

	for (size_t i = 1; i < sizeof(bad) / sizeof(bad[0]); i++) {
		size_t n = strlen(bad[i]) + (strstr(bad[i], "path") ? 3 : 0);

		build();
		if (k3_buf_add(&t.pax, bad[i], n, &err))
			abort();
		tb_flush_pax(&t, 'x');
		tb_file(&t, "f", "x");
		refused(K3_FORMAT, "PAX");
	}
	build();
	tb_pax_str(&t, "size", "-1");
	tb_file(&t, "f", "x");
	refused(K3_FORMAT, "size");
	tb_pax_str(&t, "mtime", "12x");
	tb_file(&t, "f", "x");
	refused(K3_FORMAT, "time");
	tb_pax_str(&t, "uid", "1.5");
	tb_file(&t, "f", "x");
	refused(K3_FORMAT, "owner");
	tb_pax_str(&t, "uid", "4294967296");
	tb_file(&t, "f", "x");
	refused(K3_FORMAT, "owner");
}

TEST(numbers)
{
	build();
	t.uid = 07777777 + 1; /* base-256 */
	t.mtime = -2;
	tb_file(&t, "f", "x");
	start();
	next("f");
	EQ_INT(ent.uid, 010000000);
	EQ_INT(ent.mtime.tv_sec, 0);
	build();
	t.size = INT64_C(-1);
	tb_file(&t, "f", "x");
	t.out.p[124] = 0xff;
	memset(t.out.p + 125, 0xff, 11);
	tb_checksum(&t, 0);
	refused(K3_FORMAT, "negative");
	tb_file(&t, "f", "x");
	memset(t.out.p + 124, 0x80, 12);
	tb_checksum(&t, 0);
	refused(K3_FORMAT, "malformed number");
	tb_file(&t, "f", "x");
	memcpy(t.out.p + 108, "0000x00", 8);
	tb_checksum(&t, 0);
	refused(K3_FORMAT, "malformed number");
}

TEST(checksums)
{
	unsigned sum = 0;
	int with_sign = 0;
	char text[16];

	build();
	tb_file(&t, "caf\xc3\xa9", "x");
	memset(t.out.p + 148, ' ', 8);
	for (int i = 0; i < 512; i++) {
		sum += t.out.p[i];
		with_sign += (int8_t)t.out.p[i];
	}
	CHECK((int)sum != with_sign);
	snprintf(text, sizeof(text), "%06o", (unsigned)with_sign);
	memcpy(t.out.p + 148, text, 7);
	start();
	next("caf\xc3\xa9");
	build();
	tb_file(&t, "f", "x");
	t.out.p[0] = 'g';
	refused(K3_FORMAT, "checksum");
}

TEST(payload_of_links_is_none)
{
	build();
	t.size = 1000;
	tb_link(&t, "l", "f");
	tb_dir(&t, "d");
	tb_symlink(&t, "s", "f");
	tb_entry(&t, '3', "c", "", NULL, 0);
	tb_entry(&t, '6', "p", "", NULL, 0);
	t.size = -1;
	tb_file(&t, "f", "x");
	start();
	next("l");
	EQ_INT(ent.size, 0);
	next("d");
	next("s");
	next("c");
	EQ_INT(ent.type, TAR_CHAR);
	next("p");
	EQ_INT(ent.type, TAR_FIFO);
	next("f");
	EQ_INT(ent.size, 1);
	next(NULL);
}

TEST(unknown_types_are_named)
{
	build();
	tb_entry(&t, 'V', "volume", "", NULL, 0);
	refused(K3_UNSUPPORTED, "'V'");
	tb_entry(&t, '7', "contiguous", "", "abc", 3);
	start();
	next("contiguous");
	EQ_INT(ent.type, TAR_FILE);
	EQ_INT(ent.size, 3);
}

TEST(ends)
{
	static const uint8_t zero[512];

	build();
	tb_file(&t, "f", "x");
	tb_end(&t);
	tb_file(&t, "ignored", "x");
	start();
	next("f");
	next(NULL);
	build();
	tb_raw(&t, zero, 512);
	tb_file(&t, "f", "x");
	refused(K3_FORMAT, "lone zero block");
	/* An extension without its entry. */
	tb_pax_str(&t, "path", "x");
	tb_flush_pax(&t, 'x');
	tar = tar_new(memsrc(&mem, t.out.p, t.out.len, 100), &unpack_limits_default);
	FAILS(tar_next(tar, &ent, &end, &err), K3_FORMAT);
	HAS_STR(err.msg, "truncated");
	build();
}

TEST(sparse_maps_that_lie)
{
	static const char *const maps[] = { "0,3,2,2", "3,3", "0,4",  "0,6",
					    "0",       "x",   "0,,5", "9223372036854775807,5",
					    "5,0,0,5" };

	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
		build();
		tb_pax_str(&t, "GNU.sparse.size", "20");
		tb_pax_str(&t, "GNU.sparse.map", maps[i]);
		tb_file(&t, "f", "abcde");
		refused(K3_FORMAT, "sparse");
	}
	build();
	tb_pax_str(&t, "GNU.sparse.major", "1");
	tb_pax_str(&t, "GNU.sparse.minor", "0");
	tb_pax_str(&t, "GNU.sparse.realsize", "20");
	tb_file(&t, "f", "1\n0\n");
	refused(K3_FORMAT, "sparse");
	/* An unknown version is an ordinary file. */
	tb_pax_str(&t, "GNU.sparse.major", "2");
	tb_pax_str(&t, "GNU.sparse.minor", "0");
	tb_file(&t, "f", "1\n0\n");
	start();
	next("f");
	CHECK(!ent.sparse);
	build();
}

UNIT_MAIN
