/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/losses.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "importer/native.h"
#include "importer/view.h"

#define SCHEMA 1u
#define DIR_PATH IMP_STAGE_DIR "/" IMP_LOSSES
#define NEW_NAME "new" /* a file on its way; the run lock lets only one be */
#define END ".json"
#define FIELDS 4u /* strings of one loss: kind, path, what, why */
/* Text of the losses of one tree; an image may have one for each of its files. */
#define TEXT_MAX (4u << 20)
/* A file: a byte of that text may take six, and each field is a line. */
#define FILE_MAX (8 * TEXT_MAX)
/* Losses that are kept; more are counted.  Reading them back stays below K3_JSON_VALUES_MAX. */
#define KEPT_MAX 20000u

/* ---- in memory ----------------------------------------------------------------------- */

void imp_losses_init(struct imp_losses *l)
{
	*l = (struct imp_losses){ .text = K3_BUF(TEXT_MAX) };
}

void imp_losses_release(struct imp_losses *l)
{
	k3_buf_release(&l->text);
	l->total = l->kept = 0;
}

static void add(struct imp_losses *l, const char *const fields[FIELDS])
{
	size_t before = l->text.len;
	struct k3_err full;

	l->total++;
	if (l->kept == KEPT_MAX)
		return;
	for (size_t k = 0; k < FIELDS; k++)
		if (k3_buf_add(&l->text, fields[k], strlen(fields[k]) + 1, &full)) {
			l->text.len = before;
			return;
		}
	l->kept++;
}

void imp_tree_lost(struct imp_tree *t, const struct imp_loss *loss)
{
	const char *const fields[FIELDS] = { loss->kind, loss->path, loss->what, loss->why };

	add(&t->losses, fields);
}

/* Calls fn for each loss that is kept. */
static int each(const struct imp_losses *l, imp_loss_fn *fn, void *arg, struct k3_err *e)
{
	const char *p = (const char *)l->text.p;

	for (uint64_t n = 0; n < l->kept; n++) {
		const char *fields[FIELDS];

		for (size_t k = 0; k < FIELDS; k++) {
			fields[k] = p;
			p += strlen(p) + 1;
		}
		const struct imp_loss loss = { fields[0], fields[1], fields[2], fields[3] };

		if (fn(arg, &loss, e))
			return -1;
	}
	return 0;
}

static int take(void *arg, const struct imp_loss *loss, struct k3_err *e)
{
	const char *const fields[FIELDS] = { loss->kind, loss->path, loss->what, loss->why };

	(void)e;
	add(arg, fields);
	return 0;
}

void imp_losses_inherit(struct imp_losses *l, const struct imp_losses *from)
{
	struct k3_err never;

	(void)!each(from, take, l, &never);
	l->total += from->total - from->kept;
}

/* ---- files --------------------------------------------------------------------------- */

