/* SPDX-License-Identifier: Apache-2.0 */
/* Staging file, as far as it is written -> tree. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/losses.h"
#include "pipeline/run.h"
#include "pipeline/bundled.h"

#define PIECE (256u << 10)
/* Threads that clone one tree; more of them wait for the file system's journal. */
#define TREE_THREADS 4u
#define WAIT_MS 200 /* how late a waiting builder notices a cancelled run */
/* Text of a layer's losses, some 15,000 of them: a quarter of PL_MEM_BUILDER.  More are counted. */
#define LOSSES_HELD_MAX (1u << 20)

/* Reads a blob behind its download. */
struct reader {
	struct run *run;
	struct blob *blob;
	int fd;
	uint64_t pos;
	unsigned again; /* blob->again when the first bytes were read */
	bool failed;    /* the download did */
	bool cut;       /* bytes that were there are not there any more */
	uint8_t *piece;
};

/* Opens the file once the download has begun one. */
static int wait_for_bytes(struct reader *rd, uint64_t *have, bool *complete, struct k3_err *e)
{
	struct run *r = rd->run;
	struct blob *b = rd->blob;

	K3_WITH_MONITOR(r->mon);
	/* The end is only reported once the whole blob is verified. */
	while (b->state < JOB_DONE && (b->unsure || rd->pos >= b->have)) {
		if (k3_cancel_check(r->stop, e))
			return -1;
		k3_monitor_wait_ms(r->mon, WAIT_MS);
	}
	if (b->state == JOB_FAILED) {
		*e = b->err;
		rd->failed = true;
		return -1;
	}
	if (!rd->pos)
		rd->again = b->again;
	if (rd->again != b->again)
		return k3_fail(e, K3_DIGEST, "the layer is being fetched again");
	*have = b->have;
	*complete = b->state == JOB_DONE;
	run_blob_event_locked(r, b, PL_LAYER_UNPACKING, rd->pos);
	return k3_cancel_check(r->stop, e);
}

static int reader_next(void *arg, const uint8_t **p, size_t *n, struct k3_err *e)
{
	struct reader *rd = arg;
	uint64_t have;
	bool complete;

	if (wait_for_bytes(rd, &have, &complete, e))
		return -1;
	*p = rd->piece;
	*n = 0;
	if (rd->pos >= have)
		return 0;
	if (rd->fd < 0 && imp_blob_open(rd->run->imp, rd->blob->desc, &rd->fd, e))
		return -1;
	uint64_t left = have - rd->pos;
	ssize_t got = pread(rd->fd, rd->piece, left < PIECE ? left : PIECE, (off_t)rd->pos);

	if (got < 0)
		return k3_fail_sys(e, errno, "cannot read the downloaded layer");
	if (got == 0) {
		/* Or else they have just been found wrong, and dropped: is_spoilt finds out. */
		rd->cut = true;
		return k3_fail(e, K3_STORE, "the stored layer is shorter than its record says");
	}
	rd->pos += (uint64_t)got;
	*n = (size_t)got;
	return 0;
}

/*
 * Losses of one layer, held back until its diff ID is verified: a mirror that sent wrong bytes may
 * have sent any names, and the layer comes again.
 */
struct losses {
	struct run *run;
	struct tree *tree;
	struct k3_buf held;               /* struct loss_head, path, NUL, what, NUL for each */
	uint64_t more[UNPACK_LOSS_KINDS]; /* beyond LOSSES_HELD_MAX */
	bool failed;
	struct k3_err err; /* of the first one that may not be */
};

struct loss_head {
	enum unpack_loss_kind kind;
	int errnum;
};

static void losses_release(struct losses *l)
{
	k3_buf_release(&l->held);
}

static void hold_loss(void *arg, enum unpack_loss_kind kind, const char *path, const char *what,
		      int errnum)
{
	const struct loss_head head = { kind, errnum };
	struct losses *l = arg;
	enum pl_on_loss policy = l->run->o->on_loss[kind];
	size_t before = l->held.len;
	struct k3_err full;

	if (policy == PL_LOSS_IGNORE || l->failed)
		return;
	if (policy == PL_LOSS_FAIL) {
		l->failed = true;
		loss_text(kind, path, what, errnum, &l->err);
		return;
	}
	const char *why = strerrordesc_np(errnum);

	/* A layer that comes again comes to another tree. */
	imp_tree_lost(l->tree->imp, &(struct imp_loss){ .kind = unpack_loss_name(kind),
							.path = path,
							.what = what,
							.why = why ? why : "" });
	if (!l->more[kind] && !k3_buf_add(&l->held, &head, sizeof(head), &full) &&
	    !k3_buf_add(&l->held, path, strlen(path) + 1, &full) &&
	    !k3_buf_add(&l->held, what, strlen(what) + 1, &full))
		return;
	l->held.len = before;
	l->more[kind]++;
}

