/* SPDX-License-Identifier: Apache-2.0 */
/* A damaged snapshot in the middle of a chain is replaced, also by a run that is cut off. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "importer/imp.h"
#include "importer/view.h"

#define LAYERS 3
#define MEDIA "application/vnd.oci.image."

/* An image made of texts; its layers are no archives, since nothing here unpacks them. */
struct fake {
	struct oci_ref ref;
	struct oci_doc manifest;
	struct k3_buf config;
	char layer[LAYERS][32];
	struct oci_image img;
	struct imp_image im;
};

static void digest_text(const void *p, size_t n, char out[OCI_DIGEST_TEXT_MAX])
{
	struct oci_digest d;

	oci_digest_of(K3_SHA256, p, n, &d);
	oci_digest_format(&d, out);
}

static void fake_layers(struct fake *f)
{
	struct k3_err err = { 0 };
	char text[OCI_DIGEST_TEXT_MAX];

	OK(k3_buf_addf(
		&f->config, &err,
		"{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\","
		"\"diff_ids\":["));
	for (int k = 0; k < LAYERS; k++) {
		snprintf(f->layer[k], sizeof(f->layer[k]), "layer %d", k);
		digest_text(&f->layer[k][1], 6, text);
		OK(k3_buf_addf(&f->config, &err, "%s\"%s\"", k ? "," : "", text));
	}
	OK(k3_buf_addf(&f->config, &err, "]}}"));
	digest_text(f->config.p, f->config.len, text);
	OK(k3_buf_addf(&f->manifest.body, &err,
		       "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA "manifest.v1+json\","
		       "\"config\":{\"mediaType\":\"" MEDIA "config.v1+json\",\"digest\":\"%s\","
		       "\"size\":%zu},\"layers\":[",
		       text, f->config.len));
	for (int k = 0; k < LAYERS; k++) {
		digest_text(f->layer[k], strlen(f->layer[k]), text);
		OK(k3_buf_addf(&f->manifest.body, &err,
			       "%s{\"mediaType\":\"" MEDIA "layer.v1.tar+gzip\",\"digest\":\"%s\","
			       "\"size\":%zu}",
			       k ? "," : "", text, strlen(f->layer[k])));
	}
	OK(k3_buf_addf(&f->manifest.body, &err, "]}"));
}

static struct fake *fake_new(void)
{
	struct fake *f = k3_xcalloc(1, sizeof(*f));
	struct oci_desc *d = &f->manifest.desc;
	struct k3_err err = { 0 };

	f->config = f->manifest.body = K3_BUF(1 << 16);
	OK(oci_ref_parse("a:1", &f->ref, &err));
	fake_layers(f);
	snprintf(d->media_text, sizeof(d->media_text), MEDIA "manifest.v1+json");
	d->media = OCI_MEDIA_MANIFEST;
	d->size = f->manifest.body.len;
	oci_digest_of(K3_SHA256, f->manifest.body.p, f->manifest.body.len, &d->digest);
	OK(oci_image_parse(f->manifest.body.p, f->manifest.body.len, f->config.p, f->config.len,
			   &f->img, &err));
	f->im = (struct imp_image){ .ref = &f->ref,
				    .docs = &f->manifest,
				    .ndocs = 1,
				    .img = &f->img,
				    .every_chain = true };
	return f;
}

static void fake_free(struct fake *f)
{
	oci_image_release(&f->img);
	oci_ref_release(&f->ref);
	k3_buf_release(&f->manifest.body);
	k3_buf_release(&f->config);
	free(f);
}

/* ---- a run --------------------------------------------------------------------------- */

static int put(struct imp *i, const struct oci_desc *d, const void *p, size_t n, struct k3_err *e)
{
	return imp_blob_put(i, d, p, n, e);
}

