/* SPDX-License-Identifier: Apache-2.0 */
/* One image -> a plain directory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "pipeline/losses.h"
#include "pipeline/source.h"

#define PIECE (256u << 10)

struct rootfs {
	const struct pl_unpack_opts *o;
	const struct pl_request *q;
	const char *dir;
	struct k3_cancel *stop;
	struct fetch *fetch;
	struct fetch_session *session;
	struct source_link link;
	struct oci_resolved found;
	int fd;    /* of the directory */
	bool made; /* it was not there */
	struct pl_unpacked *out;
};

/* ---- the directory ------------------------------------------------------------------ */

static bool is_dot(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

/* fd stays the caller's.  *name: something that is in it, the caller's, or NULL. */
static int find_any(int fd, char **name)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *de;

	*name = NULL;
	if (!d) {
		k3_closep(&copy);
		return -1;
	}
	while ((de = readdir(d)))
		if (!is_dot(de->d_name)) {
			*name = k3_xstrdup(de->d_name);
			break;
		}
	closedir(d);
	return 0;
}

/* Opens it if it is there, and sees that it is empty. */
static int look_at_dir(struct rootfs *rf, struct k3_err *e)
{
	K3_AUTO_FREE char *name = NULL;

	rf->fd = open(rf->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rf->fd < 0 && errno == ENOENT)
		return 0;
	if (rf->fd < 0)
		return k3_fail_sys(e, errno, "cannot open %s", rf->dir);
	if (find_any(rf->fd, &name))
		return k3_fail_sys(e, errno, "cannot read %s", rf->dir);
	if (!name)
		return 0;
	k3_fail(e, K3_USAGE, "%s is not empty: it has %s", rf->dir, name);
	return k3_hint(e, "name a directory that is empty or not there yet");
}