/* Who needs the tree, or one cloned from it, has its losses. */
static void tell_loss(struct losses *l, const struct pl_loss *loss, uint64_t count)
{
	const struct blob *b = l->tree->node->blob;
	struct k3_err text;

	if (loss->path)
		loss_text(loss->kind, loss->path, loss->what, loss->errnum, &text);
	else
		k3_fail(&text, K3_IO, "%llu more were refused", (unsigned long long)count);
	K3_WITH_MONITOR(l->run->mon);
	for (size_t i = 0; i < b->nusers; i++) {
		struct image *im = b->users[i];

		if (!run_image_has(im, l->tree->node))
			continue;
		im->res->losses += count;
		run_event_locked(l->run, &(struct pl_event){ .kind = PL_EV_LOSS,
							     .image = im->index,
							     .done = count,
							     .text = text.msg,
							     .loss = loss });
	}
}

static void tell_losses(struct losses *l)
{
	for (size_t at = 0; at < l->held.len;) {
		const char *p = (const char *)l->held.p + at;
		struct loss_head head;

		memcpy(&head, p, sizeof(head));
		const char *path = p + sizeof(head), *what = path + strlen(path) + 1;

		tell_loss(l, &(struct pl_loss){ head.kind, path, what, head.errnum }, 1);
		at = (size_t)(what + strlen(what) + 1 - (const char *)l->held.p);
	}
	for (int kind = 0; kind < UNPACK_LOSS_KINDS; kind++)
		if (l->more[kind])
			tell_loss(l, &(struct pl_loss){ .kind = (enum unpack_loss_kind)kind },
				  l->more[kind]);
}

/*
 * Is it the fault of bytes that have been, or will be, found wrong and fetched again?  What cannot
 * be unpacked may be told so before its last byte has come, and with it the digest.
 */
static bool is_spoilt(struct reader *rd, struct k3_err *e)
{
	struct run *r = rd->run;
	const struct blob *b = rd->blob;
	bool content = rd->cut || e->code == K3_FORMAT || e->code == K3_DIGEST ||
		       e->code == K3_LIMIT || e->code == K3_UNSAFE || e->code == K3_UNSUPPORTED;
	K3_WITH_MONITOR(r->mon);

	while (content && b->state < JOB_DONE && b->again == rd->again && !k3_cancelled(r->stop))
		k3_monitor_wait_ms(r->mon, WAIT_MS);
	/* What an archive has of it is known in a moment, and why it is wrong is the better
	 * message. */
	if (content && b->state == JOB_FAILED && (b->err.code == K3_DIGEST || run_is_local(b))) {
		*e = b->err;
		rd->failed = true;
	}
	return b->again != rd->again && b->state != JOB_FAILED && !k3_cancelled(r->stop);
}

/* Layer i of the tree's path. */
static int apply_layer(struct run *r, struct tree *t, size_t i, uint8_t *piece, bool *spoilt,
		       struct k3_err *e)
{
	struct node *n = t->path[i];
	struct reader rd = { .run = r, .blob = n->blob, .fd = -1, .piece = piece };
	struct bundled_tar tar = { .run = r, .node = n, .piece = piece, .size = PIECE };
	bool plain = bundled_has_tar(r, n);
	__attribute__((cleanup(losses_release))) struct losses losses = {
		.run = r, .tree = t, .held = K3_BUF(LOSSES_HELD_MAX)
	};
	struct unpack_opts opts = {
		.limits = r->o->limits,
		.shared = imp_tree_is_shared(t->imp),
		.lenient_owner = true,
		.one_thread = r->jobs == 1,
		.cancel = r->stop,
		.on_loss = hold_loss,
		.arg = &losses,
	};
	struct unpack_stats stats;
	char text[OCI_DIGEST_TEXT_MAX];

