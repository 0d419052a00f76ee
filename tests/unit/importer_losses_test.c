/* SPDX-License-Identifier: Apache-2.0 */
/* Losses of trees, remembered beside the store. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "importer/losses.h"
#include "tests/unit/unit.h"

#define CHAIN "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"

static struct k3_err err;

static void parse(const char *text, int code, uint64_t total, uint64_t kept)
{
	struct imp_losses l;

	imp_losses_init(&l);
	err = (struct k3_err){ 0 };
	EQ_INT(imp_losses_parse(text, strlen(text), 7, CHAIN, &l, &err), code ? -1 : 0);
	EQ_INT(err.code, code);
	if (!code) {
		EQ_INT(l.total, total);
		EQ_INT(l.kept, kept);
	}
	imp_losses_release(&l);
}

#define HEAD "{\"schemaVersion\":1,\"snapshot\":7,\"chainID\":\"" CHAIN "\","

TEST(files_are_not_believed)
{
	parse(HEAD "\"total\":1,\"kindPathWhatWhy\":[\"a\",\"b\",\"c\",\"d\"]}", 0, 1, 1);
	parse(HEAD "\"total\":5,\"kindPathWhatWhy\":[\"a\",\"b\",\"c\",\"d\"]}", 0, 5, 1);
	parse(HEAD "\"total\":0,\"kindPathWhatWhy\":[]}", 0, 0, 0);
	parse("", K3_FORMAT, 0, 0);
	parse("[]", K3_FORMAT, 0, 0);
	parse(HEAD "\"total\":0,\"kindPathWhatWhy\":[\"a\",\"b\",\"c\",\"d\"]}", K3_FORMAT, 0, 0);
	parse(HEAD "\"total\":9,\"kindPathWhatWhy\":[\"a\",\"b\",\"c\"]}", K3_FORMAT, 0, 0);
	parse(HEAD "\"total\":9,\"kindPathWhatWhy\":[\"a\",\"b\",\"c\",4]}", K3_FORMAT, 0, 0);
	parse("{\"schemaVersion\":2,\"snapshot\":7,\"chainID\":\"" CHAIN
	      "\",\"total\":0,\"kindPathWhatWhy\":[]}",
	      K3_FORMAT, 0, 0);
	/* Another snapshot's: the number came again. */
	parse("{\"schemaVersion\":1,\"snapshot\":8,\"chainID\":\"" CHAIN
	      "\",\"total\":0,\"kindPathWhatWhy\":[]}",
	      K3_FORMAT, 0, 0);
	parse("{\"schemaVersion\":1,\"snapshot\":7,\"chainID\":\"sha256:00\",\"total\":0,"
	      "\"kindPathWhatWhy\":[]}",
	      K3_FORMAT, 0, 0);
}

static struct imp_tree *begin(struct imp *i, unsigned n, const struct imp_tree_from *from)
{
	struct oci_digest chain;
	struct imp_tree *t = NULL;

	oci_digest_of(K3_SHA256, &n, sizeof(n), &chain);
	OK(imp_tree_begin(i, &chain, from, NULL, &t, &err));
	if (!t)
		abort();
	return t;
}

static void lose(struct imp_tree *t, const char *path)
{
	imp_tree_lost(t, &(struct imp_loss){ "xattr", path, "user.\n\xff", "no such luck" });
}

/* As imp_commit does it, without the records. */
static void publish(struct imp *i, struct imp_tree *t, uint64_t id)
{
	OK(imp_tree_seal(t, &err));
	t->id = id;
	t->published = true;
	OK(imp_losses_keep(i, &t, 1, &err));
}

TEST(a_tree_has_the_losses_of_what_it_was_cloned_from)
{
	struct imp_opts opts = { .root = unit_tmpdir(), .ns = "k8s.io", .write = true };
	struct imp_tree_from from = { 0 };
	struct imp_losses back;
	struct imp *i;

	OK(imp_open(&opts, &i, &err));
	struct imp_tree *a = begin(i, 1, NULL), *none = begin(i, 2, NULL);

	lose(a, "etc/one");
	publish(i, a, 11);
	publish(i, none, 12);
	EQ_INT(faccessat(i->rootfd, ".k3simg/losses/11.json", F_OK, 0), 0);
	/* Nothing is written down where nothing was lost, and nothing is left aside. */
	EQ_INT(faccessat(i->rootfd, ".k3simg/losses/12.json", F_OK, 0), -1);
	EQ_INT(faccessat(i->rootfd, ".k3simg/losses/new", F_OK, 0), -1);
	from.parent = a;
	struct imp_tree *b = begin(i, 3, &from);

	lose(b, "etc/two");
	EQ_INT(b->losses.total, 2);
	publish(i, b, 13);
	imp_losses_init(&back);
	imp_losses_recall(i, 13, &b->chain, &back);
	EQ_INT(back.total, 2);
	EQ_INT(back.kept, 2);
	EQ_STR((const char *)back.text.p, "xattr");
	EQ_STR((const char *)back.text.p + 6, "etc/one");
	/* Bytes that are no text do not come back as they were. */
	EQ_STR((const char *)back.text.p + 14, "user.\n\xef\xbf\xbd");
	/* The number under another chain is another snapshot's. */
	imp_losses_release(&back);
	imp_losses_recall(i, 13, &a->chain, &back);
	EQ_INT(back.total, 0);
	imp_losses_release(&back);
	/* a and b were never placed: their directories are gone with the run. */
	a->published = b->published = none->published = false;
	imp_close(i, false);
}

TEST(what_is_too_much_is_counted)
{
	struct imp_opts opts = { .root = unit_tmpdir(), .ns = "k8s.io", .write = true };
	struct imp_losses back;
	struct imp *i;
	char path[32];

	OK(imp_open(&opts, &i, &err));
	struct imp_tree *a = begin(i, 1, NULL);

	for (int k = 0; k < 25000; k++) {
		snprintf(path, sizeof(path), "file-%d", k);
		lose(a, path);
	}
	EQ_INT(a->losses.total, 25000);
	publish(i, a, 21);
	imp_losses_init(&back);
	imp_losses_recall(i, 21, &a->chain, &back);
	EQ_INT(back.total, 25000);
	EQ_INT(back.kept, 20000);
	imp_losses_release(&back);
	a->published = false;
	imp_close(i, false);
}

TEST(sweeping_removes_what_has_no_snapshot)
{
	struct imp_opts opts = { .root = unit_tmpdir(), .ns = "k8s.io", .write = true };
	struct imp_view *v;
	struct imp *i;

	OK(imp_open(&opts, &i, &err));
	struct imp_tree *a = begin(i, 1, NULL);

	lose(a, "gone");
	publish(i, a, 31);
	OK(imp_view_open(i, &v, &err));
	imp_view_sweep_losses(v);
	imp_view_close(v);
	EQ_INT(faccessat(i->rootfd, ".k3simg/losses", F_OK, 0), -1);
	a->published = false;
	imp_close(i, false);
}

UNIT_MAIN
