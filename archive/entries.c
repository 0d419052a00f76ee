/* SPDX-License-Identifier: Apache-2.0 */
#include "archive/entries.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsroot.h"
#include "base/mem.h"

/* Headers are what is read here, and between two of them is a blob. */
#define PIECE 4096u

/* ---- the file as a source that can skip --------------------------------------------- */

struct headers {
	int fd;
	uint64_t at, size;
	uint8_t piece[PIECE];
};

static int next_piece(void *arg, const uint8_t **p, size_t *n, struct k3_err *e)
{
	struct headers *h = arg;
	ssize_t got = pread(h->fd, h->piece, PIECE, (off_t)h->at);

	if (got < 0)
		return k3_fail_sys(e, errno, "cannot read the archive");
	h->at += (uint64_t)got;
	*p = h->piece;
	*n = (size_t)got;
	return 0;
}

static int skip(void *arg, uint64_t n, uint64_t *done, struct k3_err *e)
{
	struct headers *h = arg;
	uint64_t left = h->at < h->size ? h->size - h->at : 0;

	(void)e;
	*done = n < left ? n : left;
	h->at += *done;
	return 0;
}

/* ---- names -------------------------------------------------------------------------- */

/* Nothing refers to a name that is absolute or leads up: such entries are not looked at. */
static bool leads_out(const char *name)
{
	if (*name == '/')
		return true;
	for (; *name; name += strspn(name, "/")) {
		size_t n = strcspn(name, "/");

		if (n == 2 && name[0] == '.' && name[1] == '.')
			return true;
		name += n;
	}
	return false;
}

static int clean(const char *path, char **out, struct k3_err *e)
{
	/* A link's target is joined to the name of its entry. */
	K3_AUTO_BUF struct k3_buf b = K3_BUF(2 * unpack_limits_default.path_bytes + 2);

	if (k3_path_clean(path, &b, e))
		return -1;
	*out = k3_xstrdup(b.p ? (const char *)b.p : "");
	return 0;
}

/* As path.Join(path.Dir(name), link): docker's "../<id>/layer.tar" leads to a neighbour. */
static int alias_of(const struct unpack_entry *t, const char *name, char **out, struct k3_err *e)
{
	const char *slash = t->type == UNPACK_SYMLINK ? strrchr(name, '/') : NULL;
	K3_AUTO_FREE char *joined = slash ? k3_xasprintf("%.*s/%s", (int)(slash - name), name,
							 t->link)
					  : k3_xstrdup(t->link);

	return clean(joined, out, e);
}

static int add(struct entries *es, const struct unpack_entry *t, struct k3_err *e)
{
	K3_AUTO_FREE char *name = NULL, *alias = NULL;
	bool link = t->type == UNPACK_LINK || t->type == UNPACK_SYMLINK;

	if ((t->type != UNPACK_FILE && !link) || leads_out(t->name))
		return 0;
	if (clean(t->name, &name, e) || (link && alias_of(t, name, &alias, e)))
		return -1;
	es->name_bytes += strlen(name) + (alias ? strlen(alias) : 0);
	if (es->n == ARCHIVE_ENTRIES_MAX)
		return k3_fail(e, K3_LIMIT, "more than %u entries", ARCHIVE_ENTRIES_MAX);
	if (es->name_bytes > ARCHIVE_NAMES_MAX)
		return k3_fail(e, K3_LIMIT, "names of more than %u bytes in all",
			       ARCHIVE_NAMES_MAX);
	es->v = k3_xgrow(es->v, es->n, &es->cap, sizeof(*es->v));
	es->v[es->n] = (struct entry){
		.name = K3_STEAL(name),
		.alias = K3_STEAL(alias),
		.at = t->at,
		.size = t->size,
		.sparse = t->sparse,
		.order = es->n,
	};
	es->n++;
	return 0;
}

static int by_name(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;
	int c = strcmp(a->name, b->name);

	return c ? c : (a->order > b->order) - (a->order < b->order);
}

/* ---- reading ------------------------------------------------------------------------ */

int entries_read(int fd, const char *what, const struct unpack_limits *lim,
		 struct k3_cancel *cancel, struct entries *out, struct k3_err *e)
{
	__attribute__((cleanup(unpack_reader_freep))) struct unpack_reader *r = NULL;
	K3_AUTO_FREE struct headers *h = k3_xcalloc(1, sizeof(*h));
	struct unpack_entry t;
	struct stat st;
	bool end, any = false;

	if (fstat(fd, &st))
		return k3_fail_sys(e, errno, "%s: cannot look at it", what);
	h->fd = fd;
	h->size = (uint64_t)st.st_size;
	r = unpack_reader_new((struct unpack_src){ next_piece, h }, skip, lim);
	for (;; any = true) {
		if (k3_cancel_check(cancel, e))
			return -1;
		if (unpack_reader_next(r, &t, &end, e))
			return k3_wrap(e, any ? "%s" : "%s: no tar archive", what);
		if (end)
			break;
		if (add(out, &t, e))
			return k3_wrap(e, "%s", what);
	}
	if (!any)
		return k3_fail(e, K3_FORMAT, "%s: no tar archive: %s", what,
			       h->size ? "it has no entry" : "it is empty");
	if (out->n)
		qsort(out->v, out->n, sizeof(*out->v), by_name);
	return 0;
}

void entries_release(struct entries *es)
{
	for (size_t i = 0; i < es->n; i++) {
		free(es->v[i].name);
		free(es->v[i].alias);
		free(es->v[i].hashed);
	}
	free(es->v);
	*es = (struct entries){ 0 };
}

static struct entry *find_one(const struct entries *es, const char *name)
{
	size_t low = 0, high = es->n;

	/* The first one behind all of this name: the one before it is the last of them. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(es->v[mid].name, name) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low && !strcmp(es->v[low - 1].name, name) ? &es->v[low - 1] : NULL;
}

struct entry *entries_find(const struct entries *es, const char *name)
{
	struct entry *en = find_one(es, name);

	for (unsigned i = 0; en && en->alias; i++)
		en = i < ARCHIVE_LINKS_MAX ? find_one(es, en->alias) : NULL;
	return en;
}