	*spoilt = false;
	int rc = unpack_layer(imp_tree_rootfd(t->imp),
			      plain ? OCI_MEDIA_LAYER_TAR : n->layer->blob.media,
			      plain ? (struct unpack_src){ bundled_tar_next, &tar }
				    : (struct unpack_src){ reader_next, &rd },
			      &opts, &n->layer->diff_id, NULL, &stats, e);
	k3_closep(&rd.fd);
	if (!rc && losses.failed) {
		*e = losses.err;
		rc = k3_hint(e, "--on-loss warn takes the image without it");
	}
	if (!rc) {
		/* A tree that is begun again, for a later layer's sake, has lost the same. */
		if (i >= t->told)
			tell_losses(&losses);
		t->told = i >= t->told ? i + 1 : t->told;
		return 0;
	}
	*spoilt = !plain && is_spoilt(&rd, e);
	/* A failed transfer has named its layer already. */
	if (rd.failed)
		return -1;
	oci_digest_format(&n->layer->blob.digest, text);
	return k3_wrap(e, "layer %s", text);
}

static int build(struct run *r, struct tree *t, uint8_t *piece, bool *spoilt, struct k3_err *e)
{
	struct imp_tree_from from = {
		.threads = r->jobs < TREE_THREADS ? r->jobs : TREE_THREADS,
	};

	if (t->base)
		from.parent = t->base->imp;
	else if (t->base_node)
		from.parent_id = t->base_node->store_id;
	if (t->base_node)
		from.parent_chain = t->base_node->layer->chain_id;
	*spoilt = false;
	if (imp_tree_begin(r->imp, &t->node->layer->chain_id, &from, r->stop, &t->imp, e))
		return -1;
	for (size_t i = 0; i < t->npath; i++) {
		if (apply_layer(r, t, i, piece, spoilt, e))
			return -1;
		K3_WITH_MONITOR(r->mon);
		run_blob_event_locked(r, t->path[i]->blob, PL_LAYER_DONE,
				      t->path[i]->blob->desc->size);
	}
	return imp_tree_seal(t->imp, e);
}

static void finish(struct run *r, struct tree *t, int rc, const struct k3_err *e)
{
	const struct blob *b = t->node->blob;

	K3_WITH_MONITOR(r->mon);
	t->state = rc ? JOB_FAILED : JOB_DONE;
	if (rc)
		t->err = *e;
	else
		t->owner->res->tree_bytes += imp_tree_bytes(t->imp);
	/* Who needs the tree needs the layer on its top: only those are looked at. */
	for (size_t i = 0; i < b->nusers; i++) {
		if (!run_image_has(b->users[i], t->node))
			continue;
		if (rc)
			run_fail_image_locked(r, b->users[i], e);
		else
			run_got_locked(r, b->users[i]);
	}
	k3_monitor_wake_all(r->mon);
}

/* Inside the monitor.  *wait = there is work, but its base is not ready. */
static struct tree *next_tree(struct run *r, bool *wait)
{
	*wait = false;
	for (size_t i = r->first_tree; i < r->ntrees; i++) {
		struct tree *t = r->trees[i];

		if (t->state != JOB_WAITING) {
			if (i == r->first_tree)
				r->first_tree++;
			continue;
		}
		if (!t->base || t->base->state >= JOB_DONE) {
			t->state = JOB_RUNNING;
			return t;
		}
		*wait = true;
	}
	return NULL;
}

void build_worker(struct run *r)
{
	K3_AUTO_FREE uint8_t *piece = k3_xcalloc(1, PIECE);

	while (!k3_cancelled(r->stop)) {
		struct k3_err err;
		bool wait;

		k3_monitor_enter(r->mon);
		struct tree *t = next_tree(r, &wait);

		if (wait && !t)
			k3_monitor_wait_ms(r->mon, WAIT_MS);
		k3_monitor_leave(r->mon);
		if (!t && wait)
			continue;
		if (!t)
			return;
		if (t->base && t->base->state == JOB_FAILED) {
			finish(r, t, -1, &t->base->err);
			continue;
		}
		int rc;
		bool spoilt;

		do {
			rc = build(r, t, piece, &spoilt, &err);
			if (rc && t->imp) {
				imp_tree_drop(t->imp);
				t->imp = NULL;
			}
		} while (rc && spoilt);
		finish(r, t, rc, &err);
	}
}
