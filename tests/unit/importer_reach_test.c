/* SPDX-License-Identifier: Apache-2.0 */
/* What is in use: containerd's rules, on graphs that are made here and on a small meta.db. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "importer/reach.h"

#define NS "k8s.io"

static struct reach_id id_of(enum reach_type type, const char *ns, const char *key)
{
	struct reach_id id = { .type = type, .ns = BOLT_STR(ns), .key = BOLT_STR(key) };

	if (type == REACH_SNAPSHOT)
		id.sub = BOLT_STR("native");
	return id;
}

static size_t node(struct reach *r, enum reach_type type, const char *key, bool root)
{
	struct reach_id id = id_of(type, NS, key);

	return reach_add(r, &id, root);
}

static void refer(struct reach *r, size_t from, enum reach_type type, const char *key,
		  enum reach_kind kind)
{
	struct reach_id id = id_of(type, NS, key);

	reach_refer(r, from, &id, kind);
}

static void label(struct reach *r, size_t from, const char *key, const char *value)
{
	reach_label(r, from, BOLT_STR(key), BOLT_STR(value));
}

static enum reach_mark mark_in(struct reach *r, const char *ns, enum reach_type type,
			       const char *key)
{
	struct reach_id id = id_of(type, ns, key);
	struct reach_node *n = reach_find(r, &id);

	if (!n)
		unit_fail(__FILE__, __LINE__, "no node %s", key);
	return n ? n->mark : REACH_NONE;
}

static enum reach_mark mark_of(struct reach *r, enum reach_type type, const char *key)
{
	return mark_in(r, NS, type, key);
}

/* ---- graph ---------------------------------------------------------------------------------- */

TEST(image_keeps_what_its_labels_lead_to)
{
	struct reach r = { 0 };
	size_t image = node(&r, REACH_IMAGE, "app:1", true);
	size_t manifest = node(&r, REACH_BLOB, "sha256:m", false);
	size_t config = node(&r, REACH_BLOB, "sha256:c", false);
	size_t top = node(&r, REACH_SNAPSHOT, "sha256:top", false);

	node(&r, REACH_SNAPSHOT, "sha256:low", false);
	node(&r, REACH_BLOB, "sha256:l", false);
	node(&r, REACH_BLOB, "sha256:lost", false);
	refer(&r, image, REACH_BLOB, "sha256:m", REACH_REF);
	label(&r, manifest, "containerd.io/gc.ref.content.config", "sha256:c");
	label(&r, manifest, "containerd.io/gc.ref.content/l.0", "sha256:l");
	label(&r, manifest, "containerd.io/gc.ref.contents", "sha256:lost");
	label(&r, manifest, "containerd.io/distribution.source.x", "sha256:lost");
	label(&r, config, "containerd.io/gc.ref.snapshot.native", "sha256:top");
	label(&r, config, "containerd.io/gc.ref.snapshot.overlayfs", "sha256:low");
	label(&r, config, "containerd.io/gc.ref.content", "sha256:not-there");
	reach_mark(&r);
	EQ_INT(mark_of(&r, REACH_BLOB, "sha256:l"), REACH_FULL);
	EQ_INT(mark_of(&r, REACH_SNAPSHOT, "sha256:top"), REACH_FULL);
	EQ_INT(mark_of(&r, REACH_SNAPSHOT, "sha256:low"), REACH_NONE);
	EQ_INT(mark_of(&r, REACH_BLOB, "sha256:lost"), REACH_NONE);
	reach_release(&r);

	/* With a parent the lower one stays; without the image nothing does. */
	r = (struct reach){ 0 };
	image = node(&r, REACH_IMAGE, "app:1", true);
	config = node(&r, REACH_BLOB, "sha256:c", false);
	top = node(&r, REACH_SNAPSHOT, "sha256:top", false);
	node(&r, REACH_SNAPSHOT, "sha256:low", false);
	refer(&r, image, REACH_BLOB, "sha256:c", REACH_REF);
	label(&r, config, "containerd.io/gc.ref.snapshot.native/2", "sha256:top");
	refer(&r, top, REACH_SNAPSHOT, "sha256:low", REACH_PARENT);
	reach_mark(&r);
	EQ_INT(mark_of(&r, REACH_SNAPSHOT, "sha256:low"), REACH_FULL);
	r.nodes[image].dropped = true;
	reach_mark(&r);
	EQ_INT(mark_of(&r, REACH_SNAPSHOT, "sha256:low"), REACH_NONE);
	EQ_INT(mark_of(&r, REACH_BLOB, "sha256:c"), REACH_NONE);
	reach_release(&r);
}

