/* SPDX-License-Identifier: Apache-2.0 */
/* Layers in parts, over several connections, from a registry with all kinds of ideas about Range.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "pipeline/pipeline.h"
#include "tests/unit/minireg.h"
#include "tests/unit/unit.h"

#define BIG (1000u << 10)
#define CHUNK (64u << 10)

static struct k3_err err;

/* One image of a big layer and a small one. */
struct bench {
	struct minireg *reg;
	char root[256];
	uint8_t *big;
	uint64_t size; /* of the big layer's blob */
	char blob[OCI_DIGEST_TEXT_MAX + 16];
	struct pl_opts o;
	struct pl_request req;
	struct pl_result res;
	struct k3_cancel *stop;
	uint64_t stop_at; /* bytes of the big layer after which the run is cancelled */
	unsigned fell_back;
};

static void on_event(void *arg, const struct pl_event *ev)
{
	struct bench *b = arg;
	struct k3_err why;

	if (ev->kind == PL_EV_RETRY && strstr(ev->text, "in one piece"))
		b->fell_back++;
	if (!b->stop_at || ev->kind != PL_EV_LAYER || ev->phase != PL_LAYER_DOWNLOADING ||
	    ev->total != b->size || ev->done < b->stop_at)
		return;
	k3_fail(&why, K3_CANCELLED, "stopped by the test");
	k3_cancel_raise(b->stop, &why);
}

static void bench_start(struct bench *b, enum minireg_ranges how, unsigned status)
{
	struct tarbuild t;
	struct oci_digest d[2];
	uint64_t sizes[2];
	uint32_t x = 1;
	char ref[128], text[OCI_DIGEST_TEXT_MAX];

	memset(b, 0, sizeof(*b));
	b->reg = minireg_start();
	minireg_ranges(b->reg, how, status);
	b->stop = k3_cancel_new();
	snprintf(b->root, sizeof(b->root), "%s/root", unit_tmpdir());
	b->big = k3_xcalloc(1, BIG);
	for (size_t i = 0; i < BIG; i++) {
		x = x * 1664525 + 1013904223;
		b->big[i] = (uint8_t)(x >> 24);
	}
	tb_init(&t);
	tb_entry(&t, '0', "big", "", b->big, BIG);
	tb_end(&t);
	minireg_layer(b->reg, &t, &d[0], &sizes[0]);
	tb_release(&t);
	tb_init(&t);
	tb_file(&t, "small", "text");
	tb_end(&t);
	minireg_layer(b->reg, &t, &d[1], &sizes[1]);
	tb_release(&t);
	minireg_image(b->reg, "a", "1", "linux/amd64", d, sizes, 2);
	b->size = sizes[0];
	oci_digest_format(&d[0], text);
	snprintf(b->blob, sizeof(b->blob), "/a/blobs/%s", text);
	b->o = (struct pl_opts){ .root = b->root,
				 .ns = "k8s.io",
				 .jobs = 2,
				 .chunk_size = CHUNK,
				 .limits = unpack_limits_default,
				 .event = on_event,
				 .arg = b };
	b->o.fetch.backoff_ms = 1;
	b->o.fetch.backoff_max_ms = 2;
	OK(oci_platform_parse("linux/amd64", &b->o.platform, &err));
	snprintf(ref, sizeof(ref), "%s/a:1", minireg_host(b->reg));
	OK(oci_ref_parse(ref, &b->req.ref, &err));
}

static void bench_stop(struct bench *b)
{
	oci_ref_release(&b->req.ref);
	minireg_stop(b->reg);
	k3_cancel_free(b->stop);
	free(b->big);
}

static int preload(struct bench *b)
{
	return pl_run(&b->o, &b->req, 1, b->stop, &b->res, &err);
}

/* Bytes of the big layer that the registry has sent. */
static uint64_t sent(const struct bench *b)
{
	return minireg_sent(b->reg, b->blob);
}

static void check_tree(const struct bench *b)
{
	static uint8_t got[BIG + 1];
	char path[512];

	snprintf(path, sizeof(path), "%s/io.containerd.snapshotter.v1.native/snapshots/1/big",
		 b->root);
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(got, 1, sizeof(got), f) : 0;

	if (f)
		fclose(f);
	EQ_INT(n, BIG);
	CHECK(n == BIG && !memcmp(got, b->big, BIG));
}

static void works(struct bench *b)
{
	OK(preload(b));
	EQ_INT(b->res.rc, 0);
	if (b->res.rc)
		printf("%s\n", b->res.err.msg);
	check_tree(b);
}

TEST(parts_come_once_and_together)
{
	struct bench b;

	bench_start(&b, MINIREG_ANSWER, 0);
	works(&b);
	EQ_INT(sent(&b), b.size);
	EQ_INT(minireg_ranged(b.reg), (b.size + CHUNK - 1) / CHUNK);
	EQ_INT(b.fell_back, 0);
	bench_stop(&b);
}

TEST(nobody_asks_for_parts_unless_told)
{
	struct bench b;

	bench_start(&b, MINIREG_ANSWER, 0);
	b.o.chunk_size = 0;
	works(&b);
	EQ_INT(minireg_ranged(b.reg), 0);
	bench_stop(&b);
	bench_start(&b, MINIREG_ANSWER, 0);
	b.o.jobs = 1;
	works(&b);
	EQ_INT(minireg_ranged(b.reg), 0);
	bench_stop(&b);
	bench_start(&b, MINIREG_ANSWER, 0);
	b.o.chunk_size = b.size;
	works(&b);
	EQ_INT(minireg_ranged(b.reg), 0);
	bench_stop(&b);
}

