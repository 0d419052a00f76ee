/* SPDX-License-Identifier: Apache-2.0 */
/* Whole runs against a small registry, into a directory: no root, no daemon. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "importer/importer.h"
#include "pipeline/pipeline.h"
#include "tests/unit/minireg.h"
#include "tests/unit/registry_help.h"
#include "tests/unit/unit.h"

#define IMAGES_MAX 4

static struct k3_err err;

/* Two images on one base, and one of its own, in a registry, and a root. */
struct bench {
	struct minireg *reg;
	char root[256];
	struct oci_digest layers[5];
	uint64_t sizes[5];
	struct pl_opts o;
	struct pl_request reqs[IMAGES_MAX];
	struct pl_result res[IMAGES_MAX];
	size_t n;
	struct k3_cancel *stop;
};

/* The layer that has something no file system gets, or none. */
static size_t lossy = SIZE_MAX;
/* The layer that a builder reads long before its digest is known, or none. */
static size_t large = SIZE_MAX;
#define LARGE (16u << 20)

static void layer(struct bench *b, size_t i, const char *name)
{
	struct tarbuild t;
	char text[64];

	tb_init(&t);
	tb_dir(&t, "dir/");
	/* Refused everywhere: containerd keeps none of these. */
	if (i == lossy)
		tb_pax_str(&t, "SCHILY.xattr.trusted.of-this", "x");
	snprintf(text, sizeof(text), "text of %s", name);
	tb_file(&t, name, text);
	if (i == large) {
		K3_AUTO_FREE uint8_t *zeros = k3_xcalloc(1, LARGE);

		tb_entry(&t, '0', "dir/large", "", zeros, LARGE);
	}
	tb_end(&t);
	minireg_layer(b->reg, &t, &b->layers[i], &b->sizes[i]);
	tb_release(&t);
}

static void fill_registry(struct bench *b)
{
	static const char *const names[] = { "dir/base", "dir/mid", "dir/left", "dir/right", "x" };
	const size_t left[] = { 0, 1, 2 }, right[] = { 0, 1, 3 };
	struct oci_digest d[3];
	uint64_t s[3];

	b->reg = minireg_start();
	for (size_t i = 0; i < K3_ARRAY_LEN(names); i++)
		layer(b, i, names[i]);
	for (size_t i = 0; i < 3; i++) {
		d[i] = b->layers[left[i]];
		s[i] = b->sizes[left[i]];
	}
	minireg_image(b->reg, "left", "1", "linux/amd64", d, s, 3);
	d[2] = b->layers[right[2]];
	s[2] = b->sizes[right[2]];
	minireg_image(b->reg, "right", "1", "linux/amd64", d, s, 3);
	minireg_image(b->reg, "alone", "1", "linux/amd64", &b->layers[4], &b->sizes[4], 1);
}

static void bench_start(struct bench *b, enum pl_snapshots mode)
{
	memset(b, 0, sizeof(*b));
	fill_registry(b);
	b->stop = k3_cancel_new();
	snprintf(b->root, sizeof(b->root), "%s/root", unit_tmpdir());
	b->o = (struct pl_opts){ .root = b->root,
				 .ns = "k8s.io",
				 .snapshots = mode,
				 .pin = true,
				 .limits = unpack_limits_default };
	b->o.fetch.backoff_ms = 1;
	b->o.fetch.backoff_max_ms = 2;
	OK(oci_platform_parse("linux/amd64", &b->o.platform, &err));
}

static void want(struct bench *b, const char *name)
{
	char text[128];

	snprintf(text, sizeof(text), "%s/%s", minireg_host(b->reg), name);
	OK(oci_ref_parse(text, &b->reqs[b->n++].ref, &err));
}

static void bench_stop(struct bench *b)
{
	for (size_t i = 0; i < b->n; i++)
		oci_ref_release(&b->reqs[i].ref);
	minireg_stop(b->reg);
	k3_cancel_free(b->stop);
}

static int preload(struct bench *b)
{
	return pl_run(&b->o, b->reqs, b->n, b->stop, b->res, &err);
}

static size_t entries(const struct bench *b, const char *below)
{
	char path[512];
	size_t n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", b->root, below);
	d = opendir(path);
	if (!d)
		return 0;
	for (struct dirent *ent; (ent = readdir(d));)
		n += ent->d_name[0] != '.';
	closedir(d);
	return n;
}

static size_t snapshots(const struct bench *b)
{
	return entries(b, "io.containerd.snapshotter.v1.native/snapshots");
}

static size_t blobs(const struct bench *b)
{
	return entries(b, "io.containerd.content.v1.content/blobs/sha256");
}

static int count_record(void *arg, const struct imp_record *r, struct k3_err *e)
{
	(void)r, (void)e;
	++*(size_t *)arg;
	return 0;
}