static int stage(struct imp *i, struct imp_view *v, struct fake *f, struct k3_err *e)
{
	struct imp_tree_from from = { 0 };

	if (put(i, &f->manifest.desc, f->manifest.body.p, f->manifest.body.len, e) ||
	    put(i, &f->img.config, f->config.p, f->config.len, e))
		return -1;
	for (size_t k = 0; k < LAYERS; k++) {
		const struct oci_layer *l = &f->img.layers[k];
		struct imp_tree *t;
		uint64_t id;
		bool have;

		if (put(i, &l->blob, f->layer[k], strlen(f->layer[k]), e) ||
		    imp_view_chain(v, &l->chain_id, &id, &have, e))
			return -1;
		if (have) {
			from = (struct imp_tree_from){ .parent_id = id,
						       .parent_chain = l->chain_id };
			continue;
		}
		if (imp_tree_begin(i, &l->chain_id, &from, NULL, &t, e) ||
		    mkdirat(imp_tree_rootfd(t), &f->layer[k][6], 0755) || imp_tree_seal(t, e))
			return -1;
		from = (struct imp_tree_from){ .parent = t };
	}
	imp_add_image(i, &f->im);
	return 0;
}

struct how {
	const char *root;
	int doubted; /* layer whose snapshot counts as damaged, or -1 */
	imp_step_fn *step;
	void *arg;
};

static int run(const struct how *h, struct fake *f, struct k3_err *e)
{
	struct imp_opts o = { .root = h->root, .ns = "k8s.io", .write = true };
	struct imp_view *v;
	struct imp *i;
	int rc;

	if (imp_open(&o, &i, e))
		return -1;
	imp_set_step(i, h->step, h->arg);
	if (h->doubted >= 0)
		imp_distrust_chain(i, &f->img.layers[h->doubted].chain_id);
	rc = imp_view_open(i, &v, e);
	if (!rc) {
		rc = stage(i, v, f, e);
		imp_view_close(v);
	}
	rc = rc || imp_commit(i, e) ? -1 : 0;
	imp_close(i, false);
	return rc;
}

/* ---- the result ---------------------------------------------------------------------- */

struct found {
	size_t damage, leftovers;
	uint64_t ids[LAYERS];
	bool unpacked;
};

static int take(void *arg, const struct imp_finding *fi, struct k3_err *e)
{
	struct found *found = arg;

	(void)e;
	if (fi->kind == IMP_LEFTOVER)
		found->leftovers++;
	else if (fi->kind != IMP_NOTE)
		found->damage++;
	return 0;
}

static struct found look(const char *root, struct fake *f)
{
	struct imp_opts o = { .root = root, .ns = "k8s.io" };
	const char *name = "docker.io/library/a:1";
	struct imp_names names = {
		.target = f->manifest.desc, .v = &name, .n = 1, .managed = true
	};
	struct imp_checked checked = { 0 };
	struct found found = { 0 };
	struct imp_sink sink = { take, &found };
	struct oci_platform want = { "linux", "amd64", "" };
	struct imp_view *v;
	struct k3_err err;
	struct imp *i;
	bool sound;

	OK(imp_open(&o, &i, &err));
	OK(imp_view_open(i, &v, &err));
	OK(imp_check_databases(v, &sink, &sound, &err));
	CHECK(sound);
	OK(imp_check_image(v, &names, &want, &checked, &sink, &err));
	EQ_INT(checked.n, 1);
	found.unpacked = checked.variants[0].unpacked;
	OK(imp_check_store(v, &sink, &err));
	for (size_t k = 0; k < LAYERS; k++) {
		bool have;

		OK(imp_view_chain(v, &f->img.layers[k].chain_id, &found.ids[k], &have, &err));
		CHECK(have);
	}
	imp_checked_release(&checked);
	imp_view_close(v);
	imp_close(i, true);
	return found;
}

