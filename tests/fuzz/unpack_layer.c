/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole layer into a tree, with a sentinel beside the root and, for shared trees, a parent
 * that must stay as it is.
 *
 * byte 0: bits 0-1 media type, 2 shared, 3 no openat2, 4 one thread, 5 small limits,
 *         6 "program": the rest is not a tar but makes one (see write_program)
 * byte 1: piece size
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/fsroot.h"
#include "base/mem.h"
#include "snapshot/snapshot.h"
#include "unpack/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BLOCK 512u
#define SENTINEL "do not touch"

static char base[64];
static int basefd = -1, stagefd = -1, parentfd = -1;
static struct stat sentinel;
static uint64_t parent_state;

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "broken: %s\n", what);
	abort();
}

static void put(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "set-up");
	close(fd);
}

static int state_entry(void *arg, int fd, const struct k3_walk_ent *ent, bool *descend,
		       struct k3_err *e)
{
	uint64_t *sum = arg;
	struct stat st;
	char text[64];
	uint64_t h = 0xcbf29ce484222325ull;

	(void)descend, (void)e;
	must(!fstatat(fd, ent->name, &st, AT_SYMLINK_NOFOLLOW), "parent");
	snprintf(text, sizeof(text), "%o.%u.%u.%lld.%lld.%ld", st.st_mode, st.st_uid, st.st_gid,
		 (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	for (const char *s = text; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3ull;
	for (const char *s = ent->name; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3ull;
	*sum += h * (h | 1);
	return 0;
}

static uint64_t tree_state(int fd)
{
	static const struct k3_walk_ops ops = { .entry = state_entry };
	struct k3_err e = { 0 };
	uint64_t sum = 0;

	must(!k3_walk(fd, &ops, &sum, &e), "walk of the parent");
	return sum;
}

static void clean_up(void)
{
	struct k3_err e;

	if (base[0] && k3_remove_tree(AT_FDCWD, base, &e))
		fprintf(stderr, "%s\n", e.msg);
}

static void set_up(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(base, sizeof(base), "%.32s/k3simg-fuzz.XXXXXX", tmp ? tmp : "/tmp");
	must(mkdtemp(base) != NULL, "mkdtemp");
	atexit(clean_up);
	basefd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put(basefd, "sentinel", SENTINEL);
	must(!mkdirat(basefd, "stage", 0755) && !mkdirat(basefd, "parent", 0755), "set-up");
	stagefd = openat(basefd, "stage", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	parentfd = openat(basefd, "parent", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put(parentfd, "a", "old a");
	must(!linkat(parentfd, "a", parentfd, "b", 0), "set-up");
	must(!mkdirat(parentfd, "d", 0755), "set-up");
	put(parentfd, "d/a", "old d/a");
	must(!mkdirat(parentfd, "d/d", 0755), "set-up");
	must(!linkat(parentfd, "a", parentfd, "d/d/b", 0), "set-up");
	must(!symlinkat("../../..", parentfd, "d/up"), "set-up");
	must(!symlinkat(base, parentfd, "d/abs"), "set-up");
	must(!symlinkat("../../sentinel", parentfd, "s"), "set-up");
	parent_state = tree_state(parentfd);
	must(!fstatat(basefd, "sentinel", &sentinel, 0), "set-up");
}

static int count_entry(void *arg, int fd, const struct k3_walk_ent *ent, bool *descend,
		       struct k3_err *e)
{
	(void)fd, (void)ent, (void)e;
	*descend = false;
	++*(int *)arg;
	return 0;
}

static void check(void)
{
	static const struct k3_walk_ops ops = { .entry = count_entry };
	struct k3_err e = { 0 };
	struct stat st;
	int n = 0;

	must(!fstatat(basefd, "sentinel", &st, AT_SYMLINK_NOFOLLOW), "sentinel is gone");
	must(st.st_ino == sentinel.st_ino && st.st_size == sentinel.st_size &&
		     st.st_mode == sentinel.st_mode && st.st_nlink == 1 &&
		     st.st_mtim.tv_nsec == sentinel.st_mtim.tv_nsec &&
		     st.st_ctim.tv_nsec == sentinel.st_ctim.tv_nsec,
	     "sentinel changed");
	must(!k3_walk(basefd, &ops, &n, &e) && n == 3, "something was made beside the root");
	n = 0;
	must(!k3_walk(stagefd, &ops, &n, &e) && n == 1, "something was made beside the root");
	must(tree_state(parentfd) == parent_state, "the parent tree changed");
}

struct input {
	const uint8_t *p;
	size_t n, piece;
};

static int next_piece(void *arg, const uint8_t **p, size_t *n, struct k3_err *e)
{
	struct input *in = arg;

	(void)e;
	*n = in->n < in->piece ? in->n : in->piece;
	*p = in->p;
	in->p += *n;
	in->n -= *n;
	return 0;
}

/* Four bits each: the components that names are made of. */
static const char *const words[16] = { "a",    "b", "d", "s",     "up",    "abs",
				       "..",   ".", "",  ".wh.a", ".wh.d", ".wh..wh..opq",
				       ".wh.", "d", "d", "x" };

static void name_of(char *out, size_t size, uint8_t x, uint8_t y)
{
	snprintf(out, size, "%s%s%s%s%s%s%s", x & 1 ? "/" : "", words[x >> 4], x & 2 ? "/" : "",
		 x & 2 ? words[y & 15] : "", x & 4 ? "/" : "", x & 4 ? words[y >> 4] : "",
		 x & 8 ? "/" : "");
}

/* Six bytes per entry: type and mode, name (2), link target (2), size and owner. */
static size_t write_program(uint8_t *out, size_t room, const uint8_t *p, size_t n)
{
	uint8_t *start = out;

	for (; n >= 6 && room >= 2 * BLOCK; p += 6, n -= 6) {
		unsigned sum = 0, len = p[5] & 3 ? p[5] : 0;
		char text[64];

		memset(out, 0, 2 * BLOCK);
		name_of((char *)out, 90, p[1], p[2]);
		name_of((char *)out + 157, 90, p[3], p[4]);
		out[156] = (uint8_t)("00125501"[p[0] & 7]);
		snprintf((char *)out + 100, 8, "%07o", (p[0] >> 3) * 0213 & 07777);
		snprintf((char *)out + 108, 8, "%07o", p[5] & 0x40 ? 1000 : 0);
		snprintf((char *)out + 116, 8, "%07o", 0);
		snprintf((char *)out + 124, 12, "%011o", len);
		snprintf((char *)out + 136, 12, "%011o", 1000000000 + p[5]);
		memcpy(out + 257, "ustar\00000", 8);
		memset(out + 148, ' ', 8);
		for (unsigned i = 0; i < BLOCK; i++)
			sum += out[i];
		snprintf(text, sizeof(text), "%06o", sum);
		memcpy(out + 148, text, 7);
		unsigned used = len && (p[0] & 7) < 2 ? 2 * BLOCK : BLOCK;

		out += used;
		room -= used;
	}
	return (size_t)(out - start);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum oci_media kinds[] = { OCI_MEDIA_LAYER_TAR, OCI_MEDIA_LAYER_DOCKER,
						OCI_MEDIA_LAYER_GZIP, OCI_MEDIA_LAYER_ZSTD };
	static uint8_t program[256 * 1024];
	struct snap_tree *tree = NULL;
	struct k3_err e = { 0 };

	/* Others than root cannot remove what a layer may make (directories of mode 0). */
	if (size < 2 || geteuid())
		return 0;
	if (basefd < 0)
		set_up();
	struct input in = { data + 2, size - 2, 1 + (size_t)data[1] * 31 };
	struct unpack_opts o = {
		.limits = unpack_limits_default,
		.no_openat2 = data[0] & 8,
		.one_thread = data[0] & 16,
		.lenient_owner = true,
	};
	enum oci_media media = kinds[data[0] & 3];

	o.limits.bytes = 64u << 20;
	o.limits.zstd_window_log = 20;
	if (data[0] & 32) {
		o.limits.entries = 20;
		o.limits.path_bytes = 64;
	}
	if (data[0] & 64) {
		media = OCI_MEDIA_LAYER_TAR;
		in.n = write_program(program, sizeof(program), in.p, in.n);
		in.p = program;
	}
	must(!snap_begin(stagefd, "root", data[0] & 4 ? parentfd : -1, SNAP_HARDLINK, NULL, &tree,
			 &e),
	     e.msg);
	o.shared = snap_is_shared(tree);
	if (unpack_layer(snap_rootfd(tree), media, (struct unpack_src){ next_piece, &in }, &o, NULL,
			 NULL, NULL, &e)) {
		must(e.code != K3_OK && e.code != K3_BUG && e.msg[0], "error without a message");
	} else {
		struct snap_usage usage;

		must(!snap_seal(tree, &usage, &e), e.msg);
	}
	check();
	snap_free(tree);
	return 0;
}
