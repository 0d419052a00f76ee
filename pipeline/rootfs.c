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
	struct k3_monitor *mon; /* of events: one layer comes while another is unpacked */
	struct fetch *fetch;
	struct fetch_session *session;
	struct source_link link;
	struct oci_resolved found;
	int fd;    /* of the directory */
	bool made; /* it was not there */
	struct pl_unpacked *out;
};

/* ---- what is told ------------------------------------------------------------------- */

static void tell(struct rootfs *rf, const struct pl_event *ev)
{
	K3_WITH_MONITOR(rf->mon);
	if (rf->o->event)
		rf->o->event(rf->o->arg, ev);
}

static void tell_layer(struct rootfs *rf, size_t i, enum pl_phase phase, uint64_t done)
{
	const struct oci_desc *d = &rf->found.image.layers[i].blob;
	unsigned fetched = rf->q->from ? 0 : PL_NEEDS_BYTES;

	tell(rf, &(struct pl_event){ .kind = PL_EV_LAYER,
				     .layer = i,
				     .phase = phase,
				     .done = done,
				     .total = d->size,
				     .needs = fetched | PL_NEEDS_UNPACK,
				     .local = rf->q->from != NULL,
				     .digest = d->digest });
}

static void tell_plan(struct rootfs *rf)
{
	tell(rf, &(struct pl_event){ .kind = PL_EV_RESOLVED,
				     .done = rf->out->compressed,
				     .total = rf->out->layers,
				     .digest = rf->out->target });
	for (size_t i = 0; i < rf->out->layers; i++)
		tell_layer(rf, i, PL_LAYER_WAITING, 0);
	tell(rf, &(struct pl_event){ .kind = PL_EV_PLANNED });
}

static void on_retry(void *arg, const char *what, unsigned attempt, uint64_t wait_ms,
		     const struct k3_err *why)
{
	K3_AUTO_FREE char *text = k3_xasprintf("%s: %s; trying again in %.1f s", what, why->msg,
					       (double)wait_ms / 1000);

	(void)attempt;
	tell(arg, &(struct pl_event){ .kind = PL_EV_RETRY, .text = text, .err = why });
}

static void on_notice(void *arg, const char *text)
{
	tell(arg, &(struct pl_event){ .kind = PL_EV_NOTICE, .text = text });
}

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
	size_t layer;
	struct k3_thread *thread;
	int fd, rc;
	uint64_t have;
	struct k3_err err;
};

static int to_file(void *arg, const void *p, size_t n, struct k3_err *e)
{
	struct ahead *a = arg;

	if (k3_write_all(a->fd, p, n, a->rf->dir, e))
		return -1;
	a->have += n;
	tell_layer(a->rf, a->layer, PL_LAYER_DOWNLOADING, a->have);
	return 0;
}

static void fetch_ahead(void *arg)
{
	struct ahead *a = arg;

	for (;;) {
		K3_AUTO_HASH struct k3_hash *hash = k3_hash_new(a->desc->digest.alg);
		uint64_t sources = 0;

		a->have = 0;
		a->rc = source_blob(&a->rf->link, a->rf->q, a->desc, 0, hash, to_file, a, &sources,
				    &a->err);
		/* A mirror sent wrong bytes, and others are left to be asked. */
		if (!a->rc || a->err.code != K3_DIGEST ||
		    !source_blame(&a->rf->link, sources, &a->err) || ftruncate(a->fd, 0) ||
		    lseek(a->fd, 0, SEEK_SET))
			return;
	}
}

/* Begins with layer i, if it is one that is fetched. */
static int begin_ahead(struct rootfs *rf, size_t i, struct ahead *a, struct k3_err *e)
{
	struct k3_err ignored;

	*a = (struct ahead){ .rf = rf, .layer = i, .fd = -1 };
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
	if (!a->rc) {
		if (a->desc)
			tell_layer(a->rf, a->layer, PL_LAYER_DOWNLOADED, a->desc->size);
		return 0;
	}
	*e = a->err;
	return -1;
}

static void ahead_release(struct ahead *a)
{
	k3_thread_join(a->thread);
	k3_closep(&a->fd);
}

