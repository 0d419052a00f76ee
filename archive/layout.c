/* SPDX-License-Identifier: Apache-2.0 */
/* The directory: OCI image-spec 1.1, image-layout.md. */
#include "archive/layout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#define MARKER "oci-layout"
#define MARKER_MAX 4096u
#define INDEX "index.json"

const char layout_marker[] = "{\"imageLayoutVersion\": \"1.0.0\"}\n";

void layout_blob_name(const struct oci_digest *d, char out[LAYOUT_NAME_MAX])
{
	int n = snprintf(out, LAYOUT_NAME_MAX, "blobs/%s/", oci_alg_name(d->alg));

	k3_hex(d->hash, k3_hash_len(d->alg), out + n);
}

int layout_write_file(struct layout *l, const char *name, const void *p, size_t n, struct k3_err *e)
{
	K3_AUTO_FREE char *aside = k3_xasprintf(LAYOUT_ASIDE "/%s.new", name);
	K3_AUTO_FD int fd = openat(l->dir, aside,
				   O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd < 0)
		return k3_fail_sys(e, errno, "cannot make %s/%s", l->path, aside);
	if (k3_write_all(fd, p, n, name, e) || k3_fsync(fd, name, e) || k3_close(&fd, name, e))
		return k3_wrap(e, "%s", l->path);
	if (renameat(l->dir, aside, l->dir, name))
		return k3_fail_sys(e, errno, "cannot rename %s/%s", l->path, aside);
	return k3_fsync(l->dir, l->path, e);
}

/* ---- opening ------------------------------------------------------------------------------- */

static int check_marker(const struct layout *l, const struct k3_buf *raw, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;

	if (k3_json_parse(raw->p, raw->len, &doc, e))
		return k3_wrap(e, "%s/" MARKER, l->path);
	const char *version = k3_json_str(k3_json_get(k3_json_root(doc), "imageLayoutVersion"));

	if (!version)
		return k3_fail(e, K3_FORMAT, "%s/" MARKER ": imageLayoutVersion is missing",
			       l->path);
	if (strncmp(version, "1.", 2) != 0)
		return k3_fail(e, K3_UNSUPPORTED, "%s: image layout version %s is not supported",
			       l->path, version);
	return 0;
}