static int make_dir(struct rootfs *rf, struct k3_err *e)
{
	if (rf->fd >= 0)
		return 0;
	if (mkdir(rf->dir, 0755))
		return k3_fail_sys(e, errno, "cannot make %s", rf->dir);
	rf->made = true;
	rf->fd = open(rf->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return rf->fd < 0 ? k3_fail_sys(e, errno, "cannot open %s", rf->dir) : 0;
}

/* After a failure, whose cause is *e. */
static void empty_dir(struct rootfs *rf, struct k3_err *e)
{
	struct k3_err later;
	int rc;

	for (;;) {
		K3_AUTO_FREE char *name = NULL;

		rc = rf->fd < 0 ? 0 : find_any(rf->fd, &name);
		if (rc || !name)
			break;
		rc = k3_remove_tree(rf->fd, name, &later);
		if (rc)
			break;
	}
	if (!rc && rf->made)
		rc = rmdir(rf->dir);
	if (rc)
		k3_hint(e, "what was unpacked could not be removed again: see %s", rf->dir);
}

/* ---- documents ---------------------------------------------------------------------- */

static int get(void *arg, const struct oci_desc *want, bool config, struct k3_buf *raw,
	       struct oci_desc *got, struct k3_err *e)
{
	const struct rootfs *rf = arg;

	if (k3_cancel_check(rf->stop, e))
		return -1;
	return source_document(&rf->link, rf->q, want, config, raw, got, e);
}

static int resolve(struct rootfs *rf, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf raw = K3_BUF(OCI_DOCUMENT_MAX);
	bool pinned = rf->q->ref.has_digest && !rf->q->from;
	struct oci_desc want = { 0 }, target;

	if ((!pinned && source_target(&rf->link, rf->q, &want, e)) ||
	    source_document(&rf->link, rf->q, pinned ? NULL : &want, false, &raw, &target, e) ||
	    oci_resolve(&target, &raw, &rf->o->platform, get, rf, &rf->found, e))
		return -1;
	const struct oci_image *img = &rf->found.image;

	*rf->out = (struct pl_unpacked){
		.target = target.digest,
		.config = img->config.digest,
		.platform = img->platform,
		.layers = img->nlayers,
		.compressed = oci_image_layer_bytes(img),
	};
	return 0;
}

/* ---- layers ------------------------------------------------------------------------- */

/* A layer of a registry: fetched, verified and kept in a file without a name. */
struct ahead {
	struct rootfs *rf;
	const struct oci_desc *desc;
	struct k3_thread *thread;
	int fd, rc;
	struct k3_err err;
};

static int to_file(void *arg, const void *p, size_t n, struct k3_err *e)
{
	const struct ahead *a = arg;

	return k3_write_all(a->fd, p, n, a->rf->dir, e);
}

static void fetch_ahead(void *arg)
{
	struct ahead *a = arg;
	K3_AUTO_HASH struct k3_hash *hash = k3_hash_new(a->desc->digest.alg);

	a->rc = source_blob(&a->rf->link, a->rf->q, a->desc, 0, hash, to_file, a, &a->err);
}

/* Begins with layer i, if it is one that is fetched. */
static int begin_ahead(struct rootfs *rf, size_t i, struct ahead *a, struct k3_err *e)
{
	struct k3_err ignored;

	*a = (struct ahead){ .rf = rf, .fd = -1 };
	if (rf->q->from || i >= rf->found.image.nlayers)
		return 0;
	a->desc = &rf->found.image.layers[i].blob;
	if (k3_temp_file(rf->dir, &a->fd, e))
		return -1;
	if (k3_thread_start(fetch_ahead, a, &a->thread, &ignored))
		fetch_ahead(a);
	return 0;
}

static int end_ahead(struct ahead *a, struct k3_err *e)
{
	k3_thread_join(a->thread);
	a->thread = NULL;
	if (!a->rc)
		return 0;
	*e = a->err;
	return -1;
}

static void ahead_release(struct ahead *a)
{
	k3_thread_join(a->thread);
	k3_closep(&a->fd);
}

struct file_reader {
	int fd;
	uint64_t at;
	uint8_t piece[PIECE];
};

static int file_next(void *arg, const uint8_t **p, size_t *n, struct k3_err *e)
{
	struct file_reader *r = arg;
	ssize_t got = pread(r->fd, r->piece, PIECE, (off_t)r->at);

	if (got < 0)
		return k3_fail_sys(e, errno, "cannot read the layer");
	r->at += (uint64_t)got;
	*p = r->piece;
	*n = (size_t)got;
	return 0;
}

static void tell_loss(void *arg, enum unpack_loss_kind kind, const char *path, const char *what,
		      int errnum)
{
	const struct rootfs *rf = arg;
	struct k3_err err;

	loss_text(kind, path, what, errnum, &err);
	if (rf->o->loss)
		rf->o->loss(rf->o->arg, err.msg);
}

static int apply(struct rootfs *rf, const struct oci_layer *l, struct unpack_src src,
		 struct k3_err *e)
{
	struct unpack_stats stats = { 0 };
	struct unpack_opts uo = {
		.limits = rf->o->limits,
		.lenient_owner = true,
		.cancel = rf->stop,
		.on_loss = tell_loss,
		.arg = rf,
	};

	if (unpack_layer(rf->fd, l->blob.media, src, &uo, &l->diff_id, NULL, &stats, e))
		return -1;
	rf->out->bytes += stats.bytes;
	rf->out->entries += stats.entries;
	rf->out->losses += stats.losses;
	return 0;
}

static int apply_archived(struct rootfs *rf, const struct oci_layer *l, struct k3_err *e)
{
	__attribute__((cleanup(archive_reader_freep))) struct archive_reader *r = NULL;

	if (archive_reader_open(rf->q->from, &l->blob, &r, e))
		return -1;
	return apply(rf, l, (struct unpack_src){ archive_reader_next, r }, e);
}

static int apply_fetched(struct rootfs *rf, const struct oci_layer *l, int fd, struct k3_err *e)
{
	K3_AUTO_FREE struct file_reader *r = k3_xcalloc(1, sizeof(*r));

	r->fd = fd;
	return apply(rf, l, (struct unpack_src){ file_next, r }, e);
}

static int apply_layer(struct rootfs *rf, size_t i, struct ahead *this, struct ahead *next,
		       struct k3_err *e)
{
	const struct oci_image *img = &rf->found.image;
	const struct oci_layer *l = &img->layers[i];
	char text[OCI_DIGEST_TEXT_MAX];
	int rc;

	if (rf->o->layer)
		rf->o->layer(rf->o->arg, i, img->nlayers, l->blob.size);
	/* One connection is enough: what it brings meanwhile is what is unpacked next. */
	rc = end_ahead(this, e) || begin_ahead(rf, i + 1, next, e) ? -1 : 0;
	if (!rc)
		rc = rf->q->from ? apply_archived(rf, l, e) : apply_fetched(rf, l, this->fd, e);
	oci_digest_format(&l->blob.digest, text);
	return rc ? k3_wrap(e, "layer %s", text) : 0;
}

static int apply_layers(struct rootfs *rf, struct k3_err *e)
{
	struct ahead two[2] = { { .fd = -1 }, { .fd = -1 } };
	int rc = begin_ahead(rf, 0, &two[0], e);

	for (size_t i = 0; !rc && i < rf->found.image.nlayers; i++) {
		rc = apply_layer(rf, i, &two[i % 2], &two[(i + 1) % 2], e);
		ahead_release(&two[i % 2]);
	}
	ahead_release(&two[0]);
	ahead_release(&two[1]);
	return rc;
}

/* ---- together ----------------------------------------------------------------------- */

static int run(struct rootfs *rf, struct k3_err *e)
{
	struct fetch_opts fo = rf->o->fetch;

	fo.cancel = rf->stop;
	if (look_at_dir(rf, e) || fetch_new(&fo, &rf->fetch, e))
		return -1;
	rf->link = (struct source_link){ rf->fetch, &rf->session };
	if (resolve(rf, e))
		return -1;
	if (!make_dir(rf, e) && !apply_layers(rf, e))
		return 0;
	empty_dir(rf, e);
	return -1;
}

int pl_unpack(const struct pl_unpack_opts *o, const struct pl_request *q, const char *dir,
	      struct k3_cancel *stop, struct pl_unpacked *out, struct k3_err *e)
{
	struct rootfs rf = { .o = o, .q = q, .dir = dir, .stop = stop, .fd = -1, .out = out };
	int rc;

	*out = (struct pl_unpacked){ 0 };
	rc = run(&rf, e);
	oci_resolved_release(&rf.found);
	fetch_session_free(rf.session);
	fetch_free(rf.fetch);
	k3_closep(&rf.fd);
	return rc;
}