struct file_reader {
	struct rootfs *rf;
	size_t layer;
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
	tell_layer(r->rf, r->layer, PL_LAYER_UNPACKING, r->at);
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

struct archived {
	struct rootfs *rf;
	size_t layer;
	struct archive_reader *r;
	uint64_t at;
};

static int archived_next(void *arg, const uint8_t **p, size_t *n, struct k3_err *e)
{
	struct archived *a = arg;

	if (archive_reader_next(a->r, p, n, e))
		return -1;
	a->at += *n;
	tell_layer(a->rf, a->layer, PL_LAYER_UNPACKING, a->at);
	return 0;
}

static void archived_close(struct archived *a)
{
	archive_reader_freep(&a->r);
}

static int apply_archived(struct rootfs *rf, size_t i, struct k3_err *e)
{
	__attribute__((cleanup(archived_close))) struct archived a = { .rf = rf, .layer = i };
	const struct oci_layer *l = &rf->found.image.layers[i];
	struct k3_err cause;
	const uint8_t *p;
	size_t n;

	if (archive_reader_open(rf->q->from, &l->blob, &a.r, e))
		return -1;
	if (!apply(rf, l, (struct unpack_src){ archived_next, &a }, e))
		return 0;
	/* Bytes that do not unpack have another digest, as a rule: the better message. */
	while (!archive_reader_next(a.r, &p, &n, &cause))
		if (!n)
			return -1;
	if (cause.code == K3_DIGEST)
		*e = cause;
	return -1;
}

static int apply_fetched(struct rootfs *rf, size_t i, int fd, struct k3_err *e)
{
	K3_AUTO_FREE struct file_reader *r = k3_xcalloc(1, sizeof(*r));

	r->rf = rf;
	r->layer = i;
	r->fd = fd;
	return apply(rf, &rf->found.image.layers[i], (struct unpack_src){ file_next, r }, e);
}

static int apply_layer(struct rootfs *rf, size_t i, struct ahead *this, struct ahead *next,
		       struct k3_err *e)
{
	const struct oci_layer *l = &rf->found.image.layers[i];
	char text[OCI_DIGEST_TEXT_MAX];
	int rc;

	/* One connection is enough: what it brings meanwhile is what is unpacked next. */
	rc = end_ahead(this, e) || begin_ahead(rf, i + 1, next, e) ? -1 : 0;
	if (!rc)
		rc = rf->q->from ? apply_archived(rf, i, e) : apply_fetched(rf, i, this->fd, e);
	if (!rc) {
		tell_layer(rf, i, PL_LAYER_DONE, l->blob.size);
		return 0;
	}
	oci_digest_format(&l->blob.digest, text);
	return k3_wrap(e, "layer %s", text);
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
	fo.on_retry = on_retry;
	fo.on_retry_arg = rf;
	fo.on_notice = on_notice;
	fo.on_notice_arg = rf;
	if (look_at_dir(rf, e) || fetch_new(&fo, &rf->fetch, e))
		return -1;
	rf->link = (struct source_link){ rf->fetch, &rf->session };
	if (resolve(rf, e))
		return -1;
	tell_plan(rf);
	if (!make_dir(rf, e) && !apply_layers(rf, e)) {
		tell(rf, &(struct pl_event){ .kind = PL_EV_WHOLE });
		return 0;
	}
	empty_dir(rf, e);
	return -1;
}

int pl_unpack(const struct pl_unpack_opts *o, const struct pl_request *q, const char *dir,
	      struct k3_cancel *stop, struct pl_unpacked *out, struct k3_err *e)
{
	struct rootfs rf = { .o = o, .q = q, .dir = dir, .stop = stop, .fd = -1, .out = out };
	int rc;

	*out = (struct pl_unpacked){ 0 };
	rf.mon = k3_monitor_new();
	rc = run(&rf, e);
	oci_resolved_release(&rf.found);
	fetch_session_free(rf.session);
	fetch_free(rf.fetch);
	k3_closep(&rf.fd);
	k3_monitor_free(rf.mon);
	return rc;
}
