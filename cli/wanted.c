/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/wanted.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/yaml.h"
#include "kube/kube.h"

#define LIST_FILE_MAX (4u << 20) /* some 50,000 references */
#define REGISTRY "docker://"     /* skopeo's word for it */
#define REMARKS_SHOWN 5          /* per manifest, without -v */
/* From the directory of the program: an installation may be moved. */
#define LISTS_DIR "../share/k3simg/images"

void wanted_opts(struct words *lists, struct words *manifests, struct opt rows[WANTED_ROWS])
{
	rows[0] =
		(struct opt){ "file",
			      'f',
			      OPT_LIST,
			      "LIST",
			      "also the references in this file, one a line (#\ncomments; - is "
			      "standard input), or in a list that came\nwith k3simg, as k3s-v1.33",
			      lists };
	rows[1] = (struct opt){ "from-manifest",
				0,
				OPT_LIST,
				"FILE",
				"also the images of the pods in this file of\nKubernetes, YAML or "
				"JSON (- is standard input)",
				manifests };
	rows[2] = (struct opt){ 0 };
}

void wanted_release(struct wanted *w)
{
	for (size_t i = 0; i < w->n; i++) {
		oci_ref_release(&w->reqs[i].ref);
		free(w->names[i]);
	}
	free(w->reqs);
	free(w->names);
	sources_release(&w->sources);
}

int wanted_add(struct wanted *w, const char *text, size_t *index, struct k3_err *e)
{
	struct oci_ref ref;

	if (sources_check_transport(text, e))
		return -1;
	if (!strncmp(text, REGISTRY, strlen(REGISTRY)))
		text += strlen(REGISTRY);
	if (oci_ref_parse(text, &ref, e)) {
		if (access(text, F_OK))
			return -1;
		e->hint[0] = '\0'; /* it tells of names */
		return k3_hint(e, "a file is named docker-archive:FILE or oci-archive:FILE, a "
				  "layout oci:DIR");
	}
	char *name = oci_ref_full(&ref);

	for (size_t i = 0; i < w->n; i++) {
		if (strcmp(w->names[i], name) != 0)
			continue;
		*index = i;
		free(name);
		oci_ref_release(&ref);
		return 0;
	}
	w->reqs = k3_xgrow(w->reqs, w->n, &w->cap, sizeof(*w->reqs));
	w->names = k3_xgrow(w->names, w->n, &w->cap_names, sizeof(*w->names));
	w->reqs[w->n] = (struct pl_request){ .ref = ref };
	w->names[w->n] = name;
	*index = w->n++;
	return 0;
}

/* A word of the command line or a line of a list. */
static int add_word(struct wanted *w, const char *text, const struct wanted_from *from,
		    struct k3_err *e)
{
	size_t index;

	if (!sources_is_archive(text))
		return wanted_add(w, text, &index, e);
	if (from->archives)
		return sources_add(&w->sources, text, from->archives, e);
	return k3_fail(e, K3_USAGE, "%s: only registries can be named here", text);
}

static bool same_target(const struct pl_request *q, const struct source *src)
{
	return oci_digest_eq(&q->target->digest, &src->image->target.digest);
}

/* The chosen images of archives become requests. */
static int add_sources(struct wanted *w, const struct sources_opts *o, struct k3_err *e)
{
	size_t index;

	if (sources_name(&w->sources, o, e))
		return -1;
	for (size_t i = 0; i < w->sources.n; i++) {
		const struct source *src = &w->sources.v[i];

		if (wanted_add(w, src->name, &index, e)) {
			e->hint[0] = '\0';
			k3_hint(e, "--name NAME:TAG gives the image another name");
			return k3_wrap(e, "%s: name \"%s\"", archive_name(src->from), src->name);
		}
		struct pl_request *q = &w->reqs[index];

		if (q->from && !same_target(q, src))
			return k3_fail(e, K3_USAGE, "%s is in %s and in %s, and not the same",
				       w->names[index], archive_name(q->from),
				       archive_name(src->from));
		if (!q->from) {
			q->from = src->from;
			q->target = &src->image->target;
		}
	}
	return 0;
}

/* ---- files --------------------------------------------------------------------------------- */

static int read_stdin(struct k3_buf *text, struct k3_err *e)
{
	uint8_t chunk[4096];
	ssize_t n;

	while ((n = read(STDIN_FILENO, chunk, sizeof(chunk))) > 0)
		if (k3_buf_add(text, chunk, (size_t)n, e))
			return k3_wrap(e, "standard input");
	if (n < 0)
		return k3_fail_sys(e, errno, "cannot read standard input");
	return 0;
}

static bool is_stdin(const char *file)
{
	return !strcmp(file, "-");
}

static const char *name_of(const char *file)
{
	return is_stdin(file) ? "standard input" : file;
}

/* A file that is not there is a mistake on the command line, not an image that is missing. */
static int read_input(const char *file, struct k3_buf *text, struct k3_err *e)
{
	if (!(is_stdin(file) ? read_stdin(text, e) : k3_read_file(AT_FDCWD, file, text, e)))
		return 0;
	if (e->code == K3_NOTFOUND)
		e->code = K3_USAGE;
	return -1;
}

/* The path of a list that is installed beside the program, or NULL. */
static char *installed_list(const char *name)
{
	K3_AUTO_FREE char *exe = k3_xcalloc(1, PATH_MAX);
	ssize_t n = readlink("/proc/self/exe", exe, PATH_MAX - 1);
	static const char *const ends[] = { "", ".list" };

	if (n <= 0 || strchr(name, '/'))
		return NULL;
	*strrchr(exe, '/') = '\0';
	for (size_t i = 0; i < K3_ARRAY_LEN(ends); i++) {
		char *path = k3_xasprintf("%s/" LISTS_DIR "/%s%s", exe, name, ends[i]);

		if (!access(path, R_OK))
			return path;
		free(path);
	}
	return NULL;
}