TEST(flat_lease_keeps_parents_but_no_labels)
{
	struct reach r = { 0 };
	size_t lease = node(&r, REACH_LEASE, "flat", true);
	size_t blob = node(&r, REACH_BLOB, "sha256:m", false);
	size_t top = node(&r, REACH_SNAPSHOT, "top", false);

	node(&r, REACH_SNAPSHOT, "low", false);
	node(&r, REACH_BLOB, "sha256:c", false);
	node(&r, REACH_BLOB, "sha256:d", false);
	refer(&r, lease, REACH_BLOB, "sha256:m", REACH_HOLD);
	refer(&r, lease, REACH_SNAPSHOT, "top", REACH_HOLD);
	label(&r, blob, "containerd.io/gc.ref.content.config", "sha256:c");
	label(&r, top, "containerd.io/gc.ref.content.x", "sha256:d");
	refer(&r, top, REACH_SNAPSHOT, "low", REACH_PARENT);
	reach_mark(&r);
	EQ_INT(mark_of(&r, REACH_BLOB, "sha256:m"), REACH_FLAT);
	EQ_INT(mark_of(&r, REACH_BLOB, "sha256:c"), REACH_NONE);
	EQ_INT(mark_of(&r, REACH_BLOB, "sha256:d"), REACH_NONE);
	EQ_INT(mark_of(&r, REACH_SNAPSHOT, "low"), REACH_FLAT);
	reach_release(&r);
}

/* What is met flat first and in full later is followed again. */
TEST(full_mark_comes_after_a_flat_one)
{
	struct reach r = { 0 };
	size_t lease = node(&r, REACH_LEASE, "flat", true);
	size_t blob = node(&r, REACH_BLOB, "sha256:m", false);
	size_t image = node(&r, REACH_IMAGE, "app:1", true);

	node(&r, REACH_BLOB, "sha256:c", false);
	refer(&r, lease, REACH_BLOB, "sha256:m", REACH_HOLD);
	refer(&r, image, REACH_BLOB, "sha256:m", REACH_REF);
	label(&r, blob, "containerd.io/gc.ref.content.config", "sha256:c");
	reach_mark(&r);
	EQ_INT(mark_of(&r, REACH_BLOB, "sha256:c"), REACH_FULL);
	reach_release(&r);
}

TEST(references_back_keep_who_has_them)
{
	struct reach r = { 0 };
	size_t image = node(&r, REACH_IMAGE, "app:1", true);
	size_t signature = node(&r, REACH_BLOB, "sha256:s", false);
	size_t other = node(&r, REACH_BLOB, "sha256:o", false);
	size_t mount = node(&r, REACH_BLOB, "sha256:u", false);

	node(&r, REACH_BLOB, "sha256:m", false);
	node(&r, REACH_BLOB, "sha256:gone", false);
	refer(&r, image, REACH_BLOB, "sha256:m", REACH_REF);
	label(&r, signature, "containerd.io/gc.bref.content.m", "sha256:m");
	label(&r, other, "containerd.io/gc.bref.content", "sha256:gone");
	/* Of a kind that cannot be looked for. */
	label(&r, mount, "containerd.io/gc.bref.mount", "x");
	reach_mark(&r);
	EQ_INT(mark_of(&r, REACH_BLOB, "sha256:s"), REACH_FULL);
	EQ_INT(mark_of(&r, REACH_BLOB, "sha256:o"), REACH_NONE);
	EQ_INT(mark_of(&r, REACH_BLOB, "sha256:u"), REACH_FULL);
	reach_release(&r);
}

TEST(circles_without_a_root_are_garbage)
{
	struct reach r = { 0 };
	size_t a = node(&r, REACH_BLOB, "sha256:a", false);
	size_t b = node(&r, REACH_BLOB, "sha256:b", false);

	label(&r, a, "containerd.io/gc.ref.content.x", "sha256:b");
	label(&r, b, "containerd.io/gc.ref.content.x", "sha256:a");
	reach_mark(&r);
	EQ_INT(mark_of(&r, REACH_BLOB, "sha256:a"), REACH_NONE);
	EQ_INT(mark_of(&r, REACH_BLOB, "sha256:b"), REACH_NONE);
	reach_release(&r);
}