TEST(ignored_range_is_read_to_its_end)
{
	struct bench b;

	bench_start(&b, MINIREG_IGNORE, 0);
	works(&b);
	EQ_INT(minireg_ranged(b.reg), 1);
	EQ_INT(sent(&b), b.size);
	EQ_INT(b.fell_back, 0);
	bench_stop(&b);
}

TEST(refused_ranges_cost_a_request)
{
	static const unsigned statuses[] = { 400, 403, 404, 416, 500, 501, 503 };

	for (size_t i = 0; i < K3_ARRAY_LEN(statuses); i++) {
		struct bench b;

		bench_start(&b, MINIREG_REFUSE, statuses[i]);
		works(&b);
		EQ_INT(minireg_ranged(b.reg), 1);
		EQ_INT(sent(&b), b.size);
		EQ_INT(b.fell_back, 1);
		bench_stop(&b);
	}
}

TEST(what_turns_bad_later_falls_back)
{
	static const struct {
		enum minireg_ranges how;
		unsigned status;
	} ways[] = {
		{ MINIREG_LATE_REFUSE, 416 }, { MINIREG_LATE_REFUSE, 403 },
		{ MINIREG_LATE_REFUSE, 500 }, { MINIREG_LATE_IGNORE, 0 },
		{ MINIREG_LATE_LONG, 0 },
	};

	for (size_t i = 0; i < K3_ARRAY_LEN(ways); i++) {
		struct bench b;

		bench_start(&b, ways[i].how, ways[i].status);
		works(&b);
		EQ_INT(b.fell_back, 1);
		bench_stop(&b);
	}
}

/* The rest comes in one range, behind what is there. */
TEST(changed_content_falls_back)
{
	struct bench b;

	bench_start(&b, MINIREG_LATE_ETAG, 0);
	works(&b);
	EQ_INT(b.fell_back, 1);
	bench_stop(&b);
	bench_start(&b, MINIREG_LATE_TOTAL, 0);
	OK(preload(&b));
	EQ_INT(b.fell_back, 1);
	/* By the registry's own word that is another blob. */
	EQ_INT(b.res.err.code, K3_DIGEST);
	HAS_STR(b.res.err.msg, "size differs");
	bench_stop(&b);
}

TEST(broken_parts_go_on_where_they_broke)
{
	struct bench b;

	bench_start(&b, MINIREG_LATE_CUT, 0);
	works(&b);
	CHECK(minireg_ranged(b.reg) > (b.size + CHUNK - 1) / CHUNK);
	EQ_INT(sent(&b), b.size);
	EQ_INT(b.fell_back, 0);
	bench_stop(&b);
}

TEST(short_parts_go_on_at_once)
{
	struct bench b;

	bench_start(&b, MINIREG_SHORT, 0);
	/* Were it to wait between them, this would not end. */
	b.o.fetch.backoff_ms = b.o.fetch.backoff_max_ms = 1000000;
	works(&b);
	EQ_INT(sent(&b), b.size);
	bench_stop(&b);
}

TEST(wrong_parts_fail_the_digest)
{
	struct bench b;

	bench_start(&b, MINIREG_LATE_WRONG, 0);
	OK(preload(&b));
	EQ_INT(b.res.rc, -1);
	/* Whoever notices first: the builder reads behind the download. */
	CHECK(b.res.err.code == K3_DIGEST || b.res.err.code == K3_FORMAT);
	minireg_ranges(b.reg, MINIREG_ANSWER, 0);
	works(&b);
	bench_stop(&b);
}

/* Zeroes over n bytes of what a run has left of the big layer. */
static void damage_left(const struct bench *b, long at, size_t n)
{
	static const uint8_t zeroes[CHUNK];
	char path[512];
	const char *digest = strchr(b->blob, ':') + 1;

	snprintf(path, sizeof(path), "%s/.k3simg/blobs/sha256-%s.part", b->root, digest);
	FILE *f = fopen(path, "r+");

	CHECK(f && !fseek(f, at, SEEK_SET) && fwrite(zeroes, 1, n, f) == n && !fclose(f));
}

static void go_on_damaged(long at, uint64_t chunk)
{
	struct bench b;

	bench_start(&b, MINIREG_ANSWER, 0);
	b.stop_at = b.size / 2;
	FAILS(preload(&b), K3_CANCELLED);
	b.stop_at = 0;
	k3_cancel_free(b.stop);
	b.stop = k3_cancel_new();
	damage_left(&b, at, 4096);
	b.o.chunk_size = chunk;
	works(&b);
	bench_stop(&b);
}

TEST(damaged_parts_come_again)
{
	go_on_damaged(0, CHUNK);
	go_on_damaged(3 * CHUNK + 100, CHUNK);
	go_on_damaged(3 * CHUNK + 100, 0);
}

/* Cancelled in the middle, then gone on with as `chunk` says. */
static void go_on(uint64_t chunk, uint64_t most)
{
	struct bench b;

	bench_start(&b, MINIREG_ANSWER, 0);
	b.stop_at = b.size / 2;
	FAILS(preload(&b), K3_CANCELLED);
	b.stop_at = 0;
	k3_cancel_free(b.stop);
	b.stop = k3_cancel_new();
	uint64_t before = sent(&b);

	CHECK(before >= b.size / 2);
	b.o.chunk_size = chunk;
	works(&b);
	CHECK(sent(&b) - before <= most);
	bench_stop(&b);
}

TEST(interrupted_parts_go_on)
{
	/* What was on its way to one of four connections may be lost. */
	go_on(CHUNK, BIG / 2 + 4 * CHUNK);
	/* Other chunks, or none: what is there from the start counts, and more was asked for. */
	go_on(2 * CHUNK, BIG / 2 + 8 * CHUNK);
	go_on(0, BIG / 2 + 8 * CHUNK);
}

UNIT_MAIN