static int format(const struct imp_tree *t, struct k3_buf *out, struct k3_err *e)
{
	const char *p = (const char *)t->losses.text.p;
	struct k3_jw w = K3_JW(out);
	char chain[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(&t->chain, chain);
	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", SCHEMA);
	k3_jw_u64(&w, "snapshot", t->id);
	k3_jw_str(&w, "chainID", chain);
	k3_jw_u64(&w, "total", t->losses.total);
	k3_jw_arr(&w, "kindPathWhatWhy");
	for (uint64_t n = 0; n < t->losses.kept * FIELDS; n++) {
		k3_jw_str(&w, NULL, p);
		p += strlen(p) + 1;
	}
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	return k3_jw_end(&w, e);
}

int imp_losses_parse(const void *text, size_t n, uint64_t id, const char *chain,
		     struct imp_losses *out, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	uint64_t schema, snapshot, total;

	if (k3_json_parse(text, n, &doc, e))
		return -1;
	const struct k3_json *top = k3_json_root(doc);
	const struct k3_json *list = k3_json_get(top, "kindPathWhatWhy");
	const char *of = k3_json_str(k3_json_get(top, "chainID"));

	if (!k3_json_u64(k3_json_get(top, "schemaVersion"), &schema) || schema != SCHEMA ||
	    !k3_json_u64(k3_json_get(top, "snapshot"), &snapshot) || !of ||
	    !k3_json_u64(k3_json_get(top, "total"), &total) || k3_json_len(list) % FIELDS ||
	    k3_json_len(list) / FIELDS > total)
		return k3_fail(e, K3_FORMAT, "is not a list of losses as this k3simg keeps them");
	if (snapshot != id || strcmp(of, chain) != 0)
		return k3_fail(e, K3_FORMAT, "is of another snapshot");
	for (size_t k = 0; k < k3_json_len(list); k += FIELDS) {
		const char *fields[FIELDS];

		for (size_t f = 0; f < FIELDS; f++) {
			fields[f] = k3_json_str(k3_json_at(list, k + f));
			if (!fields[f])
				return k3_fail(e, K3_FORMAT, "a loss is no text");
		}
		add(out, fields);
	}
	out->total = total;
	return 0;
}

/* K3_NOTFOUND when nothing was lost, or nobody has written it down. */
static int load(struct imp *i, uint64_t id, const struct oci_digest *chain, struct imp_losses *out,
		struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(FILE_MAX);
	char path[64], of[OCI_DIGEST_TEXT_MAX];

	snprintf(path, sizeof(path), DIR_PATH "/%" PRIu64 END, id);
	oci_digest_format(chain, of);
	if (k3_read_file(i->rootfd, path, &text, e))
		return -1;
	if (!imp_losses_parse(text.p, text.len, id, of, out, e))
		return 0;
	return k3_wrap(e, "%s/%s", i->root, path);
}

void imp_losses_recall(struct imp *i, uint64_t id, const struct oci_digest *chain,
		       struct imp_losses *l)
{
	struct imp_losses found;
	struct k3_err why;

	imp_losses_init(&found);
	if (!load(i, id, chain, &found, &why))
		imp_losses_inherit(l, &found);
	imp_losses_release(&found);
}

static int keep_one(const struct imp *i, int dir, const struct imp_tree *t, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(FILE_MAX);
	K3_AUTO_FD int fd = -1;
	char name[40];

	snprintf(name, sizeof(name), "%" PRIu64 END, t->id);
	if (format(t, &text, e))
		return -1;
	fd = openat(dir, NEW_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return k3_fail_sys(e, errno, "cannot make " DIR_PATH "/" NEW_NAME);
	if (k3_write_all(fd, text.p, text.len, DIR_PATH, e) ||
	    (!i->no_sync && k3_fsync(fd, DIR_PATH, e)) || k3_close(&fd, DIR_PATH, e))
		return -1;
	if (renameat(dir, NEW_NAME, dir, name))
		return k3_fail_sys(e, errno, "cannot place " DIR_PATH "/%s", name);
	return 0;
}

int imp_losses_keep(struct imp *i, struct imp_tree *const *trees, size_t n, struct k3_err *e)
{
	K3_AUTO_FD int dir = -1;

	for (size_t k = 0; k < n; k++) {
		if (!trees[k]->published || !trees[k]->losses.total)
			continue;
		if ((dir < 0 && k3_make_dir(i->stagefd, IMP_LOSSES, 0700, &dir, e)) ||
		    keep_one(i, dir, trees[k], e))
			return k3_wrap(e, "what the file system refused");
	}
	return dir < 0 || i->no_sync ? 0 : k3_fsync(dir, DIR_PATH, e);
}

/* ---- looking, sweeping --------------------------------------------------------------- */

int imp_view_losses(struct imp_view *v, const struct oci_digest *chain, imp_loss_fn *fn, void *arg,
		    uint64_t *total, struct k3_err *e)
{
	struct imp_losses l;
	struct k3_err why = { 0 };
	uint64_t id;
	bool have;

	*total = 0;
	if (imp_view_chain(v, chain, &id, &have, e))
		return -1;
	if (!have)
		return 0;
	imp_losses_init(&l);
	int rc = load(v->i, id, chain, &l, &why);

	if (!rc) {
		*total = l.total;
		rc = fn ? each(&l, fn, arg, e) : 0;
	} else if (why.code == K3_NOTFOUND) {
		rc = 0;
	} else {
		*e = why;
	}
	imp_losses_release(&l);
	return rc;
}

struct kept {
	uint64_t id;
	bool alive;
};

static int by_id(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

/* The numbers that have a file, sorted. */
static struct kept *list(struct imp *i, int *dir, size_t *n)
{
	size_t cap = 0;
	struct kept *v = NULL;
	struct dirent *ent;
	int fd = openat(i->rootfd, DIR_PATH, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	*n = 0;
	*dir = -1;
	if (!d) {
		k3_closep(&fd);
		return NULL;
	}
	while ((ent = readdir(d))) {
		char *end;
		uint64_t id = strtoull(ent->d_name, &end, 10);

		if (!id || strcmp(end, END) != 0)
			continue;
		v = k3_xgrow(v, *n, &cap, sizeof(*v));
		v[(*n)++] = (struct kept){ .id = id };
	}
	*dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	closedir(d);
	if (v)
		qsort(v, *n, sizeof(*v), by_id);
	return v;
}

static int mark(struct imp_view *v, struct kept *files, size_t n, struct k3_err *e)
{
	struct bolt_iter it = { 0 };
	struct bolt_item item;
	bool more = true, found;
	int kind;

	while (v->backend) {
		struct kept key, *file;

		if (bolt_next(v->backend, &it, &item, &more, e))
			return -1;
		if (!more)
			break;
		if (!item.is_bucket)
			continue;
		if (imp_native_find(v->backend, item.key, &key.id, &kind, &found, e))
			return -1;
		file = found ? bsearch(&key, files, n, sizeof(*files), by_id) : NULL;
		if (file)
			file->alive = true;
	}
	return 0;
}

void imp_view_sweep_losses(struct imp_view *v)
{
	K3_AUTO_FD int dir = -1;
	struct k3_err why;
	size_t n;
	K3_AUTO_FREE struct kept *files = list(v->i, &dir, &n);

	if (!files || dir < 0 || mark(v, files, n, &why))
		return;
	for (size_t k = 0; k < n; k++) {
		char name[40];

		snprintf(name, sizeof(name), "%" PRIu64 END, files[k].id);
		if (!files[k].alive)
			unlinkat(dir, name, 0);
	}
	unlinkat(dir, NEW_NAME, 0);
	/* Goes when it is empty. */
	unlinkat(v->i->rootfd, DIR_PATH, AT_REMOVEDIR);
}