static size_t count_directories(const char *root)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s/" IMP_SNAPSHOTS_DIR, root);
	DIR *d = opendir(path);
	size_t n = 0;

	CHECK(d != NULL);
	while (d && readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void check_whole(const char *root, struct fake *f, int replaced, const struct found *before)
{
	struct found now = look(root, f);

	EQ_INT(now.damage, 0);
	EQ_INT(now.leftovers, 0);
	CHECK(now.unpacked);
	EQ_INT(count_directories(root), LAYERS);
	for (int k = 0; k < LAYERS; k++)
		CHECK((now.ids[k] == before->ids[k]) == (k != replaced));
}

TEST(every_layer_can_be_replaced)
{
	for (int k = 0; k < LAYERS; k++) {
		struct fake *f = fake_new();
		struct how h = { .root = unit_tmpdir(), .doubted = -1 };
		struct k3_err err;

		OK(run(&h, f, &err));
		struct found before = look(h.root, f);

		EQ_INT(before.damage, 0);
		h.doubted = k;
		OK(run(&h, f, &err));
		CHECK(f->im.changed);
		check_whole(h.root, f, k, &before);
		h.doubted = -1;
		OK(run(&h, f, &err));
		CHECK(!f->im.changed);
		check_whole(h.root, f, k, &before);
		fake_free(f);
	}
}

static int stop_there(void *arg, enum imp_step s, struct k3_err *e)
{
	const enum imp_step *at = arg;

	(void)e;
	if (s == *at)
		_exit(42);
	return 0;
}

static int fail_there(void *arg, enum imp_step s, struct k3_err *e)
{
	const enum imp_step *at = arg;

	return s == *at ? k3_fail(e, K3_IO, "made up") : 0;
}

TEST(killed_while_replacing)
{
	for (enum imp_step at = IMP_STEP_FLUSHED; at < IMP_STEPS; at++) {
		struct fake *f = fake_new();
		struct how h = { .root = unit_tmpdir(), .doubted = -1 };
		struct k3_err err;
		int status;

		/* All blobs are there already. */
		if (at == IMP_STEP_BLOB_PLACED) {
			fake_free(f);
			continue;
		}
		OK(run(&h, f, &err));
		struct found before = look(h.root, f);

		h = (struct how){ h.root, 1, stop_there, &at };
		pid_t pid = fork();
		if (pid == 0) {
			(void)!run(&h, f, &err);
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		EQ_INT(WEXITSTATUS(status), 42);
		struct found now = look(h.root, f);

		CHECK(now.unpacked);
		/* The records of meta.db decide; the other database may have more. */
		CHECK((now.ids[1] != before.ids[1]) == (at == IMP_STEP_META_COMMITTED));
		EQ_INT(now.ids[2], before.ids[2]);
		if (at != IMP_STEP_META_COMMITTED)
			EQ_INT(now.damage, 0);
		/* The next run of any kind cleans up. */
		h = (struct how){ .root = h.root, .doubted = -1 };
		OK(run(&h, f, &err));
		check_whole(h.root, f, at == IMP_STEP_META_COMMITTED ? 1 : -1, &before);
		fake_free(f);
	}
}

TEST(failed_while_replacing)
{
	for (enum imp_step at = IMP_STEP_FLUSHED; at < IMP_STEP_META_COMMITTED; at++) {
		struct fake *f = fake_new();
		struct how h = { .root = unit_tmpdir(), .doubted = -1 };
		struct k3_err err;

		OK(run(&h, f, &err));
		struct found before = look(h.root, f);

		h = (struct how){ h.root, 1, fail_there, &at };
		if (at != IMP_STEP_BLOB_PLACED) {
			FAILS(run(&h, f, &err), K3_IO);
			check_whole(h.root, f, -1, &before);
		}
		h.step = NULL;
		OK(run(&h, f, &err));
		check_whole(h.root, f, 1, &before);
		fake_free(f);
	}
}

TEST(a_blob_that_is_doubted_is_replaced)
{
	struct fake *f = fake_new();
	struct imp_opts o = { .root = unit_tmpdir(), .ns = "k8s.io", .write = true };
	struct how h = { .root = o.root, .doubted = -1 };
	const struct oci_desc *d = &f->img.layers[0].blob;
	K3_AUTO_FREE char *name = imp_blob_name(&d->digest);
	struct imp_view *v;
	struct k3_err err;
	struct imp *i;
	bool have;
	int fd;

	OK(run(&h, f, &err));
	K3_AUTO_FREE char *path = k3_xasprintf("%s/%s", o.root, name);

	/* The right size and the wrong bytes: no record tells. */
	fd = open(path, O_WRONLY);
	CHECK(fd >= 0 && pwrite(fd, "X", 1, 0) == 1);
	close(fd);
	EQ_INT(look(o.root, f).damage, 0);
	OK(imp_open(&o, &i, &err));
	imp_distrust_blob(i, &d->digest);
	OK(imp_view_open(i, &v, &err));
	OK(imp_view_blob(v, d, &have, &err));
	CHECK(!have);
	OK(stage(i, v, f, &err));
	imp_view_close(v);
	OK(imp_commit(i, &err));
	imp_close(i, false);
	OK(k3_open_dir(AT_FDCWD, o.root, &fd, &err));
	K3_AUTO_BUF struct k3_buf bytes = K3_BUF(64);

	OK(k3_read_file(fd, name, &bytes, &err));
	close(fd);
	EQ_INT(bytes.len, d->size);
	CHECK(!memcmp(bytes.p, f->layer[0], bytes.len));
	fake_free(f);
}

/* Bytes that are reached through a link are no blob, and no reason to leave it at that. */
TEST(a_document_that_is_a_symbolic_link_is_replaced)
{
	struct fake *f = fake_new();
	struct how h = { .root = unit_tmpdir(), .doubted = -1 };
	K3_AUTO_FREE char *name = imp_blob_name(&f->manifest.desc.digest);
	K3_AUTO_FREE char *path = k3_xasprintf("%s/%s", h.root, name);
	K3_AUTO_FREE char *elsewhere = k3_xasprintf("%s/elsewhere", h.root);
	struct k3_err err;
	struct stat st;

	OK(run(&h, f, &err));
	EQ_INT(rename(path, elsewhere), 0);
	EQ_INT(symlink(elsewhere, path), 0);
	EQ_INT(look(h.root, f).damage, 1);
	OK(run(&h, f, &err));
	EQ_INT(look(h.root, f).damage, 0);
	EQ_INT(lstat(path, &st), 0);
	CHECK(S_ISREG(st.st_mode));
	fake_free(f);
}

/* ---- stores that are damaged in more than one place ---------------------------------- */

/* What meta.db says layer k's snapshot is called in metadata.db. */
static void name_of(const char *root, struct fake *f, int k, char *out, size_t size)
{
	struct imp_opts o = { .root = root, .ns = "k8s.io" };
	struct imp_snapshot s;
	struct imp_view *v;
	struct k3_err err;
	struct imp *i;
	bool found;

	OK(imp_open(&o, &i, &err));
	OK(imp_view_open(i, &v, &err));
	OK(imp_view_snapshot(v, &f->img.layers[k].chain_id, &s, &found, &err));
	CHECK(found);
	snprintf(out, size, "%.*s", (int)s.name.n, (const char *)s.name.p);
	imp_view_close(v);
	imp_close(i, true);
}

/* meta.db's record of layer k's snapshot says that it is called `name`. */
static void rename_in_meta(const char *root, struct fake *f, int k, const char *name)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s/" IMP_META_DIR "/meta.db", root);
	char chain[OCI_DIGEST_TEXT_MAX];
	struct bolt_bucket *rec;
	struct bolt_txn *t;
	struct bolt_db *db;
	struct k3_err err;

	oci_digest_format(&f->img.layers[k].chain_id, chain);
	const struct bolt_val names[] = { BOLT_STR("v1"), BOLT_STR("k8s.io"), BOLT_STR("snapshots"),
					  BOLT_STR(IMP_SNAPSHOTTER), BOLT_STR(chain) };

	OK(bolt_open(AT_FDCWD, path, BOLT_WRITE, 0, &db, &err));
	OK(bolt_begin(db, true, &t, &err));
	OK(bolt_bucket_path(t, names, K3_ARRAY_LEN(names), &rec, &err));
	CHECK(rec != NULL);
	OK(bolt_put(rec, BOLT_STR("name"), BOLT_STR(name), &err));
	OK(bolt_commit(t, &err));
	bolt_close(db);
}

/* What was replaced goes, but not when it is somebody else's. */
TEST(a_snapshot_under_the_name_of_another_is_replaced_and_that_one_stays)
{
	struct fake *f = fake_new();
	struct how h = { .root = unit_tmpdir(), .doubted = -1 };
	struct k3_err err;
	char name[256];

	OK(run(&h, f, &err));
	struct found before = look(h.root, f);

	name_of(h.root, f, 0, name, sizeof(name));
	rename_in_meta(h.root, f, 1, name);
	h.doubted = 1;
	OK(run(&h, f, &err));
	struct found now = look(h.root, f);

	EQ_INT(now.ids[0], before.ids[0]);
	CHECK(now.ids[1] != before.ids[0] && now.ids[1] != before.ids[1]);
	EQ_INT(now.ids[2], before.ids[2]);
	fake_free(f);
}

static void copy_file(const char *from, const char *to)
{
	K3_AUTO_BUF struct k3_buf bytes = K3_BUF(1 << 24);
	struct k3_err err;
	int fd;

	OK(k3_read_file(AT_FDCWD, from, &bytes, &err));
	fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	OK(k3_write_all(fd, bytes.p, bytes.len, to, &err));
	close(fd);
}

/* metadata.db comes from a backup that does not know the new snapshot: the old one is needed. */
TEST(what_others_stand_on_stays_when_its_successor_is_lost)
{
	struct fake *f = fake_new();
	struct how h = { .root = unit_tmpdir(), .doubted = -1 };
	K3_AUTO_FREE char *db = k3_xasprintf("%s/" IMP_NATIVE_DIR "/metadata.db", h.root);
	K3_AUTO_FREE char *backup = k3_xasprintf("%s/backup", h.root);
	enum imp_step at = IMP_STEP_META_COMMITTED;
	struct imp_opts o = { .root = h.root, .ns = "k8s.io", .write = true };
	struct k3_err err;
	struct imp *i;
	int status;

	OK(run(&h, f, &err));
	uint64_t old = look(h.root, f).ids[1];
	K3_AUTO_FREE char *dir = k3_xasprintf("%s/" IMP_SNAPSHOTS_DIR "/%d", h.root, (int)old);

	copy_file(db, backup);
	h = (struct how){ h.root, 1, stop_there, &at };
	pid_t pid = fork();
	if (pid == 0) {
		(void)!run(&h, f, &err);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	EQ_INT(WEXITSTATUS(status), 42);
	copy_file(backup, db);
	/* Acts on the journal. */
	OK(imp_open(&o, &i, &err));
	imp_close(i, false);
	EQ_INT(access(dir, F_OK), 0);
	fake_free(f);
}

/*
 * metadata.db's record of a layer's snapshot has the number of another one.  It goes: containerd
 * would remove a record that nobody names, and with it the directory of the other one.
 */
TEST(a_snapshot_with_the_number_of_another_is_replaced_and_that_one_stays)
{
	struct fake *f = fake_new();
	struct how h = { .root = unit_tmpdir(), .doubted = -1 };
	struct bolt_bucket *rec;
	struct bolt_txn *t;
	struct bolt_db *db;
	struct k3_err err;
	char name[256];

	OK(run(&h, f, &err));
	struct found before = look(h.root, f);
	const uint8_t id = (uint8_t)before.ids[2];
	K3_AUTO_FREE char *path = k3_xasprintf("%s/" IMP_NATIVE_DIR "/metadata.db", h.root);

	name_of(h.root, f, 1, name, sizeof(name));
	const struct bolt_val names[] = { BOLT_STR("v1"), BOLT_STR("snapshots"), BOLT_STR(name) };

	OK(bolt_open(AT_FDCWD, path, BOLT_WRITE, 0, &db, &err));
	OK(bolt_begin(db, true, &t, &err));
	OK(bolt_bucket_path(t, names, K3_ARRAY_LEN(names), &rec, &err));
	OK(bolt_put(rec, BOLT_STR("id"), (struct bolt_val){ &id, 1 }, &err));
	OK(bolt_commit(t, &err));
	bolt_close(db);
	h.doubted = 1;
	OK(run(&h, f, &err));
	struct found now = look(h.root, f);

	EQ_INT(now.damage, 0);
	EQ_INT(now.ids[0], before.ids[0]);
	EQ_INT(now.ids[2], before.ids[2]);
	CHECK(now.ids[1] > before.ids[2]);
	/* The directory that no record has any more, and no record. */
	EQ_INT(now.leftovers, 1);
	fake_free(f);
}

UNIT_MAIN