TEST(times_are_read_as_go_reads_them)
{
	static const struct {
		const char *text;
		int64_t at; /* -1: none */
	} cases[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "2024-01-01T00:00:00Z", 1704067200 },
		{ "2024-01-01T02:00:00+02:00", 1704067200 },
		{ "2023-12-31T19:30:00-04:30", 1704067200 },
		{ "2024-01-01T00:00:00.123456789Z", 1704067200 },
		{ "", -1 },
		{ "2024-01-01", -1 },
		{ "2024-13-01T00:00:00Z", -1 },
		{ "2024-01-01T00:00:00", -1 },
		{ "2024-01-01T00:00:00Zx", -1 },
		{ "2024-01-01 00:00:00Z", -1 },
		{ "never", -1 },
	};

	for (size_t k = 0; k < K3_ARRAY_LEN(cases); k++) {
		int64_t at = -1;

		if (!reach_time(BOLT_STR(cases[k].text), &at))
			at = -1;
		if (at != cases[k].at)
			unit_fail(__FILE__, __LINE__, "\"%s\" is %lld, want %lld", cases[k].text,
				  (long long)at, (long long)cases[k].at);
	}
}

/* ---- a database ----------------------------------------------------------------------------- */

/* Puts a value behind a path of buckets; NULL: the last one is a bucket. */
static void put(struct bolt_txn *t, const char *path, const char *value, size_t n)
{
	K3_AUTO_FREE char *words = k3_xstrdup(path);
	struct bolt_bucket *b = bolt_root(t);
	char *save = NULL, *word = strtok_r(words, " ", &save);
	struct k3_err err;

	for (char *next; word; word = next) {
		next = strtok_r(NULL, " ", &save);
		if (next || !value)
			OK(bolt_bucket_make(b, BOLT_STR(word), &b, &err));
		else
			OK(bolt_put(b, BOLT_STR(word), (struct bolt_val){ value, n }, &err));
	}
}

static void put_text(struct bolt_txn *t, const char *path, const char *value)
{
	put(t, path, value, value ? strlen(value) : 0);
}

static void put_time(struct bolt_txn *t, const char *path, int64_t at)
{
	struct timespec ts = { .tv_sec = (time_t)at };
	uint8_t bytes[IMP_TIME_LEN];

	imp_put_time(&ts, bytes);
	put(t, path, (char *)bytes, sizeof(bytes));
}

#define NOW 1704067200

static void fill(struct bolt_txn *t)
{
	put_text(t, "v1 k8s.io images app:1 target digest", "sha256:m");
	put_text(t, "v1 k8s.io images app:1 labels containerd.io/gc.ref.content.more",
		 "sha256:more");
	put_text(t, "v1 k8s.io content blob sha256:m labels containerd.io/gc.ref.content.config",
		 "sha256:c");
	put_text(t, "v1 k8s.io content blob sha256:c labels containerd.io/gc.ref.snapshot.native",
		 "top");
	put_text(t, "v1 k8s.io content blob sha256:more labels", NULL);
	put_text(t, "v1 k8s.io content blob sha256:root labels containerd.io/gc.root", "yes");
	put_text(t, "v1 k8s.io content blob sha256:leased labels", NULL);
	put_text(t, "v1 k8s.io content blob sha256:stale labels", NULL);
	put_text(t, "v1 k8s.io content blob sha256:ours labels", NULL);
	put_text(t, "v1 k8s.io content blob sha256:sandbox labels", NULL);
	put_text(t, "v1 k8s.io content blob sha256:future labels", NULL);
	put_text(t, "v1 k8s.io content blob sha256:writing labels", NULL);
	put_text(t, "v1 k8s.io content blob sha256:waste labels", NULL);
	put_text(t, "v1 k8s.io content ingests live expected", "sha256:writing");
	put_time(t, "v1 k8s.io content ingests live expireat", NOW + 10);
	put_time(t, "v1 k8s.io content ingests dead expireat", NOW - 10);
	put_text(t, "v1 k8s.io snapshots native top parent", "low");
	put_text(t, "v1 k8s.io snapshots native top name", "k8s.io/1/top");
	put_text(t, "v1 k8s.io snapshots native low name", "k8s.io/2/low");
	put_text(t, "v1 k8s.io snapshots native waste name", "k8s.io/3/waste");
	put_text(t, "v1 k8s.io snapshots native used name", "k8s.io/4/used");
	put_text(t, "v1 k8s.io snapshots overlayfs foreign parent", "base");
	put_text(t, "v1 k8s.io containers c1 snapshotter", "native");
	put_text(t, "v1 k8s.io containers c1 snapshotKey", "used");
	put_text(t, "v1 k8s.io leases open content sha256:leased", "");
	put_text(t, "v1 k8s.io leases over labels containerd.io/gc.expire", "2023-01-01T00:00:00Z");
	put_text(t, "v1 k8s.io leases over content sha256:stale", "");
	put_text(t, "v1 k8s.io leases k3simg-1 content sha256:ours", "");
	put_text(t, "v1 k8s.io gadgets g labels containerd.io/gc.ref.content", "sha256:future");
	/* Another namespace has a blob of its own under the same digest. */
	put_text(t, "v1 other content blob sha256:m labels", NULL);
	put_text(t, "v1 other images app:1 target digest", "sha256:waste");
	put_text(t, "v1 other content blob sha256:waste labels", NULL);
	/* containerd 1.7 keeps these at the top. */
	put_text(t, "k8s.io sandboxes s labels containerd.io/gc.ref.content.x", "sha256:sandbox");
}

