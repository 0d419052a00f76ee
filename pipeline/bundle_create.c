/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images -> bundle.  The document comes first and tells the size of every decompressed layer, so
 * all of them are decompressed twice: to verify and measure them, and to write them.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "pipeline/bundled.h"

#define PIECE (256u << 10)

struct create {
	struct run run;
	struct bundle_doc doc;
	struct bundle_writer *out;
	/* By member: the layer that a decompressed one is made of, else NULL. */
	const struct node **nodes;
	uint64_t bytes, written; /* of all members, and of those in the bundle so far */
	/* below: under the monitor */
	size_t next; /* member to be measured */
	bool failed;
	struct k3_err err;
};

/* ---- a staged blob -------------------------------------------------------------------------- */

struct staged {
	struct create *c;
	int fd;
	uint8_t *piece;
	const struct node *node; /* whose progress it is, or NULL */
	uint64_t pos;
};

static int staged_open(struct create *c, const struct oci_desc *d, struct staged *s,
		       struct k3_err *e)
{
	*s = (struct staged){ .c = c, .fd = -1 };
	if (imp_blob_open(c->run.imp, d, &s->fd, e))
		return -1;
	s->piece = k3_xcalloc(1, PIECE);
	return 0;
}

static void staged_close(struct staged *s)
{
	k3_closep(&s->fd);
	free(s->piece);
}