static int check_empty(const struct layout *l, struct k3_err *e)
{
	int fd = openat(l->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	bool empty = true;

	if (!d) {
		k3_fail_sys(e, errno, "cannot read directory %s", l->path);
		k3_closep(&fd);
		return -1;
	}
	for (struct dirent *ent; (ent = readdir(d));)
		empty = empty && (!strcmp(ent->d_name, ".") || !strcmp(ent->d_name, "..") ||
				  !strcmp(ent->d_name, LAYOUT_ASIDE));
	closedir(d);
	if (empty)
		return 0;
	k3_fail(e, K3_USAGE, "%s is not empty, and no image layout", l->path);
	return k3_hint(e, "name a new directory, or one that has an oci-layout file");
}

static int make_dir(const struct layout *l, const char *name, struct k3_err *e)
{
	K3_AUTO_FD int fd = -1;

	return k3_make_dir(l->dir, name, 0755, &fd, e) ? k3_wrap(e, "%s", l->path) : 0;
}

/* The marker comes last: a directory that has it has the others. */
static int prepare(struct layout *l, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf marker = K3_BUF(MARKER_MAX);

	if (!k3_read_file(l->dir, MARKER, &marker, e)) {
		if (check_marker(l, &marker, e))
			return -1;
	} else if (e->code != K3_NOTFOUND) {
		return k3_wrap(e, "%s", l->path);
	} else if (check_empty(l, e)) {
		return -1;
	} else {
		l->made = true;
	}
	if (make_dir(l, LAYOUT_ASIDE, e) || make_dir(l, "blobs", e) ||
	    make_dir(l, "blobs/sha256", e))
		return -1;
	return l->made ? layout_write_file(l, MARKER, layout_marker, strlen(layout_marker), e) : 0;
}

int layout_open(const char *path, struct layout **out, struct k3_err *e)
{
	__attribute__((cleanup(layout_closep))) struct layout *l = k3_xcalloc(1, sizeof(*l));

	l->dir = -1;
	l->path = k3_xstrdup(path);
	if (mkdir(path, 0755) && errno != EEXIST) {
		bool no_parent = errno == ENOENT;

		k3_fail_sys(e, errno, "cannot make directory %s", path);
		return no_parent ? k3_hint(e, "make the directory that it lies in first") : -1;
	}
	if (k3_open_dir(AT_FDCWD, path, &l->dir, e))
		return -1;
	if (flock(l->dir, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK)
			return k3_fail_sys(e, errno, "cannot lock %s", path);
		k3_fail(e, K3_BUSY, "another program writes to %s", path);
		return k3_hint(e, "wait until it has ended, or name another place");
	}
	if (prepare(l, e))
		return -1;
	*out = K3_STEAL(l);
	return 0;
}

/* What is empty goes: directories of blobs, and a layout that has never had an image. */
static void tidy(const struct layout *l)
{
	unlinkat(l->dir, LAYOUT_ASIDE, AT_REMOVEDIR);
	unlinkat(l->dir, "blobs/sha512", AT_REMOVEDIR);
	if (!l->made || !faccessat(l->dir, INDEX, F_OK, 0))
		return;
	unlinkat(l->dir, "blobs/sha256", AT_REMOVEDIR);
	if (!unlinkat(l->dir, "blobs", AT_REMOVEDIR) && faccessat(l->dir, LAYOUT_ASIDE, F_OK, 0)) {
		unlinkat(l->dir, MARKER, 0);
		rmdir(l->path);
	}
}

void layout_close(struct layout *l)
{
	if (!l)
		return;
	if (l->dir >= 0)
		tidy(l);
	k3_closep(&l->dir);
	free(l->path);
	free(l);
}

void layout_closep(struct layout **l)
{
	layout_close(*l);
	*l = NULL;
}

int layout_discard(struct layout *l, struct k3_err *e)
{
	K3_AUTO_FREE char *path = k3_xstrdup(l->path);

	l->made = false;
	layout_close(l);
	return k3_remove_tree(AT_FDCWD, path, e);
}

/* ---- what is there ------------------------------------------------------------------------- */

int layout_open_blob(struct layout *l, const struct oci_desc *d, int *fd, struct k3_err *e)
{
	char name[LAYOUT_NAME_MAX];
	struct stat st;

	layout_blob_name(&d->digest, name);
	/* O_NONBLOCK: who knows what else lies there */
	K3_AUTO_FD int got = openat(l->dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (got < 0 && errno == ENOENT)
		return k3_fail(e, K3_NOTFOUND, "%s/%s does not exist", l->path, name);
	if (got < 0 || fstat(got, &st))
		return k3_fail_sys(e, errno, "cannot open %s/%s", l->path, name);
	if (!S_ISREG(st.st_mode) || (d->size && (uint64_t)st.st_size != d->size))
		return k3_fail(e, K3_NOTFOUND, "%s/%s is another file", l->path, name);
	*fd = k3_steal_fd(&got);
	return 0;
}

int layout_read(struct layout *l, const struct oci_desc *want, struct k3_buf *raw, struct k3_err *e)
{
	char name[LAYOUT_NAME_MAX];
	struct oci_digest got;
	K3_AUTO_FD int fd = -1;

	if (layout_open_blob(l, want, &fd, e))
		return -1;
	layout_blob_name(&want->digest, name);
	if (k3_read_file(l->dir, name, raw, e))
		return k3_wrap(e, "%s", l->path);
	oci_digest_of(want->digest.alg, raw->p, raw->len, &got);
	if (!oci_digest_eq(&got, &want->digest))
		return k3_fail(e, K3_DIGEST, "%s/%s has other bytes than its name says", l->path,
			       name);
	return 0;
}

/* ---- the index ----------------------------------------------------------------------------- */

int layout_commit(struct layout *l, const struct layout_image *images, size_t n, bool *changed,
		  struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf old = K3_BUF(OCI_DOCUMENT_MAX);
	K3_AUTO_BUF struct k3_buf index = K3_BUF(OCI_DOCUMENT_MAX);

	if (k3_read_file(l->dir, INDEX, &old, e) && e->code != K3_NOTFOUND)
		return k3_wrap(e, "%s", l->path);
	if (layout_index(&old, images, n, &index, e))
		return k3_wrap(e, "%s/" INDEX, l->path);
	*changed = old.len != index.len || memcmp(old.p, index.p, old.len) != 0;
	if (!*changed)
		return 0;
	return k3_syncfs(l->dir, l->path, e) || layout_write_file(l, INDEX, index.p, index.len, e)
		       ? -1
		       : 0;
}