/* ---- lists --------------------------------------------------------------------------------- */

/* The length of what a line says: "#" begins a comment at its start and behind a blank. */
static size_t content(const char *line)
{
	size_t len = 0;

	while (line[len] && !(line[len] == '#' && (!len || strchr(" \t", line[len - 1]))))
		len++;
	while (len && strchr(" \t\r", line[len - 1]))
		len--;
	return len;
}

static int add_lines(struct wanted *w, const char *file, char *text, const struct wanted_from *from,
		     struct k3_err *e)
{
	static const char mark[] = "\xef\xbb\xbf";
	unsigned number = 1;

	if (!strncmp(text, mark, strlen(mark)))
		text += strlen(mark);
	for (char *line = text, *next; line; line = next, number++) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		line += strspn(line, " \t");
		line[content(line)] = '\0';
		if (*line && add_word(w, line, from, e))
			return k3_wrap(e, "%s, line %u", name_of(file), number);
	}
	return 0;
}

static int add_list(struct wanted *w, const char *file, const struct wanted_from *from,
		    struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(LIST_FILE_MAX);
	K3_AUTO_FREE char *installed = NULL;

	if (!is_stdin(file) && access(file, F_OK))
		installed = installed_list(file);
	if (installed) {
		if (!from->quiet)
			fprintf(stderr, "list: %s\n", installed);
		file = installed;
	}
	if (read_input(file, &text, e))
		return -1;
	if (!text.len)
		return 0;
	if (memchr(text.p, 0, text.len))
		return k3_fail(e, K3_USAGE, "%s is not a text file", name_of(file));
	return add_lines(w, file, (char *)text.p, from, e);
}

/* ---- manifests ----------------------------------------------------------------------------- */

struct manifest {
	struct wanted *w;
	const char *file;
	bool verbose;
	size_t images, remarks, charts;
};

static int take_image(void *arg, const char *image, unsigned line, struct k3_err *e)
{
	struct manifest *m = arg;
	size_t index;

	(void)line; /* kube_images names it */
	m->images++;
	if (!wanted_add(m->w, image, &index, e))
		return 0;
	if (!strpbrk(image, "${"))
		return -1;
	e->hint[0] = '\0'; /* it tells of names */
	return k3_hint(e, "a template is rendered first: helm template, kubectl kustomize, "
			  "envsubst");
}

static void remark(void *arg, const struct kube_note *n)
{
	static const char *const why[] = {
		[KUBE_UNKNOWN_KIND] = "is of no kind that Kubernetes itself has: the images it may "
				      "run are not known",
		[KUBE_HELM_CHART] = "cannot be rendered here: give what helm template makes of it",
		[KUBE_NO_IMAGE] = "has no image",
	};
	struct manifest *m = arg;
	char what[80], name[80];

	m->charts += n->kind == KUBE_HELM_CHART;
	if (m->remarks++ >= REMARKS_SHOWN && !m->verbose)
		return;
	k3_escape(what, sizeof(what), n->kind == KUBE_NO_IMAGE ? "container" : n->what);
	k3_escape(name, sizeof(name), n->name);
	fprintf(stderr, "warning: %s, line %u: %s \"%s\" %s\n", name_of(m->file), n->line, what,
		name, why[n->kind]);
}

static int add_manifest(struct wanted *w, const char *file, bool verbose, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(K3_YAML_SIZE_MAX);
	struct manifest m = { .w = w, .file = file, .verbose = verbose };
	struct kube_visitor v = { .image = take_image, .note = remark, .arg = &m };

	if (read_input(file, &text, e))
		return -1;
	if (kube_images(text.p, text.len, &v, e))
		return k3_wrap(e, "%s", name_of(file));
	if (m.remarks > REMARKS_SHOWN && !verbose)
		fprintf(stderr, "warning: %s: %zu more such objects; -v shows them\n",
			name_of(file), m.remarks - REMARKS_SHOWN);
	if (m.images)
		return 0;
	k3_fail(e, K3_USAGE, "%s names no image", name_of(file));
	return m.charts ? k3_hint(e, "a chart is rendered first: helm template")
			: k3_hint(e, "pods are looked for in workloads of Kubernetes; name other "
				     "images as references or in a list (-f)");
}

/* ---- all of them --------------------------------------------------------------------------- */

static size_t count_stdin(const struct words *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++)
		n += is_stdin(w->items[i]);
	return n;
}

/* Whether an archive comes from there: "oci-archive:-", "docker-archive:-:REF". */
static size_t archive_stdin(const struct words *w)
{
	for (size_t i = 0; i < w->n; i++) {
		const char *path = strchr(w->items[i], ':');

		if (sources_is_archive(w->items[i]) && path[1] == '-' &&
		    (!path[2] || path[2] == ':'))
			return 1;
	}
	return 0;
}

int wanted_gather(struct wanted *w, const struct wanted_from *from, struct k3_err *e)
{
	if (count_stdin(from->lists) + count_stdin(from->manifests) + archive_stdin(from->refs) > 1)
		return k3_fail(e, K3_USAGE, "standard input (-) can be read only once");
	for (size_t i = 0; i < from->refs->n; i++)
		if (add_word(w, from->refs->items[i], from, e))
			return -1;
	for (size_t i = 0; i < from->lists->n; i++)
		if (add_list(w, from->lists->items[i], from, e))
			return -1;
	for (size_t i = 0; i < from->manifests->n; i++)
		if (add_manifest(w, from->manifests->items[i], from->verbose, e))
			return -1;
	return from->archives ? add_sources(w, from->archives, e) : 0;
}