static struct bolt_db *make_db(void)
{
	struct bolt_db *db = NULL;
	struct bolt_txn *t;
	struct k3_err err;
	int dir = -1;

	OK(k3_open_dir(AT_FDCWD, unit_tmpdir(), &dir, &err));
	OK(bolt_open(dir, "reach.db", BOLT_WRITE | BOLT_CREATE, 0600, &db, &err));
	OK(bolt_begin(db, true, &t, &err));
	fill(t);
	OK(bolt_commit(t, &err));
	close(dir);
	return db;
}

TEST(records_of_all_namespaces_are_judged)
{
	static const struct {
		enum reach_type type;
		const char *ns, *key;
		enum reach_mark mark;
	} want[] = {
		{ REACH_IMAGE, NS, "app:1", REACH_FULL },
		{ REACH_BLOB, NS, "sha256:m", REACH_FULL },
		{ REACH_BLOB, NS, "sha256:c", REACH_FULL },
		{ REACH_BLOB, NS, "sha256:more", REACH_FULL },
		{ REACH_BLOB, NS, "sha256:root", REACH_FULL },
		{ REACH_BLOB, NS, "sha256:leased", REACH_FULL },
		{ REACH_BLOB, NS, "sha256:stale", REACH_NONE },
		{ REACH_BLOB, NS, "sha256:ours", REACH_NONE },
		{ REACH_BLOB, NS, "sha256:sandbox", REACH_FULL },
		{ REACH_BLOB, NS, "sha256:future", REACH_FULL },
		{ REACH_BLOB, NS, "sha256:writing", REACH_FULL },
		{ REACH_BLOB, NS, "sha256:waste", REACH_NONE },
		{ REACH_INGEST, NS, "live", REACH_FULL },
		{ REACH_INGEST, NS, "dead", REACH_NONE },
		{ REACH_SNAPSHOT, NS, "top", REACH_FULL },
		{ REACH_SNAPSHOT, NS, "low", REACH_FULL },
		{ REACH_SNAPSHOT, NS, "used", REACH_FULL },
		{ REACH_SNAPSHOT, NS, "waste", REACH_NONE },
		{ REACH_LEASE, NS, "open", REACH_FULL },
		{ REACH_LEASE, NS, "over", REACH_NONE },
		{ REACH_LEASE, NS, "k3simg-1", REACH_NONE },
		{ REACH_BLOB, "other", "sha256:m", REACH_NONE },
		{ REACH_BLOB, "other", "sha256:waste", REACH_FULL },
	};
	struct reach r = { .now = NOW, .ours_are_stale = true };
	struct bolt_db *db = make_db();
	struct bolt_txn *t;
	struct k3_err err;

	OK(bolt_begin(db, false, &t, &err));
	OK(reach_scan(&r, t, &err));
	reach_mark(&r);
	for (size_t k = 0; k < K3_ARRAY_LEN(want); k++) {
		enum reach_mark got = mark_in(&r, want[k].ns, want[k].type, want[k].key);

		if (got != want[k].mark)
			unit_fail(__FILE__, __LINE__, "%s of %s has mark %d, want %d", want[k].key,
				  want[k].ns, got, want[k].mark);
	}
	const struct reach_id foreign = { .type = REACH_SNAPSHOT,
					  .ns = BOLT_STR(NS),
					  .sub = BOLT_STR("overlayfs"),
					  .key = BOLT_STR("foreign") };
	struct reach_node *n = reach_find(&r, &foreign);

	CHECK(n && n->mark == REACH_FULL);
	reach_release(&r);

	/* While a k3simg is at work its lease counts, and so it does for another namespace. */
	r = (struct reach){ .now = NOW };
	OK(reach_scan(&r, t, &err));
	reach_mark(&r);
	EQ_INT(mark_of(&r, REACH_BLOB, "sha256:ours"), REACH_FULL);
	reach_release(&r);
	r = (struct reach){ .now = NOW, .ours_are_stale = true, .ours_in = "other" };
	OK(reach_scan(&r, t, &err));
	reach_mark(&r);
	EQ_INT(mark_of(&r, REACH_BLOB, "sha256:ours"), REACH_FULL);
	reach_release(&r);
	bolt_abort(t);
	bolt_close(db);
}

UNIT_MAIN