static size_t records(const struct bench *b)
{
	struct imp_opts io = { .root = b->root, .ns = "k8s.io" };
	struct imp_view *v = NULL;
	struct imp *i = NULL;
	size_t n = 0;

	OK(imp_open(&io, &i, &err) || imp_view_open(i, &v, &err) ||
	   imp_view_images(v, count_record, &n, &err));
	imp_view_close(v);
	imp_close(i, false);
	return n;
}

/* The text of a file in one of the snapshots, "" when none has it. */
static const char *in_snapshot(const struct bench *b, unsigned id, const char *name)
{
	static char text[128];
	char path[512];

	snprintf(path, sizeof(path), "%s/io.containerd.snapshotter.v1.native/snapshots/%u/%s",
		 b->root, id, name);
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	text[n] = '\0';
	if (f)
		fclose(f);
	return text;
}

TEST(flat_shares_the_branch_point)
{
	struct bench b;

	bench_start(&b, PL_FLAT);
	want(&b, "left:1");
	want(&b, "right:1");
	want(&b, "alone:1");
	OK(preload(&b));
	for (size_t i = 0; i < b.n; i++) {
		EQ_INT(b.res[i].rc, 0);
		CHECK(b.res[i].changed);
	}
	/* left, right, alone, and the branch point of the first two */
	EQ_INT(snapshots(&b), 4);
	/* 5 layers, 3 configs, 3 manifests */
	EQ_INT(blobs(&b), 11);
	EQ_INT(records(&b), 9);
	EQ_INT(minireg_gets(b.reg, "/blobs/"), 8);
	EQ_INT(entries(&b, ".k3simg"), 0);
	bench_stop(&b);
}

TEST(second_run_changes_nothing_and_fetches_no_blob)
{
	struct bench b;

	bench_start(&b, PL_FLAT);
	want(&b, "left:1");
	want(&b, "alone:1");
	OK(preload(&b));
	unsigned gets = minireg_gets(b.reg, "/");

	OK(preload(&b));
	EQ_INT(minireg_gets(b.reg, "/"), gets);
	for (size_t i = 0; i < b.n; i++) {
		EQ_INT(b.res[i].rc, 0);
		CHECK(!b.res[i].changed);
	}
	EQ_INT(snapshots(&b), 2);
	bench_stop(&b);
}

/* Losses as they are told: of each image, and the last one. */
struct told {
	size_t of[IMAGES_MAX];
	char last[256];
};

static void note_loss(void *arg, const struct pl_event *ev)
{
	struct told *t = arg;

	if (ev->kind != PL_EV_LOSS)
		return;
	t->of[ev->image]++;
	snprintf(t->last, sizeof(t->last), "%d %s %s | %s", (int)ev->loss->kind, ev->loss->path,
		 ev->loss->what, ev->text);
}

/* What the shared layer loses, each image has lost. */
TEST(losses_are_told_with_every_image)
{
	for (int policy = PL_LOSS_WARN; policy <= PL_LOSS_FAIL; policy++) {
		struct told told = { 0 };
		struct bench b;
		bool warn = policy == PL_LOSS_WARN, fails = policy == PL_LOSS_FAIL;

		lossy = 1;
		bench_start(&b, PL_FLAT);
		lossy = SIZE_MAX;
		b.o.on_loss[UNPACK_LOSS_XATTR] = (enum pl_on_loss)policy;
		b.o.event = note_loss;
		b.o.arg = &told;
		want(&b, "left:1");
		want(&b, "right:1");
		want(&b, "alone:1");
		OK(preload(&b));
		for (size_t i = 0; i < b.n; i++) {
			EQ_INT(told.of[i], warn && i < 2);
			EQ_INT(b.res[i].losses, warn && i < 2);
			EQ_INT(b.res[i].rc, fails && i < 2 ? -1 : 0);
		}
		if (warn)
			EQ_STR(told.last, "0 dir/mid trusted.of-this | dir/mid: extended attribute "
					  "trusted.of-this was refused: Operation not supported");
		if (fails) {
			EQ_INT(b.res[0].err.code, K3_IO);
			HAS_STR(b.res[1].err.msg, "dir/mid: extended attribute trusted.of-this");
			HAS_STR(b.res[1].err.hint, "--on-loss");
		}
		EQ_INT(snapshots(&b), fails ? 1 : 4);
		/* What was lost is remembered there. */
		EQ_INT(entries(&b, ".k3simg"), warn);
		bench_stop(&b);
	}
}

