/* SPDX-License-Identifier: Apache-2.0 */
/* Images from a small registry through a bundle into a directory; and bundles that lie. */
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "pipeline/pipeline.h"
#include "tests/unit/minireg.h"
#include "tests/unit/unit.h"

static struct k3_err err;

struct setup {
	struct minireg *reg;
	struct k3_cancel *stop;
	struct pl_request reqs[2];
	struct pl_opts o;
	char dir[256], file[300], root[300];
};

static void start(struct setup *s)
{
	struct oci_digest d[2];
	uint64_t sizes[2];
	char text[128];

	*s = (struct setup){ .reg = minireg_start(), .stop = k3_cancel_new() };
	snprintf(s->dir, sizeof(s->dir), "%s", unit_tmpdir());
	snprintf(s->file, sizeof(s->file), "%s/bundle", s->dir);
	snprintf(s->root, sizeof(s->root), "%s/root", s->dir);
	for (size_t i = 0; i < 2; i++) {
		struct tarbuild t;

		tb_init(&t);
		tb_file(&t, i ? "upper" : "lower", "text");
		tb_end(&t);
		minireg_layer(s->reg, &t, &d[i], &sizes[i]);
		tb_release(&t);
		snprintf(text, sizeof(text), "app%zu", i);
		minireg_image(s->reg, text, "1", "linux/amd64", d, sizes, i + 1);
		snprintf(text, sizeof(text), "%s/app%zu:1", minireg_host(s->reg), i);
		OK(oci_ref_parse(text, &s->reqs[i].ref, &err));
	}
	s->o = (struct pl_opts){ .ns = "k8s.io", .limits = unpack_limits_default };
	OK(oci_platform_parse("linux/amd64", &s->o.platform, &err));
}

static void stop(struct setup *s)
{
	for (size_t i = 0; i < 2; i++)
		oci_ref_release(&s->reqs[i].ref);
	k3_cancel_free(s->stop);
}

static void create(struct setup *s)
{
	char work[300];
	K3_AUTO_FD int fd = open(s->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct pl_result res[2];
	struct oci_digest digest;

	snprintf(work, sizeof(work), "%s/work", s->dir);
	s->o.root = work;
	OK(pl_bundle_create(&s->o, s->reqs, 2, fd, "bundle", s->stop, res, &digest, &err));
	/* From here on there is no network. */
	minireg_stop(s->reg);
}

static int apply(struct setup *s)
{
	struct bundle *b = NULL;
	struct pl_request reqs[2];
	struct pl_result res[2];

	OK(bundle_open(&(struct bundle_opts){ .path = s->file }, &b, &err));
	EQ_INT(bundle_doc(b)->nimages, 2);
	for (size_t i = 0; i < 2; i++)
		reqs[i] = (struct pl_request){ .ref = bundle_doc(b)->images[i].ref,
					       .target = &bundle_doc(b)->images[i].target };
	s->o.root = s->root;
	s->o.bundle = b;
	int rc = pl_run(&s->o, reqs, 2, s->stop, res, &err);

	if (!rc)
		EQ_INT(res[1].layers, 2);
	bundle_free(b);
	return rc;
}

static int count(void *arg, const struct imp_record *r, struct k3_err *e)
{
	(void)r, (void)e;
	++*(size_t *)arg;
	return 0;
}

static size_t records(struct setup *s)
{
	struct imp_view *v = NULL;
	struct imp *i = NULL;
	size_t n = 0;

	if (imp_open(&(struct imp_opts){ .root = s->root, .ns = "k8s.io" }, &i, &err))
		return 0;
	OK(imp_view_open(i, &v, &err));
	OK(imp_view_images(v, count, &n, &err));
	imp_view_close(v);
	imp_close(i, false);
	return n;
}

/* The same bytes under another document: what `change` makes of it. */
static void lie(struct setup *s, void (*change)(struct bundle_doc *d))
{
	K3_AUTO_FREE uint8_t *piece = k3_xcalloc(1, 4096);
	struct bundle_writer *w = NULL;
	struct bundle_doc d = { 0 };
	struct bundle *b = NULL;
	struct oci_digest digest;
	char other[320];

	snprintf(other, sizeof(other), "%s.lie", s->file);
	K3_AUTO_FD int fd = open(other, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	OK(bundle_open(&(struct bundle_opts){ .path = s->file }, &b, &err));
	const struct bundle_doc *old = bundle_doc(b);

	d.platform = old->platform;
	for (size_t i = 0; i < old->nimages; i++)
		bundle_add_image(&d, &old->images[i].ref, &old->images[i].target);
	for (size_t i = 0; i < old->n; i++)
		bundle_add_member(&d, old->members[i].kind, &old->members[i].digest,
				  old->members[i].size);
	change(&d);
	OK(bundle_writer_new(fd, "lie", &d, &w, &digest, &err));
	for (size_t i = 0; i < d.n; i++)
		for (uint64_t off = 0; off < d.members[i].size;) {
			size_t got = 1;
			bool known = i < old->n && off < old->members[i].size;

			if (known)
				OK(bundle_read(b, i, off, piece, 4096, &got, &err));
			if (got > d.members[i].size - off)
				got = (size_t)(d.members[i].size - off);
			OK(bundle_writer_data(w, piece, got, &err));
			off += got;
		}
	OK(bundle_writer_end(w, &err));
	bundle_writer_free(w);
	bundle_free(b);
	bundle_doc_release(&d);
	OK(rename(other, s->file));
}

static void change_nothing(struct bundle_doc *d)
{
	(void)d;
}

static void change_order(struct bundle_doc *d)
{
	struct bundle_member last = d->members[d->n - 1];

	d->members[d->n - 1] = d->members[d->n - 2];
	d->members[d->n - 2] = last;
}

static void drop_last(struct bundle_doc *d)
{
	d->n--;
}

static void add_one(struct bundle_doc *d)
{
	struct oci_digest digest;

	oci_digest_of(K3_SHA256, "x", 1, &digest);
	bundle_add_member(d, BUNDLE_TAR, &digest, 1);
}

static void change_image(struct bundle_doc *d)
{
	oci_digest_of(K3_SHA256, "x", 1, &d->images[1].target.digest);
}

static void change_size(struct bundle_doc *d)
{
	d->members[d->n - 1].size += 1;
}

static void refused(void (*change)(struct bundle_doc *d), enum k3_code code)
{
	struct setup s;

	start(&s);
	create(&s);
	lie(&s, change);
	FAILS(apply(&s), code);
	EQ_INT(records(&s), 0);
	stop(&s);
}

TEST(bundle_is_applied)
{
	struct setup s;

	start(&s);
	create(&s);
	lie(&s, change_nothing);
	OK(apply(&s));
	EQ_INT(records(&s) >= 2, true);
	OK(apply(&s));
	stop(&s);
}

TEST(bundle_with_other_members_is_refused)
{
	refused(change_order, K3_FORMAT);
	refused(drop_last, K3_FORMAT);
	refused(add_one, K3_FORMAT);
	refused(change_size, K3_FORMAT);
}

TEST(bundle_without_its_image_is_refused)
{
	refused(change_image, K3_NOTFOUND);
}

UNIT_MAIN