static int staged_next(void *arg, const uint8_t **p, size_t *n, struct k3_err *e)
{
	struct staged *s = arg;
	ssize_t got;

	if (k3_cancel_check(s->c->run.stop, e))
		return -1;
	do {
		got = read(s->fd, s->piece, PIECE);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return k3_fail_sys(e, errno, "cannot read a staged blob");
	*p = s->piece;
	*n = (size_t)got;
	s->pos += *n;
	if (!s->node)
		return 0;
	K3_WITH_MONITOR(s->c->run.mon);
	run_blob_event_locked(&s->c->run, s->node->blob, PL_LAYER_UNPACKING, s->pos);
	return 0;
}

static int take(void *arg, const void *p, size_t n, struct k3_err *e)
{
	struct create *c = arg;

	if (bundle_writer_data(c->out, p, n, e))
		return -1;
	c->written += n;
	run_event(&c->run, &(struct pl_event){
				   .kind = PL_EV_COMMIT, .done = c->written, .total = c->bytes });
	return 0;
}

/* Decompresses the layer of a member, measured or written. */
static int decode(struct create *c, const struct node *n, bool write, uint64_t *bytes,
		  struct k3_err *e)
{
	struct unpack_opts opts = {
		.limits = c->run.o->limits,
		.one_thread = c->run.jobs == 1,
		.cancel = c->run.stop,
	};
	char text[OCI_DIGEST_TEXT_MAX];
	struct staged s;

	if (staged_open(c, &n->layer->blob, &s, e))
		return -1;
	s.node = write ? NULL : n;
	int rc = unpack_decode(n->layer->blob.media, (struct unpack_src){ staged_next, &s }, &opts,
			       &n->layer->diff_id, write ? take : NULL, c, bytes, e);

	staged_close(&s);
	oci_digest_format(&n->layer->blob.digest, text);
	return rc ? k3_wrap(e, "layer %s", text) : 0;
}

/* ---- measuring ------------------------------------------------------------------------------ */

static void find_nodes(struct create *c)
{
	struct oci_map places = { 0 };

	c->nodes = k3_xcalloc(c->doc.n, sizeof(struct node *));
	for (size_t i = 0; i < c->doc.n; i++)
		if (c->doc.members[i].kind == BUNDLE_TAR)
			oci_map_put(&places, &c->doc.members[i].digest, (void *)(uintptr_t)(i + 1));
	for (const struct node *n = c->run.nodes; n; n = n->next) {
		size_t place = (uintptr_t)oci_map_get(&places, &n->layer->diff_id);

		if (place && !c->nodes[place - 1])
			c->nodes[place - 1] = n;
	}
	oci_map_release(&places);
}

static bool next_measure(struct create *c, size_t *member)
{
	K3_WITH_MONITOR(c->run.mon);
	while (c->next < c->doc.n && !c->nodes[c->next])
		c->next++;
	*member = c->next;
	return !c->failed && c->next < c->doc.n && ++c->next;
}

static void measure_worker(void *arg)
{
	struct create *c = arg;
	struct k3_err err;
	size_t i;

	while (next_measure(c, &i)) {
		struct blob *b = c->nodes[i]->blob;
		int rc = decode(c, c->nodes[i], false, &c->doc.members[i].size, &err);
		K3_WITH_MONITOR(c->run.mon);

		if (!rc) {
			run_blob_event_locked(&c->run, b, PL_LAYER_DONE, b->desc->size);
			continue;
		}
		c->failed = true;
		c->err = err;
		for (size_t u = 0; u < b->nusers; u++)
			run_fail_image_locked(&c->run, b->users[u], &err);
	}
}

static int measure(struct create *c, struct k3_err *e)
{
	struct k3_thread *threads[PL_JOBS_MAX];
	struct k3_err refused;
	unsigned n = 0;

	find_nodes(c);
	while (n + 1 < c->run.jobs && !k3_thread_start(measure_worker, c, &threads[n], &refused))
		n++;
	measure_worker(c);
	while (n)
		k3_thread_join(threads[--n]);
	if (!c->failed)
		return 0;
	*e = c->err;
	return -1;
}

/* ---- writing -------------------------------------------------------------------------------- */

static int write_blob(struct create *c, const struct bundle_member *m, struct k3_err *e)
{
	struct oci_desc d = { .digest = m->digest, .size = m->size };
	struct staged s;
	const uint8_t *p;
	size_t n;
	int rc;

	if (staged_open(c, &d, &s, e))
		return -1;
	do {
		rc = staged_next(&s, &p, &n, e) || take(c, p, n, e) ? -1 : 0;
	} while (!rc && n);
	staged_close(&s);
	return rc;
}

static int write_members(struct create *c, struct k3_err *e)
{
	for (size_t i = 0; i < c->doc.n; i++) {
		uint64_t unused;

		if (c->nodes[i] ? decode(c, c->nodes[i], true, &unused, e)
				: write_blob(c, &c->doc.members[i], e))
			return -1;
	}
	return bundle_writer_end(c->out, e);
}

static int write_bundle(struct create *c, int fd, const char *what, struct oci_digest *digest,
			struct k3_err *e)
{
	struct run *r = &c->run;

	c->doc.platform = r->o->platform;
	for (size_t i = 0; i < r->nimages; i++)
		bundle_add_image(&c->doc, &r->images[i].req->ref, &r->images[i].found.docs[0].desc);
	bundled_members(r, &c->doc);
	if (measure(c, e))
		return -1;
	for (size_t i = 0; i < c->doc.n; i++)
		c->bytes += c->doc.members[i].size;
	run_event(r, &(struct pl_event){ .kind = PL_EV_COMMIT, .total = c->bytes });
	if (bundle_writer_new(fd, what, &c->doc, &c->out, digest, e))
		return -1;
	return write_members(c, e);
}

static int all_there(const struct run *r, struct k3_err *e)
{
	const struct image *bad = run_first_failed(r);

	if (!bad)
		return 0;
	*e = bad->res->err;
	return -1;
}

static int create(struct create *c, int fd, const char *what, struct oci_digest *digest,
		  struct k3_err *e)
{
	struct run *r = &c->run;

	if (run_open(r, e))
		return -1;
	run_resolve(r);
	if (k3_cancel_check(r->stop, e) || plan_make(r, e))
		return -1;
	bundled_mark_decoded(r);
	run_transfer_and_build(r);
	if (k3_cancel_check(r->stop, e) || all_there(r, e))
		return -1;
	return write_bundle(c, fd, what, digest, e);
}

int pl_bundle_create(const struct pl_opts *o, const struct pl_request *reqs, size_t n, int fd,
		     const char *what, struct k3_cancel *stop, struct pl_result *out,
		     struct oci_digest *digest, struct k3_err *e)
{
	struct pl_opts opts = *o;
	struct create c = { 0 };

	opts.mode = IMP_OFFLINE;
	opts.doubts = NULL;
	opts.bundle = NULL;
	run_init(&c.run, &opts, reqs, n, stop, out);
	c.run.blobs_only = true;
	int rc = create(&c, fd, what, digest, e);

	bundle_writer_free(c.out);
	bundle_doc_release(&c.doc);
	free(c.nodes);
	run_release(&c.run, rc && (e->code == K3_NET || e->code == K3_CANCELLED));
	return rc;
}