/* A mirror whose bytes are wrong: trees are begun again, and have lost what they lost once. */
TEST(losses_are_told_once)
{
	char part[OCI_DIGEST_TEXT_MAX + 16], text[OCI_DIGEST_TEXT_MAX];
	struct bench b, mirror = { 0 };
	struct told told = { 0 };

	lossy = 1;
	large = 2;
	bench_start(&b, PL_FLAT);
	fill_registry(&mirror);
	lossy = large = SIZE_MAX;
	oci_digest_format(&b.layers[2], text);
	snprintf(part, sizeof(part), "/left/blobs/%s", text);
	minireg_spoil(mirror.reg, part);
	K3_AUTO_FREE char *hosts = k3_xasprintf("%s.hosts", b.root);
	K3_AUTO_FREE char *file = k3_xasprintf("/%s/hosts.toml", minireg_host(b.reg));
	K3_AUTO_FREE char *toml = k3_xasprintf("server = 'http://%s'\n[host.'http://%s']\n",
					       minireg_host(b.reg), minireg_host(mirror.reg));

	put(hosts, file, toml);
	const struct registry_opts ro = { .hosts_dir = hosts };
	struct registry *registry = registry_new(&ro);

	b.o.fetch.registry = registry;
	b.o.event = note_loss;
	b.o.arg = &told;
	want(&b, "left:1");
	OK(preload(&b));
	EQ_INT(b.res[0].rc, 0);
	EQ_INT(minireg_gets(mirror.reg, part), 1);
	EQ_INT(minireg_gets(b.reg, part), 1);
	EQ_INT(b.res[0].losses, 1);
	EQ_INT(told.of[0], 1);
	EQ_STR(in_snapshot(&b, 1, "dir/left"), "text of dir/left");
	registry_free(registry);
	minireg_stop(mirror.reg);
	bench_stop(&b);
}

TEST(chain_makes_every_chain_id)
{
	struct bench b;

	bench_start(&b, PL_CHAIN);
	want(&b, "left:1");
	want(&b, "right:1");
	OK(preload(&b));
	EQ_INT(snapshots(&b), 4);
	EQ_STR(in_snapshot(&b, 1, "dir/base"), "text of dir/base");
	EQ_STR(in_snapshot(&b, 1, "dir/mid"), "");
	EQ_STR(in_snapshot(&b, 2, "dir/mid"), "text of dir/mid");
	bench_stop(&b);
}

TEST(chain_completes_a_flat_store)
{
	struct bench b;

	bench_start(&b, PL_FLAT);
	want(&b, "left:1");
	OK(preload(&b));
	EQ_INT(snapshots(&b), 1);
	b.o.snapshots = PL_CHAIN;
	OK(preload(&b));
	CHECK(b.res[0].changed);
	EQ_INT(snapshots(&b), 3);
	OK(preload(&b));
	CHECK(!b.res[0].changed);
	EQ_INT(snapshots(&b), 3);
	bench_stop(&b);
}

TEST(later_image_starts_from_what_is_there)
{
	struct bench b;

	bench_start(&b, PL_CHAIN);
	want(&b, "left:1");
	OK(preload(&b));
	oci_ref_release(&b.reqs[0].ref);
	b.n = 0;
	b.o.snapshots = PL_FLAT;
	want(&b, "right:1");
	unsigned gets = minireg_gets(b.reg, "/blobs/");

	OK(preload(&b));
	/* one layer and one config */
	EQ_INT(minireg_gets(b.reg, "/blobs/") - gets, 2);
	EQ_INT(snapshots(&b), 4);
	EQ_STR(in_snapshot(&b, 4, "dir/mid"), "text of dir/mid");
	EQ_STR(in_snapshot(&b, 4, "dir/left"), "");
	bench_stop(&b);
}

TEST(one_bad_image_leaves_the_others)
{
	struct bench b;

	bench_start(&b, PL_FLAT);
	want(&b, "left:1");
	want(&b, "alone:1");
	want(&b, "absent:1");
	minireg_spoil(b.reg, "/left/blobs/");
	OK(preload(&b));
	EQ_INT(b.res[0].rc, -1);
	EQ_INT(b.res[0].err.code, K3_DIGEST);
	EQ_INT(b.res[1].rc, 0);
	EQ_INT(b.res[2].err.code, K3_NOTFOUND);
	EQ_INT(snapshots(&b), 1);
	EQ_INT(records(&b), 3);
	minireg_spoil(b.reg, "");
	b.n = 2;
	OK(preload(&b));
	EQ_INT(b.res[0].rc, 0);
	CHECK(!b.res[1].changed);
	EQ_INT(snapshots(&b), 2);
	b.n = 3;
	bench_stop(&b);
}

TEST(another_repository_helps_out)
{
	struct bench b;

	bench_start(&b, PL_FLAT);
	want(&b, "left:1");
	want(&b, "right:1");
	char part[OCI_DIGEST_TEXT_MAX + 16], text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(&b.layers[0], text);
	snprintf(part, sizeof(part), "/left/blobs/%s", text);
	minireg_break(b.reg, part, 404);
	OK(preload(&b));
	EQ_INT(b.res[0].rc, 0);
	EQ_INT(b.res[1].rc, 0);
	bench_stop(&b);
}

