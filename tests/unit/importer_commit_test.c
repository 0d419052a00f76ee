/* SPDX-License-Identifier: Apache-2.0 */
/* Whole runs of the importer on roots in a temporary directory, also cut off at each step. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "bolt/bolt.h"
#include "importer/imp.h"
#include "importer/root.h"
#include "importer/schema.h"

#define LAYERS 3
#define META IMP_META_DIR "/meta.db"
#define NATIVE IMP_NATIVE_DIR "/metadata.db"

/* An image made of texts; its layers are no archives, since nothing here unpacks them. */
struct fake {
	struct oci_ref ref;
	struct oci_doc docs[2]; /* index, manifest */
	struct k3_buf config;
	char layer[LAYERS][64];
	struct oci_image img;
	struct imp_image im;
};

static void digest_text(const void *p, size_t n, char out[OCI_DIGEST_TEXT_MAX])
{
	struct oci_digest d;

	oci_digest_of(K3_SHA256, p, n, &d);
	oci_digest_format(&d, out);
}

static void fake_config(struct fake *f, const char *seed)
{
	struct k3_err err = { 0 };
	char text[64], diff[OCI_DIGEST_TEXT_MAX];

	OK(k3_buf_addf(&f->config, &err,
		       "{\"architecture\":\"amd64\",\"os\":\"linux\","
		       "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":["));
	for (int k = 0; k < LAYERS; k++) {
		/* The lowest layer is the same in all images. */
		snprintf(text, sizeof(text), "diff %s %d", k ? seed : "base", k);
		digest_text(text, strlen(text), diff);
		OK(k3_buf_addf(&f->config, &err, "%s\"%s\"", k ? "," : "", diff));
	}
	OK(k3_buf_addf(&f->config, &err, "]}}"));
}

static void fake_manifest(struct fake *f, const char *seed)
{
	struct k3_err err = { 0 };
	char text[OCI_DIGEST_TEXT_MAX];

	digest_text(f->config.p, f->config.len, text);
	OK(k3_buf_addf(
		&f->docs[1].body, &err,
		"{\"schemaVersion\":2,\"mediaType\":"
		"\"application/vnd.oci.image.manifest.v1+json\",\"config\":{\"mediaType\":"
		"\"application/vnd.oci.image.config.v1+json\",\"digest\":\"%s\",\"size\":%zu},"
		"\"layers\":[",
		text, f->config.len));
	for (int k = 0; k < LAYERS; k++) {
		snprintf(f->layer[k], sizeof(f->layer[k]), "layer %s %d", k ? seed : "base", k);
		digest_text(f->layer[k], strlen(f->layer[k]), text);
		OK(k3_buf_addf(&f->docs[1].body, &err,
			       "%s{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\","
			       "\"digest\":\"%s\",\"size\":%zu}",
			       k ? "," : "", text, strlen(f->layer[k])));
	}
	OK(k3_buf_addf(&f->docs[1].body, &err, "]}"));
}

static void fake_index(struct fake *f)
{
	struct k3_err err = { 0 };
	char text[OCI_DIGEST_TEXT_MAX];

	digest_text(f->docs[1].body.p, f->docs[1].body.len, text);
	OK(k3_buf_addf(&f->docs[0].body, &err,
		       "{\"schemaVersion\":2,\"mediaType\":"
		       "\"application/vnd.oci.image.index.v1+json\",\"manifests\":[{\"mediaType\":"
		       "\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"%s\","
		       "\"size\":%zu,\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}}]}",
		       text, f->docs[1].body.len));
}

static void fake_desc(struct oci_doc *doc, const char *media)
{
	doc->desc.media = oci_media_parse(media);
	snprintf(doc->desc.media_text, sizeof(doc->desc.media_text), "%s", media);
	doc->desc.size = doc->body.len;
	oci_digest_of(K3_SHA256, doc->body.p, doc->body.len, &doc->desc.digest);
}

static struct fake *fake_new(const char *ref, const char *seed)
{
	struct fake *f = k3_xcalloc(1, sizeof(*f));
	struct k3_err err = { 0 };

	f->config = f->docs[1].body = f->docs[0].body = K3_BUF(1 << 16);
	OK(oci_ref_parse(ref, &f->ref, &err));
	fake_config(f, seed);
	fake_manifest(f, seed);
	fake_index(f);
	fake_desc(&f->docs[0], "application/vnd.oci.image.index.v1+json");
	fake_desc(&f->docs[1], "application/vnd.oci.image.manifest.v1+json");
	OK(oci_image_parse(f->docs[1].body.p, f->docs[1].body.len, f->config.p, f->config.len,
			   &f->img, &err));
	f->im = (struct imp_image){ .ref = &f->ref, .docs = f->docs, .ndocs = 2, .img = &f->img };
	return f;
}

static void fake_free(struct fake *f)
{
	oci_image_release(&f->img);
	oci_ref_release(&f->ref);
	k3_buf_release(&f->docs[0].body);
	k3_buf_release(&f->docs[1].body);
	k3_buf_release(&f->config);
	free(f);
}

/* ---- a run, as the pipeline makes it ----------------------------------------------------------
 */

struct options {
	const char *root, *ns;
	bool no_pin, flat;
	imp_step_fn *step;
	void *arg;
};

static int stage_layer(struct imp *i, const struct oci_desc *d, const char *bytes, struct k3_err *e)
{
	struct imp_blob *b;

	if (imp_blob_begin(i, d, &b, e))
		return -1;
	if (imp_blob_have(b) < d->size &&
	    imp_blob_write(b, bytes + imp_blob_have(b), d->size - imp_blob_have(b), e)) {
		imp_blob_abandon(b);
		return -1;
	}
	return imp_blob_done(b, e);
}

static int stage_blobs(struct imp *i, struct imp_view *v, struct fake *f, struct k3_err *e)
{
	bool have;

	for (size_t k = 0; k < 2; k++)
		if (imp_blob_put(i, &f->docs[k].desc, f->docs[k].body.p, f->docs[k].body.len, e))
			return -1;
	if (imp_blob_put(i, &f->img.config, f->config.p, f->config.len, e))
		return -1;
	for (size_t k = 0; k < f->img.nlayers; k++) {
		const struct oci_desc *d = &f->img.layers[k].blob;

		if (imp_view_blob(v, d, &have, e) || (!have && stage_layer(i, d, f->layer[k], e)))
			return -1;
	}
	return 0;
}

static int fill(struct imp_tree *t, const char *name, struct k3_err *e)
{
	K3_AUTO_FD int fd = openat(imp_tree_rootfd(t), name, O_WRONLY | O_CREAT, 0644);

	return k3_write_all(fd, name, strlen(name), name, e) || imp_tree_seal(t, e) ? -1 : 0;
}

/* The tree of this run for a chain, or NULL. */
static struct imp_tree *tree_of(struct imp *i, const struct oci_digest *chain)
{
	for (size_t k = 0; k < i->ntrees; k++)
		if (oci_digest_eq(&i->trees[k]->chain, chain))
			return i->trees[k];
	return NULL;
}

/* A tree for each chain ID (flat: for the top one) that is in neither the store nor this run. */
static int stage_trees(struct imp *i, struct imp_view *v, struct fake *f, bool flat,
		       struct k3_err *e)
{
	struct imp_tree_from from = { 0 };

	for (size_t k = flat ? f->img.nlayers - 1 : 0; k < f->img.nlayers; k++) {
		const struct oci_digest *chain = &f->img.layers[k].chain_id;
		struct imp_tree *t = tree_of(i, chain);
		char name[32];
		uint64_t id;
		bool have;

		if (imp_view_chain(v, chain, &id, &have, e))
			return -1;
		if (have) {
			from = (struct imp_tree_from){ .parent_id = id, .parent_chain = *chain };
			continue;
		}
		snprintf(name, sizeof(name), "file%zu", k);
		if (!t && (imp_tree_begin(i, chain, &from, NULL, &t, e) || fill(t, name, e)))
			return -1;
		from = (struct imp_tree_from){ .parent = t };
	}
	return 0;
}

static int stage_all(struct imp *i, const struct options *o, struct fake **f, size_t n,
		     struct k3_err *e)
{
	struct imp_view *v;
	int rc = 0;

	if (imp_view_open(i, &v, e))
		return -1;
	for (size_t k = 0; !rc && k < n; k++) {
		rc = stage_blobs(i, v, f[k], e) || stage_trees(i, v, f[k], o->flat, e);
		imp_add_image(i, &f[k]->im);
	}
	imp_view_close(v);
	return rc ? -1 : 0;
}

static int preload(const struct options *o, struct fake **f, size_t n, struct k3_err *e)
{
	struct imp_opts opts = {
		.root = o->root, .ns = o->ns ? o->ns : "k8s.io", .write = true, .pin = !o->no_pin
	};
	struct imp *i;
	int rc;

	if (imp_open(&opts, &i, e))
		return -1;
	imp_set_step(i, o->step, o->arg);
	rc = stage_all(i, o, f, n, e) || imp_commit(i, e) ? -1 : 0;
	imp_close(i, false);
	return rc;
}

/* ---- looking at the result ----------------------------------------------------------------------
 */

static void path_of(const char *root, const char *name, char out[512])
{
	snprintf(out, 512, "%s/%s", root, name);
}

static bool present(const char *root, const char *name)
{
	char path[512];

	path_of(root, name, path);
	return access(path, F_OK) == 0;
}

static void report(void *arg, const char *problem)
{
	unit_fail(arg, 0, "%s", problem);
}

static struct bolt_db *db_open(const char *root, const char *dir, const char *name)
{
	K3_AUTO_FD int fd = -1;
	struct bolt_db *db = NULL;
	struct k3_err err = { 0 };
	char path[512];

	path_of(root, dir, path);
	if (k3_open_dir(AT_FDCWD, path, &fd, &err) || bolt_open(fd, name, BOLT_READ, 0, &db, &err))
		return NULL;
	return db;
}

static void check_file(const char *root, const char *dir, const char *name)
{
	struct bolt_db *db = db_open(root, dir, name);
	struct bolt_txn *t;
	struct k3_err err;
	size_t problems;
	char where[64];

	if (!db)
		return;
	snprintf(where, sizeof(where), "%s", name);
	OK(bolt_begin(db, false, &t, &err));
	OK(bolt_check(t, report, where, &problems, &err));
	EQ_INT(problems, 0);
	bolt_abort(t);
	bolt_close(db);
}

/* Every record of metadata.db has its directory.  Returns how many there are. */
static size_t check_native(const char *root)
{
	const struct bolt_val path[] = { BOLT_STR("v1"), BOLT_STR("snapshots") };
	struct bolt_db *db = db_open(root, IMP_NATIVE_DIR, "metadata.db");
	struct bolt_bucket *b, *rec;
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	struct bolt_txn *t;
	struct k3_err err;
	bool more = true;
	size_t n = 0;

	if (!db)
		return 0;
	OK(bolt_begin(db, false, &t, &err));
	OK(bolt_bucket_path(t, path, 2, &b, &err));
	while (b && more) {
		struct bolt_val val;
		uint64_t id = 0;
		char dir[128];

		OK(bolt_next(b, &it, &item, &more, &err));
		if (!more)
			break;
		n++;
		OK(bolt_bucket_get(b, item.key, &rec, &err));
		OK(bolt_get(rec, BOLT_STR("id"), &val, &err));
		CHECK(imp_get_uvarint(val, &id));
		CHECK(id && id <= bolt_sequence(b));
		snprintf(dir, sizeof(dir), IMP_SNAPSHOTS_DIR "/%llu", (unsigned long long)id);
		if (!present(root, dir))
			unit_fail(__FILE__, __LINE__, "no directory %s", dir);
	}
	bolt_abort(t);
	bolt_close(db);
	return n;
}

/* Whether an image is there under its tag; if so all of it has to be. */
static bool check_image(const char *root, struct fake *f)
{
	struct imp_opts opts = { .root = root, .ns = "k8s.io" };
	K3_AUTO_FREE char *name = oci_ref_name(&f->ref);
	struct oci_desc target;
	struct imp_view *v;
	struct k3_err err;
	struct imp *i;
	bool found = false, have;
	uint64_t id;

	OK(imp_open(&opts, &i, &err));
	OK(imp_view_open(i, &v, &err));
	OK(imp_view_image(v, name, &target, &found, &err));
	if (found) {
		CHECK(oci_digest_eq(&target.digest, &f->docs[0].desc.digest));
		EQ_INT(target.size, f->docs[0].desc.size);
		OK(imp_view_blob(v, &f->docs[0].desc, &have, &err));
		CHECK(have);
		OK(imp_view_blob(v, &f->docs[1].desc, &have, &err));
		CHECK(have);
		OK(imp_view_blob(v, &f->img.config, &have, &err));
		CHECK(have);
		for (size_t k = 0; k < LAYERS; k++) {
			OK(imp_view_blob(v, &f->img.layers[k].blob, &have, &err));
			CHECK(have);
		}
		OK(imp_view_chain(v, &f->img.layers[LAYERS - 1].chain_id, &id, &have, &err));
		CHECK(have);
	}
	imp_view_close(v);
	imp_close(i, false);
	return found;
}

static size_t count_entries(const char *root, const char *dir)
{
	char path[512];
	size_t n = 0;
	DIR *d;

	path_of(root, dir, path);
	d = opendir(path);
	for (struct dirent *ent; d && (ent = readdir(d));)
		n += ent->d_name[0] != '.' || !strcmp(ent->d_name, IMP_STAGE_DIR);
	if (d)
		closedir(d);
	return n;
}

static void check_store(const char *root)
{
	check_file(root, IMP_META_DIR, "meta.db");
	check_file(root, IMP_NATIVE_DIR, "metadata.db");
	check_native(root);
}

/* Size, mtime and content of a file as a text to compare. */
static char *fingerprint(const char *root, const char *name)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(1 << 26);
	char path[512], digest[OCI_DIGEST_TEXT_MAX];
	struct k3_err err;
	struct stat st;

	path_of(root, name, path);
	OK(k3_read_file(AT_FDCWD, path, &text, &err));
	digest_text(text.p, text.len, digest);
	CHECK(!stat(path, &st));
	return k3_xasprintf("%zu %lld.%09ld %s", text.len, (long long)st.st_mtim.tv_sec,
			    st.st_mtim.tv_nsec, digest);
}

/* Edits a database of the test's own. */
struct edit {
	struct bolt_db *db;
	struct bolt_txn *t;
	struct bolt_bucket *b;
};

static struct edit edit_begin(const char *root, const char *dir, const char *name,
			      const char *const *path, size_t n)
{
	K3_AUTO_FD int fd = -1;
	struct edit x = { 0 };
	struct k3_err err;
	char full[512];

	path_of(root, dir, full);
	OK(k3_make_dirs(full, 0711, &err));
	OK(k3_open_dir(AT_FDCWD, full, &fd, &err));
	OK(bolt_open(fd, name, BOLT_WRITE | BOLT_CREATE, 0644, &x.db, &err));
	OK(bolt_begin(x.db, true, &x.t, &err));
	x.b = bolt_root(x.t);
	for (size_t k = 0; k < n; k++)
		OK(bolt_bucket_make(x.b, BOLT_STR(path[k]), &x.b, &err));
	return x;
}

static void edit_put(struct edit *x, const char *key, const char *value)
{
	struct k3_err err;

	OK(bolt_put(x->b, BOLT_STR(key), BOLT_STR(value), &err));
}

static void edit_end(struct edit *x)
{
	struct k3_err err;

	OK(bolt_commit(x->t, &err));
	bolt_close(x->db);
}

/* The value at the end of a path in a database, as text; "" when it is not there. */
static char *value_at(const char *root, const char *dir, const char *name, const char *const *path,
		      size_t n)
{
	struct bolt_db *db = db_open(root, dir, name);
	struct bolt_val names[8], val = { 0 };
	struct bolt_bucket *b;
	struct bolt_txn *t;
	struct k3_err err;
	char *out;

	if (!db)
		return k3_xstrdup("");
	for (size_t k = 0; k + 1 < n; k++)
		names[k] = BOLT_STR(path[k]);
	OK(bolt_begin(db, false, &t, &err));
	OK(bolt_bucket_path(t, names, n - 1, &b, &err));
	if (b)
		OK(bolt_get(b, BOLT_STR(path[n - 1]), &val, &err));
	out = k3_xstrndup(val.p ? val.p : "", val.n);
	bolt_abort(t);
	bolt_close(db);
	return out;
}

#define META_VALUE(root, ...)                                                                      \
	value_at(root, IMP_META_DIR, "meta.db", (const char *const[]){ "v1", __VA_ARGS__ },        \
		 sizeof((const char *const[]){ "v1", __VA_ARGS__ }) / sizeof(char *))

#define IS_META(root, want, ...)                                                                   \
	do {                                                                                       \
		K3_AUTO_FREE char *got_ = META_VALUE(root, __VA_ARGS__);                           \
		EQ_STR(got_, want);                                                                \
	} while (0)

/* ---- tests
 * ---------------------------------------------------------------------------------------- */

TEST(new_root_has_whole_images)
{
	struct fake *f[] = { fake_new("nginx:alpine", "a"), fake_new("localhost:5000/b/c:1", "b") };
	struct options o = { .root = unit_tmpdir() };
	char digest[OCI_DIGEST_TEXT_MAX], chain[OCI_DIGEST_TEXT_MAX], path[IMP_PATH_MAX];
	struct k3_err err;
	struct stat st;
	char full[512];

	OK(preload(&o, f, 2, &err));
	CHECK(check_image(o.root, f[0]));
	CHECK(check_image(o.root, f[1]));
	CHECK(f[0]->im.changed && f[1]->im.changed);
	check_store(o.root);
	EQ_INT(check_native(o.root), 2 * LAYERS - 1);
	EQ_INT(count_entries(o.root, IMP_SNAPSHOTS_DIR), 2 * LAYERS - 1);
	CHECK(!present(o.root, IMP_STAGE_DIR));
	/* Version 3 as a signed varint. */
	IS_META(o.root, "\x06", "version");
	IS_META(o.root, "managed", "k8s.io", "images", "docker.io/library/nginx:alpine", "labels",
		"io.cri-containerd.image");
	IS_META(o.root, "pinned", "k8s.io", "images", "localhost:5000/b/c:1", "labels",
		"io.cri-containerd.pinned");
	oci_digest_format(&f[0]->img.config.digest, digest);
	oci_digest_format(&f[0]->img.layers[LAYERS - 1].chain_id, chain);
	IS_META(o.root, chain, "k8s.io", "content", "blob", digest, "labels",
		"containerd.io/gc.ref.snapshot.native");
	IS_META(o.root, "application/vnd.oci.image.index.v1+json", "k8s.io", "images", digest,
		"target", "mediatype");
	oci_digest_format(&f[0]->img.layers[0].blob.digest, digest);
	IS_META(o.root, "b/c", "k8s.io", "content", "blob", digest, "labels",
		"containerd.io/distribution.source.localhost");
	IS_META(o.root, "library/nginx", "k8s.io", "content", "blob", digest, "labels",
		"containerd.io/distribution.source.docker.io");
	imp_blob_path(&f[0]->docs[0].desc.digest, path);
	path_of(o.root, path, full);
	CHECK(!stat(full, &st));
	EQ_INT(st.st_mode & 07777, 0444);
	path_of(o.root, META, full);
	CHECK(!stat(full, &st));
	EQ_INT(st.st_mode & 07777, 0644);
	path_of(o.root, IMP_SNAPSHOTS_DIR, full);
	CHECK(!stat(full, &st));
	EQ_INT(st.st_mode & 07777, 0700);
	fake_free(f[0]);
	fake_free(f[1]);
}

TEST(second_run_writes_nothing)
{
	struct fake *f[] = { fake_new("a:1", "a"), fake_new("b:1", "b"), fake_new("c/a:2", "a") };
	struct options o = { .root = unit_tmpdir() };
	char *meta, *native;
	struct k3_err err;

	OK(preload(&o, f, 3, &err));
	meta = fingerprint(o.root, META);
	native = fingerprint(o.root, NATIVE);
	OK(preload(&o, f, 3, &err));
	for (int k = 0; k < 3; k++) {
		CHECK(!f[k]->im.changed);
		fake_free(f[k]);
	}
	K3_AUTO_FREE char *meta2 = fingerprint(o.root, META);
	K3_AUTO_FREE char *native2 = fingerprint(o.root, NATIVE);
	EQ_STR(meta2, meta);
	EQ_STR(native2, native);
	free(meta);
	free(native);
}

TEST(second_image_builds_on_stored_snapshot)
{
	struct fake *a = fake_new("a:1", "a"), *b = fake_new("b:1", "b");
	struct options o = { .root = unit_tmpdir() };
	char base[OCI_DIGEST_TEXT_MAX], second[OCI_DIGEST_TEXT_MAX];
	struct k3_err err;

	OK(preload(&o, &a, 1, &err));
	OK(preload(&o, &b, 1, &err));
	CHECK(check_image(o.root, a));
	CHECK(check_image(o.root, b));
	check_store(o.root);
	EQ_INT(check_native(o.root), 2 * LAYERS - 1);
	oci_digest_format(&b->img.layers[0].chain_id, base);
	oci_digest_format(&b->img.layers[1].chain_id, second);
	IS_META(o.root, base, "k8s.io", "snapshots", "native", second, "parent");
	CHECK(present(o.root, IMP_SNAPSHOTS_DIR "/5/file0"));
	fake_free(a);
	fake_free(b);
}

TEST(other_target_replaces_and_keeps_foreign_labels)
{
	static const char *const labels[] = { "v1", "k8s.io", "images", "docker.io/library/a:1",
					      "labels" };
	static const char *const notes[] = { "v1", "k8s.io", "images", "docker.io/library/a:1",
					     "annotations" };
	struct fake *a = fake_new("a:1", "a"), *b = fake_new("a:1", "b");
	struct options o = { .root = unit_tmpdir(), .no_pin = true };
	struct k3_err err;
	struct edit x;

	OK(preload(&o, &a, 1, &err));
	IS_META(o.root, "", "k8s.io", "images", "docker.io/library/a:1", "labels",
		"io.cri-containerd.pinned");
	x = edit_begin(o.root, IMP_META_DIR, "meta.db", labels, 5);
	edit_put(&x, "mine", "yes");
	edit_put(&x, "io.cri-containerd.pinned", "pinned");
	edit_end(&x);
	x = edit_begin(o.root, IMP_META_DIR, "meta.db", notes, 5);
	edit_put(&x, "old", "target");
	edit_end(&x);
	OK(preload(&o, &b, 1, &err));
	CHECK(check_image(o.root, b));
	IS_META(o.root, "yes", "k8s.io", "images", "docker.io/library/a:1", "labels", "mine");
	IS_META(o.root, "pinned", "k8s.io", "images", "docker.io/library/a:1", "labels",
		"io.cri-containerd.pinned");
	IS_META(o.root, "", "k8s.io", "images", "docker.io/library/a:1", "annotations", "old");
	fake_free(a);
	fake_free(b);
}

TEST(other_namespaces_and_orphan_directories_stay)
{
	static const char *const other[] = { "v1", "moby", "images", "x", "target" };
	struct fake *a = fake_new("a:1", "a");
	struct options o = { .root = unit_tmpdir() };
	struct k3_err err;
	char full[512];
	struct edit x;

	x = edit_begin(o.root, IMP_META_DIR, "meta.db", other, 5);
	edit_put(&x, "digest", "sha256:1234");
	edit_end(&x);
	x = edit_begin(o.root, IMP_META_DIR, "meta.db", other, 1);
	edit_put(&x, "version", "\x08");
	edit_end(&x);
	path_of(o.root, IMP_SNAPSHOTS_DIR "/2/keep", full);
	OK(k3_make_dirs(full, 0700, &err));
	OK(preload(&o, &a, 1, &err));
	CHECK(check_image(o.root, a));
	check_store(o.root);
	IS_META(o.root, "sha256:1234", "moby", "images", "x", "target", "digest");
	IS_META(o.root, "\x08", "version");
	CHECK(present(o.root, IMP_SNAPSHOTS_DIR "/2/keep"));
	CHECK(present(o.root, IMP_SNAPSHOTS_DIR "/4/file2"));
	fake_free(a);
}

TEST(broken_blob_file_is_replaced)
{
	struct fake *a = fake_new("a:1", "a");
	struct options o = { .root = unit_tmpdir() };
	char path[IMP_PATH_MAX], full[512];
	struct k3_err err;

	OK(preload(&o, &a, 1, &err));
	imp_blob_path(&a->img.layers[1].blob.digest, path);
	path_of(o.root, path, full);
	CHECK(!truncate(full, 3));
	imp_blob_path(&a->img.config.digest, path);
	path_of(o.root, path, full);
	CHECK(!chmod(full, 0644));
	K3_AUTO_FD int fd = open(full, O_WRONLY);
	EQ_INT(pwrite(fd, "#", 1, 5), 1);
	OK(preload(&o, &a, 1, &err));
	CHECK(a->im.changed);
	CHECK(check_image(o.root, a));
	OK(preload(&o, &a, 1, &err));
	CHECK(!a->im.changed);
	fake_free(a);
}

TEST(lost_snapshot_directory_is_made_again)
{
	struct fake *a = fake_new("a:1", "a");
	struct options o = { .root = unit_tmpdir(), .flat = true };
	struct k3_err err;
	char full[512];

	OK(preload(&o, &a, 1, &err));
	path_of(o.root, IMP_SNAPSHOTS_DIR, full);
	K3_AUTO_FD int dir = open(full, O_RDONLY | O_DIRECTORY);
	OK(k3_remove_tree(dir, "1", &err));
	OK(preload(&o, &a, 1, &err));
	CHECK(check_image(o.root, a));
	CHECK(present(o.root, IMP_SNAPSHOTS_DIR "/2/file2"));
	fake_free(a);
}

/* ---- stopped at each step
 * ------------------------------------------------------------------------- */

struct stop {
	enum imp_step at;
	int after; /* occurrences to let pass */
	bool dies, hit;
};

static int stop_there(void *arg, enum imp_step s, struct k3_err *e)
{
	struct stop *stop = arg;

	if (s != stop->at || stop->after-- > 0)
		return 0;
	if (stop->dies)
		_exit(42);
	stop->hit = true;
	return k3_fail(e, K3_IO, "made up");
}

/* Every step, the repeated ones twice. */
static void each_stop(bool dies, void (*fn)(struct stop *stop))
{
	for (int s = 0; s < (dies ? IMP_STEPS : IMP_STEP_META_COMMITTED); s++)
		for (int after = 0; after < 2; after++) {
			struct stop stop = { (enum imp_step)s, after, dies, false };

			if (!after || s == IMP_STEP_BLOB_PLACED || s == IMP_STEP_TREE_PLACED)
				fn(&stop);
		}
}

static void killed_at(struct stop *stop)
{
	struct fake *a = fake_new("a:1", "a"), *b = fake_new("b:1", "b");
	struct options o = { .root = unit_tmpdir(), .step = stop_there, .arg = stop };
	struct fake *both[] = { a, b };
	struct k3_err err;
	int status;
	bool done;

	o.step = NULL;
	OK(preload(&o, &a, 1, &err));
	o.step = stop_there;
	pid_t pid = fork();
	if (pid == 0) {
		(void)!preload(&o, both, 2, &err);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	EQ_INT(WEXITSTATUS(status), 42);
	check_store(o.root);
	CHECK(check_image(o.root, a));
	done = check_image(o.root, b);
	EQ_INT(done, stop->at == IMP_STEP_META_COMMITTED);
	o.step = NULL;
	OK(preload(&o, both, 2, &err));
	EQ_INT(b->im.changed, !done);
	CHECK(check_image(o.root, a));
	CHECK(check_image(o.root, b));
	check_store(o.root);
	/* Nothing of the dead run is left over. */
	EQ_INT(check_native(o.root), 2 * LAYERS - 1);
	EQ_INT(count_entries(o.root, IMP_SNAPSHOTS_DIR), 2 * LAYERS - 1);
	CHECK(!present(o.root, IMP_STAGE_DIR));
	fake_free(a);
	fake_free(b);
}

TEST(killed_at_each_step)
{
	each_stop(true, killed_at);
}

static void failed_at(struct stop *stop)
{
	struct fake *a = fake_new("a:1", "a"), *b = fake_new("b:1", "b");
	struct options o = { .root = unit_tmpdir() };
	struct fake *both[] = { a, b };
	struct k3_err err;
	char *meta;

	OK(preload(&o, &a, 1, &err));
	meta = fingerprint(o.root, META);
	o.step = stop_there;
	o.arg = stop;
	FAILS(preload(&o, both, 2, &err), K3_IO);
	CHECK(stop->hit);
	K3_AUTO_FREE char *meta2 = fingerprint(o.root, META);
	EQ_STR(meta2, meta);
	check_store(o.root);
	CHECK(!check_image(o.root, b));
	EQ_INT(check_native(o.root), LAYERS);
	EQ_INT(count_entries(o.root, IMP_SNAPSHOTS_DIR), LAYERS);
	EQ_INT(count_entries(o.root, IMP_CONTENT_DIR "/blobs/sha256"), LAYERS + 3);
	CHECK(!present(o.root, IMP_STAGE_DIR));
	o.step = NULL;
	OK(preload(&o, both, 2, &err));
	CHECK(check_image(o.root, b));
	check_store(o.root);
	free(meta);
	fake_free(a);
	fake_free(b);
}

TEST(failed_at_each_step)
{
	each_stop(false, failed_at);
}

/* ---- changes behind our back
 * ------------------------------------------------------------------------ */

static int drop_blob(void *arg, enum imp_step s, struct k3_err *e)
{
	(void)e;
	if (s == IMP_STEP_FLUSHED)
		CHECK(!unlink(arg));
	return 0;
}

TEST(blob_that_vanished_is_busy)
{
	struct fake *a = fake_new("a:1", "a"), *b = fake_new("b:1", "b");
	struct options o = { .root = unit_tmpdir() };
	char path[IMP_PATH_MAX], full[512];
	struct k3_err err;

	OK(preload(&o, &a, 1, &err));
	imp_blob_path(&a->img.layers[0].blob.digest, path);
	path_of(o.root, path, full);
	o.step = drop_blob;
	o.arg = full;
	FAILS(preload(&o, &b, 1, &err), K3_BUSY);
	HAS_STR(err.msg, "not there any more");
	EQ_STR(err.hint, "run again");
	o.step = NULL;
	OK(preload(&o, &b, 1, &err));
	CHECK(check_image(o.root, b));
	fake_free(a);
	fake_free(b);
}

struct locker {
	char path[512];
	int fd;
};

static int start_containerd(void *arg, enum imp_step s, struct k3_err *e)
{
	struct locker *l = arg;

	(void)e;
	if (s == IMP_STEP_FLUSHED) {
		l->fd = open(l->path, O_RDWR);
		CHECK(!flock(l->fd, LOCK_EX));
	}
	return 0;
}

TEST(containerd_started_meanwhile_is_busy)
{
	struct fake *a = fake_new("a:1", "a"), *b = fake_new("b:1", "b");
	struct options o = { .root = unit_tmpdir() };
	struct locker l = { .fd = -1 };
	struct k3_err err;

	OK(preload(&o, &a, 1, &err));
	path_of(o.root, META, l.path);
	o.step = start_containerd;
	o.arg = &l;
	FAILS(preload(&o, &b, 1, &err), K3_BUSY);
	HAS_STR(err.msg, "containerd is running on this root");
	close(l.fd);
	CHECK(!check_image(o.root, b));
	fake_free(a);
	fake_free(b);
}

TEST(literal_name_and_digest_reference)
{
	struct fake *a = fake_new("a:1", "a"), *b;
	struct options o = { .root = unit_tmpdir() };
	struct oci_desc target;
	char text[512], digest[OCI_DIGEST_TEXT_MAX];
	struct imp_opts opts = { .root = o.root, .ns = "k8s.io" };
	struct imp_view *v;
	struct k3_err err;
	struct imp *i;
	bool found;

	oci_digest_format(&a->docs[0].desc.digest, digest);
	snprintf(text, sizeof(text), "a@%s", digest);
	b = fake_new(text, "a");
	b->im.literal_name = "a:short";
	OK(preload(&o, &b, 1, &err));
	OK(imp_open(&opts, &i, &err));
	OK(imp_view_open(i, &v, &err));
	OK(imp_view_image(v, "a:short", &target, &found, &err));
	CHECK(found);
	snprintf(text, sizeof(text), "docker.io/library/a@%s", digest);
	OK(imp_view_image(v, text, &target, &found, &err));
	CHECK(found);
	OK(imp_view_image(v, "docker.io/library/a:latest", &target, &found, &err));
	CHECK(!found);
	imp_view_close(v);
	imp_close(i, false);
	fake_free(a);
	fake_free(b);
}

static int count_record(void *arg, const struct imp_record *r, struct k3_err *e)
{
	(void)e;
	CHECK(r->managed && r->pinned && r->created > 1600000000);
	CHECK(r->target.media == OCI_MEDIA_INDEX);
	++*(int *)arg;
	return 0;
}

TEST(images_are_listed)
{
	struct fake *f[] = { fake_new("a:1", "a"), fake_new("b:1", "b") };
	struct options o = { .root = unit_tmpdir() };
	struct imp_opts opts = { .root = o.root, .ns = "k8s.io" };
	struct imp_view *v;
	struct k3_err err;
	struct imp *i;
	int n = 0;

	OK(preload(&o, f, 2, &err));
	OK(imp_open(&opts, &i, &err));
	OK(imp_view_open(i, &v, &err));
	OK(imp_view_images(v, count_record, &n, &err));
	EQ_INT(n, 6);
	imp_view_close(v);
	imp_close(i, false);
	fake_free(f[0]);
	fake_free(f[1]);
}

TEST(dropped_trees_are_skipped_as_parents)
{
	struct fake *a = fake_new("a:1", "a");
	struct options o = { .root = unit_tmpdir() };
	struct imp_opts opts = { .root = o.root, .ns = "k8s.io", .write = true };
	char chain[2][OCI_DIGEST_TEXT_MAX];
	struct imp_view *v;
	struct k3_err err;
	struct imp *i;

	OK(imp_open(&opts, &i, &err));
	OK(imp_view_open(i, &v, &err));
	OK(stage_blobs(i, v, a, &err));
	imp_view_close(v);
	struct imp_tree_from from = { 0 };
	struct imp_tree *t[LAYERS];
	for (int k = 0; k < LAYERS; k++) {
		OK(imp_tree_begin(i, &a->img.layers[k].chain_id, &from, NULL, &t[k], &err));
		OK(fill(t[k], "x", &err));
		from.parent = t[k];
	}
	FAILS(imp_tree_begin(i, &a->img.layers[0].chain_id, NULL, NULL, &t[0], &err), K3_BUG);
	imp_tree_drop(t[1]);
	imp_add_image(i, &a->im);
	OK(imp_commit(i, &err));
	imp_close(i, false);
	CHECK(check_image(o.root, a));
	check_store(o.root);
	EQ_INT(check_native(o.root), 2);
	oci_digest_format(&a->img.layers[0].chain_id, chain[0]);
	oci_digest_format(&a->img.layers[2].chain_id, chain[1]);
	IS_META(o.root, chain[0], "k8s.io", "snapshots", "native", chain[1], "parent");
	fake_free(a);
}

TEST(documents_of_a_dead_run_are_used)
{
	struct fake *a = fake_new("a:1", "a");
	struct options o = { .root = unit_tmpdir(), .flat = true };
	struct imp_opts opts = { .root = o.root, .ns = "k8s.io", .write = true };
	K3_AUTO_BUF struct k3_buf text = K3_BUF(1 << 16);
	struct imp_view *v;
	struct k3_err err;
	struct imp *i;

	OK(imp_open(&opts, &i, &err));
	OK(imp_view_open(i, &v, &err));
	OK(stage_blobs(i, v, a, &err));
	imp_view_close(v);
	imp_close(i, true);
	/* The next run reads what is there instead of fetching it. */
	OK(imp_open(&opts, &i, &err));
	OK(imp_read_document(i, &a->docs[0].desc, &text, &err));
	OK(imp_read_document(i, &a->docs[1].desc, &text, &err));
	OK(imp_read_document(i, &a->img.config, &text, &err));
	for (size_t k = 0; k < LAYERS; k++)
		OK(stage_layer(i, &a->img.layers[k].blob, a->layer[k], &err));
	OK(imp_view_open(i, &v, &err));
	OK(stage_trees(i, v, a, true, &err));
	imp_view_close(v);
	imp_add_image(i, &a->im);
	OK(imp_commit(i, &err));
	imp_close(i, false);
	CHECK(check_image(o.root, a));
	fake_free(a);
}

TEST(sealed_trees_hold_no_descriptors)
{
	struct imp_opts opts = { .root = unit_tmpdir(), .ns = "k8s.io", .write = true };
	struct imp_tree_from from = { 0 };
	struct rlimit old, few;
	struct k3_err err;
	struct imp *i;

	CHECK(!getrlimit(RLIMIT_NOFILE, &old));
	few = old;
	few.rlim_cur = 64;
	CHECK(!setrlimit(RLIMIT_NOFILE, &few));
	OK(imp_open(&opts, &i, &err));
	for (int k = 0; k < 100; k++) {
		struct oci_digest chain;
		struct imp_tree *t = NULL;

		oci_digest_of(K3_SHA256, &k, sizeof(k), &chain);
		OK(imp_tree_begin(i, &chain, &from, NULL, &t, &err));
		if (t)
			OK(imp_tree_seal(t, &err));
		if (k % 10 == 0)
			from.parent = t;
	}
	imp_close(i, false);
	CHECK(!setrlimit(RLIMIT_NOFILE, &old));
}

/* ---- taking away ------------------------------------------------------------------------------
 */

static struct imp *open_to_write(const char *root, const char *ns)
{
	struct imp_opts o = { .root = root, .ns = ns, .write = true };
	struct imp *i = NULL;
	struct k3_err err;

	OK(imp_open(&o, &i, &err));
	return i;
}

/* The three names that a run gives an image go.  Returns how many things went, in *bytes how much.
 */
static size_t remove_image(const char *root, const char *ns, struct fake *f, bool keep)
{
	K3_AUTO_FREE char *tag = oci_ref_name(&f->ref);
	K3_AUTO_FREE char *by_digest = oci_ref_with_digest(&f->ref, &f->docs[0].desc.digest);
	char id[OCI_DIGEST_TEXT_MAX];
	const char *names[] = { tag, by_digest, id };
	struct imp *i = open_to_write(root, ns);
	struct imp_removal r = { 0 };
	struct imp_edit edits[3];
	struct k3_err err;
	size_t gone = 0;

	oci_digest_format(&f->img.config.digest, id);
	for (size_t k = 0; k < 3; k++)
		edits[k] = (struct imp_edit){ .kind = IMP_EDIT_DROP,
					      .name = names[k],
					      .had = true,
					      .had_target = f->docs[0].desc.digest };
	OK(imp_remove(i, edits, 3, keep, &r, &err));
	OK(imp_confirm(i, &r, &err));
	for (size_t k = 0; k < r.n; k++)
		gone += r.v[k].gone;
	imp_removal_release(&r);
	imp_close(i, true);
	check_store(root);
	return gone;
}

static size_t prune(const char *root)
{
	struct imp *i = open_to_write(root, "k8s.io");
	struct imp_removal r = { 0 };
	struct k3_err err;
	size_t gone = 0;

	OK(imp_remove(i, NULL, 0, false, &r, &err));
	OK(imp_confirm(i, &r, &err));
	for (size_t k = 0; k < r.n; k++)
		gone += r.v[k].gone;
	imp_removal_release(&r);
	imp_close(i, false);
	check_store(root);
	return gone;
}

#define BLOBS IMP_BLOBS_DIR "/sha256"
/* index, manifest, config, layers; the lowest layer is every image's */
#define OWN_BLOBS (3 + LAYERS - 1)

TEST(removed_image_leaves_what_others_need)
{
	struct fake *a = fake_new("a:1", "a"), *b = fake_new("b:1", "b");
	struct fake *both[] = { a, b };
	struct options o = { .root = unit_tmpdir() };
	struct options other = { .root = o.root, .ns = "other" };
	struct k3_err err;

	OK(preload(&o, both, 2, &err));
	OK(preload(&other, &a, 1, &err));
	EQ_INT(count_entries(o.root, BLOBS), 2 * OWN_BLOBS + 1);
	size_t trees = count_entries(o.root, IMP_SNAPSHOTS_DIR);

	CHECK(remove_image(o.root, "k8s.io", a, false) > 3);
	CHECK(!check_image(o.root, a));
	CHECK(check_image(o.root, b));
	/* The other namespace has records of all blobs, and snapshots of its own. */
	EQ_INT(count_entries(o.root, BLOBS), 2 * OWN_BLOBS + 1);
	CHECK(count_entries(o.root, IMP_SNAPSHOTS_DIR) < trees);
	EQ_INT(prune(o.root), 0);
	CHECK(remove_image(o.root, "other", a, false) > 3);
	EQ_INT(count_entries(o.root, BLOBS), OWN_BLOBS + 1);
	CHECK(check_image(o.root, b));
	CHECK(remove_image(o.root, "k8s.io", b, false) > 3);
	EQ_INT(count_entries(o.root, BLOBS), 0);
	EQ_INT(count_entries(o.root, IMP_SNAPSHOTS_DIR), 0);
	EQ_INT(check_native(o.root), 0);
	CHECK(!present(o.root, IMP_STAGE_DIR));
	OK(preload(&o, both, 2, &err));
	CHECK(check_image(o.root, a) && check_image(o.root, b));
	fake_free(a);
	fake_free(b);
}

TEST(kept_content_is_there_until_a_prune)
{
	struct fake *a = fake_new("a:1", "a"), *b = fake_new("b:1", "b");
	struct fake *both[] = { a, b };
	struct options o = { .root = unit_tmpdir() };
	struct k3_err err;

	OK(preload(&o, both, 2, &err));
	EQ_INT(remove_image(o.root, "k8s.io", a, true), 3);
	EQ_INT(count_entries(o.root, BLOBS), 2 * OWN_BLOBS + 1);
	/* What was garbage before is not the next one's to take. */
	remove_image(o.root, "k8s.io", b, false);
	EQ_INT(count_entries(o.root, BLOBS), OWN_BLOBS + 1);
	CHECK(prune(o.root) > 0);
	EQ_INT(count_entries(o.root, BLOBS), 0);
	EQ_INT(count_entries(o.root, IMP_SNAPSHOTS_DIR), 0);
	fake_free(a);
	fake_free(b);
}

TEST(changed_record_is_not_edited)
{
	struct fake *a = fake_new("a:1", "a"), *b = fake_new("b:1", "b");
	struct fake *both[] = { a, b };
	struct options o = { .root = unit_tmpdir() };
	struct imp_edit edits[] = {
		{ .kind = IMP_EDIT_UNPIN, .name = "docker.io/library/a:1", .had = true },
		{ .kind = IMP_EDIT_PIN, .name = "docker.io/library/b:1", .had = true },
	};
	struct imp_removal r = { 0 };
	struct k3_err err;
	struct imp *i;

	OK(preload(&o, both, 2, &err));
	K3_AUTO_FREE char *before = fingerprint(o.root, META);

	i = open_to_write(o.root, "k8s.io");
	edits[0].had_target = a->docs[0].desc.digest;
	edits[1].had_target = a->docs[0].desc.digest; /* it is b's */
	FAILS(imp_edit(i, edits, 2, &err), K3_BUSY);
	edits[0].kind = IMP_EDIT_DROP;
	FAILS(imp_remove(i, edits, 2, false, &r, &err), K3_BUSY);
	edits[1].name = "docker.io/library/c:1";
	FAILS(imp_edit(i, &edits[1], 1, &err), K3_BUSY);
	imp_removal_release(&r);
	imp_close(i, true);
	K3_AUTO_FREE char *after = fingerprint(o.root, META);

	EQ_STR(after, before);
	CHECK(!present(o.root, IMP_STAGE_DIR));
	CHECK(check_image(o.root, a) && check_image(o.root, b));
	fake_free(a);
	fake_free(b);
}

TEST(pins_go_and_come_and_a_second_edit_writes_nothing)
{
	struct fake *a = fake_new("a:1", "a");
	struct options o = { .root = unit_tmpdir() };
	struct imp_edit edit = { .kind = IMP_EDIT_UNPIN,
				 .name = "docker.io/library/a:1",
				 .had = true,
				 .had_target = a->docs[0].desc.digest };
	struct k3_err err;
	struct imp *i;

	OK(preload(&o, &a, 1, &err));
	i = open_to_write(o.root, "k8s.io");
	OK(imp_edit(i, &edit, 1, &err));
	CHECK(edit.changed);
	imp_close(i, true);
	IS_META(o.root, "", "k8s.io", "images", "docker.io/library/a:1", "labels",
		"io.cri-containerd.pinned");
	IS_META(o.root, "managed", "k8s.io", "images", "docker.io/library/a:1", "labels",
		"io.cri-containerd.image");
	K3_AUTO_FREE char *before = fingerprint(o.root, META);

	i = open_to_write(o.root, "k8s.io");
	OK(imp_edit(i, &edit, 1, &err));
	CHECK(!edit.changed);
	imp_close(i, true);
	K3_AUTO_FREE char *after = fingerprint(o.root, META);

	EQ_STR(after, before);
	i = open_to_write(o.root, "k8s.io");
	edit.kind = IMP_EDIT_PIN;
	OK(imp_edit(i, &edit, 1, &err));
	CHECK(edit.changed);
	imp_close(i, true);
	IS_META(o.root, "pinned", "k8s.io", "images", "docker.io/library/a:1", "labels",
		"io.cri-containerd.pinned");
	check_store(o.root);
	fake_free(a);
}

/* Who uses the image of f: "<namespace>/<container>", or "". */
static char *user_of(const char *root, struct fake *f)
{
	struct imp_opts o = { .root = root, .ns = "k8s.io" };
	struct imp_user u = { 0 };
	struct imp_view *v;
	struct k3_err err;
	struct imp *i;
	bool used = false;
	char *text;

	OK(imp_open(&o, &i, &err));
	OK(imp_view_open(i, &v, &err));
	OK(imp_view_user(v, &f->docs[0].desc.digest, &f->img.layers[LAYERS - 1].chain_id, &u, &used,
			 &err));
	text = used ? k3_xasprintf("%s/%s", u.ns, u.id) : k3_xstrdup("");
	imp_user_release(&u);
	imp_view_close(v);
	imp_close(i, true);
	return text;
}

TEST(users_of_an_image_are_found)
{
	static const char *const by_name[] = { "v1", "k8s.io", "containers", "named" };
	static const char *const by_chain[] = { "v1", "other", "containers", "standing" };
	static const char *const on[] = { "v1", "other", "snapshots", "native", "key" };
	struct fake *a = fake_new("a:1", "a"), *b = fake_new("b:1", "b");
	struct fake *both[] = { a, b };
	struct options o = { .root = unit_tmpdir() };
	char chain[OCI_DIGEST_TEXT_MAX];
	struct k3_err err;
	struct edit x;

	OK(preload(&o, both, 2, &err));
	K3_AUTO_FREE char *none = user_of(o.root, a);

	EQ_STR(none, "");
	x = edit_begin(o.root, IMP_META_DIR, "meta.db", by_name, 4);
	edit_put(&x, "image", "docker.io/library/a:1");
	edit_end(&x);
	oci_digest_format(&b->img.layers[LAYERS - 1].chain_id, chain);
	x = edit_begin(o.root, IMP_META_DIR, "meta.db", on, 5);
	edit_put(&x, "parent", chain);
	edit_end(&x);
	x = edit_begin(o.root, IMP_META_DIR, "meta.db", by_chain, 4);
	edit_put(&x, "image", "docker.io/library/gone:1");
	edit_put(&x, "snapshotter", "native");
	edit_put(&x, "snapshotKey", "key");
	edit_end(&x);
	K3_AUTO_FREE char *of_a = user_of(o.root, a);
	K3_AUTO_FREE char *of_b = user_of(o.root, b);

	EQ_STR(of_a, "k8s.io/named");
	EQ_STR(of_b, "other/standing");
	fake_free(a);
	fake_free(b);
}

UNIT_MAIN
