/* SPDX-License-Identifier: Apache-2.0 */
#include "archive/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "archive/spool.h"
#include "archive/state.h"
#include "base/json.h"
#include "base/mem.h"

#define LAYOUT_VERSION "1.0.0" /* image-spec image-layout.md; there is no other */

int archive_add_image(struct archive *a, const char *name, const char *tag,
		      const struct archive_image *im, struct k3_err *e)
{
	if (a->nimages == ARCHIVE_IMAGES_MAX)
		return k3_fail(e, K3_LIMIT, "%s: more than %u images", a->what, ARCHIVE_IMAGES_MAX);
	a->images = k3_xgrow(a->images, a->nimages, &a->cap_images, sizeof(*a->images));
	a->images[a->nimages] = *im;
	a->images[a->nimages].name = name ? k3_xstrdup(name) : NULL;
	a->images[a->nimages].tag = tag ? k3_xstrdup(tag) : NULL;
	a->nimages++;
	return 0;
}

/* *is: the archive says that it is an OCI layout, of the version there is. */
static int read_layout(struct archive *a, bool *is, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(OCI_DOCUMENT_MAX);
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	AUTO_SPAN struct span s = { 0 };
	const char *version;

	if (span_find(a, "oci-layout", is, &s, e))
		return -1;
	if (!*is)
		return 0;
	if (span_text(a, &s, &text, e))
		return -1;
	if (k3_json_parse(text.p, text.len, &doc, e))
		return k3_wrap(e, "%s: oci-layout", a->what);
	version = k3_json_str(k3_json_get(k3_json_root(doc), "imageLayoutVersion"));
	if (!version)
		return k3_fail(e, K3_FORMAT, "%s: oci-layout says no imageLayoutVersion", a->what);
	if (strcmp(version, LAYOUT_VERSION) != 0)
		return k3_fail(e, K3_UNSUPPORTED,
			       "%s: OCI layout of version \"%.32s\"; %s is known", a->what, version,
			       LAYOUT_VERSION);
	return 0;
}

static int no_layout(const struct archive *a, struct k3_err *e)
{
	if (a->kind == ARCHIVE_OCI_DIR) {
		k3_fail(e, K3_FORMAT, "%s: no OCI layout: it has no oci-layout", a->what);
		return -1;
	}
	k3_fail(e, K3_FORMAT, "%s: no OCI archive: it has no oci-layout", a->what);
	if (entries_find(&a->entries, "manifest.json"))
		return k3_hint(e, "it has a manifest.json: try docker-archive:%s", a->what);
	return k3_hint(e, "it is a tar of something else, or was cut short");
}

static int no_docker(const struct archive *a, struct k3_err *e)
{
	k3_fail(e, K3_FORMAT, "%s: no docker archive: it has no manifest.json", a->what);
	if (entries_find(&a->entries, "repositories"))
		return k3_hint(e, "it was made by a docker before 1.10, or was cut short");
	return k3_hint(e, "it is a tar of something else, or was cut short");
}

static int read_images(struct archive *a, struct k3_err *e)
{
	bool layout;

	if (read_layout(a, &layout, e))
		return -1;
	/* containerd prefers the layout where there are both, and so keeps the digests. */
	a->docker = !layout && a->kind == ARCHIVE_DOCKER_TAR;
	if (!layout && !a->docker)
		return no_layout(a, e);
	if (a->docker && !entries_find(&a->entries, "manifest.json"))
		return no_docker(a, e);
	if (a->docker ? docker_read(a, e) : index_read(a, e))
		return -1;
	if (a->nimages)
		return 0;
	return k3_fail(e, K3_NOTFOUND, "%s: there is no image in it: %s is empty", a->what,
		       a->docker ? "manifest.json" : "index.json");
}

static int open_dir(struct archive *a, const char *path, struct k3_err *e)
{
	a->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a->fd >= 0)
		return 0;
	if (errno == ENOENT)
		return k3_fail(e, K3_NOTFOUND, "%s: no such directory", a->what);
	int why = errno;

	k3_fail_sys(e, why, "%s: cannot open it", a->what);
	return why == ENOTDIR ? k3_hint(e, "a layout in a tar is called oci-archive:FILE") : -1;
}

static int read_all(struct archive *a, const struct archive_opts *o, struct k3_err *e)
{
	if (o->kind == ARCHIVE_OCI_DIR)
		return open_dir(a, o->path, e) || read_images(a, e) ? -1 : 0;
	if (spool_open(o, a->what, &a->fd, e) ||
	    entries_read(a->fd, a->what, &o->limits, o->cancel, &a->entries, e) ||
	    read_images(a, e))
		return e->code == K3_FORMAT && strstr(e->msg, "truncated")
			       ? k3_hint(e, ARCHIVE_HINT_DAMAGED)
			       : -1;
	return 0;
}

int archive_open(const struct archive_opts *o, struct archive **out, struct k3_err *e)
{
	__attribute__((cleanup(archive_freep))) struct archive *a = k3_xcalloc(1, sizeof(*a));

	a->kind = o->kind;
	a->cancel = o->cancel;
	a->fd = -1;
	a->what = k3_xstrdup(!strcmp(o->path, "-") ? "standard input" : o->path);
	if (read_all(a, o, e))
		return -1;
	*out = K3_STEAL(a);
	return 0;
}

void archive_free(struct archive *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->nimages; i++) {
		free((void *)(uintptr_t)a->images[i].name);
		free((void *)(uintptr_t)a->images[i].tag);
	}
	for (size_t i = 0; i < a->nmade; i++)
		k3_buf_release(&a->made[i].body);
	free(a->images);
	free(a->made);
	free(a->known);
	entries_release(&a->entries);
	k3_closep(&a->fd);
	free(a->what);
	free(a);
}

void archive_freep(struct archive **a)
{
	archive_free(*a);
	*a = NULL;
}

size_t archive_images(const struct archive *a, const struct archive_image **out)
{
	*out = a->images;
	return a->nimages;
}

const char *archive_name(const struct archive *a)
{
	return a->what;
}