/* A loss of power leaves files whose bytes never came to the disk: zeroes, or nothing. */
static void leave_behind(const struct bench *b, size_t layer, const char *suffix, uint64_t size)
{
	char path[512], text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(&b->layers[layer], text);
	text[strcspn(text, ":")] = '-';
	snprintf(path, sizeof(path), "%s/.k3simg/blobs/%s%s", b->root, text, suffix);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	CHECK(fd >= 0 && !ftruncate(fd, (off_t)size) && !close(fd));
}

TEST(damaged_staging_is_fetched_again)
{
	struct bench b;
	char path[512];

	bench_start(&b, PL_FLAT);
	want(&b, "left:1");
	want(&b, "alone:1");
	snprintf(path, sizeof(path), "%s/.k3simg/blobs", b.root);
	OK(k3_make_dirs(path, 0700, &err));
	leave_behind(&b, 0, "", b.sizes[0]);
	leave_behind(&b, 1, "", 0);
	leave_behind(&b, 2, ".part", b.sizes[2] / 2);
	leave_behind(&b, 4, ".part", b.sizes[4]);
	OK(preload(&b));
	EQ_INT(b.res[0].rc, 0);
	EQ_INT(b.res[1].rc, 0);
	EQ_STR(in_snapshot(&b, 1, "dir/base"), "text of dir/base");
	EQ_STR(in_snapshot(&b, 1, "dir/left"), "text of dir/left");
	EQ_INT(entries(&b, ".k3simg/blobs"), 0);
	/* Only once: what the registry itself sends wrong stays wrong. */
	bench_stop(&b);
	bench_start(&b, PL_FLAT);
	want(&b, "alone:1");
	snprintf(path, sizeof(path), "%s/.k3simg/blobs", b.root);
	OK(k3_make_dirs(path, 0700, &err));
	leave_behind(&b, 4, ".part", b.sizes[4] / 2);
	minireg_spoil(b.reg, "/alone/blobs/");
	OK(preload(&b));
	EQ_INT(b.res[0].rc, -1);
	EQ_INT(b.res[0].err.code, K3_DIGEST);
	bench_stop(&b);
}

TEST(other_platform_is_refused)
{
	struct bench b;

	bench_start(&b, PL_FLAT);
	want(&b, "alone:1");
	OK(oci_platform_parse("linux/s390x", &b.o.platform, &err));
	OK(preload(&b));
	EQ_INT(b.res[0].err.code, K3_PLATFORM);
	HAS_STR(b.res[0].err.msg, "linux/amd64");
	EQ_INT(snapshots(&b), 0);
	bench_stop(&b);
}

TEST(cancelled_run_commits_nothing)
{
	struct bench b;
	struct k3_err why;

	bench_start(&b, PL_FLAT);
	want(&b, "left:1");
	k3_fail(&why, K3_CANCELLED, "interrupted");
	k3_cancel_raise(b.stop, &why);
	FAILS(preload(&b), K3_CANCELLED);
	EQ_INT(b.res[0].err.code, K3_CANCELLED);
	EQ_INT(snapshots(&b), 0);
	bench_stop(&b);
}

/* One thread and many make the same store. */
TEST(jobs_do_not_change_the_result)
{
	static const unsigned jobs[] = { 1, 2, 3, PL_JOBS_MAX };

	for (size_t i = 0; i < K3_ARRAY_LEN(jobs); i++) {
		struct bench b;

		bench_start(&b, PL_CHAIN);
		b.o.jobs = jobs[i];
		want(&b, "left:1");
		want(&b, "right:1");
		want(&b, "alone:1");
		OK(preload(&b));
		EQ_INT(snapshots(&b), 5);
		EQ_STR(in_snapshot(&b, 3, "dir/left"), "text of dir/left");
		EQ_STR(in_snapshot(&b, 4, "dir/right"), "text of dir/right");
		EQ_STR(in_snapshot(&b, 5, "x"), "text of x");
		EQ_INT(b.res[1].layers, 3);
		/* Shared layers count where they were wanted first. */
		EQ_INT(b.res[0].fetched, b.sizes[0] + b.sizes[1] + b.sizes[2]);
		EQ_INT(b.res[1].fetched, b.sizes[3]);
		bench_stop(&b);
	}
}

TEST(numbers_of_workers)
{
	unsigned jobs = pl_default_jobs();

	CHECK(jobs >= 2 && jobs <= 16);
	EQ_INT(pl_transfers(1), 1);
	EQ_INT(pl_transfers(2), PL_TRANSFERS_MIN);
	EQ_INT(pl_transfers(6), 6);
	EQ_INT(pl_transfers(PL_JOBS_MAX), PL_TRANSFERS_MAX);
}

UNIT_MAIN
